package gpu

import (
	"context"
	"fmt"

	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/shaders"
)

// igemm_dot: integer convolutions as igemm_local's product of tiles in local memory, of words of four signed bytes by dot
// products (kernel conv_dot). Source and weights stay bytes, packed four channels to a word; u8 become s8 by taking 128 from
// values and zero points alike. Zero points are taken out of the sums: see zero_points. Devices without such an instruction run
// it by shifts and multiplications, if it is asked for.

// dotName is the algorithm's name.
const dotName = "igemm_dot"

// padded is the size of the planes that the convolution reads, with the border that it needs and no more.
func (g *phased) padded() (size [3]int) {
	for i, a := range g.phases[0].axis {
		size[i] = (a.Out-1)*a.Stride + a.Extent()
	}
	return size
}

// newDotGemm lays an integer convolution out, with the tile of the text or the model's choice.
func newDotGemm(d *Device, p *problem.Problem, tile string) (*tiledGemm, error) {
	g, err := newTiledGemm(d, p, tile, false)
	if err != nil {
		return nil, err
	}
	rows := g.rows(&g.phases[0], byOffsets)
	switch {
	case int64(g.n)*int64(g.sn) >= g.largest:
		return nil, unsupported("the source with its border is larger than the largest buffer")
	case rows+loopsBeside > d.proof.LoopLimit:
		return nil, unsupported("a reduction of %d words is too long for this driver's loops", rows)
	}
	return g, nil
}

func canDot(d *Device, p *problem.Problem) error {
	if err := canDirect(d, p); err != nil {
		return err
	}
	c := convOf(p)
	switch {
	case !p.Integer():
		return unsupported("dot products are of bytes")
	case c.results() == 0 || c.weights() == 0:
		return unsupported("there is nothing to sum")
	}
	_, err := newDotGemm(d, p, "")
	return err
}

// worthDot says whether the device has the instruction, and groups have channels enough to fill words and tiles.
func worthDot(d *Device, p *problem.Problem) bool {
	if d.class() != gpuClass || !d.limits.DotFast || !d.proof.Dot || !worthIgemm(d, p) || p.IC/p.Groups < 3 {
		return false
	}
	g, err := newDotGemm(d, p, "")
	return err == nil && roundUp(g.ocg, g.bm) <= 2*g.ocg
}

func buildDot(ctx context.Context, pl *plan) error {
	p := &pl.core
	g, err := newDotGemm(pl.dev, p, pl.tile)
	if err != nil {
		return err
	}
	post, err := pl.posts(ctx, p, false, false)
	if err != nil {
		return err
	}
	if post.result, post.quant, err = pl.quant(ctx, p); err != nil {
		return err
	}
	given, err := pl.packed(ctx, problem.Wei)
	if err != nil {
		return err
	}
	wei, err := g.packTiles(ctx, pl, &pl.pack, given)
	if err != nil {
		return err
	}
	if post.quant, err = g.zeroPoints(ctx, pl, wei[0], post.quant); err != nil {
		return err
	}
	offsets, err := g.offsets(ctx, pl)
	if err != nil {
		return err
	}
	src, err := g.packSource(ctx, pl, post.quant)
	if err != nil {
		return err
	}
	g.describe(pl, p)
	pl.info.Why = "words of four bytes are multiplied by the device's dot products"
	if !pl.dev.proof.Dot {
		pl.info.Why = "words of four bytes are multiplied by shifts and multiplications, for want of dot products"
	}
	return g.addDot(ctx, pl, []operand{src, offsets, wei[0]}, post, pl.output(problem.Dst))
}

// zeroPoints adds the kernel that makes of the rows of quant what sums of products of bytes need.
func (g *tiledGemm) zeroPoints(ctx context.Context, pl *plan, wei, quant operand) (operand, error) {
	types := pl.p.Type
	k, err := pl.kernel(ctx, "zero_points", words(generalGroup, 1, 1, reformatTypes[types.Src], reformatTypes[types.Wei])...)
	if err != nil {
		return none, err
	}
	oc := g.conv.groups * g.ocg
	to := pl.scratch(5 * int64(oc))
	return to, pl.each(&pl.pack, k, oc, []operand{wei, quant, to}, words(g.ocg, g.bm, g.rows(&g.phases[0], byOffsets))...)
}

