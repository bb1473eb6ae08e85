package simd

import "unsafe"

// The transforms of Winograd's F(m×m, 3×3) (Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016), which
// makes tiles of m×m results of tiles of t×t elements of the source, t = m+2, that overlap by 2:
//
//	dst = Aᵀ [ Σ_c (G wei Gᵀ) ⊙ (Bᵀ src B) ] A
//
// The matrices are those of package engine/winograd: with the points 0, ±1, ±2, ±1/2, m+1 of them, and ∞, for m = 4
//
//	     4  0 −5  0  1  0            1/4     0    0
//	     0 −4 −4  1  1  0           −1/6  −1/6 −1/6           1  1  1  1  1  0
//	Bᵀ = 0  4 −4 −1  1  0       G = −1/6   1/6 −1/6      Aᵀ = 0  1 −1  2 −2  0
//	     0 −2 −1  2  1  0           1/24  1/12  1/6           0  1  1  4  4  0
//	     0  2 −1 −2  1  0           1/24 −1/12  1/6           0  1 −1  8 −8  1
//	     0  4  0 −5  0  1              0     0    1
//
// The t² elements of a transformed tile lie in as many planes, of a row for each channel and a column for each tile, so that
// the sum over the channels is t² matrix products. Their results lie in planes the other way about: vectors are of channels,
// of which there are whole ones more often than of tiles.

// Winograd is m, one of WinogradSizes.
type Winograd int

// WinogradSizes are the transforms that there are.
var WinogradSizes = [...]Winograd{2, 4, 6}

// Cells is t, what a tile reads along an axis.
func (m Winograd) Cells() int { return int(m) + 2 }

// Planes is t².
func (m Winograd) Planes() int { return m.Cells() * m.Cells() }

// across is how many vectors of results of whole tiles are transposed together.
func (m Winograd) across() int {
	if m == 6 {
		return 3
	}
	return 1
}

// inResults is how many vectors of scratch memory the transform of results takes, of so many lanes.
func (m Winograd) inResults(lanes int) int { return m.Cells()*int(m) + int(m)*m.across()*lanes + 2 }

// inSource is how many vectors the transform of the source takes: what it has between its passes, and masks.
func (m Winograd) inSource() int { return m.Planes() + int(m) + 3 }

// Scratch is how many elements of scratch memory the transforms take.
func (m Winograd) Scratch() int { return m.inResults(16) * 16 }

// winogradPoints are those of the largest transform; the others begin with them.
var winogradPoints = [...]float64{0, 1, -1, 2, -2, 0.5, -0.5}

// winogradFactors are, for each m, 1/Π (x − y) of each of its points x over its other points y.
var winogradFactors = func() (all [7][len(winogradPoints)]float64) {
	for _, m := range WinogradSizes {
		points := winogradPoints[:m.Cells()-1]
		for i, x := range points {
			d := 1.0
			for j, y := range points {
				if j != i {
					d *= x - y
				}
			}
			all[m][i] = 1 / d
		}
	}
	return all
}()

// Wei is G wei Gᵀ of one channel's weights, computed in float64 and rounded once. Its elements go to planes that are so far apart:
// dst[p·plane].
func (m Winograd) Wei(dst []float32, plane int, wei *[9]float32) {
	n := m.Cells()
	factors := winogradFactors[m][:n-1]
	apply := func(to *[8]float64, a, b, c float64) {
		for i, f := range factors {
			x := winogradPoints[i]
			to[i] = (a + x*(b+x*c)) * f
		}
		to[n-1] = c
	}
	var half [3][8]float64
	for i := range half {
		apply(&half[i], float64(wei[3*i]), float64(wei[3*i+1]), float64(wei[3*i+2]))
	}
	for j := range n {
		var column [8]float64
		apply(&column, half[0][j], half[1][j], half[2][j])
		for i, v := range column[:n] {
			dst[(n*i+j)*plane] = float32(v)
		}
	}
}

// WinogradSrc is rows of tiles of the source, some of which are transformed.
type WinogradSrc struct {
	M            Winograd
	Rows, Tiles  int // rows of tiles, and tiles in a row
	First, Count int // the tiles that are transformed, row by row
	// Of the source's plane of Height×Width elements, the first tile's first element is at (Y, X). Beyond are zeros.
	Height, Width, Y, X int
}

// WinogradSlack is how many elements after the last one may be loaded.
const WinogradSlack = 16

