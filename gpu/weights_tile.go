package gpu

import (
	"context"
	"fmt"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// Backward by weights as a matrix product: register tiles of the weights over packed positions, chunk by chunk, so that
// what a chunk reads stays in the cache.

// weightsTile is the geometry of one plan. Sizes are floats and elements; triples are depth, height and width.
type weightsTile struct {
	conv            *conv
	vw, lx, share   int
	tc, ti, tj, tn  int
	ux              int
	tiles, ocb      int // of the weights of a group: of wide channels and taps, of narrow channels
	inPlace         bool
	chunk           [3]int // images, slices and rows of narrow
	volume          [3]int // slices, rows and columns of a channel of the padded copy
	padded, packed  int64
	parts, per      int // of a chunk's rows
	largest         int64
	loopLimit, quad int
}

// positionsOfChunk are enough for its partial sums to cost little.
const positionsOfChunk = 1024

// newWeightsTile lays a gradient out for the device.
func newWeightsTile(d *Device, p *problem.Problem) *weightsTile {
	c := convOf(p)
	g := &weightsTile{
		conv: c, vw: d.limits.VectorWidth, lx: 1, ti: 1, tn: 1, ux: 4, quad: 1,
		largest: d.binding / 4, loopLimit: d.proof.LoopLimit,
	}
	if d.limits.GLSL {
		g.quad = 4
	}
	g.tj = c.k[2]
	if g.tj > 14 {
		g.tj = 8
	}
	switch d.class() {
	case straight:
		registers := 10
		if g.vw == 16 {
			registers = 14
		}
		if g.tj > registers {
			g.tj = 8
		}
		g.tc = min(c.wideG, max(1, registers/g.tj))
	case lanes:
		g.lx = simdLanes
		if d.limits.ShuffleLanes > 0 {
			g.lx, g.share = d.limits.ShuffleLanes, d.limits.ShuffleLanes
		}
		if c.k[1]*g.tj <= 9 {
			g.ti = c.k[1]
		}
		g.tc = min(c.wideG, max(1, 8/(g.ti*g.tj)))
		g.tn = min(4, ceilDiv(c.narrowG, 4))
	case gpuClass:
		g.lx = 64
		g.tc = min(c.wideG, max(1, 4/g.tj))
		g.tn = max(1, 8/g.vw)
	}
	g.ocb = ceilDiv(c.narrowG, g.tn*g.vw)
	g.tiles = ceilDiv(c.wideG, g.tc) * c.k[0] * (c.k[1] / g.ti) * ceilDiv(c.k[2], g.tj)
	g.chunk = [3]int{c.n, c.narrow[0], c.narrow[1]}
	g.fit(d)
	groups := ceilDiv(g.tiles, g.lx) * g.ocb * c.groups
	rows := volume(g.chunk)
	g.per = ceilDiv(rows, min(rows, mostParts, ceilDiv(d.busy()/4, groups)))
	g.per = max(1, min(g.per, (g.loopLimit-1)/(3+c.narrow[2]/g.ux)))
	g.parts = ceilDiv(rows, g.per)
	return g
}

// span is what results positions along an axis read of wide.
func (g *weightsTile) span(i, results int) int {
	taps := g.conv.k[i]
	if i == 2 {
		taps = roundUp(taps, g.tj)
	}
	return (results-1)*g.conv.s[i] + (taps-1)*g.conv.d[i] + 1
}

// fit cuts the work into chunks that fit the cache and the largest buffer.
func (g *weightsTile) fit(d *Device) {
	c := g.conv
	wide := c.wide
	g.inPlace = wide[2]%g.quad == 0 && (c.p[1]*wide[2]+c.p[2])%g.quad == 0
	for i, results := range c.narrow {
		g.inPlace = g.inPlace && c.p[i] <= 0 && roundUp(g.span(i, results), []int{1, 1, g.quad}[i])-c.p[i] <= wide[i]
	}
	for {
		positions := volume(g.chunk) * c.narrow[2]
		g.packed = (int64(positions)*int64(c.groups*g.ocb*g.tn) + int64(g.share)) * int64(g.vw)
		if g.volume = wide; !g.inPlace {
			g.volume = [3]int{g.span(0, g.chunk[1]), g.span(1, g.chunk[2]), roundUp(g.span(2, c.narrow[2]), max(g.vw, g.quad))}
			g.padded = int64(g.chunk[0]) * int64(c.groups*c.wideG) * int64(volume(g.volume))
		}
		small := g.padded+g.packed <= d.chunkBytes()/4 || positions < 2*positionsOfChunk
		if max(g.padded, g.packed) <= g.largest && small {
			return
		}
		halved := false
		for i := range g.chunk {
			if g.chunk[i] > 1 {
				g.chunk[i] = ceilDiv(g.chunk[i], 2)
				halved = true
				break
			}
		}
		if !halved {
			return
		}
	}
}

func canTileWeights(d *Device, p *problem.Problem) error {
	if err := canSumWeights(d, p); err != nil {
		return err
	}
	c := convOf(p)
	switch {
	case d.limits.GLSL && d.limits.ShuffleLanes == 0:
		return unsupported("the device has no subgroup shuffles")
	case 2*c.narrowG < d.limits.VectorWidth:
		return unsupported("%d output channels in a group leave most of a vector idle", c.narrowG)
	}
	g := newWeightsTile(d, p)
	switch {
	case max(g.padded, g.packed, int64(g.parts)*int64(c.weights())) > g.largest:
		return unsupported("a row of the padded source or the partial sums are larger than the largest buffer")
	case int64(c.groups)*int64(g.ocb) > d.limits.MaxGroupCount[2] || int64(g.parts) > d.limits.MaxGroupCount[1] || g.parts > mostParts:
		return unsupported("too many blocks of output channels or parts of the sums")
	case 3+c.narrow[2]/g.ux >= d.proof.LoopLimit:
		return unsupported("rows of %d are too long for this driver's loops", c.narrow[2])
	}
	return nil
}

func buildTileWeights(ctx context.Context, pl *plan) error {
	g := newWeightsTile(pl.dev, &pl.core)
	c := g.conv
	wide, narrow, err := pl.sides(ctx)
	if err != nil {
		return err
	}
	tunables := append([]int32{int32(g.lx), 1, 1}, words(c.wideG, c.narrowG, c.narrow[2], c.k, c.s, c.d, g.volume[0], g.volume[1]*g.volume[2],
		g.volume[2], g.tc, g.ti, g.tj, g.tn, g.ux, g.share)...)
	k, err := pl.kernel(ctx, "conv_weights_tile", tunables...)
	if err != nil {
		return err
	}
	packing, err := pl.kernel(ctx, "pack_rows", int32(pl.dev.padItems()), 1, 1)
	if err != nil {
		return err
	}
	padding, padded := (*kernel)(nil), wide
	if !g.inPlace {
		if padding, err = pl.padding(ctx, problem.F32); err != nil {
			return err
		}
		padded = pl.scratch(g.padded)
	}
	packed := pl.scratch(g.packed)
	to := pl.output(problem.DiffWei)
	dst := to
	if g.parts > 1 {
		to = pl.scratch(int64(g.parts) * int64(c.weights()))
	}
	count := 0
	chunks([3]int{c.n, c.narrow[0], c.narrow[1]}, g.chunk, func(first, size [3]int) {
		if err == nil {
			err = g.add(pl, k, packing, padding, first, size, []operand{wide, narrow, padded, packed, to})
		}
		count++
	})
	if err != nil {
		return err
	}
	pl.info.Tile = fmt.Sprintf("%d×%d×%d taps × %d×%d channels, group %d", g.tc, g.ti, g.tj, g.tn, g.vw, g.lx)
	pl.info.Why = fmt.Sprintf("%.3g GFLOP are worth a kernel compiled for the shape; %d chunks of %d parts", pl.core.FLOPs()*1e-9, count, g.parts)
	if g.parts == 1 {
		return nil
	}
	return pl.sumParts(ctx, to, dst, c.weights(), g.parts, noPosts, 1, 1, false)
}

// add adds the sums over a chunk: its padded and its packed copy, and the products.
func (g *weightsTile) add(pl *plan, k, packing, padding *kernel, first, size [3]int, uses []operand) error {
	c := g.conv
	wide, narrow, padded, packed, to := uses[0], uses[1], uses[2], uses[3], uses[4]
	ic, oc := c.groups*c.wideG, c.groups*c.narrowG
	base := 0
	if g.inPlace {
		at := [3]int{first[1]*c.s[0] - c.p[0], first[2]*c.s[1] - c.p[1], -c.p[2]}
		base = first[0]*ic*volume(c.wide) + (at[0]*c.wide[1]+at[1])*c.wide[2] + at[2]
	} else {
		left := [3]int{c.p[0] - first[1]*c.s[0], c.p[1] - first[2]*c.s[1], c.p[2]}
		if err := pl.padPlanes(padding, first[0]*ic, size[0]*ic, c.wide, g.volume, left, wide, none, padded); err != nil {
			return err
		}
	}
	rows, channel, plane := volume(size), volume(c.narrow), c.narrow[1]*c.narrow[2]
	length := min(c.narrow[2], map[class]int{straight: 64, lanes: 4, gpuClass: 1}[pl.dev.class()]) // positions of a work-item
	blocks, parts := c.groups*g.ocb, ceilDiv(c.narrow[2], length)
	err := pl.each(&pl.run, packing, blocks*rows*parts, []operand{narrow, packed}, words(c.narrowG, g.ocb, g.tn, rows, size[1], size[2],
		c.narrow[2], first[0]*oc*channel+first[1]*plane+first[2]*c.narrow[2], oc*channel, channel, plane, parts, length)...)
	if err != nil {
		return err
	}
	groups := [3]int{ceilDiv(g.tiles, g.lx), g.parts, blocks}
	return pl.grid(&pl.run, k, groups, []operand{padded, packed, to},
		words(base, ic*volume(g.volume), c.weights(), rows, g.per, size[1], size[2], flag(first == [3]int{}))...)
}
