package gpu

import (
	"context"
	"fmt"
	"math"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// The implicit GEMM: register tiles of TX × TY pixels by TN vectors of output channels, over packed weights and, where
// the source is padded or the tiles overhang it, a padded copy of the source. It is compiled for its shape, the batch
// apart, so it is chosen where the work is worth a compilation.

// igemmWorth is the number of operations from which compiling for the shape is taken to pay.
const igemmWorth = 2e6

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
	h, w         problem.Axis // of the problem, or with all pixels as one row
	icg, ocg     int
	vw           int // floats of a vector
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

// newIgemm lays a convolution out for the device.
func newIgemm(d *Device, p *problem.Problem) *igemm {
	g := &igemm{h: p.Axes[1], w: p.Axes[2], icg: p.IC / p.Groups, ocg: p.OC / p.Groups, vw: d.limits.VectorWidth, lx: 1, cu: 1, ku: 1}
	if pointwise := (problem.Axis{In: g.h.In, Out: g.h.In, Kernel: 1, Stride: 1, Dilation: g.h.Dilation}); g.h == pointwise {
		if w := (problem.Axis{In: g.w.In, Out: g.w.In, Kernel: 1, Stride: 1, Dilation: g.w.Dilation}); g.w == w {
			n := g.h.In * g.w.In
			g.h.In, g.h.Out, g.w.In, g.w.Out = 1, 1, n, n
		}
	}
	quad := 1 // floats that the body loads at a time from the source
	if d.limits.GLSL {
		quad = 4
	}
	g.tile(d, p.N)
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
		g.rows, g.pitch = needH, roundUp(needW, max(g.vw, quad))
		g.work = int64(p.N) * int64(p.IC) * int64(g.rows) * int64(g.pitch)
	}
	g.plane = g.rows * g.pitch
	g.packed = (int64(p.Groups)*int64(g.ocb)*int64(g.icg)*int64(g.h.Kernel)*int64(g.w.Kernel)*int64(g.tn) + int64(g.share)) * int64(g.vw)
	return g
}

