package cpu

import (
	"context"
	"fmt"
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
}

func (pl *plan) Info() driver.PlanInfo { return pl.info }
func (pl *plan) Close() error          { return nil }

// weights are the problem's constants as the loops want them.
type weights struct {
	plan *plan
	t    tensors
	// packed are the weights of an igemm. If they aren't finite, t has them as they are.
	packed []float32
	freed  atomic.Bool
}

func (w *weights) Bytes() int64 { return w.plan.info.WeightsBytes }

func (w *weights) Free() {
	if w.freed.CompareAndSwap(false, true) {
		w.plan.dev.used.Add(-w.Bytes())
	}
}

// buffers are the driver's buffers for some roles.
func (pl *plan) buffers(b driver.Buffers, roles ...[]problem.Role) (own [problem.Roles]*buffer, err error) {
	for _, list := range roles {
		for _, r := range list {
			if own[r], err = ownBuffer(b[r], pl.p.BytesOf(r)); err != nil {
				return own, fmt.Errorf("%s: %w", r, err)
			}
		}
	}
	return own, nil
}

// Pack implements driver.Plan.
func (pl *plan) Pack(ctx context.Context, s driver.Stream, constants driver.Buffers) (driver.Weights, driver.Event, error) {
	st, err := ownStream(s)
	if err != nil {
		return nil, nil, err
	}
	roles := pl.p.Constants()
	if len(roles) == 0 {
		return nil, nil, fmt.Errorf("%w: %s has no weights", driver.ErrInvalid, pl.p.Op)
	}
	from, err := pl.buffers(constants, roles)
	if err != nil {
		return nil, nil, err
	}
	if err := pl.dev.take(pl.info.WeightsBytes); err != nil {
		return nil, nil, err
	}
	w := &weights{plan: pl}
	j := &job{p: &pl.p, isa: pl.dev.isa} // whose scratch memory becomes the weights
	e, err := st.submit(ctx, func(ctx context.Context) error {
		for _, r := range roles {
			if err := j.copyOf(ctx, r, from[r]); err != nil {
				return err
			}
		}
		if pl.p.Integer() {
			q := newQuant(j.t.f[problem.Quant], pl.p.OC)
			q.subtract(j.t.i[problem.Wei])
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
	})
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
	p := &pl.p
	b, err := pl.buffers(a.Buffers, p.Inputs(), p.Outputs())
	if err != nil {
		return nil, err
	}
	var w *weights
	if len(p.Constants()) > 0 {
		var ok bool
		if w, ok = a.Weights.(*weights); !ok || w.plan != pl {
			return nil, fmt.Errorf("%w: weights that this plan packed are needed", driver.ErrInvalid)
		}
		if w.freed.Load() {
			return nil, fmt.Errorf("%w: weights", driver.ErrClosed)
		}
	}
	return st.submit(ctx, func(ctx context.Context) error {
		j := &job{p: p, arena: &pl.dev.arena, igemm: pl.igemm, isa: pl.dev.isa}
		defer j.release()
		if w != nil {
			j.t, j.packed = w.t, w.packed
		}
		for _, r := range p.Inputs() {
			if err := j.load(ctx, r, b[r]); err != nil {
				return err
			}
		}
		for _, r := range p.Outputs() {
			j.prepare(r, b[r])
		}
		if err := pl.algorithm.run(ctx, j); err != nil {
			return err
		}
		for _, r := range p.Outputs() {
			if err := j.store(ctx, r, b[r]); err != nil {
				return err
			}
		}
		return nil
	})
}
