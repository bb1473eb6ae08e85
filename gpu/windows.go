package gpu

import (
	"context"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// Walks of windows: the geometry that the kernels pool, fold and unfold share, image to columns and back.

// windowCount is how many windows a plane has, sourceCells how many cells it has that they walk over.
func windowCount(p *problem.Problem) int { return p.Axes[0].Out * p.Axes[1].Out * p.Axes[2].Out }

func sourceCells(p *problem.Problem) int { return p.Axes[0].In * p.Axes[1].In * p.Axes[2].In }

// dense says whether windows have no holes, which spares kernels divisions.
func dense(p *problem.Problem) bool {
	return p.Axes[0].Dilation == 1 && p.Axes[1].Dilation == 1 && p.Axes[2].Dilation == 1
}

// geometry is the part of PARAMS that says how windows lie, in the kernels' order.
func geometry(p *problem.Problem) []int32 {
	var params []int32
	for _, of := range []func(problem.Axis) int{
		func(a problem.Axis) int { return a.In },
		func(a problem.Axis) int { return a.Out },
		func(a problem.Axis) int { return a.Kernel },
		func(a problem.Axis) int { return a.Stride },
		func(a problem.Axis) int { return a.PadL },
		func(a problem.Axis) int { return a.In + a.PadR },
		func(a problem.Axis) int { return a.Dilation },
	} {
		for _, a := range p.Axes {
			params = append(params, int32(of(a)))
		}
	}
	return params
}

// windowBox is a part of a walk: positions [from, to) on each axis.
type windowBox struct{ from, to [3]int }

// windowCost is how many loop iterations and exits a work-item runs over a box of such a size, counted so that it is
// never less than any driver counts.
func windowCost(n [3]int) int64 { return 1 + int64(n[0])*(2+int64(n[1])*(2+int64(n[2]))) }

// windowBoxes cuts a walk over n positions into boxes of at most limit loop iterations. The boxes one after the other,
// each row by row, are still the walk row by row: the first of equal maxima stays the first.
func windowBoxes(n [3]int, limit int) []windowBox {
	size := n
	for a := range size {
		for windowCost(size) > int64(limit) && size[a] > 1 {
			size[a] = (size[a] + 1) / 2
		}
	}
	var boxes []windowBox
	for i := 0; i < n[0]; i += size[0] {
		for j := 0; j < n[1]; j += size[1] {
			for k := 0; k < n[2]; k += size[2] {
				from := [3]int{i, j, k}
				b := windowBox{from: from}
				for a := range b.to {
					b.to[a] = min(from[a]+size[a], n[a])
				}
				boxes = append(boxes, b)
			}
		}
	}
	return boxes
}

// windowLimit is how many iterations of the walk a dispatch may have.
func (pl *plan) windowLimit(p *problem.Problem) int {
	if p.Adaptive {
		return pl.dev.proof.LoopLimit - 200 // where a kernel divides products of more than 32 bits
	}
	return pl.dev.proof.LoopLimit
}

// windows adds one dispatch of pool or fold, with a work-item for each of so many cells of each plane.
func (pl *plan) windows(
	k *kernel, p *problem.Problem, cells int, uses []operand, b windowBox, start int, last bool,
) error {
	arg := p.Divisor
	if p.Kind == problem.Lp {
		arg = p.P
	}
	params := geometry(p)
	for a := range b.from {
		params = append(params, int32(b.from[a]), int32(b.to[a]))
	}
	params = append(params, words(start, flag(last), arg)...)
	return pl.each(&pl.run, k, p.N*p.IC*cells, uses, params...)
}

// The kernel fold's kinds.
const (
	gatherColumns = iota
	gatherAverage
	gatherMax
	gatherLp
)

// gather is one use of the kernel fold; it needs the operands that its kind reads.
type gather struct {
	kind                    int
	order                   problem.IndexOrder
	diff, src, dst, ind, to operand
}

// gather adds the sum over the windows that cover each cell.
func (pl *plan) gather(ctx context.Context, p *problem.Problem, g gather) error {
	k, err := pl.kernel(ctx, "fold", words(generalGroup, 1, 1, g.kind, flag(p.Adaptive), int(g.order), flag(dense(p)))...)
	if err != nil {
		return err
	}
	var covering [3]int
	for i, a := range p.Axes {
		covering[i] = coveringWindows(a, p.Adaptive)
	}
	parts := windowBoxes(covering, pl.windowLimit(p))
	uses := []operand{g.diff, g.src, g.dst, g.ind, g.to}
	for i, b := range parts {
		start := startAtPartial
		if i == 0 {
			start = startAfresh
		}
		if err := pl.windows(k, p, sourceCells(p), uses, b, start, i == len(parts)-1); err != nil {
			return err
		}
	}
	pl.general(len(parts))
	return nil
}

// coveringWindows is the largest number of windows, one after the other, that begin and end around one cell.
func coveringWindows(a problem.Axis, adaptive bool) int {
	if adaptive {
		return min(a.Out, ceilDiv(a.Out, a.In)+1)
	}
	return min(a.Out, ceilDiv(a.Extent(), a.Stride))
}

func canColumns(_ *Device, p *problem.Problem) error {
	if p.Op != problem.Im2col && p.Op != problem.Col2im {
		return unsupported("neither image to columns nor columns to image")
	}
	return nil
}

// buildColumns is image to columns, or columns to image: each is the other's backward.
func buildColumns(ctx context.Context, pl *plan) error {
	p := &pl.core
	from, to := problem.Src, problem.Dst
	if p.Dir == problem.BackwardData {
		from, to = problem.DiffDst, problem.DiffSrc
	}
	src, err := pl.input(ctx, from)
	if err != nil {
		return err
	}
	dst := pl.output(to)
	if (p.Op == problem.Im2col) != (p.Dir == problem.Forward) {
		return pl.gather(ctx, p, gather{kind: gatherColumns, diff: src, src: none, dst: none, ind: none, to: dst})
	}
	k, err := pl.kernel(ctx, "unfold", generalGroup, 1, 1)
	if err != nil {
		return err
	}
	pl.general(1)
	return pl.each(&pl.run, k, int(problem.Elems(p.Shape(to))), []operand{src, dst}, geometry(p)...)
}