// offsets adds the kernel that says where each row of the reduction reads.
func (g *tiledGemm) offsets(ctx context.Context, pl *plan) (operand, error) {
	k, err := pl.kernel(ctx, "row_offsets", generalGroup, 1, 1)
	if err != nil {
		return none, err
	}
	d, h, w := g.phases[0].axis[0], g.phases[0].axis[1], g.phases[0].axis[2]
	rows := g.rows(&g.phases[0], byOffsets)
	to := pl.scratch(int64(rows))
	return to, pl.each(&pl.pack, k, rows, []operand{to}, words(g.icg, d.Kernel, h.Kernel, w.Kernel,
		g.sc, d.Dilation*g.in[1]*g.in[2], h.Dilation*g.in[2], w.Dilation)...)
}

// packSource adds the copy of the source whose words are four channels, with its border and a word of zero points at its end.
func (g *tiledGemm) packSource(ctx context.Context, pl *plan, quant operand) (operand, error) {
	k, err := pl.kernel(ctx, "pack_bytes", words(generalGroup, 1, 1, reformatTypes[pl.p.Type.Src])...)
	if err != nil {
		return none, err
	}
	var in, pad [3]int
	for i, a := range g.phases[0].axis {
		in[i], pad[i] = a.In, a.PadL
	}
	ic := g.conv.groups * g.conv.wideG
	sc, sp := volume(in), 1
	if pl.p.LayoutOf(problem.Src) == problem.NHWC {
		sc, sp = 1, ic
	}
	elems := g.n*g.sn + 1
	to := pl.scratch(int64(elems))
	return to, pl.each(&pl.run, k, elems, []operand{pl.tensor(problem.Src), quant, to},
		words(g.conv.groups, g.conv.wideG, g.icg, in, g.in, pad, ic*volume(in), sc, sp)...)
}

// addDot adds the product, and the sum of its parts. uses are source, offsets and weights.
func (g *tiledGemm) addDot(ctx context.Context, pl *plan, uses []operand, post posts, dst operand) error {
	ph := &g.phases[0]
	name := "conv_dot"
	if pl.dev.proof.Dot {
		name = shaders.Variant(name, shaders.Dot)
	}
	const vectors = 4 // of words, in both dialects
	k, err := pl.kernel(ctx, name, words(g.lx(), 1, 1, g.bm, g.bn, g.bk, g.tm, g.tn, int(post.chain), int(post.result), vectors)...)
	if err != nil {
		return err
	}
	to := dst
	if g.parts > 1 {
		to = pl.scratch(int64(g.parts) * g.results())
	}
	gx, groups := flat(ceilDiv(g.pixels(ph), g.bn)*g.blocks(), 1)
	groups[2] = g.conv.groups * g.parts
	d, h, w := ph.axis[0], ph.axis[1], ph.axis[2]
	oc := g.conv.groups * g.ocg
	err = pl.grid(&pl.run, k, groups, append(uses, post.par, post.res, post.quant, to), words(g.ocg, oc, g.in[1], g.in[2],
		[3]int{d.Out, h.Out, w.Out}, [3]int{d.Stride, h.Stride, w.Stride}, g.pixels(ph), gx,
		g.slices(ph), g.per(ph), g.parts, int(g.results()), g.sn, g.sg, g.n*g.sn)...)
	if err != nil || g.parts == 1 {
		return err
	}
	pl.info.Why += fmt.Sprintf("; the reduction is cut into %d parts, as there are few tiles", g.parts)
	return pl.sumParts(ctx, to, dst, int(g.results()), g.parts, post, oc, g.dc, false)
}
