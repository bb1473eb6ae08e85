package verify

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/engine/report"
)

func TestSample(t *testing.T) {
	for _, text := range []string{
		"mb1ic3iw100oc4ow100kw3pw1",
		"mb2ic3ih20iw30oc4oh20ow30kh3kw3ph1pw1",
		"mb2ic3id5ih6iw7oc4od5oh6ow7kd3kh3kw3pd1ph1pw1",
		"mb1ic1ih1iw50oc1oh1ow50kh1kw3ph0pw1",
		"pool:max:mb2ic8ih30oh15kh2",
		"mb1ic512iw2oc3ow2kw1", // fewer elements than the least sample
	} {
		t.Run(text, func(t *testing.T) {
			p := problemtest.Parse(t, text)
			shape := p.Shape(problem.Dst)
			total := problem.Elems(shape)
			whole := float64(total * p.Terms())
			if at := sample(&p, problem.Dst, whole); at != nil {
				t.Errorf("a budget for everything gives a sample of %d", len(at))
			}
			at := sample(&p, problem.Dst, whole-1)
			if at == nil {
				t.Fatal("one product too many gives no sample")
			}
			budget := float64(min(100, total-1) * p.Terms())
			at = sample(&p, problem.Dst, budget)
			if !slices.IsSorted(at) || len(slices.Compact(slices.Clone(at))) != len(at) {
				t.Error("the sample is not sorted and unique")
			}
			if at[0] != 0 || at[len(at)-1] != total-1 {
				t.Errorf("the sample goes from %d to %d of %d", at[0], at[len(at)-1], total)
			}
			if len(at) > 100 {
				t.Errorf("%d elements, the budget is for 100", len(at))
			}
			for mask := range 1 << len(shape) {
				corner := int64(0)
				for k, n := range shape {
					corner *= int64(n)
					if mask>>k&1 == 1 {
						corner += int64(n - 1)
					}
				}
				if !slices.Contains(at, corner) {
					t.Errorf("corner %v is missing", coordinate(shape, corner))
				}
			}
			if !slices.Equal(at, sample(&p, problem.Dst, budget)) {
				t.Error("the sample differs from call to call")
			}
		})
	}
}

// Cheap elements must not make the truth larger than the tensors.
func TestSampleIsLimited(t *testing.T) {
	p := problemtest.Parse(t, "pool:max:mb1ic64ih1024oh1024kh1")
	if at := sample(&p, problem.Dst, math.Inf(1)); len(at) == 0 || len(at) > maxSample {
		t.Errorf("%d elements are compared", len(at))
	}
	p = problemtest.Parse(t, "mb0ic3ih8oc4oh8kh3ph1")
	if at := sample(&p, problem.Dst, 0); at != nil {
		t.Errorf("an empty result has a sample of %d", len(at))
	}
}

func TestNewCaseRefuses(t *testing.T) {
	cpu := open(t, "cpu")
	// A terabyte: the test would not survive its allocation.
	for _, text := range []string{
		"mb1ic1ih400000oc1oh400000kh1",
		"pool:max:mb1ic64ih65536oh32768kh2",
		"mb1ic1000000oc1000000ih1oh1kh1",
	} {
		_, err := NewCase(t.Context(), cpu, problemtest.Parse(t, text), Int, DefaultBudget)
		if !errors.Is(err, driver.ErrUnsupported) || !strings.Contains(err.Error(), "memory") {
			t.Errorf("%s: %v", text, err)
		}
	}
	p := problemtest.Parse(t, "mb1ic1ih4oc1oh4kh1")
	if _, err := NewCase(t.Context(), cpu, problem.Problem{}, Int, DefaultBudget); !errors.Is(err, problem.ErrInvalid) {
		t.Errorf("invalid problem: %v", err)
	}
	if _, err := NewCase(t.Context(), open(t, "liar"), p, Int, DefaultBudget); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("a device without truth: %v", err)
	}
}

