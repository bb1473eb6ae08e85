package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/devicetest"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// paced is a driver whose device computes like the cpu's, but takes its time, and counts.
type paced struct {
	run, write time.Duration
	id         string
	refuse     error // of Plan
	broken     error // of Open

	opens, plans, runs atomic.Int64
}

func (d *paced) Devices() ([]driver.Info, error) {
	return []driver.Info{{Name: "paced", API: "fake", ID: d.id, Type: driver.Other}}, nil
}

func (d *paced) Open(ctx context.Context, _ int, o driver.Options) (driver.Device, error) {
	d.opens.Add(1)
	if d.broken != nil {
		return nil, d.broken
	}
	dev, err := cpu.Driver{}.Open(ctx, 0, o)
	return &pacedDevice{dev, d}, err
}

type pacedDevice struct {
	driver.Device
	d *paced
}

func (d *pacedDevice) Info() driver.Info { list, _ := d.d.Devices(); return list[0] }

// Candidates and Runs are the cpu's, whose plans name their code.
func (d *pacedDevice) Candidates(p problem.Problem) []driver.Candidate {
	return d.Device.(driver.Tuner).Candidates(p)
}

func (d *pacedDevice) Runs(kernels string) bool { return d.Device.(driver.Tuner).Runs(kernels) }

func (d *pacedDevice) NewStream() (driver.Stream, error) {
	s, err := d.Device.NewStream()
	return &pacedStream{s, d.d}, err
}

func (d *pacedDevice) Plan(ctx context.Context, p problem.Problem, o driver.PlanOptions) (driver.Plan, error) {
	d.d.plans.Add(1)
	if d.d.refuse != nil {
		return nil, d.d.refuse
	}
	pl, err := d.Device.Plan(ctx, p, o)
	return &pacedPlan{pl, d.d}, err
}

type pacedStream struct {
	driver.Stream
	d *paced
}

func (s *pacedStream) Write(ctx context.Context, dst driver.Buffer, off int64, src []byte) error {
	time.Sleep(s.d.write)
	return s.Stream.Write(ctx, dst, off, src)
}

type pacedPlan struct {
	driver.Plan
	d *paced
}

func (p *pacedPlan) Pack(ctx context.Context, s driver.Stream, c driver.Buffers) (driver.Weights, driver.Event, error) {
	return p.Plan.Pack(ctx, s.(*pacedStream).Stream, c)
}

func (p *pacedPlan) Run(ctx context.Context, s driver.Stream, a driver.Args) (driver.Event, error) {
	p.d.runs.Add(1)
	time.Sleep(p.d.run)
	return p.Plan.Run(ctx, s.(*pacedStream).Stream, a)
}

// The times are far apart: the cpu takes microseconds for this.
const little = "mb1ic2ih6oc3oh6kh3ph1"

