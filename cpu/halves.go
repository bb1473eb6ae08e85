package cpu

import (
	"context"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// halved is a summer that reads a source of 16-bit floats where it lies, and may write such results. Each worker widens what
// it reads and rounds what it makes: what another has widened would come from its cache, which takes longer than the
// conversion.
type halved interface {
	runHalves(ctx context.Context, a *arena, h halfEnds, packed, target []float32, c *chain) error
}

// halfEnds are the tensors of a run that stay 16-bit floats: its source, and its results unless they are floats.
type halfEnds struct {
	stay           bool
	source, target []uint16
}

// halves are the job's.
func (j *job) halves() halfEnds {
	return halfEnds{j.stays(problem.Src), j.t.h[problem.Src], j.t.h[problem.Dst]}
}

// readsHalves says that a product is to read the source of a problem as the halves that it is: runs of positions. Where rows
// are parted, or padded, widening them apart takes less.
func readsHalves(p *problem.Problem, l *lattice) bool {
	return p.Op == problem.Conv && p.Dir == problem.Forward && p.PadMode == problem.Zeros &&
		p.TypeOf(problem.Src) == problem.F16 && p.LayoutOf(problem.Src) == problem.NCHW && l.flat()
}

// stays says that the run's product takes a tensor as the halves that it is: with packed weights, as loops have floats.
func (j *job) stays(r problem.Role) bool {
	return j.igemm.asIs(r) && (j.p.Op == problem.Pool || j.packed != nil)
}

// asIs says that the plan's product takes a tensor of 16-bit floats as it is, if it runs.
func (ig *igemm) asIs(r problem.Role) bool {
	return ig != nil && (ig.halves && r == problem.Src || ig.narrows && r == problem.Dst)
}

// asHalves has the windows of a plan take planes of 16-bit floats as they are, if they are of one channel each.
func (ig *igemm) asHalves(p *problem.Problem) {
	if p.Dir != problem.Forward || p.PadMode != problem.Zeros || len(ig.products) != 1 ||
		p.TypeOf(problem.Src) != problem.F16 || p.LayoutOf(problem.Src) != problem.NCHW {
		return
	}
	switch s := ig.products[0].(type) {
	case *slidingProduct:
		if s.from > 1 || s.to > 1 || s.in > nearPlane {
			return
		}
		if s.together = max(1, min(s.planes, bandElems/max(1, s.in))); s.together == 1 {
			s.rows = min(s.rows, max(1, bandElems/(s.slider.InW*s.slider.Stride)))
		}
	case *meansProduct:
		s.widens = true
	default:
		return
	}
	ig.halves = true
	ig.narrows = !p.Fused() && p.TypeOf(problem.Dst) == problem.F16 && p.LayoutOf(problem.Dst) == problem.NCHW
}

// runHalves implements halved.
func (p *tileProduct) runHalves(ctx context.Context, a *arena, h halfEnds, packed, target []float32, c *chain) error {
	s := p.sweep()
	s.halves, s.packed, s.target, s.chain = h.source, packed, target, c
	return s.run(ctx, a)
}

// fillHalves copies n channels of halves for the band at lo, of a flat lattice.
func (p *patch) fillHalves(dst []float32, src []uint16, n, lo int) {
	in := p.l.in[2]
	simd.WidenRows(p.isa, dst, p.plane, src[lo:], in, n, min(p.size[2], in-lo))
}

// halfPlanes are planes that a worker has as floats, as far as it came.
type halfPlanes struct {
	source, target []uint16 // nil: results are floats already
	wide, made     []float32
	next           int // the first row that is not widened yet
}

// widen has rows of the source until end, which lie one after the other, from first on if none are there yet.
func (h *halfPlanes) widen(isa simd.ISA, width, first, end int) {
	if first = max(first, h.next); first < end {
		simd.Widen(isa, h.wide[first*width:end*width], h.source[first*width:end*width])
		h.next = end
	}
}

// narrow rounds some results.
func (h *halfPlanes) narrow(isa simd.ISA, first, end int) {
	if h.target != nil {
		simd.Narrow(isa, h.target[first:end], h.made[first:end])
	}
}
