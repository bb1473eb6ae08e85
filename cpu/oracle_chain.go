package cpu

import (
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// chained is a forward convolution: its sums, then bias, post-ops and, where fused, pooling.
func (o *oracle) chained(sum func(i int64) sum) func(int64) driver.Element {
	p := o.p
	plane := 1
	for _, a := range p.Axes {
		plane *= a.Out
	}
	return o.post(func(i int64) number {
		n := o.number(sum(i))
		if p.Bias {
			n = n.add(number{value: float64(o.t.f[problem.Bia][int(i)/plane%p.OC])})
		}
		return n
	})
}

// post applies the post-ops to what a convolution made of its element i, and pools where the problem says so.
func (o *oracle) post(of func(i int64) number) func(int64) driver.Element {
	p, f := o.p, &o.t.f
	plane := 1
	for _, a := range p.Axes {
		plane *= a.Out
	}
	result := func(i int64) number {
		n, row, channel := of(i), 0, int(i)/plane%p.OC
		next := func() number {
			row++
			return number{value: float64(f[problem.PostParams][(row-1)*p.OC+channel])}
		}
		for _, op := range p.Posts() {
			switch op.Kind {
			case problem.Scale:
				n = n.scale(next().value)
				n = n.add(next())
			case problem.AddBias:
				n = n.add(next())
			case problem.PReLU:
				n = n.leak(next().value)
			case problem.Add:
				n = n.add(number{value: float64(f[problem.Residual][i])})
			default:
				n = n.apply(op)
			}
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
		var cells []number
		divisor := window(&pool, x, func(cell int) { cells = append(cells, result(int64(nc*plane+cell))) })
		if pool.Kind == problem.Max {
			return o.element(largest(cells))
		}
		return o.element(mean(cells, divisor))
	}
}
