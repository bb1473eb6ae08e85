package rounding

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gonvolve/gonvolve/engine/problem"
)

func TestApply(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	op := func(k problem.PostKind) problem.PostOp { return problem.PostOp{Kind: k} }
	leaky := problem.PostOp{Kind: problem.Leaky, Alpha: 0.25}
	clip := problem.PostOp{Kind: problem.Clip, Alpha: -1, Beta: 6}
	for _, c := range []struct {
		op      problem.PostOp
		x, want float64
	}{
		{op(problem.NoPost), -2, -2},
		{op(problem.ReLU), -2, 0}, {op(problem.ReLU), 2, 2}, {op(problem.ReLU), nan, nan}, {op(problem.ReLU), inf, inf},
		{leaky, -2, -0.5}, {leaky, 2, 2}, {leaky, nan, nan},
		{op(problem.PReLU), -2, -6}, {op(problem.PReLU), 2, 2},
		{clip, -2, -1}, {clip, 7, 6}, {clip, 3, 3}, {clip, nan, nan}, {clip, inf, 6},
		{op(problem.Sigmoid), 0, 0.5}, {op(problem.Sigmoid), 1, 0.7310585786300049}, {op(problem.Sigmoid), -inf, 0},
		{op(problem.Tanh), 1, 0.7615941559557649}, {op(problem.Tanh), -inf, -1},
		{op(problem.SiLU), 1, 0.7310585786300049}, {op(problem.SiLU), -inf, 0}, {op(problem.SiLU), nan, nan},
		{op(problem.GELU), 1, 0.8413447460685429}, {op(problem.GELU), -inf, 0}, {op(problem.GELU), inf, inf},
		{op(problem.GELUTanh), 1, 0.8411919906082768}, {op(problem.GELUTanh), -inf, 0},
		{op(problem.HardSwish), -3, 0}, {op(problem.HardSwish), -inf, 0}, {op(problem.HardSwish), 1, 4.0 / 6},
		{op(problem.HardSwish), 5, 5}, {op(problem.HardSwish), nan, nan},
		{op(problem.Scale), 2, 11}, {op(problem.AddBias), 2, 7}, {op(problem.Add), 2, 9},
	} {
		got := Apply(c.op, c.x, 3, 5, 7)
		if math.Abs(got-c.want) > 1e-15 && got != c.want || math.IsNaN(got) != math.IsNaN(c.want) {
			t.Errorf("%s of %v is %v, not %v", c.op, c.x, got, c.want)
		}
		if n := Of(c.x).Post(c.op, 3, 5, 7); n.Value != got && !math.IsNaN(got) || math.IsNaN(n.Bound) {
			t.Errorf("%s of %v: %+v", c.op, c.x, n)
		}
	}
}

// The slopes are those of the functions: no difference quotient is larger, and some comes near.
func TestSlopes(t *testing.T) {
	for kind, slope := range map[problem.PostKind]float64{
		problem.Sigmoid: sigmoidSlope, problem.Tanh: 1, problem.SiLU: siluSlope, problem.GELU: geluSlope,
		problem.GELUTanh: geluTanhSlope, problem.HardSwish: hardSwishSlope,
	} {
		largest := 0.0
		const h = 1e-4
		for x := -20.0; x < 20; x += h {
			f := func(x float64) float64 { return Apply(problem.PostOp{Kind: kind}, x, 0, 0, 0) }
			largest = max(largest, math.Abs(f(x+h)-f(x))/h)
		}
		if largest > slope*(1+1e-9) || largest < 0.99*slope {
			t.Errorf("%s: slope %v, found %v", kind, slope, largest)
		}
	}
}

