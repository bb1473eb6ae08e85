package gpu

import (
	"context"
	"fmt"

	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/shaders"
)

// igemm_coopmat: the implicit GEMM for GPUs with cooperative matrices (kernel conv_coopmat). Source and result are halves, as
// they lie: channels before their cells or behind them. Products are exact, sums are f32.

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

// Tiles to choose from, the ones with the most work for what they load first: channels, pixels and depth of a work-group's,
// channels and pixels of a subgroup's.
var matrixTiles = [][5]int{
	{128, 128, 32, 64, 32}, {128, 64, 32, 32, 32}, {64, 128, 32, 32, 32}, {64, 64, 32, 32, 32}, {64, 64, 16, 32, 32},
	{32, 64, 32, 16, 32}, {32, 32, 32, 16, 16}, {32, 32, 16, 16, 16},
}

// emulatedMatrix is the shape and the subgroup that tests emulate.
var emulatedMatrix = hal.Matrix{M: 16, N: 16, K: 16}

const emulatedLanes = 8

// asGiven lists algorithms that depend on how tensors are stored, with the question about the problem as it is given.
var asGiven = map[string]func(*Device, *problem.Problem) error{
	"igemm_coopmat":          func(d *Device, p *problem.Problem) error { return canMatrices(d, p, false) },
	"igemm_coopmat_emulated": func(d *Device, p *problem.Problem) error { return canMatrices(d, p, true) },
}

func canMatrices(d *Device, p *problem.Problem, emulated bool) error {
	switch {
	case p.Type.Src != problem.F16 || !d.proof.Halves:
		return unsupported("cooperative matrices are for tensors of f16, on devices with 16-bit storage")
	case p.PadMode != problem.Zeros:
		return unsupported("padding by copies")
	case emulated && !d.emulateMatrices:
		return unsupported("the emulation of cooperative matrices is for tests")
	case !emulated && d.proof.Matrix == hal.Matrix{}:
		return unsupported("the device has no cooperative matrices of f16 with sums in f32")
	}
	g := newMatrixGemm(d, p, emulated)
	if err := canDirect(d, p); err != nil {
		return err
	}
	switch {
	case g.conv.results() == 0:
		return unsupported("the result is empty")
	case g.conv.transposed && phasesIn(g.conv) > mostPhases:
		return unsupported("a transposed convolution with strides of %v is more than %d convolutions", g.conv.s, mostPhases)
	case g.bm == 0:
		return unsupported("no tile of matrices %v fits the device", g.fragment)
	case g.loops() > d.proof.LoopLimit && d.proof.LoopLimit > 0:
		return unsupported("a reduction of %d steps is too long for this driver's loops", g.loops())
	case int64(g.conv.groups)*int64(g.parts) > d.limits.MaxGroupCount[2]:
		return unsupported("too many groups")
	}
	for i := range g.phases {
		if n := g.packed(&g.phases[i]); n > g.largest {
			return unsupported("packed weights are larger than the largest buffer")
		}
	}
	return nil
}

// canMatrixShape is what is asked about the core problem, which has no types: nothing.
func canMatrixShape(*Device, *problem.Problem) error { return nil }

// worthMatrices says whether the groups fill tiles. Subgroups that emulate matrices are never worth it.
func worthMatrices(d *Device, p *problem.Problem) bool {
	c := convOf(p)
	return d.class() == gpuClass && worthIgemm(d, p) && c.narrowG >= 16 && c.wideG >= 16
}

func neverWorth(*Device, *problem.Problem) bool { return false }

