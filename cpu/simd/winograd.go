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

// Scratch is how many elements of scratch memory the transforms take.
func (m Winograd) Scratch() int { return m.inResults(16) * 16 }

// Wei is G wei Gᵀ of one channel's weights, in float64 and rounded once.
func (m Winograd) Wei(dst []float32, wei *[9]float32) {
	points := [...]float64{0, 1, -1, 2, -2, 0.5, -0.5}
	n := m.Cells()
	apply := func(to []float64, a, b, c float64) {
		for i, x := range points[:n-1] {
			d := 1.0 // of Π (s − y) in x
			for j, y := range points[:n-1] {
				if j != i {
					d *= x - y
				}
			}
			to[i] = (a + x*(b+x*c)) / d
		}
		to[n-1] = c
	}
	var half [3][8]float64
	for i := range half {
		apply(half[i][:], float64(wei[3*i]), float64(wei[3*i+1]), float64(wei[3*i+2]))
	}
	for j := range n {
		var column [8]float64
		apply(column[:], half[0][j], half[1][j], half[2][j])
		for i := range n {
			dst[n*i+j] = float32(column[i])
		}
	}
}

// WinogradSrc is rows of tiles of the source as the transforms read them: of each of the t rows that a tile has, the m
// parts of elements x mod m, so that what neighbouring tiles have at the same place are neighbours, also from one row of
// tiles to the next. Element (i, x) of tile row r, in a channel, is at
//
//	(m·i + x mod m)·part + r·(Tiles + 1) + x/m,   part = Rows·(Tiles + 1)
type WinogradSrc struct {
	M            Winograd
	Rows, Tiles  int // rows of tiles, and tiles in a row
	First, Count int // the tiles that are transformed, row by row
	// Of the source's plane of Height×Width elements, the first tile's first element is at (Y, X).
	Height, Width, Y, X int
}

// Channel is how many elements a channel takes.
func (w *WinogradSrc) Channel() int { return int(w.M) * w.M.Cells() * w.part() }

func (w *WinogradSrc) part() int { return w.Rows * (w.Tiles + 1) }

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
	off [19]int
}

// Fill writes channels of the source, with zeros where there is nothing to read.
func (c *WinogradCall) Fill(w *WinogradSrc, dst, src []float32) {
	k := kernelsOf(c.ISA)
	m, rows, plane := int(w.M), w.M.Cells(), w.Height*w.Width
	t := &c.t
	t.off, t.a = c.off[:], c.Scratch[:m*k.lanes]
	t.ldb, t.ldc = w.Width, m*w.part()
	t.b = src[:c.Channels*plane]
	c.off[0], c.off[2], c.off[16] = w.part(), plane, w.Channel()-rows*t.ldc
	for r := range w.Rows {
		y := w.Y + m*r
		low, high := min(rows, max(0, -y)), max(0, min(rows, w.Height-y)) // rows that are there
		high = max(low, high)
		t.k, c.off[17], c.off[18] = high-low, low, rows-high
		c.off[15] = plane - t.k*w.Width
		for x := 0; x <= w.Tiles; x += k.lanes {
			t.rows, t.lanes = c.Channels, min(k.lanes, w.Tiles+1-x)
			first := w.X + m*x
			for v := range m {
				at := first + v*k.lanes
				low := max(0, min(k.lanes, -at))
				c.off[3+2*v], c.off[4+2*v] = low, max(low, min(k.lanes, w.Width-at))
			}
			c.off[1] = (y+low)*w.Width + first
			t.c = dst[r*(w.Tiles+1)+x:][:(c.Channels-1)*w.Channel()+(rows-1)*t.ldc+(m-1)*c.off[0]+t.lanes]
			k.winograd[m/2-1].part(t)
		}
	}
}

// Source writes the planes of the source's tiles, one after the other.
func (c *WinogradCall) Source(w *WinogradSrc, src []float32) {
	k := kernelsOf(c.ISA)
	t := &c.t
	transform, planes := k.winograd[c.M/2-1].src, c.M.Planes()
	reach := (int(c.M)*w.M.Cells()-1)*w.part() + k.lanes + 1
	t.off, t.a = c.off[:], c.Scratch[:planes*k.lanes]
	t.k, t.ldb, t.ldc = c.Channels, w.Channel(), c.LD
	c.off[0], c.off[1] = w.part(), c.Plane
	done := 0
	vector := func(x, lanes, bits int) {
		t.lanes, c.off[2] = lanes, bits
		t.b = src[x:][:(c.Channels-1)*t.ldb+reach]
		t.c = c.Planes[done:][:(planes-1)*c.Plane+(c.Channels-1)*c.LD+lanes]
		transform(t)
		done += lanes
	}
	if !k.compresses {
		for r := w.First / w.Tiles; done < w.Count; r++ {
			start := max(0, w.First-r*w.Tiles)
			end := min(w.Tiles, w.First+w.Count-r*w.Tiles)
			for x := start; x < end; x += k.lanes {
				lanes := min(k.lanes, end-x)
				if done+k.lanes <= w.Count { // what is too much is overwritten by the next
					vector(r*(w.Tiles+1)+x, k.lanes, 0)
					done += lanes - k.lanes
				} else {
					vector(r*(w.Tiles+1)+x, lanes, 0)
				}
			}
		}
		return
	}
	for x := 0; x < c.off[0]; x += k.lanes {
		lanes, bits := 0, 0
		for i := range min(k.lanes, c.off[0]-x) {
			r, n := (x+i)/(w.Tiles+1), (x+i)%(w.Tiles+1)
			if at := r*w.Tiles + n - w.First; n < w.Tiles && at >= 0 && at < w.Count {
				bits |= 1 << i
				lanes++
			}
		}
		if lanes > 0 {
			vector(x, lanes, bits)
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
