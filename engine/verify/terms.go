package verify

import (
	"cmp"
	"math"
	"slices"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
)

// maxTerms is how long a sum is taken apart; listed are only the largest terms.
const (
	maxTerms    = 1 << 20
	listedTerms = 5
)

// meeting is a tap of one axis with the positions that it joins: of the side with the padding, wide, and of the other.
type meeting struct{ wide, narrow, tap int }

// meetings lists those along an axis; −1 as a position or tap leaves it open.
func meetings(a problem.Axis, size, narrowSize, wide, narrow, tap int) []meeting {
	var all []meeting
	for n := range narrowSize {
		if narrow >= 0 && n != narrow {
			continue
		}
		for k := range a.Kernel {
			w := n*a.Stride - a.PadL + k*a.Dilation
			if w < 0 || w >= size || wide >= 0 && w != wide || tap >= 0 && k != tap {
				continue
			}
			all = append(all, meeting{w, n, k})
		}
	}
	return all
}

// terms takes the sum behind an element of a convolution's or pooling's result apart: the products, before bias and
// post-ops, from the inputs and in float64. Its loops are none of the oracle's. ok is false for sums that it does not know.
func (c *Case) terms(role problem.Role, element int64) (sum float64, count int64, largest []report.Term, ok bool) {
	p := &c.Problem
	pool := p.Op == problem.Pool && p.Dir == problem.Forward && p.Kind != problem.Lp && role == problem.Dst && !p.Adaptive
	if p.Op > problem.Deconv && !pool || p.PadMode != problem.Zeros || p.Integer() || p.Fused() || p.Dir == problem.BackwardBias ||
		p.Terms() > maxTerms {
		return 0, 0, nil, false
	}
	wide, narrow := problem.Src, problem.Dst // the roles of both sides in the forward direction
	wideC, narrowC := p.IC, p.OC
	if p.Op == problem.Deconv {
		wide, narrow, wideC, narrowC = narrow, wide, narrowC, wideC
	}
	back := map[problem.Role]problem.Role{problem.DiffSrc: problem.Src, problem.DiffDst: problem.Dst}
	forward := func(r problem.Role) problem.Role {
		if f, ok := back[r]; ok {
			return f
		}
		return r
	}
	fixed := forward(role)
	at := coordinate(p.Shape(role), element)
	if fixed != problem.DiffWei {
		at = channelsFirst(at, p.LayoutOf(role))
	}
	open := []int{-1, -1, -1}
	wides, narrows, taps := open, open, open
	n0, n1, w0, w1, c0, c1 := 0, p.N, 0, wideC, 0, narrowC
	spatial := append(make([]int, 3-p.Rank), at[2:]...)
	groupW, groupN := wideC/p.Groups, narrowC/p.Groups
	switch fixed {
	case narrow:
		n0, n1, c0, c1, narrows = at[0], at[0]+1, at[1], at[1]+1, spatial
		w0 = at[1] / groupN * groupW
		w1 = w0 + groupW
	case wide:
		n0, n1, w0, w1, wides = at[0], at[0]+1, at[1], at[1]+1, spatial
		c0 = at[1] / groupW * groupN
		c1 = c0 + groupN
	default:
		c0, c1, taps = at[0], at[0]+1, spatial
		w0 = at[0]/groupN*groupW + at[1]
		w1 = w0 + 1
	}
	if pool {
		w0, w1 = at[1], at[1]+1
	}
	var axes [3][]meeting
	for i, a := range p.Axes {
		size, narrowSize := a.In, a.Out
		switch p.Op {
		case problem.Deconv:
			size, narrowSize = narrowSize, size
		case problem.Pool:
			size += min(0, a.PadR) // windows that hang over see no cropped cells
		}
		axes[i] = meetings(a, size, narrowSize, wides[i], narrows[i], taps[i])
	}
	read := map[problem.Role]func([]int) float64{}
	names := map[problem.Role]string{}
	for r, t := range c.In {
		if t != nil {
			read[forward(problem.Role(r))] = indexed(t, p.LayoutOf(problem.Role(r)))
			names[forward(problem.Role(r))] = problem.Role(r).String()
		}
	}
	add := func(value float64, where map[string][]int) {
		count++
		sum += value
		largest = append(largest, report.Term{Value: value, At: where})
		if len(largest) > 64 {
			largest = keepLargest(largest)
		}
	}
	for n := n0; n < n1; n++ {
		for o := c0; o < c1; o++ {
			for w := w0; w < w1; w++ {
				for _, z := range axes[0] {
					for _, y := range axes[1] {
						for _, x := range axes[2] {
							cells := map[problem.Role][]int{
								wide:        append([]int{n, w}, []int{z.wide, y.wide, x.wide}[3-p.Rank:]...),
								narrow:      append([]int{n, o}, []int{z.narrow, y.narrow, x.narrow}[3-p.Rank:]...),
								problem.Wei: append([]int{o, w % groupW}, []int{z.tap, y.tap, x.tap}[3-p.Rank:]...),
							}
							value, where := 1.0, map[string][]int{}
							for r, f := range read {
								if cell, ok := cells[r]; ok {
									value *= f(cell)
									where[names[r]] = cell
								}
							}
							add(value, where)
						}
					}
				}
			}
		}
	}
	return sum, count, keepLargest(largest), true
}

func keepLargest(terms []report.Term) []report.Term {
	slices.SortStableFunc(terms, func(a, b report.Term) int { return cmp.Compare(math.Abs(b.Value), math.Abs(a.Value)) })
	return terms[:min(len(terms), listedTerms)]
}

// channelsFirst is a coordinate [n, spatial…, c] of a channels-last tensor as [n, c, spatial…].
func channelsFirst(at []int, l problem.Layout) []int {
	if l == problem.NCHW {
		return at
	}
	c := len(at) - 1
	return append([]int{at[0], at[c]}, at[1:c]...)
}

// indexed reads a tensor by coordinates [n, c, spatial…].
func indexed(t *engine.Tensor, l problem.Layout) func([]int) float64 {
	at := reader(t)
	shape := channelsFirst(t.Shape(), l)
	return func(cell []int) float64 {
		i := int64(cell[0])
		if l == problem.NCHW {
			i = i*int64(shape[1]) + int64(cell[1])
		}
		for k := 2; k < len(cell); k++ {
			i = i*int64(shape[k]) + int64(cell[k])
		}
		if l == problem.NHWC {
			i = i*int64(shape[1]) + int64(cell[1])
		}
		return at(i)
	}
}