func parsed(t *testing.T, text string) problem.Problem {
	t.Helper()
	p, err := problem.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The choice is by what devices take, with transfers or without, and the next process knows.
func TestAuto(t *testing.T) {
	t.Setenv("GONVOLVE_CACHE", t.TempDir())
	slow, far := &paced{run: 100 * time.Millisecond, id: "slow"}, &paced{write: 40 * time.Millisecond, id: "far"}
	engine.WithDrivers(t, map[string]driver.Driver{"slow": slow, "vulkan": far, "middle": &paced{run: 10 * time.Millisecond, id: "middle"}})
	d := devicetest.Open(t, "auto")
	p := parsed(t, little)
	for _, c := range []struct {
		data engine.Data
		want string
	}{{engine.OnDevice, "vulkan:0"}, {engine.OnHost, "middle:0"}} {
		for range 2 {
			on, err := d.For(t.Context(), p, c.data)
			if err != nil || on.Spec() != c.want {
				t.Fatalf("data on %s: %v, %v: %s", c.data, on, err, d.Why(p, c.data))
			}
		}
		if why := d.Why(p, c.data); !strings.HasPrefix(why, c.want+" ") || !strings.Contains(why, "slow:0 ") || !strings.Contains(why, "measured on ") {
			t.Errorf("why: %s", why)
		}
	}
	if slow.runs.Load() > 4 {
		t.Errorf("the slow one ran %d times in two races", slow.runs.Load())
	}
	pl, err := d.Plan(t.Context(), p, driver.PlanOptions{})
	if err != nil || pl.Device().Spec() != "vulkan:0" || pl.Fallback() != nil || !strings.Contains(pl.Info().Why, "vulkan:0 (vulkan:0 ") {
		t.Fatalf("plan on %s, because %s, %v", pl.Device().Spec(), pl.Info().Why, err)
	}
	defer pl.Close()
	src, _ := engine.NewTensor(problem.F32, 1, 2, 6, 6)
	wei, _ := engine.NewTensor(problem.F32, 3, 2, 3, 3)
	src.Float32s()[0], wei.Float32s()[4] = 2, 3
	before := far.runs.Load()
	if y, err := d.Conv(t.Context(), src, wei, nil, problem.Params{PadL: []int{1}}); err != nil || y.Float32s()[0] != 6 || far.runs.Load() != before {
		t.Errorf("%v, %v", y, err)
	}

	ran := slow.runs.Load()
	again := devicetest.Open(t, "auto")
	opens := slow.opens.Load()
	if on, err := again.For(t.Context(), p, engine.OnHost); err != nil || on.Spec() != "middle:0" || slow.runs.Load() != ran || slow.opens.Load() != opens {
		t.Errorf("%v, %v: raced again", on, err)
	}
	slow.id = "slow 2" // another version of its driver
	third := devicetest.Open(t, "auto")
	if on, err := third.For(t.Context(), p, engine.OnHost); err != nil || on.Spec() != "middle:0" || slow.runs.Load() == ran {
		t.Errorf("%v, %v: not raced again", on, err)
	}
	if n := len(d.Fallbacks()); n != 0 {
		t.Errorf("%d fallbacks", n)
	}
}

// Devices that cannot take part are left out; what may work another time is tried another time.
func TestAutoRefused(t *testing.T) {
	t.Setenv("GONVOLVE_CACHE", t.TempDir())
	refuses := &paced{id: "a", refuse: fmt.Errorf("%w: nothing", driver.ErrUnsupported)}
	lost := &paced{id: "b", refuse: fmt.Errorf("%w: gone", driver.ErrDeviceLost)}
	closed := &paced{id: "c", broken: errors.New("does not open")}
	engine.WithDrivers(t, map[string]driver.Driver{"cpu": cpu.Driver{}, "vulkan": closed, "opencl": lost, "other": refuses})
	p := parsed(t, little)
	for range 2 {
		d := devicetest.Open(t, "auto")
		pl, err := d.Plan(t.Context(), p, driver.PlanOptions{})
		if err != nil || pl.Device().Spec() != "cpu" {
			t.Fatalf("%v", err)
		}
		for _, want := range []string{"cpu (cpu ", "does not open", "gone", "nothing"} {
			if !strings.Contains(pl.Info().Why, want) {
				t.Errorf("%q is not in %q", want, pl.Info().Why)
			}
		}
		pl.Close()
	}
	if refuses.plans.Load() != 2 {
		t.Errorf("a race with a lost device was kept: %d plans", refuses.plans.Load())
	}
	engine.WithDrivers(t, map[string]driver.Driver{"vulkan": refuses, "opencl": lost})
	d := devicetest.Open(t, "auto", engine.NoFallback())
	if _, err := d.Plan(t.Context(), p, driver.PlanOptions{}); !errors.Is(err, engine.ErrUnsupported) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.For(ctx, parsed(t, "mb1ic3ih6oc3oh6kh3ph1"), engine.OnHost); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	engine.WithDrivers(t, map[string]driver.Driver{"vulkan": closed})
	if _, err := engine.Open(t.Context(), "auto"); !errors.Is(err, closed.broken) {
		t.Errorf("%v", err)
	}
}

// Every kind of tensor has a trial that devices take.
func TestAutoTrials(t *testing.T) {
	t.Setenv("GONVOLVE_CACHE", "off")
	engine.WithDrivers(t, map[string]driver.Driver{"cpu": cpu.Driver{}, "other": &paced{id: "a", run: 20 * time.Millisecond}})
	d := devicetest.Open(t, "auto")
	for _, text := range []string{
		little, "f16:" + little, "conv:u8-s8-u8:" + little, "conv:u8-s8-s32:" + little, "conv:BWD_W:" + little, "conv:BWD_D:" + little,
		"conv:bias,post=scale+add+relu:" + little, "deform:mask:" + little, "pool:max:mb1ic2ih6oh3kh2", "pool:max:BWD_D:mb1ic2ih6oh3kh2",
		"unpool:indices=plane:mb1ic2ih3oh6kh2", "deconv:mb1ic2ih6oc3oh8kh3",
	} {
		p, err := problem.Parse(strings.ReplaceAll(text, ",", ":"))
		if err != nil {
			t.Fatal(err)
		}
		for _, data := range []engine.Data{engine.OnDevice, engine.OnHost} {
			if on, err := d.For(t.Context(), p, data); err != nil || on.Spec() != "cpu" || strings.Contains(d.Why(p, data), "not:") {
				t.Errorf("%s, data on %s: %v: %s", p.String(), data, err, d.Why(p, data))
			}
		}
	}
	large := parsed(t, "pool:max:mb1ic1024ih2048oh1024kh2")
	if on, err := d.For(t.Context(), large, engine.OnHost); err != nil || on.Spec() != "cpu" || !strings.Contains(d.Why(large, engine.OnHost), "not tried whole") {
		t.Errorf("%v: %s", err, d.Why(large, engine.OnHost))
	}
}

// A list of devices is chosen from like all of them, but there all of the list have to open.
func TestMembers(t *testing.T) {
	t.Setenv("GONVOLVE_CACHE", "off")
	closed := &paced{id: "c", broken: errors.New("does not open")}
	engine.WithDrivers(t, map[string]driver.Driver{"cpu": cpu.Driver{}, "vulkan": &paced{id: "v", run: 20 * time.Millisecond}, "opencl": closed})
	for _, c := range []struct {
		spec, name string
		members    []string
		divides    bool
	}{
		{"vulkan+cpu", "vulkan:0+cpu", []string{"vulkan:0", "cpu"}, true},
		{"cpu", "cpu", []string{"cpu"}, false},
		{"auto", "auto", []string{"cpu", "vulkan:0"}, false},
		{"cpu+opencl", "cpu+opencl:0", nil, true},
	} {
		d := devicetest.Open(t, c.spec)
		if d.Name() != c.name || d.Divides() != c.divides {
			t.Errorf("%s: name %s, divides %v", c.spec, d.Name(), d.Divides())
		}
		list, err := d.Members(t.Context())
		var specs []string
		for _, m := range list {
			specs = append(specs, m.Spec())
		}
		if strings.Join(specs, " ") != strings.Join(c.members, " ") || (err != nil) != (c.members == nil) {
			t.Errorf("%s: %v, %v", c.spec, specs, err)
		}
		if on, err := d.For(t.Context(), parsed(t, little), engine.OnHost); err != nil || on.Spec() != "cpu" {
			t.Errorf("%s: %v, %v", c.spec, on, err)
		}
	}
}