// tile chooses the register tile for the device's class. The figures were measured on PoCL (VW 16) and llvmpipe; those
// of GPUs are a start.
func (g *igemm) tile(d *Device, n int) {
	kh, kw := g.h.Kernel, g.w.Kernel
	switch d.class() {
	case straight:
		// More than 16 accumulators spill, which halves the speed; operands need registers too.
		registers := 10
		if g.vw == 16 {
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
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", driver.ErrUnsupported, fmt.Sprintf(format, args...))
	}
	switch {
	case p.Op != problem.Conv:
		return refuse("not a convolution")
	case problem.Elems(p.Shape(problem.Dst)) == 0:
		return refuse("the result is empty")
	case d.limits.GLSL && d.limits.ShuffleLanes == 0:
		return refuse("the device has no subgroup shuffles")
	case p.OC/p.Groups*2 < d.limits.VectorWidth:
		return refuse("%d output channels in a group leave most of a vector idle", p.OC/p.Groups)
	case p.Axes[2].Kernel > maxKernelWidth:
		return refuse("kernels wider than %d", maxKernelWidth)
	}
	g := newIgemm(d, p)
	largest := min(d.info.MaxTensorBytes/4, math.MaxInt32-4096)
	switch {
	case g.work > largest || g.packed > largest:
		return refuse("padded source or packed weights are larger than the largest buffer")
	case 2*int64(g.iterations())+64 > int64(d.proof.LoopLimit):
		return refuse("a reduction of %d steps is too long for this driver's loops", g.iterations())
	case int64(p.Groups)*int64(g.ocb) > d.limits.MaxGroupCount[2]:
		return refuse("too many blocks of output channels")
	}
	return nil
}

// flat spreads count work-items in groups of lx over two dimensions of the grid.
func flat(count, lx int) (gx int, groups [3]int) {
	g := ceilDiv(count, lx)
	gx = min(g, 32768)
	return gx, [3]int{gx, ceilDiv(g, gx), 1}
}

// grid adds one dispatch with its groups given.
func (pl *plan) grid(list *[]step, k *kernel, groups [3]int, uses []operand, params ...int32) error {
	items := groups
	for i := range items {
		items[i] *= k.local[i]
	}
	return pl.dispatch(list, k, items, uses, func([3]int) any { return params })
}

func buildIgemm(ctx context.Context, pl *plan) error {
	p, d := &pl.p, pl.dev
	g := newIgemm(d, p)
	kh, kw := g.h.Kernel, g.w.Kernel

	pack, err := pl.kernel(ctx, "pack_weights", 64, 1, 1)
	if err != nil {
		return err
	}
	gx, groups := flat(int(g.packed), 64)
	taps := kh * kw
	err = pl.grid(&pl.pack, pack, groups, []operand{opWei, opPack}, int32(g.packed), int32(gx), int32(p.Groups), int32(g.ocg), int32(g.icg),
		int32(kh), int32(kw), int32(g.tn*g.vw), 0, int32(g.ocg*g.icg*taps), int32(g.icg*taps), int32(taps), int32(kw), 1)
	if err != nil {
		return err
	}
	pl.info.WeightsBytes = 4 * g.packed
	pl.keep(opBia, opPBia, p.Shape(problem.Bia))

	from := opSrc
	if !g.inPlace {
		from = opWork
		if err := g.pad(ctx, pl); err != nil {
			return err
		}
	}
	conv, err := pl.kernel(ctx, "conv_igemm", int32(g.lx), 1, 1, int32(g.icg), int32(g.ocg), int32(g.h.Out), int32(g.w.Out), int32(kh), int32(kw),
		int32(g.h.Stride), int32(g.w.Stride), int32(g.h.Dilation), int32(g.w.Dilation), int32(g.pitch), int32(g.plane),
		int32(g.tx), int32(g.ty), int32(g.tn), int32(g.cu), int32(g.ku), int32(g.share), flag(p.Bias), flag(len(p.Posts()) > 0))
	if err != nil {
		return err
	}
	bias := opPBia
	if !p.Bias {
		bias = opPack // bound, not read
	}
	tiles := p.N * ceilDiv(g.h.Out, g.ty) * ceilDiv(g.w.Out, g.tx)
	gx, groups = flat(tiles, g.lx)
	groups[2] = p.Groups * g.ocb
	err = pl.grid(&pl.run, conv, groups, []operand{from, opPack, bias, opDst},
		int32(p.N), int32(gx), int32(g.base), int32(p.IC*g.plane), int32(p.OC*g.h.Out*g.w.Out))
	if err != nil {
		return err
	}
	pl.info.WorkspaceBytes = 4 * g.work
	pl.info.Tile = fmt.Sprintf("%dx%d pixels × %d×%d channels, group %d", g.tx, g.ty, g.tn, g.vw, g.lx)
	pl.info.Why = fmt.Sprintf("%.3g GFLOP are worth a kernel compiled for the shape", p.FLOPs()*1e-9)
	return nil
}

// pad adds the copy of the source into padded planes.
func (g *igemm) pad(ctx context.Context, pl *plan) error {
	lx, vectors := 64, 1 // vectors that a work-item writes
	switch pl.dev.class() {
	case straight:
		lx, vectors = 1, 64
	case lanes:
		lx, vectors = g.lx, 4
	}
	k, err := pl.kernel(ctx, "pad_src", int32(lx), 1, 1)
	if err != nil {
		return err
	}
	row := g.pitch / g.vw
	vectors = min(row, vectors)
	parts := ceilDiv(row, vectors)
	planes := pl.p.N * pl.p.IC
	gx, groups := flat(planes*g.rows*parts, lx)
	return pl.grid(&pl.run, k, groups, []operand{opSrc, opWork}, int32(gx), int32(planes), int32(g.h.In), int32(g.w.In),
		int32(g.rows), int32(g.pitch), int32(g.h.PadL), int32(g.w.PadL), int32(parts), int32(vectors))
}
