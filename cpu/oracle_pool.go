package cpu

import (
	"context"
	"math"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/rounding"
)

// cellsOf is where window x of an axis starts, the step from cell to cell, and how many it has.
func cellsOf(p *problem.Problem, axis, x int) (start, step, count int) {
	a := &p.Axes[axis]
	if p.Adaptive {
		start, end := a.AdaptiveWindow(x)
		return start, 1, end - start
	}
	return x*a.Stride - a.PadL, a.Dilation, a.Kernel
}

// lies says whether a position is in the source. A negative right padding crops it.
func lies(a *problem.Axis, pos int) bool { return pos >= 0 && pos < a.In+min(0, a.PadR) }

// window visits the cells of the pooling window of output position x that lie in the source, in row-major order, by
// their index in the plane.
func window(p *problem.Problem, x [3]int, visit func(cell int)) {
	d, h, w := &p.Axes[0], &p.Axes[1], &p.Axes[2]
	z0, dz, nz := cellsOf(p, 0, x[0])
	y0, dy, ny := cellsOf(p, 1, x[1])
	x0, dx, nx := cellsOf(p, 2, x[2])
	for i := range nz {
		z := z0 + i*dz
		for j := range ny {
			y := y0 + j*dy
			for k := range nx {
				if v := x0 + k*dx; lies(d, z) && lies(h, y) && lies(w, v) {
					visit((z*h.In+y)*w.In + v)
				}
			}
		}
	}
}

// divisorOf is what an average over window x divides by: the problem's divisor, or a count of cells: those in the source
// (AvgExclude, and all adaptive windows), those in source or padding but not what ceil rounding lets hang over
// (AvgInclude), or all (AvgFull).
func divisorOf(p *problem.Problem, x [3]int) int {
	inside, padded := 1, 1
	for i := range p.Axes {
		a := &p.Axes[i]
		start, step, count := cellsOf(p, i, x[i])
		in, reach := 0, 0
		for k := range count {
			if lies(a, start+k*step) {
				in++
			}
			if start+k*step < a.In+a.PadR {
				reach++
			}
		}
		inside *= in
		padded *= reach
	}
	switch {
	case p.Divisor != 0:
		return p.Divisor
	case p.Adaptive:
		return inside
	case p.Kind == problem.AvgFull:
		return int(p.Taps())
	case p.Kind == problem.AvgInclude:
		return padded
	}
	return inside
}

// maxCell is the cell that a max window takes, or −1 for an empty one: the rule is to replace the value by a larger one
// or by a NaN, starting below −∞.
func maxCell(p *problem.Problem, plane []float32, x [3]int) int {
	best, value := -1, float32(math.Inf(-1))
	window(p, x, func(cell int) {
		v := plane[cell]
		if best < 0 || v > value || v != v {
			best, value = cell, v
		}
	})
	return best
}

func (o *oracle) pooling(ctx context.Context, role problem.Role) (func(int64) driver.Element, error) {
	p, f := o.p, &o.t.f
	if p.Dir == problem.BackwardData {
		return o.poolingBackward(ctx)
	}
	in, out := spatialSizes(p)
	return func(i int64) driver.Element {
		nc, x := split(i, out)
		plane := f[problem.Src][nc*volume(in):][:volume(in)]
		switch {
		case role == problem.Ind:
			return exact(float64(indexOf(p.Indices, nc, maxCell(p, plane, x), in)))
		case p.Kind == problem.Max:
			best := maxCell(p, plane, x)
			if best < 0 {
				return exact(lowest(p.Type.Dst))
			}
			return exact(float64(plane[best]))
		case p.Kind == problem.Lp:
			return o.element(norm(p, plane, x))
		}
		var s sum
		window(p, x, func(cell int) { s.add(float64(plane[cell])) })
		if s.terms == 0 {
			return exact(0)
		}
		return o.element(s.number().Divide(int64(divisorOf(p, x))))
	}, nil
}

// lowest is what a max pooling makes of an empty window.
func lowest(typ problem.DataType) float64 {
	switch typ {
	case problem.S8, problem.U8:
		lo, _ := limits(typ)
		return float64(lo)
	}
	return math.Inf(-1)
}

// norm is (Σ|x|^P)^(1/P) of a window.
func norm(p *problem.Problem, plane []float32, x [3]int) rounding.Number {
	var s sum
	window(p, x, func(cell int) { s.add(math.Pow(math.Abs(float64(plane[cell])), float64(p.P))) })
	return rounding.SumPowers(s.value, s.magnitude, s.terms, p.P).Root(p.P)
}

