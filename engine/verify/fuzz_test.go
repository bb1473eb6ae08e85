package verify

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/engine/report"
)

// fuzz runs problems until one fails.
func fuzz(t testing.TB, f Fuzzer, problems uint64) (failed *report.Record, passed int) {
	for i := uint64(0); i < problems && failed == nil; i++ {
		f.Check(t.Context(), i, func(r report.Record) bool {
			switch r.Status {
			case report.Failed:
				failed = &r
			case report.Passed:
				passed++
			}
			return failed == nil
		})
	}
	return failed, passed
}

// mutant fuzzes a fake by one algorithm, with one fill.
func mutant(t testing.TB, spec string) Fuzzer {
	return Fuzzer{Oracle: open(t, "cpu"), Devices: []*engine.Device{open(t, spec)}, Seed: 1, Fills: []Fill{Int},
		Algorithms: func(d *engine.Device, p problem.Problem) []string { return d.Algorithms(p)[:1] }}
}

// refuzz runs the problem again that a failure came from.
func refuzz(t testing.TB, f Fuzzer, r *report.Record) (failed *report.Record) {
	var i uint64
	_, from, _ := strings.Cut(r.Reason, "shrunk from problem ")
	if _, err := fmt.Sscanf(from, "%d", &i); err != nil {
		t.Fatal(err)
	}
	f.Check(t.Context(), i, func(r report.Record) bool {
		if r.Status == report.Failed {
			failed = &r
		}
		return failed == nil
	})
	return failed
}

func TestFuzz(t *testing.T) {
	failed, passed := fuzz(t, Fuzzer{Oracle: open(t, "cpu"), Devices: []*engine.Device{open(t, "cpu")}, Seed: 1}, 64)
	if failed != nil {
		t.Errorf("%s: %s", failed.Repro, failed.Reason)
	}
	if passed < 200 {
		t.Errorf("%d checks of 64 problems", passed)
	}
}

// Every planted fault is found, and shrunk to a problem of at most 8 of anything, the same every time.
func TestFuzzFindsMutants(t *testing.T) {
	for name := range mutants {
		t.Run(name, func(t *testing.T) {
			r, _ := fuzz(t, mutant(t, name), 1000)
			if r == nil {
				t.Fatal("not found")
			}
			t.Log(r.Repro, r.Reason)
			p := problemtest.Parse(t, r.Problem)
			sizes := []int{p.N, p.IC, p.OC}
			for _, a := range p.Spatial() {
				sizes = append(sizes, a.In, a.Out, a.Kernel, a.Stride, a.Dilation)
			}
			for _, n := range sizes {
				if n > 8 {
					t.Errorf("%s is not small", r.Problem)
				}
			}
			if !strings.Contains(r.Repro, "'"+r.Problem+"'") || !strings.Contains(r.Reason, "of seed 1, ") {
				t.Errorf("%s: %s", r.Repro, r.Reason)
			}
			if again := refuzz(t, mutant(t, name), r); again == nil || again.Repro != r.Repro {
				t.Errorf("%s the first time, then %+v", r.Repro, again)
			}
		})
	}
}

// Problems that are cut at random are cut along everything, and are right: along what they are cut says the record.
func TestFuzzCut(t *testing.T) {
	f := Fuzzer{Oracle: open(t, "cpu"), Devices: []*engine.Device{open(t, "cpu")}, Seed: 2, Cut: true}
	along := map[string]int{}
	for i := range uint64(80) {
		f.Check(t.Context(), i, func(r report.Record) bool {
			if r.Status != report.Passed {
				t.Errorf("%s %s: %s", r.Repro, r.Status, r.Reason)
			}
			_, list, _ := strings.Cut(r.Tile, "tiles: ")
			for part := range strings.SplitSeq(list, " × ") {
				words := strings.Fields(strings.TrimSuffix(part, " (sums)"))
				if len(words) > 1 {
					along[strings.Join(words[:len(words)-1], " ")]++
				}
			}
			return true
		})
	}
	for _, name := range []string{"batch", "groups", "channels", "output channels", "input channels", "depth", "height", "width"} {
		if along[name] == 0 {
			t.Errorf("nothing was cut along %s: %v", name, along)
		}
	}
}

// A fault is found in tiles and shrunk with its cut, which the command that repeats it names.
func TestFuzzCutFindsFaults(t *testing.T) {
	f := Fuzzer{Oracle: open(t, "cpu"), Devices: []*engine.Device{open(t, "narrow")}, Seed: 1, Fills: []Fill{Int}, Cut: true}
	r, _ := fuzz(t, f, 1000)
	if r == nil {
		t.Fatal("not found")
	}
	_, list, ok := strings.Cut(r.Repro, " --cut ")
	var steps []int
	for number := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatalf("%s: %v", r.Repro, err)
		}
		steps = append(steps, n)
	}
	p := problemtest.Parse(t, r.Problem)
	c := newCase(t, p, Int, DefaultBudget)
	again := c.CheckCut(t.Context(), f.Devices[0], "", steps)
	if !ok || again.Status != report.Failed || again.Repro != r.Repro {
		t.Errorf("%s, then %+v", r.Repro, again)
	}
	if p.Axes[2].In > 6 || p.N > 1 {
		t.Errorf("%s is not small", r.Problem)
	}
}

func TestFuzzerIsReproducible(t *testing.T) {
	a, b := Fuzzer{Seed: 3}, Fuzzer{Seed: 4}
	differ, large := 0, 0
	for i := range uint64(64) {
		p := a.Problem(i)
		if again := a.Problem(i); again != p {
			t.Fatalf("problem %d is %s, then %s", i, p.String(), again.String())
		}
		if p != b.Problem(i) {
			differ++
		}
		if p.FLOPs() > 2e5 {
			large++
		}
	}
	if differ < 60 || large < 8 {
		t.Errorf("of 64 problems %d differ by seed, %d are large", differ, large)
	}
}

func TestFuzzInterrupted(t *testing.T) {
	f := Fuzzer{Oracle: open(t, "cpu"), Devices: []*engine.Device{open(t, "cpu")}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.Check(ctx, 0, func(r report.Record) bool { t.Errorf("a record of what did not run: %+v", r); return true })
}

// A fault that needs a certain size is not shrunk below it.
func TestShrinkKeepsWhatMatters(t *testing.T) {
	cpu, dev := open(t, "cpu"), open(t, "wide")
	p := problemtest.Parse(t, "conv:bias:post=relu+clip(0,6):nhwc:g2mb3ic6ih17iw23oc4oh17ow23kh3kw5ph1pw2")
	c := newCase(t, p, Int, DefaultBudget)
	small, r := Shrink(t.Context(), cpu, dev, "reference", c, c.Check(t.Context(), dev, "reference"))
	if got := small.String(); r.Status != report.Failed || small.Axes[2].In != 20 || problem.Elems(small.Shape(problem.Src)) != 20 {
		t.Errorf("shrunk to %s: %+v", got, r)
	}
}