// post32 computes a post-op in f32 as the kernels do, with functions as wrong as they may be.
func post32(r *rand.Rand, op problem.PostOp, x, a, b, residual float32) float32 {
	switch op.Kind {
	case problem.Leaky:
		a = op.Alpha
		fallthrough
	case problem.PReLU:
		if x < 0 {
			return x * a
		}
		return x
	case problem.Sigmoid, problem.Tanh, problem.SiLU:
		n := map[problem.PostKind]float64{problem.Sigmoid: sigmoidULP, problem.Tanh: tanhULP, problem.SiLU: siluULP}[op.Kind]
		return perturbed(r, Apply(op, float64(x), 0, 0, 0), n)
	case problem.GELU, problem.GELUTanh:
		n := map[problem.PostKind]float64{problem.GELU: geluUnits, problem.GELUTanh: geluTanhUnits}[op.Kind]
		y := Apply(op, float64(x), 0, 0, 0)
		return float32(y + (2*r.Float64()-1)*(n-1)*unit*math.Abs(float64(x)))
	case problem.HardSwish:
		if x > -3 && x < 3 {
			return float32(x*float32(x+3)) / 6
		}
	case problem.Scale:
		return float32(x*a) + b
	case problem.AddBias:
		return x + b
	case problem.Add:
		return x + residual
	}
	return float32(Apply(op, float64(x), 0, 0, 0))
}

// Chains of post-ops on sums stay within the bound; on integers they are exact where they say so.
func TestChainsStayWithin(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	kinds := int(problem.Add) + 1
	exact, used := make([]int, kinds), make([]float64, kinds)
	for round := range 40000 {
		fill, whole := randoms, round%2 == 0
		if whole {
			fill = integers
		}
		n := 1 + r.IntN(30)
		w, v := fill(r, n), fill(r, n)
		got := shuffledSum(r, w, v)
		want := Sum(first(trueSum(w, v)), second(trueSum(w, v)), int64(n))
		if r.IntN(2) == 0 { // near 0, where functions bend
			got, want = got/64, Mul(want, Of(1.0/64))
		}
		scale := 1 + want.Magnitude // of what goes through the chain
		for range 1 + r.IntN(problem.MaxPost) {
			par := fill(r, 3)
			op := problem.PostOp{Kind: problem.PostKind(r.IntN(kinds)), Alpha: 0.125}
			switch {
			case op.Kind == problem.Clip:
				op.Alpha, op.Beta = par[0], par[0]+6
			case op.Kind == problem.Leaky && r.IntN(2) == 0:
				op.Alpha = 0.1
			}
			got = post32(r, op, got, par[0], par[1], par[2])
			want = want.Post(op, float64(par[0]), float64(par[1]), float64(par[2]))
			err := math.Abs(float64(got) - want.Value)
			if err > want.Bound {
				t.Fatalf("%s: %v is more than %v off %v", op, got, want.Bound, want.Value)
			}
			if want.Bound > 0 {
				used[op.Kind] = max(used[op.Kind], err/want.Bound)
			}
			scale = scale*max(hardSwishSlope, math.Abs(float64(par[0]))) + math.Abs(float64(par[1])) + math.Abs(float64(par[2]))
			if want.Bound > 1e-5*scale {
				t.Fatalf("%s: a bound of %v on %v says nothing", op, want.Bound, want.Value)
			}
			if whole && want.Exact() {
				exact[op.Kind]++
				if got != float32(want.Value) {
					t.Fatalf("%s: %v is not %v, which is called exact", op, got, want.Value)
				}
			}
		}
	}
	for k := range kinds {
		kind := problem.PostKind(k)
		function := kind >= problem.Sigmoid && kind <= problem.GELUTanh
		if function != (exact[k] == 0) {
			t.Errorf("%s of integers was called exact %d times", kind, exact[k])
		}
		if used[k] < 0.2 {
			t.Errorf("%s: no error came nearer to its bound than %.2f", kind, used[k])
		}
	}
}

// Where every possible operand gives the same, nothing may be off.
func TestNothingToLose(t *testing.T) {
	n := Number{Value: -5, Magnitude: 10, Bound: 1}
	for _, op := range []problem.PostOp{{Kind: problem.ReLU}, {Kind: problem.Clip, Alpha: -3, Beta: 3}, {Kind: problem.HardSwish}} {
		if got := n.Post(op, 0, 0, 0); got.Bound != 0 {
			t.Errorf("%s of %+v: %+v", op, n, got)
		}
	}
	if got := (Number{Value: 3e38, Bound: 1e38}).Post(problem.PostOp{Kind: problem.Scale}, 1e-5, 0, 0); !math.IsInf(got.Bound, 1) {
		t.Errorf("what may have overflowed is bounded: %+v", got)
	}
}
