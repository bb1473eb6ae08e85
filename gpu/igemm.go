package gpu

import (
	"cmp"
	"context"
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

// A transposed convolution with strides is at most so many convolutions, by so many kernels, each to be compiled.
const (
	mostPhases  = 64
	mostKernels = 8
)

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

// phased is a convolution, or a transposed one, as the phases that compute it.
type phased struct {
	conv     *conv
	in, out  [3]int // the source's and the result's planes
	icg, ocg int    // channels in a group that it reads and writes
	phases   []phase
}

// igemm is the geometry of one plan. Sizes are floats and elements; triples are depth, height and width.
type igemm struct {
	phased
	vw         int // floats of a vector of output channels
	lx         int
	share      int
	tx, ty, tn int
	cu, ku     int // channels and kernel rows of an iteration of the reduction, or what divides a phase's
	ocb        int // blocks of tn·vw output channels, per group
	inPlace    bool
	last       bool // the result has channels last
	rowOf      int  // vectors from one row of the weights to the next; 0: they are packed
	borders    []border
	chunk      [3]int // images, slices and rows of results that are computed at a time
	// Of the padded copy of what a chunk needs, or of the source itself:
	slices, rows, pitch int
	work                int64
	largest             int64 // elements of a buffer
	integer             bool  // sums of floats are flushed to integers before they round
}

// phase is a convolution that computes every so many of the results: all, or, of a transposed convolution with strides,
// those for which the same taps count.
type phase struct {
	axis        [3]problem.Axis
	first, step [3]int // taps: first + i·step of the kernel as it is given
	at, every   [3]int // results: at + i·every of the planes that are written
	empty       bool   // no tap reaches
	packed      int64
	base        int // where the first tap reads
	border      int // the copy it reads
}

// taps is how many taps the phase has.
func (ph *phase) taps() int { return ph.axis[0].Kernel * ph.axis[1].Kernel * ph.axis[2].Kernel }

// border is a padded copy with the phases that read it.
type border struct {
	pad    [3]int
	phases []*phase
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func roundUp(a, b int) int { return ceilDiv(a, b) * b }

// phasesOf takes a convolution apart: along each axis of a transposed one, results w ≡ r modulo the stride s are
// w = r + s·q = s·x − p + t·d, which only taps t ≡ t0 modulo s/gcd(s, d) reach. Over q that is a convolution with a
// stride of 1 by those taps in reverse order.
func phasesOf(c *conv) []phase {
	phases := []phase{{}}
	for i := range c.k {
		var parts []phase
		residues := 1
		if c.transposed {
			residues = min(c.s[i], c.wide[i])
		}
		for r := range residues {
			for _, ph := range phases {
				ph.along(c, i, r)
				parts = append(parts, ph)
			}
		}
		phases = parts
	}
	return phases
}

// along sets a phase's axis i to the results of residue r.
func (ph *phase) along(c *conv, i, r int) {
	k, s, p, d := c.k[i], c.s[i], c.p[i], c.d[i]
	if !c.transposed {
		ph.axis[i] = problem.Axis{In: c.wide[i], Out: c.narrow[i], Kernel: k, Stride: s, PadL: p, Dilation: d}
		ph.first[i], ph.step[i], ph.every[i] = 0, 1, 1
		return
	}
	common := gcd(s, d)
	step := s / common
	t := 0
	for t < min(step, k) && (r+p-t*d)%s != 0 {
		t++
	}
	a := problem.Axis{In: c.narrow[i], Out: ceilDiv(c.wide[i]-r, s), Kernel: 1, Stride: 1, Dilation: d / common}
	if t == min(step, k) {
		ph.empty = true
	} else {
		a.Kernel = ceilDiv(k-t, step)
		a.PadL = a.Extent() - 1 - (r+p-t*d)/s
	}
	ph.axis[i] = a
	ph.first[i], ph.step[i] = t+(a.Kernel-1)*step, -step
	ph.at[i], ph.every[i] = r, s
}

// phasedOf takes a problem apart.
func phasedOf(p *problem.Problem) phased {
	c := convOf(p)
	g := phased{conv: c, in: c.wide, out: c.narrow, icg: c.wideG, ocg: c.narrowG, phases: phasesOf(c)}
	if c.transposed {
		g.in, g.out, g.icg, g.ocg = c.narrow, c.wide, c.narrowG, c.wideG
	}
	if len(g.phases) == 1 && !g.phases[0].empty {
		g.flatten()
	}
	return g
}

// flatten makes all pixels one row where a kernel of one tap reads each where it is.
func (g *phased) flatten() {
	axes := &g.phases[0].axis
	n := 1
	for _, a := range axes {
		if a != (problem.Axis{In: a.In, Out: a.In, Kernel: 1, Stride: 1, Dilation: a.Dilation}) {
			return
		}
		n *= a.In
	}
	for i, size := range [3]int{1, 1, n} {
		axes[i].In, axes[i].Out, g.in[i], g.out[i] = size, size, size, size
	}
}

// most is the largest that phases have of something.
func (g *phased) most(of func(*phase) int) int {
	n := 0
	for i := range g.phases {
		n = max(n, of(&g.phases[i]))
	}
	return n
}

// outs is the largest number of results of a phase along an axis.
func (g *phased) outs(i int) int { return g.most(func(ph *phase) int { return ph.axis[i].Out }) }

// all images, slices and rows of results.
func (g *igemm) all() [3]int { return [3]int{g.conv.n, g.outs(0), g.outs(1)} }

// span is what a chunk of so many results along an axis reads of a copy with a border.
func (b *border) span(i, results int) int {
	n := 0
	for _, ph := range b.phases {
		a := ph.axis[i]
		n = max(n, b.pad[i]-a.PadL+(results-1)*a.Stride+a.Extent())
	}
	return n
}

// spans is the largest span of all copies.
func (g *igemm) spans(i, results int) int {
	n := 0
	for j := range g.borders {
		n = max(n, g.borders[j].span(i, results))
	}
	return n
}

// newIgemm lays a convolution or a transposed one out for the device.
func newIgemm(d *Device, p *problem.Problem) *igemm {
	g, _ := newTiledIgemm(d, p, "", false) // only the tile can be wrong
	return g
}

// newTiledIgemm does so with the tile of the text, or with its own choice if that is empty. half: the source is halves,
// which pad_src makes floats of, so there is a copy even where nothing is padded.
func newTiledIgemm(d *Device, p *problem.Problem, tile string, half bool) (*igemm, error) {
	g := &igemm{
		phased: phasedOf(p), vw: d.limits.VectorWidth, lx: 1, cu: 1, ku: 1, largest: d.binding / 4,
		integer: p.Integer(),
	}
	for d.class() == straight && g.vw > 4 && g.vw/2 >= g.ocg {
		g.vw /= 2
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
	across := roundUp(g.outs(2), g.tx)
	g.inPlace = !half && !g.integer && g.in[2]%quad == 0 && g.in[1]*g.in[2]%quad == 0
	for i := range g.phases {
		ph := &g.phases[i]
		if ph.empty {
			ph.axis[0].Kernel, ph.axis[1].Kernel, ph.axis[2].Kernel = 1, 1, 1
			continue
		}
		a := &ph.axis
		ph.packed = int64(p.Groups) * int64(g.ocb) * int64(g.icg) * int64(g.tn) * int64(ph.taps())
		ph.packed = (ph.packed + int64(g.share)) * int64(g.vw)
		ph.base = -(a[0].PadL*g.in[1]+a[1].PadL)*g.in[2] - a[2].PadL
		reach := [3]int{a[0].Out, roundUp(a[1].Out, g.ty), across}
		for i, n := range reach {
			need := (n-1)*a[i].Stride + a[i].Extent()
			if i == 2 {
				need = roundUp(need, quad)
			}
			g.inPlace = g.inPlace && a[i].PadL <= 0 && need-a[i].PadL <= g.in[i]
		}
		g.inPlace = g.inPlace && ph.base%quad == 0
		g.join(ph, quad)
	}
	g.chunk = g.all()
	g.chunk[2] = roundUp(g.chunk[2], g.ty)
	if g.inPlace {
		g.slices, g.rows, g.pitch = g.in[0], g.in[1], g.in[2]
		return g, nil
	}
	g.pitch = roundUp(g.spans(2, across), max(d.limits.VectorWidth, quad))
	g.cut(d)
	g.rebase()
	return g, nil
}

// rebase sets where the phases read the padded copies.
func (g *igemm) rebase() {
	for i := range g.borders {
		b := &g.borders[i]
		for _, ph := range b.phases {
			ph.base = ((b.pad[0]-ph.axis[0].PadL)*g.rows+b.pad[1]-ph.axis[1].PadL)*g.pitch + b.pad[2] - ph.axis[2].PadL
		}
	}
}

// join has a phase read the copy of another, or one of its own where its rows would not start at a multiple of quad.
func (g *igemm) join(ph *phase, quad int) {
	for i := range g.borders {
		b := &g.borders[i]
		if (b.pad[2]-ph.axis[2].PadL)%quad != 0 {
			continue
		}
		for j := range b.pad {
			b.pad[j] = max(b.pad[j], ph.axis[j].PadL)
		}
		b.phases = append(b.phases, ph)
		ph.border = i
		return
	}
	ph.border = len(g.borders)
	g.borders = append(g.borders, border{[3]int{ph.axis[0].PadL, ph.axis[1].PadL, ph.axis[2].PadL}, []*phase{ph}})
}

// chunkBytes is how large a padded copy may grow before the work is cut: on a CPU it should stay in the cache.
func (d *Device) chunkBytes() int64 {
	if d.class() == gpuClass {
		return 256 << 20
	}
	return 1 << 20
}

// cut makes chunks whose padded copies fit the cache and the largest buffer: first of fewer images, then of fewer slices
// and rows, for the cache only while what two chunks both copy is little.
func (g *igemm) cut(d *Device) {
	n := &g.chunk
	for {
		g.slices, g.rows = g.spans(0, n[1]), g.spans(1, n[2])
		g.work = int64(n[0]) * int64(g.conv.groups) * int64(g.icg) * int64(g.slices) * int64(g.rows) * int64(g.pitch)
		if g.work <= min(g.largest, d.chunkBytes()/4) {
			return
		}
		must := g.work > g.largest
		tiles := n[2] / g.ty
		busy := tiles*ceilDiv(g.outs(2), g.tx)*g.conv.groups*g.ocb >= 64*g.lx
		switch {
		case n[0] > 1:
			n[0] = ceilDiv(n[0], 2)
		case n[1] > 1 && n[1] >= 8*(g.spans(0, 1)-1):
			n[1] = ceilDiv(n[1], 2)
		case tiles > 1 && (must || busy && n[2] >= 8*(g.spans(1, 1)-1)):
			n[2] = ceilDiv(tiles, 2) * g.ty
		case n[1] > 1 && must:
			n[1] = ceilDiv(n[1], 2)
		default:
			return
		}
	}
}

// tile chooses the register tile for the device's class. The figures were measured on PoCL (VW 16) and llvmpipe; those
// of GPUs are a start.
func (g *igemm) tile(d *Device, n int) {
	height, width, kh, kw := g.outs(1), g.outs(2), g.kernelAcross(1), g.kernelAcross(2)
	switch d.class() {
	case straight:
		// More than 16 accumulators spill, which halves the speed; operands need registers too.
		registers := 10
		if d.limits.VectorWidth == 16 {
			registers = 14
		}
		best := math.Inf(1)
		for tn := 1; tn <= 2; tn++ {
			for ty := 1; ty <= min(height, registers/tn); ty++ {
				for tx := min(width, registers/tn/ty); tx >= 1; tx-- {
					tiles := float64(ceilDiv(width, tx)) * float64(ceilDiv(height, ty)) * float64(ceilDiv(g.ocg, tn*g.vw))
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
		slices := g.outs(0)
		cost := func(tx, ty int) int { return ceilDiv(n*slices*ceilDiv(width, tx)*ceilDiv(height, ty), s) * tx * ty }
		g.tx, g.ty = 4, 2
		if wide, square := cost(8, 1), cost(4, 2); wide < square || wide == square && kh == 1 {
			g.tx, g.ty = 8, 1
		}
	case gpuClass:
		g.lx, g.tx, g.ty, g.tn = 64, 4, min(2, height), max(1, 16/g.vw)
		if kh*kw <= 25 {
			g.ku = kh
		}
	}
}

// kernelAcross is how many taps the phases have along an axis at most.
func (g *igemm) kernelAcross(i int) int {
	return g.most(func(ph *phase) int { return ph.axis[i].Kernel })
}

// rowsOf is how many kernel rows an iteration of a phase's reduction takes.
func (g *igemm) rowsOf(ph *phase) int { return gcd(g.ku, ph.axis[1].Kernel) }

// iterations of the longest reduction loop.
func (g *igemm) iterations() int {
	return g.most(func(ph *phase) int { return g.icg * ph.axis[0].Kernel * ph.axis[1].Kernel / (g.cu * g.rowsOf(ph)) })
}

// exactProducts is how many products of two integers of 9 bits a float's sum holds exactly, in any order: values of 8
// bits less a zero point of their type are at most 255, and 258·255² < 2²⁴.
const exactProducts = 258

// flush is after how many iterations of a phase its sums have to leave their floats.
func (g *igemm) flush(ph *phase) int {
	return exactProducts / (g.cu * g.rowsOf(ph) * ph.axis[2].Kernel)
}

// kinds is the number of kernels of different shapes that the phases need.
func (g *phased) kinds() int {
	kinds := map[[6]int]bool{}
	for i := range g.phases {
		d, h, w := g.phases[i].axis[0], g.phases[i].axis[1], g.phases[i].axis[2]
		kinds[[6]int{flag(g.phases[i].empty), d.Kernel, h.Kernel, w.Kernel, h.Out, w.Out}] = true
	}
	return len(kinds)
}

func canIgemm(d *Device, p *problem.Problem) error {
	if err := canDirect(d, p); err != nil {
		return err
	}
	c := convOf(p)
	switch {
	case c.results() == 0:
		return unsupported("the result is empty")
	case c.transposed && phasesIn(c) > mostPhases:
		return unsupported("a transposed convolution with strides of %v is more than %d convolutions", c.s, mostPhases)
	case d.limits.GLSL && d.limits.ShuffleLanes == 0:
		return unsupported("the device has no subgroup shuffles")
	case p.Axes[2].Kernel > maxKernelWidth:
		return unsupported("kernels wider than %d", maxKernelWidth)
	}
	return newIgemm(d, p).fits(d, p)
}

// fits says why the device cannot run it, or nil.
func (g *igemm) fits(d *Device, p *problem.Problem) error {
	packed := int64(0)
	for i := range g.phases {
		packed = max(packed, g.phases[i].packed)
	}
	switch {
	case g.ocg*2 < g.vw:
		return unsupported("%d output channels in a group leave most of a vector idle", g.ocg)
	case max(g.work, packed) > g.largest:
		return unsupported("padded source or packed weights are larger than the largest buffer")
	case 2*int64(g.iterations())+64 > int64(d.proof.LoopLimit):
		return unsupported("a reduction of %d steps is too long for this driver's loops", g.iterations())
	case g.kinds() > mostKernels:
		return unsupported("strides of %v take %d kernels to compile", g.conv.s, g.kinds())
	case int64(p.Groups)*int64(g.ocb) > d.limits.MaxGroupCount[2]:
		return unsupported("too many blocks of output channels")
	}
	return nil
}

// phasesIn is the number of phases of a transposed convolution.
func phasesIn(c *conv) int {
	n := 1
	for i, s := range c.s {
		n *= min(s, c.wide[i], mostPhases+1)
	}
	return n
}

// worthIgemm says whether the work pays for its compilations.
func worthIgemm(_ *Device, p *problem.Problem) bool {
	g := phasedOf(p)
	kernels := g.kinds()
	if g.most(func(ph *phase) int { return flag(ph.empty) }) > 0 {
		kernels-- // one that only writes zeros
	}
	return p.FLOPs() >= igemmWorth*float64(kernels)
}

func buildIgemm(ctx context.Context, pl *plan) error {
	return pl.igemmConv(ctx, &pl.core, pl.outputOf(convOf(&pl.core).dst))
}
