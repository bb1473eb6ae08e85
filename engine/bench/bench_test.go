package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/devicetest"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// tired is the cpu with results that go wrong from some run on.
type tired struct{ from int64 }

func TestMain(m *testing.M) {
	engine.Register("tired1", tired{1})
	engine.Register("tired4", tired{4})
	os.Exit(m.Run())
}

func (tired) Devices() ([]driver.Info, error) {
	return []driver.Info{{Name: "tired", API: "fake"}}, nil
}

func (d tired) Open(ctx context.Context, _ int, _ driver.Options) (driver.Device, error) {
	cpu, err := engine.Open(ctx, "cpu")
	if err != nil {
		return nil, err
	}
	return tiredDevice{cpu.Driver(), d.from}, nil
}

type tiredDevice struct {
	driver.Device
	from int64
}

func (d tiredDevice) Plan(ctx context.Context, p problem.Problem, o driver.PlanOptions) (driver.Plan, error) {
	pl, err := d.Device.Plan(ctx, p, o)
	return &tiredPlan{Plan: pl, from: d.from}, err
}

type tiredPlan struct {
	driver.Plan
	runs atomic.Int64
	from int64
}

func (p *tiredPlan) Run(ctx context.Context, s driver.Stream, a driver.Args) (driver.Event, error) {
	ev, err := p.Plan.Run(ctx, s, a)
	if err == nil && p.runs.Add(1) > p.from {
		err = s.Write(ctx, a.Buffers[problem.Dst], 8, []byte{0, 0, 0x80, 0x3f})
	}
	return ev, err
}

func open(t testing.TB, spec string) *engine.Device {
	t.Helper()
	return devicetest.Open(t, spec, engine.NoFallback())
}

func newCase(t testing.TB, text string) *verify.Case {
	t.Helper()
	p, err := problem.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	c, err := verify.NewCase(context.Background(), open(t, "cpu"), p, verify.Int, verify.DefaultBudget)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const small = `mb1ic4ih8oc6oh8kh3ph1n"small"`

func timed(x *report.Times) bool {
	return x != nil && x.Min > 0 && x.Min <= x.Median && x.Median <= x.P95
}

func TestMeasure(t *testing.T) {
	cpu := open(t, "cpu")
	for _, text := range []string{small, "pool:max:mb1ic4ih8oh4kh2", "pool:avg_np:mb1ic4ih8oh4kh2"} {
		c := newCase(t, text)
		for _, mode := range []Mode{"", Both, Device, E2E} {
			r := Measure(t.Context(), cpu, c, Options{Mode: mode})
			if r.Status != report.Passed || !r.Verified || r.Check != "exact" || r.Runs < 3 || r.FirstMS <= 0 || r.Checked != r.Elements {
				t.Errorf("%s, mode %q: %+v", text, mode, r)
			}
			if timed(r.WallMS) != (mode != E2E) || timed(r.E2EMS) != (mode != Device) || (r.GFLOPS > 0 && r.GBPS > 0) != (mode != E2E) {
				t.Errorf("%s, mode %q: wall %v, e2e %v, %v GFLOP/s", text, mode, r.WallMS, r.E2EMS, r.GFLOPS)
			}
			if !strings.HasPrefix(r.Repro, "gonvolve verify --device cpu") {
				t.Errorf("repro is %s", r.Repro)
			}
		}
	}
}

func TestMeasureRuns(t *testing.T) {
	cpu, c := open(t, "cpu"), newCase(t, small)
	few := Measure(t.Context(), cpu, c, Options{Mode: Device})
	many := Measure(t.Context(), cpu, c, Options{Mode: Device, MinTime: 100 * time.Millisecond})
	if few.Runs != 3 || many.Runs <= few.Runs {
		t.Errorf("%d runs without a time, %d in 100 ms", few.Runs, many.Runs)
	}
	for _, o := range []Options{{MinTime: time.Hour, MaxRuns: 5}, {MinRuns: 5}, {MaxRuns: 5, MinRuns: 5}} {
		if r := Measure(t.Context(), cpu, c, o); r.Runs != 5 {
			t.Errorf("%+v: %d runs", o, r.Runs)
		}
	}
	if r := Measure(t.Context(), cpu, c, Options{MaxRuns: 1}); r.Runs != 1 {
		t.Errorf("%d runs where one is the most", r.Runs)
	}
}

// Neither a result that is wrong at once nor one that goes wrong while it is timed has times.
func TestMeasureWrong(t *testing.T) {
	c := newCase(t, small)
	for _, spec := range []string{"tired1", "tired4"} {
		for _, mode := range []Mode{Both, Device, E2E} {
			r := Measure(t.Context(), open(t, spec), c, Options{Mode: mode, MinRuns: 4})
			if r.Status != report.Failed || r.Verified || !strings.Contains(r.Reason, "[0 0 0 2]") {
				t.Errorf("%s, mode %s: %+v", spec, mode, r)
			}
			if r.WallMS != nil || r.E2EMS != nil || r.DeviceMS != nil || r.FirstMS != 0 || r.GFLOPS != 0 || r.GBPS != 0 {
				t.Errorf("%s, mode %s: a wrong result has times: %+v", spec, mode, r)
			}
		}
	}
}

func TestMeasureInterrupted(t *testing.T) {
	cpu, c := open(t, "cpu"), newCase(t, small)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	late, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	for _, ctx := range []context.Context{ctx, late} {
		r := Measure(ctx, cpu, c, Options{MinTime: time.Hour, MaxRuns: 1 << 40})
		if r.Status != report.Skipped || r.Verified || r.Reason != "interrupted" || r.WallMS != nil {
			t.Errorf("%+v", r)
		}
	}
}

func TestMeasureUnsupported(t *testing.T) {
	r := Measure(t.Context(), open(t, "cpu"), newCase(t, small), Options{Algorithm: "nonsense"})
	if r.Status != report.Unsupported || r.Verified || r.Reason == "" || !strings.Contains(r.Repro, "--alg nonsense") {
		t.Errorf("%+v", r)
	}
}

func TestParseMode(t *testing.T) {
	for _, m := range []Mode{Both, Device, E2E} {
		if got, err := ParseMode(string(m)); got != m || err != nil {
			t.Errorf("%s: %v, %v", m, got, err)
		}
	}
	if _, err := ParseMode("fast"); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("unknown mode: %v", err)
	}
}

