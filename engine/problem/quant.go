package problem

import (
	"fmt"
	"math"
)

// span is the smallest and the largest value of an 8-bit type.
func (t DataType) span() (lo, hi float32) {
	if t == U8 {
		return 0, math.MaxUint8
	}
	return math.MinInt8, math.MaxInt8
}

// CheckQuant refuses rows of a Quant that mean nothing: zero points that are not values of their tensor's type, more than
// one for the source, multipliers that are no numbers. Kernels rely on it: a value less its zero point is at most 255.
func (p *Problem) CheckQuant(q []float32) error {
	if len(q) == 0 {
		return nil
	}
	for r, row := range []struct {
		name string
		typ  DataType
	}{{"source's zero point", p.Type.Src}, {"weights' zero point", p.Type.Wei}, {"multiplier", F32}, {"result's zero point", p.Type.Dst}} {
		for o, v := range q[r*p.OC:][:p.OC] {
			lo, hi := row.typ.span()
			integral := float64(v) == math.Trunc(float64(v)) && lo <= v && v <= hi
			switch {
			case row.typ.Size() == 1 && !integral:
				return fmt.Errorf("%w: %s of channel %d is %v, no value of %s", ErrInvalid, row.name, o, v, row.typ)
			case r == 0 && v != q[0]:
				return fmt.Errorf("%w: %s is %v in channel %d, %v in channel 0: there is one for all", ErrInvalid, row.name, v, o, q[0])
			case r == 2 && (math.IsNaN(float64(v)) || math.IsInf(float64(v), 0)):
				return fmt.Errorf("%w: %s of channel %d is %v", ErrInvalid, row.name, o, v)
			}
		}
	}
	return nil
}
