package gpu

import (
	"context"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// A pooling behind a convolution: in one pass, or by way of the convolution's result in the workspace.

func canConvThenPool(_ *Device, p *problem.Problem) error {
	if !p.Fused() {
		return unsupported("no pooling follows")
	}
	return nil
}

// buildConvThenPool is the convolution, into workspace, and the pooling.
func buildConvThenPool(ctx context.Context, pl *plan) error {
	p := pl.core
	p.Then = problem.Fusion{}
	between := pl.scratch(problem.Elems(p.Shape(problem.Dst)))
	conv := pl.directConv
	switch {
	case canDepthwise(pl.dev, &p) == nil && worthDepthwise(pl.dev, &p):
		conv = pl.depthwise
	case canTiled(pl.dev, &p) == nil && worthTiled(pl.dev, &p):
		conv = pl.tiledConv
	case canIgemm(pl.dev, &p) == nil && worthIgemm(pl.dev, &p):
		conv = pl.igemmConv
	}
	if err := conv(ctx, &p, inWords(between)); err != nil {
		return err
	}
	tile, why := pl.info.Tile, pl.info.Why
	pool := pl.core.ThenPool()
	if err := pl.addPool(ctx, &pool, between, inWords(pl.output(problem.Dst))); err != nil {
		return err
	}
	pl.info.Tile, pl.info.Why = tile, "the convolution's result stays in the workspace, each element computed once; "+why
	return nil
}

// fusedCost is how many loop iterations and exits an element of the fused kernel costs.
func fusedCost(p *problem.Problem) int64 {
	c := convOf(p)
	h, w := p.Then.Axes[1].Kernel, p.Then.Axes[2].Kernel
	return 1 + int64(h)*(2+int64(w)*(2+loopCost(c.k, c.wideG)))
}

func canFused(d *Device, p *problem.Problem) error {
	switch {
	case !p.Fused():
		return unsupported("no pooling follows")
	case p.Rank > 2:
		return unsupported("3-D runs as conv+pool")
	case p.Then.Axes[1].Kernel > d.proof.LoopLimit || p.Then.Axes[2].Kernel > d.proof.LoopLimit,
		fusedCost(p) > int64(d.proof.LoopLimit):
		return unsupported("a window of sums of %d iterations is too long for this driver's loops: use conv+pool", fusedCost(p))
	}
	return nil
}

// worthFused says whether nothing is computed twice, and no faster convolution is to be had.
func worthFused(d *Device, p *problem.Problem) bool {
	for _, a := range p.Then.Axes {
		if a.Stride < a.Extent() {
			return false
		}
	}
	return !worthIgemm(d, p)
}

// poolNumbers are the kernels' numbers of the kinds.
var poolNumbers = map[problem.PoolKind]int{problem.Max: 0, problem.AvgExclude: 1, problem.AvgInclude: 2, problem.AvgFull: 3, problem.Lp: 4}

// buildFused is convolution and pooling in one kernel.
func buildFused(ctx context.Context, pl *plan) error {
	p := &pl.core
	c := convOf(p)
	src, wei, post, err := pl.convInputs(ctx, p, c.src, false)
	if err != nil {
		return err
	}
	k, err := pl.kernel(ctx, "conv_pool", generalGroup, 1, 1, post.chain)
	if err != nil {
		return err
	}
	params := words(c.groups, c.wideG, c.narrowG)
	pair := func(v [3]int) { params = append(params, int32(v[1]), int32(v[2])) }
	pool := func(of func(problem.Axis) int) {
		pair([3]int{1: of(p.Then.Axes[1]), 2: of(p.Then.Axes[2])})
	}
	for _, v := range [][3]int{c.wide, c.narrow, c.k, c.s, c.p, c.d} {
		pair(v)
	}
	pool(func(a problem.Axis) int { return a.Out })
	pool(func(a problem.Axis) int { return a.Kernel })
	pool(func(a problem.Axis) int { return a.Stride })
	pool(func(a problem.Axis) int { return a.PadL })
	pool(func(a problem.Axis) int { return a.PadR })
	pool(func(a problem.Axis) int { return a.Dilation })
	params = append(params, int32(poolNumbers[p.Then.Kind]))
	count := int(problem.Elems(p.Shape(problem.Dst)))
	err = pl.each(&pl.run, k, count, []operand{src, wei, post.par, post.res, pl.output(problem.Dst)}, params...)
	pl.general(1)
	pl.info.Why = "convolution and pooling in one pass: nothing is written between"
	return err
}