// WinogradCall is what transforms work on: planes of some channels.
type WinogradCall struct {
	ISA       ISA
	M         Winograd
	Channels  int
	Planes    []float32 // from the first channel and tile on
	Plane, LD int       // from plane to plane, and from channel to channel
	Scratch   []float32

	t   tile
	off [18]int
}

// Source writes the planes of the source's tiles, one after the other; src is planes of the source, from the first channel on.
func (c *WinogradCall) Source(w *WinogradSrc, src []float32) {
	if w.Count == 0 || c.Channels == 0 {
		return
	}
	k := kernelsOf(c.ISA)
	t := &c.t
	m, planes := int(c.M), c.M.Planes()
	t.off, t.a, t.b = c.off[:], c.Scratch[:c.M.inSource()*k.lanes], src[:c.Channels*w.Height*w.Width]
	t.k, t.ldb, t.ldc = c.Channels, w.Width, c.LD
	c.off[1], c.off[2] = c.Plane, w.Height*w.Width
	done := 0
	for r := w.First / w.Tiles; done < w.Count; r++ {
		y := w.Y + m*r
		low := min(c.M.Cells(), max(0, -y)) // of the rows that are there
		t.add, t.rows = low, max(0, min(c.M.Cells(), w.Height-y)-low)
		end := min(w.Tiles, w.First+w.Count-r*w.Tiles)
		for x := max(0, w.First-r*w.Tiles); x < end; x += k.lanes {
			first := w.X + m*x
			for v := range m + 1 {
				at := first + v*k.lanes
				low := min(k.lanes, max(0, -at))
				c.off[3+2*v], c.off[4+2*v] = low, max(low, min(k.lanes, w.Width-at))
			}
			c.off[0] = (y+low)*w.Width + first
			lanes := min(k.lanes, end-x)
			if t.lanes = lanes; k.whole && done+k.lanes <= w.Count {
				t.lanes = k.lanes // what is too much is overwritten by the next
			}
			switch { // where the next one of these vectors begins, or that of the next channels
			case x+k.lanes < end:
				c.off[17] = m * k.lanes
			case done+lanes < w.Count:
				c.off[17] = m * (w.Width - x)
			default:
				c.off[17] = len(t.b) - m*((r-w.First/w.Tiles)*w.Width+x-w.First%w.Tiles)
			}
			t.c = c.Planes[done:][:(planes-1)*c.Plane+(c.Channels-1)*c.LD+t.lanes]
			k.winograd[m/2-1].src(t)
			done += lanes
		}
	}
}

// WinogradDst is where results go: a bias for each channel is added, what is below Lo becomes Lo and what is above Hi
// becomes Hi, so that NaN stays. Of a row of tiles, Rows rows and Cols columns are there.
type WinogradDst struct {
	Bias        []float32
	Lo, Hi      float32
	C           []float32 // from the row of tiles on
	Channel, LD int
	Rows, Cols  int
	Far         bool // the results are not to stay in the cache
}

// Results reads the planes of a row of tiles, each with a row of channels, of which whole vectors are loaded. It reports
// whether all results are finite before bias and limits.
func (c *WinogradCall) Results(d *WinogradDst) (finite bool) {
	k := kernelsOf(c.ISA)
	t := &c.t
	m := int(c.M)
	t.off, t.a = c.off[:], c.Scratch[:c.M.inResults(k.lanes)*k.lanes]
	t.k = (d.Cols + m - 1) / m
	t.ldb, t.ldc, t.rows, t.limits = c.LD, d.LD, d.Rows, [2]float32{d.Lo, d.Hi}
	finite = true
	if t.add = 0; d.Far && d.lines() {
		t.add = 1
	}
	for o := 0; o < c.Channels; o += k.lanes {
		t.lanes = min(k.lanes, c.Channels-o)
		c.off[0], c.off[1], c.off[2] = c.Plane, d.Channel, d.Cols
		t.bias = d.Bias[o:][:t.lanes]
		t.b = c.Planes[o:][:(c.M.Planes()-1)*c.Plane+(t.k-1)*c.LD+k.lanes]
		t.c = d.C[o*d.Channel:][:(t.lanes-1)*d.Channel+(d.Rows-1)*d.LD+d.Cols]
		k.winograd[m/2-1].dst(t)
		for _, v := range t.a[:t.lanes] {
			finite = finite && v == v
		}
	}
	return finite
}

// lines says that the results are whole cache lines.
func (d *WinogradDst) lines() bool {
	const line = 64 / 4
	start := uintptr(unsafe.Pointer(unsafe.SliceData(d.C))) / 4
	return (start|uintptr(d.Channel)|uintptr(d.LD)|uintptr(d.Cols))%line == 0
}