// newMatrixGemm lays a problem, as it is given, out for the device.
func newMatrixGemm(d *Device, p *problem.Problem, emulated bool) *matrixGemm {
	core := p.Core()
	g := &matrixGemm{
		phased: phasedOf(&core), fragment: d.proof.Matrix, lanes: d.limits.SubgroupLanes, emulated: emulated,
		largest: min(d.binding/4, maxElements),
	}
	if emulated {
		g.fragment, g.lanes = emulatedMatrix, emulatedLanes
	}
	g.srcLast = p.LayoutOf(g.conv.src) == problem.NHWC
	g.dstLast = p.LayoutOf(g.conv.dst) == problem.NHWC
	busy := 2 * max(1, d.info.ComputeUnits)
	tiles := matrixTiles
	if emulated {
		busy = 16                    // so that there are parts
		tiles = tiles[len(tiles)-1:] // each fragment more is compiled as a loop of its own
	}
	for _, t := range tiles {
		g.bm, g.bn, g.bk, g.wm, g.wn = t[0], t[1], t[2], t[3], t[4]
		if !g.fits(d) {
			continue
		}
		if groups := g.groups(); groups >= busy && roundUp(g.ocg, g.bm) <= 2*g.ocg {
			break
		}
	}
	if !g.fits(d) { // not even the last, which otherwise stays
		g.bm = 0
		return g
	}
	longest := g.most(func(ph *phase) int { return g.slices(ph) })
	g.parts = max(1, min(ceilDiv(busy, g.groups()), longest/8, 16))
	if !g.native() && g.parts*g.conv.results() > int(g.largest) {
		g.parts = 1
	}
	return g
}

// native says whether the result goes to its place at once.
func (g *matrixGemm) native() bool { return g.parts <= 1 }

// groups is how many work-groups a part of the phases takes.
func (g *matrixGemm) groups() int {
	n := 0
	for i := range g.phases {
		n += ceilDiv(g.pixels(&g.phases[i]), g.bn) * ceilDiv(g.ocg, g.bm) * g.conv.groups
	}
	return n
}

// items of a work-group.
func (g *matrixGemm) items() int { return g.bm / g.wm * (g.bn / g.wn) * g.lanes }

