package verify

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/engine/report"
)

// plainTruths are the case's truths about f32 arithmetic.
func plainTruths(c *Case) []truth { return c.known[question{ways: fmt.Sprint(plainly)}] }

// right is the case's truth rounded to float32.
func right(c *Case) []float32 {
	truth := plainTruths(c)[0].value
	got := make([]float32, len(truth))
	for i, e := range truth {
		got[i] = float32(e.Value)
	}
	return got
}

func judge(c *Case, got []float32) report.Record {
	var r report.Record
	out, err := engine.FromFloat32(got, c.Problem.Shape(problem.Dst)...)
	if err != nil {
		panic(err)
	}
	if err := c.Judge(context.Background(), &r, driver.Arithmetic{}, engine.Operands{problem.Dst: out}); err != nil {
		panic(err)
	}
	return r
}

// plain computes a 2-D convolution without groups in float64, with faults that real kernels have: reads shifted by
// some columns, and padding that repeats the border instead of being zero.
func plain(c *Case, shift int, replicate bool) []float32 {
	p := &c.Problem
	h, w := p.Axes[1], p.Axes[2]
	src, wei := c.In[problem.Src].Float32s(), c.In[problem.Wei].Float32s()
	var out []float32
	for n := range p.N {
		for o := range p.OC {
			for y := range h.Out {
				for x := range w.Out {
					s := 0.0
					for ch := range p.IC {
						for i := range h.Kernel {
							for j := range w.Kernel {
								sy, sx := y*h.Stride-h.PadL+i*h.Dilation, x*w.Stride-w.PadL+j*w.Dilation+shift
								if replicate {
									sy, sx = min(max(sy, 0), h.In-1), min(max(sx, 0), w.In-1)
								}
								if sy >= 0 && sy < h.In && sx >= 0 && sx < w.In {
									s += float64(src[((n*p.IC+ch)*h.In+sy)*w.In+sx]) * float64(wei[((o*p.IC+ch)*h.Kernel+i)*w.Kernel+j])
								}
							}
						}
					}
					out = append(out, float32(s))
				}
			}
		}
	}
	return out
}

func TestJudgeConv(t *testing.T) {
	p := problemtest.Parse(t, "mb2ic3ih9iw7oc4oh9ow7kh3kw3ph1pw1")
	for _, fill := range []Fill{Int, Uniform} {
		t.Run(string(fill), func(t *testing.T) {
			c := newCase(t, p, fill, DefaultBudget)
			want := map[Fill]string{Int: "exact", Uniform: "bounded"}[fill]
			for name, got := range map[string][]float32{"oracle": right(c), "own loops": plain(c, 0, false)} {
				r := judge(c, got)
				if r.Status != report.Passed || !r.Verified || r.Reason != "" || r.Check != want || r.BoundUsed > 1 {
					t.Errorf("%s: a right result is judged %+v", name, r)
				}
				if n := int64(len(got)); r.Checked != n || r.Elements != n || n != problem.Elems(p.Shape(problem.Dst)) {
					t.Errorf("%s: %d of %d elements are compared", name, r.Checked, r.Elements)
				}
			}
			swapped := right(c)
			a := 0
			b := slices.IndexFunc(swapped, func(v float32) bool { return v != swapped[a] })
			swapped[a], swapped[b] = swapped[b], swapped[a]
			poisoned := right(c)
			poisoned[17] = float32(math.NaN())
			infinite := right(c)
			infinite[17] = float32(math.Inf(1))
			for name, got := range map[string][]float32{
				"halo off by one":     plain(c, 1, false),
				"halo off by minus 1": plain(c, -1, false),
				"replicated border":   plain(c, 0, true),
				"swapped":             swapped,
				"one NaN":             poisoned,
				"one infinity":        infinite,
				"zeros":               make([]float32, len(swapped)),
			} {
				r := judge(c, got)
				if r.Status != report.Failed || r.Verified || !strings.Contains(r.Reason, "worst at") {
					t.Errorf("%s passes: %+v", name, r)
				}
				if math.IsInf(r.MaxAbsErr, 0) || math.IsInf(r.MaxULP, 0) || math.IsInf(r.BoundUsed, 0) {
					t.Errorf("%s: the record has infinities, which JSON has not", name)
				}
			}
			if r := judge(c, poisoned); !strings.Contains(r.Reason, "1 of 504") || !strings.Contains(r.Reason, "[0 0 2 3]") {
				t.Errorf("reason does not name the element: %s", r.Reason)
			}
		})
	}
}

