package cpu

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// TestISAs runs random convolutions by the implicit products of every instruction set, with infinities and NaN among the
// operands, which must come out where the definition has them.
func TestISAs(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	special := []float32{float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}
	for i := range several(600) {
		op := []problem.Op{problem.Conv, problem.Deconv, problem.Pool}[r.IntN(3)]
		dir := []problem.Dir{problem.Forward, problem.BackwardData, problem.BackwardWeights}[r.IntN(3)]
		if op == problem.Pool {
			dir = problem.Forward
		}
		p := randomCore(r, op, dir, func(p *problem.Problem) { p.PadMode = problem.Zeros })
		in := operands(t, r, &p)
		for _, list := range [][]problem.Role{p.Constants(), p.Inputs()} {
			for _, role := range list {
				if v := in[role].F32; p.Kind != problem.Lp && i%2 == 0 && len(v) > 0 {
					v[r.IntN(len(v))] = special[r.IntN(len(special))]
				}
			}
		}
		out := p.Outputs()[0]
		want := truth(t, p, in, out)
		for _, isa := range simd.Supported() {
			t.Setenv("GONVOLVE_CPU", isa.String())
			d := open(t)
			for _, name := range d.Algorithms(p) {
				if name == "gemm" || name == "reference" {
					continue
				}
				for k, got := range run(t, d, p, name, in)[out] {
					if !same(got, float64(float32(want[k].Value))) {
						t.Fatalf("%s by %s on %s: element %d is %v, not %v", p.String(), name, isa, k, got, want[k].Value)
					}
				}
			}
		}
	}
}

// TestWrongISA: an instruction set that isn't one is refused.
func TestWrongISA(t *testing.T) {
	t.Setenv("GONVOLVE_CPU", "mmx")
	if _, err := (Driver{}).Open(t.Context(), 0, driver.Options{}); err == nil {
		t.Fatal("opened")
	}
}
