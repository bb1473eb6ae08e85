package cpu

import (
	"context"
	"fmt"
	"math"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// slidingProduct is the sums of a lattice, or of one channel in each group its greatest, by windows that slide over planes:
// each row is loaded once for every channel that is made of it, and no plane is copied.
type slidingProduct struct {
	isa       simd.ISA
	pool      *simd.Pool
	slider    *simd.Slider
	kind      simd.WindowKind
	reversed  bool // taps are in the other order
	n, groups int
	from, to  int // channels of a group
	in, out   int // positions of a plane
	divisors  []float32
	block     int  // channels that are made at once: 1, or 4 of each group
	planes    int  // that a part of the work has, whole blocks
	bands     int  // or parts of a plane
	rows      int  // of results at a time
	ahead     int  // rows of results later, for which the source is fetched meanwhile; 0: it is in a near cache
	past      bool // nor will results be
	pad       bool
	together  int // planes of one channel that are widened at a time, if runs may have them as 16-bit floats
	sweeps    runs[sliding, *sliding]
}

// Planes of more elements than nearPlane are in no near cache. They are read in bands of bandElems or more, the next
// meanwhile fetched, as is what comes next where all planes together have more than nearSource. Results beyond nearResults
// elements in all are in no cache when somebody reads them.
const (
	nearPlane   = 256 << 10
	nearSource  = 2 << 20
	bandElems   = 4 << 10
	bandOfAll   = 8 << 10
	nearResults = 8 << 20
)

// windows are those of the lattice, if its taps fill a square and strides are alike; reversed says that they do so
// backwards.
func (l *lattice) windows() (w simd.Windows, reversed, ok bool) {
	w = simd.Windows{Stride: l.stride[2], InH: l.in[1], InW: l.in[2], OutH: l.out[1], OutW: l.out[2]}
	for w.K*w.K < len(l.taps) {
		w.K++
	}
	if len(l.taps) == 0 || w.K*w.K != len(l.taps) || l.in[0] != 1 || l.out[0] != 1 || l.stride[1] != w.Stride {
		return w, false, false
	}
	first, last := l.taps[0], l.taps[len(l.taps)-1]
	if reversed = first[1] > last[1]; reversed {
		first = last
	}
	w.Top, w.Left = -first[1], -first[2]
	for i, t := range l.taps {
		if reversed {
			i = len(l.taps) - 1 - i
		}
		if t != [3]int{0, first[1] + i/w.K, first[2] + i%w.K} {
			return w, false, false
		}
	}
	return w, reversed, true
}

// newSliding plans the sums of l, nil if no windows compute them.
func newSliding(d *Device, l *lattice, n, groups, from, to int, kind simd.WindowKind) *slidingProduct {
	w, reversed, ok := l.windows()
	if !ok {
		return nil
	}
	s := &slidingProduct{isa: d.isa, pool: workers(), kind: kind, reversed: reversed, n: n, groups: groups, from: from, to: to, in: volume(l.in),
		out: volume(l.out), bands: 1, planes: 1, slider: simd.NewSlider(d.isa, kind, w)}
	if s.slider == nil {
		return nil
	}
	s.pad = w.Top > 0 || w.Left > 0 || (w.OutH-1)*w.Stride-w.Top+w.K > w.InH || (w.OutW-1)*w.Stride-w.Left+w.K > w.InW
	if s.block = 1; kind == simd.Weighted && s.slider.Fours() && to%4 == 0 {
		s.block = 4
	}
	s.planes, s.bands = shares(n*groups*to/s.block, s.block*s.out, w.OutH, s.pool.Workers())
	s.planes *= s.block
	s.rows = w.OutH
	switch band := max(1, bandElems/(w.InW*w.Stride)); {
	case s.in > nearPlane && w.K <= w.Stride:
		// Each row is read once: down the plane, strip by strip, where the processor itself sees what comes next.
	case s.in > nearPlane:
		s.rows = band
		if w.K > w.Stride { // which reads rows twice
			s.rows = max(s.rows, 8)
		}
		s.ahead = s.rows
	case n*groups*from*s.in > nearSource:
		s.ahead = band
	}
	if from > 1 { // whose bands stay in the nearest cache for all that is made of them
		s.rows = min(s.rows, max(8, bandOfAll/(from*w.InW*w.Stride)))
	}
	s.past = from == 1 && n*groups*to*s.out > nearResults
	return s
}

// shareElems is how many results a part of the work has, of cheap ones, if there are enough.
const shareElems = 16 << 10

// shares is how many planes of results a part of the work has, or how many parts a plane of so many rows is cut into.
func shares(planes, elems, rows, workers int) (perPart, bands int) {
	if parts := 4 * workers; planes < parts {
		return 1, min(max(1, rows/8), (parts+planes-1)/max(1, planes))
	}
	return max(1, min(shareElems/max(1, elems), planes/(4*workers))), 1
}

func (s *slidingProduct) String() string {
	w := &s.slider.Windows
	if s.bands > 1 {
		return fmt.Sprintf("%s, sliding %d×%d/%d, %d bands", s.isa, w.K, w.K, w.Stride, s.bands)
	}
	return fmt.Sprintf("%s, sliding %d×%d/%d, %d planes at a time", s.isa, w.K, w.K, w.Stride, s.planes)
}

func (s *slidingProduct) weights() int      { return s.groups * s.groupWeights() }
func (s *slidingProduct) groupWeights() int { return s.to * s.from * s.slider.K * s.slider.K }
func (s *slidingProduct) interleaves() bool { return false }
func (s *slidingProduct) pads() bool        { return s.pad }

// scratch is a plane and its results for each worker that has them as 16-bit floats.
func (s *slidingProduct) scratch() int {
	return s.pool.Workers() * s.own()
}

func (s *slidingProduct) own() int { return lines(s.together*s.in) + lines(s.together*s.out) }

// pack copies a group's weights wei[m][c][tap], in the order of rows: to [block of m][c][tap][m in the block].
func (s *slidingProduct) pack(packed, wei []float32, group int) {
	to := packed[group*s.groupWeights():][:s.groupWeights()]
	taps := s.slider.K * s.slider.K
	for m := range s.to {
		for c := range s.from {
			for tap := range taps {
				at := tap
				if s.reversed {
					at = taps - 1 - tap
				}
				to[((m/s.block*s.from+c)*taps+at)*s.block+m%s.block] = wei[(m*s.from+c)*taps+tap]
			}
		}
	}
}

// sliding is a run.
type sliding struct {
	*slidingProduct
	ctx            context.Context
	source, packed []float32
	target         []float32
	chain          *chain
	halves         halfEnds
	memory         []float32 // of workers that have halves
}

func (s *slidingProduct) run(ctx context.Context, _ *arena, source, packed, target []float32, c *chain) error {
	return s.slide(sliding{s, ctx, source, packed, target, c, halfEnds{}, nil})
}

// runHalves implements halved.
func (s *slidingProduct) runHalves(ctx context.Context, a *arena, h halfEnds, packed, target []float32, c *chain) error {
	memory := a.get(s.scratch())
	defer a.put(memory)
	return s.slide(sliding{s, ctx, nil, packed, target, c, h, memory})
}

func (s *slidingProduct) slide(state sliding) error {
	planes := s.n * s.groups * s.to
	s.sweeps.do(s.pool, (planes+s.planes-1)/s.planes*s.bands, state)
	return state.ctx.Err()
}

// Do implements simd.Task: some planes, or a band of one.
func (s *sliding) Do(worker, part int) {
	if s.ctx.Err() != nil {
		return
	}
	first, band := part/s.bands*s.planes, part%s.bands
	last := min(first+s.planes, s.n*s.groups*s.to)
	rows := s.slider.OutH
	y0, y1 := band*rows/s.bands, (band+1)*rows/s.bands
	var h halfPlanes
	for i := first; i < last; i += s.block {
		channel := i % (s.groups * s.to)
		taps := s.slider.K * s.slider.K
		c := simd.Slide{Div: s.divisors}
		nth := 0 // of several planes
		if s.halves.stay {
			if nth = (i - first) % s.together; nth == 0 {
				h = s.halfPlanes(worker, i, min(s.together, last-i))
			}
			c.Src, c.Dst = h.wide[nth*s.in:][:s.in], h.made[nth*s.out:][:s.out]
		} else {
			c.Dst, c.Ahead, c.Past = s.target[i*s.out:][:s.block*s.out], s.ahead, s.past
		}
		biased := s.chain != nil
		biases := noBiases
		if biased {
			if s.chain.bias != nil {
				copy(biases[:s.block], s.chain.bias[channel:])
			}
			c.Bias, c.Lo, c.Hi = biases[0], s.chain.lo, s.chain.hi
			c.Past = c.Past && s.chain.rest == nil
		}
		for y := y0; y < y1; y += s.rows {
			end := min(y1, y+s.rows)
			if s.block > 1 {
				c.Src = s.source[i/s.to*s.from*s.in:][:s.from*s.in]
				c.Wei = s.packed[channel*s.from*taps:][:s.block*s.from*taps]
				c.Biased, c.Clip = biased, biased && s.chain.clips
				s.slider.Four(&c, biases, y, end)
			} else {
				s.one(&c, &h, nth, i, biased, y, end)
			}
			if biased && s.chain.rest != nil {
				for k := range s.block {
					at := y * s.slider.OutW
					s.chain.rest.apply(i/(s.groups*s.to), channel+k, at, c.Dst[k*s.out:][at:end*s.slider.OutW])
				}
			}
			switch {
			case s.together == 1:
				h.narrow(s.isa, y*s.slider.OutW, end*s.slider.OutW)
			case nth == s.together-1 || i == last-1:
				h.narrow(s.isa, 0, len(h.made))
			}
		}
	}
	if s.past {
		s.slider.Fence()
	}
}

// noBiases change nothing.
var noBiases = func() (b [4]float32) {
	for i := range b {
		b[i] = float32(math.Copysign(0, -1))
	}
	return b
}()

// one computes rows of the results of one channel, source channel by source channel.
func (s *sliding) one(c *simd.Slide, h *halfPlanes, nth, i int, biased bool, y, end int) {
	channel, taps := i%(s.groups*s.to), s.slider.K*s.slider.K
	for k := range s.from {
		switch w := &s.slider.Windows; {
		case !s.halves.stay:
			c.Src = s.source[(i/s.to*s.from+k)*s.in:][:s.in]
		case s.together == 1:
			h.widen(s.isa, w.InW, max(0, y*w.Stride-w.Top), min(w.InH, (end-1)*w.Stride-w.Top+w.K))
		case nth == 0:
			h.widen(s.isa, 1, 0, len(h.wide))
		}
		if s.kind == simd.Weighted {
			c.Wei = s.packed[(channel*s.from+k)*taps:][:taps]
		}
		complete := k == s.from-1
		c.Add, c.Biased, c.Clip = k > 0, biased && complete, biased && complete && s.chain.clips
		s.slider.Rows(c, y, end)
	}
}

// halfPlanes are n planes from i on of a run on 16-bit floats, for a worker.
func (s *sliding) halfPlanes(worker, i, n int) halfPlanes {
	own := s.memory[worker*s.own():][:s.own()]
	h := halfPlanes{source: s.halves.source[i*s.in:][:n*s.in], wide: own[:n*s.in], made: own[lines(s.together*s.in):][:n*s.out]}
	if s.halves.target != nil {
		h.target = s.halves.target[i*s.out:][:n*s.out]
	} else {
		h.made = s.target[i*s.out:][:n*s.out]
	}
	return h
}

// meansProduct is averages of whole planes.
type meansProduct struct {
	isa    simd.ISA
	pool   *simd.Pool
	means  *simd.Means
	planes int
	in     int
	by     float32
	share  int  // planes of a part of the work
	widens bool // runs may have them as 16-bit floats
	sweeps runs[averaging, *averaging]
}

func newMeans(d *Device, p *problem.Problem, w *windows) *meansProduct {
	m := &meansProduct{isa: d.isa, pool: workers(), planes: p.N * p.IC, in: volume(w.in), by: float32(w.divideBy([3]int{}))}
	m.means = simd.NewMeans(d.isa, m.in)
	m.share, _ = shares(m.planes, m.in, 1, m.pool.Workers())
	return m
}

func (m *meansProduct) String() string {
	return fmt.Sprintf("%s, means of %d planes at a time", m.isa, m.share)
}

func (m *meansProduct) weights() int                          { return 0 }
func (m *meansProduct) pack(packed, wei []float32, group int) {}
func (m *meansProduct) interleaves() bool                     { return false }
func (m *meansProduct) pads() bool                            { return false }

// scratch is some planes and their means for each worker that has them as 16-bit floats.
func (m *meansProduct) scratch() int {
	if !m.widens {
		return 0
	}
	return m.pool.Workers() * m.own()
}

func (m *meansProduct) own() int { return lines(m.together()*m.in) + lines(m.share) }

// together is how many planes are widened at a time.
func (m *meansProduct) together() int { return min(m.share, max(1, bandElems/max(1, m.in))) }

// averaging is a run.
type averaging struct {
	*meansProduct
	ctx            context.Context
	source, target []float32
	halves         halfEnds
	memory         []float32 // of workers that have halves
}

func (m *meansProduct) run(ctx context.Context, _ *arena, source, _, target []float32, _ *chain) error {
	return m.average(averaging{m, ctx, source, target, halfEnds{}, nil})
}

// runHalves implements halved.
func (m *meansProduct) runHalves(ctx context.Context, a *arena, h halfEnds, _, target []float32, _ *chain) error {
	memory := a.get(m.scratch())
	defer a.put(memory)
	return m.average(averaging{m, ctx, nil, target, h, memory})
}

func (m *meansProduct) average(state averaging) error {
	m.sweeps.do(m.pool, (m.planes+m.share-1)/m.share, state)
	return state.ctx.Err()
}

// Do implements simd.Task.
func (m *averaging) Do(worker, part int) {
	if m.ctx.Err() != nil {
		return
	}
	first, end := part*m.share, min(m.planes, (part+1)*m.share)
	if !m.halves.stay {
		m.means.Rows(m.target[first:end], m.source[first*m.in:end*m.in], m.by)
		return
	}
	own := m.memory[worker*m.own():][:m.own()]
	wide, made := own[:m.together()*m.in], own[lines(m.together()*m.in):][:end-first]
	if m.halves.target == nil {
		made = m.target[first:end]
	}
	for i := first; i < end; i += m.together() {
		n := min(m.together(), end-i)
		simd.Widen(m.isa, wide[:n*m.in], m.halves.source[i*m.in:][:n*m.in])
		m.means.Rows(made[i-first:][:n], wide[:n*m.in], m.by)
	}
	if m.halves.target != nil {
		simd.Narrow(m.isa, m.halves.target[first:end], made)
	}
}
