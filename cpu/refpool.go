package cpu

import (
	"math"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// window walks the cells of the pooling window of output position x that lie in the source, in row-major order, with
// their flat index in the plane. It returns the divisor of an average.
//
// The divisor counts cells: those in the source (AvgExclude), those in source or padding but not what ceil rounding
// lets hang over (AvgInclude), or all (AvgFull). A negative right padding crops the source.
func window(p *problem.Problem, x [3]int, visit func(cell int)) (divisor int) {
	inside, padded := 1, 1
	var at [3][]int // positions inside the source, per axis
	for a, ax := range p.Axes {
		reach := 0
		for k := range ax.Kernel {
			pos := x[a]*ax.Stride - ax.PadL + k*ax.Dilation
			if pos >= 0 && pos < ax.In+min(0, ax.PadR) {
				at[a] = append(at[a], pos)
			}
			if pos < ax.In+ax.PadR {
				reach++
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
	switch p.Kind {
	case problem.AvgFull:
		return int(p.Taps())
	case problem.AvgInclude:
		return padded
	}
	return inside
}

// spatialSizes of the source and the destination.
func spatialSizes(p *problem.Problem) (in, out [3]int) {
	for a, ax := range p.Axes {
		in[a], out[a] = ax.In, ax.Out
	}
	return in, out
}

// poolElement is one forward result. Max: NaN propagates, the first of equals wins, an empty window gives −∞. Average:
// an empty window gives 0.
func poolElement(p *problem.Problem, src []float32, i int64) (value, magnitude float64, terms int64) {
	in, out := spatialSizes(p)
	nc, x := split(i, out)
	plane := src[nc*volume(in):][:volume(in)]
	if p.Kind == problem.Max {
		best := maxCell(p, plane, x)
		if best < 0 {
			return math.Inf(-1), 0, 0
		}
		return float64(plane[best]), 0, 1
	}
	var s sum
	divisor := float64(window(p, x, func(cell int) { s.add(float64(plane[cell])) }))
	if s.terms == 0 {
		return 0, 0, 0
	}
	return s.value / divisor, s.magnitude / divisor, s.terms
}

// maxCell is the cell that a max window takes, or −1 for an empty one.
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

func volume(s [3]int) int { return s[0] * s[1] * s[2] }

// poolBackward spreads each diff_dst element over the cells that its result came from.
func poolBackward(p *problem.Problem, operands driver.Operands, at []int64) driver.Truth {
	in, out := spatialSizes(p)
	sums := make([]sum, problem.Elems(p.Shape(problem.Src)))
	for i, dy := range operands[problem.DiffDst].F32 {
		nc, x := split(int64(i), out)
		base := nc * volume(in)
		if p.Kind == problem.Max {
			if best := maxCell(p, operands[problem.Src].F32[base:][:volume(in)], x); best >= 0 {
				sums[base+best].add(float64(dy))
			}
			continue
		}
		divisor := window(p, x, func(int) {})
		window(p, x, func(cell int) { sums[base+cell].add(float64(dy) / float64(divisor)) })
	}
	if at == nil {
		at = make([]int64, len(sums))
		for i := range at {
			at[i] = int64(i)
		}
	}
	t := make(driver.Truth, len(at))
	for i, e := range at {
		t[i] = judged(p, sums[e].value, sums[e].magnitude, sums[e].terms)
	}
	return t
}
