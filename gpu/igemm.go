package gpu

import (
	"cmp"
	"context"
	"fmt"
	"math"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// The implicit GEMM: register tiles of TX × TY pixels by TN vectors of output channels, over packed weights and, where
// the source is padded or the tiles overhang it, a padded copy of the source. It is compiled for its shape, the batch
// apart, so it is chosen where the work is worth a compilation.

// igemmWorth is the number of operations from which compiling for the shape is taken to pay: llvmpipe and PoCL compile
// for one to three seconds on two cores, and save that again in some hundred runs.
const igemmWorth = 8e6

// simdLanes is how many work-items are taken to share a SIMD register where the driver does not say.
const simdLanes = 8

// maxKernelWidth: the taps of a row are always unrolled.
const maxKernelWidth = 32

// class is how a device runs work-items, which decides the tile.
type class int

const (
	straight class = iota // one work-item after the other, as straight vector code (OpenCL on CPUs)
	lanes                 // work-items as the lanes of SIMD registers (Vulkan on CPUs)
	gpuClass              // a GPU
)

func (d *Device) class() class {
	switch {
	case d.info.Type != driver.CPU:
		return gpuClass
	case d.limits.VectorWidth >= 8:
		return straight
	}
	return lanes
}

// igemm is the geometry of one plan. Sizes are floats and elements.
type igemm struct {
	conv         *conv
	h, w         problem.Axis // as the kernel reads and writes, or with all pixels as one row
	icg, ocg     int          // channels in a group that it reads and writes
	vw           int          // floats of a vector of output channels
	lx           int
	share        int
	tx, ty, tn   int
	cu, ku       int
	ocb          int // blocks of tn·vw output channels, per group
	inPlace      bool
	rows, pitch  int // of a padded plane
	plane, base  int
	packed, work int64
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func roundUp(a, b int) int { return ceilDiv(a, b) * b }

// flatten makes all pixels one row where a kernel of one tap reads each where it is.
func (g *igemm) flatten(depth problem.Axis) bool {
	all := []*problem.Axis{&depth, &g.h, &g.w}
	for _, a := range all {
		if *a != (problem.Axis{In: a.In, Out: a.In, Kernel: 1, Stride: 1, Dilation: a.Dilation}) {
			return false
		}
	}
	n := depth.In * g.h.In * g.w.In
	g.h.In, g.h.Out, g.w.In, g.w.Out = 1, 1, n, n
	return true
}

// newIgemm lays a convolution out for the device, or, by a flipped kernel, the adjoint of one with strides of 1. It is nil
// where a kernel of three dimensions is needed.
func newIgemm(d *Device, p *problem.Problem) *igemm {
	g, _ := newTiledIgemm(d, p, "") // only the tile can be wrong
	return g
}

// newTiledIgemm does so with the tile of the text, or with its own choice if that is empty.
func newTiledIgemm(d *Device, p *problem.Problem, tile string) (*igemm, error) {
	c := convOf(p)
	g := &igemm{conv: c, icg: c.wideG, ocg: c.narrowG, vw: d.limits.VectorWidth, lx: 1, cu: 1, ku: 1}
	in, out := c.wide, c.narrow
	if c.transposed {
		g.icg, g.ocg = g.ocg, g.icg
		in, out = out, in
	}
	for d.class() == straight && g.vw > 4 && g.vw/2 >= g.ocg {
		g.vw /= 2
	}
	axis := func(i int) problem.Axis {
		a := problem.Axis{In: in[i], Out: out[i], Kernel: c.k[i], Stride: c.s[i], PadL: c.p[i], Dilation: c.d[i]}
		if c.transposed {
			a.PadL = a.Extent() - 1 - a.PadL
		}
		return a
	}
	g.h, g.w = axis(1), axis(2)
	if !g.flatten(axis(0)) && (in[0] != 1 || out[0] != 1 || c.k[0] != 1) {
		return nil, nil
	}
	quad := 1 // floats that the body loads at a time from the source
	if d.limits.GLSL {
		quad = 4
	}
	g.tile(d, p.N)
	if tile != "" {
		if err := cmp.Or(setTile(g.tunables(), tile), g.tilable(d)); err != nil {
			return nil, err
		}
	}
	g.ocb = ceilDiv(g.ocg, g.tn*g.vw)
	tilesX, tilesY := ceilDiv(g.w.Out, g.tx), ceilDiv(g.h.Out, g.ty)
	needH := (tilesY*g.ty-1)*g.h.Stride + g.h.Extent()
	needW := (tilesX*g.tx-1)*g.w.Stride + g.w.Extent()
	ih, iw, ph, pw := g.h.In, g.w.In, g.h.PadL, g.w.PadL
	g.inPlace = ph <= 0 && pw <= 0 && needH-ph <= ih && roundUp(needW, quad)-pw <= iw &&
		iw%quad == 0 && ih*iw%quad == 0 && (ph*iw+pw)%quad == 0
	if g.inPlace {
		g.rows, g.pitch, g.base = ih, iw, -ph*iw-pw
	} else {
		g.rows, g.pitch = needH, roundUp(needW, max(d.limits.VectorWidth, quad))
		g.work = int64(p.N) * int64(p.Groups) * int64(g.icg) * int64(g.rows) * int64(g.pitch)
	}
	g.plane = g.rows * g.pitch
	g.packed = (int64(p.Groups)*int64(g.ocb)*int64(g.icg)*int64(g.h.Kernel)*int64(g.w.Kernel)*int64(g.tn) + int64(g.share)) * int64(g.vw)
	return g, nil
}

// tile chooses the register tile for the device's class. The figures were measured on PoCL (VW 16) and llvmpipe; those
// of GPUs are a start.
func (g *igemm) tile(d *Device, n int) {
	kh, kw := g.h.Kernel, g.w.Kernel
	switch d.class() {
	case straight:
		// More than 16 accumulators spill, which halves the speed; operands need registers too.
		registers := 10
		if d.limits.VectorWidth == 16 {
			registers = 14
		}
		best := math.Inf(1)
		for tn := 1; tn <= 2; tn++ {
			for ty := 1; ty <= min(g.h.Out, registers/tn); ty++ {
				for tx := min(g.w.Out, registers/tn/ty); tx >= 1; tx-- {
					tiles := float64(ceilDiv(g.w.Out, tx)) * float64(ceilDiv(g.h.Out, ty)) * float64(ceilDiv(g.ocg, tn*g.vw))
					cost := tiles * float64(tx*ty*tn+2) * (1 + 0.02*float64(ty-1) + 0.02*float64(tn-1))
					if cost < best {
						best, g.tx, g.ty, g.tn = cost, tx, ty, tn
					}
				}
			}
		}
	case lanes:
		s := simdLanes
		if d.limits.ShuffleLanes > 0 {
			s, g.share = d.limits.ShuffleLanes, d.limits.ShuffleLanes
		}
		g.lx = s
		g.tn = min(4, ceilDiv(g.ocg, 4))
		if kh*kw <= 121 {
			g.ku = kh
		}
		cost := func(tx, ty int) int { return ceilDiv(n*ceilDiv(g.w.Out, tx)*ceilDiv(g.h.Out, ty), s) * tx * ty }
		g.tx, g.ty = 4, 2
		if wide, square := cost(8, 1), cost(4, 2); wide < square || wide == square && kh == 1 {
			g.tx, g.ty = 8, 1
		}
	case gpuClass:
		g.lx, g.tx, g.ty, g.tn = 64, 4, min(2, g.h.Out), max(1, 16/g.vw)
		if kh*kw <= 25 {
			g.ku = kh
		}
	}
}

// iterations of the reduction loop.
func (g *igemm) iterations() int { return ceilDiv(g.icg*g.h.Kernel, g.cu*g.ku) }

func canIgemm(d *Device, p *problem.Problem) error {
	if err := canDirect(d, p); err != nil {
		return err
	}
	c := convOf(p)
	switch {
	case p.Integer():
		return unsupported("integers")
	case c.results() == 0:
		return unsupported("the result is empty")
	case c.transposed && c.s != [3]int{1, 1, 1}:
		return unsupported("the adjoint of a convolution with strides")
	case d.limits.GLSL && d.limits.ShuffleLanes == 0:
		return unsupported("the device has no subgroup shuffles")
	case p.Axes[2].Kernel > maxKernelWidth:
		return unsupported("kernels wider than %d", maxKernelWidth)
	}
	if g := newIgemm(d, p); g != nil {
		return g.fits(d, p)
	}
	return unsupported("a kernel with depth")
}

// fits says why the device cannot run it, or nil.
func (g *igemm) fits(d *Device, p *problem.Problem) error {
	switch {
	case g.ocg*2 < g.vw:
		return unsupported("%d output channels in a group leave most of a vector idle", g.ocg)
	case max(g.work, g.packed) > min(d.info.MaxTensorBytes/4, maxElements):
		return unsupported("padded source or packed weights are larger than the largest buffer")
	case 2*int64(g.iterations())+64 > int64(d.proof.LoopLimit):
		return unsupported("a reduction of %d steps is too long for this driver's loops", g.iterations())
	case int64(p.Groups)*int64(g.ocb) > d.limits.MaxGroupCount[2]:
		return unsupported("too many blocks of output channels")
	}
	return nil
}

// worthIgemm says whether the work pays for a compilation.
func worthIgemm(p *problem.Problem) bool { return p.FLOPs() >= igemmWorth }

func buildIgemm(ctx context.Context, pl *plan) error {
	return pl.igemmConv(ctx, &pl.core, pl.output(convOf(&pl.core).dst))
}

// igemmConv adds a convolution by implicit GEMM.
func (pl *plan) igemmConv(ctx context.Context, p *problem.Problem, dst operand) error {
	d := pl.dev
	g, err := newTiledIgemm(d, p, pl.tile)
	if err == nil && pl.tile != "" {
		err = g.fits(d, p)
	}
	if err != nil {
		return err
	}
	post, err := pl.posts(ctx, p, true)
	if err != nil {
		return err
	}
	wei, err := g.packWeights(ctx, pl)
	if err != nil {
		return err
	}
	src, err := pl.input(ctx, g.conv.src)
	if err != nil {
		return err
	}
	if !g.inPlace {
		if src, err = g.pad(ctx, pl, src); err != nil {
			return err
		}
	}
	narrow := 0
	if g.vw != d.limits.VectorWidth {
		narrow = g.vw
	}
	kernel := []int32{int32(g.lx), 1, 1}
	kernel = append(kernel, words(g.icg, g.ocg, g.h.Out, g.w.Out, g.h.Kernel, g.w.Kernel, g.h.Stride, g.w.Stride, g.h.Dilation, g.w.Dilation,
		g.pitch, g.plane, g.tx, g.ty, g.tn, g.cu, g.ku, g.share, flag(p.Bias), int(post.chain), narrow)...)
	k, err := pl.kernel(ctx, "conv_igemm", kernel...)
	if err != nil {
		return err
	}
	tiles := p.N * ceilDiv(g.h.Out, g.ty) * ceilDiv(g.w.Out, g.tx)
	gx, groups := flat(tiles, g.lx)
	groups[2] = p.Groups * g.ocb
	oc := p.Groups * g.ocg
	err = pl.grid(&pl.run, k, groups, []operand{src, wei, post.par, post.res, dst},
		words(p.N, oc, gx, g.base, p.Groups*g.icg*g.plane, oc*g.h.Out*g.w.Out)...)
	pl.info.Tunables = tileText(g.tunables())
	pl.info.Tile = fmt.Sprintf("%dx%d pixels × %d×%d channels, group %d", g.tx, g.ty, g.tn, g.vw, g.lx)
	pl.info.Why = fmt.Sprintf("%.3g GFLOP are worth a kernel compiled for the shape", p.FLOPs()*1e-9)
	return err
}

// packWeights adds the packing of the weights in the order in which the kernel reads them: for an adjoint flipped, with
// the channels' parts exchanged.
func (g *igemm) packWeights(ctx context.Context, pl *plan) (operand, error) {
	given, err := pl.input(ctx, problem.Wei)
	if err != nil {
		return 0, err
	}
	k, err := pl.kernel(ctx, "pack_weights", 64, 1, 1)
	if err != nil {
		return 0, err
	}
	kh, kw := g.h.Kernel, g.w.Kernel
	taps := kh * kw
	base, so, sc, si, sj := 0, g.icg*taps, taps, kw, 1
	if g.conv.transposed {
		base, so, sc, si, sj = taps-1, taps, g.ocg*taps, -kw, -1
	}
	to := pl.scratch(g.packed)
	return to, pl.each(&pl.pack, k, int(g.packed), []operand{given, to}, words(g.conv.groups, g.ocg, g.icg, kh, kw, g.tn*g.vw, base, g.ocg*g.icg*taps, so, sc, si, sj)...)
}

// pad adds the copy of the source into padded planes.
func (g *igemm) pad(ctx context.Context, pl *plan, src operand) (operand, error) {
	lx, vectors := 64, 1 // vectors that a work-item writes
	switch pl.dev.class() {
	case straight:
		lx, vectors = 1, 64
	case lanes:
		lx, vectors = g.lx, 4
	}
	k, err := pl.kernel(ctx, "pad_src", int32(lx), 1, 1)
	if err != nil {
		return 0, err
	}
	row := g.pitch / pl.dev.limits.VectorWidth
	vectors = min(row, vectors)
	parts := ceilDiv(row, vectors)
	planes := g.conv.n * g.conv.groups * g.icg
	gx, groups := flat(planes*g.rows*parts, lx)
	to := pl.scratch(g.work)
	return to, pl.grid(&pl.run, k, groups, []operand{src, to},
		words(gx, planes, g.h.In, g.w.In, g.rows, g.pitch, g.h.PadL, g.w.PadL, parts, vectors)...)
}
