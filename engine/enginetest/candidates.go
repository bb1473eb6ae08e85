package enginetest

import (
	"errors"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// tuned are problems whose candidates are tried: tiles that divide the map and tiles that overhang it, groups, strides,
// channels that don't fill a vector.
var tuned = []string{
	"mb1ic8ih14oc16oh14kh3ph1",
	"g2mb2ic6ih9oc22oh5kh3sh2ph1",
}

// maxCandidates is how many candidates of a problem are tried: each tile is a compilation.
const maxCandidates = 8

// candidates checks what a tuner would try (driver.Tuner), spread over the list: nothing computes wrong, and each makes
// itself again. The tuner itself proves whatever it keeps.
func (s *suite) candidates(t *testing.T) {
	o, d := oracle(t), s.device(t)
	tuner, ok := d.Driver().(driver.Tuner)
	if !ok {
		return // the device is tuned over its algorithms, which other tests run
	}
	texts := tuned
	if testing.Short() {
		texts = texts[:1]
	}
	for _, text := range texts {
		p := problemtest.Parse(t, text)
		c, err := verify.NewCase(t.Context(), o, p, verify.Int, verify.DefaultBudget)
		if err != nil {
			t.Fatal(err)
		}
		list := tuner.Candidates(p)
		if len(list) == 0 {
			t.Errorf("%s has no candidates", text)
		}
		step := (len(list) + maxCandidates - 1) / maxCandidates
		for i := 0; i < len(list); i += step {
			x := list[i]
			if err := candidate(t, d, c, x); err != nil {
				t.Errorf("%s by %s %s: %v", text, x.Algorithm, x.Tile, err)
			}
		}
	}
}

func candidate(t *testing.T, d *engine.Device, c *verify.Case, x driver.Candidate) (err error) {
	pl, err := d.Plan(t.Context(), c.Problem, x.Options())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pl.Close()) }()
	i := pl.Info()
	if tuner := d.Driver().(driver.Tuner); i.Kernels == "" || !tuner.Runs(i.Kernels) || tuner.Runs(i.Kernels+"0") || tuner.Runs("") {
		t.Errorf("%s %s: the device does not know its kernels %q", x.Algorithm, x.Tile, i.Kernels)
	}
	if i.Algorithm != x.Algorithm || x.Tile != "" && i.Tunables != x.Tile {
		t.Errorf("%s %s makes %s %s", x.Algorithm, x.Tile, i.Algorithm, i.Tunables)
	}
	run, err := c.Prepare(t.Context(), pl)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run.Close()) }()
	got, err := run.Result(t.Context())
	if err != nil {
		return err
	}
	r := report.New(&c.Problem, d)
	r.Planned(pl)
	if err := c.Judge(t.Context(), &r, pl.Info().Arithmetic, got); err != nil {
		return err
	}
	if r.Status != report.Passed {
		return errors.New(r.Reason)
	}
	return nil
}
