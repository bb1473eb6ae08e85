package cpu

import (
	"math/rand/v2"
	"testing"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// TestAlgorithms compares every algorithm with the oracle on problems of every kind.
func TestAlgorithms(t *testing.T) {
	d := open(t)
	r := rand.New(rand.NewPCG(13, 14))
	ran := map[string]int{}
	for range 4000 {
		p := problem.Random(r, 9)
		in := operands(t, r, &p)
		for _, name := range d.Algorithms(p) {
			ran[name]++
			got := run(t, d, p, name, in)
			for _, role := range p.Outputs() {
				judge(t, &p, name, role, truth(t, p, in, role), got[role])
			}
		}
	}
	for name, least := range map[string]int{"gemm": 1000, "direct": 2000, "reference": 4000, "fused": 20, "conv+pool": 20} {
		if ran[name] < least {
			t.Errorf("%s ran %d problems only", name, ran[name])
		}
	}
}
