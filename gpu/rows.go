package gpu

import (
	"context"
	"fmt"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// Pooling by the kernel pool_rows: work-items walk down strips and read each row of the source once.

// rowsWorth is the number of window cells from which compiling for the size of windows is taken to pay; all maps share it.
const rowsWorth = 1e5

// mostWindow is how high and wide a window may be, which is unrolled.
const mostWindow = 8

func canRows(d *Device, p *problem.Problem) error {
	if err := canPool(d, p); err != nil {
		return err
	}
	if p.Dir != problem.Forward {
		return unsupported("a gradient")
	}
	return canRowsForward(d, p)
}

// canRowsForward asks only for what the forward kernel needs.
func canRowsForward(d *Device, p *problem.Problem) error {
	depth, h, w := p.Axes[0], p.Axes[1], p.Axes[2]
	planes := p.N * p.IC
	switch {
	case p.Kind == problem.Lp || p.Adaptive || p.Indices != problem.NoIndices || !dense(p):
		return unsupported("rows are for maxima and averages of windows of one size, without holes and indices")
	case !withoutDepth(depth):
		return unsupported("windows with depth")
	case max(h.Kernel, w.Kernel) > mostWindow:
		return unsupported("windows of more than %d rows or columns", mostWindow)
	case max(w.In, w.Out*w.Stride) > maxDivisor:
		return unsupported("rows of more than %d columns", maxDivisor)
	case planes*h.Out*w.Out == 0:
		return unsupported("the result is empty")
	}
	if k := newWalk(d, planes, h, w); k.items(planes) > maxElements {
		return unsupported("too many work-items")
	}
	return nil
}

// worthRows says whether the work pays for a compilation, and rows are long enough to share what is loaded.
func worthRows(_ *Device, p *problem.Problem) bool {
	return p.FLOPs() >= rowsWorth && p.Axes[2].Out >= 4
}

func buildRows(ctx context.Context, pl *plan) error {
	dst := pl.outputOf(problem.Dst, problem.Src)
	src, err := pl.inputAs(ctx, dst.typ == problem.F16, problem.Src)
	if err != nil {
		return err
	}
	return pl.rows(ctx, &pl.core, src, dst)
}

// rows adds a forward pooling by strips of rows.
func (pl *plan) rows(ctx context.Context, p *problem.Problem, src operand, dst stored) error {
	h, w := p.Axes[1], p.Axes[2]
	planes := p.N * p.IC
	k := newWalk(pl.dev, planes, h, w)
	half := dst.typ == problem.F16
	k.unlessHalf(half)
	kernel, err := pl.kernelFor(ctx, half, "pool_rows", words(int(pl.dev.walkGroup()), 1, 1,
		poolNumbers[p.Kind], h.Kernel, w.Kernel, h.Stride, w.Stride, k.move, k.tx, k.rw, k.quads, k.offset, k.whole)...)
	if err != nil {
		return err
	}
	pl.info.Tile = fmt.Sprintf("strips of %d rows × %d×%d pixels, group %d", k.rows, k.tx, k.rw, pl.dev.walkGroup())
	pl.info.Why = "small windows: each row of the source is read once"
	return pl.each(&pl.run, kernel, k.items(planes), []operand{src, src, dst.at, dst.at}, words(h.In, w.In, h.Out, w.Out, h.PadL, w.PadL,
		h.In+h.PadR, w.In+w.PadR, k.xt, k.strips, k.rows, p.Divisor, planes*h.In*w.In-1)...)
}
