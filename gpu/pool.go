package gpu

import (
	"context"
	"math"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// Pooling: the general kernels pool (forward) and fold (backward), compiled once for each kind.

// Where the kernels pool and fold start a partial result.
const (
	startAtPartial = iota // at what the dispatch before left
	startAfresh
	startAtSource // pool: each element of the source is the sum of its window
)

// maxDivisor is up to where an f32 holds every integer.
const maxDivisor = 1 << 24

func canPool(_ *Device, p *problem.Problem) error {
	switch {
	case p.Op != problem.Pool:
		return unsupported("not a pooling")
	case p.Taps() > math.MaxInt32:
		return unsupported("windows of %d cells", p.Taps())
	case p.Kind.Average() && (p.Taps() > maxDivisor || p.Divisor > maxDivisor):
		return unsupported("averages of more than %d cells, whose number f32 does not hold", maxDivisor)
	}
	return nil
}

func buildPool(ctx context.Context, pl *plan) error {
	p := &pl.core
	if p.Dir == problem.BackwardData {
		return pl.poolBackward(ctx, p)
	}
	dst := inWords(pl.output(problem.Dst))
	if len(windowBoxes(windowSizes(p), pl.windowLimit(p))) == 1 { // no partial sums in dst, which halves would round
		dst = pl.outputOf(problem.Dst, problem.Src)
	}
	src, err := pl.inputAs(ctx, dst.typ == problem.F16, problem.Src)
	if err != nil {
		return err
	}
	ind := none
	if p.Indices != problem.NoIndices {
		ind = pl.output(problem.Ind)
	}
	return pl.pool(ctx, p, p.Indices, src, dst, ind)
}

// addPool adds a forward pooling without indices.
func (pl *plan) addPool(ctx context.Context, p *problem.Problem, src operand, dst stored) error {
	if canRowsForward(pl.dev, p) == nil && worthRows(pl.dev, p) {
		return pl.rows(ctx, p, src, dst)
	}
	return pl.pool(ctx, p, problem.NoIndices, src, dst, none)
}

// pool adds the forward kernel.
func (pl *plan) pool(ctx context.Context, p *problem.Problem, order problem.IndexOrder, src operand, dst stored, ind operand) error {
	k, err := pl.poolKernel(ctx, dst.typ == problem.F16, p, order)
	if err != nil {
		return err
	}
	parts := windowBoxes(windowSizes(p), pl.windowLimit(p))
	for i, b := range parts {
		start := startAtPartial
		if i == 0 {
			start = startAfresh
		}
		if err := pl.windows(k, p, windowCount(p), []operand{src, dst.at, ind}, b, start, i == len(parts)-1); err != nil {
			return err
		}
	}
	pl.general(len(parts))
	return nil
}

// windowSizes are how many cells a window has at most along the axes.
func windowSizes(p *problem.Problem) [3]int {
	return [3]int{p.Axes[0].Kernel, p.Axes[1].Kernel, p.Axes[2].Kernel}
}

func (pl *plan) poolKernel(ctx context.Context, half bool, p *problem.Problem, order problem.IndexOrder) (*kernel, error) {
	tunables := words(generalGroup, 1, 1, poolNumbers[p.Kind], flag(p.Adaptive), int(order), flag(dense(p)))
	return pl.kernelFor(ctx, half, "pool", tunables...)
}

// poolBackward adds the gather of diff_src, and before it what it needs of each window: where the maximum was, the
// result of the forward pooling, or a cell's share of an average.
func (pl *plan) poolBackward(ctx context.Context, p *problem.Problem) error {
	diff, err := pl.input(ctx, problem.DiffDst)
	if err != nil {
		return err
	}
	windows := int64(p.N) * int64(p.IC) * int64(windowCount(p))
	f := gather{diff: diff, src: none, dst: none, ind: none, to: pl.output(problem.DiffSrc)}
	withSrc := p.Kind == problem.Lp || p.Kind == problem.Max && p.Indices == problem.NoIndices
	if withSrc {
		if f.src, err = pl.input(ctx, problem.Src); err != nil {
			return err
		}
		f.dst = pl.scratch(windows)
	}
	switch {
	case p.Kind == problem.Lp:
		f.kind = gatherLp
		err = pl.pool(ctx, p, problem.NoIndices, f.src, inWords(f.dst), none)
	case p.Kind == problem.Max && withSrc:
		f.kind, f.order, f.ind = gatherMax, problem.Plane, pl.scratch(windows)
		err = pl.pool(ctx, p, problem.Plane, f.src, inWords(f.dst), f.ind)
	case p.Kind == problem.Max:
		f.kind, f.order = gatherMax, p.Indices
		f.ind, err = pl.input(ctx, problem.Ind)
	default:
		f.kind, f.diff = gatherAverage, pl.scratch(windows)
		var k *kernel
		if k, err = pl.poolKernel(ctx, false, p, problem.NoIndices); err == nil {
			err = pl.windows(k, p, windowCount(p), []operand{diff, f.diff, none}, windowBox{}, startAtSource, true)
		}
	}
	if err != nil {
		return err
	}
	return pl.gather(ctx, p, f)
}

func canUnpool(_ *Device, p *problem.Problem) error {
	if p.Op != problem.Unpool {
		return unsupported("not an unpooling")
	}
	return nil
}

// The kernel unpool's modes.
const (
	unpoolOwners = iota
	unpoolForward
	unpoolBackward
)

// buildUnpool finds the last source of each element with an atomic maximum before it gathers, so that the result does
// not depend on which work-item comes first.
func buildUnpool(ctx context.Context, pl *plan) error {
	p := &pl.core
	pl.general(1)
	sources := int(problem.Elems(p.Shape(problem.Ind)))
	elems := int(problem.Elems(p.Shape(problem.Dst)))
	ind, err := pl.input(ctx, problem.Ind)
	if err != nil {
		return err
	}
	add := func(mode, items int, uses ...operand) error {
		k, err := pl.kernel(ctx, "unpool", generalGroup, 1, 1, int32(mode), int32(p.Indices))
		if err != nil {
			return err
		}
		return pl.each(&pl.run, k, items, uses, words(p.N*p.IC, sourceCells(p), p.Axes[0].Out, p.Axes[1].Out, p.Axes[2].Out)...)
	}
	if p.Dir == problem.BackwardData {
		diff, err := pl.input(ctx, problem.DiffDst)
		if err != nil {
			return err
		}
		return add(unpoolBackward, sources, ind, diff, none, pl.output(problem.DiffSrc))
	}
	src, err := pl.input(ctx, problem.Src)
	if err != nil {
		return err
	}
	owner := pl.scratch(int64(elems))
	pl.fill(&pl.run, owner, 0, 4*int64(elems), math.MaxUint32) // -1
	if err := add(unpoolOwners, sources, ind, src, owner, none); err != nil {
		return err
	}
	return add(unpoolForward, elems, ind, src, owner, pl.output(problem.Dst))
}
