package gpu

import (
	"cmp"
	"slices"

	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/gpu/hal"
)

// The geometry of igemm_coopmat and its tiles.

// matrixGemm is the geometry of one plan.
type matrixGemm struct {
	phased
	fragment         hal.Matrix
	lanes            int // of a subgroup
	bm, bn, bk       int // a work-group's tile of channels and pixels, and the channels of a slice
	wm, wn           int // a subgroup's part of it
	parts            int // of the reduction
	largest          int64
	srcLast, dstLast bool // channels are behind their cells
	emulated         bool
}

// matrixTiles are the tiles that are worth considering: channels, pixels and depth of a work-group's, channels and pixels of a
// subgroup's. Which of them suit depends on the device's matrices and subgroups.
var matrixTiles = [][5]int{
	{256, 128, 32, 64, 64}, {128, 256, 32, 64, 64}, {256, 128, 16, 64, 64}, {128, 256, 16, 64, 64}, {128, 128, 32, 64, 64},
	{128, 128, 32, 64, 32}, {128, 128, 32, 32, 64}, {128, 128, 16, 64, 32}, {128, 64, 32, 64, 32}, {128, 64, 32, 32, 32},
	{128, 64, 32, 16, 32}, {64, 256, 32, 64, 32}, {64, 128, 32, 64, 32}, {64, 128, 32, 32, 32}, {64, 64, 64, 32, 32},
	{64, 64, 32, 64, 16}, {64, 64, 32, 32, 32}, {64, 64, 32, 16, 32}, {64, 64, 16, 32, 32}, {64, 32, 32, 16, 16},
	{32, 128, 32, 32, 32}, {32, 64, 32, 16, 32}, {32, 64, 16, 32, 16}, {32, 64, 32, 16, 16}, {32, 32, 32, 16, 16},
	{32, 32, 16, 16, 16}, {16, 64, 32, 16, 16},
}

// emulatedTile is what the emulation takes by itself: each matrix more of a subgroup is compiled as a loop of its own.
var emulatedTile = [5]int{32, 32, 16, 16, 16}

// newMatrixGemm lays a problem, as it is given, out for the device, with the tile of the text or the model's choice.
func newMatrixGemm(d *Device, p *problem.Problem, tile string, emulated bool) (*matrixGemm, error) {
	core := p.Core()
	g := matrixGemm{
		phased: phasedOf(&core), fragment: d.proof.Matrix, lanes: d.limits.SubgroupLanes, emulated: emulated,
		largest: min(d.binding/4, maxElements),
	}
	if emulated {
		g.fragment, g.lanes = emulatedMatrix, d.emulatedLanes
	}
	g.srcLast = p.LayoutOf(g.conv.src) == problem.NHWC
	g.dstLast = p.LayoutOf(g.conv.dst) == problem.NHWC
	g.shape(emulatedTile)
	if tile != "" {
		if err := setTile(g.tunables(), tile); err != nil {
			return nil, err
		}
		if g.parts > 0 {
			return &g, g.fits(d)
		}
	}
	shapes := matrixTiles
	if emulated || tile != "" {
		shapes = [][5]int{{g.bm, g.bn, g.bk, g.wm, g.wn}}
	}
	if all := g.choices(d, shapes); len(all) > 0 {
		return &all[0], nil
	}
	if g.parts = 1; tile != "" || emulated {
		return &g, g.fits(d)
	}
	return nil, unsupported("no tile of matrices %v with subgroups of %d fits the problem and the device", g.fragment, g.lanes)
}

// shape sets the tile. How many parts is left open.
func (g *matrixGemm) shape(s [5]int) {
	g.bm, g.bn, g.bk, g.wm, g.wn, g.parts = s[0], s[1], s[2], s[3], s[4], 0
}

// tunables are what it can be tuned by.
func (g *matrixGemm) tunables() []tunable {
	return []tunable{{"bm", &g.bm}, {"bn", &g.bn}, {"bk", &g.bk}, {"wm", &g.wm}, {"wn", &g.wn}, {"parts", &g.parts}}
}

