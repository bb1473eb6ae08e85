package cpu

import (
	"context"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// indexOf is the index of a cell of plane nc, of the given sizes; −1 for no cell.
func indexOf(order problem.IndexOrder, nc, cell int, sizes [3]int) int {
	switch {
	case cell < 0:
		return -1
	case order == problem.Plane:
		return cell
	case order == problem.Column:
		_, x := split(int64(cell), sizes)
		cell = (x[2]*sizes[1]+x[1])*sizes[0] + x[0]
	}
	return nc*volume(sizes) + cell
}

// cellOf is the element of a tensor of so many planes that an index of plane nc points to, or −1 out of range.
func cellOf(order problem.IndexOrder, nc, planes, index int, sizes [3]int) int {
	size := volume(sizes)
	if order == problem.Plane {
		if index < 0 || index >= size {
			return -1
		}
		return nc*size + index
	}
	if index < 0 || index >= planes*size {
		return -1
	}
	if order == problem.Column {
		outer, x := split(int64(index), [3]int{sizes[2], sizes[1], sizes[0]})
		return outer*size + (x[2]*sizes[1]+x[1])*sizes[2] + x[0]
	}
	return index
}

// pointed is a run of indices: from tensors of small planes, which have them, into large ones.
type pointed struct {
	p            *problem.Problem
	t            *tensors
	small, large [3]int
	w            *windows // of a pooling
}

var (
	sending   = repeated[pointed]{do: (*pointed).send}
	fetching  = repeated[pointed]{do: (*pointed).fetch}
	returning = repeated[pointed]{do: (*pointed).giveBack}
)

// byPlane does a kind of work for each plane: at once where indices stay in their planes, one by one where planes may meet.
func (x *pointed) byPlane(ctx context.Context, k *repeated[pointed]) error {
	planes, chunk := x.p.N*x.p.IC, 1
	if x.p.Indices != problem.Plane {
		chunk = max(1, planes)
	}
	return k.parallel(ctx, planes, chunk, x)
}

// cell is the element of the large tensor that element i of plane nc points to, or −1.
func (x *pointed) cell(nc, i int) int {
	return cellOf(x.p.Indices, nc, x.p.N*x.p.IC, int(x.t.i[problem.Ind][i]), x.large)
}

// unpool sends each value where its index says; of several with one index the last stays.
func unpool(ctx context.Context, p *problem.Problem, t *tensors) error {
	in, out := spatialSizes(p)
	clear(t.f[problem.Dst])
	x := pointed{p, t, in, out, nil}
	return x.byPlane(ctx, &sending)
}

func (x *pointed) send(nc int) {
	src, dst := x.t.f[problem.Src], x.t.f[problem.Dst]
	for i := nc * volume(x.small); i < (nc+1)*volume(x.small); i++ {
		if cell := x.cell(nc, i); cell >= 0 {
			dst[cell] = src[i]
		}
	}
}

// unpoolBackward fetches each gradient from where its index says.
func unpoolBackward(ctx context.Context, p *problem.Problem, t *tensors) error {
	in, out := spatialSizes(p)
	return fetching.parallel(ctx, p.N*p.IC, 1, &pointed{p, t, in, out, nil})
}

func (x *pointed) fetch(nc int) {
	dy, dx := x.t.f[problem.DiffDst], x.t.f[problem.DiffSrc]
	for i := nc * volume(x.small); i < (nc+1)*volume(x.small); i++ {
		dx[i] = 0
		if cell := x.cell(nc, i); cell >= 0 {
			dx[i] = dy[cell]
		}
	}
}

// maxBackward adds each gradient where the index of its maximum says. An index outside of its own window is none that
// the forward pooling wrote: it is ignored, as the GPUs do, which look for a cell's windows and not for a window's cell.
func maxBackward(ctx context.Context, p *problem.Problem, w *windows, t *tensors) error {
	in, out := spatialSizes(p)
	chunk := 1 + (1<<12)/(volume(in)+volume(out))
	return returning.parallel(ctx, p.N*p.IC, chunk, &pointed{p, t, out, in, w})
}

func (x *pointed) giveBack(nc int) {
	cells, w := volume(x.large), x.w
	to := x.t.f[problem.DiffSrc][nc*cells:][:cells]
	clear(to)
	i := nc * volume(x.small)
	indices, by := x.t.i[problem.Ind], x.t.f[problem.DiffDst]
	first := 0
	if x.p.Indices != problem.Plane {
		first = nc * cells
	}
	for _, sz := range w.spans[0] {
		for _, sy := range w.spans[1] {
			for _, sx := range w.spans[2] {
				cell := int(indices[i]) - first
				if x.p.Indices == problem.Column {
					cell = x.cell(nc, i) - first
				}
				if w.holds([3]span{sz, sy, sx}, cell) {
					to[cell] += by[i]
				}
				i++
			}
		}
	}
}
