package cpu

import (
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// unpooling sends each value where its index says, backward fetches each gradient from there.
func (o *oracle) unpooling() func(int64) driver.Element {
	p, f, ind := o.p, &o.t.f, o.t.i[problem.Ind]
	in, out := spatialSizes(p)
	target := func(i int64) int {
		return cellOf(p.Indices, int(i)/volume(in), p.N*p.IC, int(ind[i]), out)
	}
	if p.Dir == problem.BackwardData {
		return func(i int64) driver.Element {
			if cell := target(i); cell >= 0 {
				return exact(float64(f[problem.DiffDst][cell]))
			}
			return exact(0)
		}
	}
	dst := make([]float64, p.N*p.OC*volume(out))
	for i, v := range f[problem.Src] {
		if cell := target(int64(i)); cell >= 0 {
			dst[cell] = float64(v) // the last of several stays
		}
	}
	return func(i int64) driver.Element { return exact(dst[i]) }
}

// columns is Im2col and Col2im: one copies taps into the rows of a matrix, the other is its adjoint.
func (o *oracle) columns() func(int64) driver.Element {
	p, g, f := o.p, o.g, &o.t.f
	from := f[problem.Src]
	if p.Dir == problem.BackwardData {
		from = f[problem.DiffDst]
	}
	if (p.Op == problem.Im2col) == (p.Dir == problem.Forward) {
		return func(i int64) driver.Element {
			row, x := split(i, g.narrowD) // row = (n, c, tap)
			if w := g.cell(x, row%g.taps); w >= 0 {
				return exact(float64(from[row/g.taps*g.wideSp+w]))
			}
			return exact(0)
		}
	}
	back := g.preimages()
	return func(i int64) driver.Element {
		nc, w := split(i, g.wideD)
		var s sum
		for _, h := range back.of(g, w) {
			s.add(float64(from[(nc*g.taps+h.tap)*g.narrowSp+h.at]))
		}
		return o.plain(s)
	}
}
