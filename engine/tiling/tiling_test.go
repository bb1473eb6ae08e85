package tiling_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	_ "github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tiling"
	"github.com/gonvolve/gonvolve/engine/verify"
)

var seed = flag.Uint64("seed", 1, "of the random problems")

// open opens a device for a test.
func open(t testing.TB, spec string) *engine.Device {
	t.Helper()
	d, err := engine.Open(t.Context(), spec, engine.NoFallback(), engine.WithTuning(nil))
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

// inputs makes a problem's inputs and constants in exact mode.
func inputs(t testing.TB, oracle *engine.Device, p *problem.Problem) (in engine.Operands) {
	t.Helper()
	o, ok := oracle.Driver().(driver.Oracle)
	if !ok {
		t.Fatalf("%s is no oracle", oracle.Spec())
	}
	for _, list := range [][]problem.Role{p.Constants(), p.Inputs()} {
		for _, r := range list {
			var err error
			if in[r], err = verify.Input(t.Context(), o, p, r, verify.Int); err != nil {
				t.Fatal(err)
			}
		}
	}
	return in
}

// differing is the first element of an output that differs in any bit, or −1.
func differing(a, b *engine.Tensor) int {
	size := a.Type().Size()
	for i := range a.Bytes() {
		if a.Bytes()[i] != b.Bytes()[i] {
			return i / size
		}
	}
	return -1
}

// checkRandom compares tiled with whole results of n random problems that are cut: half of them at random along all that
// they can be cut along, half by a memory limit. It counts what was cut.
func checkRandom(t *testing.T, spec string, n int) map[string]int {
	dev, oracle := open(t, spec), open(t, "cpu")
	r := rand.New(rand.NewPCG(*seed, 7))
	counts := map[string]int{}
	for cut := 0; cut < n && !t.Failed(); {
		p := problem.Random(r, 12)
		if len(dev.Algorithms(p)) == 0 {
			continue
		}
		j := tiling.NewJob(dev, tiling.Shred(r, p))
		if cut%2 == 0 {
			var err error
			limit := 64 + int64(float64(3*p.Bytes())*(0.05+r.Float64()))
			if j, err = tiling.Prepare(t.Context(), dev, p, tiling.Options{MemLimit: limit}); errors.Is(err, driver.ErrUnsupported) {
				continue
			}
			if err != nil {
				t.Fatalf("%s in %d bytes: %v", p.String(), limit, err)
			}
		}
		if j.Tiles.Len() > 1 {
			cut++
			compare(t, dev, oracle, p, j)
			for _, d := range j.Tiles.Dims() {
				counts[fmt.Sprint(p.Op, " ", p.Dir, " ", d)]++
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return counts
}

func compare(t *testing.T, dev, oracle *engine.Device, p problem.Problem, j *tiling.Job) {
	t.Helper()
	in := inputs(t, oracle, &p)
	want, err := dev.Compute(t.Context(), p, in)
	if err != nil {
		t.Fatalf("%s whole: %v", p.String(), err)
	}
	got, err := j.RunHost(t.Context(), in)
	if err != nil {
		t.Fatalf("%s, %v: %v", p.String(), j.Tiles, err)
	}
	for _, r := range p.Outputs() {
		if i := differing(got[r], want[r]); i >= 0 {
			t.Errorf("%s, %v: %v differs at element %d", p.String(), j.Tiles, r, i)
		}
	}
}

func TestRandomProblemsTiledAreWhole(t *testing.T) {
	counts := checkRandom(t, "cpu", 400)
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%s: %d", name, counts[name])
	}
	for _, name := range []string{"conv FWD batch", "conv FWD groups", "conv FWD input channels", "conv FWD height", "conv BWD_D height",
		"conv BWD_W batch", "deconv BWD_W height", "deconv FWD width", "pool FWD height", "pool BWD_D width", "pool FWD channels"} {
		if counts[name] == 0 {
			t.Errorf("nothing was cut like %s", name)
		}
	}
}

func TestCancelled(t *testing.T) {
	dev := open(t, "cpu")
	p, err := problem.Parse("conv:mb8ic4ih32oc4kh3ph1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	last := 0
	_, err = tiling.Compute(ctx, dev, p, inputs(t, dev, &p), tiling.Options{MemLimit: 60 << 10, Progress: func(done, total int, _ int64) {
		if last = done; done == 2 {
			cancel()
		}
		if total < 10 {
			t.Errorf("%d tiles", total)
		}
	}})
	if !errors.Is(err, context.Canceled) || last > 3 {
		t.Errorf("stopped after %d tiles with %v", last, err)
	}
}
