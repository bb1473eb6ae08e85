package simd

import (
	"sync"
	"unsafe"
)

// Windows are windows of K×K cells that move over a plane: result (y, x) is made of the cells from (Stride·y − Top,
// Stride·x − Left) on, of those that exist.
type Windows struct {
	K, Stride, Top, Left int
	InH, InW, OutH, OutW int
}

// WindowKind is what is made of a window's cells.
type WindowKind uint8

// The kinds.
const (
	Weighted WindowKind = iota // the sum of their products with weights
	Averaged                   // their sum, divided
	Greatest                   // NaN if one is NaN, else the first of the greatest; −∞ of none
	Gradient                   // nothing: it is multiplied with the result, and added up for all windows, cell by cell
)

// Slider is windows with the kernels for them. They load each row once, for all results that it is a part of, and leave
// out what does not exist, so that no plane is copied to have a border.
type Slider struct {
	Windows
	kind    WindowKind
	live    int // rows of results that a row of the plane can be a part of
	columns []column
	fours   []column // of kernels that make four channels; nil: there are none
	fence   func()
	shape   slideKernels
}

// slideKernel computes columns of results. What fills a strip sees to it that all addresses exist.
type slideKernel func(*strip)

// slideKernels are those of a kind and shape, by number of vectors less one.
type slideKernels struct {
	kind      WindowKind
	k, stride int
	kernels   []slideKernel
	fours     []slideKernel // of four channels from some
	all       slideKernel   // for strips of as many vectors as there are kernels, whose cells all exist; nil: none
}

// strip is what such a kernel works on, see gen/windows.go. Distances are in bytes.
type strip struct {
	src, dst, wei, div *float32
	masks              *masks
	start              int // from src to the first window's first cell, which need not exist
	row                int // of that cell
	end                int // the first row that doesn't exist, or isn't needed
	steps              int // rows of results to make, with those before the first that its window's rows are a part of
	skip               int // how many of these; of Gradient, how many rows of dst there are
	ldSrc, ldDst       int
	finish             int     // bits as of a tile
	bias               float32 // of Means: the divisor
	limits             [2]float32
	ahead              int // from a row to what is fetched into the cache meanwhile; 0: nothing
	past               int // 1: whole aligned vectors are stored past the caches
	more               int // strips to the right of this one, of kernels that know all their cells to exist
	// Of fours: how many channels of the source there are, from channel to channel on either side, and the four biases.
	from, srcPlane, dstPlane int
	biases                   [4]float32
}

// masks are the lanes of the last vector that are stored, in [0][0], how many these are, in [0][1][0], and those that exist of the
// i-th load of the first and of the last vector, in [i+1]: bits of one word, or words.
type masks [8][2][8]int32

// column is some vectors of columns: a strip, and those to the right of it that are as wide, if all their cells exist.
type column struct {
	x     int
	step  int // from a strip to the next
	more  int // strips
	run   slideKernel
	whole bool // vectors
	all   bool // cells exist
	masks masks
}

var strips = sync.Pool{New: func() any { return new(strip) }}

// NewSlider returns the kernels of an instruction set for windows, nil if there are none.
func NewSlider(isa ISA, kind WindowKind, w Windows) *Slider {
	k := kernelsOf(isa)
	for _, s := range k.slides {
		if s.kind == kind && s.k == w.K && s.stride == w.Stride {
			out := &Slider{Windows: w, kind: kind, live: (w.K + w.Stride - 1) / w.Stride, shape: s, fence: k.fence}
			out.columns = out.cut(k, s.kernels, s.all)
			if s.fours != nil {
				out.fours = out.cut(k, s.fours, nil)
			}
			return out
		}
	}
	return nil
}

// exists says whether a lane of the i-th load of the vector at column x has a cell.
func (s *Slider) exists(x, i, lane, lanes int) bool {
	cell := x*s.Stride + i + lane - s.Left
	if s.Stride == 2 { // even loads are followed by the vector after
		cell = 2*x + i&^1 + i&1*lanes + lane - s.Left
	}
	return cell >= 0 && cell < s.InW
}

