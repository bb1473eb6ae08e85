package verify

import (
	"fmt"
	"math"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

const (
	unit      = 1.0 / (1 << 24)         // u: half the distance from 1 to the next float32
	exactSum  = 1 << 24                 // partial sums below this are exact in float32
	tiny      = 1.1754943508222875e-38  // smallest normal float32, which a device that flushes denormals may lose
	oracleUse = 1.0 / (1 << 52)         // the oracle's own rounding, per term
	overflow  = math.MaxFloat32 * 1.001 // beyond this a float32 result is infinite
)

// Bound is the largest error that float32 arithmetic can make in one element of the result, whatever the order of the
// sum: γ_n · magnitude with γ_n = n·u/(1−n·u) (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1),
// where n counts the terms, one more for the bias, and for averages three more for the division, of which Vulkan and
// OpenCL promise 2.5 ulp. Flushing denormals may lose the smallest normal number once in each step. Where n·u comes near
// 1, and γ_n to infinity and below 0, n·u itself takes its place, which holds for every n (Jeannerod and Rump, Improved
// error bounds for inner products in floating-point arithmetic, 2013).
func Bound(p *problem.Problem, terms int64, magnitude float64) float64 {
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

// Outcome is the judgement over the compared elements of a result.
type Outcome struct {
	Compared  int64
	Exact     bool    // every element was judged bit for bit
	Wrong     int64   // elements outside their bound
	Worst     int64   // flat index of the worst element: the one that takes the largest share of its bound
	Got, Want float64 // there
	MaxAbsErr float64
	MaxULP    float64
	BoundUsed float64 // largest error as a share of its bound; exact elements count 0 or, if wrong, +Inf
}

// Judge compares elements at (nil: all) of got with the truth. With exact set, elements whose sum is exact in float32
// are judged bit for bit.
func Judge(p *problem.Problem, truth driver.Truth, at []int64, got []float32, exact bool) Outcome {
	o := Outcome{Compared: int64(len(truth.Value)), Exact: exact, Worst: -1}
	for k, want := range truth.Value {
		i := int64(k)
		if at != nil {
			i = at[k]
		}
		have := float64(got[i])
		bound := Bound(p, truth.Terms[k], truth.Magnitude[k])
		bitwise := bound == 0 || exact && truth.Magnitude[k]*sumScale(p, truth.Terms[k]) < exactSum
		if !bitwise {
			o.Exact = false
		}
		err, share := 0.0, 0.0
		switch {
		case math.IsNaN(want) || math.IsNaN(have):
			if math.IsNaN(want) != math.IsNaN(have) {
				err, share = math.Inf(1), math.Inf(1)
			}
		case have == float64(float32(want)): // also the infinities
			err = 0
			if !math.IsInf(want, 0) {
				err = math.Abs(have - want)
			}
			if !bitwise {
				share = min(1, err/bound)
			}
		default:
			err = math.Abs(have - want)
			share = math.Inf(1)
			switch {
			case bitwise || math.IsInf(want, 0):
			case !math.IsInf(have, 0):
				share = err / bound
			case math.Abs(want)+bound > overflow && (have > 0) == (want > 0):
				err, share = 0, 0 // may overflow
			}
		}
		o.MaxAbsErr = max(o.MaxAbsErr, err)
		o.MaxULP = max(o.MaxULP, err/ulp(want))
		if share > 1 {
			o.Wrong++
		}
		if share > o.BoundUsed || o.Worst < 0 {
			o.BoundUsed, o.Worst, o.Got, o.Want = share, i, have, want
		}
	}
	return o
}

// sumScale turns an average's magnitude back into that of its sum, an upper bound of it.
func sumScale(p *problem.Problem, terms int64) float64 {
	if p.Op == problem.Pool && p.Kind != problem.Max {
		return float64(max(terms, p.Taps()))
	}
	return 1
}

// ulp is the distance of float32 numbers around v.
func ulp(v float64) float64 {
	v = math.Abs(v)
	if v < tiny {
		return math.SmallestNonzeroFloat32
	}
	_, e := math.Frexp(min(v, math.MaxFloat32))
	return math.Ldexp(1, e-24)
}

// String says in one line what is wrong.
func (o Outcome) String(p *problem.Problem) string {
	if o.Wrong == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d compared elements are wrong; worst at %v: got %v, true value %v", o.Wrong, o.Compared, coordinate(p.ResultShape(), o.Worst), o.Got, o.Want)
}

// coordinate takes a flat index apart.
func coordinate(shape []int, i int64) []int {
	at := make([]int, len(shape))
	for k := len(shape) - 1; k >= 0; k-- {
		at[k] = int(i % int64(shape[k]))
		i /= int64(shape[k])
	}
	return at
}
