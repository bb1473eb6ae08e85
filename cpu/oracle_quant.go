package cpu

import (
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/rounding"
)

// integer is an integer convolution. Its sums wrap like int32, its outputs are rounded as quant.output says, and both are
// the same everywhere: only post-ops have a bound.
func (o *oracle) integer() func(int64) driver.Element {
	p, g, t := o.p, o.g, o.t
	q := newQuant(t.f[problem.Quant], p.OC)
	src, wei, bia := t.i[problem.Src], t.i[problem.Wei], t.i[problem.Bia]
	zero := int64(q.src[0])
	accumulate := func(i int64) (acc int32, channel int, s sum) {
		nc, x := split(i, g.narrowD)
		n, oc := nc/g.narrowC, nc%g.narrowC
		first := n*g.wideC + oc/g.narrowCG*g.wideCG
		hits := g.hits(x)
		var total int64 // wraps mod 2^64, hence also mod 2^32
		for c := range g.wideCG {
			for _, h := range hits {
				product := (int64(src[(first+c)*g.wideSp+h.at]) - zero) * int64(wei[(oc*g.wideCG+c)*g.taps+h.tap])
				total += product
				s.add(float64(product))
			}
		}
		if bia != nil {
			total += int64(bia[oc])
		}
		return int32(total), oc, s
	}
	if p.Type.Dst == problem.F32 {
		return o.post(func(i int64) rounding.Number {
			acc, oc, s := accumulate(i)
			n := rounding.Of(float64(q.output(acc, oc, problem.F32)))
			n.Terms = s.terms
			return n
		})
	}
	return func(i int64) driver.Element {
		acc, oc, s := accumulate(i)
		e := exact(float64(acc))
		if p.Type.Dst != problem.S32 {
			e = exact(float64(q.output(acc, oc, p.Type.Dst)))
		}
		e.Magnitude, e.Terms = s.magnitude, s.terms
		return e
	}
}
