package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tuned"
)

// Device is an open device. It is safe for concurrent use. Close it after everything that was made by it.
type Device struct {
	*single
	group *group // nil for a device by itself; else the device is the first of a group in all that knows no problem
}

// single is a device by itself.
type single struct {
	spec       string
	o          options
	fallbackTo string // spec of the device to fall back to, "" for none
	tuning     *tuned.DB
	tunedFor   tuned.Key // without a problem

	on        atomic.Pointer[session]
	reopening sync.Mutex // held while the device is opened again
	opening   sync.Mutex // held while fallback is opened

	mu        sync.Mutex
	before    []*session // lost
	fallback  *Device    // opened on first need
	fallbacks []Fallback
	closed    bool

	checker checker
	kept    kept
}

// Option is an option of Open.
type Option func(*options)

type options struct {
	driver.Options
	fallback string
	tuning   *tuned.DB
	tuningBy bool // tuning was given
	deadline time.Duration
	checks   int
	memory   int64 // at most; 0: what the device has
	tile     string
	through  func(driver.Driver) driver.Driver
}

// NoFallback makes a problem that the device cannot run an error instead of running it on the cpu.
func NoFallback() Option { return func(o *options) { o.fallback = "" } }

// WithDriverOptions passes options to the driver.
func WithDriverOptions(d driver.Options) Option { return func(o *options) { o.Options = d } }

// WithTuning makes plans take what is fastest by the database instead of the user's; nil is the driver's choice always.
func WithTuning(db *tuned.DB) Option { return func(o *options) { o.tuning, o.tuningBy = db, true } }

// WithDeadline gives a device up that does not answer a single call of its driver for so long: ErrDeviceHung, which is an
// ErrDeviceLost. A wait is one call, whatever it waits for, and so is the compilation of a plan. What hangs in the driver
// is left behind, and cleaned up if it returns after all. Without a deadline (0, the default) calls take the time that they
// take, as only the user knows how much that may be; with one, transfers go through a copy, which a driver that is left
// behind may go on to use.
func WithDeadline(d time.Duration) Option { return func(o *options) { o.deadline = d } }

// WithCheck computes n elements of each result that RunHost, and so Compute and its like, downloads once more by the
// float64 reference, chosen at random: if one is off by more than floating-point arithmetic may be, the error is
// ErrWrongResult and names the device.
func WithCheck(n int) Option { return func(o *options) { o.checks = n } }

// WithMemLimit has each problem take no more than so many bytes of the device's memory: tensors, packed weights, workspace and
// staging together. A Plan of more is ErrOutOfMemory, as on a device that has no more; Compute and package tiling cut what is
// larger.
func WithMemLimit(bytes int64) Option { return func(o *options) { o.memory = bytes } }

// WithTile has plans by a named algorithm (driver.PlanOptions.Algorithm) take this tile where they name none: which ones there
// are, driver.Tuner says.
func WithTile(tile string) Option { return func(o *options) { o.tile = tile } }

// WithDriver puts something around the drivers of the device and of those that it falls back to, such as the faults of
// package faulty. It is called whenever a device is opened.
func WithDriver(through func(driver.Driver) driver.Driver) Option {
	return func(o *options) { o.through = through }
}

// Open opens the device of a spec (see Resolve). A spec that matches several opens the first. What was opened as "auto" or as
// a list such as "cpu+opencl:0" runs each problem (Plan, Compute and their like) on the device for it (see For), and is one of
// them in all else: a Plan's tensors and streams are those of the plan's Device.
func Open(ctx context.Context, spec string, opts ...Option) (*Device, error) {
	o := options{fallback: "cpu"}
	for _, f := range opts {
		f(&o)
	}
	found, err := Resolve(spec)
	if err != nil {
		return nil, err
	}
	if list := together(found[0]); list != nil {
		return openGroup(ctx, found[0], list, o)
	}
	return openDevice(ctx, found[0], o)
}

