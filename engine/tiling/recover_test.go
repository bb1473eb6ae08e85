package tiling_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/devicetest"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/faulty"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

// fragile is a cpu that tests make fail, with the true one to fall back to.
type fragile struct{ cpu.Driver }

func init() { engine.Register("fragile", fragile{}) }

// warm starts the cpu's workers, which stay.
func warm(t *testing.T) {
	t.Helper()
	src, err := engine.NewTensor(problem.F32, 1, 8, 64, 64)
	if err != nil {
		t.Fatal(err)
	}
	wei, err := engine.NewTensor(problem.F32, 8, 8, 3, 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, "cpu").Conv(t.Context(), src, wei, nil, problem.Params{}); err != nil {
		t.Fatal(err)
	}
}

// staged has nothing shared between host and device.
var staged = engine.WithDriverOptions(driver.Options{Staged: true})

// fails opens a device with faults; the test ends with nothing of it left.
func fails(t *testing.T, f *faulty.Faults, opts ...engine.Option) *engine.Device {
	t.Helper()
	return failsIn(t, "fragile:0", f, opts...)
}

// failsIn opens devices of which those called fragile have faults.
func failsIn(t *testing.T, spec string, f *faulty.Faults, opts ...engine.Option) *engine.Device {
	t.Helper()
	warm(t)
	devicetest.Silent(t) // of each step
	devicetest.NothingLeft(t, f.Leaks)
	t.Cleanup(f.Release)
	opts = append(opts, engine.WithTuning(nil), engine.WithDriver(func(d driver.Driver) driver.Driver {
		if _, ok := d.(fragile); ok {
			return f.Driver(d)
		}
		return d
	}))
	d, err := engine.Open(t.Context(), spec, opts...)
	for tries := 0; injected(err) && tries < 10; tries++ { // opening has its faults, too
		d, err = engine.Open(t.Context(), spec, opts...)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// injected says whether an error is of a kind that faulty injects.
func injected(err error) bool {
	return errors.Is(err, faulty.ErrFault) || errors.Is(err, driver.ErrDeviceLost) || errors.Is(err, driver.ErrOutOfMemory)
}

// written counts boxes.
type written struct {
	tiling.Memory
	n int
}

func (w *written) WriteBox(ctx context.Context, b tiling.Box, from *engine.Tensor, at []int) error {
	w.n++
	return w.Memory.WriteBox(ctx, b, from, at)
}

// compute runs a problem in tiles and compares the result with the whole's; each result must be written once.
func compute(t *testing.T, d *engine.Device, text string, o tiling.Options) (*tiling.Job, error) {
	t.Helper()
	p, err := problem.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	whole := open(t, "cpu")
	in := inputs(t, whole, &p)
	want, err := whole.Compute(t.Context(), p, in)
	if err != nil {
		t.Fatal(err)
	}
	j, err := tiling.Prepare(t.Context(), d, p, o)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}()
	if j.Tiles.Len() < 8 {
		t.Fatal(j.Tiles)
	}
	role := p.Outputs()[0]
	out, err := engine.NewTensor(p.TypeOf(role), p.Shape(role)...)
	if err != nil {
		t.Fatal(err)
	}
	var from [problem.Roles]tiling.Source
	for r, v := range in {
		if v != nil {
			from[r] = tiling.Memory{Tensor: v}
		}
	}
	var to [problem.Roles]tiling.Sink
	w := &written{Memory: tiling.Memory{Tensor: out}}
	to[role] = w
	if err := j.Run(t.Context(), from, to); err != nil {
		return j, err
	}
	if i := differing(out, want[role]); i >= 0 {
		t.Errorf("element %d differs from the whole's", i)
	}
	if w.n != j.Tiles.Results() {
		t.Errorf("%d boxes were written of %d", w.n, j.Tiles.Results())
	}
	return j, nil
}

const (
	tiledConv = "mb4ic8ih24oc8oh24kh3ph1"
	tiledSums = "conv:BWD_W:mb16ic4ih12oc4oh12kh3ph1" // tiles that are added up
	tiledPool = "pool:max:mb1ic20ih32kh2sh2"
)

// steps are those of the device's fallbacks.
func steps(d *engine.Device) (s []engine.Step) {
	for _, f := range d.Fallbacks() {
		s = append(s, f.Step)
	}
	return s
}

func TestWorkGoesOnFromTheLastTileWhenTheDeviceIsLost(t *testing.T) {
	for _, text := range []string{tiledConv, tiledSums, tiledPool} {
		for _, method := range []string{"Alloc", "Write", "Run", "Event.Wait", "Read", "Stream.Wait", "Stream.Close", "Plan", "Plan.Close"} {
			f := faulty.New(faulty.Options{Lost: 1, Most: 1, After: 3, Methods: []string{method}})
			d := fails(t, f, engine.NoFallback())
			if _, err := compute(t, d, text, tiling.Options{MemLimit: 24 << 10}); err != nil {
				t.Errorf("%s, lost in %s: %v", text, method, err)
			}
			if n := len(d.Fallbacks()); n != f.Injected()["lost"] && method != "Stream.Close" && method != "Plan.Close" {
				t.Errorf("%s, lost in %s: %v", text, method, steps(d))
			}
		}
	}
}

func TestADeviceLostForGoodIsReplaced(t *testing.T) {
	for _, text := range []string{tiledConv, tiledSums} {
		d := fails(t, faulty.New(faulty.Options{Lost: 1, After: 5, Methods: []string{"Run"}}))
		j, err := compute(t, d, text, tiling.Options{MemLimit: 24 << 10})
		if err != nil {
			t.Fatal(err)
		}
		r := engine.Reopened
		if got := steps(d); !slices.Equal(got, []engine.Step{r, r, r, engine.Moved}) {
			t.Errorf("%s: steps are %v", text, got)
		}
		if fb := j.Fallback(); fb == nil || fb.To != "cpu" || j.Device().Spec() != "cpu" || !errors.Is(fb.Reason, engine.ErrDeviceLost) {
			t.Errorf("%s: %v", text, fb)
		}
		alone := fails(t, faulty.New(faulty.Options{Lost: 1, After: 5, Methods: []string{"Run"}}), engine.NoFallback())
		if _, err := compute(t, alone, text, tiling.Options{MemLimit: 24 << 10}); !errors.Is(err, engine.ErrDeviceLost) {
			t.Errorf("%s, without another device: %v", text, err)
		}
	}
}

func TestLackOfMemoryMakesSmallerTiles(t *testing.T) {
	for _, text := range []string{tiledConv, tiledSums, tiledPool} {
		lack := func() *faulty.Faults {
			return faulty.New(faulty.Options{OutOfMemory: 1, After: 3, Most: 2, Methods: []string{"Alloc"}})
		}
		d := fails(t, lack(), engine.NoFallback(), staged)
		if _, err := compute(t, d, text, tiling.Options{MemLimit: 24 << 10}); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		// Two stages may have run out of memory at a time.
		if got := slices.Compact(steps(d)); !slices.Equal(got, []engine.Step{engine.Divided}) {
			t.Errorf("%s: steps are %v", text, got)
		}
		// Shared memory is asked for before it is needed, and then once more: there may be enough by then.
		d = fails(t, lack(), engine.NoFallback())
		if _, err := compute(t, d, text, tiling.Options{MemLimit: 24 << 10}); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if got := slices.Compact(steps(d)); got != nil && !slices.Equal(got, []engine.Step{engine.Divided}) {
			t.Errorf("%s: steps are %v", text, got)
		}
	}
	// None at all: half, a quarter … and then elsewhere.
	d := fails(t, faulty.New(faulty.Options{OutOfMemory: 1, After: 3, Methods: []string{"Alloc"}}))
	if _, err := compute(t, d, tiledConv, tiling.Options{MemLimit: 24 << 10}); err != nil {
		t.Error(err)
	}
	got := steps(d)
	if n := len(got); n < 2 || got[0] != engine.Divided || got[n-1] != engine.Moved {
		t.Errorf("steps are %v", got)
	}
	// Not even for a plan: the same, before the first tile runs.
	d = fails(t, faulty.New(faulty.Options{OutOfMemory: 1, Methods: []string{"Plan"}}))
	if _, err := compute(t, d, tiledConv, tiling.Options{MemLimit: 24 << 10}); err != nil {
		t.Error(err)
	}
	d = fails(t, faulty.New(faulty.Options{OutOfMemory: 1, Methods: []string{"Plan"}}), engine.NoFallback())
	if _, err := compute(t, d, tiledConv, tiling.Options{MemLimit: 24 << 10}); !errors.Is(err, engine.ErrOutOfMemory) {
		t.Errorf("no memory for plans and no other device: %v", err)
	}
	// Another device is ruled out by a forced algorithm.
	d = fails(t, faulty.New(faulty.Options{OutOfMemory: 1, After: 3, Methods: []string{"Alloc"}}))
	if _, err := compute(t, d, tiledConv, tiling.Options{MemLimit: 24 << 10, Algorithm: "direct"}); !errors.Is(err, engine.ErrOutOfMemory) && !errors.Is(err, engine.ErrUnsupported) {
		t.Error(err)
	}
}

func TestAHungDeviceIsGivenUp(t *testing.T) {
	shared := []string{"Alloc", "Run", "Event.Wait", "Stream.Close"} // first in memory that is the host's, too, then in copies
	for i, method := range append(shared, "Alloc", "Write", "Run", "Event.Wait", "Read", "Stream.Close") {
		f := faulty.New(faulty.Options{Hang: 1, After: 2, Most: 1, Methods: []string{method}})
		opts := []engine.Option{engine.WithDeadline(300 * time.Millisecond)}
		if i >= len(shared) {
			opts = append(opts, staged)
		}
		d := fails(t, f, opts...)
		if _, err := compute(t, d, tiledConv, tiling.Options{MemLimit: 24 << 10}); err != nil {
			t.Errorf("%s hangs: %v", method, err)
		}
		if f.Injected()["hung"] != 1 {
			t.Errorf("%s never hung", method)
		}
	}
}

// A run that is cancelled stops within the tile that is being computed.
func TestACancelledRunStops(t *testing.T) {
	f := faulty.New(faulty.Options{Hang: 1, After: 3, Methods: []string{"Event.Wait"}})
	d := fails(t, f)
	p, err := problem.Parse(tiledPool)
	if err != nil {
		t.Fatal(err)
	}
	in := inputs(t, open(t, "cpu"), &p)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = tiling.Compute(ctx, d, p, in, tiling.Options{MemLimit: 40 << 10})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if got := steps(d); got != nil {
		t.Errorf("steps are %v", got)
	}
}

// observed is a source that calls a function before each read.
type observed struct {
	tiling.Source
	read func()
}

func (o observed) ReadBox(ctx context.Context, b tiling.Box, to *engine.Tensor, at []int) error {
	o.read()
	return o.Source.ReadBox(ctx, b, to, at)
}

// A run that is cancelled while a tile is divided that cannot be is called cancelled.
func TestACancelledRunSaysSo(t *testing.T) {
	d := fails(t, faulty.New(faulty.Options{OutOfMemory: 1, Methods: []string{"Alloc"}}), engine.NoFallback())
	p, err := problem.Parse("pool:max:mb1ic1ih4kh4")
	if err != nil {
		t.Fatal(err)
	}
	j, err := tiling.Prepare(t.Context(), d, p, tiling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dst, err := engine.NewTensor(problem.F32, p.Shape(problem.Dst)...)
	if err != nil {
		t.Fatal(err)
	}
	in := inputs(t, open(t, "cpu"), &p)
	from := [problem.Roles]tiling.Source{problem.Src: observed{tiling.Memory{Tensor: in[problem.Src]}, func() {
		if steps(d) != nil {
			cancel()
		}
	}}}
	to := [problem.Roles]tiling.Sink{problem.Dst: tiling.Memory{Tensor: dst}}
	if err := j.Run(ctx, from, to); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled after %v: %v", steps(d), err)
	}
}

func TestTilesAreChecked(t *testing.T) {
	for _, text := range []string{tiledConv, tiledSums, tiledPool} {
		d := fails(t, faulty.New(faulty.Options{}), engine.WithCheck(16))
		j, err := compute(t, d, text, tiling.Options{MemLimit: 48 << 10})
		if err != nil {
			t.Fatal(err)
		}
		if n := d.Checked(); n < int64(10*j.Tiles.Len()) {
			t.Errorf("%s: %d elements of %v were checked", text, n, j.Tiles)
		}
		for _, o := range []faulty.Options{
			{Corrupt: 1, After: 4, Methods: []string{"Shared"}},
			{Corrupt: 1, Unshared: 1, Methods: []string{"Read", "Alloc"}},
		} {
			d = fails(t, faulty.New(o), engine.WithCheck(16))
			if _, err := compute(t, d, text, tiling.Options{MemLimit: 48 << 10}); !errors.Is(err, engine.ErrWrongResult) {
				t.Errorf("%s: a device that corrupts results (%v): %v", text, o.Methods, err)
			}
		}
	}
}

// A device that shares some of its memory only gets copies; what is written by then remains.
func TestMemoryThatIsNotShared(t *testing.T) {
	for seed := range uint64(12) {
		for _, text := range []string{tiledConv, tiledSums, tiledPool} {
			d := fails(t, faulty.New(faulty.Options{Seed: seed, Unshared: 0.3}))
			if _, err := compute(t, d, text, tiling.Options{MemLimit: 48 << 10}); err != nil {
				t.Errorf("%s, seed %d: %v", text, seed, err)
			}
		}
	}
}