// fits says whether the tile suits the fragments, the kernel's ways of fetching, and the device.
func (g *matrixGemm) fits(d *Device) bool {
	f := g.fragment
	if f.M == 0 || g.lanes == 0 || g.wm%f.M != 0 || g.wn%f.N != 0 || g.bk%f.K != 0 || f.M*f.N%g.lanes != 0 {
		return false
	}
	items := g.items()
	size := 2 // of an element in local memory
	if g.emulated {
		size = 4
	}
	const skew = 8
	local := size*2*g.bk*(g.bm+g.bn+2*skew) + 4*items/g.lanes*f.M*f.N
	return items <= d.limits.MaxGroupItems && items <= d.limits.MaxGroupSize[0] && int64(local) <= d.limits.LocalBytes &&
		items%g.bn == 0 && items%g.bk == 0 && g.bk*g.bm%items == 0 && g.bk*g.bn%items == 0
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

func buildMatrices(ctx context.Context, pl *plan) error { return pl.matrixConv(ctx, false) }

func buildEmulated(ctx context.Context, pl *plan) error { return pl.matrixConv(ctx, true) }

// matrixConv adds the convolution of the plan's problem by cooperative matrices.
func (pl *plan) matrixConv(ctx context.Context, emulated bool) error {
	p := &pl.p
	g := newMatrixGemm(pl.dev, p, emulated)
	if g.bm == 0 {
		return unsupported("no tile of matrices %v fits the device", g.fragment)
	}
	half := g.native() || pl.halves(g.conv.dst)
	post, err := pl.posts(ctx, &pl.core, half, false)
	if err != nil {
		return err
	}
	given, err := pl.packed(ctx, problem.Wei)
	if err != nil {
		return err
	}
	dst := pl.tensor(g.conv.dst)
	to, chain, used := none, post.chain, post
	if g.native() {
		pl.results[g.conv.dst] = dst
	} else {
		to = pl.scratch(int64(g.parts) * int64(g.conv.results()))
		g.dstLast = false // as sum_parts takes the sums
		used, chain = posts{par: none, res: none}, 0
		dst = none
	}
	for i := range g.phases {
		ph := &g.phases[i]
		wei, err := g.halfWeights(ctx, pl, ph, given)
		if err != nil {
			return err
		}
		if err := g.phase(ctx, pl, ph, chain, []operand{pl.tensor(g.conv.src), wei, used.par, used.res, dst, to}); err != nil {
			return err
		}
	}
	pl.info.Tile = fmt.Sprintf("%d channels × %d pixels × %d, %d×%d a subgroup of %d, matrices %d×%d×%d",
		g.bm, g.bn, g.bk, g.wm, g.wn, g.lanes, g.fragment.M, g.fragment.N, g.fragment.K)
	pl.info.Why = "halves are multiplied by cooperative matrices"
	pl.info.Arithmetic.Truncates = !emulated
	if g.native() {
		return nil
	}
	pl.info.Why += fmt.Sprintf("; the reduction is cut into %d parts, as there are few tiles", g.parts)
	sums := pl.outputOf(g.conv.dst)
	return pl.sumParts(ctx, to, sums.at, g.conv.results(), g.parts, post, g.conv.groups*g.ocg, volume(g.out), half)
}

// halfWeights adds the packing of a phase's weights, as halves.
func (g *matrixGemm) halfWeights(ctx context.Context, pl *plan, ph *phase, given stored) (operand, error) {
	if ph.empty {
		return none, nil
	}
	elems := g.packed(ph)
	words, err := g.packWeights(ctx, pl, &pl.pack, ph, g.weights(), given, none, g.bm, g.slices(ph)*g.bk, g.bk, elems)
	if err != nil {
		return 0, err
	}
	to := pl.add(piece{bytes: (2*elems + 3) &^ 3})
	from, as := form{problem.F32, problem.NCHW}, form{problem.F16, problem.NCHW}
	return to, pl.reformat(ctx, &pl.pack, 1, 1, int(elems), words, from, to, as)
}

// phase adds the kernel of a phase.
func (g *matrixGemm) phase(ctx context.Context, pl *plan, ph *phase, chain int32, uses []operand) error {
	d, h, w := ph.axis[0], ph.axis[1], ph.axis[2]
	k, err := pl.kernel(ctx, shaders.Matrix("conv_coopmat", g.emulated), words(g.items(), 1, 1, g.bm, g.bn, g.bk, g.wm, g.wn,
		g.fragment.M, g.fragment.N, g.fragment.K, g.lanes, int(chain), flag(!g.native()), flag(g.srcLast), flag(g.dstLast),
		d.Stride, h.Stride, w.Stride, d.Dilation, h.Dilation, w.Dilation)...)
	if err != nil {
		return err
	}
	gx, groups := flat(ceilDiv(g.pixels(ph), g.bn)*ceilDiv(g.ocg, g.bm), 1)
	groups[2] = g.conv.groups * g.parts
	ic, oc := g.conv.groups*g.icg, g.conv.groups*g.ocg
	cells, results := volume(g.in), volume(g.out)
	sc, sp := cells, 1
	if g.srcLast {
		sc, sp = 1, ic
	}
	dc, dp := results, 1
	if g.dstLast {
		dc, dp = 1, oc
	}
	slices := g.slices(ph)
	row, plane := dp*g.out[2], dp*g.out[1]*g.out[2]
	at := ph.at[0]*plane + ph.at[1]*row + ph.at[2]*dp
	return pl.grid(&pl.run, k, groups, uses, words([3]int{d.Kernel, h.Kernel, w.Kernel}, g.icg, g.ocg, g.in,
		[3]int{d.Out, h.Out, w.Out}, [3]int{d.PadL, h.PadL, w.PadL}, oc, g.pixels(ph), gx, slices, ceilDiv(slices, g.parts), g.parts,
		g.conv.results(), ic*cells, sc, sp, at, oc*results, dc, ph.every[0]*plane, ph.every[1]*row, ph.every[2]*dp)...)
}
