package driver

import (
	"math"

	"github.com/gonvolve/gonvolve/engine/problem"
)

const (
	overflow = math.MaxFloat32 * 1.001 // beyond this a float32 result is infinite
	maxHalf  = 65504
)

// Judge says how far a result's element of the type, widened, is off the truth, and which share of what it may be off that
// is: it is wrong if the share is above 1. With exact set, which says that the operands are small integers, an element
// that f32 arithmetic then cannot round is judged bit for bit; bitwise says that it was.
func (e *Element) Judge(typ problem.DataType, have float64, exact bool) (err, share float64, bitwise bool) {
	want := e.Value
	bitwise = e.Bound == 0 || exact && e.Exact
	switch {
	case math.IsNaN(want) || math.IsNaN(have):
		if math.IsNaN(want) != math.IsNaN(have) {
			err, share = math.Inf(1), math.Inf(1)
		}
	case have == round(typ, want): // also the infinities
		if !math.IsInf(have, 0) {
			err = math.Abs(have - want)
		}
		if !bitwise {
			share = min(1, err/e.Bound)
		}
	default:
		err = math.Abs(have - want)
		share = math.Inf(1)
		switch {
		case bitwise || math.IsInf(want, 0):
		case !math.IsInf(have, 0):
			share = err / e.Bound
		case math.Abs(want)+e.Bound > largest(typ) && (have > 0) == (want > 0):
			err, share = 0, 0 // may overflow
		}
	}
	return err, share, bitwise
}

// round is v in a type, to nearest.
func round(typ problem.DataType, v float64) float64 {
	switch typ {
	case problem.F32:
		return float64(float32(v))
	case problem.F16:
		return half(v)
	}
	return v
}

// half is v rounded to f16, at once: by way of float32 it might be rounded twice.
func half(v float64) float64 {
	const smallest = 0x1p-24 // subnormal f16
	if v-v != 0 || v == 0 {
		return v
	}
	_, e := math.Frexp(v)
	unit := max(math.Ldexp(1, e-11), smallest)
	r := math.RoundToEven(v/unit) * unit
	if math.Abs(r) > maxHalf {
		return math.Copysign(math.Inf(1), v)
	}
	return r
}

// largest is where a type's results may become infinite.
func largest(typ problem.DataType) float64 {
	if typ == problem.F16 {
		return maxHalf
	}
	return overflow
}
