package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gonvolve/gonvolve/engine/auto"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// Plan is a problem compiled for a device: it knows its algorithm and what memory it will take, and holds compiled
// kernels and packed weights. It is safe for concurrent use.
type Plan struct {
	dev      *Device
	on       *session
	p        problem.Problem
	d        driver.Plan
	why      string // instead of the driver's, or empty
	fallback *Fallback
	chosen   *auto.Choice // of the device, if there were several

	inputs, outputs []problem.Role
	args            []arg // of a run: inputs, then outputs
	constants       bool  // the problem has some

	mu      sync.RWMutex
	weights driver.Weights
	host    driver.Operands // the constants, if results are checked
	closed  bool
}

// arg is what a run takes in a role.
type arg struct {
	role  problem.Role
	typ   problem.DataType
	shape []int
}

func newPlan(d *Device, on *session, p problem.Problem, dp driver.Plan, why string) *Plan {
	pl := &Plan{dev: d, on: on, p: p, d: dp, why: why, inputs: p.Inputs(), outputs: p.Outputs(), constants: len(p.Constants()) > 0}
	for _, r := range slices.Concat(pl.inputs, pl.outputs) {
		pl.args = append(pl.args, arg{r, p.TypeOf(r), p.Shape(r)})
	}
	return pl
}

// Problem is what the plan computes.
func (pl *Plan) Problem() problem.Problem { return pl.p }

// Device is where the plan runs: the device that made it, the one that was chosen (see Device.For), or the one that it fell
// back to.
func (pl *Plan) Device() *Device { return pl.dev }

// Choice is empty, or why the plan is for its device, if the device that made it stands for several.
func (pl *Plan) Choice() string {
	if pl.chosen == nil {
		return ""
	}
	return pl.chosen.Why()
}

// Fallback is nil, or why the plan is for another device than asked.
func (pl *Plan) Fallback() *Fallback { return pl.fallback }

// Info is the algorithm, tile and memory.
func (pl *Plan) Info() driver.PlanInfo {
	i := pl.d.Info()
	if pl.why != "" {
		i.Why = pl.why
	}
	if pl.chosen != nil {
		i.Why = pl.dev.spec + " (" + pl.chosen.Why() + "); " + i.Why
	}
	return i
}

// Close frees what the plan holds, once runs in flight are done with it.
func (pl *Plan) Close() error {
	pl.mu.Lock()
	if pl.closed {
		pl.mu.Unlock()
		return nil
	}
	pl.closed = true
	pl.mu.Unlock()
	err := pl.dev.kept.forget(pl)
	pl.mu.Lock()
	defer pl.mu.Unlock()
	return errors.Join(err, pl.on.free(func() error {
		if pl.weights != nil {
			pl.weights.Free()
		}
		return pl.d.Close()
	}))
}

// Args are tensors of a device by role, such as Args{problem.Src: x, problem.Dst: y}.
type Args [problem.Roles]*DeviceTensor

// Operands are host tensors by role.
type Operands [problem.Roles]*Tensor

// check compares a tensor with it.
func (a *arg) check(typ problem.DataType, shape []int) error {
	if !slices.Equal(shape, a.shape) {
		return fmt.Errorf("%w: %v has shape %v, the problem wants %v", ErrInvalid, a.role, shape, a.shape)
	}
	if typ != a.typ {
		return fmt.Errorf("%w: %v is %v, the problem wants %v", ErrInvalid, a.role, typ, a.typ)
	}
	return nil
}

// host checks that of the roles those of want are there and fit.
func host(p *problem.Problem, t *Operands, want []problem.Role) error {
	for _, r := range want {
		if t[r] == nil {
			return fmt.Errorf("%w: %v is missing; the problem takes %v", ErrInvalid, r, want)
		}
		a := arg{r, p.TypeOf(r), p.Shape(r)}
		if err := a.check(t[r].typ, t[r].shape); err != nil {
			return err
		}
	}
	return nil
}