// One step of float32 beyond the bound fails, one step within passes.
func TestJudgeAtTheBound(t *testing.T) {
	c := newCase(t, problemtest.Parse(t, "mb1ic3ih9oc4oh9kh3ph1"), Uniform, DefaultBudget)
	const i = 40
	want, bound := plainTruths(c)[0].value[i].Value, plainTruths(c)[0].value[i].Bound
	inside := float32(want)
	for next := inside; math.Abs(float64(next)-want) <= bound; next = math.Nextafter32(next, float32(math.Inf(1))) {
		inside = next
	}
	if inside == float32(want) {
		t.Fatal("the bound is smaller than rounding")
	}
	got := right(c)
	got[i] = inside
	if r := judge(c, got); r.Status != report.Passed || r.BoundUsed <= 0.5 {
		t.Errorf("an error within the bound is judged %+v", r)
	}
	got[i] = math.Nextafter32(inside, float32(math.Inf(1)))
	if r := judge(c, got); r.Status != report.Failed || r.BoundUsed <= 1 || !strings.Contains(r.Reason, "[0 0 4 4]") {
		t.Errorf("an error one ulp outside the bound is judged %+v", r)
	}
}

// In exact mode a single ulp is too much.
func TestJudgeExactULP(t *testing.T) {
	c := newCase(t, problemtest.Parse(t, "mb1ic3ih9oc4oh9kh3ph1"), Int, DefaultBudget)
	got := right(c)
	got[7] = math.Nextafter32(got[7], 100)
	if r := judge(c, got); r.Status != report.Failed || r.Check != "exact" {
		t.Errorf("one ulp passes: %+v", r)
	}
}

func TestJudgePool(t *testing.T) {
	const desc = "mb1ic2ih6iw7oh3ow4kh3kw3sh2sw2ph1pw1"
	kinds := []string{"max", "avg_np", "avg_p"}
	results := map[string][]float32{}
	cases := map[string]*Case{}
	for _, k := range kinds {
		cases[k] = newCase(t, problemtest.Parse(t, "pool:"+k+":"+desc), Int, DefaultBudget)
		results[k] = right(cases[k])
	}
	for _, k := range kinds {
		for _, of := range kinds {
			r := judge(cases[k], results[of])
			if passed := r.Status == report.Passed; passed != (k == of) {
				t.Errorf("%s with the result of %s: %s %s", k, of, r.Status, r.Reason)
			}
		}
		if r := judge(cases[k], results[k]); r.Check != "exact" {
			t.Errorf("%s of whole numbers is not judged bit for bit", k)
		}
	}
}

// What the sample does not compare is still looked at for poison.
func TestJudgeSampled(t *testing.T) {
	c := newCase(t, problemtest.Parse(t, "mb1ic3ih40oc8oh40kh3ph1"), Int, 100*27)
	at := plainTruths(c)[0].at
	if at == nil || len(at) > 100 || len(at) < 64 {
		t.Fatalf("the sample has %d elements", len(at))
	}
	got := plain(c, 0, false)
	if r := judge(c, got); r.Status != report.Passed || r.Checked != int64(len(at)) || r.Elements != int64(len(got)) {
		t.Errorf("a right result is judged %+v", r)
	}
	free := 0
	for slices.Contains(at, int64(free)) {
		free++
	}
	got[free] = float32(math.NaN())
	if r := judge(c, got); r.Status != report.Failed || r.Verified || !strings.Contains(r.Reason, "never written") {
		t.Errorf("poison outside the sample is judged %+v", r)
	}
	got = plain(c, 0, false)
	got[at[5]]++
	if r := judge(c, got); r.Status != report.Failed {
		t.Errorf("a wrong element of the sample is judged %+v", r)
	}
	if r := judge(c, plain(c, 0, true)); r.Status != report.Failed {
		t.Error("the sample misses a wrong border")
	}
}

// Special values: infinities and NaN must be where the truth has them.
func TestJudgeSpecial(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		want float64
		got  float32
		ok   bool
	}{
		{inf, float32(inf), true}, {inf, float32(-inf), false}, {inf, 1, false}, {inf, float32(nan), false},
		{nan, float32(nan), true}, {nan, 0, false}, {0, float32(nan), false}, {1, float32(inf), false},
		{1e39, float32(inf), true}, // beyond float32
		{0, float32(math.Copysign(0, -1)), true},
	} {
		for _, exact := range []bool{false, true} {
			truth := driver.Truth{{Value: c.want, Bound: 1e-7 * math.Abs(c.want), Magnitude: math.Abs(c.want), Terms: 1, Exact: true}}
			if o := Judge(problem.F32, truth, nil, func(int64) float64 { return float64(c.got) }, exact); (o.Wrong == 0) != c.ok {
				t.Errorf("want %v, got %v, exact %v: %+v", c.want, c.got, exact, o)
			}
		}
	}
	if o := Judge(problem.F32, nil, nil, nil, true); o.Wrong != 0 || o.Compared != 0 || o.String(nil) != "" {
		t.Errorf("an empty result is judged %+v", o)
	}
}