// loads is how many loads a vector of results takes from a row.
func (s *Slider) loads() int { return (s.K + s.Stride - 1) / s.Stride * s.Stride }

// cut shares the columns out to kernels of more and more vectors: of all vectors between the first and the last of a strip, every
// cell exists, and of those of the kernel all, if there is one.
func (s *Slider) cut(k *kernels, kernels []slideKernel, all slideKernel) (columns []column) {
	for x := 0; x < s.OutW; {
		n, _ := k.vectors(s.OutW - x)
		n = min(n, len(kernels))
		for v := 1; v < n-1; v++ {
			if !s.all(x+v*k.lanes, k.lanes) {
				n = v + 1
			}
		}
		c := column{x: x, step: n * k.lanes, run: kernels[n-1]}
		x += c.step
		c.whole = x <= s.OutW
		if c.whole && n == len(kernels) && all != nil && s.all(c.x, k.lanes) && s.all(x-k.lanes, k.lanes) {
			if i := len(columns) - 1; i >= 0 && columns[i].all {
				columns[i].more++
				continue
			}
			c.run, c.all = all, true
		}
		stored := min(k.lanes, s.OutW-x+k.lanes)
		c.masks[0] = [2][8]int32{firstLanes(k, stored), {int32(stored)}}
		for i := range s.loads() {
			for which, at := range []int{c.x, x - k.lanes} {
				c.masks[i+1][which] = k.mask(func(lane int) bool { return s.exists(at, i, lane, k.lanes) })
			}
		}
		columns = append(columns, c)
	}
	return columns
}

// all says that the vector at column x has all cells.
func (s *Slider) all(x, lanes int) bool {
	for i := range s.loads() {
		if !s.exists(x, i, 0, lanes) || !s.exists(x, i, lanes-1, lanes) {
			return false
		}
	}
	return true
}

// mask is the lanes for which is is true.
func (k *kernels) mask(is func(lane int) bool) (m [8]int32) {
	for lane := range k.lanes {
		switch {
		case !is(lane):
		case k.lanes > 8:
			m[0] |= 1 << lane
		default:
			m[lane] = -1
		}
	}
	return m
}

func firstLanes(k *kernels, n int) [8]int32 { return k.mask(func(lane int) bool { return lane < n }) }

// Slide is a plane and its results.
type Slide struct {
	Src, Dst []float32
	Wei      []float32 // of Weighted, or of Gradient, to add to
	Div      []float32 // of Averaged, for each result
	// What happens to sums of Weighted before they are stored: they are added to what is there, a bias is added, what is
	// below Lo becomes Lo and what is above Hi becomes Hi.
	Add          bool
	Biased, Clip bool // Clip goes with a bias
	Bias         float32
	Lo, Hi       float32
	// Ahead is how many rows of results later those are for which the source is fetched into the cache meanwhile; 0: none
	// are. Past says that results are to go to memory past the caches, where they can: Fence has to follow.
	Ahead int
	Past  bool
}

// Rows computes rows y0 to y1−1 of the results, or what they add to weights.
func (s *Slider) Rows(c *Slide, y0, y1 int) {
	if y0 >= y1 || s.OutW == 0 {
		return
	}
	t := s.strip(c, y0, y1)
	src, dst := c.Src[:s.InH*s.InW], c.Dst[:s.OutH*s.OutW]
	if len(src) > 0 {
		t.src = &src[0]
	} else {
		t.end = 0
	}
	if s.kind == Weighted || s.kind == Gradient {
		t.wei = &c.Wei[:s.K*s.K][0]
	}
	t.bias = c.Bias
	if c.Add {
		t.finish |= addsUp
	}
	for i := range s.columns {
		at := s.begin(t, c, &s.columns[i], dst, y0, y1)
		if s.kind == Gradient {
			t.skip = y1 - y0
		}
		if s.kind == Averaged {
			t.div = &c.Div[:len(dst)][at]
		}
		s.columns[i].run(t)
	}
	*t = strip{}
	strips.Put(t)
}

// Fours says whether Four computes windows.
func (s *Slider) Fours() bool { return s.fours != nil }

