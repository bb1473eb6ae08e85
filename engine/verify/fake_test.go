package verify

import (
	"context"
	"fmt"
	"os"
	"testing"

	_ "github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// The fake devices are the cpu with something wrong.
func TestMain(m *testing.M) {
	engine.Register("small", fake{refuse: func(p *problem.Problem) bool { return p.Bytes() > 1<<18 || p.FLOPs() > 1e6 }})
	engine.Register("flat", fake{refuse: func(p *problem.Problem) bool { return p.Rank == 3 }})
	engine.Register("liar", fake{spoil: func(ctx context.Context, s driver.Stream, dst driver.Buffer) error {
		return s.Write(ctx, dst, 4, []byte{0, 0, 0xc8, 0x42}) // element 1 becomes 100
	}})
	engine.Register("lazy", fake{lazy: true})
	os.Exit(m.Run())
}

type fake struct {
	refuse func(*problem.Problem) bool
	spoil  func(ctx context.Context, s driver.Stream, dst driver.Buffer) error
	lazy   bool // runs compute nothing
}

func (f fake) Devices() ([]driver.Info, error) {
	return []driver.Info{{Name: "fake", API: "fake"}}, nil
}

func (f fake) Open(ctx context.Context, _ int, _ driver.Options) (driver.Device, error) {
	d, err := engine.Open(ctx, "cpu")
	if err != nil {
		return nil, err
	}
	return fakeDevice{d.Driver(), f}, nil
}

type fakeDevice struct {
	driver.Device
	fake
}

func (d fakeDevice) Plan(ctx context.Context, p problem.Problem, o driver.PlanOptions) (driver.Plan, error) {
	if d.refuse != nil && d.refuse(&p) {
		return nil, fmt.Errorf("%w: the fake refuses", driver.ErrUnsupported)
	}
	pl, err := d.Device.Plan(ctx, p, o)
	if err != nil {
		return nil, err
	}
	return fakePlan{pl, d}, nil
}

type fakePlan struct {
	driver.Plan
	dev fakeDevice
}

func (p fakePlan) Run(ctx context.Context, s driver.Stream, a driver.Args) (driver.Event, error) {
	if p.dev.lazy {
		a.Buffers[problem.Dst] = scratch{a.Buffers[problem.Dst]}.clone(p.dev)
	}
	ev, err := p.Plan.Run(ctx, s, a)
	if err == nil && p.dev.spoil != nil {
		err = p.dev.spoil(ctx, s, a.Buffers[problem.Dst])
	}
	return ev, err
}

// scratch diverts a result into memory that nobody reads.
type scratch struct{ driver.Buffer }

func (s scratch) clone(d fakeDevice) driver.Buffer {
	b, err := d.Alloc(s.Bytes())
	if err != nil {
		panic(err)
	}
	return b
}

func open(t testing.TB, spec string) *engine.Device {
	t.Helper()
	d, err := engine.Open(context.Background(), spec, engine.NoFallback())
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

func parse(t testing.TB, text string) problem.Problem {
	t.Helper()
	p, err := problem.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newCase(t testing.TB, p problem.Problem, fill Fill, budget float64) *Case {
	t.Helper()
	c, err := NewCase(t.Context(), open(t, "cpu"), p, fill, budget)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
