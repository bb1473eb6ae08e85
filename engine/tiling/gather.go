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
			x = (x + size) % size
		}
		if last := len(list) - 1; last >= 0 && list[last].from+list[last].size == x {
			list[last].size++
		} else {
			list = append(list, run{x, k, 1})
		}
	}
	return list
}

// readPadded reads a box that may reach beyond the source, whose whole shape is given, into a tensor of the box's size.
func readPadded(ctx context.Context, s Source, shape []int, b Box, mode problem.PadMode, to *engine.Tensor) error {
	if slices.Contains(b.Size, 0) {
		return nil
	}
	pieces := make([][]run, len(shape))
	for i := range shape {
		pieces[i] = runs(b.From[i], b.Size[i], shape[i], mode)
	}
	at := make([]int, len(shape))
	for {
		piece, cell := Box{make([]int, len(shape)), make([]int, len(shape))}, make([]int, len(shape))
		for i, k := range at {
			r := pieces[i][k]
			piece.From[i], piece.Size[i], cell[i] = r.from, r.size, r.to
		}
		if err := s.ReadBox(ctx, piece, to, cell); err != nil {
			return err
		}
		k := len(at) - 1
		for ; k >= 0; k-- {
			if at[k]++; at[k] < len(pieces[k]) {
				break
			}
			at[k] = 0
		}
		if k < 0 {
			return nil
		}
	}
}
