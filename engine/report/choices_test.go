package report

import (
	"strings"
	"testing"
)

func TestChoicesOf(t *testing.T) {
	took := func(problem, device, algorithm string, ms float64, own bool) Record {
		r := Record{Problem: problem, Device: device, Algorithm: algorithm, Own: own, Status: Passed}
		if ms > 0 {
			r.WallMS = &Times{Median: ms}
		}
		return r
	}
	wrong := took("p3", "cpu", "fast", 1, false)
	wrong.Status = Failed
	list := ChoicesOf([]Record{
		took("p1", "cpu", "igemm", 1, true), took("p1", "cpu", "direct", 2, false),
		took("p2", "cpu", "igemm", 1.3, true), took("p2", "cpu", "winograd", 1, false),
		wrong, took("p3", "cpu", "igemm", 5, true), // what is wrong is not fast
		took("p4", "cpu", "igemm", 0, true), // not timed
		took("p1", "vulkan:0", "igemm", 1.09, true), took("p1", "vulkan:0", "direct", 1, false),
		took("p1", "opencl:0", "igemm", 1, false), // another was its own
	})
	var b strings.Builder
	if err := WriteChoices(&b, list); err != nil {
		t.Fatal(err)
	}
	want := `cpu: the algorithm that it takes by itself is within 10 % of the fastest on 2 of 3 problems
  p2: igemm takes 1.30 times as long as winograd
vulkan:0: the algorithm that it takes by itself is within 10 % of the fastest on 1 of 1 problems
`
	if b.String() != want {
		t.Errorf("%s", b.String())
	}
}
