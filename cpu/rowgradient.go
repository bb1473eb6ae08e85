package cpu

import (
	"context"
	"fmt"
	"sync"

	"github.com/gonvolve/gonvolve/cpu/simd"
)

// rowGradient is the sums of a gradient where groups have few channels, as sums of products along the rows of planes. The
// wide planes are copied in patches, so that the rows of all taps are there, and read where they are by all narrow ones.
//
// The work is parted by groups and their wide channels, and where these are few, by images and bands of positions as well,
// whose sums are added in the end.
type rowGradient struct {
	isa      simd.ISA
	pool     *simd.Pool
	g        *geometry
	patch    *patch
	channels int // wide ones of a group that are taken at a time
	blocks   int // of a group
	bands    int // of an image
	shares   int // of images' bands
	off      []int
	slider   *simd.Slider // where planes are related by windows, each pair for itself, and not copied
	runs     sync.Pool
}

// fewPairs says that a group has so few pairs of planes that they are best multiplied each for itself, by sliding windows
// where there are such: more share what tiles of rows load.
func (g *geometry) fewPairs() bool { return g.wideCG*g.narrowCG <= 2 }

// worthDotting says whether products along rows are faster than a matrix product, for which rows are transposed first: that
// takes as long as the lanes that are lost where rows don't fill vectors, and where lanes are added up, of some narrow
// channels; and tiles of few channels are mostly empty. On two cores with AVX-512 and AVX2, what it chose was 1.3 times
// slower than the other at most. Portable sums along rows pay for fewer channels only.
func worthDotting(isa simd.ISA, g *geometry) bool {
	switch {
	case g.fewPairs():
		return false
	case isa == simd.Portable:
		return g.narrowCG < 8
	case g.narrowCG < 16:
		return true
	}
	out, lanes := g.gathering().out, isa.Lanes()
	vectors := out[0] * out[1] * ((out[2] + lanes - 1) / lanes)
	lost := float64((vectors+dotVectors)*lanes - g.narrowSp)
	return float64(g.narrowCG)*lost < float64(2*lanes)*float64(g.narrowSp)
}

// dotVectors is the vectors of a row whose products take as long as to add up the lanes of their sums.
const dotVectors = 12

// patchOfDots is the elements of patches that stay in the cache while all narrow channels are multiplied with them.
const patchOfDots = 64 << 10

func newRowGradient(d *Device, g *geometry) *rowGradient {
	r := &rowGradient{isa: d.isa, pool: workers(), g: g}
	l := g.gathering()
	several := 4 * r.pool.Workers()
	// As few blocks as keep the workers busy: tiles are better filled by more channels.
	r.blocks = min(max(1, g.wideCG), (several+g.groups-1)/g.groups)
	r.channels = (g.wideCG + r.blocks - 1) / max(1, r.blocks)
	r.blocks = (g.wideCG + r.channels - 1) / r.channels
	if g.fewPairs() {
		if w, _, ok := l.windows(); ok {
			r.slider = simd.NewSlider(d.isa, simd.Gradient, w)
		}
	}
	total := l.out[l.outermost()]
	if r.slider != nil {
		r.bands, total = 1, l.out[1]
	} else {
		r.bands = l.bands(r.channels, patchOfDots)
	}
	parts := g.groups * r.blocks
	if g.n*r.bands*parts < several {
		r.bands = max(r.bands, min(total, several/max(1, g.n*parts)))
	}
	if r.shares = 1; parts < several {
		r.shares = max(1, min(g.n*r.bands, (several+parts-1)/parts))
	}
	r.patch = newPatch(r.isa, l, (l.out[l.outermost()]+r.bands-1)/r.bands)
	for c := range r.channels {
		for _, off := range r.patch.off {
			r.off = append(r.off, c*r.patch.plane+off)
		}
	}
	return r
}

func (r *rowGradient) String() string {
	if r.slider != nil {
		return fmt.Sprintf("%s, products of sliding windows, %d bands in %d shares", r.isa, r.bands, r.shares)
	}
	return fmt.Sprintf("%s, products along rows, %d bands in %d shares", r.isa, r.bands, r.shares)
}

func (r *rowGradient) pads() bool { return r.slider != nil || !r.patch.asIs }

