package cpu

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// plan is a problem with its algorithm.
type plan struct {
	dev       *Device
	p         problem.Problem
	algorithm algorithm
	igemm     *igemm // nil: another algorithm
	info      driver.PlanInfo
	signature signature
	slopes    slopes
	pads      *padding  // of other modes than zeros
	windows   *windows  // of a pooling
	runs      sync.Pool // of *execution
}

// signature is a problem's roles, and what the tensors of each take: so that a run need not make lists of them.
type signature struct {
	constants, inputs, outputs []problem.Role
	elems                      [problem.Roles]int
	bytes                      [problem.Roles]int64
	planar                     [problem.Roles][3]int // batch, channels and positions of those that are not channels first
}

func newSignature(p *problem.Problem) signature {
	o := signature{constants: p.Constants(), inputs: p.Inputs(), outputs: p.Outputs()}
	for _, r := range slices.Concat(o.constants, o.inputs, o.outputs) {
		o.elems[r], o.bytes[r] = int(problem.Elems(p.Shape(r))), p.BytesOf(r)
		if p.LayoutOf(r) != problem.NCHW {
			n, c, plane := planar(p, r)
			o.planar[r] = [3]int{n, c, plane}
		}
	}
	return o
}

func (pl *plan) Info() driver.PlanInfo { return pl.info }
func (pl *plan) Close() error          { return nil }

// weights are the problem's constants as the loops want them.
type weights struct {
	plan *plan
	t    tensors
	// packed are the weights of an igemm. If they aren't finite, t has them as they are.
	packed []float32
	quads  *quadWeights // those of an igemm of quads
	freed  atomic.Bool
}

func (w *weights) Bytes() int64 { return w.plan.info.WeightsBytes }

func (w *weights) Free() {
	if w.freed.CompareAndSwap(false, true) {
		w.plan.dev.used.Add(-w.Bytes())
	}
}

// buffers sets own to the driver's buffers for some roles.
func (pl *plan) buffers(own *[problem.Roles]*buffer, b *driver.Buffers, roles []problem.Role) (err error) {
	for _, r := range roles {
		if own[r], err = ownBuffer(b[r], pl.signature.bytes[r]); err != nil {
			return fmt.Errorf("%s: %w", r, err)
		}
	}
	return nil
}

// Pack implements driver.Plan.
func (pl *plan) Pack(ctx context.Context, s driver.Stream, constants driver.Buffers) (driver.Weights, driver.Event, error) {
	st, err := ownStream(s)
	if err != nil {
		return nil, nil, err
	}
	roles := pl.signature.constants
	if len(roles) == 0 {
		return nil, nil, fmt.Errorf("%w: %s has no weights", driver.ErrInvalid, pl.p.Op)
	}
	var from [problem.Roles]*buffer
	if err := pl.buffers(&from, &constants, roles); err != nil {
		return nil, nil, err
	}
	if err := pl.dev.take(pl.info.WeightsBytes); err != nil {
		return nil, nil, err
	}
	w := &weights{plan: pl}
	j := &job{p: &pl.p, signature: &pl.signature, isa: pl.dev.isa} // whose scratch memory becomes the weights
	e, err := st.submit(ctx, work(func(ctx context.Context) error {
		for _, r := range roles {
			if err := j.copyOf(ctx, r, from[r]); err != nil {
				return err
			}
		}
		if pl.p.Integer() {
			q := newQuant(j.t.f[problem.Quant], pl.p.OC)
			q.subtract(j.t.i[problem.Wei])
			if pl.igemm != nil {
				var err error
				if w.packed, w.quads, err = pl.igemm.integers.pack(ctx, &j.t, q); err != nil {
					return err
				}
				j.t.i[problem.Wei] = nil
			}
		}
		if wei := j.t.f[problem.Wei]; wei != nil && pl.igemm != nil && (!pl.igemm.padsZeros || finite(ctx, wei)) {
			var err error
			if w.packed, err = pl.igemm.pack(ctx, wei); err != nil {
				return err
			}
			if !pl.igemm.transform { // which may need them again
				j.t.f[problem.Wei] = nil
			}
		}
		w.t = j.t
		return nil
	}))
	if err != nil {
		w.Free()
		return nil, nil, err
	}
	return w, e, nil
}

func ownStream(s driver.Stream) (*stream, error) {
	st, ok := s.(*stream)
	if !ok {
		return nil, fmt.Errorf("%w: not a stream of the cpu device", driver.ErrInvalid)
	}
	return st, nil
}

// Run implements driver.Plan.
func (pl *plan) Run(ctx context.Context, s driver.Stream, a driver.Args) (driver.Event, error) {
	st, err := ownStream(s)
	if err != nil {
		return nil, err
	}
	r, _ := pl.runs.Get().(*execution)
	if r == nil {
		r = &execution{plan: pl, job: job{p: &pl.p, signature: &pl.signature, slopes: &pl.slopes, arena: &pl.dev.arena,
			igemm: pl.igemm, pads: pl.pads, windows: pl.windows, isa: pl.dev.isa}}
	}
	if err := r.take(&a); err != nil {
		r.release()
		return nil, err
	}
	e, err := st.submit(ctx, r)
	if err != nil {
		r.release()
		return nil, err // not the nil of another type
	}
	return e, nil
}

// execution is a job on a stream, kept by its plan for the next.
type execution struct {
	job
	plan    *plan
	weights *weights
	buffers [problem.Roles]*buffer
}

// take takes the arguments of a run.
func (r *execution) take(a *driver.Args) error {
	pl := r.plan
	o := &pl.signature
	if err := pl.buffers(&r.buffers, &a.Buffers, o.inputs); err != nil {
		return err
	}
	if err := pl.buffers(&r.buffers, &a.Buffers, o.outputs); err != nil {
		return err
	}
	if len(o.constants) == 0 {
		return nil
	}
	var ok bool
	if r.weights, ok = a.Weights.(*weights); !ok || r.weights.plan != pl {
		return fmt.Errorf("%w: weights that this plan packed are needed", driver.ErrInvalid)
	}
	if r.weights.freed.Load() {
		return fmt.Errorf("%w: weights", driver.ErrClosed)
	}
	return nil
}

// do implements task.
func (r *execution) do(ctx context.Context) error {
	defer r.release()
	pl := r.plan
	if r.weights != nil {
		r.t, r.packed, r.quads = r.weights.t, r.weights.packed, r.weights.quads
	}
	for _, role := range pl.signature.inputs {
		if err := r.load(ctx, role, r.buffers[role]); err != nil {
			return err
		}
	}
	for _, role := range pl.signature.outputs {
		r.prepare(role, r.buffers[role])
	}
	if err := pl.algorithm.run(ctx, &r.job); err != nil {
		return err
	}
	for _, role := range pl.signature.outputs {
		if err := r.store(ctx, role, r.buffers[role]); err != nil {
			return err
		}
	}
	return nil
}

// release lets go of what the run took, and gives it back to the plan.
func (r *execution) release() {
	r.job.release()
	r.weights, r.buffers = nil, [problem.Roles]*buffer{}
	r.plan.runs.Put(r)
}
