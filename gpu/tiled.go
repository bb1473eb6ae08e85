package gpu

import (
	"cmp"
	"context"
	"slices"

	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/shaders"
)

// igemm_local: the implicit GEMM for GPUs (kernel conv_tiled). Work-groups share tiles of weights and of gathered pixels in
// local memory, twice, so that one is computed with while the next is fetched. Padding is tested for where pixels are
// gathered; there is no padded copy. Where a problem has too few tiles for the device, the reduction is cut into parts that
// sum_parts adds in order. On CPUs, which have no local memory worth the name, it runs if it is asked for, by kernels that
// all shapes share. The tile "generic=1" asks for these anywhere.
//
// A 1×1 convolution with groups is a batched product: for each of `groups` batches g and each image,
// dst[g][m][q] = Σ wei[g][m][k]·src[g][k][q] over k, m counting a group's output channels, k its input channels and q a
// plane's elements, all dense and row-major. Such a product between other steps of a plan is
//
//	g, err := newTiledGemm(pl.dev, &p, "", false)     // p: problem.NewConv of that 1×1 convolution
//	w, err := g.packTiles(ctx, pl, &pl.pack, weights) // weights: f32, stored by steps of pl.pack
//	err = g.add(ctx, pl, src, w, post, dst)           // operands of the steps of pl.run
//
// It goes by vectors (MODE 2 of the kernel) if planes are multiples of 4 elements: pad them with whatever is finite. g.cost
// is what the model expects, to be compared with other tilings.
//
// A gradient by the weights is such a convolution, too: of the wide side, whose images and channels change places, by the
// narrow side as weights, with strides for dilations and dilations for strides. Each run packs the narrow side.

// tiledName is the algorithm's name, and anyShape a tile whose kernels serve any shape: a few, for the modes and the chains
// of post-operations.
const (
	tiledName = "igemm_local"
	anyShape  = "bm=64,bn=64,bk=16,tm=8,tn=4,generic=1"
)

// Modes of conv_tiled.
const (
	bySlices = iota
	flatRows
	wideRows
	byOffsets // of conv_dot, which has no other
)

// tiledGemm is the geometry of one plan.
type tiledGemm struct {
	phased
	bm, bn, bk int // a work-group's channels and pixels, and the rows of the reduction that it fetches at a time
	tm, tn     int // a work-item's channels and pixels
	parts      int // of the reduction
	generic    int // 1: kernels take the shape from parameters, so that plans share them
	n          int // images
	gradient   bool
	half       bool   // of source and result, as they lie in memory
	terms      string // the kernel's variant that sums in f16, or empty …
	short      int    // … and how many products it does before f32 has the sum
	bytes      bool   // of integers: igemm_dot, whose channels count by fours
	// How far apart images, groups and channels of the source are, and images and channels of the result.
	sn, sg, sc, dn, dc int
	largest            int64
}

// tiledShapes are the tiles that are worth considering, bm, bn, bk, tm and tn of each.
var tiledShapes = [][5]int{
	{128, 128, 16, 8, 8}, {128, 128, 8, 8, 8}, {256, 64, 8, 8, 8}, {128, 64, 16, 8, 8}, {128, 64, 8, 8, 4}, {64, 128, 16, 8, 8},
	{64, 128, 8, 4, 8}, {64, 64, 16, 8, 8}, {64, 64, 16, 8, 4}, {64, 64, 16, 4, 4}, {128, 32, 16, 8, 4}, {64, 32, 16, 4, 4},
	{32, 128, 8, 4, 8}, {32, 64, 16, 4, 4}, {32, 32, 16, 4, 4}, {32, 32, 8, 4, 4}, {16, 64, 16, 4, 4}, {16, 128, 8, 4, 4},
}

// smallTile is what devices that are no GPU take, which would not be faster with another.
var smallTile = [5]int{32, 32, 8, 4, 4}

// mostWaves is how often all units of a device take a work-group each, at most, when a reduction is cut into parts.
const mostWaves = 4

// newTiledGemm lays a convolution or a transposed one out, with the tile of the text or the model's choice,
// for tensors of halves or of floats.
func newTiledGemm(d *Device, p *problem.Problem, tile string, half bool) (*tiledGemm, error) {
	base := tiledGemmOf(p)
	base.half = half
	return base.tiled(d, tile)
}