// openDevice opens the device of a resolved spec.
func openDevice(ctx context.Context, spec string, o options) (*Device, error) {
	d := &Device{single: &single{spec: spec}}
	if _, ok := lookup(o.fallback); ok && o.fallback != spec {
		d.fallbackTo = o.fallback
	}
	switch {
	case o.tuningBy:
	case o.NoCache:
		o.tuning, o.tuningBy = tuned.BuiltIn(), true
	default:
		o.tuning, o.tuningBy = tuned.User(), true
	}
	d.o, d.tuning = o, o.tuning
	s, err := open(ctx, spec, &o)
	if err != nil {
		return nil, err
	}
	d.on.Store(s)
	d.tunedFor = tuned.Key{Device: tuned.DeviceKey(s.d.Info())}
	return d, nil
}

// Spec is the resolved spec of this very device, such as "vulkan:0".
func (d *Device) Spec() string { return d.spec }

// Info describes the device.
func (d *Device) Info() driver.Info { return d.on.Load().d.Info() }

// Driver is the driver's own device, for its optional interfaces (driver.Oracle, driver.SelfTester,
// driver.MemoryReporter).
func (d *Device) Driver() driver.Device { return d.on.Load().d }

// MemLimit is that of WithMemLimit; 0 without.
func (d *Device) MemLimit() int64 { return d.o.memory }

// Ordinary says whether nothing about the device was changed when it was opened that changes what problems take on it: what is
// measured holds for others who open it.
func (d *Device) Ordinary() bool {
	return d.o.Options == (driver.Options{}) && d.o.through == nil && d.tuning == tuned.User() && d.o.tile == ""
}

// Tile is that of WithTile; empty without.
func (d *Device) Tile() string { return d.o.tile }

// Algorithms lists the algorithms that can run the problem, best guess first.
func (d *Device) Algorithms(p problem.Problem) []string { return d.on.Load().d.Algorithms(p) }

// Close frees the device.
func (d *Device) Close() error {
	d.mu.Lock()
	closed := d.closed
	d.closed = true
	fallback, before := d.fallback, d.before
	d.mu.Unlock()
	if closed {
		return nil
	}
	_, err := d.kept.clear(true)
	if errors.Is(err, ErrDeviceLost) {
		err = nil // whoever lost it was told
	}
	errs := []error{err, d.on.Load().close()}
	for _, s := range before {
		errs = append(errs, s.close())
	}
	if fallback != nil {
		errs = append(errs, fallback.Close())
	}
	for _, other := range d.opened() {
		errs = append(errs, other.Close())
	}
	return errors.Join(append(errs, d.checker.close())...)
}

// Plan chooses an algorithm for the problem and compiles it: what was fastest when the problem was tuned on this device,
// else what the driver takes to be. Where the device stands for several, the plan is for the one that is fastest while
// tensors stay on it. If the device cannot run the problem the plan is for the fallback device, unless that was ruled out.
func (d *Device) Plan(ctx context.Context, p problem.Problem, o driver.PlanOptions) (*Plan, error) {
	on, chosen, err := d.pick(ctx, p, OnDevice, o)
	if err != nil {
		return nil, err
	}
	pl, err := on.planHere(ctx, p, o)
	if err == nil {
		pl.chosen = chosen
	}
	return pl, err
}

// planHere is Plan on this device, or on the one that it falls back to.
func (d *Device) planHere(ctx context.Context, p problem.Problem, o driver.PlanOptions) (*Plan, error) {
	pl, err := d.PlanHere(ctx, p, o)
	if err == nil {
		return pl, nil
	}
	if d.fallbackTo == "" || !own(o) || !(errors.Is(err, ErrUnsupported) || errors.Is(err, ErrOutOfMemory)) {
		return nil, err
	}
	other, openErr := d.openFallback(ctx, p)
	if openErr != nil {
		return nil, errors.Join(err, openErr)
	}
	pl, otherErr := other.planHere(ctx, p, o)
	if otherErr != nil {
		return nil, fmt.Errorf("%w; and its fallback: %w", err, otherErr)
	}
	f := Fallback{Problem: p, Step: Moved, From: d.spec, To: other.spec, Reason: err}
	pl.fallback = &f
	d.Note(ctx, f)
	return pl, nil
}

