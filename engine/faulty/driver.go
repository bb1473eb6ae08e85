package faulty

import (
	"context"
	"sync"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// Driver makes a driver fail. Of the optional interfaces its devices have driver.Timer, driver.MemoryReporter and
// driver.MemorySaver, and driver.Sharer where the driver's have it and driver.Options.Staged does not rule it out.
func (f *Faults) Driver(d driver.Driver) driver.Driver { return &drv{f, d} }

type drv struct {
	f *Faults
	driver.Driver
}

func (d *drv) Open(ctx context.Context, i int, o driver.Options) (driver.Device, error) {
	faults := d.f.Device()
	if err := faults.Call(ctx, "Open", Takes); err != nil {
		return nil, err
	}
	dev, err := d.Driver.Open(ctx, i, o)
	if err != nil {
		return nil, err
	}
	d.f.Count("devices", 1)
	wrapped := &device{faults, dev, !o.Staged}
	if s, ok := dev.(driver.Sharer); ok && wrapped.shares {
		return &sharing{wrapped, s}, nil
	}
	return wrapped, nil
}

type device struct {
	*Device
	d      driver.Device
	shares bool // memory with the host, if the driver does
}

// sharing is a device whose memory is the host's.
type sharing struct {
	*device
	s driver.Sharer
}

// Shared implements driver.Sharer.
func (d *sharing) Shared(b driver.Buffer) []byte {
	if w, ok := b.(*buffer); ok && w.unshared {
		return nil
	}
	return d.s.Shared(inner(b))
}

func (d *device) Info() driver.Info                     { return d.d.Info() }
func (d *device) Algorithms(p problem.Problem) []string { return d.d.Algorithms(p) }

func (d *device) MemoryInUse() (used, held int64) {
	if m, ok := d.d.(driver.MemoryReporter); ok {
		return m.MemoryInUse()
	}
	return 0, 0
}

func (d *device) SaveMemory() (stop func()) {
	if m, ok := d.d.(driver.MemorySaver); ok {
		return m.SaveMemory()
	}
	return func() {}
}

func (d *device) StagingBytes(transfer int64) int64 {
	if m, ok := d.d.(driver.MemorySaver); ok {
		return m.StagingBytes(transfer)
	}
	return 0
}

func (d *device) Close() error {
	fault := d.Call(context.Background(), "Device.Close", Plain)
	d.f.Count("devices", -1)
	if err := d.d.Close(); err != nil {
		return err
	}
	return fault
}

// made is what a call returned, wrapped and counted; or the call's error.
func made[T, W any](d *device, what string, v T, err error, wrap func(T) W) (w W, _ error) {
	if err != nil {
		return w, err
	}
	d.f.Count(what, 1)
	return wrap(v), nil
}

func (d *device) Alloc(bytes int64) (driver.Buffer, error) {
	if err := d.Call(context.Background(), "Alloc", Takes); err != nil {
		return nil, err
	}
	b, err := d.d.Alloc(bytes)
	return made(d, "buffers", b, err, func(b driver.Buffer) driver.Buffer {
		return &buffer{d: d, Buffer: b, unshared: d.Unshared("Alloc")}
	})
}

func (d *device) NewStream() (driver.Stream, error) {
	if err := d.Call(context.Background(), "NewStream", Takes); err != nil {
		return nil, err
	}
	s, err := d.d.NewStream()
	return made(d, "streams", s, err, func(s driver.Stream) driver.Stream { return &stream{d, s} })
}

func (d *device) NewTimedStream() (driver.Stream, error) {
	t, ok := d.d.(driver.Timer)
	if !ok {
		return d.NewStream()
	}
	if err := d.Call(context.Background(), "NewStream", Takes); err != nil {
		return nil, err
	}
	s, err := t.NewTimedStream()
	return made(d, "streams", s, err, func(s driver.Stream) driver.Stream { return &stream{d, s} })
}

func (d *device) Plan(ctx context.Context, p problem.Problem, o driver.PlanOptions) (driver.Plan, error) {
	if err := d.Call(ctx, "Plan", Takes); err != nil {
		return nil, err
	}
	pl, err := d.d.Plan(ctx, p, o)
	return made(d, "plans", pl, err, func(pl driver.Plan) driver.Plan { return &plan{d, pl, p.Outputs()} })
}

type buffer struct {
	d *device
	driver.Buffer
	unshared bool
}

func (b *buffer) Free() {
	b.d.f.Count("buffers", -1)
	b.Buffer.Free()
}

// inner is the driver's own buffer.
func inner(b driver.Buffer) driver.Buffer {
	if w, ok := b.(*buffer); ok {
		return w.Buffer
	}
	return b
}

func inners(b driver.Buffers) driver.Buffers {
	for r := range b {
		b[r] = inner(b[r])
	}
	return b
}

type stream struct {
	d *device
	s driver.Stream
}

// innerStream is the driver's own stream.
func innerStream(s driver.Stream) driver.Stream {
	if w, ok := s.(*stream); ok {
		return w.s
	}
	return s
}

func (s *stream) Write(ctx context.Context, dst driver.Buffer, off int64, src []byte) error {
	if err := s.d.Call(ctx, "Write", Takes); err != nil {
		return err
	}
	return s.s.Write(ctx, inner(dst), off, src)
}

func (s *stream) Read(ctx context.Context, dst []byte, src driver.Buffer, off int64) error {
	if err := s.d.Call(ctx, "Read", Takes); err != nil {
		return err
	}
	err := s.s.Read(ctx, dst, inner(src), off)
	if err == nil {
		s.d.Corrupt("Read", dst)
	}
	return err
}

func (s *stream) Fill(ctx context.Context, dst driver.Buffer, word uint32) error {
	if err := s.d.Call(ctx, "Fill", Plain); err != nil {
		return err
	}
	return s.s.Fill(ctx, inner(dst), word)
}

func (s *stream) Wait(ctx context.Context) error {
	if err := s.d.Call(ctx, "Stream.Wait", Plain); err != nil {
		return err
	}
	return s.s.Wait(ctx)
}

func (s *stream) Close() error {
	fault := s.d.Call(context.Background(), "Stream.Close", Plain)
	s.d.f.Count("streams", -1)
	if err := s.s.Close(); err != nil {
		return err
	}
	return fault
}

type plan struct {
	d       *device
	pl      driver.Plan
	outputs []problem.Role
}

func (p *plan) Info() driver.PlanInfo { return p.pl.Info() }

func (p *plan) Pack(ctx context.Context, s driver.Stream, constants driver.Buffers) (driver.Weights, driver.Event, error) {
	if err := p.d.Call(ctx, "Pack", Takes); err != nil {
		return nil, nil, err
	}
	w, e, err := p.pl.Pack(ctx, innerStream(s), inners(constants))
	if err != nil {
		return nil, nil, err
	}
	p.d.f.Count("weights", 1)
	return &weights{p.d, w}, &event{Event: e, d: p.d}, nil
}

func (p *plan) Run(ctx context.Context, s driver.Stream, a driver.Args) (driver.Event, error) {
	if err := p.d.Call(ctx, "Run", Takes); err != nil {
		return nil, err
	}
	a.Buffers = inners(a.Buffers)
	if w, ok := a.Weights.(*weights); ok {
		a.Weights = w.Weights
	}
	e, err := p.pl.Run(ctx, innerStream(s), a)
	if err != nil {
		return nil, err
	}
	ev := &event{Event: e, d: p.d}
	if d, ok := p.d.d.(driver.Sharer); ok && p.d.shares {
		for _, r := range p.outputs {
			ev.results = append(ev.results, d.Shared(a.Buffers[r]))
		}
	}
	return ev, nil
}

func (p *plan) Close() error {
	fault := p.d.Call(context.Background(), "Plan.Close", Plain)
	p.d.f.Count("plans", -1)
	if err := p.pl.Close(); err != nil {
		return err
	}
	return fault
}

type weights struct {
	d *device
	driver.Weights
}

func (w *weights) Free() {
	w.d.f.Count("weights", -1)
	w.Weights.Free()
}

type event struct {
	driver.Event
	d       *device
	results [][]byte // that the host may read after Wait
	read    sync.Once
}

func (e *event) Wait(ctx context.Context) error {
	if err := e.d.Call(ctx, "Event.Wait", Plain); err != nil {
		return err
	}
	err := e.Event.Wait(ctx)
	if err == nil {
		e.read.Do(func() {
			for _, r := range e.results {
				e.d.Corrupt("Shared", r)
			}
		})
	}
	return err
}