// choices are the tiles of these shapes with which the device can run it, in one part and in as many as keep it busy, cheapest
// first by the model.
func (g matrixGemm) choices(d *Device, shapes [][5]int) []matrixGemm {
	units := d.units()
	if g.emulated {
		units = 8 // so that there are parts
	}
	var all []matrixGemm
	for _, s := range shapes {
		g.shape(s)
		if g.tilable(d) != nil {
			continue
		}
		longest := g.most(func(ph *phase) int { return g.slices(ph) })
		for waves := range mostWaves {
			parts := max(1, min(units*waves/g.groups(), longest/8, mostMatrixParts))
			if parts <= g.parts {
				continue
			}
			if g.parts = parts; g.fits(d) == nil {
				all = append(all, g)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b matrixGemm) int { return cmp.Compare(a.cost(units, d), b.cost(units, d)) })
	return all
}

// mostMatrixParts: partial sums are floats, twice as large as the result.
const mostMatrixParts = 16

// native says whether the result goes to its place at once.
func (g *matrixGemm) native() bool { return g.parts <= 1 }

// groups is how many work-groups a part of the phases takes.
func (g *matrixGemm) groups() int {
	n := 0
	for i := range g.phases {
		n += ceilDiv(g.pixels(&g.phases[i]), g.bn) * ceilDiv(g.ocg, g.bm) * g.conv.groups
	}
	return max(1, n)
}

// items of a work-group.
func (g *matrixGemm) items() int { return g.bm / g.wm * (g.bn / g.wn) * g.lanes }

// laneSums is how many sums a lane of a subgroup holds.
func (g *matrixGemm) laneSums() int { return g.wm * g.wn / g.lanes }

// localBytes is the local memory of a work-group: two slices of weights and of pixels, and a matrix of each subgroup's sums.
func (g *matrixGemm) localBytes() int64 {
	const skew = 8
	size := 2 // of a half
	if g.emulated {
		size = 4
	}
	return int64(size*2*g.bk*(g.bm+g.bn+2*skew) + 4*g.items()/g.lanes*g.fragment.M*g.fragment.N)
}

// tilable says why the kernel or the device cannot take the tile, or nil.
func (g *matrixGemm) tilable(d *Device) error {
	f := g.fragment
	switch {
	case f.M == 0 || g.lanes == 0 || f.M*f.N%g.lanes != 0:
		return unsupported("matrices of %d×%d among %d lanes", f.M, f.N, g.lanes)
	case g.wm%f.M != 0 || g.wn%f.N != 0 || g.bk%f.K != 0:
		return unsupported("tiles of %d×%d×%d for a subgroup are no multiple of matrices of %d×%d×%d", g.wm, g.wn, g.bk, f.M, f.N, f.K)
	case g.bm%g.wm != 0 || g.bn%g.wn != 0:
		return unsupported("a tile of %d×%d is no multiple of a subgroup's %d×%d", g.bm, g.bn, g.wm, g.wn)
	case g.laneSums() > maxTileFloats || g.laneSums()*g.bk/4 > maxUnrolled:
		return unsupported("a tile of %d×%d×%d for a subgroup of %d is too large to compile", g.wm, g.wn, g.bk, g.lanes)
	case g.items() > d.limits.MaxGroupItems || g.items() > d.limits.MaxGroupSize[0]:
		most := min(d.limits.MaxGroupItems, d.limits.MaxGroupSize[0])
		return unsupported("groups of %d work-items: the device has up to %d", g.items(), most)
	case g.items()%g.bn != 0 || g.items()%g.bk != 0 || g.bk*g.bm%g.items() != 0 || g.bk*g.bn%g.items() != 0:
		return unsupported("%d work-items cannot fetch slices of %d×%d and %d×%d evenly", g.items(), g.bk, g.bm, g.bk, g.bn)
	case g.localBytes() > d.limits.LocalBytes:
		return unsupported("%d bytes of local memory, the device has %d", g.localBytes(), d.limits.LocalBytes)
	}
	return nil
}

// fits says why the device cannot run it, or nil.
func (g *matrixGemm) fits(d *Device) error {
	if err := g.tilable(d); err != nil {
		return err
	}
	longest := g.most(func(ph *phase) int { return g.slices(ph) })
	switch {
	case g.loops() > d.proof.LoopLimit && d.proof.LoopLimit > 0:
		return unsupported("a reduction of %d steps is too long for this driver's loops", g.loops())
	case !g.native() && (g.parts > longest || g.parts > mostMatrixParts):
		return unsupported("%d parts of %d slices", g.parts, longest)
	case !g.native() && int64(g.parts)*int64(g.conv.results()) > g.largest:
		return unsupported("the partial sums are larger than the largest buffer")
	case int64(g.conv.groups)*int64(g.parts) > d.limits.MaxGroupCount[2]:
		return unsupported("too many groups of channels or parts")
	}
	for i := range g.phases {
		if g.packed(&g.phases[i]) > g.largest {
			return unsupported("packed weights are larger than the largest buffer")
		}
	}
	return nil
}

// pixels of a phase, of all images.
func (g *matrixGemm) pixels(ph *phase) int {
	return g.conv.n * ph.axis[0].Out * ph.axis[1].Out * ph.axis[2].Out
}

// slices of a phase's reduction.
func (g *matrixGemm) slices(ph *phase) int {
	if ph.empty {
		return 0
	}
	return ceilDiv(g.icg, g.bk) * ph.taps()
}

// loops is how many iterations and exits a work-item runs at most.
func (g *matrixGemm) loops() int {
	fragments := g.wm / g.fragment.M * (g.wn / g.fragment.N)
	each := g.fragment.M*g.fragment.N/g.lanes + 2 // of an emulated product
	slice := 2
	if g.emulated {
		slice += fragments * g.bk / g.fragment.K * each
	}
	longest := g.most(func(ph *phase) int { return g.slices(ph) })
	return (ceilDiv(longest, g.parts)+1)*slice + 3*fragments*each
}

// packed is how many weights a phase has in the kernel's order.
func (g *matrixGemm) packed(ph *phase) int64 {
	return int64(g.conv.groups) * int64(ceilDiv(g.ocg, g.bm)) * int64(g.slices(ph)) * int64(g.bk*g.bm)
}

// The model of cost counts products of a compute unit's matrix cores, some thousand of which take the time of a byte from far.
// The figures are a start from published rates of one GPU (1300 products, 128 bytes of local memory, 25 of the cache and 13 of
// memory a unit and cycle); the model only has to rank tiles, and the tuner has the last word.
const (
	productsLocal  = 10  // in the time that a byte of local memory takes
	productsCached = 50  // the same of the cache
	productsMemory = 100 // the same of memory
	productsIssued = 40  // in the time that a subgroup's lane takes to compute an address
	productsLaunch = 4e6 // in the time that another kernel takes to start
	freeSums       = 96  // that a lane holds in registers beside its operands
)

// cost is the time that the device is taken to need.
func (g *matrixGemm) cost(units int, d *Device) float64 {
	items, local := float64(g.items()), float64(g.localBytes())
	slice := float64(g.bm * g.bn * g.bk)
	slice += productsLocal * 2 * slice * (1/float64(g.wm) + 1/float64(g.wn))
	slice = max(slice, productsCached*2*float64(g.bk*(g.bm+g.bn)))
	slice += productsIssued * (items + float64(g.bk*(g.bm+g.bn))) / 4
	if g.laneSums() > freeSums {
		slice *= float64(g.laneSums()) / freeSums // they spill
	}
	total := 0.0
	for i := range g.phases {
		ph := &g.phases[i]
		groups := ceilDiv(g.pixels(ph), g.bn) * ceilDiv(g.ocg, g.bm) * g.conv.groups * g.parts
		group := float64(ceilDiv(g.slices(ph), g.parts)+1)*slice + productsMemory*2*float64(g.bm*g.bn)
		beside := min(float64(groups)/float64(units), float64(max(d.limits.LocalBytes, unitBytes))/local)
		hidden := min(1, 0.4+0.6*beside*items/itemsToHide)
		total += float64(ceilDiv(groups, units)) * group / hidden
	}
	if !g.native() {
		total += productsLaunch + float64(g.parts+1)*4*float64(g.conv.results())*productsMemory/float64(units)
	}
	return total
}

// matrixTilings lists the model's first choices: each tile with its best number of parts, then other numbers.
func matrixTilings(emulated bool) func(*Device, *problem.Problem) []string {
	return func(d *Device, p *problem.Problem) []string {
		own, err := newMatrixGemm(d, p, "", emulated)
		if err != nil {
			return nil
		}
		var first, rest []string
		seen := map[[5]int]bool{{own.bm, own.bn, own.bk, own.wm, own.wn}: true}
		for _, g := range own.choices(d, matrixTiles) {
			text := tileText(g.tunables())
			switch shape := [5]int{g.bm, g.bn, g.bk, g.wm, g.wn}; {
			case text == tileText(own.tunables()):
			case !seen[shape]:
				seen[shape] = true
				first = append(first, text)
			default:
				rest = append(rest, text)
			}
		}
		texts := append(first, rest...)
		return texts[:min(len(texts), maxTiles)]
	}
}