// Four computes rows y0 to y1−1 of the results of four channels, side by side in c.Dst as those of the source are in c.Src: sums
// over all of these. Wei has the weights of each of them, tap by tap for all four. Of c, Bias and Add are not used.
func (s *Slider) Four(c *Slide, biases [4]float32, y0, y1 int) {
	in, out := s.InH*s.InW, s.OutH*s.OutW
	if y0 >= y1 || s.OutW == 0 || in == 0 {
		return
	}
	t := s.strip(c, y0, y1)
	t.from, t.srcPlane, t.dstPlane = len(c.Src)/in, 4*in, 4*out
	t.src, t.wei, t.biases = &c.Src[0], &c.Wei[:t.from*s.K*s.K*4][0], biases
	for i := range s.fours {
		s.begin(t, c, &s.fours[i], c.Dst[:4*out], y0, y1)
		t.past = 0
		s.fours[i].run(t)
	}
	*t = strip{}
	strips.Put(t)
}

// strip is one that rows y0 to y1−1 of all columns begin with.
func (s *Slider) strip(c *Slide, y0, y1 int) *strip {
	t := strips.Get().(*strip)
	t.ldSrc, t.ldDst = 4*s.InW, 4*s.OutW
	t.end = max(0, min(s.InH, (y1-1)*s.Stride-s.Top+s.K))
	t.ahead, t.limits = c.Ahead*s.Stride*t.ldSrc, [2]float32{c.Lo, c.Hi}
	if c.Biased || c.Clip {
		t.finish |= biasByRow
	}
	if c.Clip {
		t.finish |= clipped
	}
	return t
}

// begin sets what is a column's own, and returns where its results begin in dst.
func (s *Slider) begin(t *strip, c *Slide, col *column, dst []float32, y0, y1 int) (at int) {
	top := y0*s.Stride - s.Top
	t.start, t.row = 4*(top*s.InW+col.x*s.Stride-s.Left), top
	t.steps, t.skip = y1-y0+s.live-1, s.live-1
	at = y0*s.OutW + col.x
	t.dst = &dst[at]
	t.masks, t.past, t.more = &col.masks, 0, col.more
	if c.Past && col.whole && (t.ldDst|4*col.step|int(uintptr(unsafe.Pointer(t.dst))))%64 == 0 {
		t.past = 1
	}
	return at
}

// Fence has all goroutines see what Rows stored past the caches, once they see what is stored after Fence.
func (s *Slider) Fence() { s.fence() }

// Means are the sums of rows of so many elements, one after the other, each divided by the same.
type Means struct {
	k     *kernels
	n     int
	whole int // vectors before the last
	last  masks
}

// NewMeans returns the means of rows of n elements.
func NewMeans(isa ISA, n int) *Means {
	m := &Means{k: kernelsOf(isa), n: n}
	vectors, lanes := m.k.vectors(n)
	m.whole = vectors - 1
	m.last[0][0] = firstLanes(m.k, lanes)
	return m
}

// Rows sets dst to those of as many rows.
func (m *Means) Rows(dst, src []float32, by float32) {
	if m.k.rowMeans == nil || len(dst) == 0 || m.n == 0 {
		for i := range dst {
			dst[i] = Sum(src[i*m.n:][:m.n]) / by
		}
		return
	}
	t := strips.Get().(*strip)
	t.src, t.dst, t.steps, t.ldSrc = &src[:len(dst)*m.n][0], &dst[0], len(dst), 4*m.n
	t.end, t.masks, t.bias = m.whole, &m.last, by
	m.k.rowMeans(t)
	*t = strip{}
	strips.Put(t)
}

// Sum adds up eight sums of a run, which need not wait for each other.
func Sum(run []float32) float32 {
	var a, b, c, d, e, f, g, h float32
	for len(run) >= 8 {
		v := run[:8:8]
		a += v[0]
		b += v[1]
		c += v[2]
		d += v[3]
		e += v[4]
		f += v[5]
		g += v[6]
		h += v[7]
		run = run[8:]
	}
	for _, v := range run {
		a += v
	}
	return ((a + b) + (c + d)) + ((e + f) + (g + h))
}