// PlanHere is Plan without another device to fall back to.
func (d *Device) PlanHere(ctx context.Context, p problem.Problem, o driver.PlanOptions) (*Plan, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	on := d.on.Load()
	if err := d.withinLimit(&p, driver.PlanInfo{}); err != nil {
		return nil, err
	}
	dp, why, err := d.choose(ctx, on, p, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.spec, d.hint(&p, err))
	}
	if err := d.withinLimit(&p, dp.Info()); err != nil {
		return nil, errors.Join(err, on.free(dp.Close))
	}
	return newPlan(d, on, p, dp, why), nil
}

// own says whether the choice is the driver's.
func own(o driver.PlanOptions) bool {
	o.Background, o.Exact = false, false
	return o == driver.PlanOptions{}
}

// choose plans as the tuning says, or else as the driver likes. why is empty or the tuning's.
func (d *Device) choose(ctx context.Context, on *session, p problem.Problem, o driver.PlanOptions) (pl driver.Plan, why string, err error) {
	plan := func(o driver.PlanOptions) error {
		// Compiling has no context but the caller's: what hangs is given up by the session.
		pl, err = create(on, "plan", func() (driver.Plan, error) { return on.d.Plan(ctx, p, o) }, driver.Plan.Close)
		return err
	}
	if o.Algorithm != "" && o.Tile == "" {
		o.Tile = d.o.tile
	}
	if own(o) {
		if e, ok := d.tuning.Lookup(on.d, d.TuningKey(p)); ok {
			tuned := e.Options()
			tuned.Background, tuned.Exact = o.Background, o.Exact
			if plan(tuned) == nil {
				return pl, e.Why(), nil
			}
			if ctx.Err() != nil || errors.Is(err, ErrDeviceLost) {
				return nil, "", err
			}
			if !o.Exact {
				slog.WarnContext(ctx, "tuned choice refused", "problem", e.Problem, "device", d.spec,
					"algorithm", e.Algorithm, "tile", e.Tile, "reason", err)
			}
		}
	}
	err = plan(o)
	return pl, "", err
}

// Switches lists how compilations in the background ended (driver.PlanOptions.Background), the last few hundred.
func (d *Device) Switches() []driver.Switch {
	if s, ok := d.Driver().(driver.Switcher); ok {
		return s.Switches()
	}
	return nil
}

// TuningKey is what the tuning knows a problem on this device by.
func (d *Device) TuningKey(p problem.Problem) tuned.Key {
	k := d.tunedFor
	k.Problem = tuned.Text(p)
	return k
}

// SaveMemory has the device keep nothing for reuse, and take no more memory at a time than it is asked for, until stop is
// called. It does nothing where devices need none beside what they are asked for.
func (d *Device) SaveMemory() (stop func()) {
	on := d.on.Load()
	m, ok := on.d.(driver.MemorySaver)
	if !ok {
		return func() {}
	}
	restore, err := call(on, "save memory", func() (func(), error) { return m.SaveMemory(), nil }, func(late func()) { late() })
	if err != nil {
		return func() {} // the next call says why
	}
	return func() { _ = on.do("save memory", func() error { restore(); return nil }) } // likewise
}

// Conv convolves src [N, C, spatial…] with wei [OC, C/groups, kernel…] and adds bia [OC] (nil for none), from host to
// host. Make a Plan instead when the same weights serve several sources.
func (d *Device) Conv(ctx context.Context, src, wei, bia *Tensor, o problem.Params) (*Tensor, error) {
	o.Bias, o.Dir = bia != nil, problem.Forward
	p, err := problem.NewConv(src.Shape(), wei.Shape(), o)
	return d.forward(ctx, p, err, Operands{problem.Src: src, problem.Wei: wei, problem.Bia: bia})
}

