package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tuned"
)

// Device is an open device. It is safe for concurrent use. Close it after everything that was made by it.
type Device struct {
	spec       string
	d          driver.Device
	fallbackTo string // spec of the device to fall back to, "" for none
	tuning     *tuned.DB
	tunedFor   tuned.Key // without a problem

	mu        sync.Mutex
	fallback  *Device // opened on first need
	fallbacks []Fallback
	closed    bool
}

// Fallback is one problem that ran elsewhere than asked.
type Fallback struct {
	Problem  problem.Problem
	From, To string // device specs
	Reason   error  // wraps ErrUnsupported or ErrOutOfMemory
}

func (f *Fallback) String() string {
	return fmt.Sprintf("%s runs on %s instead of %s: %v", f.Problem.String(), f.To, f.From, f.Reason)
}

// Option is an option of Open.
type Option func(*options)

type options struct {
	driver.Options
	fallback string
	tuning   *tuned.DB
	tuningBy bool // tuning was given
}

// NoFallback makes a problem that the device cannot run an error instead of running it on the cpu.
func NoFallback() Option { return func(o *options) { o.fallback = "" } }

// WithDriverOptions passes options to the driver.
func WithDriverOptions(d driver.Options) Option { return func(o *options) { o.Options = d } }

// WithTuning makes plans take what is fastest by the database instead of the user's; nil is the driver's choice always.
func WithTuning(db *tuned.DB) Option { return func(o *options) { o.tuning, o.tuningBy = db, true } }

// Open opens the device of a spec (see Resolve). A spec that matches several opens the first.
func Open(ctx context.Context, spec string, opts ...Option) (*Device, error) {
	o := options{fallback: "cpu"}
	for _, f := range opts {
		f(&o)
	}
	found, err := Resolve(spec)
	if err != nil {
		return nil, err
	}
	d, err := open(ctx, found[0], o.Options)
	if err != nil {
		return nil, err
	}
	if _, ok := lookup(o.fallback); !ok || o.fallback == found[0] {
		o.fallback = ""
	}
	switch {
	case o.tuningBy:
	case o.NoCache:
		o.tuning = tuned.BuiltIn()
	default:
		o.tuning = tuned.User()
	}
	return &Device{
		spec: found[0], d: d, fallbackTo: o.fallback,
		tuning: o.tuning, tunedFor: tuned.Key{Device: tuned.DeviceKey(d.Info()), Kernels: tuned.Kernels(d)},
	}, nil
}

// Spec is the resolved spec, such as "vulkan:0".
func (d *Device) Spec() string { return d.spec }

// Info describes the device.
func (d *Device) Info() driver.Info { return d.d.Info() }

// Driver is the driver's own device, for its optional interfaces (driver.Oracle, driver.SelfTester,
// driver.MemoryReporter).
func (d *Device) Driver() driver.Device { return d.d }

// Algorithms lists the algorithms that can run the problem, best guess first.
func (d *Device) Algorithms(p problem.Problem) []string { return d.d.Algorithms(p) }

// Fallbacks lists the plans that went to another device.
func (d *Device) Fallbacks() []Fallback {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Fallback(nil), d.fallbacks...)
}

// Close frees the device.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	var err error
	if d.fallback != nil {
		err = d.fallback.Close()
	}
	return errors.Join(d.d.Close(), err)
}

