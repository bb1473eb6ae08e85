package verify

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/faulty"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// bad is a driver around another with something wrong that random faults do not make.
type bad struct {
	driver.Driver
	open func(driver.Device) (driver.Device, error)
}

func (b bad) Open(ctx context.Context, i int, o driver.Options) (driver.Device, error) {
	d, err := b.Driver.Open(ctx, i, o)
	if err != nil {
		return nil, err
	}
	return b.open(d)
}

// badDevice plans as plan says.
type badDevice struct {
	driver.Device
	plan func() error
}

func (b badDevice) Plan(ctx context.Context, p problem.Problem, o driver.PlanOptions) (driver.Plan, error) {
	if err := b.plan(); err != nil {
		return nil, err
	}
	return b.Device.Plan(ctx, p, o)
}

// Runs that end as none may are found, each for what it is.
func TestFaultsFindsBadRuns(t *testing.T) {
	stop := make(chan struct{})
	plans := func(plan func() error) func(*faulty.Faults, driver.Driver) driver.Driver {
		return func(_ *faulty.Faults, d driver.Driver) driver.Driver {
			return bad{d, func(d driver.Device) (driver.Device, error) { return badDevice{d, plan}, nil }}
		}
	}
	for _, c := range []struct {
		name   string
		around func(*faulty.Faults, driver.Driver) driver.Driver
		says   string
	}{
		{"corrupt", func(_ *faulty.Faults, d driver.Driver) driver.Driver {
			return faulty.New(faulty.Options{Corrupt: 1}).Driver(d)
		}, "wrong: "},
		{"leak", func(f *faulty.Faults, d driver.Driver) driver.Driver {
			f.Count("things", 1)
			return d
		}, "not freed: 1 things"},
		{"goroutine", plans(func() error {
			go func() { <-stop }()
			return nil
		}), "goroutines became"},
		{"panic", plans(func() error { panic("on purpose") }), "panic: on purpose"},
		{"unclear", plans(func() error { return errors.New("something") }), "unclear error: cpu: something"},
		{"deadlock", plans(func() error { <-stop; return nil }), "no end after"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &Faults{Seed: 1, Specs: []string{"cpu"}, Around: c.around, Watchdog: time.Minute, looks: 20}
			if c.name == "deadlock" {
				f.Watchdog = 200 * time.Millisecond
			}
			defer f.Close()
			if err := f.Prepare(t.Context()); err != nil {
				t.Fatal(err)
			}
			for i := range uint64(20) {
				run := f.Run(t.Context(), i)
				if run.Mode == "concurrent" && c.name == "panic" {
					continue // a panic of another goroutine ends the process
				}
				if run.Bad == "" {
					continue // it ended before it came to that
				}
				if !strings.Contains(run.Bad, c.says) || run.Outcome() != "BAD" {
					t.Errorf("%s: %s", run.Mode, run.Bad)
				}
				return
			}
			t.Error("nothing was found")
		})
	}
	close(stop)
}

// What a run does depends on its number, and nothing of it is left.
func TestFaults(t *testing.T) {
	f := &Faults{Seed: 4, Specs: []string{"cpu"}}
	defer f.Close()
	if err := f.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]int{}
	for i := range uint64(150) {
		run := f.Run(t.Context(), i)
		if run.Bad != "" {
			t.Fatalf("%s of %s with %v: %s\n%s", run.Mode, run.Problem.String(), run.Faults, run.Bad, f.Repro(i, "cpu"))
		}
		if outcomes[run.Outcome()]++; i < 10 {
			again := f.Run(t.Context(), i)
			if again.Device != run.Device || again.Mode != run.Mode || again.Faults.String() != run.Faults.String() || again.Problem != run.Problem {
				t.Errorf("run %d is %v, and then %v", i, run, again)
			}
		}
	}
	if outcomes["right"] < 75 || len(outcomes) < 3 {
		t.Errorf("outcomes %v", outcomes)
	}
}