// poolingBackward sums, for each cell of the source, what the windows that hold it give.
func (o *oracle) poolingBackward(ctx context.Context) (func(int64) driver.Element, error) {
	p, t := o.p, o.t
	if p.Indices != problem.NoIndices {
		return o.indexedBackward(), nil
	}
	in, out := spatialSizes(p)
	dy := t.f[problem.DiffDst]
	var holders [3][][]int // of an axis' cell: the windows that hold it
	for a := range 3 {
		holders[a] = windowsOf(p, a)
	}
	gives, err := o.gives(ctx)
	if err != nil {
		return nil, err
	}
	return func(i int64) driver.Element {
		nc, at := split(i, in)
		zs, ys, xs := holders[0][at[0]], holders[1][at[1]], holders[2][at[2]]
		terms := make([]rounding.Number, 0, len(zs)*len(ys)*len(xs))
		for _, z := range zs {
			for _, y := range ys {
				for _, x := range xs {
					w := nc*volume(out) + (z*out[1]+y)*out[2] + x
					if n, some := gives(w, i, dy[w]); some {
						terms = append(terms, n)
					}
				}
			}
		}
		return o.element(rounding.Total(terms...))
	}, nil
}

// windowsOf is, for each cell of an axis, the windows that hold it.
func windowsOf(p *problem.Problem, axis int) [][]int {
	line := problem.Problem{Op: p.Op, Rank: 1, Adaptive: p.Adaptive}
	one := problem.Axis{In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: 1}
	line.Axes = [3]problem.Axis{one, one, p.Axes[axis]}
	holders := make([][]int, p.Axes[axis].In)
	for x := range p.Axes[axis].Out {
		window(&line, [3]int{0, 0, x}, func(cell int) { holders[cell] = append(holders[cell], x) })
	}
	return holders
}

// gives returns the function that says what window w, of gradient dy, gives to element i that it holds.
func (o *oracle) gives(ctx context.Context) (func(w int, i int64, dy float32) (rounding.Number, bool), error) {
	p, src := o.p, o.t.f[problem.Src]
	in, out := spatialSizes(p)
	plane := func(w int) (first int, cells []float32) {
		first = w / volume(out) * volume(in)
		return first, src[first:][:volume(in)]
	}
	count := p.N * p.IC * volume(out)
	each := func(f func(w int, x [3]int)) error {
		return parallel(ctx, count, 1+int(1<<12/p.Taps()), func(w int) {
			_, x := split(int64(w), out)
			f(w, x)
		})
	}
	switch p.Kind {
	case problem.Max:
		best := make([]int64, count)
		err := each(func(w int, x [3]int) {
			first, cells := plane(w)
			best[w] = -1
			if cell := maxCell(p, cells, x); cell >= 0 {
				best[w] = int64(first + cell)
			}
		})
		return func(w int, i int64, dy float32) (rounding.Number, bool) {
			return rounding.Of(float64(dy)), best[w] == i
		}, err
	case problem.Lp:
		norms := make([]rounding.Number, count)
		err := each(func(w int, x [3]int) {
			_, cells := plane(w)
			norms[w] = norm(p, cells, x)
		})
		return func(w int, i int64, dy float32) (rounding.Number, bool) {
			return normGives(float64(src[i]), norms[w], float64(dy), p.P), true
		}, err
	}
	divisors := make([]float32, volume(out)) // the same in each plane
	for i := range divisors {
		_, x := split(int64(i), out)
		divisors[i] = float32(divisorOf(p, x))
	}
	return func(w int, _ int64, dy float32) (rounding.Number, bool) {
		return rounding.Of(float64(dy / divisors[w%len(divisors)])), true // rounded once
	}, nil
}

// normGives is dy·sign(v)·|v|^(P−1) / y^(P−1), 0 where y is.
func normGives(v float64, y rounding.Number, dy float64, power int) rounding.Number {
	if v == 0 || y.Value == 0 {
		return rounding.Of(0)
	}
	n := rounding.Of(normShare(v, y.Value, dy, power))
	if power > 1 {
		share := rounding.Div(rounding.Of(math.Abs(v)).Pow(power-1), y.Pow(power-1))
		n.Bound, n.Grain = rounding.Mul(rounding.Of(dy), share).Bound, 0
	}
	return n
}

// indexedBackward adds each gradient where its index says, if its window holds that cell.
func (o *oracle) indexedBackward() func(int64) driver.Element {
	p, t := o.p, o.t
	in, out := spatialSizes(p)
	sums := make([]sum, p.N*p.IC*volume(in))
	for i, v := range t.f[problem.DiffDst] {
		cell := cellOf(p.Indices, i/volume(out), p.N*p.IC, int(t.i[problem.Ind][i]), in)
		if holds(p, i, cell) {
			sums[cell].add(float64(v))
		}
	}
	return func(i int64) driver.Element { return o.plain(sums[i]) }
}

// holds says whether the window of a pooling's output element, both flat indices, has the source cell.
func holds(p *problem.Problem, element, cell int) bool {
	if cell < 0 {
		return false
	}
	in, out := spatialSizes(p)
	nc, x := split(int64(element), out)
	plane, at := split(int64(cell), in)
	for i, a := range p.Axes {
		if p.Adaptive {
			if start, end := a.AdaptiveWindow(x[i]); at[i] < start || at[i] >= end {
				return false
			}
			continue
		}
		steps := at[i] - (x[i]*a.Stride - a.PadL)
		if steps < 0 || steps%a.Dilation != 0 || steps/a.Dilation >= a.Kernel || at[i] >= a.In+min(0, a.PadR) {
			return false
		}
	}
	return nc == plane
}
