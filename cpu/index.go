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

// unpool sends each value where its index says; of several with one index the last stays.
func unpool(ctx context.Context, p *problem.Problem, t *tensors) error {
	in, out := spatialSizes(p)
	src, dst, ind := t.f[problem.Src], t.f[problem.Dst], t.i[problem.Ind]
	clear(dst)
	send := func(nc int) {
		for i := range src[nc*volume(in):][:volume(in)] {
			i += nc * volume(in)
			if cell := cellOf(p.Indices, nc, p.N*p.IC, int(ind[i]), out); cell >= 0 {
				dst[cell] = src[i]
			}
		}
	}
	return byPlane(ctx, p, send)
}

// byPlane calls f for each plane: at once where indices stay in their planes, one by one where planes may meet.
func byPlane(ctx context.Context, p *problem.Problem, f func(nc int)) error {
	if p.Indices == problem.Plane {
		return parallel(ctx, p.N*p.IC, 1, f)
	}
	for nc := range p.N * p.IC {
		if err := ctx.Err(); err != nil {
			return err
		}
		f(nc)
	}
	return nil
}

// unpoolBackward fetches each gradient from where its index says.
func unpoolBackward(ctx context.Context, p *problem.Problem, t *tensors) error {
	in, out := spatialSizes(p)
	dy, dx, ind := t.f[problem.DiffDst], t.f[problem.DiffSrc], t.i[problem.Ind]
	return parallel(ctx, p.N*p.IC, 1, func(nc int) {
		for i := nc * volume(in); i < (nc+1)*volume(in); i++ {
			dx[i] = 0
			if cell := cellOf(p.Indices, nc, p.N*p.IC, int(ind[i]), out); cell >= 0 {
				dx[i] = dy[cell]
			}
		}
	})
}

// maxBackward adds each gradient where the index of its maximum says. An index outside of its own window is none that
// the forward pooling wrote: it is ignored, as the GPUs do, which look for a cell's windows and not for a window's cell.
func maxBackward(ctx context.Context, p *problem.Problem, t *tensors) error {
	in, out := spatialSizes(p)
	dy, dx, ind := t.f[problem.DiffDst], t.f[problem.DiffSrc], t.i[problem.Ind]
	clear(dx)
	return byPlane(ctx, p, func(nc int) {
		for i := nc * volume(out); i < (nc+1)*volume(out); i++ {
			if cell := cellOf(p.Indices, nc, p.N*p.IC, int(ind[i]), in); holds(p, i, cell) {
				dx[cell] += dy[i]
			}
		}
	})
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
