package verify

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/engine/report"
)

// The sums that are taken apart come out as the oracle's, by other loops.
func TestTermsAgreeWithOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	seen := map[string]int{}
	for range 600 {
		p := problem.Random(r, 8)
		p.Bias, p.Post = false, [problem.MaxPost]problem.PostOp{}
		if p.Validate() != nil || p.Op == problem.Pool && p.Kind != problem.Max && p.Kind != problem.AvgFull {
			continue
		}
		c := newCase(t, p, Int, DefaultBudget)
		for _, truth := range plainTruths(c) {
			for i := 0; i < len(truth.value); i += 1 + len(truth.value)/8 {
				sum, count, largest, ok := c.terms(truth.role, int64(i))
				if !ok {
					break
				}
				want := truth.value[i].Value
				switch {
				case p.Kind == problem.AvgFull && p.Divisor > 0:
					want *= float64(p.Divisor)
				case p.Kind == problem.AvgFull:
					want *= float64(p.Taps())
				case p.Op == problem.Pool: // the largest
					sum, want = 0, 0
				}
				if math.Abs(sum-want) > 1e-9*math.Abs(want) {
					t.Fatalf("%s, element %d of %s: %d terms %v make %v, not %v", p.String(), i, truth.role, count, largest, sum, want)
				}
				seen[p.Op.String()+p.Dir.String()]++
			}
		}
	}
	for _, k := range []string{"convFWD", "convBWD_D", "convBWD_W", "deconvFWD", "deconvBWD_D", "deconvBWD_W", "poolFWD"} {
		if seen[k] < 20 {
			t.Errorf("%s: %d elements", k, seen[k])
		}
	}
}

func TestExplain(t *testing.T) {
	c := newCase(t, problemtest.Parse(t, "mb1ic2ih4oc2oh4kh3ph1"), Int, DefaultBudget)
	c.Explain = true
	got := right(c)
	got[21] += 3 // [0 1 1 1], whose window is whole
	r := judge(c, got)
	if len(r.ULPs) != Buckets || r.ULPs[0] != 31 || r.ULPs[Buckets-1] != 1 {
		t.Errorf("histogram %v", r.ULPs)
	}
	w := r.Worst
	if w == nil || w.Output != "dst" || coordinate([]int{1, 2, 4, 4}, 21)[3] != w.At[3] || w.Terms != 18 || *w.Sum != float64(got[21]-3) || w.Bound != 0 {
		t.Fatalf("%+v", w)
	}
	for i, l := range w.Largest {
		src, wei := l.At["src"], l.At["wei"]
		v := float64(c.In[problem.Src].Float32s()[(src[1]*4+src[2])*4+src[3]]) * float64(c.In[problem.Wei].Float32s()[((wei[0]*2+wei[1])*3+wei[2])*3+wei[3]])
		if v != l.Value || i > 0 && math.Abs(v) > math.Abs(w.Largest[i-1].Value) {
			t.Errorf("%+v is %v", l, v)
		}
	}
}

func TestBucket(t *testing.T) {
	for ulps, want := range map[float64]int{0: 0, 0.5: 0, 0.6: 1, 1.5: 1, 2: 2, 3: 3, 4: 3, 5: 4, 8.4: 4, 9: 5, 16: 5, 17: 6, 1e9: 11, math.Inf(1): 11} {
		if got := bucket(ulps); got != want {
			t.Errorf("%v ulp are in bucket %d, not %d", ulps, got, want)
		}
	}
}

func TestVerdict(t *testing.T) {
	record := func(device, alg string, s report.Status) report.Record {
		return report.Record{Device: device, Algorithm: alg, Status: s, Driver: device + "-driver"}
	}
	ok, bad := report.Passed, report.Failed
	for _, c := range []struct {
		want    string
		records []report.Record
	}{
		{"nothing ran", []report.Record{record("cpu", "", report.Unsupported)}},
		{"all 2 results agree", []report.Record{record("cpu", "gemm", ok), record("a", "direct", ok)}},
		{"suspect what they share", []report.Record{record("a", "direct", bad), record("b", "direct", bad)}},
		{"suspect b (b-driver)", []report.Record{record("a", "direct", ok), record("b", "direct", bad)}},
		{"suspect the algorithm", []report.Record{record("a", "direct", ok), record("a", "igemm", bad), record("b", "igemm", bad)}},
	} {
		if got := Verdict(c.records); !strings.Contains(got, c.want) {
			t.Errorf("%q does not say %q", got, c.want)
		}
	}
}