// tiled is the convolution with the tile of the text or the model's choice.
func (base tiledGemm) tiled(d *Device, tile string) (*tiledGemm, error) {
	base.largest = d.binding / 4
	base.generic = flag(!base.bytes && (base.kinds() > mostKernels || d.class() != gpuClass))
	base.shape(smallTile)
	shapes := tiledShapes
	if d.class() != gpuClass {
		shapes = [][5]int{smallTile}
	}
	g := base.best(d, shapes)
	if tile != "" {
		g.parts, g.generic = 0, 0
		tunables := g.tile()
		if !g.bytes {
			tunables = append(tunables, tunable{"generic", &g.generic})
		}
		if err := setTile(tunables, tile); err != nil {
			return nil, err
		}
		if g.parts == 0 {
			g = g.best(d, [][5]int{{g.bm, g.bn, g.bk, g.tm, g.tn}})
		}
	}
	return &g, cmp.Or(g.tilable(d), g.fits(d))
}

// tiledGemmOf is the convolution that computes a problem.
func tiledGemmOf(p *problem.Problem) tiledGemm {
	if p.Dir == problem.BackwardWeights {
		c := convOf(p)
		g := tiledGemm{gradient: true, parts: 1, n: c.wideG}
		g.phased = phased{conv: c, in: c.wide, out: c.k, icg: c.n, ocg: c.narrowG, phases: make([]phase, 1)}
		ph := &g.phases[0]
		for i := range ph.axis {
			ph.axis[i] = problem.Axis{In: c.wide[i], Out: c.k[i], Kernel: c.narrow[i], Stride: c.d[i], PadL: c.p[i], Dilation: c.s[i]}
			ph.step[i], ph.every[i] = 1, 1
		}
		g.sn, g.dn = volume(g.in), volume(g.out)
		g.sg, g.sc, g.dc = c.wideG*g.sn, c.groups*c.wideG*g.sn, c.wideG*g.dn
		return g
	}
	g := tiledGemm{phased: phasedOf(p), parts: 1, n: p.N, bytes: p.Integer()}
	if g.bytes {
		g.icg = ceilDiv(g.icg, 4)
		g.in = g.padded()
	}
	g.sc, g.dc = volume(g.in), volume(g.out)
	g.sg = g.icg * g.sc
	g.sn, g.dn = g.conv.groups*g.sg, g.conv.groups*g.ocg*g.dc
	return g
}

// packing is how the weights lie that packTiles packs: those of the problem, or the narrow side.
func (g *tiledGemm) packing() layout {
	if g.bytes {
		given := g.phased
		given.icg = g.conv.wideG
		l := given.weights()
		l.bytes = true
		return l
	}
	if !g.gradient {
		return g.weights()
	}
	rows := g.conv.narrow
	plane := volume(rows)
	return layout{
		group: g.ocg * plane, oc: plane, ic: g.conv.groups * g.ocg * plane, tap: [3]int{rows[1] * rows[2], rows[2], 1},
	}
}

// shape sets the tile.
func (g *tiledGemm) shape(s [5]int) { g.bm, g.bn, g.bk, g.tm, g.tn = s[0], s[1], s[2], s[3], s[4] }

// tile is what describes the tile.
func (g *tiledGemm) tile() []tunable {
	list := []tunable{{"bm", &g.bm}, {"bn", &g.bn}, {"bk", &g.bk}, {"tm", &g.tm}, {"tn", &g.tn}, {"parts", &g.parts}}
	if g.terms != "" {
		list = append(list, tunable{"short", &g.short})
	}
	return list
}

// text is the tile as PlanOptions.Tile takes it.
func (g *tiledGemm) text() string {
	list := g.tile()
	if g.generic > 0 {
		list = append(list, tunable{"generic", &g.generic})
	}
	return tileText(list)
}

// best is the first of the choices, or the tile as it is, in one part, if there is none.
func (g tiledGemm) best(d *Device, shapes [][5]int) tiledGemm {
	if all := g.choices(d, shapes); len(all) > 0 {
		return all[0]
	}
	g.parts = 1
	return g
}