// own is what each worker takes for patches.
func (r *rowGradient) own() int {
	if r.patch.asIs || r.slider != nil {
		return 0
	}
	return lines(r.channels * r.patch.plane)
}

// apart is the elements of the sums of one share, if there are several.
func (r *rowGradient) apart() int {
	if r.shares == 1 {
		return 0
	}
	return r.g.narrowC * r.g.rows()
}

func (r *rowGradient) scratch() int { return r.pool.Workers()*r.own() + r.shares*r.apart() }

// rowSlope is a run of a row gradient.
type rowSlope struct {
	*rowGradient
	ctx                context.Context
	wide, narrow       []float32
	sums, wei, patches []float32
}

func (r *rowGradient) run(ctx context.Context, a *arena, wide, narrow, wei []float32) error {
	s, _ := r.runs.Get().(*rowSlope)
	if s == nil {
		s = new(rowSlope)
	}
	memory := a.get(r.scratch())
	sums := memory[r.pool.Workers()*r.own():]
	if r.shares == 1 {
		sums = wei
	}
	*s = rowSlope{r, ctx, wide, narrow, sums, wei, memory}
	r.pool.Run(r.shares*r.g.groups*r.blocks, s)
	if r.shares > 1 {
		r.pool.Run(r.g.narrowC, (*addingUp)(s))
	}
	a.put(memory)
	*s = rowSlope{}
	r.runs.Put(s)
	return ctx.Err()
}

// Do implements simd.Task: the sums of a share for some wide channels of a group.
func (s *rowSlope) Do(worker, i int) {
	g, l := s.g, s.patch.l
	block := i % s.blocks
	group, share := i/s.blocks%g.groups, i/s.blocks/g.groups
	first := block * s.channels
	channels := min(s.channels, g.wideCG-first)
	sums := s.sums[share*s.apart()+group*g.narrowCG*g.rows()+first*g.taps:]
	for m := range g.narrowCG {
		clear(sums[m*g.rows():][:channels*g.taps])
	}
	total := l.out[s.patch.axis]
	if s.slider != nil {
		total = l.out[1]
	}
	perRow := g.narrowSp / total
	dots := simd.Dots{M: g.narrowCG, LDB: l.stride[1] * s.patch.line, LDA: l.out[2], Plane: g.narrowSp, LDC: g.rows(),
		Off: s.off[:channels*g.taps]}
	for part := share * g.n * s.bands / s.shares; part < (share+1)*g.n*s.bands/s.shares && s.ctx.Err() == nil; part++ {
		image, band := part/s.bands, part%s.bands
		lo, hi := band*total/s.bands, (band+1)*total/s.bands
		data := s.wide[(image*g.wideC+group*g.wideCG+first)*g.wideSp:][:channels*g.wideSp]
		from := s.narrow[(image*g.narrowC+group*g.narrowCG)*g.narrowSp:][:g.narrowCG*g.narrowSp]
		if s.slider != nil {
			for m := range g.narrowCG {
				for c := range channels {
					s.slider.Rows(&simd.Slide{Src: data[c*g.wideSp:], Dst: from[m*g.narrowSp:], Wei: sums[m*g.rows()+c*g.taps:]}, lo, hi)
				}
			}
			continue
		}
		if s.patch.asIs {
			data = data[s.patch.skip(lo):]
		} else {
			to := s.patches[worker*s.own():][:s.own()]
			for c := range channels {
				s.patch.fill(to[c*s.patch.plane:][:s.patch.plane], data[c*g.wideSp:][:g.wideSp], lo)
			}
			data = to
		}
		out := l.out
		out[s.patch.axis] = hi - lo
		dots.Rows, dots.Cols = out[1], out[2]
		from = from[lo*perRow:]
		for z := range out[0] {
			dots.Add(s.isa, sums, from[z*l.out[1]*l.out[2]:], data[s.patch.at(z, 0, 0):])
		}
	}
}

// addingUp adds up the shares' sums, a narrow channel at a time.
type addingUp rowSlope

func (s *addingUp) Do(_, o int) {
	n := s.g.rows()
	to := s.wei[o*n:][:n]
	clear(to)
	for share := range s.shares {
		for i, v := range s.sums[share*s.apart()+o*n:][:n] {
			to[i] += v
		}
	}
}
