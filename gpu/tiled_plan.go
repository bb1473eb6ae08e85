package gpu

import (
	"context"
	"fmt"

	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/shaders"
)

// The steps of igemm_local: a kernel for each phase, and the sum of their parts.

// tiledConv adds a convolution or a transposed one by igemm_local.
func (pl *plan) tiledConv(ctx context.Context, p *problem.Problem, dst stored) error {
	g, err := newTiledGemm(pl.dev, p, pl.tile, dst.typ == problem.F16)
	if err != nil {
		return err
	}
	return pl.tiledGemm(ctx, p, g, dst)
}

// tiledGemm adds the convolution as it is laid out.
func (pl *plan) tiledGemm(ctx context.Context, p *problem.Problem, g *tiledGemm, dst stored) error {
	post, err := pl.posts(ctx, p, g.half, false)
	if err != nil {
		return err
	}
	given, err := pl.packed(ctx, problem.Wei)
	if err != nil {
		return err
	}
	src, err := pl.inputAs(ctx, g.half, g.conv.src)
	if err != nil {
		return err
	}
	wei, err := g.packTiles(ctx, pl, &pl.pack, given)
	if err != nil {
		return err
	}
	g.describe(pl, p)
	return g.add(ctx, pl, src, wei, post, dst.at)
}

// tiledWeights adds a gradient by the weights.
func (pl *plan) tiledWeights(ctx context.Context) error {
	g, err := newTiledGemm(pl.dev, &pl.core, pl.tile, false)
	if err != nil {
		return err
	}
	wide, narrow, err := pl.sides(ctx)
	if err != nil {
		return err
	}
	packed, err := g.packTiles(ctx, pl, &pl.run, stored{narrow, problem.F32})
	if err != nil {
		return err
	}
	g.describe(pl, &pl.core)
	return g.add(ctx, pl, wide, packed, noPosts, pl.output(problem.DiffWei))
}

// describe tells of the tile on the plan.
func (g *tiledGemm) describe(pl *plan, p *problem.Problem) {
	pl.info.Tunables = g.text()
	pl.info.Tile = fmt.Sprintf("%d channels × %d pixels × %d in local memory, %d×%d a work-item, group %d",
		g.bm, g.bn, g.bk, g.tm, g.tn, g.lx())
	pl.info.Why = fmt.Sprintf("%.3g GFLOP are worth a kernel compiled for the shape", p.FLOPs()*1e-9)
	if g.generic > 0 {
		pl.info.Why = "kernels for any shape"
	}
	if len(g.phases) > 1 {
		pl.info.Why += fmt.Sprintf("; %d convolutions without strides", len(g.phases))
	}
	if g.parts > 1 {
		pl.info.Why += fmt.Sprintf("; the reduction is cut into %d parts, as there are few tiles", g.parts)
	}
}

// packTiles adds the packing of the phases' weights to a list of steps.
func (g *tiledGemm) packTiles(ctx context.Context, pl *plan, list *[]step, given stored) ([]operand, error) {
	wei := make([]operand, len(g.phases))
	for i := range g.phases {
		ph := &g.phases[i]
		inner := g.bk
		if mode := g.mode(ph); mode == flatRows || mode == byOffsets {
			inner = 1
		}
		var err error
		wei[i], err = g.packWeights(ctx, pl, list, ph, g.packing(), given, none, g.bm, g.rows(ph, g.mode(ph)), inner, g.packed(ph))
		if err != nil {
			return nil, err
		}
	}
	return wei, nil
}

// add adds the product of a source and packed weights, with post-operations.
func (g *tiledGemm) add(ctx context.Context, pl *plan, src operand, wei []operand, post posts, dst operand) error {
	to, finish := dst, post
	if g.parts > 1 {
		to = pl.scratch(int64(g.parts) * g.results())
		post = noPosts
	}
	for i := range g.phases {
		ph := &g.phases[i]
		k, err := g.kernel(ctx, pl, ph, post.chain)
		if err != nil {
			return err
		}
		gx, groups := flat(ceilDiv(g.pixels(ph), g.bn)*g.blocks(), 1)
		groups[2] = g.conv.groups * g.parts
		row, plane := g.out[2], g.out[1]*g.out[2]
		at := ph.at[0]*plane + ph.at[1]*row + ph.at[2]
		var pad [3]int
		for j, a := range ph.axis {
			pad[j] = a.PadL
		}
		params := append(g.sizes(ph), g.steps(ph)...)
		params = append(params, words(g.sc, pad, g.conv.groups*g.ocg, g.pixels(ph), gx, g.per(ph), g.parts, int(g.results()),
			g.sn, g.sg, at, g.dn, g.dc, ph.every[0]*plane, ph.every[1]*row, ph.every[2])...)
		err = pl.grid(&pl.run, k, groups, []operand{src, src, wei[i], post.par, post.res, to, to, to}, params...)
		if err != nil {
			return err
		}
	}
	if g.parts == 1 {
		return nil
	}
	return pl.sumParts(ctx, to, dst, int(g.results()), g.parts, finish, g.conv.groups*g.ocg, g.dc, g.half)
}

// sizes are those of a phase's shape, as the kernel's parameters and tunables have them.
func (g *tiledGemm) sizes(ph *phase) []int32 {
	var kernel, out [3]int
	for i, a := range ph.axis {
		kernel[i], out[i] = a.Kernel, a.Out
	}
	return words(kernel, g.icg, g.ocg, g.in, out)
}

// steps are a phase's strides and dilations as the kernel's parameters have them.
func (g *tiledGemm) steps(ph *phase) []int32 {
	var both [3]int
	for i, a := range ph.axis {
		both[i] = a.Stride + a.Dilation<<16
	}
	return words(both)
}

// kernel compiles the kernel of a phase.
func (g *tiledGemm) kernel(ctx context.Context, pl *plan, ph *phase, chain int32) (*kernel, error) {
	var stride, dilation [3]int
	for i, a := range ph.axis {
		stride[i], dilation[i] = a.Stride, a.Dilation
	}
	shape := append(g.sizes(ph), words(stride, dilation, g.sc)...)
	if g.generic > 0 {
		clear(shape)
	}
	const vectors = 4 // of floats, in both dialects
	tile := words(g.lx(), 1, 1, g.bm, g.bn, g.bk, g.tm, g.tn, g.mode(ph), int(chain), vectors)
	tunables := append(append(tile, shape...), int32(g.short))
	if g.terms != "" {
		return pl.kernel(ctx, shaders.Variant("conv_tiled", g.terms), tunables...)
	}
	return pl.kernelFor(ctx, g.half, "conv_tiled", tunables...)
}