func TestOracle(t *testing.T) {
	d, err := Oracle(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Spec() != "cpu" {
		t.Errorf("the oracle is %s", d.Spec())
	}
}

func TestCheck(t *testing.T) {
	relu := problemtest.Parse(t, "bias:post=relu:mb1ic4ih6oc3oh6kh3ph1")
	for _, p := range []problem.Problem{relu, problemtest.Parse(t, "mb0ic4ih6oc3oh6kh3ph1"), problemtest.Parse(t, "pool:max:mb1ic4ih6oh3kh2"),
		problemtest.Parse(t, "deconv:mb1ic4ih3oc2oh6kh2sh2ph0"), problemtest.Parse(t, "g2mb1ic4id3ih6iw5oc6od3oh6ow5kd3kh3kw3pd1ph1pw1")} {
		for _, fill := range []Fill{Int, Uniform} {
			c := newCase(t, p, fill, DefaultBudget)
			cpu := open(t, "cpu")
			for _, alg := range append(cpu.Algorithms(p), "") {
				r := c.Check(t.Context(), cpu, alg)
				if r.Status != report.Passed || !r.Verified || r.Runs != 1 || r.Algorithm == "" || (alg != "" && r.Algorithm != alg) {
					t.Errorf("%s by %q: %+v", p.String(), alg, r)
				}
			}
			if p.N == 0 {
				continue
			}
			if r := c.Check(t.Context(), open(t, "lazy"), ""); r.Status != report.Failed || r.Verified {
				t.Errorf("%s: a device that writes nothing passes: %+v", p.String(), r)
			}
		}
	}
	c := newCase(t, relu, Int, DefaultBudget)
	if r := c.Check(t.Context(), open(t, "liar"), ""); r.Status != report.Failed || !strings.Contains(r.Reason, "[0 0 0 1]") {
		t.Errorf("one wrong element: %+v", r)
	}
	if r := c.Check(t.Context(), open(t, "cpu"), "nonsense"); r.Status != report.Unsupported || r.Verified {
		t.Errorf("unknown algorithm: %+v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := c.Check(ctx, open(t, "cpu"), ""); r.Status != report.Skipped || r.Verified || r.Reason != "interrupted" {
		t.Errorf("interrupted: %+v", r)
	}
}

// A result is judged by the arithmetic of its plan, with whole numbers too.
func TestCheckByArithmetic(t *testing.T) {
	for _, fill := range []Fill{Int, Uniform} {
		c := newCase(t, problemtest.Parse(t, "bias:mb1ic4ih6oc3oh6kh3ph1"), fill, DefaultBudget)
		if r := c.Check(t.Context(), open(t, "winograd"), "direct"); r.Status != report.Passed || r.Check != "bounded" || r.BoundUsed == 0 {
			t.Errorf("%s: a result within the bounds is judged %+v", fill, r)
		}
		if r := c.Check(t.Context(), open(t, "winogradwrong"), "direct"); r.Status != report.Failed {
			t.Errorf("%s: a wrong result is judged %+v", fill, r)
		}
	}
}

func TestRepro(t *testing.T) {
	p := problemtest.Parse(t, `conv:bias:post=relu:mb1ic4ih6oc3oh6kh3ph1n"layer"`)
	got := Repro(&p, "vulkan:1", "direct", Uniform)
	want := "gonvolve verify --device vulkan:1 --fill uniform --alg direct '" + p.String() + "'"
	if got != want {
		t.Errorf("%s\nnot\n%s", got, want)
	}
}

// A result in tiles may be off by the largest of their arithmetics' bounds, whichever tile has it.
func TestBoundsOfTiles(t *testing.T) {
	p := problemtest.Parse(t, "mb1ic8ih10oc8oh10kh3ph1")
	for _, fill := range []Fill{Int, Uniform} {
		c := newCase(t, p, fill, DefaultBudget)
		// Rows in 4, 4 and 2, of which the last few are transformed; and all of them few.
		for _, rows := range []int{4, 2} {
			steps := []int{1, 1, 8, 8, 1, rows, 10}
			if r := c.CheckCut(t.Context(), open(t, "winogradfew"), "igemm", steps); r.Status != report.Passed || r.Check != "bounded" ||
				!(r.BoundUsed > 0) {
				t.Errorf("%s in rows of %d: %+v", fill, rows, r)
			}
			if r := c.CheckCut(t.Context(), open(t, "winogradwrongfew"), "igemm", steps); r.Status != report.Failed {
				t.Errorf("%s in rows of %d, wrong: %+v", fill, rows, r)
			}
		}
		if r := c.CheckCut(t.Context(), open(t, "winogradfew"), "igemm", []int{1, 1, 8, 8, 1, 10, 5}); r.Status != report.Passed ||
			fill == Int && r.Check != "exact" {
			t.Errorf("%s in columns, of which none are transformed: %+v", fill, r)
		}
	}
}
