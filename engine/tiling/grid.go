package tiling

import (
	"cmp"
	"slices"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// dim is a dimension that a problem is cut along.
type dim int

const (
	batch  dim = iota
	groups     // of channels; where there are no weights, single channels
	outs       // output channels of one group
	ins        // input channels of one group
	axis0      // the three spatial axes, depth first
	dims   = axis0 + 3
)

var dimNames = [dims]string{"batch", "groups", "output channels", "input channels", "depth", "height", "width"}

// extent is one dimension of the grid.
type extent struct {
	size int  // whole
	step int  // of a tile; the last tile's may be smaller
	unit int  // steps are multiples of it
	cut  bool // may be cut
	late bool // only where nothing else is left to cut
	sum  bool // tiles along it are partial sums of one result
}

func (e extent) parts() int { return max(1, (e.size+e.step-1)/e.step) }

func (e extent) span(i int) span { return span{i * e.step, min((i+1)*e.step, e.size)} }

// grid divides a problem along all dimensions.
type grid struct {
	p     problem.Problem
	of    [dims]extent
	order [dims]dim // outermost first: what changes the weights, then positions, then partial sums

	several bool // there will be more than one tile
}

// weighted says whether there are weights, and thereby groups, output and input channels.
func weighted(p *problem.Problem) bool {
	return p.Op == problem.Conv || p.Op == problem.Deconv || p.Op == problem.Deform
}

// gathers says whether the axes are cut along the windows, whatever cells they reach, or along the image, whatever windows
// touch it.
func gathers(p *problem.Problem) bool {
	backward := p.Dir == problem.BackwardData
	switch p.Op {
	case problem.Deconv:
		return backward || p.Dir == problem.BackwardWeights
	case problem.Col2im, problem.Unpool:
		return backward
	}
	return !backward
}

// newGrid is the problem in one piece, and how it may be cut.
func newGrid(p problem.Problem) *grid {
	g := &grid{p: p}
	toWeights := p.Dir == problem.BackwardWeights || p.Dir == problem.BackwardBias
	g.of[batch] = extent{size: p.N, cut: true, sum: toWeights}
	g.of[groups] = extent{size: p.IC, cut: true}
	if weighted(&p) {
		// The groups of offsets are groups of input channels, too, but others.
		g.of[groups] = extent{size: p.Groups, cut: p.Op != problem.Deform || p.OffsetGroups == 1}
		g.of[outs] = extent{size: p.OC / p.Groups, cut: true}
		g.of[ins] = extent{size: p.IC / p.Groups, cut: true}
		switch p.Dir {
		case problem.Forward:
			g.of[ins].sum, g.of[ins].late = true, true
			sums := p.Type.Dst == problem.S32 || !p.Integer()
			g.of[ins].cut = sums && len(p.Posts()) == 0 && !p.Fused() && g.of[groups].cut
		case problem.BackwardData:
			g.of[outs].sum, g.of[outs].late = true, true
		case problem.BackwardBias:
			g.of[ins].cut = false
		}
	}
	for i := range p.Axes {
		e := &g.of[axis0+dim(i)]
		if e.size = g.windows(i).image; gathers(&p) {
			e.size = g.windows(i).count
		}
		if p.Fused() {
			e.size = p.Then.Axes[i].Out
		}
		e.cut, e.late = g.spatial(i), p.Op == problem.Unpool // whose indices may point anywhere in a plane
		e.sum = toWeights
		if p.Adaptive { // windows are the whole's again where a tile begins with the same remainder, which is 0
			e.unit = e.size / gcd(p.Axes[i].In, p.Axes[i].Out)
		}
	}
	for d := range g.of {
		e := &g.of[d]
		e.size, e.unit = max(e.size, 1), max(e.unit, 1)
		e.step = e.size
		g.order[d] = dim(d)
	}
	late := func(d dim) int { // 0: weights, 1: positions, 2: sums
		switch {
		case g.of[d].sum:
			return 2
		case d == batch || d >= axis0:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(g.order[:], func(a, b dim) int { return cmp.Compare(late(a), late(b)) })
	return g
}

// spatial says whether axis i can be cut.
func (g *grid) spatial(i int) bool {
	p := &g.p
	switch {
	case i < 3-p.Rank:
		return false
	case p.PadMode == problem.Circular && p.Dir == problem.BackwardData: // what lies outside adds to far away cells
		return g.windows(i).round()
	case p.Op == problem.Im2col || p.Op == problem.Col2im: // a column's positions are one run of memory
		return i == 3-p.Rank
	}
	return true
}

// windows is axis i, of a padded source if tiles read one.
func (g *grid) windows(i int) windows {
	p := &g.p
	if g.padded() {
		q := p.Padded()
		p = &q
	}
	return axisOf(p.Op, p.Axes[i])
}

// padded says whether tiles read a source that has its padding already, because a padding mode's cells lie elsewhere.
func (g *grid) padded() bool {
	if g.p.PadMode == problem.Zeros || g.folds() {
		return false
	}
	for _, e := range g.of[axis0:] {
		if e.step > 0 && e.step < e.size {
			return true
		}
	}
	return false
}

// folds says whether what the padding's cells would get is added to the cells that they are made of.
func (g *grid) folds() bool {
	return g.p.PadMode != problem.Zeros && g.p.Dir == problem.BackwardData
}

// place is an axis of a tile.
type place struct {
	axis, then    problem.Axis
	in, out, pool span // of the whole's source, destination and fused pooling's destination
	keep          span // of in: what the tile is for, where it computes more
}

// axis is axis i of the tile whose part along it is s.
func (g *grid) axis(i int, s span) place {
	p := &g.p
	w := g.windows(i)
	pl := place{then: p.Then.Axes[i]}
	if e := g.of[axis0+dim(i)]; s.len() == e.size {
		pl.axis = w.a
		pl.in, pl.out, pl.pool = span{0, w.a.In}, span{0, w.a.Out}, span{0, pl.then.Out}
		pl.keep = pl.in
		return pl
	}
	var o, x span // windows and image
	switch {
	case p.Adaptive:
		o, x = s, s
		if gathers(p) {
			x = span{scale(s.from, w.a.In, w.a.Out), scale(s.to, w.a.In, w.a.Out)}
		} else {
			o = span{scale(s.from, w.a.Out, w.a.In), scale(s.to, w.a.Out, w.a.In)}
		}
		pl.axis = w.a
		pl.axis.In, pl.axis.Out = x.len(), o.len()
		pl.in, pl.out, pl.keep = x, o, x
		return pl
	case gathers(p):
		if o = s; p.Fused() {
			pool := windows{a: pl.then, image: pl.then.In, count: pl.then.Out, pool: true}
			o = pool.reach(s)
			pl.pool, pl.then = s, pool.part(s, o)
		}
		if x = w.reach(o); p.Op == problem.Deform { // offsets lead anywhere
			x = span{0, w.image}
		}
	case g.folds():
		o, x = w.folded(s, p.PadMode)
	case p.Op == problem.Unpool:
		o, x = w.landing(s), s
	default:
		o, x = w.touching(s), s
		if p.Op == problem.Pool { // whole windows, for their divisors and their greatest cells
			r := w.reach(o)
			x = span{min(x.from, r.from), max(x.to, r.to)}
		}
	}
	if pl.axis = w.part(o, x); g.folds() {
		pl.axis.PadR = max(0, pl.axis.PadR) // cells after the last window are no negative padding, which goes with zeros only
	}
	pl.in, pl.out, pl.keep = x, o, s
	if w.swapped {
		pl.in, pl.out = o, x
	}
	return pl
}

// scale is v·num/den, which is whole, without overflow.
func scale(v, num, den int) int {
	d := gcd(num, den)
	return v / (den / d) * (num / d)
}
