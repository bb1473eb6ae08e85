package tiling

import (
	"context"
	"slices"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// run is a piece of one dimension that is read at once: size cells from `from` on, to cell `to` of the tile.
type run struct{ from, to, size int }

// runs are the pieces of n cells from cell `first` on, of a dimension of `size` cells that goes on beyond its ends as the
// mode says.
func runs(first, n, size int, mode problem.PadMode) []run {
	var list []run
	for k := 0; k < n; k++ {
		x := first + k
		switch {
		case x >= 0 && x < size:
		case mode == problem.Reflect:
			if x < 0 {
				x = -x
			} else {
				x = 2*(size-1) - x
			}
		case mode == problem.Replicate:
			x = min(max(x, 0), size-1)
		case mode == problem.Circular:
			x = (x%size + size) % size
		}
		if last := len(list) - 1; last >= 0 && list[last].from+list[last].size == x {
			list[last].size++
		} else {
			list = append(list, run{x, k, 1})
		}
	}
	return list
}

// near is how far from each other cells may be, in bytes, that are read together anyway: a disk gives whole pages.
var near = 4 << 10

// common is what a box begins with of what another one ends with: n cells along a dimension. There are none if the boxes differ in
// anything else, or if so few bytes lie between those cells that leaving them out would spare no reading.
func (b Box) common(before Box, shape []int, elem int) (d, n int) {
	d = -1
	for i := range b.From {
		if b.From[i] == before.From[i] && b.Size[i] == before.Size[i] {
			continue
		}
		if d >= 0 {
			return 0, 0
		}
		d = i
	}
	if d < 0 || b.From[d] <= before.From[d] || strides(shape, elem)[d] < near {
		return 0, 0
	}
	return d, max(0, min(before.From[d]+before.Size[d]-b.From[d], b.Size[d]-1))
}

// readAfter reads a box as readPadded does, but takes what it has in common with the one that was read before from that one's tensor.
func readAfter(ctx context.Context, s Source, shape []int, before, b Box, mode problem.PadMode, was, to *engine.Tensor) error {
	d, n := b.common(before, shape, to.Type().Size())
	if n == 0 {
		return readPadded(ctx, s, shape, b, mode, to, make([]int, len(shape)))
	}
	same, rest := Box{make([]int, len(shape)), slices.Clone(b.Size)}, Box{slices.Clone(b.From), slices.Clone(b.Size)}
	at := make([]int, len(shape))
	same.From[d], same.Size[d] = b.From[d]-before.From[d], n
	if err := copyBox(to, at, was, same.From, same.Size); err != nil {
		return err
	}
	rest.From[d], rest.Size[d], at[d] = rest.From[d]+n, rest.Size[d]-n, n
	return readPadded(ctx, s, shape, rest, mode, to, at)
}

// readPadded reads a box that may reach beyond the source, whose whole shape is given, into a tensor, its first element to the cell at.
func readPadded(ctx context.Context, s Source, shape []int, b Box, mode problem.PadMode, to *engine.Tensor, at []int) error {
	if slices.Contains(b.Size, 0) {
		return nil
	}
	pieces := make([][]run, len(shape))
	for i := range shape {
		pieces[i] = runs(b.From[i], b.Size[i], shape[i], mode)
	}
	next := make([]int, len(shape))
	for {
		piece, cell := Box{make([]int, len(shape)), make([]int, len(shape))}, slices.Clone(at)
		for i, k := range next {
			r := pieces[i][k]
			piece.From[i], piece.Size[i] = r.from, r.size
			cell[i] += r.to
		}
		if err := s.ReadBox(ctx, piece, to, cell); err != nil {
			return err
		}
		k := len(next) - 1
		for ; k >= 0; k-- {
			if next[k]++; next[k] < len(pieces[k]) {
				break
			}
			next[k] = 0
		}
		if k < 0 {
			return nil
		}
	}
}
