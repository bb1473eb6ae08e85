package cpu

import (
	"context"
	"fmt"
	"math"
	"sync"

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
	planes    int  // that a part of the work has
	bands     int  // or parts of a plane
	rows      int  // of results at a time
	ahead     int  // rows of results later, for which the source is fetched meanwhile; 0: it is in a near cache
	past      bool // nor will results be
	pad       bool
	sweeps    sync.Pool
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
	s.planes, s.bands = shares(n*groups*to, s.out, w.OutH, s.pool.Workers())
	s.rows = w.OutH
	switch band := max(1, bandElems/(w.InW*w.Stride)); {
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
func (s *slidingProduct) scratch() int      { return 0 }
func (s *slidingProduct) interleaves() bool { return false }
func (s *slidingProduct) pads() bool        { return s.pad }

// pack copies a group's weights wei[m][c][tap], in the order of rows.
func (s *slidingProduct) pack(packed, wei []float32, group int) {
	to := packed[group*s.groupWeights():][:s.groupWeights()]
	copy(to, wei)
	if taps := s.slider.K * s.slider.K; s.reversed {
		for i := range s.to * s.from {
			of := to[i*taps:][:taps]
			for i := range taps / 2 {
				of[i], of[taps-1-i] = of[taps-1-i], of[i]
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
}

func (s *slidingProduct) run(ctx context.Context, _ *arena, source, packed, target []float32, c *chain) error {
	r, _ := s.sweeps.Get().(*sliding)
	if r == nil {
		r = new(sliding)
	}
	*r = sliding{s, ctx, source, packed, target, c}
	planes := s.n * s.groups * s.to
	s.pool.Run((planes+s.planes-1)/s.planes*s.bands, r)
	*r = sliding{}
	s.sweeps.Put(r)
	return ctx.Err()
}

// Do implements simd.Task: some planes, or a band of one.
func (s *sliding) Do(_, part int) {
	if s.ctx.Err() != nil {
		return
	}
	first, band := part/s.bands*s.planes, part%s.bands
	rows := s.slider.OutH
	y0, y1 := band*rows/s.bands, (band+1)*rows/s.bands
	for i := first; i < min(first+s.planes, s.n*s.groups*s.to); i++ {
		channel := i % (s.groups * s.to)
		taps := s.slider.K * s.slider.K
		c := simd.Slide{Dst: s.target[i*s.out:][:s.out], Div: s.divisors, Ahead: s.ahead, Past: s.past}
		biased := s.chain != nil
		if biased {
			c.Bias = float32(math.Copysign(0, -1)) // which changes nothing
			if s.chain.bias != nil {
				c.Bias = s.chain.bias[channel]
			}
			c.Lo, c.Hi = s.chain.lo, s.chain.hi
			c.Past = s.past && s.chain.rest == nil
		}
		for y := y0; y < y1; y += s.rows {
			end := min(y1, y+s.rows)
			for k := range s.from {
				c.Src = s.source[(i/s.to*s.from+k)*s.in:][:s.in]
				if s.kind == simd.Weighted {
					c.Wei = s.packed[(channel*s.from+k)*taps:][:taps]
				}
				complete := k == s.from-1
				c.Add, c.Biased, c.Clip = k > 0, biased && complete, biased && complete && s.chain.clips
				s.slider.Rows(&c, y, end)
			}
			if biased && s.chain.rest != nil {
				at := y * s.slider.OutW
				s.chain.rest.apply(i/(s.groups*s.to), channel, at, c.Dst[at:end*s.slider.OutW])
			}
		}
	}
	if s.past {
		s.slider.Fence()
	}
}

// meansProduct is averages of whole planes.
type meansProduct struct {
	isa    simd.ISA
	pool   *simd.Pool
	means  *simd.Means
	planes int
	in     int
	by     float32
	share  int // planes of a part of the work
	sweeps sync.Pool
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
func (m *meansProduct) scratch() int                          { return 0 }
func (m *meansProduct) pack(packed, wei []float32, group int) {}
func (m *meansProduct) interleaves() bool                     { return false }
func (m *meansProduct) pads() bool                            { return false }

// averaging is a run.
type averaging struct {
	*meansProduct
	ctx            context.Context
	source, target []float32
}

func (m *meansProduct) run(ctx context.Context, _ *arena, source, _, target []float32, _ *chain) error {
	r, _ := m.sweeps.Get().(*averaging)
	if r == nil {
		r = new(averaging)
	}
	*r = averaging{m, ctx, source, target}
	m.pool.Run((m.planes+m.share-1)/m.share, r)
	*r = averaging{}
	m.sweeps.Put(r)
	return ctx.Err()
}

// Do implements simd.Task.
func (m *averaging) Do(_, part int) {
	if m.ctx.Err() == nil {
		first, end := part*m.share, min(m.planes, (part+1)*m.share)
		m.means.Rows(m.target[first:end], m.source[first*m.in:end*m.in], m.by)
	}
}