func TestSuites(t *testing.T) {
	all := Suites()
	for _, name := range []string{DefaultSuite, "resnet50", "vgg19", "mobilenet", "googlenet", "unet", "densenet", "pools", "large", "smoke"} {
		if !slices.Contains(all, name) {
			t.Errorf("suite %s is missing", name)
		}
	}
	for _, name := range all {
		list, err := Suite(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(list) == 0 {
			t.Errorf("%s is empty", name)
		}
		names, texts := map[string]bool{}, map[string]bool{}
		for _, p := range list {
			if err := p.Validate(); err != nil {
				t.Errorf("%s: %s: %v", name, p.Name, err)
			}
			if p.Name == "" || names[p.Name] {
				t.Errorf("%s: %s has no name of its own", name, p.String())
			}
			names[p.Name] = true
			p.Name = ""
			if texts[p.String()] {
				t.Errorf("%s measures %s twice", name, p.String())
			}
			texts[p.String()] = true
		}
	}
	if _, err := Suite("imagenet"); !errors.Is(err, driver.ErrInvalid) || !strings.Contains(err.Error(), "smoke") {
		t.Errorf("unknown suite: %v", err)
	}
}

// BenchmarkConv runs the smoke suite on each device that is built in; benchstat compares two of its outputs.
func BenchmarkConv(b *testing.B) {
	list, err := Suite("smoke")
	if err != nil {
		b.Fatal(err)
	}
	for _, l := range engine.Devices() {
		if l.Err != nil || l.Info.API == "fake" {
			continue
		}
		dev := open(b, l.Spec)
		for _, p := range list {
			b.Run(fmt.Sprintf("%s/%s", l.Spec, p.Name), func(b *testing.B) { benchmark(b, dev, p) })
		}
	}
}

func benchmark(b *testing.B, dev *engine.Device, p problem.Problem) {
	c, err := verify.NewCase(b.Context(), open(b, "cpu"), p, verify.Int, 1e6)
	if err != nil {
		b.Fatal(err)
	}
	pl, err := dev.Plan(b.Context(), p, driver.PlanOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer pl.Close()
	run, err := c.Prepare(b.Context(), pl)
	if err != nil {
		b.Fatal(err)
	}
	defer run.Close()
	for b.Loop() {
		ev, err := pl.Run(b.Context(), run.Stream, run.Args)
		if err != nil {
			b.Fatal(err)
		}
		if err := ev.Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(p.FLOPs()*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}

// What a device cannot hold is measured in tiles, from host to host, and the record says so.
func TestMeasureInTiles(t *testing.T) {
	c := newCase(t, "mb2ic8ih24oc8oh24kh3ph1")
	cpu, err := engine.Open(t.Context(), "cpu", engine.WithMemLimit(64<<10))
	if err != nil {
		t.Fatal(err)
	}
	defer cpu.Close()
	for _, mode := range []Mode{Both, E2E} {
		r := Measure(t.Context(), cpu, c, Options{Mode: mode})
		if r.Status != report.Passed || r.Tiles < 2 || !strings.Contains(r.TilesWhy, "the memory limit is 65536") || !strings.Contains(r.Tile, " tiles: ") {
			t.Errorf("mode %s: %+v", mode, r)
		}
		if r.WallMS != nil || r.DeviceMS != nil || r.GFLOPS != 0 || !timed(r.E2EMS) || r.Runs < 3 || r.FirstMS <= 0 {
			t.Errorf("mode %s: wall %v, e2e %v", mode, r.WallMS, r.E2EMS)
		}
	}
	if r := Measure(t.Context(), cpu, c, Options{Mode: Device}); r.Status != report.Unsupported || !strings.Contains(r.Reason, "use mode both or e2e") {
		t.Errorf("mode device: %+v", r)
	}
	a, b := report.New(&c.Problem, cpu), report.New(&c.Problem, cpu)
	InTurns(t.Context(), c, Options{}, []*engine.Device{cpu, open(t, "cpu")}, []*report.Record{&a, &b})
	if a.Reason != "" || b.Reason != "" || !timed(a.E2EMS) || !timed(b.E2EMS) || a.WallMS != nil {
		t.Errorf("in turns: %+v, %+v", a, b)
	}
}
