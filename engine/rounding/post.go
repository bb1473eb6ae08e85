package rounding

import (
	"math"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// Errors of the functions in shaders/src/common.inc, as stated there: in ulp of the result, or as a share of the operand.
const (
	ulp           = 2 * unit // an ulp is at most this share of the result
	sigmoidULP    = 2.5      // SIGMOID_F
	tanhULP       = 1.5      // TANH_F
	siluULP       = 4        // SILU_F
	rootULP       = 2        // ROOT_F, p > 2
	geluUnits     = 2        // GELU_F: 2·u·|x|
	geluTanhUnits = 3        // GELU_TANH_F: 3·u·|x|
	lost          = 1.18e-38 // below this EXP_F, and so SIGMOID_F, is 0
)

// Largest slopes: what an operation makes of its operand's error.
const (
	sigmoidSlope   = 0.25
	siluSlope      = 1.1   // at 2.40
	geluSlope      = 1.129 // at √2: 1.1289
	geluTanhSlope  = 1.129 // at 1.419: 1.12899
	hardSwishSlope = 1.5   // at 3
)

// Apply is a post-op in float64, on one element x: a and b are the channel's parameters as the kinds of package problem
// name them (a·x+b, x+b; PReLU's slope is a), residual is what Add adds. Where a gate closes, of SiLU, GELU and HardSwish,
// minus infinity gives 0, their limit.
func Apply(op problem.PostOp, x, a, b, residual float64) float64 {
	switch op.Kind {
	case problem.ReLU:
		if x < 0 {
			return 0
		}
	case problem.Leaky:
		if x < 0 {
			return x * float64(op.Alpha)
		}
	case problem.PReLU:
		if x < 0 {
			return x * a
		}
	case problem.Clip:
		if lo := float64(op.Alpha); x < lo {
			x = lo
		}
		if hi := float64(op.Beta); x > hi {
			x = hi
		}
	case problem.Sigmoid:
		return sigmoid(x)
	case problem.Tanh:
		return math.Tanh(x)
	case problem.SiLU:
		return gate(x, sigmoid(x))
	case problem.GELU:
		return gate(x, math.Erfc(-x/math.Sqrt2)/2)
	case problem.GELUTanh:
		return gate(x, sigmoid(2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	case problem.HardSwish:
		switch {
		case x <= -3:
			return 0
		case x < 3:
			return x * (x + 3) / 6
		}
	case problem.Scale:
		return a*x + b
	case problem.AddBias:
		return x + b
	case problem.Add:
		return x + residual
	}
	return x
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// gate is x·s, and 0 where s is, even for an infinite x.
func gate(x, s float64) float64 {
	if s == 0 {
		return 0
	}
	return x * s
}

// Post is n after a post-op, which Apply defines. The kernels round each elementary operation once. Of a number that may
// overflow in f32 there is no bound.
func (n Number) Post(op problem.PostOp, a, b, residual float64) Number {
	r := n.post(op, a, b, residual)
	if !math.IsInf(n.Value, 0) && !math.IsInf(r.Value, 0) && math.Abs(n.Value)+n.Bound > math.MaxFloat32 {
		r.Bound = math.Inf(1)
	}
	return r
}

func (n Number) post(op problem.PostOp, a, b, residual float64) Number {
	x, e := n.Value, n.Bound
	far := math.Abs(x) + e // |operand| in f32
	r := n
	r.Value = Apply(op, x, a, b, residual)
	switch op.Kind {
	case problem.ReLU:
		r.Bound = min(e, max(0, x+e)) // 0 where every possible operand gives 0
		if x < 0 {
			r = r.constant(n)
		}
	case problem.Leaky:
		return n.leaky(r, float64(op.Alpha))
	case problem.PReLU:
		return n.leaky(r, a)
	case problem.Clip:
		lo, hi := float64(op.Alpha), float64(op.Beta)
		r.Bound = max(min(x+e, hi)-r.Value, r.Value-max(x-e, lo), 0)
		if r.Value != x {
			r = r.constant(n)
		}
	case problem.Sigmoid:
		r.function(sigmoidSlope*e, sigmoidULP*ulp, lost)
	case problem.Tanh:
		r.function(e, tanhULP*ulp, tiny)
	case problem.SiLU:
		r.function(siluSlope*e, siluULP*ulp, lost*(1+far))
	case problem.GELU:
		r.function(geluSlope*e, 0, geluUnits*unit*far+tiny)
	case problem.GELUTanh:
		r.function(geluTanhSlope*e, 0, geluTanhUnits*unit*far+lost*(1+far))
	case problem.HardSwish:
		r.function(hardSwishSlope*e, gamma(3), 3*tiny)
		square := Number{Magnitude: n.Magnitude * (n.Magnitude + 3), Grain: n.Grain * n.Grain}
		switch {
		case x <= -3 || x >= 3:
			r.Magnitude, r.Grain, r.Once = n.Magnitude, n.Grain, n.Once
			if x-e >= 3 {
				r.Bound = e
			} else if x+e <= -3 {
				r.Bound = 0
			}
			if x < 0 {
				r = r.constant(n)
			}
		case n.onGrid() && square.onGrid():
			r.Once = true
		}
	case problem.Scale:
		return n.scaled(a).plus(b)
	case problem.AddBias:
		return n.plus(b)
	case problem.Add:
		return n.plus(residual)
	}
	return r.checked()
}

// constant is r where the result does not depend on the operand any more: exact if n is.
func (r Number) constant(n Number) Number {
	if n.Exact() {
		r.Magnitude, r.Grain, r.Once = math.Abs(r.Value), Grain(r.Value), false
	}
	return r
}

// function sets the error of a function that rounds: what it makes of its operand's error, its own relative error and
// its own absolute one.
func (r *Number) function(operand, relative, absolute float64) {
	r.Bound = operand + relative*(math.Abs(r.Value)+operand) + absolute
	r.Magnitude = math.Abs(r.Value)
	r.Grain, r.Once = 0, false
}

// leaky is r, n with what is below 0 multiplied by slope.
func (n Number) leaky(r Number, slope float64) Number {
	x, e, s := n.Value, n.Bound, math.Abs(slope)
	if x < 0 {
		r.Magnitude = n.Magnitude * s
		r.Grain, r.Once = 0, false
		if n.onGrid() {
			r.Grain = n.Grain * Grain(slope)
			r.Once = !r.onGrid()
		}
	}
	switch {
	case x-e >= 0:
		return r.checked()
	case x+e < 0:
		r.Bound = times(s, e)
	default: // it may fall on either side
		r.Bound = times(max(s, 1), e)
	}
	r.Bound += unit*(math.Abs(r.Value)+r.Bound) + tiny
	return r.checked()
}

// scaled is n·a, rounded.
func (n Number) scaled(a float64) Number { return Mul(n, Of(a)) }

// plus is n+b, rounded.
func (n Number) plus(b float64) Number {
	r := Total(n, Of(b))
	r.Terms = n.Terms
	return r
}
