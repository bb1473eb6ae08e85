package simd

import "unsafe"

// The transforms of Winograd's F(4×4, 3×3) (Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016), which
// makes tiles of 4×4 results of tiles of 6×6 elements of the source that overlap by 2:
//
//	dst = Aᵀ [ Σ_c (G wei Gᵀ) ⊙ (Bᵀ src B) ] A
//
//	     4  0 −5  0  1  0            1/4     0    0
//	     0 −4 −4  1  1  0           −1/6  −1/6 −1/6           1  1  1  1  1  0
//	Bᵀ = 0  4 −4 −1  1  0       G = −1/6   1/6 −1/6      Aᵀ = 0  1 −1  2 −2  0
//	     0 −2 −1  2  1  0           1/24  1/12  1/6           0  1  1  4  4  0
//	     0  2 −1 −2  1  0           1/24 −1/12  1/6           0  1 −1  8 −8  1
//	     0  4  0 −5  0  1              0     0    1
//
// The 36 elements of a transformed tile lie in as many planes, of a row for each channel and a column for each tile, so that
// the sum over the channels is 36 matrix products. Their results lie in planes the other way about: vectors are of channels,
// of which there are whole ones more often than of tiles.

// The sizes of F(4×4, 3×3).
const (
	WinogradTile   = 4 // results
	WinogradSource = 6
	WinogradPlanes = WinogradSource * WinogradSource
)

// WinogradSrc is rows of tiles of the source as the transforms read them: of each of the 6 rows that a tile has, the four
// parts of elements x mod 4, so that what neighbouring tiles have at the same place are neighbours, also from one row of
// tiles to the next. Element (i, x) of tile row r, in a channel, is at
//
//	(4i + x mod 4)·part + r·(Tiles + 1) + x/4,   part = Rows·(Tiles + 1)
type WinogradSrc struct {
	Rows, Tiles  int // rows of tiles, and tiles in a row
	First, Count int // the tiles that are transformed, row by row
	// Of the source's plane of Height×Width elements, the first tile's first element is at (Y, X).
	Height, Width, Y, X int
}

// Channel is how many elements a channel takes.
func (w *WinogradSrc) Channel() int { return 4 * WinogradSource * w.part() }

func (w *WinogradSrc) part() int { return w.Rows * (w.Tiles + 1) }

// WinogradSlack is how many elements after the last one may be loaded.
const WinogradSlack = 16

// winogradDstScratch is how many vectors of scratch memory the transform of results takes beside the results of a row.
const winogradDstScratch = 4*WinogradSource + 2

// WinogradScratch is how many elements of scratch memory the transforms take.
const WinogradScratch = (winogradDstScratch + 4*16) * 16

// WinogradCall is what transforms work on: planes of some channels.
type WinogradCall struct {
	ISA       ISA
	Channels  int
	Planes    []float32 // from the first channel and tile on
	Plane, LD int       // from plane to plane, and from channel to channel
	Scratch   []float32

	t   tile
	off [11]int
}

// Fill writes a channel of the source where there is something to read; the rest has to be zeros.
func (c *WinogradCall) Fill(w *WinogradSrc, dst, src []float32) {
	k := kernelsOf(c.ISA)
	t := &c.t
	t.off, t.ldb, t.ldc = c.off[:], w.Width, 4*w.part()
	c.off[0], c.off[10] = w.part(), w.Height*w.Width // where the next channel begins
	for x := 0; x <= w.Tiles; x += k.lanes {
		t.lanes = min(k.lanes, w.Tiles+1-x)
		first := w.X + 4*x
		for v := range 4 {
			at := first + v*k.lanes
			low := max(0, min(k.lanes, -at))
			c.off[2+2*v], c.off[3+2*v] = low, max(low, min(k.lanes, w.Width-at))
		}
		for r := range w.Rows {
			y := w.Y + WinogradTile*r
			low, high := max(0, -y), min(WinogradSource, w.Height-y) // rows that are there
			if high <= low {
				continue
			}
			t.k = high - low
			t.b, c.off[1] = src, (y+low)*w.Width+first
			t.c = dst[low*t.ldc+r*(w.Tiles+1)+x:][:(t.k-1)*t.ldc+3*c.off[0]+t.lanes]
			k.winogradPart(t)
		}
	}
}

