package cpu

import (
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/rounding"
)

// chained is a forward convolution: its sums, then bias, post-ops and, where fused, pooling.
func (o *oracle) chained(of func(i int64) sum) func(int64) driver.Element {
	_, plane := resultPlane(o.p)
	return o.post(func(i int64) rounding.Number {
		s := of(i)
		if !o.p.Bias {
			return o.number(s, i)
		}
		b := float64(o.t.f[problem.Bia][int(i)/plane%o.p.OC])
		if o.tiles != nil {
			return rounding.Total(o.number(s, i), rounding.Of(b))
		}
		s.add(b) // the sum may begin with it
		return o.number(s, i)
	})
}

// resultPlane is the size of a plane of a convolution's result, before a fused pooling.
func resultPlane(p *problem.Problem) (out [3]int, plane int) {
	_, out = spatialSizes(p)
	return out, volume(out)
}

// post applies the post-ops to what a convolution made of its element i, and pools where the problem says so.
func (o *oracle) post(of func(i int64) rounding.Number) func(int64) driver.Element {
	p, f := o.p, &o.t.f
	_, plane := resultPlane(p)
	result := func(i int64) rounding.Number {
		n, row, channel := of(i), 0, int(i)/plane%p.OC
		for _, op := range p.Posts() {
			var param [2]float64
			for k := range op.Kind.Rows() {
				param[k] = float64(f[problem.PostParams][row*p.OC+channel])
				row++
			}
			a, b, residual := param[0], param[1], 0.0
			switch op.Kind {
			case problem.AddBias:
				a, b = 0, a
			case problem.Add:
				residual = float64(f[problem.Residual][i])
			}
			n = n.Post(op, a, b, residual)
		}
		return n
	}
	if !p.Fused() {
		return func(i int64) driver.Element { return o.element(result(i)) }
	}
	pool := p.ThenPool()
	_, out := spatialSizes(&pool)
	return func(i int64) driver.Element {
		nc, x := split(i, out)
		var cells []rounding.Number
		window(&pool, x, func(cell int) { cells = append(cells, result(int64(nc*plane+cell))) })
		switch {
		case pool.Kind != problem.Max:
			return o.element(rounding.Total(cells...).Divide(int64(divisorOf(&pool, x))))
		case len(cells) == 0:
			return exact(lowest(p.Type.Dst))
		}
		best := cells[0]
		for _, c := range cells[1:] {
			best = rounding.Larger(best, c)
		}
		return o.element(best)
	}
}
