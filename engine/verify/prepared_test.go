package verify

import (
	"errors"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/engine/report"
)

// What a device cannot hold is proven in tiles, at their borders, too, and the record says so; what they do not write shows.
func TestCheckInTiles(t *testing.T) {
	for _, text := range []string{"mb2ic8ih24oc8oh24kh3ph1", "conv:BWD_W:mb8ic8ih16oc8oh16kh3ph1", "conv:f16:BWD_D:mb2ic8ih24oc8oh24kh3ph1",
		"pool:max:indices=flat:mb4ic8ih32oh16kh2sh2", "conv:u8-s8-s32:mb2ic8ih24oc8oh24kh3ph1", "deconv:mb2ic8ih16oc8oh31kh3sh2ph1"} {
		p := problemtest.Parse(t, text)
		for _, fill := range []Fill{Int, Uniform} {
			c := newCase(t, p, fill, DefaultBudget)
			r := c.Check(t.Context(), open(t, "little"), "")
			if r.Status != report.Passed || r.Tiles < 2 || !strings.Contains(r.TilesWhy, "the fake refuses") || r.Fallback != nil {
				t.Errorf("%s: %+v", text, r)
			}
			limited := open(t, "cpu", engine.WithMemLimit(32<<10))
			if r = c.Check(t.Context(), limited, ""); r.Status != report.Passed || r.Tiles < 2 ||
				!strings.Contains(r.TilesWhy, "the memory limit is 32768") || !strings.Contains(r.Repro, "--mem-limit 32768") {
				t.Errorf("%s with a limit: %+v", text, r)
			}
			if r = c.Check(t.Context(), open(t, "littlelazy"), ""); r.Status != report.Failed {
				t.Errorf("%s, of which nothing is computed: %+v", text, r)
			}
			if r = c.Check(t.Context(), limited, "nonsense"); r.Status != report.Unsupported && !strings.Contains(r.Reason, "nonsense") {
				t.Errorf("%s by no algorithm: %+v", text, r)
			}
		}
	}
	c := newCase(t, problemtest.Parse(t, "mb2ic8ih24oc8oh24kh3ph1"), Int, 1e4) // a sample
	if r := c.Check(t.Context(), open(t, "little"), ""); r.Status != report.Passed || r.Checked < 64+16 || r.Checked == r.Elements {
		t.Errorf("a sample: %d of %d elements in %d tiles, %s", r.Checked, r.Elements, r.Tiles, r.Reason)
	}
}

// Golden results are compared in tiles, too.
func TestGoldenInTiles(t *testing.T) {
	p := problemtest.Parse(t, "mb2ic8ih24oc8oh24kh3ph1")
	s, err := newCase(t, p, Int, DefaultBudget).Start(t.Context(), open(t, "cpu"), "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.Result(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g := Golden{Problem: p, hashed: true}
	g.hash, _ = Hash(out[problem.Dst].Float32s())
	if r := g.Check(t.Context(), open(t, "cpu"), open(t, "little"), ""); r.Status != report.Passed || r.Tiles < 2 {
		t.Errorf("%+v", r)
	}
	g.hash++
	if r := g.Check(t.Context(), open(t, "cpu"), open(t, "little"), ""); r.Status != report.Failed {
		t.Errorf("another hash: %+v", r)
	}
}

// A device that can run a problem neither whole nor in tiles says both.
func TestBeyondTiles(t *testing.T) {
	c := newCase(t, problemtest.Parse(t, "mb1ic1ih8oc1oh8kh3ph1"), Int, DefaultBudget)
	_, err := c.Start(t.Context(), open(t, "cpu", engine.WithMemLimit(16)), "")
	if !errors.Is(err, engine.ErrOutOfMemory) || !strings.Contains(err.Error(), "the memory limit is 16") || !strings.Contains(err.Error(), "in tiles") {
		t.Error(err)
	}
}
