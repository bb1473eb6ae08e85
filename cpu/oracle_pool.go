package cpu

import (
	"context"
	"math"
	"math/bits"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// window walks the cells of the pooling window of output position x that lie in the source, in row-major order, with
// their index in the plane. It returns the divisor of an average.
//
// The divisor counts cells: those in the source (AvgExclude, and all adaptive windows), those in source or padding but
// not what ceil rounding lets hang over (AvgInclude), or all (AvgFull). A negative right padding crops the source.
func window(p *problem.Problem, x [3]int, visit func(cell int)) (divisor int) {
	inside, padded := 1, 1
	var at [3][]int // positions inside the source, per axis
	for a, ax := range p.Axes {
		reach := 0
		if p.Adaptive {
			start, end := ax.AdaptiveWindow(x[a])
			for pos := start; pos < end; pos++ {
				at[a] = append(at[a], pos)
			}
		} else {
			for k := range ax.Kernel {
				pos := x[a]*ax.Stride - ax.PadL + k*ax.Dilation
				if pos >= 0 && pos < ax.In+min(0, ax.PadR) {
					at[a] = append(at[a], pos)
				}
				if pos < ax.In+ax.PadR {
					reach++
				}
			}
		}
		inside *= len(at[a])
		padded *= reach
	}
	for _, d := range at[0] {
		for _, h := range at[1] {
			for _, w := range at[2] {
				visit((d*p.Axes[1].In+h)*p.Axes[2].In + w)
			}
		}
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
			return o.norm(plane, x)
		}
		var s sum
		divisor := window(p, x, func(cell int) { s.add(float64(plane[cell])) })
		return o.average(s, divisor)
	}, nil
}

// poolingBackward spreads all gradients over the cells that their results came from, plane by plane.
func (o *oracle) poolingBackward(ctx context.Context) (func(int64) driver.Element, error) {
	p, t := o.p, o.t
	in, out := spatialSizes(p)
	sums := make([]sum, problem.Elems(p.Shape(problem.DiffSrc)))
	dy := t.f[problem.DiffDst]
	if p.Indices != problem.NoIndices {
		for i, v := range dy {
			cell := cellOf(p.Indices, i/volume(out), p.N*p.IC, int(t.i[problem.Ind][i]), in)
			if cell >= 0 {
				sums[cell].add(float64(v))
			}
		}
		return func(i int64) driver.Element { return o.plain(sums[i]) }, nil
	}
	err := parallel(ctx, p.N*p.IC, 1, func(nc int) {
		to := sums[nc*volume(in):][:volume(in)]
		var plane []float32
		if p.Kind == problem.Max || p.Kind == problem.Lp {
			plane = t.f[problem.Src][nc*volume(in):][:volume(in)]
		}
		for i, v := range dy[nc*volume(out):][:volume(out)] {
			_, x := split(int64(i), out)
			switch p.Kind {
			case problem.Max:
				if best := maxCell(p, plane, x); best >= 0 {
					to[best].add(float64(v))
				}
			case problem.Lp:
				y := normOf(p, plane, x)
				window(p, x, func(cell int) { to[cell].add(normShare(float64(plane[cell]), y, float64(v), p.P)) })
			default:
				divisor := window(p, x, func(int) {})
				share := float64(v / float32(divisor)) // rounded once
				window(p, x, func(cell int) {
					to[cell].add(share)
					to[cell].grain = finer(to[cell].grain, share)
				})
			}
		}
	})
	if p.Kind == problem.Lp {
		return func(i int64) driver.Element { return o.normGradient(sums[i]) }, err
	}
	return func(i int64) driver.Element { return o.plain(sums[i]) }, err
}

// finer is the largest power of two that v is a multiple of, if that is below grain (0 for none yet).
func finer(grain, v float64) float64 {
	if v == 0 || math.IsInf(v, 0) || v != v {
		return grain
	}
	f, e := math.Frexp(math.Abs(v))
	g := math.Ldexp(1, e-53+bits.TrailingZeros64(uint64(math.Ldexp(f, 53))))
	if grain == 0 {
		return g
	}
	return min(grain, g)
}

// lowest is what a max pooling makes of an empty window.
func lowest(typ problem.DataType) float64 {
	switch typ {
	case problem.S8, problem.U8:
		return saturate(math.Inf(-1), typ)
	}
	return math.Inf(-1)
}

// normOf is (Σ|x|^P)^(1/P) of a window.
func normOf(p *problem.Problem, plane []float32, x [3]int) float64 {
	var s sum
	window(p, x, func(cell int) { s.add(math.Pow(math.Abs(float64(plane[cell])), float64(p.P))) })
	return root(s.value, p.P)
}
