package gpu

import (
	"context"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// Padding with anything but zeros: the convolution reads a copy of its source that has the border, and its gradient
// folds the border back.

// padded adds the copy of the source with its border.
func (pl *plan) padded(ctx context.Context, src operand) (operand, error) {
	k, err := pl.kernel(ctx, "pad_mode", generalGroup, 1, 1)
	if err != nil {
		return 0, err
	}
	var in, out, left [3]int
	for i, a := range pl.p.Axes {
		in[i], out[i], left[i] = a.In, pl.core.Axes[i].In, a.PadL
	}
	elems := problem.Elems(pl.core.Shape(problem.Src))
	to := pl.scratch(elems)
	return to, pl.each(&pl.run, k, int(elems), []operand{src, to}, words(int(pl.p.PadMode), in, out, left)...)
}

// fold adds the way back of the border of a gradient, axis by axis.
func (pl *plan) fold(ctx context.Context, src, dst operand) error {
	k, err := pl.kernel(ctx, "pad_fold", generalGroup, 1, 1)
	if err != nil {
		return err
	}
	var axes []int // that have a border
	for i, a := range pl.p.Axes {
		if a.PadL != 0 || a.PadR != 0 {
			axes = append(axes, i)
		}
	}
	outer := pl.p.N * pl.p.IC
	var size [3]int // before the axis is folded
	for i, a := range pl.core.Axes {
		size[i] = a.In
	}
	for at, i := range axes {
		a := pl.p.Axes[i]
		before, inner := outer, 1
		for j, n := range size {
			switch {
			case j < i:
				before *= n
			case j > i:
				inner *= n
			}
		}
		count := before * a.In * inner
		to := dst
		if at < len(axes)-1 {
			to = pl.scratch(int64(count))
		}
		repeats := 1
		if pl.p.PadMode == problem.Replicate {
			repeats = max(a.PadL, a.PadR)
		}
		step := pl.dev.proof.LoopLimit/2 - 2
		for r0 := 0; r0 < repeats; r0 += step {
			err := pl.each(&pl.run, k, count, []operand{src, to}, words(int(pl.p.PadMode), a.In, size[i], inner, a.PadL, r0, min(r0+step, repeats))...)
			if err != nil {
				return err
			}
		}
		src, size[i] = to, a.In
	}
	return nil
}