// choices are the tiles of these shapes with which the device can run it, cheapest first by the model.
func (g tiledGemm) choices(d *Device, shapes [][5]int) []tiledGemm {
	type choice struct {
		tiledGemm
		cost float64
	}
	var all []choice
	room := int(g.largest / max(1, g.results())) // parts whose sums a kernel can bind
	for _, s := range shapes {
		g.shape(s)
		g.parts = 0
		groups := g.most(g.groups)
		least := ceilDiv(g.passes()*2*g.most(g.slices), max(1, d.proof.LoopLimit-loopsBeside))
		for waves := range mostWaves + 1 {
			parts := max(1, least, min(room, d.units()*waves/groups))
			if parts <= g.parts {
				continue
			}
			if g.parts = parts; g.tilable(d) == nil && g.fits(d) == nil {
				all = append(all, choice{g, g.cost(d)})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b choice) int { return cmp.Compare(a.cost, b.cost) })
	sorted := make([]tiledGemm, len(all))
	for i, c := range all {
		sorted[i] = c.tiledGemm
	}
	return sorted
}

func (g *tiledGemm) lx() int { return g.bm / g.tm * (g.bn / g.tn) }

// blocks of output channels in a group.
func (g *tiledGemm) blocks() int { return ceilDiv(g.ocg, g.bm) }

// pixels of a phase, all images'.
func (g *tiledGemm) pixels(ph *phase) int {
	return g.n * ph.axis[0].Out * ph.axis[1].Out * ph.axis[2].Out
}

// groups is how many work-groups a phase's results take.
func (g *tiledGemm) groups(ph *phase) int {
	return ceilDiv(g.pixels(ph), g.bn) * g.blocks() * g.conv.groups
}

// results is how many there are, of all phases.
func (g *tiledGemm) results() int64 {
	return int64(g.n) * int64(g.conv.groups) * int64(g.ocg) * int64(volume(g.out))
}

// mode of the kernel for a phase: the one that costs less.
func (g *tiledGemm) mode(ph *phase) int {
	if g.bytes {
		return byOffsets
	}
	a := ph.axis
	n := a[2].Out
	one := problem.Axis{In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: a[0].Dilation}
	other := problem.Axis{In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: a[1].Dilation}
	row := problem.Axis{In: n, Out: n, Kernel: 1, Stride: 1, Dilation: a[2].Dilation}
	if !g.gradient && !g.half && n%4 == 0 && a == [3]problem.Axis{one, other, row} && volume(g.out) == n {
		return wideRows
	}
	if float64(g.rows(ph, flatRows))*g.sliceCost(flatRows) < float64(g.rows(ph, bySlices))*g.sliceCost(bySlices) {
		return flatRows
	}
	return bySlices
}

// rows of a phase's reduction, in whole slices.
func (g *tiledGemm) rows(ph *phase, mode int) int {
	switch {
	case ph.empty:
		return 0
	case mode == flatRows || mode == byOffsets:
		return roundUp(g.icg*ph.taps(), g.bk)
	}
	return roundUp(g.icg, g.bk) * ph.taps()
}

// slices of a phase's reduction.
func (g *tiledGemm) slices(ph *phase) int { return g.rows(ph, g.mode(ph)) / g.bk }

// per is how many slices a part of a phase has.
func (g *tiledGemm) per(ph *phase) int { return ceilDiv(g.slices(ph), g.parts) }

// packed is the size of a phase's packed weights.
func (g *tiledGemm) packed(ph *phase) int64 {
	return int64(g.conv.groups) * int64(g.blocks()) * int64(g.bm) * int64(g.rows(ph, g.mode(ph)))
}

// loopsBeside is what a work-item may loop beside its slices.
const loopsBeside = 64

// mostStride is what the kernel's parameters hold of a stride or a dilation.
const mostStride = 32767

// tilable says why the kernel or the device cannot take the tile, or nil.
func (g *tiledGemm) tilable(d *Device) error {
	switch {
	case g.tm%4 != 0 || g.tn%4 != 0 || g.bm%g.tm != 0 || g.bn%g.tn != 0:
		return unsupported("a tile of %d×%d by %d×%d: it takes multiples, and of 4", g.bm, g.bn, g.tm, g.tn)
	case g.bn/g.tn > 8 && g.bn/g.tn%8 != 0:
		return unsupported("%d work-items across %d pixels: it takes less than 8, or eights", g.bn/g.tn, g.bn)
	case g.lx()%g.bn != 0 || g.bk%(g.lx()/g.bn) != 0:
		return unsupported("%d work-items cannot gather %d rows of %d pixels evenly", g.lx(), g.bk, g.bn)
	case g.tm*g.tn > maxTileFloats || g.tm*g.tn/4*g.bk > maxUnrolled:
		return unsupported("a tile of %d×%d sums and %d rows is too large to compile", g.tm, g.tn, g.bk)
	case g.lx() > d.limits.MaxGroupItems || g.lx() > d.limits.MaxGroupSize[0]:
		most := min(d.limits.MaxGroupItems, d.limits.MaxGroupSize[0])
		return unsupported("groups of %d work-items: the device has up to %d", g.lx(), most)
	case g.terms != "" && (g.bk%g.short != 0 || g.short > mostShort):
		return unsupported("sums of %d products in slices of %d: it takes what divides them, up to %d", g.short, g.bk, mostShort)
	case g.localBytes() > d.limits.LocalBytes:
		return unsupported("%d bytes of local memory, the device has %d", g.localBytes(), d.limits.LocalBytes)
	case g.generic > 1:
		return unsupported("generic is 1 or not given")
	}
	return nil
}

// localBytes is the local memory of a work-group: two slices of weights and of pixels.
func (g *tiledGemm) localBytes() int64 {
	elems := int64(2 * g.bk * (g.bm + g.bn))
	switch g.terms {
	case shaders.Packed:
		return 2*elems + 4 // the flag
	case shaders.Rounded:
		return 4*elems + 4
	}
	return 4 * elems
}

// passes is how often a work-item may run its slices: sums in f16 that overflow are formed once more.
func (g *tiledGemm) passes() int { return 1 + flag(g.terms != "") }

// fits says why the device cannot run it, or nil.
func (g *tiledGemm) fits(d *Device) error {
	longest, packed := 0, int64(0)
	for i := range g.phases {
		ph := &g.phases[i]
		longest, packed = max(longest, g.slices(ph)), max(packed, g.packed(ph))
		for _, a := range ph.axis {
			if max(a.Stride, a.Dilation) > mostStride {
				return unsupported("a stride or dilation of %d, the kernel takes up to %d", max(a.Stride, a.Dilation), mostStride)
			}
		}
	}
	switch {
	case packed > g.largest:
		return unsupported("the packed weights are larger than the largest buffer")
	case g.parts > 1 && (g.parts > longest || g.parts > mostParts):
		return unsupported("%d parts of %d slices", g.parts, longest)
	case g.parts > 1 && int64(g.parts)*g.results() > g.largest:
		return unsupported("the partial sums are larger than the largest buffer")
	case g.passes()*2*ceilDiv(longest, g.parts)+loopsBeside > d.proof.LoopLimit:
		return unsupported("a reduction of %d slices is too long for this driver's loops", ceilDiv(longest, g.parts))
	case int64(g.conv.groups)*int64(g.parts) > d.limits.MaxGroupCount[2]:
		return unsupported("too many groups of channels or parts")
	}
	return nil
}

// The model of cost counts what a lane issues, one FMA being 1. It only has to rank tiles.
const (
	unknownUnits = 64       // compute units of a device that doesn't say
	unitBytes    = 96 << 10 // local memory of a unit, of which a work-group has a part
	itemsToHide  = 512      // work-items on a unit that hide the latency of memory
	issuedByte   = 10       // FMA of a device in the time that a byte takes to or from memory
	cachedByte   = 5        // the same of its cache
	issuedLaunch = 500e3    // FMA of a unit in the time that another kernel takes to start
)

// units of the device that compute side by side.
func (d *Device) units() int {
	if d.info.ComputeUnits > 0 {
		return d.info.ComputeUnits
	}
	return unknownUnits
}

// sliceCost is what a work-item issues for a slice.
func (g *tiledGemm) sliceCost(mode int) float64 {
	sums := float64(g.tm * g.tn * g.bk)
	if g.terms != "" { // two at a time, and two instructions of each kind to add two short sums to floats
		sums *= 0.5 + 2/float64(g.short)
	}
	local := float64(g.bk*(g.tm+g.tn)) / 4 * 4 // four cycles for 32 lanes' 16 bytes
	weights := float64(g.bk*g.bm) / 4 / float64(g.lx()) * 3
	gathered := float64(g.bk*g.bn) / float64(g.lx())
	switch mode {
	case flatRows:
		gathered *= 24
	case byOffsets:
		gathered = gathered*3 + float64(g.tn*g.bk) // which sums the pixels' bytes
	case wideRows:
		gathered = gathered/4*3 + 6
	default:
		gathered = gathered*2.5 + 16
	}
	return sums + local + weights + gathered + 30
}

// cost is the time that the device is taken to need, in FMA of a compute unit's lane.
func (g *tiledGemm) cost(d *Device) float64 {
	units := d.units()
	lx := float64(g.lx())
	total := 0.0
	for i := range g.phases {
		ph := &g.phases[i]
		groups := g.groups(ph) * g.parts
		slices := float64(g.per(ph)) + 1 // the first is waited for
		slice := max(lx*g.sliceCost(g.mode(ph)), cachedByte*4*float64(g.bk*(g.bm+g.bn)))
		group := slices*slice + lx*float64(3*g.tm*g.tn)
		beside := min(float64(groups)/float64(units), float64(max(d.limits.LocalBytes, unitBytes)/g.localBytes()))
		hidden := min(1, 0.4+0.6*beside*lx/itemsToHide)
		total += float64(ceilDiv(groups, units)) * group / hidden
	}
	if g.parts > 1 {
		total += issuedLaunch + float64(g.parts+1)*4*float64(g.results())*issuedByte/float64(units)
	}
	return total
}

func canTiled(d *Device, p *problem.Problem) error {
	if err := canDirect(d, p); err != nil && canWeights(d, p) != nil {
		return err
	}
	c := convOf(p)
	gradient := p.Dir == problem.BackwardWeights
	switch {
	case gradient && (c.weights() == 0 || c.n == 0 || volume(c.narrow) == 0):
		return unsupported("there is nothing to sum")
	case p.Integer():
		return unsupported("integers")
	case !gradient && c.results() == 0:
		return unsupported("the result is empty")
	case !gradient && c.transposed && phasesIn(c) > mostPhases:
		return unsupported("a transposed convolution with strides of %v is more than %d convolutions", c.s, mostPhases)
	}
	_, err := newTiledGemm(d, p, "", false)
	return err
}

// worthTiled says whether the device is one for such tiles, the work pays for its compilations, and the groups fill a tile.
func worthTiled(d *Device, p *problem.Problem) bool {
	if d.class() != gpuClass || !worthIgemm(d, p) {
		return false
	}
	g, err := newTiledGemm(d, p, "", false)
	return err == nil && roundUp(g.ocg, g.bm) <= 2*g.ocg
}

func buildTiled(ctx context.Context, pl *plan) error {
	if pl.core.Dir == problem.BackwardWeights {
		return pl.tiledWeights(ctx)
	}
	c := convOf(&pl.core)
	return pl.tiledConv(ctx, &pl.core, pl.outputOf(c.dst, c.src))
}

// tiledTiles lists the model's first choices.
func tiledTiles(d *Device, p *problem.Problem) []string {
	own, err := newTiledGemm(d, p, "", false)
	if err != nil || d.class() != gpuClass {
		return nil
	}
	texts := own.others(d)
	return texts[:min(len(texts), maxTiles)]
}

// others are the tiles that it could have as well: each with its best number of parts, then whatever comes next.
func (g *tiledGemm) others(d *Device) []string {
	var first, rest []string
	seen := map[[5]int]bool{{g.bm, g.bn, g.bk, g.tm, g.tn}: true}
	all := g.choices(d, tiledShapes)
	for i := range all {
		o := &all[i]
		switch shape := [5]int{o.bm, o.bn, o.bk, o.tm, o.tn}; {
		case o.text() == g.text():
		case !seen[shape]:
			seen[shape] = true
			first = append(first, o.text())
		default:
			rest = append(rest, o.text())
		}
	}
	return append(first, rest...)
}
