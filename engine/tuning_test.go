package engine_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/devicetest"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/engine/tuned"
)

// Plans take what the tuning says, unless an algorithm is asked for; what the device refuses falls back to its own choice.
func TestTuning(t *testing.T) {
	engine.WithDrivers(t, map[string]driver.Driver{"cpu": cpu.Driver{}})
	var logged bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&logged, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })

	db := tuned.Load(nil)
	d := devicetest.Open(t, "cpu", engine.WithTuning(db))
	plan := func(d *engine.Device, text string, o driver.PlanOptions) driver.PlanInfo {
		t.Helper()
		pl, err := d.Plan(t.Context(), problemtest.Parse(t, text), o)
		if err != nil {
			t.Fatal(err)
		}
		defer pl.Close()
		return pl.Info()
	}
	const text = `mb1ic4ih8oc6kh3ph1n"named"`
	own := plan(d, text, driver.PlanOptions{})
	put := func(algorithm, tile string) {
		t.Helper()
		e := tuned.Entry{Key: d.TuningKey(problemtest.Parse(t, text)), Kernels: tuned.Code(own), Algorithm: algorithm, Tile: tile, MS: 1, Check: "exact", Date: "2026-01-02"}
		if err := db.Put(e); err != nil {
			t.Fatal(err)
		}
	}
	put("reference", "")
	if i := plan(d, text, driver.PlanOptions{}); i.Algorithm != "reference" || !strings.HasPrefix(i.Why, "tuned: 1 ms on 2026-01-02") {
		t.Errorf("%+v", i)
	}
	for _, other := range []string{"mb2ic4ih8oc6kh3ph1", "f16:mb1ic4ih8oc6kh3ph1", "mb1ic4ih8oc6kh3ph1_"} {
		if i := plan(d, strings.TrimSuffix(other, "_"), driver.PlanOptions{}); strings.HasSuffix(other, "_") == (i.Algorithm != "reference") {
			t.Errorf("%s: %+v", other, i)
		}
	}
	if i := plan(d, text, driver.PlanOptions{Algorithm: own.Algorithm}); i.Algorithm != own.Algorithm || i.Why != own.Why {
		t.Errorf("asked for: %+v", i)
	}
	if i := plan(devicetest.Open(t, "cpu", engine.WithTuning(nil)), text, driver.PlanOptions{}); i != own {
		t.Errorf("without tuning: %+v", i)
	}
	if logged.Len() > 0 {
		t.Errorf("logged %s", logged.String())
	}
	for _, refused := range [][2]string{{"none", ""}, {own.Algorithm, "tx=4"}} {
		logged.Reset()
		put(refused[0], refused[1])
		if i := plan(d, text, driver.PlanOptions{}); i != own || !strings.Contains(logged.String(), "tuned choice refused") {
			t.Errorf("%v: %+v, logged %q", refused, i, logged.String())
		}
	}
}

// By default the user's database counts; NoCache does without it.
func TestTuningOfUser(t *testing.T) {
	engine.WithDrivers(t, map[string]driver.Driver{"cpu": cpu.Driver{}})
	t.Setenv("GONVOLVE_CACHE", t.TempDir())
	d := devicetest.Open(t, "cpu")
	p := problemtest.Parse(t, "mb1ic4ih8oc6kh3ph1")
	own, err := d.Plan(t.Context(), p, driver.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	e := tuned.Entry{Key: d.TuningKey(p), Kernels: tuned.Code(own.Info()), Algorithm: "reference", MS: 1, Check: "exact"}
	if err := own.Close(); err != nil {
		t.Fatal(err)
	}
	if err := tuned.User().Put(e); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dev  *engine.Device
		want bool
	}{{d, true}, {devicetest.Open(t, "cpu"), true}, {devicetest.Open(t, "cpu", engine.WithDriverOptions(driver.Options{NoCache: true})), false}} {
		pl, err := c.dev.Plan(context.Background(), p, driver.PlanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := pl.Info().Algorithm == "reference"; got != c.want {
			t.Errorf("tuned: %v, not %v", got, c.want)
		}
		if err := pl.Close(); err != nil {
			t.Error(err)
		}
	}
}
