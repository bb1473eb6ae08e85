package gpu

import (
	"context"
	"fmt"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// Transposed convolutions to few channels, and convolutions backward to so few (a network's first layer), by the kernel
// transposed_rows: vectors are of pixels, where the implicit GEMM's, of channels, would be mostly idle.

// What stays in registers or is unrolled.
const (
	mostSums      = 16  // of channels and lattices
	mostWeights   = 256 // of a summed channel
	fewestSummed  = 8   // channels, for which the results' way through registers is worth it
	vectorsUnused = 4   // a vector has at least so many times the channels that there are
)

func canTransposedRows(d *Device, p *problem.Problem) error {
	if err := canDirect(d, p); err != nil {
		return err
	}
	c := convOf(p)
	switch {
	case !c.transposed:
		return unsupported("not the adjoint of a convolution")
	case !withoutDepth(p.Axes[0]):
		return unsupported("a kernel with depth")
	case c.wideG*c.taps() > mostWeights:
		return unsupported("%d channels by %d taps are too many to unroll", c.wideG, c.taps())
	case c.narrowG+loopsBeside > d.proof.LoopLimit:
		return unsupported("a reduction of %d channels is too long for this driver's loops", c.narrowG)
	}
	a := adjointAxes(c)
	f, err := newFold(d, c.n*c.groups*c.wideG, a[1], a[2], false)
	if err == nil && c.wideG*f.h.Stride*f.w.Stride > mostSums {
		err = unsupported("%d channels by strides of %d and %d do not stay in registers", c.wideG, f.h.Stride, f.w.Stride)
	}
	return err
}

// worthTransposedRows says whether the work pays for a compilation, where vectors are wide and channels few: on PoCL.
func worthTransposedRows(d *Device, p *problem.Problem) bool {
	c := convOf(p)
	return d.class() == straight && p.FLOPs() >= igemmWorth && c.narrowG >= fewestSummed &&
		vectorsUnused*c.wideG <= d.limits.VectorWidth
}

func buildTransposedRows(ctx context.Context, pl *plan) error {
	c := convOf(&pl.core)
	src, wei, post, err := pl.convInputs(ctx, &pl.core, c.src, false)
	if err != nil {
		return err
	}
	a := adjointAxes(c)
	f, err := newFold(pl.dev, c.n*c.groups*c.wideG, a[1], a[2], false)
	if err != nil {
		return err
	}
	k, err := pl.kernel(ctx, "transposed_rows", words(int(pl.dev.walkGroup()), 1, 1, c.wideG, f.h.Kernel, f.w.Kernel,
		f.h.Stride, f.w.Stride, f.h.Dilation, f.w.Dilation, f.down.base, f.along.base, f.down.seen, f.along.seen, f.tx, f.rw,
		int(post.chain))...)
	if err != nil {
		return err
	}
	rows := ceilDiv(f.h.In, f.h.Stride)
	pl.info.Tile = fmt.Sprintf("%d channels × %d×%d strides × %d×%d pixels, group %d", c.wideG, f.h.Stride, f.w.Stride, f.tx, f.rw, pl.dev.walkGroup())
	pl.info.Why = "few channels: vectors are of pixels"
	return pl.each(&pl.run, k, c.n*c.groups*rows*f.xt, []operand{src, wei, post.par, post.res, pl.output(c.dst)},
		words(c.groups, c.narrowG, f.h.In, f.w.In, f.h.Out, f.w.Out, f.down.first, f.along.first, f.xt, rows,
			c.n*c.groups*c.narrowG*f.h.Out*f.w.Out-1)...)
}
