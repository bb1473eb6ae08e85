package tiling

import (
	"fmt"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// Tile is one part of a cut problem.
type Tile struct {
	Index   int
	Problem problem.Problem // of the part
	// Boxes are the parts of the whole's tensors that are the tile's, by role. Those of constants and inputs have the shape
	// of Problem's tensors. With a padding mode an input's may reach beyond its tensor: those cells are the mode's.
	Boxes [problem.Roles]Box
	// Keep is the cell of Problem's first output at which its Boxes begins. Gradients of poolings, and by sources whose padding
	// has a mode, are computed on whole windows, and a part of them is kept.
	Keep []int
	// Part and Parts number partial sums: Parts of them make one box.
	Part, Parts int

	places [3]place
}

// Len is the number of tiles.
func (c *Tiles) Len() int {
	n := 1
	for _, e := range c.grid.of {
		n *= e.parts()
	}
	return n
}

// Results is the number of boxes that the tiles make of the whole's outputs: of each tile one, or of each of its partial
// sums' Parts. They are counted in the order in which they are made.
func (c *Tiles) Results() int { return c.Len() / c.parts() }

// parts is how many tiles make one box.
func (c *Tiles) parts() int {
	n := 1
	for _, e := range c.grid.of {
		if e.sum {
			n *= e.parts()
		}
	}
	return n
}

// Steps is what a tile has of each dimension that problems are cut along. CutBy makes the same cut of it.
func (c *Tiles) Steps() []int {
	s := make([]int, dims)
	for d, e := range c.grid.of {
		s[d] = e.step
	}
	return s
}

// CutBy divides a problem by another cut's Steps.
func CutBy(p problem.Problem, steps []int) (*Tiles, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	g := newGrid(p)
	bad := len(steps) != len(g.of)
	for d := range g.of {
		e := &g.of[d]
		if bad = bad || steps[d] < 1 || steps[d] > e.size || steps[d]%e.unit != 0 || !e.cut && steps[d] != e.size; bad {
			break
		}
		e.step = steps[d]
	}
	if channels := g.of[outs].parts() > 1 || g.of[ins].parts() > 1; bad || channels && g.of[groups].step > 1 {
		return nil, fmt.Errorf("%w: %s cannot be cut by steps of %v", driver.ErrInvalid, p.String(), steps)
	}
	return &Tiles{g}, nil
}

// Tile is tile i, in the order in which they run.
func (c *Tiles) Tile(i int) Tile {
	g := c.grid
	t := Tile{Index: i, Parts: 1}
	var at [dims]int
	rest := i
	for k := dims - 1; k >= 0; k-- {
		d := g.order[k]
		n := g.of[d].parts()
		if at[d] = rest % n; g.of[d].sum {
			t.Part += at[d] * t.Parts
			t.Parts *= n
		}
		rest /= n
	}
	var s [dims]span
	for d := range s {
		s[d] = g.of[d].span(at[d])
	}
	for k := range t.places {
		t.places[k] = g.axis(k, s[axis0+dim(k)])
	}
	g.fill(&t, s)
	return t
}

// fill makes problem and boxes of a tile's spans.
func (g *grid) fill(t *Tile, s [dims]span) {
	q := g.p
	q.Name = ""
	if g.padded() {
		q.PadMode = problem.Zeros
	}
	if g.of[batch].size == q.N { // and not empty
		q.N = s[batch].len()
	}
	if weighted(&q) {
		q.Groups = s[groups].len()
		q.IC, q.OC = q.Groups*s[ins].len(), q.Groups*s[outs].len()
		q.Bias = q.Bias && t.Part == 0
	} else {
		q.IC = s[groups].len()
		q.OC = q.IC
	}
	if t.Parts > 1 && q.Type == problem.All(problem.F16) {
		q.Type = problem.Types{} // sums are f32
	}
	if q.Op == problem.Pool || q.Op == problem.Unpool {
		if q.Indices != problem.NoIndices && g.cut() {
			q.Indices = problem.Plane
		}
	}
	for i, pl := range t.places {
		if q.Axes[i] = pl.axis; q.Fused() {
			q.Then.Axes[i] = pl.then
		}
	}
	t.Problem = q
	for _, list := range [][]problem.Role{q.Constants(), q.Inputs(), q.Outputs()} {
		for _, r := range list {
			t.Boxes[r] = Box{g.from(t, r, s), q.Shape(r)}
		}
	}
	g.keep(t)
}

// cut says whether there is more than one tile.
func (g *grid) cut() bool {
	for _, e := range g.of {
		if e.parts() > 1 {
			return true
		}
	}
	return false
}

// from is the first cell of a role's box in the whole's tensor.
func (g *grid) from(t *Tile, r problem.Role, s [dims]span) []int {
	p := &g.p
	n, ic, oc := s[batch].from, s[groups].from, s[groups].from
	icOf, ocOf := s[ins].from, s[outs].from // within the group
	if weighted(p) {
		ic = ic*(p.IC/p.Groups) + icOf
		oc = oc*(p.OC/p.Groups) + ocOf
	}
	taps := int(p.Taps())
	at := func(l problem.Layout, c int, of func(place) span) []int {
		f := []int{n}
		if l == problem.NCHW {
			f = append(f, c)
		}
		for _, pl := range t.places[3-p.Rank:] {
			f = append(f, of(pl).from)
		}
		if l == problem.NHWC {
			f = append(f, c)
		}
		return f
	}
	columns := func(l problem.Layout) []int {
		position := t.places[3-p.Rank].out.from
		for _, a := range p.Axes[4-p.Rank:] {
			position *= a.Out
		}
		if l == problem.NHWC {
			return []int{n, position, ic * taps}
		}
		return []int{n, ic * taps, position}
	}
	in := func(pl place) span { return pl.in }
	out := func(pl place) span { return pl.out }
	switch r {
	case problem.Src, problem.DiffSrc:
		if p.Op == problem.Col2im {
			return columns(p.SrcLayout)
		}
		if g.padded() {
			return g.shifted(at(p.SrcLayout, ic, in))
		}
		return at(p.SrcLayout, ic, in)
	case problem.Dst, problem.DiffDst:
		switch {
		case p.Op == problem.Im2col:
			return columns(p.DstLayout)
		case p.Op == problem.Col2im:
			return at(p.DstLayout, ic, in)
		case p.Fused():
			return at(p.DstLayout, oc, func(pl place) span { return pl.pool })
		}
		return at(p.DstLayout, oc, out)
	case problem.Residual:
		return at(p.DstLayout, oc, out)
	case problem.Ind:
		if p.Op == problem.Unpool {
			return at(p.SrcLayout, ic, in)
		}
		return at(p.DstLayout, oc, out)
	case problem.Offset, problem.Mask:
		return at(problem.NCHW, 0, out)
	case problem.Wei, problem.DiffWei:
		f := make([]int, 2+p.Rank)
		if f[0], f[1] = oc, icOf; p.Op == problem.Deconv {
			f[0], f[1] = ic, ocOf
		}
		return f
	case problem.Bia, problem.DiffBia:
		return []int{oc}
	}
	return []int{0, oc} // PostParams, Quant
}

// shifted turns a cell of the padded source into one of the source, which it may lie outside of.
func (g *grid) shifted(at []int) []int {
	p := &g.p
	first := 2
	if p.SrcLayout == problem.NHWC {
		first = 1
	}
	for i, a := range p.Spatial() {
		at[first+i] -= a.PadL
	}
	return at
}

// keep narrows the box of a gradient on whole windows to what the tile is for.
func (g *grid) keep(t *Tile) {
	p := &g.p
	r := p.Outputs()[0]
	box := &t.Boxes[r]
	t.Keep = make([]int, len(box.Size))
	if (p.Op != problem.Pool || p.Dir != problem.BackwardData) && !g.folds() {
		return
	}
	first := 2
	if p.SrcLayout == problem.NHWC {
		first = 1
	}
	for i, pl := range t.places[3-p.Rank:] {
		t.Keep[first+i] = pl.keep.from - pl.in.from
		box.From[first+i] = pl.keep.from
		box.Size[first+i] = pl.keep.len()
	}
}
