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
	"github.com/gonvolve/gonvolve/engine/devicetest"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/engine/tiling"
	"github.com/gonvolve/gonvolve/engine/verify"
)

var seed = flag.Uint64("seed", 1, "of the random problems")

// open opens a device for a test.
func open(t testing.TB, spec string) *engine.Device {
	t.Helper()
	return devicetest.Open(t, spec, engine.NoFallback(), engine.WithTuning(nil))
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

// checkRandom compares tiled with whole results of random problems: n that are cut at random along all that they can be cut
// along, and n by a memory limit, of those that are wanted. It counts what was cut at random.
func checkRandom(t *testing.T, spec string, n int, wanted func(p *problem.Problem) bool) map[string]int {
	dev, oracle := open(t, spec), open(t, "cpu")
	counts := map[string]int{}
	random, limited := 0, 0
	for i := uint64(0); (random < n || limited < n) && !t.Failed(); i++ {
		r := rand.New(rand.NewPCG(*seed, i))
		p := problem.Random(r, 12)
		if !wanted(&p) {
			continue
		}
		defer tiling.SetNear(int(i%2) << 10)() // half of them take all halos from the tile before
		if j := tiling.NewJob(dev, tiling.Shred(r, p)); random < n && j.Tiles.Len() > 1 {
			random++
			compare(t, dev, oracle, p, j)
			for _, what := range append(j.Tiles.Dims(), fmt.Sprint(p.Op, " ", p.Dir)) {
				counts[what]++
			}
			for _, d := range j.Tiles.Dims() {
				counts[fmt.Sprint(p.Op, " ", p.Dir, " ", p.PadMode, " ", d)]++
			}
		}
		limit := 64 + int64(float64(3*p.Bytes())*(0.05+r.Float64()))
		j, err := tiling.Prepare(t.Context(), dev, p, tiling.Options{MemLimit: limit})
		if errors.Is(err, driver.ErrUnsupported) {
			continue
		}
		if err != nil {
			t.Fatalf("%s in %d bytes: %v", p.String(), limit, err)
		}
		if limited < n && j.Tiles.Len() > 1 {
			limited++
			compare(t, dev, oracle, p, j)
		} else if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return counts
}

// compare runs a job and closes it.
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
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRandomProblemsTiledAreWhole(t *testing.T) {
	counts := checkRandom(t, "cpu", 200, func(*problem.Problem) bool { return true })
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%s: %d", name, counts[name])
	}
	for _, name := range []string{"batch", "groups", "channels", "output channels", "input channels", "depth", "height", "width",
		"conv FWD", "conv BWD_D", "conv BWD_W", "deconv FWD", "deconv BWD_D", "deconv BWD_W", "pool FWD", "pool BWD_D", "unpool FWD"} {
		if *seed == 1 && counts[name] == 0 { // other seeds may miss one
			t.Errorf("nothing was cut of %s", name)
		}
	}
}

// Of these an index or the padding's cells decide where the parts of a plane get their values from.
func TestPlanesOfFarCellsTiledAreWhole(t *testing.T) {
	counts := checkRandom(t, "cpu", 200, func(p *problem.Problem) bool { return p.Op == problem.Unpool })
	maps.Copy(counts, checkRandom(t, "cpu", 600, func(p *problem.Problem) bool {
		return p.PadMode != problem.Zeros && p.Dir == problem.BackwardData
	}))
	for _, what := range []string{"unpool FWD zeros", "unpool BWD_D zeros", "conv BWD_D reflect", "conv BWD_D replicate", "conv BWD_D circular"} {
		for _, axis := range []string{"depth", "height", "width"} {
			if n := counts[what+" "+axis]; n == 0 && *seed == 1 {
				t.Errorf("nothing was cut of %s along %s", what, axis)
			} else {
				t.Logf("%s along %s: %d", what, axis, n)
			}
		}
	}
}

// Tiles of a plane hold what a window of an unpooling reaches; an index that points elsewhere is refused, not lost.
func TestIndicesBeyondTheirWindows(t *testing.T) {
	dev := open(t, "cpu")
	p := problemtest.Parse(t, "unpool:indices=plane:mb1ic1ih8oh16kh2sh2")
	for _, limit := range []int64{0, 2 << 10} {
		in := inputs(t, dev, &p)
		in[problem.Ind].Int32s()[0] = 255
		_, err := tiling.Compute(t.Context(), dev, p, in, tiling.Options{MemLimit: limit})
		if refused := limit > 0; refused != errors.Is(err, engine.ErrUnsupported) || !refused && err != nil {
			t.Errorf("within %d bytes: %v", limit, err)
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