// SetWeights uploads and packs the problem's constants (problem.Problem.Constants: weights, bias, parameters of post-ops
// and of quantization). Runs that were started before keep those they had.
func (pl *Plan) SetWeights(ctx context.Context, constants Operands) error {
	roles := pl.p.Constants()
	if len(roles) == 0 {
		return fmt.Errorf("%w: %s %s has no weights", ErrInvalid, pl.p.Op, pl.p.Dir)
	}
	for r, t := range constants {
		if t != nil && !slices.Contains(roles, problem.Role(r)) {
			return fmt.Errorf("%w: %v is no constant of this problem; it takes %v", ErrInvalid, problem.Role(r), roles)
		}
	}
	if err := host(&pl.p, &constants, roles); err != nil {
		return err
	}
	if q := constants[problem.Quant]; q != nil {
		if err := pl.p.CheckQuant(q.Float32s()); err != nil {
			return err
		}
	}
	s, err := pl.dev.NewStream()
	if err != nil {
		return err
	}
	defer s.Close()
	if err := pl.same(s); err != nil {
		return err
	}
	var b driver.Buffers
	for _, r := range roles {
		t, err := s.Upload(ctx, constants[r])
		if err != nil {
			return err
		}
		defer t.Free()
		b[r] = t.buf
	}
	packed, err := pl.pack(ctx, s, b)
	if pl.dev.madeRoom(err) {
		packed, err = pl.pack(ctx, s, b)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", pl.dev.spec, err)
	}
	free := func(w driver.Weights) {
		_ = pl.on.do("free", func() error { w.Free(); return nil }) // that it hangs is in the next call's error
	}
	pl.mu.Lock()
	defer pl.mu.Unlock()
	if pl.closed {
		free(packed)
		return fmt.Errorf("plan: %w", ErrClosed)
	}
	if pl.weights != nil {
		free(pl.weights)
	}
	pl.weights = packed
	if pl.dev.o.checks > 0 {
		pl.host = copies(&constants)
	}
	return nil
}

// pack packs constants that are uploaded, and waits for it.
func (pl *Plan) pack(ctx context.Context, s *Stream, b driver.Buffers) (driver.Weights, error) {
	type result struct {
		w  driver.Weights
		ev driver.Event
	}
	r, err := call(pl.on, "pack", func() (r result, err error) {
		r.w, r.ev, err = pl.d.Pack(ctx, s.d, b)
		return r, err
	}, func(late result) { late.w.Free() })
	if err != nil {
		return nil, err
	}
	if err := pl.on.wait(ctx, "wait", r.ev.Wait); err != nil {
		_ = pl.on.do("free", func() error { r.w.Free(); return nil }) // the wait's error says more
		return nil, err
	}
	return r.w, nil
}

// same says that a stream is of the plan's device, and not of one that was opened again since or before.
func (pl *Plan) same(s *Stream) error {
	switch {
	case s.on == pl.on:
		return nil
	case s.dev == pl.dev:
		return fmt.Errorf("%s: %w: the plan or the stream is from before it was opened again", pl.dev.spec, ErrDeviceLost)
	}
	return fmt.Errorf("%w: the stream must be of the plan's device %s", ErrInvalid, pl.dev.spec)
}

// Run computes the problem's Outputs from its Inputs, all on the plan's device, on the stream, and returns without
// waiting.
func (pl *Plan) Run(ctx context.Context, s *Stream, args Args) (*Event, error) {
	return pl.run(ctx, s, &args, new(Event)) // inlined: an event that stays in its function takes no memory
}

// run sets and returns e, if it returns no error.
func (pl *Plan) run(ctx context.Context, s *Stream, args *Args, e *Event) (*Event, error) {
	if s.on != pl.on {
		return nil, pl.same(s)
	}
	a := driver.Args{}
	for i := range pl.args {
		want := &pl.args[i]
		t := args[want.role]
		if t == nil {
			return nil, fmt.Errorf("%w: %v is missing; the problem reads %v and writes %v", ErrInvalid, want.role, pl.inputs, pl.outputs)
		}
		if t.on != pl.on {
			if t.dev == pl.dev {
				return nil, fmt.Errorf("%s: %w: %v is from before it was opened again", pl.dev.spec, ErrDeviceLost, want.role)
			}
			return nil, fmt.Errorf("%w: %v must be of the plan's device %s", ErrInvalid, want.role, pl.dev.spec)
		}
		if err := want.check(t.typ, t.shape); err != nil {
			return nil, err
		}
		a.Buffers[want.role] = t.buf
	}
	// Held while the driver takes its own hold of the weights, so that SetWeights and Close cannot free them between.
	pl.mu.RLock()
	defer pl.mu.RUnlock()
	if pl.closed {
		return nil, fmt.Errorf("plan: %w", ErrClosed)
	}
	if pl.constants && pl.weights == nil {
		return nil, fmt.Errorf("%w: the plan has no weights yet; call SetWeights", ErrInvalid)
	}
	a.Weights = pl.weights
	ev, err := pl.start(ctx, s, &a)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", pl.dev.spec, err)
	}
	e.on, e.d = pl.on, ev
	return e, nil
}

