package cpu

import (
	"context"
	"math"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// quant is the rows of an integer convolution's parameters: zero points, multiplier.
type quant struct{ src, wei, multiplier, dst []float32 }

func newQuant(rows []float32, oc int) quant {
	return quant{rows[:oc], rows[oc:][:oc], rows[2*oc:][:oc], rows[3*oc:][:oc]}
}

// output is an integer sum in the units of dst: f32(acc)·m, in one rounding each, or rounded and saturated.
func (q *quant) output(acc int32, o int, typ problem.DataType) float32 {
	v := float32(float32(acc) * q.multiplier[o])
	if typ == problem.F32 {
		return v
	}
	lo, hi := limits(typ)
	// Rounded values beyond float32's integers saturate whatever the zero point adds.
	return max(lo, min(hi, float32(math.RoundToEven(float64(v)))+q.dst[o]))
}

// limits are the least and the greatest integer of a type of 8 bits.
func limits(typ problem.DataType) (lo, hi float32) {
	if typ == problem.U8 {
		return 0, 255
	}
	return -128, 127
}

// subtract takes the zero points from the weights, once, when they are packed.
func (q *quant) subtract(wei []int32) {
	per := len(wei) / len(q.wei)
	for i := range wei {
		wei[i] -= int32(q.wei[i/per])
	}
}

// integer runs an integer convolution: sums of (src − zero point)·(wei − zero point) in int32, which wrap.
func (j *job) integer(ctx context.Context) error {
	p, t := j.p, &j.t
	q := newQuant(t.f[problem.Quant], p.OC)
	src := t.i[problem.Src] // a copy: the buffer holds bytes
	zero := int32(q.src[0])
	if zero != 0 {
		if err := parallel(ctx, len(src), edgeChunk, func(i int) { src[i] -= zero }); err != nil {
			return err
		}
	}
	acc := t.i[problem.Dst]
	if acc == nil {
		acc = j.ints(j.signature.elems[problem.Dst])
	}
	chain := j.chain()
	return gather(ctx, newGeometry(p), src, t.i[problem.Wei], acc, func(n, o, at int, row []int32) {
		if bias := t.i[problem.Bia]; bias != nil {
			for i := range row {
				row[i] += bias[o]
			}
		}
		if p.Type.Dst == problem.S32 {
			return
		}
		out := t.f[problem.Dst][(n*p.OC+o)*len(row):][:len(row)]
		for i, v := range row {
			out[i] = q.output(v, o, p.Type.Dst)
		}
		if chain != nil {
			chain.apply(n, o, at, out)
		}
	})
}
