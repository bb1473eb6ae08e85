package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/faulty"
	"github.com/gonvolve/gonvolve/engine/fft"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

const (
	faultyProblems = 40              // different ones, so that their kernels are compiled once
	faultyDeadline = 2 * time.Second // of a device's calls, in runs in which some hang
)

// Faults runs problems on devices whose drivers fail at random, as package faulty has them: each run has to end in the right
// result or a clear error, and nothing may be left of it.
type Faults struct {
	Seed  uint64
	Specs []string // devices
	// Options are the drivers'; half of the runs are Staged besides.
	Options driver.Options
	// Around puts the faults around a driver; nil is faulty.Faults.Driver.
	Around func(*faulty.Faults, driver.Driver) driver.Driver
	// Watchdog is how long a run may take; 0 is five minutes.
	Watchdog time.Duration

	oracle  *engine.Device
	cases   []*Case
	sound   map[string]*engine.Device
	arith   map[string][]driver.Arithmetic // of the sound devices' plans, by spec and case
	threads int                            // goroutines between runs
	looks   int                            // for what is left of a run; 0: for half a minute
}

// FaultyRun is what came of one run.
type FaultyRun struct {
	Index   uint64
	Device  string
	Problem problem.Problem
	Mode    string
	Faults  faulty.Options
	// Injected counts the faults that happened, by kind.
	Injected map[string]int
	Steps    []engine.Step // that kept the run going
	Err      error         // what the run ended with, if not with the right result
	Bad      string        // why the run must not have ended so: empty if all is well
}

// Outcome is a word for how the run ended.
func (r *FaultyRun) Outcome() string {
	switch {
	case r.Bad != "":
		return "BAD"
	case r.Err == nil:
		return "right"
	case errors.Is(r.Err, engine.ErrDeviceHung):
		return "device hung"
	case errors.Is(r.Err, engine.ErrDeviceLost):
		return "device lost"
	case errors.Is(r.Err, engine.ErrOutOfMemory):
		return "out of memory"
	case errors.Is(r.Err, faulty.ErrFault):
		return "injected fault"
	case errors.Is(r.Err, context.DeadlineExceeded):
		return "cancelled"
	}
	return ""
}

// Prepare makes the problems and runs each once on sound devices, which compiles their kernels.
func (f *Faults) Prepare(ctx context.Context) (err error) {
	if f.Watchdog == 0 {
		f.Watchdog = 5 * time.Minute
	}
	if f.looks == 0 {
		f.looks = 600
	}
	if f.Around == nil {
		f.Around = (*faulty.Faults).Driver
	}
	if f.oracle, err = Oracle(ctx); err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(f.Seed, 0))
	for len(f.cases) < faultyProblems {
		p := problem.Random(r, 12)
		if p.Bytes() < 256 || p.FLOPs() > 2e6 {
			continue
		}
		c, err := NewCase(ctx, f.oracle, p, Int, DefaultBudget)
		if err != nil {
			return err
		}
		f.cases = append(f.cases, c)
	}
	f.sound, f.arith = map[string]*engine.Device{}, map[string][]driver.Arithmetic{}
	for _, spec := range append([]string{"cpu"}, f.Specs...) {
		if f.sound[spec] != nil {
			continue
		}
		d, err := engine.Open(ctx, spec, engine.NoFallback(), engine.WithTuning(nil), engine.WithDriverOptions(f.Options))
		if err != nil {
			return err
		}
		f.sound[spec] = d
		members, err := d.Members(ctx)
		if err != nil {
			return err
		}
		for i, c := range f.cases {
			var a driver.Arithmetic
			for _, m := range members {
				b, err := f.first(ctx, m, c)
				if err != nil {
					return fmt.Errorf("%s on %s: %w", c.Problem.String(), m.Spec(), err)
				}
				a = either(a, b)
			}
			if spec != "cpu" { // where a run may end, too
				a = either(a, f.arith["cpu"][i])
				a.OrPlain = a != (driver.Arithmetic{})
			}
			f.arith[spec] = append(f.arith[spec], a)
		}
	}
	f.threads = calm()
	return nil
}

// either is the arithmetic of results that come by one of two ways.
func either(a, b driver.Arithmetic) driver.Arithmetic {
	return driver.Arithmetic{Winograd: max(a.Winograd, b.Winograd), FFT: max(a.FFT, b.FFT), Cut: a.Cut || b.Cut, Half: max(a.Half, b.Half),
		Truncates: a.Truncates || b.Truncates, OrPlain: a.OrPlain || b.OrPlain || a != b}
}

