package enginetest

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/faulty"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// Faults runs problems on a device whose driver fails at random; around puts the faults around drivers (nil: as package
// faulty does). GONVOLVE_FAULTS says how many runs, and which: "10000", "10000,seed", "1,seed,first".
func Faults(t *testing.T, spec string, around func(*faulty.Faults, driver.Driver) driver.Driver) {
	runs, seed, first := uint64(200), uint64(1), uint64(0)
	if testing.Short() {
		runs = 40
	}
	if text := os.Getenv("GONVOLVE_FAULTS"); text != "" {
		if n, err := fmt.Sscanf(text, "%d,%d,%d", &runs, &seed, &first); n == 0 {
			t.Fatalf("GONVOLVE_FAULTS=%s: %v; write runs,seed,first", text, err)
		}
	}
	before := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	defer slog.SetDefault(before)
	f := &verify.Faults{Seed: seed, Specs: []string{spec}, Around: around}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := f.Prepare(t.Context()); errors.Is(err, engine.ErrNoDevices) && !Require() {
		t.Skip("no device: ", err)
	} else if err != nil {
		t.Fatal(err)
	}
	outcomes, injected := map[string]int{}, map[string]int{}
	for i := range runs {
		run := f.Run(t.Context(), first+i)
		outcomes[run.Outcome()]++
		for kind, n := range run.Injected {
			injected[kind] += n
		}
		if run.Bad != "" {
			t.Fatalf("%s of %s on %s with faults %v: %s\nrun it again with GONVOLVE_FAULTS=1,%d,%d", run.Mode, run.Problem.String(), run.Device,
				run.Faults, run.Bad, seed, run.Index)
		}
	}
	t.Logf("%v of faults %v", outcomes, injected)
	if runs > 20 && (outcomes["right"] == 0 || outcomes["right"] == int(runs) || len(injected) < 3) {
		t.Errorf("the runs show nothing: %v of faults %v", outcomes, injected)
	}
}
