package cpu

import (
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

const (
	unit      = 1.0 / (1 << 24)        // u: half the distance from 1 to the next float32
	exactSum  = 1 << 24                // partial sums below this are exact in float32
	tiny      = 1.1754943508222875e-38 // smallest normal float32, which a device that flushes denormals may lose
	oracleUse = 1.0 / (1 << 52)        // the oracle's own rounding, per term
)

// bound is the largest error that float32 arithmetic can make in one element of the result, whatever the order of the
// sum: γ_n · magnitude with γ_n = n·u/(1−n·u) (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1),
// where n counts the terms, one more for the bias, and for averages three more for the division, of which Vulkan and
// OpenCL promise 2.5 ulp. Flushing denormals may lose the smallest normal number once in each step. Where n·u comes near
// 1, and γ_n to infinity and below 0, n·u itself takes its place, which holds for every n (Jeannerod and Rump, Improved
// error bounds for inner products in floating-point arithmetic, 2013).
func bound(p *problem.Problem, terms int64, magnitude float64) float64 {
	n := float64(terms)
	switch {
	case p.Op == problem.Pool && p.Kind == problem.Max:
		return 0
	case p.Op == problem.Pool:
		n += 3
	case p.Bias:
		n++
	}
	gamma := n * unit
	if gamma < 0.5 {
		gamma /= 1 - gamma
	}
	return (gamma+n*oracleUse)*magnitude + 2*n*tiny
}

// judged is an element with its bound.
func judged(p *problem.Problem, value, magnitude float64, terms int64) driver.Element {
	e := driver.Element{Value: value, Magnitude: magnitude, Terms: terms, Bound: bound(p, terms, magnitude)}
	scale := 1.0
	if p.Op == problem.Pool && p.Kind != problem.Max { // an average's magnitude back to that of its sum
		scale = float64(max(terms, p.Taps()))
	}
	e.Exact = magnitude*scale < exactSum
	return e
}