// first runs a case on a sound device. What that cannot run is left to those that it falls back to.
func (f *Faults) first(ctx context.Context, d *engine.Device, c *Case) (a driver.Arithmetic, err error) {
	pl, err := d.Plan(ctx, c.Problem, driver.PlanOptions{})
	if errors.Is(err, driver.ErrUnsupported) {
		return a, nil
	}
	if err != nil {
		return a, err
	}
	a = pl.Info().Arithmetic
	if err := pl.Close(); err != nil {
		return a, err
	}
	out, err := d.Compute(ctx, c.Problem, c.In)
	if err != nil {
		return a, err
	}
	return a, c.right(ctx, a, out)
}

// Close closes the sound devices.
func (f *Faults) Close() error {
	var errs []error
	for _, d := range f.sound {
		errs = append(errs, d.Close())
	}
	if f.oracle != nil {
		errs = append(errs, f.oracle.Close())
	}
	return errors.Join(errs...)
}

// errWrong is a result that a run must not end with.
var errWrong = errors.New("wrong")

// right is nil, or an error that wraps errWrong.
func (c *Case) right(ctx context.Context, a driver.Arithmetic, got engine.Operands) error {
	var r report.Record
	if err := c.Judge(ctx, &r, a, got); err != nil {
		return err
	}
	if r.Status != report.Passed {
		return fmt.Errorf("%w: %s", errWrong, r.Reason)
	}
	return nil
}

// Run is run i: what it does depends on Seed and i alone, but for the order in which goroutines run.
func (f *Faults) Run(ctx context.Context, i uint64) *FaultyRun {
	r := rand.New(rand.NewPCG(f.Seed, i+1))
	run := &FaultyRun{Index: i, Device: f.Specs[r.IntN(len(f.Specs))]}
	k := r.IntN(len(f.cases))
	c, a := f.cases[k], f.arith[run.Device][k]
	run.Problem = c.Problem
	o := faulty.Options{Seed: r.Uint64()}
	for _, rate := range []*float64{&o.OutOfMemory, &o.Lost, &o.Broken, &o.Delay} {
		if x := math.Pow(10, -3+2*r.Float64()); r.IntN(2) == 0 {
			*rate = x
		}
	}
	if r.IntN(4) == 0 {
		o.Unshared = r.Float64()
	}
	options := f.Options
	options.Staged = r.IntN(2) == 0 || options.Staged
	opts := []engine.Option{engine.WithTuning(nil), engine.WithDriverOptions(options)}
	if r.IntN(16) == 0 {
		o.Hang = 0.02
		opts = append(opts, engine.WithDeadline(faultyDeadline))
	}
	if r.IntN(3) == 0 {
		o.Most = 1 + r.IntN(3)
		o.After = uint64(r.IntN(6))
	}
	if r.IntN(2) == 0 {
		opts = append(opts, engine.NoFallback())
	}
	modes := []string{"compute", "resident", "concurrent", "streams", "tiled"}
	run.Mode = modes[r.IntN(len(modes))]
	if windowed(&c.Problem) && (run.Mode == "compute" || run.Mode == "concurrent") {
		o.OutOfMemory = 0 // it would run in tiles, which may be transformed each from its own origin
	}
	run.Faults = o
	limit := time.Duration(0)
	if r.IntN(16) == 0 {
		limit = time.Duration(1 + r.IntN(int(30*time.Millisecond)))
	}
	faults := faulty.New(o)
	opts = append(opts, engine.WithDriver(func(d driver.Driver) driver.Driver { return f.Around(faults, d) }))

	done := make(chan struct{})
	go func() {
		defer close(done)
		ctx := ctx
		if limit > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, limit)
			defer cancel()
		}
		run.Err = survived(func() error { return run.do(ctx, c, a, opts) })
	}()
	select {
	case <-done:
	case <-time.After(f.Watchdog):
		run.Bad = fmt.Sprintf("no end after %v\n%s", f.Watchdog, stacks())
		return run
	}
	run.Injected = faults.Injected()
	switch {
	case run.Bad != "":
	case errors.Is(run.Err, errWrong) || errors.Is(run.Err, errPanic):
		run.Bad = run.Err.Error()
	case run.Outcome() == "" && ctx.Err() == nil:
		run.Bad = "unclear error: " + run.Err.Error()
	default:
		run.Bad = f.settle(faults)
	}
	return run
}

// windowed says whether Winograd's transforms or Fourier's could compute a problem.
func windowed(p *problem.Problem) bool {
	if fft.Applies(p, 0) == nil {
		return true
	}
	three := func(a problem.Axis) bool { return a.Kernel == 3 }
	return (p.Op == problem.Conv || p.Op == problem.Deconv) && slices.ContainsFunc(p.Spatial(), three)
}