// Plan chooses an algorithm for the problem and compiles it: what was fastest when the problem was tuned on this device,
// else what the driver takes to be. If the device cannot run the problem the plan is for the
// fallback device, unless that was ruled out.
func (d *Device) Plan(ctx context.Context, p problem.Problem, o driver.PlanOptions) (*Plan, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	dp, why, err := d.choose(ctx, p, o)
	if err == nil {
		return newPlan(d, p, dp, why), nil
	}
	err = fmt.Errorf("%s: %w", d.spec, err)
	if d.fallbackTo == "" || o != (driver.PlanOptions{}) || !(errors.Is(err, ErrUnsupported) || errors.Is(err, ErrOutOfMemory)) {
		return nil, err
	}
	other, openErr := d.openFallback(ctx)
	if openErr != nil {
		return nil, errors.Join(err, openErr)
	}
	pl, planErr := other.Plan(ctx, p, o)
	if planErr != nil {
		return nil, fmt.Errorf("%w; and its fallback: %w", err, planErr)
	}
	f := Fallback{Problem: p, From: d.spec, To: other.spec, Reason: err}
	pl.fallback = &f
	d.mu.Lock()
	d.fallbacks = append(d.fallbacks, f)
	d.mu.Unlock()
	slog.WarnContext(ctx, "fallback", "problem", p.String(), "from", f.From, "to", f.To, "reason", err)
	return pl, nil
}

// choose plans as the tuning says, or else as the driver likes. why is empty or the tuning's.
func (d *Device) choose(ctx context.Context, p problem.Problem, o driver.PlanOptions) (pl driver.Plan, why string, err error) {
	if o == (driver.PlanOptions{}) {
		if e, ok := d.tuning.Lookup(d.TuningKey(p)); ok {
			if pl, err = d.d.Plan(ctx, p, e.Options()); err == nil {
				return pl, e.Why(), nil
			}
			if ctx.Err() != nil {
				return nil, "", err
			}
			slog.WarnContext(ctx, "tuned choice refused", "problem", e.Problem, "device", d.spec,
				"algorithm", e.Algorithm, "tile", e.Tile, "reason", err)
		}
	}
	pl, err = d.d.Plan(ctx, p, o)
	return pl, "", err
}

// TuningKey is what the tuning knows a problem on this device by.
func (d *Device) TuningKey(p problem.Problem) tuned.Key {
	k := d.tunedFor
	k.Problem = tuned.Text(p)
	return k
}

func (d *Device) openFallback(ctx context.Context) (*Device, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, fmt.Errorf("%s: %w", d.spec, ErrClosed)
	}
	if d.fallback == nil {
		other, err := Open(ctx, d.fallbackTo, NoFallback(), WithTuning(d.tuning))
		if err != nil {
			return nil, err
		}
		d.fallback = other
	}
	return d.fallback, nil
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

// Compute runs any problem once from host to host: in are its Inputs and Constants, the result its Outputs.
func (d *Device) Compute(ctx context.Context, p problem.Problem, in Operands) (Operands, error) {
	pl, err := d.Plan(ctx, p, driver.PlanOptions{})
	if err != nil {
		return Operands{}, err
	}
	defer pl.Close()
	if pl.constants {
		var constants Operands
		for _, r := range p.Constants() {
			constants[r] = in[r]
		}
		if err := pl.SetWeights(ctx, constants); err != nil {
			return Operands{}, err
		}
	}
	return pl.RunHost(ctx, in)
}

// DeviceTensor is a tensor in a device's memory.
type DeviceTensor struct {
	dev   *Device
	typ   problem.DataType
	shape []int
	buf   driver.Buffer
}

// NewTensor takes device memory for a tensor. Its contents are undefined.
func (d *Device) NewTensor(typ problem.DataType, shape ...int) (*DeviceTensor, error) {
	bytes, err := sizeOf(typ, shape)
	if err != nil {
		return nil, err
	}
	b, err := d.d.Alloc((bytes + 3) &^ 3)
	if err != nil {
		return nil, fmt.Errorf("%s: tensor %v of %d bytes: %w", d.spec, shape, bytes, err)
	}
	return &DeviceTensor{d, typ, append([]int(nil), shape...), b}, nil
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
	return &DeviceTensor{t.dev, typ, slices.Clone(shape), t.buf}, nil
}

// Type is the type of the elements.
func (t *DeviceTensor) Type() problem.DataType { return t.typ }

// Shape is the sizes, outermost first.
func (t *DeviceTensor) Shape() []int { return t.shape }

// Free gives the memory back once work in flight is done with it.
func (t *DeviceTensor) Free() {
	if t != nil {
		t.buf.Free()
	}
}
