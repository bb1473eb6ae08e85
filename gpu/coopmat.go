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

// emulatedMatrix is the shape that tests emulate.
var emulatedMatrix = hal.Matrix{M: 16, N: 16, K: 16}

// asGiven lists algorithms that depend on how tensors are stored, with the question about the problem as it is given.
var asGiven = map[string]func(*Device, *problem.Problem) error{
	"igemm_coopmat":          func(d *Device, p *problem.Problem) error { return canMatrices(d, p, false) },
	"igemm_coopmat_emulated": func(d *Device, p *problem.Problem) error { return canMatrices(d, p, true) },
	"igemm_half":             func(d *Device, p *problem.Problem) error { return canHalfSums(d, p, false) },
	"igemm_half_emulated":    func(d *Device, p *problem.Problem) error { return canHalfSums(d, p, true) },
}

func canMatrices(d *Device, p *problem.Problem, emulated bool) error {
	switch {
	case p.Type.Src != problem.F16 || !d.proof.Halves:
		return unsupported("cooperative matrices are for tensors of f16, on devices with 16-bit storage")
	case p.PadMode != problem.Zeros:
		return unsupported("padding by copies")
	case emulated && d.emulatedLanes == 0:
		return unsupported("the emulation of cooperative matrices is for tests")
	case !emulated && d.proof.Matrix == hal.Matrix{}:
		return unsupported("the device has no cooperative matrices of f16 with sums in f32")
	}
	if err := canDirect(d, p); err != nil {
		return err
	}
	c := convOf(p)
	switch {
	case c.results() == 0:
		return unsupported("the result is empty")
	case c.transposed && phasesIn(c) > mostPhases:
		return unsupported("a transposed convolution with strides of %v is more than %d convolutions", c.s, mostPhases)
	}
	_, err := newMatrixGemm(d, p, "", emulated)
	return err
}

// canGiven is what is then asked about the core problem, which has no types: nothing.
func canGiven(*Device, *problem.Problem) error { return nil }

// worthMatrices says whether the groups fill tiles. Subgroups that emulate matrices are never worth it.
func worthMatrices(d *Device, p *problem.Problem) bool {
	c := convOf(p)
	return d.class() == gpuClass && worthIgemm(d, p) && c.narrowG >= 16 && c.wideG >= 16
}

func neverWorth(*Device, *problem.Problem) bool { return false }

func buildMatrices(ctx context.Context, pl *plan) error { return pl.matrixConv(ctx, false) }

func buildEmulated(ctx context.Context, pl *plan) error { return pl.matrixConv(ctx, true) }

// matrixConv adds the convolution of the plan's problem by cooperative matrices.
func (pl *plan) matrixConv(ctx context.Context, emulated bool) error {
	p := &pl.p
	g, err := newMatrixGemm(pl.dev, p, pl.tile, emulated)
	if err != nil {
		return err
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
		used, chain = noPosts, 0
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
	pl.info.Tunables = tileText(g.tunables())
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