func (pl *Plan) start(ctx context.Context, s *Stream, a *driver.Args) (driver.Event, error) {
	if pl.on.limit == 0 {
		ev, err := pl.d.Run(ctx, s.d, *a)
		if err != nil && pl.dev.madeRoom(err) {
			ev, err = pl.d.Run(ctx, s.d, *a)
		}
		return ev, pl.on.failed(err)
	}
	given := *a
	return call(pl.on, "run", func() (driver.Event, error) { return pl.d.Run(ctx, s.d, given) }, nil)
}

// RunHost uploads the problem's Inputs, runs, and downloads its Outputs. The device keeps the tensors for the plan's next
// RunHost, within bounds and as long as nothing else needs the memory.
func (pl *Plan) RunHost(ctx context.Context, inputs Operands) (out Operands, err error) {
	if err := host(&pl.p, &inputs, pl.inputs); err != nil {
		return out, err
	}
	if err := pl.p.CheckIndices(inputs[problem.Ind].Int32s()); err != nil {
		return out, err
	}
	h := pl.dev.kept.takeRun(pl)
	if h == nil {
		var err error
		if h, err = pl.newHostRun(); err != nil {
			return out, err
		}
	}
	defer func() {
		if err != nil {
			_ = h.free() // the error is told already
			return
		}
		err = pl.dev.kept.giveRun(h)
	}()
	for _, r := range pl.inputs {
		if err := h.stream.Write(ctx, h.args[r], inputs[r]); err != nil {
			return out, err
		}
	}
	var result Operands
	for _, r := range pl.outputs {
		if result[r], err = NewTensor(pl.p.TypeOf(r), pl.p.Shape(r)...); err != nil {
			return out, err
		}
	}
	ev, err := pl.Run(ctx, h.stream, h.args)
	if err != nil {
		return out, err
	}
	for _, r := range pl.outputs {
		if err := h.stream.Download(ctx, result[r], h.args[r]); err != nil {
			return out, err
		}
	}
	// A run that failed or was cancelled half way leaves a partial result behind.
	if err := ev.Wait(ctx); err != nil {
		return out, err
	}
	return result, pl.check(ctx, inputs, result)
}

// check computes a sample of a run's outputs once more, if the device was opened so.
func (pl *Plan) check(ctx context.Context, in, out Operands) error {
	if pl.dev.o.checks <= 0 {
		return nil
	}
	pl.mu.RLock()
	all := pl.host
	pl.mu.RUnlock()
	for _, r := range pl.inputs {
		all[r] = in[r].Operand()
	}
	return pl.dev.check(ctx, pl.p, pl.Info(), all, out)
}

// Stream is an in-order queue of work on a device. It is safe for concurrent use.
type Stream struct {
	dev    *Device
	on     *session
	d      driver.Stream
	closed atomic.Bool
}

// NewStream makes a stream. Its events have a DeviceTime only on devices to which that is no effort.
func (d *Device) NewStream() (*Stream, error) { return d.stream(driver.Device.NewStream) }

// NewTimedStream makes a stream whose events have a DeviceTime on every device that has a clock. It can be slower.
func (d *Device) NewTimedStream() (*Stream, error) {
	return d.stream(func(d driver.Device) (driver.Stream, error) {
		if t, ok := d.(driver.Timer); ok {
			return t.NewTimedStream()
		}
		return d.NewStream()
	})
}

func (d *Device) stream(make func(driver.Device) (driver.Stream, error)) (*Stream, error) {
	on := d.on.Load()
	s, err := create(on, "stream", func() (driver.Stream, error) { return make(on.d) }, driver.Stream.Close)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.spec, err)
	}
	return &Stream{dev: d, on: on, d: s}, nil
}

func (s *Stream) wrap(err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", s.dev.spec, err)
	}
	return nil
}

// gone says that a tensor is from before the device was opened again, or from another device.
func (s *Stream) gone(t *DeviceTensor) error {
	if t.on != s.on && t.dev == s.dev {
		return fmt.Errorf("%s: %w: the tensor or the stream is from before it was opened again", s.dev.spec, ErrDeviceLost)
	}
	return nil
}

