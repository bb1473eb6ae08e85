package simd

var kernelsPortable = kernels{
	isa: Portable, lanes: 4,
	gemm: [][]kernel{{gemmGo, gemmGo, gemmGo, gemmGo4}},
	copy: []kernel{copyGo, copyGo, copyGo, copyGo},
	turn: transposeGo,
	peak: peakGo, peakChains: 2,
}

// gemmGo is the micro-kernel for the edges, of up to 4×4.
func gemmGo(t *tile) {
	var acc [4][4]float32
	for p, off := range t.off[:t.k] {
		b := t.b[off:][:t.lanes]
		for r, w := range t.a[p*t.rows:][:t.rows] {
			for x, v := range b {
				acc[r][x] += w * v
			}
		}
	}
	for r := range t.rows {
		putGo(t, r, acc[r][0], acc[r][1], acc[r][2], acc[r][3])
	}
}

// putGo stores a row of a tile, or adds it.
func putGo(t *tile, r int, v ...float32) {
	c := t.c[r*t.ldc:][:t.lanes]
	for x := range c {
		if t.add != 0 {
			c[x] += v[x]
		} else {
			c[x] = v[x]
		}
	}
}

// gemmGo4 is the micro-kernel of 4×4, in registers where there are enough.
func gemmGo4(t *tile) {
	if t.lanes < 4 {
		gemmGo(t)
		return
	}
	var c00, c01, c02, c03, c10, c11, c12, c13, c20, c21, c22, c23, c30, c31, c32, c33 float32
	a := t.a[:4*t.k]
	for _, off := range t.off[:t.k] {
		b := t.b[off:][:4:4]
		b0, b1, b2, b3 := b[0], b[1], b[2], b[3]
		w := a[:4:4]
		a = a[4:]
		w0, w1 := w[0], w[1]
		c00 += w0 * b0
		c01 += w0 * b1
		c02 += w0 * b2
		c03 += w0 * b3
		c10 += w1 * b0
		c11 += w1 * b1
		c12 += w1 * b2
		c13 += w1 * b3
		w2, w3 := w[2], w[3]
		c20 += w2 * b0
		c21 += w2 * b1
		c22 += w2 * b2
		c23 += w2 * b3
		c30 += w3 * b0
		c31 += w3 * b1
		c32 += w3 * b2
		c33 += w3 * b3
	}
	putGo(t, 0, c00, c01, c02, c03)
	putGo(t, 1, c10, c11, c12, c13)
	putGo(t, 2, c20, c21, c22, c23)
	putGo(t, 3, c30, c31, c32, c33)
}

func copyGo(t *tile) {
	n := len(t.c) - (t.k-1)*t.ldc
	for p, off := range t.off[:t.k] {
		copy(t.c[p*t.ldc:], t.b[off:][:n])
	}
}

func transposeGo(t *tile) {
	for r := range t.k {
		for x, v := range t.b[r*t.ldb:][:t.lanes] {
			t.c[x*t.ldc+r] = v
		}
	}
}

// sink keeps what peakGo computes from being optimized away.
var sink float32

func peakGo(n int) {
	var a, b, c, d, e, f, g, h float32
	x, y := sink, sink+1
	for range n {
		a += x * y
		b += x * y
		c += x * y
		d += x * y
		e += x * y
		f += x * y
		g += x * y
		h += x * y
	}
	sink = (a + b) + (c + d) + (e + f) + (g + h)
}
