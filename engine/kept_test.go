package engine_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/devicetest"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
)

// counting is the cpu with calls counted, and little memory if that is said.
type counting struct {
	cpu.Driver
	memory int64

	mu    sync.Mutex
	calls map[string]int
}

func (c *counting) count(call string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[call]++
}

// since returns the calls since the last time.
func (c *counting) since() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.calls
	c.calls = map[string]int{}
	return was
}

func (c *counting) Open(ctx context.Context, i int, o driver.Options) (driver.Device, error) {
	d, err := c.Driver.Open(ctx, i, o)
	return &countingDevice{d, c}, err
}

type countingDevice struct {
	driver.Device
	c *counting
}

func (d *countingDevice) used() int64 {
	used, _ := d.Device.(driver.MemoryReporter).MemoryInUse()
	return used
}

func (d *countingDevice) Plan(ctx context.Context, p problem.Problem, o driver.PlanOptions) (driver.Plan, error) {
	d.c.count("plan")
	if o.Background {
		d.c.count("background")
	}
	pl, err := d.Device.Plan(ctx, p, o)
	return &countingPlan{pl, d.c}, err
}

func (d *countingDevice) NewStream() (driver.Stream, error) {
	d.c.count("stream")
	return d.Device.NewStream()
}

func (d *countingDevice) Alloc(bytes int64) (driver.Buffer, error) {
	d.c.count("alloc")
	if d.c.memory > 0 && d.used()+bytes > d.c.memory {
		return nil, driver.ErrOutOfMemory
	}
	return d.Device.Alloc(bytes)
}

type countingPlan struct {
	driver.Plan
	c *counting
}

func (p *countingPlan) Pack(ctx context.Context, s driver.Stream, b driver.Buffers) (driver.Weights, driver.Event, error) {
	p.c.count("pack")
	return p.Plan.Pack(ctx, s, b)
}

// filled is a tensor of one value.
func filled(t *testing.T, v float32, shape ...int) *engine.Tensor {
	t.Helper()
	x, err := engine.NewTensor(problem.F32, shape...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range x.Float32s() {
		x.Float32s()[i] = v
	}
	return x
}

func openCounting(t *testing.T, c *counting) *engine.Device {
	t.Helper()
	c.calls = map[string]int{}
	engine.WithDrivers(t, map[string]driver.Driver{"counting": c})
	return devicetest.Open(t, "counting:0")
}

// convOnes convolves ones with weights of one value, and checks the result.
func convOnes(t *testing.T, d *engine.Device, size int, wei *engine.Tensor) {
	t.Helper()
	y, err := d.Conv(t.Context(), filled(t, 1, 1, 2, size, size), wei, nil, problem.Params{})
	if err != nil {
		t.Fatal(err)
	}
	if want := 2 * wei.Float32s()[0]; slices.Max(y.Float32s()) != want || slices.Min(y.Float32s()) != want {
		t.Errorf("%v to %v, want %v", slices.Min(y.Float32s()), slices.Max(y.Float32s()), want)
	}
}

// A loop over Conv plans, packs and takes memory once; weights that changed are packed anew, wherever they lie.
func TestComputeKeeps(t *testing.T) {
	c := &counting{}
	d := openCounting(t, c)
	wei := filled(t, 3, 4, 2, 1, 1)
	convOnes(t, d, 8, wei)
	if got := c.since(); got["plan"] != 1 || got["background"] != 1 || got["pack"] != 1 {
		t.Errorf("at first: %v", got)
	}
	for range 5 {
		convOnes(t, d, 8, wei)
	}
	convOnes(t, d, 8, filled(t, 3, 4, 2, 1, 1)) // the same values elsewhere
	if got := c.since(); len(got) != 0 {
		t.Errorf("again: %v", got)
	}
	wei.Float32s()[0], wei.Float32s()[1] = 5, 5 // changed in place
	copy(wei.Float32s(), filled(t, 5, 8).Float32s())
	convOnes(t, d, 8, wei)
	if got := c.since(); got["pack"] != 1 {
		t.Errorf("changed weights: %v", got)
	}
	convOnes(t, d, 8, filled(t, 3, 4, 2, 1, 1)) // those from before are there still
	if got := c.since(); len(got) != 0 {
		t.Errorf("weights in turns: %v", got)
	}
	// Weights that change each time take turns on a few plans.
	for i := range 20 {
		convOnes(t, d, 8, filled(t, float32(10+i), 4, 2, 1, 1))
	}
	if got := c.since(); got["plan"] > 3 || got["pack"] != 20 {
		t.Errorf("weights that change each time: %v", got)
	}
}

// What is kept is bounded, gives way when memory is short, and is gone with its plan.
func TestKeptIsBounded(t *testing.T) {
	c := &counting{}
	d := openCounting(t, c)
	dev := d.Driver().(*countingDevice)
	for size := 1; size <= 100; size++ {
		convOnes(t, d, size, filled(t, 1, 1, 2, 1, 1))
	}
	c.since()
	convOnes(t, d, 100, filled(t, 1, 1, 2, 1, 1))
	convOnes(t, d, 1, filled(t, 1, 1, 2, 1, 1))
	if got := c.since(); got["plan"] != 1 {
		t.Errorf("the latest of many is kept, the first is not: %v", got)
	}
	held := dev.used()
	if held == 0 {
		t.Fatal("nothing is kept")
	}
	c.memory = held + 1000
	big, err := d.NewTensor(problem.F32, int(held/4))
	if err != nil {
		t.Fatalf("what is kept does not give way: %v", err)
	}
	if got := dev.used(); got > held+64 {
		t.Errorf("%d bytes are in use", got)
	}
	big.Free()
	c.memory = 0
	p := problemtest.Parse(t, "pool:max:mb1ic2ih8kh2sh2")
	pl, err := d.Plan(t.Context(), p, driver.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.since()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 20 {
				out, err := pl.RunHost(t.Context(), engine.Operands{problem.Src: filled(t, 7, 1, 2, 8, 8)})
				if err != nil || slices.Min(out[problem.Dst].Float32s()) != 7 {
					t.Errorf("%v", err)
				}
			}
		})
	}
	all.Wait()
	if got := c.since(); got["stream"] < 1 || got["stream"] > 4 {
		t.Errorf("80 runs by 4 goroutines took %v", maps.Clone(got))
	}
	if err := pl.Close(); err != nil {
		t.Error(err)
	}
	if got := dev.used(); got != 0 {
		t.Errorf("%d bytes are in use after the plan's Close", got)
	}
}
