package peak_test

import (
	"context"
	"errors"
	"os"
	"testing"

	_ "github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/devicetest"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/peak"
)

// mountain counts how often its peaks are measured.
type mountain struct {
	peaks    driver.Peaks
	err      error
	measured int
}

var fake mountain

func TestMain(m *testing.M) {
	engine.Register("mountain", &fake)
	os.Exit(m.Run())
}

func (m *mountain) Devices() ([]driver.Info, error) {
	return []driver.Info{{Name: "mountain", API: "fake", ID: "1"}}, nil
}

func (m *mountain) Open(ctx context.Context, _ int, _ driver.Options) (driver.Device, error) {
	cpu, err := engine.Open(ctx, "cpu")
	if err != nil {
		return nil, err
	}
	return &device{cpu.Driver(), m}, nil
}

type device struct {
	driver.Device
	m *mountain
}

func (d *device) Info() driver.Info { return driver.Info{Name: "mountain", API: "fake", ID: "1"} }

func (d *device) MeasurePeaks(context.Context) (driver.Peaks, error) {
	d.m.measured++
	return d.m.peaks, d.m.err
}

func TestOnce(t *testing.T) {
	t.Setenv("GONVOLVE_CACHE", t.TempDir())
	fake = mountain{peaks: driver.Peaks{GFLOPS: 5, GBPS: 7}}
	d := devicetest.Open(t, "mountain")
	if p, ok := peak.Known(d.Info()); ok {
		t.Errorf("known before: %+v", p)
	}
	for range 2 {
		if p, err := peak.Of(t.Context(), d.Driver()); err != nil || p != fake.peaks || fake.measured != 1 {
			t.Errorf("%+v, %v, measured %d times", p, err, fake.measured)
		}
	}
	if p, ok := peak.Known(d.Info()); !ok || p != fake.peaks {
		t.Errorf("known: %+v, %v", p, ok)
	}
	fake.peaks = driver.Peaks{GFLOPS: 4, GBPS: 8} // the more of each counts
	if p, err := peak.Measure(t.Context(), d.Driver()); err != nil || p != (driver.Peaks{GFLOPS: 5, GBPS: 8}) {
		t.Errorf("again: %+v, %v", p, err)
	}
	if p, _ := peak.Known(d.Info()); p.GBPS != 8 {
		t.Errorf("known after: %+v", p)
	}
	t.Setenv("GONVOLVE_CACHE", "off")
	if _, ok := peak.Known(d.Info()); ok {
		t.Error("known without a cache")
	}
}

// A run that beats the peak has it measured again; what the run showed counts if that is still more. It never falls.
func TestRaise(t *testing.T) {
	t.Setenv("GONVOLVE_CACHE", t.TempDir())
	fake = mountain{peaks: driver.Peaks{GFLOPS: 5, GBPS: 7}}
	d := devicetest.Open(t, "mountain")
	busy, err := peak.Of(t.Context(), d.Driver())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ measured, shown, want float64 }{{20, 8, 20}, {6, 25, 25}, {6, 24, 25}} {
		fake.peaks.GFLOPS = c.measured
		p, err := peak.Raise(t.Context(), d.Driver(), busy, driver.Arithmetic{}, c.shown)
		if known, _ := peak.Known(d.Info()); err != nil || p.GFLOPS != c.want || known != p {
			t.Errorf("measured %v, shown %v: %+v, known %+v, %v", c.measured, c.shown, p, known, err)
		}
	}
	fake.err = errors.New("broken")
	if p, err := peak.Raise(t.Context(), d.Driver(), busy, driver.Arithmetic{}, 99); !errors.Is(err, fake.err) || p != busy {
		t.Errorf("%+v, %v", p, err)
	}
	t.Setenv("GONVOLVE_CACHE", "off")
	fake = mountain{peaks: driver.Peaks{GFLOPS: 5, GBPS: 7}}
	if p, err := peak.Raise(t.Context(), d.Driver(), driver.Peaks{GFLOPS: 9, GBPS: 9}, driver.Arithmetic{}, 8); err != nil || p != (driver.Peaks{GFLOPS: 9, GBPS: 9}) {
		t.Errorf("without a cache: %+v, %v", p, err)
	}
}

func TestError(t *testing.T) {
	t.Setenv("GONVOLVE_CACHE", t.TempDir())
	broken := errors.New("broken")
	fake = mountain{err: broken}
	if p, err := peak.Of(t.Context(), devicetest.Open(t, "mountain").Driver()); !errors.Is(err, broken) || p != (driver.Peaks{}) {
		t.Errorf("%+v, %v", p, err)
	}
	fake = mountain{} // nothing could be measured
	d := devicetest.Open(t, "mountain")
	if p, err := peak.Of(t.Context(), d.Driver()); err != nil || p != (driver.Peaks{}) {
		t.Errorf("%+v, %v", p, err)
	}
	if _, ok := peak.Known(d.Info()); ok {
		t.Error("nothing is kept as something")
	}
}

func TestCPU(t *testing.T) {
	t.Setenv("GONVOLVE_CACHE", "off")
	p, err := peak.Of(t.Context(), devicetest.Open(t, "cpu").Driver())
	if err != nil || p.GFLOPS < 0.1 || p.GFLOPS > 1e6 || p.GBPS < 0.1 || p.GBPS > 1e5 {
		t.Errorf("%+v, %v", p, err)
	}
}