// Deconv is the transposed convolution of src [N, C, spatial…] with wei [C, OC/groups, kernel…] plus bia [OC] (nil for
// none), from host to host.
func (d *Device) Deconv(ctx context.Context, src, wei, bia *Tensor, o problem.Params) (*Tensor, error) {
	o.Bias, o.Dir = bia != nil, problem.Forward
	p, err := problem.NewDeconv(src.Shape(), wei.Shape(), o)
	return d.forward(ctx, p, err, Operands{problem.Src: src, problem.Wei: wei, problem.Bia: bia})
}

// Pool pools src [N, C, spatial…] with windows of the kernel's size (nil: whole planes), from host to host. For the
// indices of a max pooling use Compute.
func (d *Device) Pool(ctx context.Context, kind problem.PoolKind, src *Tensor, kernel []int, o problem.Params) (*Tensor, error) {
	o.Indices, o.Dir = problem.NoIndices, problem.Forward
	p, err := problem.NewPool(kind, src.Shape(), kernel, o)
	return d.forward(ctx, p, err, Operands{problem.Src: src})
}

// forward computes dst, unless there is no problem to compute.
func (d *Device) forward(ctx context.Context, p problem.Problem, err error, in Operands) (*Tensor, error) {
	if err != nil {
		return nil, err
	}
	out, err := d.Compute(ctx, p, in)
	return out[problem.Dst], err
}

// DeviceTensor is a tensor in a device's memory.
type DeviceTensor struct {
	dev   *Device
	on    *session
	typ   problem.DataType
	shape []int
	buf   driver.Buffer
	freed *atomic.Bool // shared by all Within
}

// NewTensor takes device memory for a tensor. Its contents are undefined.
func (d *Device) NewTensor(typ problem.DataType, shape ...int) (*DeviceTensor, error) {
	bytes, err := sizeOf(typ, shape)
	if err != nil {
		return nil, err
	}
	on := d.on.Load()
	alloc := func() (driver.Buffer, error) {
		return create(on, "alloc", func() (driver.Buffer, error) { return on.d.Alloc((bytes + 3) &^ 3) },
			func(late driver.Buffer) error { late.Free(); return nil })
	}
	b, err := alloc()
	if d.madeRoom(err) {
		b, err = alloc()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: tensor %v of %d bytes: %w", d.spec, shape, bytes, err)
	}
	return &DeviceTensor{dev: d, on: on, typ: typ, shape: append([]int(nil), shape...), buf: b, freed: new(atomic.Bool)}, nil
}

// Within is a tensor of any type and shape in the beginning of the same memory, which must be large enough. To Free one
// of them frees all.
func (t *DeviceTensor) Within(typ problem.DataType, shape ...int) (*DeviceTensor, error) {
	bytes, err := sizeOf(typ, shape)
	if err != nil {
		return nil, err
	}
	if bytes > t.buf.Bytes() {
		return nil, fmt.Errorf("%w: %v of type %v takes %d bytes, there are %d", ErrInvalid, shape, typ, bytes, t.buf.Bytes())
	}
	return &DeviceTensor{t.dev, t.on, typ, slices.Clone(shape), t.buf, t.freed}, nil
}

// Host is the same memory as a tensor of the host, or nil where the host has no part in it. While work that uses the tensor
// is in flight it is the device's.
func (t *DeviceTensor) Host() *Tensor {
	d, ok := t.on.d.(driver.Sharer)
	if !ok {
		return nil
	}
	bytes, err := sizeOf(t.typ, t.shape)
	shared := d.Shared(t.buf)
	if err != nil || int64(len(shared)) < bytes {
		return nil
	}
	return &Tensor{t.shape, t.typ, shared[:bytes]}
}

// Type is the type of the elements.
func (t *DeviceTensor) Type() problem.DataType { return t.typ }

// Shape is the sizes, outermost first.
func (t *DeviceTensor) Shape() []int { return t.shape }

// Free gives the memory back once work in flight is done with it.
func (t *DeviceTensor) Free() {
	if t != nil && !t.freed.Swap(true) {
		_ = t.on.free(func() error { t.buf.Free(); return nil }) // that it hangs is in the next call's error
	}
}