// Source writes the planes of the source's tiles, one after the other.
func (c *WinogradCall) Source(w *WinogradSrc, src []float32) {
	k := kernelsOf(c.ISA)
	t := &c.t
	t.off, t.a = c.off[:], c.Scratch[:WinogradPlanes*k.lanes]
	t.k, t.ldb, t.ldc = c.Channels, w.Channel(), c.LD
	c.off[0], c.off[1] = w.part(), c.Plane
	done := 0
	vector := func(x, lanes, bits int) {
		t.lanes, c.off[2] = lanes, bits
		t.b = src[x:][:(c.Channels-1)*t.ldb+23*c.off[0]+k.lanes]
		t.c = c.Planes[done:][:(WinogradPlanes-1)*c.Plane+(c.Channels-1)*c.LD+lanes]
		k.winogradSrc(t)
		done += lanes
	}
	if !k.compresses {
		for r := w.First / w.Tiles; done < w.Count; r++ {
			start := max(0, w.First-r*w.Tiles)
			end := min(w.Tiles, w.First+w.Count-r*w.Tiles)
			for x := start; x < end; x += k.lanes {
				vector(r*(w.Tiles+1)+x, min(k.lanes, end-x), 0)
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
	t.off, t.a = c.off[:], c.Scratch[:(winogradDstScratch+WinogradTile*k.lanes)*k.lanes]
	t.k = (d.Cols + WinogradTile - 1) / WinogradTile
	t.ldb, t.ldc, t.rows, t.limits = c.LD, d.LD, d.Rows, [2]float32{d.Lo, d.Hi}
	finite = true
	if t.add = 0; d.Far && d.lines() {
		t.add = 1
	}
	for o := 0; o < c.Channels; o += k.lanes {
		t.lanes = min(k.lanes, c.Channels-o)
		c.off[0], c.off[1], c.off[2] = c.Plane, d.Channel, d.Cols
		t.bias = d.Bias[o:][:t.lanes]
		t.b = c.Planes[o:][:(WinogradPlanes-1)*c.Plane+(t.k-1)*c.LD+k.lanes]
		t.c = d.C[o*d.Channel:][:(t.lanes-1)*d.Channel+(d.Rows-1)*d.LD+d.Cols]
		k.winogradDst(t)
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

// WinogradWei is G wei Gᵀ of one channel's weights, in float64 and rounded once.
func WinogradWei(dst *[WinogradPlanes]float32, wei *[9]float32) {
	var half [3][WinogradSource]float64
	for i := range half {
		g := [3]float64{float64(wei[3*i]), float64(wei[3*i+1]), float64(wei[3*i+2])}
		half[i] = winogradG(g)
	}
	for j := range WinogradSource {
		for i, v := range winogradG([3]float64{half[0][j], half[1][j], half[2][j]}) {
			dst[WinogradSource*i+j] = float32(v)
		}
	}
}

func winogradG(g [3]float64) [WinogradSource]float64 {
	even, odd := g[0]+g[2], g[1]
	far, near := g[0]/24+g[2]/6, g[1]/12
	return [...]float64{g[0] / 4, -(even + odd) / 6, -(even - odd) / 6, far + near, far - near, g[2]}
}

func winogradPartGo(t *tile) {
	part := t.off[0]
	for r := range t.k {
		for x := range t.lanes {
			for p := range 4 {
				v, lane := (4*x+p)/lanesGo, (4*x+p)%lanesGo
				e := float32(0)
				if lane >= t.off[2+2*v] && lane < t.off[3+2*v] {
					e = t.b[t.off[1]+r*t.ldb+4*x+p]
				}
				t.c[p*part+r*t.ldc+x] = e
			}
		}
	}
}

func winogradSrcGo(t *tile) {
	part, plane := t.off[0], t.off[1]
	for c := range t.k {
		for x := range t.lanes {
			var m [WinogradSource][WinogradSource]float32
			for j := range WinogradSource {
				var d [WinogradSource]float32
				for i := range d {
					d[i] = t.b[c*t.ldb+(4*i+j%4)*part+j/4+x]
				}
				for i, v := range transposedB(d) {
					m[i][j] = v
				}
			}
			for i := range m {
				for j, v := range transposedB(m[i]) {
					t.c[(WinogradSource*i+j)*plane+c*t.ldc+x] = v
				}
			}
		}
	}
}

func transposedB(d [WinogradSource]float32) [WinogradSource]float32 {
	even, odd := d[4]-4*d[2], d[3]-4*d[1]
	far, near := d[4]-d[2], 2*(d[3]-d[1])
	return [...]float32{4*d[0] + d[4] - 5*d[2], even + odd, even - odd, far + near, far - near, 4*d[1] + d[5] - 5*d[3]}
}

func winogradDstGo(t *tile) {
	plane, channel, cols := t.off[0], t.off[1], t.off[2]
	for c := range t.lanes {
		mark := float32(0)
		for tile := range t.k {
			var m [WinogradTile][WinogradSource]float32
			for j := range WinogradSource {
				var v [WinogradSource]float32
				for i := range v {
					v[i] = t.b[(WinogradSource*i+j)*plane+tile*t.ldb+c]
				}
				for y, v := range transposedA(v) {
					m[y][j] = v
				}
			}
			for y := range t.rows {
				for i, v := range transposedA(m[y]) {
					mark += v * 0
					if x := WinogradTile*tile + i; x < cols {
						t.c[c*channel+y*t.ldc+x] = limit(v+t.bias[c], t.limits[0], t.limits[1])
					}
				}
			}
		}
		t.a[c] = mark
	}
}

func transposedA(m [WinogradSource]float32) [WinogradTile]float32 {
	a, b, c, d := m[1]+m[2], m[1]-m[2], m[3]+m[4], m[3]-m[4]
	return [...]float32{m[0] + a + c, b + 2*d, a + 4*c, b + 8*d + m[5]}
}
