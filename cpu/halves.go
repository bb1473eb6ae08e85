package cpu

import (
	"context"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// halved is a summer that reads a source of 16-bit floats where it lies. Each worker widens what it copies into its patches:
// what another has widened would come from its cache, which takes longer than the conversion.
type halved interface {
	runHalves(ctx context.Context, a *arena, source []uint16, packed, target []float32, c *chain) error
}

// readsHalves says that a product is to read the source of a problem as the halves that it is: runs of positions. Where rows
// are parted, or padded, widening them apart takes less.
func readsHalves(p *problem.Problem, l *lattice) bool {
	return p.Op == problem.Conv && p.Dir == problem.Forward && p.PadMode == problem.Zeros &&
		p.TypeOf(problem.Src) == problem.F16 && p.LayoutOf(problem.Src) == problem.NCHW && l.flat()
}

// stays says that the run's product takes a tensor as the halves that it is: with packed weights, as loops have floats.
func (j *job) stays(r problem.Role) bool {
	return j.igemm != nil && j.igemm.halves && r == problem.Src && j.packed != nil
}

// runHalves implements halved.
func (p *tileProduct) runHalves(ctx context.Context, a *arena, source []uint16, packed, target []float32, c *chain) error {
	s := p.sweep()
	s.halves, s.packed, s.target, s.chain = source, packed, target, c
	return s.run(ctx, a)
}

// fillHalves copies n channels of halves for the band at lo, of a flat lattice.
func (p *patch) fillHalves(dst []float32, src []uint16, n, lo int) {
	in := p.l.in[2]
	simd.WidenRows(p.isa, dst, p.plane, src[lo:], in, n, min(p.size[2], in-lo))
}
