package tiling

import (
	"fmt"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// reindex translates the indices of a tile, which count within its own planes, to those of the whole or back.
type reindex struct {
	whole, tile    *problem.Problem
	wholeIn, local []int // spatial sizes of what is indexed
	from           []int // first cell of the tile's in the whole's
	n, c           int   // the tile's first image and channel
	plane          int64 // cells of the whole's planes
	layout         problem.Layout
	own            []ownWindows // of unpooling
}

// ownWindows are the windows that an unpooling's indices point from, along an axis that is cut.
type ownWindows struct {
	windows
	first int // the tile's
	cut   bool
}

func newReindex(p *problem.Problem, t *Tile) *reindex {
	x := &reindex{whole: p, tile: &t.Problem, plane: 1, layout: p.LayoutOf(problem.Ind)}
	for i, a := range p.Spatial() {
		b, pl := t.Problem.Spatial()[i], t.places[3-p.Rank+i]
		if p.Op == problem.Unpool { // its large side is dst
			x.own = append(x.own, ownWindows{axisOf(p.Op, a), pl.in.from, b.In != a.In || b.Out != a.Out})
			x.wholeIn, x.local, x.from = append(x.wholeIn, a.Out), append(x.local, b.Out), append(x.from, pl.out.from)
			x.plane *= int64(a.Out)
			continue
		}
		x.wholeIn, x.local, x.from = append(x.wholeIn, a.In), append(x.local, b.In), append(x.from, pl.in.from)
		x.plane *= int64(a.In)
	}
	box := t.Boxes[problem.Ind]
	if x.n, x.c = box.From[0], box.From[1]; x.layout == problem.NHWC {
		x.c = box.From[len(box.From)-1]
	}
	return x
}

// base is what indices of element i's plane begin with in the whole.
func (x *reindex) base(i int, size []int) int64 {
	if x.whole.Indices == problem.Plane {
		return 0
	}
	n, c := 0, 0
	if last := len(size) - 1; x.layout == problem.NHWC {
		n, c = i/elems(size[1:]), i%size[last]
	} else {
		n, c = i/elems(size[1:]), i/elems(size[2:])%size[1]
	}
	return (int64(x.n+n)*int64(x.whole.IC) + int64(x.c+c)) * x.plane
}

// toWhole translates what the tile wrote.
func (x *reindex) toWhole(ind []int32, size []int) {
	cell := make([]int, len(x.local))
	for i, v := range ind {
		if v < 0 {
			continue
		}
		rest := int(v)
		for k := len(cell) - 1; k >= 0; k-- {
			cell[k] = rest%x.local[k] + x.from[k]
			rest /= x.local[k]
		}
		at := int64(0)
		if x.whole.Indices == problem.Column {
			for k := len(cell) - 1; k >= 0; k-- {
				at = at*int64(x.wholeIn[k]) + int64(cell[k])
			}
		} else {
			for k := range cell {
				at = at*int64(x.wholeIn[k]) + int64(cell[k])
			}
		}
		ind[i] = int32(x.base(i, size) + at)
	}
}

// points says whether an unpooling's element i points into its own window along the axes that are cut, as tiles have what their windows
// reach: what a pooling wrote does.
func (x *reindex) points(i int, size, cell []int) bool {
	if x.layout == problem.NHWC {
		i /= size[len(size)-1]
	}
	for k := len(x.own) - 1; k >= 0; k-- {
		w, n := x.own[k], x.tile.Spatial()[k].In
		o := w.first + i%n
		if w.cut && (cell[k] < w.start(o) || cell[k] >= w.end(o)) {
			return false
		}
		i /= n
	}
	return true
}

// toTile translates what the tile reads. Those that point outside of the tile become −1, which kernels ignore: they say that their
// window's cell is another tile's.
func (x *reindex) toTile(ind []int32, size []int) error {
	cell := make([]int, len(x.local))
	most := x.plane
	if x.whole.Indices != problem.Plane {
		most *= int64(x.whole.N) * int64(x.whole.IC)
	}
	for i, v := range ind {
		if v < -1 || int64(v) >= most {
			return fmt.Errorf("%w: index %d is outside of the %d elements that it points into", driver.ErrInvalid, v, most)
		}
		if v == -1 {
			continue
		}
		at := int64(v) - x.base(i, size)
		ind[i] = -1
		if at < 0 || at >= x.plane {
			if x.whole.Op == problem.Unpool {
				return fmt.Errorf("%w: index %d points outside of its own plane, which the planes' tiles cannot follow", driver.ErrUnsupported, v)
			}
			continue
		}
		if x.whole.Indices == problem.Column {
			for k := range cell {
				cell[k] = int(at % int64(x.wholeIn[k]))
				at /= int64(x.wholeIn[k])
			}
		} else {
			for k := len(cell) - 1; k >= 0; k-- {
				cell[k] = int(at % int64(x.wholeIn[k]))
				at /= int64(x.wholeIn[k])
			}
		}
		if x.own != nil && !x.points(i, size, cell) {
			return fmt.Errorf("%w: index %d does not point into its own window, as tiles of a plane need it: whole planes need more memory", driver.ErrUnsupported, v)
		}
		local, inside := 0, true
		for k := range cell {
			c := cell[k] - x.from[k]
			inside = inside && c >= 0 && c < x.local[k]
			local = local*x.local[k] + c
		}
		if inside {
			ind[i] = int32(local)
		}
	}
	return nil
}

func elems(size []int) int { return int(problem.Elems(size)) }
