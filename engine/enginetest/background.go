package enginetest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// Background runs plans that are compiled in the background, on two streams at once, until they have gone over to their
// own kernels and beyond: every result is right, and so are those of weights that are set anew on the way. The device is
// opened without a cache, so that there is something to compile: it must be one that does so.
func Background(t *testing.T, open Open) {
	s := &suite{open: open}
	texts := []string{"bias:post=relu:mb1ic64ih14oc64oh14kh3ph1", "conv:BWD_D:f16:mb1ic64ih14oc64oh14kh3ph1"}
	if testing.Short() {
		texts = texts[:1]
	}
	for _, text := range texts {
		for _, fill := range []verify.Fill{verify.Int, verify.Uniform} {
			d := s.device(t)
			p := problemtest.Parse(t, text)
			c, err := verify.NewCase(t.Context(), oracle(t), p, fill, verify.DefaultBudget)
			if err != nil {
				t.Fatal(err)
			}
			pl, err := d.Plan(t.Context(), p, driver.PlanOptions{Background: true})
			if err != nil {
				t.Fatal(err)
			}
			awaited := pl.Info().Pending
			if awaited == "" || awaited == pl.Info().Algorithm {
				t.Errorf("%s: %+v", text, pl.Info())
			}
			var sides sync.WaitGroup
			for range 2 {
				run, err := c.Prepare(t.Context(), pl)
				if err != nil {
					t.Fatal(err)
				}
				sides.Go(func() {
					if err := errors.Join(untilSettled(t, d, c, run), run.Close()); err != nil {
						t.Errorf("%s: %v", text, err)
					}
				})
			}
			sides.Wait()
			if i := pl.Info(); i.Algorithm != awaited {
				t.Errorf("%s by %s, not %s: %s", text, i.Algorithm, awaited, i.Why)
			}
			if all := d.Switches(); len(all) != 1 || all[0].To != awaited || all[0].Reason != nil {
				t.Errorf("%s: %+v", text, all)
			}
			if err := pl.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// untilSettled judges run after run, until nothing is pending and three times more.
func untilSettled(t *testing.T, d *engine.Device, c *verify.Case, run *verify.Prepared) error {
	for after := 0; after < 3; {
		if run.Plan.Info().Pending == "" {
			after++
		}
		got, err := run.Result(t.Context())
		if err != nil {
			return err
		}
		r := report.New(&c.Problem, d)
		if err := c.Judge(t.Context(), &r, run.Plan.Info().Arithmetic, got); err != nil || r.Status != report.Passed {
			return errors.Join(err, errors.New(r.Reason))
		}
		time.Sleep(time.Millisecond) // the compiler needs a core, too
	}
	return nil
}
