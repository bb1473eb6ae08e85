package verify

import (
	"fmt"
	"math"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

const (
	tiny    = 1.1754943508222875e-38 // smallest normal float32
	maxHalf = 65504
)

// Outcome is the judgement over the compared elements of a result.
type Outcome struct {
	Compared  int64
	Exact     bool    // every element was judged bit for bit
	Wrong     int64   // elements outside their bound
	Worst     int64   // flat index of the worst element: the one that takes the largest share of its bound
	Got, Want float64 // there
	MaxAbsErr float64
	MaxULP    float64
	ULPs      [Buckets]int64 // elements by error
	BoundUsed float64        // largest error as a share of its bound; exact elements count 0 or, if wrong, +Inf
}

// Judge compares elements at (nil: all) of got, widened from elements of type typ, with the truth. With exact set, which
// says that the inputs are small integers, elements that f32 arithmetic then cannot round are judged bit for bit.
func Judge(typ problem.DataType, truth driver.Truth, at []int64, got func(int64) float64, exact bool) Outcome {
	o := Outcome{Compared: int64(len(truth)), Exact: exact, Worst: -1}
	for k, e := range truth {
		i := int64(k)
		if at != nil {
			i = at[k]
		}
		have, want := got(i), e.Value
		err, share, bitwise := e.Judge(typ, have, exact)
		if !bitwise {
			o.Exact = false
		}
		o.MaxAbsErr = max(o.MaxAbsErr, err)
		ulps := err / ulp(typ, want)
		o.MaxULP = max(o.MaxULP, ulps)
		o.ULPs[bucket(ulps)]++
		if share > 1 {
			o.Wrong++
		}
		if share > o.BoundUsed || o.Worst < 0 {
			o.BoundUsed, o.Worst, o.Got, o.Want = share, i, have, want
		}
	}
	return o
}

// Buckets is how many counts a histogram of errors has: 0, 1, 2, 3–4, 5–8 … ulp, and all above.
const Buckets = 12

// bucket is the place of an error in the histogram.
func bucket(ulps float64) int {
	for i, most := 0, 0.5; i < Buckets-1; i++ {
		if ulps <= most {
			return i
		}
		most = math.Ldexp(1, i) + 0.5
	}
	return Buckets - 1
}

// ulp is the distance of a type's numbers around v.
func ulp(typ problem.DataType, v float64) float64 {
	v = math.Abs(v)
	switch typ {
	case problem.S8, problem.U8, problem.S32:
		return 1
	case problem.F16:
		_, e := math.Frexp(min(v, maxHalf))
		return max(math.Ldexp(1, e-11), 0x1p-24)
	}
	if v < tiny {
		return math.SmallestNonzeroFloat32
	}
	_, e := math.Frexp(min(v, math.MaxFloat32))
	return math.Ldexp(1, e-24)
}

// String says in one line what is wrong.
func (o Outcome) String(shape []int) string {
	if o.Wrong == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d compared elements are wrong; worst at %v: got %v, true value %v", o.Wrong, o.Compared, coordinate(shape, o.Worst), o.Got, o.Want)
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