// Upload makes a device tensor of the host's.
func (s *Stream) Upload(ctx context.Context, t *Tensor) (*DeviceTensor, error) {
	dt, err := s.dev.NewTensor(t.typ, t.shape...)
	if err != nil {
		return nil, err
	}
	if err := s.Write(ctx, dt, t); err != nil {
		dt.Free()
		return nil, err
	}
	return dt, nil
}

// same says whether two tensors are of one type and shape.
func same(host *Tensor, dev *DeviceTensor) error {
	if host.typ != dev.typ || !slices.Equal(host.shape, dev.shape) {
		return fmt.Errorf("%w: the host's tensor is %v %v, the device's %v %v", ErrInvalid, host.typ, host.shape, dev.typ, dev.shape)
	}
	return nil
}

// Write copies the host's tensor to a device tensor of the same type and shape. The host's may be reused at return.
func (s *Stream) Write(ctx context.Context, dst *DeviceTensor, src *Tensor) error {
	if err := same(src, dst); err != nil {
		return err
	}
	if err := s.gone(dst); err != nil {
		return err
	}
	if s.on.limit == 0 {
		return s.wrap(s.on.failed(s.d.Write(ctx, dst.buf, 0, src.words())))
	}
	return s.wrap(s.transfer(ctx, "write", src.words(), func(ctx context.Context, part []byte, off int64) error {
		return s.d.Write(ctx, dst.buf, off, part)
	}, func(part, copied []byte) { copy(copied, part) }, nil))
}

// Download copies a device tensor to the host's of the same type and shape, after everything before it on the stream.
func (s *Stream) Download(ctx context.Context, dst *Tensor, src *DeviceTensor) error {
	if err := same(dst, src); err != nil {
		return err
	}
	if err := s.gone(src); err != nil {
		return err
	}
	if s.on.limit == 0 {
		return s.wrap(s.on.failed(s.d.Read(ctx, dst.words(), src.buf, 0)))
	}
	return s.wrap(s.transfer(ctx, "read", dst.words(), func(ctx context.Context, part []byte, off int64) error {
		return s.d.Read(ctx, part, src.buf, off)
	}, nil, func(part, copied []byte) { copy(part, copied) }))
}

// transferred is how much goes through a copy at once.
const transferred = 4 << 20

// transfer moves host memory of a device that has a deadline, by way of a copy, as a call that is given up may still use its
// memory: before fills the copy, after empties it.
func (s *Stream) transfer(ctx context.Context, what string, host []byte, move func(ctx context.Context, part []byte, off int64) error,
	before, after func(part, copied []byte)) error {
	between := make([]byte, min(len(host), transferred))
	for off := 0; ; off += len(between) {
		part := host[off:min(len(host), off+len(between))]
		copied := between[:len(part)]
		if before != nil {
			before(part, copied)
		}
		err := s.on.wait(ctx, what, func(ctx context.Context) error { return move(ctx, copied, int64(off)) })
		if err != nil {
			return err
		}
		if after != nil {
			after(part, copied)
		}
		if off+len(part) == len(host) {
			return nil
		}
	}
}

// Poison fills a device tensor with NaNs, so that elements nobody writes show.
func (s *Stream) Poison(ctx context.Context, t *DeviceTensor) error {
	if err := s.gone(t); err != nil {
		return err
	}
	return s.wrap(s.on.wait(ctx, "fill", func(ctx context.Context) error { return s.d.Fill(ctx, t.buf, 0x7fc0dead) }))
}

// Wait returns when everything submitted so far is done.
func (s *Stream) Wait(ctx context.Context) error {
	if s.on.limit == 0 {
		return s.wrap(s.on.failed(s.d.Wait(ctx)))
	}
	return s.wrap(s.on.wait(ctx, "wait", s.d.Wait))
}

// Close waits for what is in flight and frees the stream.
func (s *Stream) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return s.wrap(s.on.free(s.d.Close))
}

// Event is the completion of one run.
type Event struct {
	on *session
	d  driver.Event
}

// Wait returns when the run is done, or with ctx's error when that ends first (the run goes on).
func (e *Event) Wait(ctx context.Context) error {
	var err error
	if e.on.limit == 0 {
		err = e.on.failed(e.d.Wait(ctx))
	} else {
		err = e.on.wait(ctx, "wait", e.d.Wait)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", e.on.spec, err)
	}
	return nil
}

// DeviceTime is how long the run's kernels took by the device's own clock, after Wait; ok is false where the device
// cannot tell or would have on a timed stream.
func (e *Event) DeviceTime() (d time.Duration, ok bool) { return e.d.DeviceTime() }
