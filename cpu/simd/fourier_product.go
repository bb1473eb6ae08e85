package simd

import "slices"

// FourierProducts multiplies transforms of a number of tiles, bin by bin, with those of weights, and adds up over channels.
type FourierProducts struct {
	from, to, tiles int

	kern    *kernels
	vectors int   // of results
	block   split // of these into those of a kernel
	rows    split // of the tiles
	steps   int
}

// NewFourierProducts plans products of so many tiles, from and to so many channels.
func NewFourierProducts(isa ISA, from, to, tiles int) *FourierProducts {
	k := kernelsOf(isa)
	p := &FourierProducts{from: from, to: to, tiles: tiles, kern: k, vectors: (to + k.lanes - 1) / k.lanes}
	for i, kernels := range k.fourierProduct {
		block, rows := cut(p.vectors, i+1), cut(tiles, len(kernels))
		// Two multiply-adds and two loads at a time, and a sum waits for the one before: in half cycles.
		n, r := block.widest(), rows.widest()
		took := block.parts * rows.parts * max(4*n*r, 2*n+2*r, 16)
		if p.steps == 0 || took < p.steps {
			p.block, p.rows, p.steps = block, rows, took
		}
	}
	return p
}

// Steps is how many half cycles a bin's products of a channel should take.
func (p *FourierProducts) Steps() int { return p.steps }

// Calls is how many calls of kernels a bin takes.
func (p *FourierProducts) Calls() int { return p.block.parts * p.rows.parts }

// Weights is how many elements packed weights of a bin take.
func (p *FourierProducts) Weights() int { return 2 * p.from * p.LD() }

// LD is how far sums of neighbouring tiles are apart.
func (p *FourierProducts) LD() int { return p.vectors * p.kern.lanes }

// Place is where packed weights of a bin have those of channel c for channel m: the real part, and the imaginary one.
func (p *FourierProducts) Place(m, c int) (re, im int) {
	v, b := m/p.kern.lanes, 0
	for p.block.start(b+1) <= v {
		b++
	}
	start, n := p.block.start(b), p.block.start(b+1)-p.block.start(b)
	re = (2*(p.from*start+c*n)+v-start)*p.kern.lanes + m%p.kern.lanes
	return re, re + n*p.kern.lanes
}

// FourierProductCall is what products work on.
type FourierProductCall struct {
	*FourierProducts
	off   []int // of a channel's tiles in a bin of transforms
	part  int   // from real parts to imaginary ones there
	sums  int   // and in a bin of sums
	reach int   // elements that are read of a bin of transforms
	t     tile
}

// Call returns what computes products of transforms that have the tiles of a channel at off, and imaginary parts so far from
// the real ones, as sums has.
func (p *FourierProducts) Call(off []int, part, sums int) FourierProductCall {
	return FourierProductCall{FourierProducts: p, off: off, part: part, sums: sums, reach: slices.Max(off) + part + p.tiles}
}

// Bin computes a bin of sums. Packed weights of the next bin are expected where those of this one end.
func (c *FourierProductCall) Bin(sums, transforms, weights []float32) {
	t, lanes := &c.t, c.kern.lanes
	mustHold(transforms, c.reach)
	t.off, t.k, t.lda, t.ldc, t.plane = c.off[:c.from], c.from, c.part, c.LD(), c.sums
	for b := range c.block.parts {
		first, end := c.block.start(b), c.block.start(b+1)
		block := weights[2*c.from*first*lanes : 2*c.from*end*lanes]
		kernels := c.kern.fourierProduct[end-first-1]
		t.b, t.next = block, weights[min(2*c.from*end*lanes, len(weights)-1):]
		for r := range c.rows.parts {
			row, below := c.rows.start(r), c.rows.start(r+1)
			t.rows, t.a = below-row, transforms[row:]
			t.c = sums[row*t.ldc+first*lanes:][:(t.rows-1)*t.ldc+t.plane+(end-first)*lanes]
			kernels[t.rows-1](t)
			t.next = block
		}
	}
}