// do opens the device and runs the case.
func (run *FaultyRun) do(ctx context.Context, c *Case, a driver.Arithmetic, opts []engine.Option) (err error) {
	d, err := engine.Open(ctx, run.Device, opts...)
	if err != nil {
		return err
	}
	defer func() {
		for _, f := range d.Fallbacks() {
			run.Steps = append(run.Steps, f.Step)
		}
		if cerr := d.Close(); err == nil {
			err = cerr
		}
	}()
	switch run.Mode {
	case "tiled":
		out, err := tiling.Compute(ctx, d, c.Problem, c.In, tiling.Options{MemLimit: max(c.Problem.Bytes()*2, 8<<10), Exact: true})
		if errors.Is(err, driver.ErrUnsupported) { // not so small
			out, err = tiling.Compute(ctx, d, c.Problem, c.In, tiling.Options{Exact: true})
		}
		if err != nil {
			return err
		}
		return c.right(ctx, a, out)
	case "concurrent":
		return together(func() error {
			err := c.compute(ctx, d, a)
			if again := c.compute(ctx, d, a); errors.Is(again, errWrong) || err == nil {
				err = again
			}
			return err
		})
	case "resident", "streams":
		pl, err := d.Plan(ctx, c.Problem, driver.PlanOptions{})
		if err != nil {
			return err
		}
		defer func() {
			if cerr := pl.Close(); err == nil {
				err = cerr
			}
		}()
		if run.Mode == "resident" {
			return c.resident(ctx, pl, a)
		}
		return together(func() error { return c.resident(ctx, pl, a) })
	}
	return c.compute(ctx, d, a)
}

// together calls f by several goroutines at a time.
func together(f func() error) error {
	errs := make([]error, 3)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = survived(f) })
	}
	wg.Wait()
	return worst(errs)
}

// errPanic is what a run must not end with, either.
var errPanic = errors.New("panic")

// survived is f, or an error that wraps errPanic.
func survived(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v\n%s", errPanic, p, debug.Stack())
		}
	}()
	return f()
}

// worst is the error that says most: that a result is wrong, or worse.
func worst(errs []error) error {
	for _, err := range errs {
		if errors.Is(err, errWrong) || errors.Is(err, errPanic) {
			return err
		}
	}
	return errors.Join(errs...)
}

func (c *Case) compute(ctx context.Context, d *engine.Device, a driver.Arithmetic) error {
	out, err := d.Compute(ctx, c.Problem, c.In)
	if err != nil {
		return err
	}
	return c.right(ctx, a, out)
}

// resident runs a plan some times on a stream and tensors of its own that stay on the device, as users do: each result that
// comes without an error has to be right.
func (c *Case) resident(ctx context.Context, pl *engine.Plan, a driver.Arithmetic) (err error) {
	p, err := c.Prepare(ctx, pl)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := p.Close(); err == nil {
			err = cerr
		}
	}()
	var last error
	for range 5 {
		out, err := p.Result(ctx)
		if err == nil {
			err = c.right(ctx, a, out)
		}
		if errors.Is(err, errWrong) {
			return err
		}
		last = err
	}
	return last
}

// settle waits until nothing is left of a run, or says what is. It counts its looks and no time, which goes on while the
// process is stopped.
func (f *Faults) settle(faults *faulty.Faults) string {
	faults.Release()
	wait := 100 * time.Microsecond
	for range f.looks {
		if faults.Leaks() == nil && runtime.NumGoroutine() <= f.threads {
			return ""
		}
		time.Sleep(wait)
		wait = min(2*wait, 50*time.Millisecond)
	}
	if err := faults.Leaks(); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d goroutines became %d\n%s", f.threads, runtime.NumGoroutine(), stacks())
}

// calm is how many goroutines there are once those that are about to end have ended: as long as they become fewer it looks
// again. What it counted too many would hide as many that runs leave behind.
func calm() int {
	least := runtime.NumGoroutine()
	for same := 0; same < 10; same++ {
		time.Sleep(5 * time.Millisecond)
		if n := runtime.NumGoroutine(); n < least {
			least, same = n, 0
		}
	}
	return least
}

func stacks() string {
	text := make([]byte, 1<<20)
	return string(text[:runtime.Stack(text, true)])
}

// Repro is the command that does the run again.
func (f *Faults) Repro(i uint64, devices string) string {
	return fmt.Sprintf("gonvolve verify --faults 1 --first %d --seed %d --device %s", i, f.Seed, devices)
}
