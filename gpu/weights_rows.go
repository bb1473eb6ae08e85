package gpu

import (
	"context"
	"fmt"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// Backward by weights of groups of few channels, the kernel weights_rows: work-items walk down strips with the sums of one
// pair of channels in registers, so each pair reads its two planes once.

// weightsRows is the geometry of one plan.
type weightsRows struct {
	walk
	h, w          problem.Axis
	planes        int // pairs of channels
	units, per    int // strips of all images, and how many of them make a part
	parts, xparts int // parts of the units and of the columns
}

// mostPairs is how many channels of a group go with each of its others: their planes are read again for each pair.
const mostPairs = 8

// fewChannels are so few on both sides of a group that a matrix product is slower: measured with 4, llvmpipe 7.5 → 3.6 ms.
const fewChannels = 4

func newWeightsRows(d *Device, p *problem.Problem) *weightsRows {
	c := convOf(p)
	g := &weightsRows{planes: c.groups * c.narrowG * c.wideG, xparts: 1}
	g.h, g.w = p.Axes[1], p.Axes[2]
	for i, a := range []*problem.Axis{&g.h, &g.w} {
		a.In, a.Out = c.wide[i+1], c.narrow[i+1]
	}
	g.walk = newWalk(d, c.n*g.planes, g.h, g.w)
	if d.class() == gpuClass {
		g.xparts = g.xt // neighbours read neighbouring columns
	}
	g.units = c.n * g.strips * g.step
	wanted := max(1, min(mostParts/g.xparts, ceilDiv(d.busy(), g.planes*g.xparts), g.units))
	g.per = ceilDiv(g.units, wanted)
	for g.iterations() > d.proof.LoopLimit && g.per > 1 {
		g.per = ceilDiv(g.per, 2)
	}
	for g.iterations() > d.proof.LoopLimit && g.xparts < g.xt {
		g.xparts = min(2*g.xparts, g.xt)
	}
	g.parts = ceilDiv(g.units, g.per)
	return g
}

// iterations and exits of a work-item's loops, at most.
func (g *weightsRows) iterations() int {
	return 1 + g.per*(2+ceilDiv(g.xt, g.xparts)*(g.rows+g.h.Kernel+2))
}

func canWeightsRows(d *Device, p *problem.Problem) error {
	if err := canSumWeights(d, p); err != nil {
		return err
	}
	c := convOf(p)
	switch {
	case !withoutDepth(p.Axes[0]):
		return unsupported("a kernel with depth")
	case min(c.wideG, c.narrowG) > mostPairs:
		return unsupported("groups of more than %d channels", mostPairs)
	case c.taps() > mostDepthwiseTaps:
		return unsupported("a kernel of %d taps does not stay in registers", c.taps())
	case max(c.wide[2], c.narrow[2]) > maxDivisor:
		return unsupported("rows of more than %d columns", maxDivisor)
	case (c.k[2]-1)*c.d[2] > mostColumns:
		return unsupported("a dilation that keeps more than %d columns", mostColumns)
	}
	g := newWeightsRows(d, p)
	switch {
	case g.iterations() > d.proof.LoopLimit || g.parts*g.xparts > mostParts:
		return unsupported("planes of %d×%d are too much for one sum", g.h.Out, g.w.Out)
	case int64(g.parts)*int64(g.xparts)*int64(c.weights()) > d.binding/4:
		return unsupported("the partial sums are larger than the largest buffer")
	}
	return nil
}

// worthWeightsRows says whether the work pays for a compilation, and groups are too narrow for a matrix product.
func worthWeightsRows(d *Device, p *problem.Problem) bool {
	c := convOf(p)
	return p.FLOPs() >= depthwiseWorth && (max(c.wideG, c.narrowG) <= fewChannels || 2*c.narrowG < d.limits.VectorWidth)
}

func buildWeightsRows(ctx context.Context, pl *plan) error {
	g := newWeightsRows(pl.dev, &pl.core)
	c := convOf(&pl.core)
	wide, narrow, err := pl.sides(ctx)
	if err != nil {
		return err
	}
	k, err := pl.kernel(ctx, "weights_rows", words(int(pl.dev.walkGroup()), 1, 1, g.h.Kernel, g.w.Kernel, g.h.Stride, g.w.Stride,
		g.h.Dilation, g.w.Dilation, g.step, g.move, g.tx, g.rw, g.quads, g.offset, g.whole)...)
	if err != nil {
		return err
	}
	to := pl.output(problem.DiffWei)
	dst, parts := to, g.parts*g.xparts
	if parts > 1 {
		to = pl.scratch(int64(parts) * int64(c.weights()))
	}
	pl.info.Tile = fmt.Sprintf("strips of %d rows × %d×%d columns, group %d", g.rows, g.tx, g.rw, pl.dev.walkGroup())
	pl.info.Why = fmt.Sprintf("few channels in a group: their planes are read by rows, in %d parts", parts)
	err = pl.each(&pl.run, k, g.planes*parts, []operand{wide, wide, narrow, narrow, to}, words(c.wideG, c.narrowG, c.groups,
		g.h.In, g.w.In, g.h.Out, g.w.Out, g.h.PadL, g.w.PadL, g.xt, g.xparts, g.strips, g.rows, g.units, g.per,
		c.n*c.groups*c.wideG*g.h.In*g.w.In-1, c.n*c.groups*c.narrowG*g.h.Out*g.w.Out-1)...)
	if err != nil || parts == 1 {
		return err
	}
	return pl.sumParts(ctx, to, dst, c.weights(), parts, noPosts, 1, 1, false)
}
