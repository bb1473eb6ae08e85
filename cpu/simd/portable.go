package simd

var kernelsPortable = kernels{
	isa: Portable, lanes: lanesGo,
	gemm:           [][]kernel{{gemmGo, gemmGo2}},
	spread:         [][]kernel{{spreadGo, spreadGo2}},
	copy:           []kernel{copyGo, copyGo, copyGo, copyGo},
	turn:           transposeGo,
	split:          splitGo,
	winograd:       [...]transforms{winogradGo(2), winogradGo(4), winogradGo(6)},
	fourier:        []fourierKernels{fourierGo(8), fourierGo(16), fourierGo(32), fourierGo(64)},
	fourierProduct: [][]kernel{{fourierProductGo}},
	bias:           [2]kernel{biasGo(false), biasGo(true)}, scale: [2]kernel{scaleGo(false), scaleGo(true)},
	divide: [2]kernel{divideGo(false), divideGo(true)}, leak: [2]kernel{leakGo(false), leakGo(true)}, clip: clipGo, residual: residualGo, quantize: quantizeGo,
	raise: raiseGo, integral: integralGo, dequantize: dequantizeGo,
	sum:     [][2]kernel{{sumGo, sumGo4}, {sumGo, sumGo4}, {sumGo, sumGo4}, {sumGo, sumGo4}},
	most:    [][2]kernel{{mostGo, mostGo4}, {mostGo, mostGo4}, {mostGo, mostGo4}, {mostGo, mostGo4}},
	sumEven: []kernel{sumEvenGo, sumEvenGo, sumEvenGo, sumEvenGo}, mostEven: []kernel{mostEvenGo, mostEvenGo, mostEvenGo, mostEvenGo},
	first: []kernel{firstGo, firstGo, firstGo, firstGo},
	dots:  [][]kernel{{dotGo}}, dotRows: []int{1},
	peak: peakGo, peakChains: 2,
}

// lanesGo is how many elements the portable kernels treat as a vector.
const lanesGo = 4

// gemmGo is the micro-kernel for the edges, of up to 2×4.
func gemmGo(t *tile) {
	var acc [2][4]float32
	for p, off := range t.off[:t.k] {
		b := t.b[off:][:t.lanes]
		for r, w := range t.a[p*t.rows:][:t.rows] {
			for x, v := range b {
				acc[r][x] += w * v
			}
		}
	}
	for r := range t.rows {
		putGo(t, r, acc[r])
	}
}

// putGo stores a row of a tile, or adds it, and finishes it.
func putGo(t *tile, r int, v [4]float32) {
	c := t.c[r*t.ldc:][:t.lanes]
	for x := range c {
		sum := v[x]
		if t.add != 0 {
			sum += c[x]
		}
		switch {
		case t.finish&biasByRow != 0:
			sum += t.bias[r]
		case t.finish&biasByLane != 0:
			sum += t.bias[x]
		}
		if t.finish&clipped != 0 {
			sum = limit(sum, t.limits[0], t.limits[1])
		}
		c[x] = sum
	}
}

// limit is lo where v is below it and hi where it is above.
func limit(v, lo, hi float32) float32 {
	if v < lo {
		v = lo
	}
	if v > hi {
		v = hi
	}
	return v
}

// gemmGo2 is the micro-kernel of 2×4, two steps at a time: as many sums as stay in 16 registers.
func gemmGo2(t *tile) {
	if t.lanes < 4 {
		gemmGo(t)
		return
	}
	var c00, c01, c02, c03, c10, c11, c12, c13 float32
	a, off, src := t.a[:2*t.k], t.off[:t.k], t.b
	for len(off) >= 2 && len(a) >= 4 {
		b, d := (*[4]float32)(src[off[0]:]), (*[4]float32)(src[off[1]:])
		u, w := a[0], a[1]
		c00 += u * b[0]
		c01 += u * b[1]
		c02 += u * b[2]
		c03 += u * b[3]
		c10 += w * b[0]
		c11 += w * b[1]
		c12 += w * b[2]
		c13 += w * b[3]
		u, w = a[2], a[3]
		c00 += u * d[0]
		c01 += u * d[1]
		c02 += u * d[2]
		c03 += u * d[3]
		c10 += w * d[0]
		c11 += w * d[1]
		c12 += w * d[2]
		c13 += w * d[3]
		a, off = a[4:], off[2:]
	}
	if len(off) == 1 {
		b := (*[4]float32)(src[off[0]:])
		u, w := a[0], a[1]
		c00 += u * b[0]
		c01 += u * b[1]
		c02 += u * b[2]
		c03 += u * b[3]
		c10 += w * b[0]
		c11 += w * b[1]
		c12 += w * b[2]
		c13 += w * b[3]
	}
	putGo(t, 0, [4]float32{c00, c01, c02, c03})
	putGo(t, 1, [4]float32{c10, c11, c12, c13})
}

// spreadGo is the micro-kernel of rows in place for the edges.
func spreadGo(t *tile) {
	var acc [2][4]float32
	for p, off := range t.off[:t.k] {
		b := (*[4]float32)(t.b[4*p:])
		for r, w := range t.a[off:][:t.rows] {
			for x, v := range b {
				acc[r][x] += w * v
			}
		}
	}
	for r := range t.rows {
		putGo(t, r, acc[r])
	}
}

// spreadGo2 is the one of 2×4, two steps at a time.
func spreadGo2(t *tile) {
	if t.lanes < 4 {
		spreadGo(t)
		return
	}
	var c00, c01, c02, c03, c10, c11, c12, c13 float32
	a, off, b := t.a, t.off[:t.k], t.b[:4*t.k]
	for len(off) >= 2 && len(b) >= 8 {
		p, q := (*[2]float32)(a[off[0]:]), (*[2]float32)(a[off[1]:])
		u, w := p[0], p[1]
		c00 += u * b[0]
		c01 += u * b[1]
		c02 += u * b[2]
		c03 += u * b[3]
		c10 += w * b[0]
		c11 += w * b[1]
		c12 += w * b[2]
		c13 += w * b[3]
		u, w = q[0], q[1]
		c00 += u * b[4]
		c01 += u * b[5]
		c02 += u * b[6]
		c03 += u * b[7]
		c10 += w * b[4]
		c11 += w * b[5]
		c12 += w * b[6]
		c13 += w * b[7]
		off, b = off[2:], b[8:]
	}
	if len(off) == 1 && len(b) >= 4 {
		p := (*[2]float32)(a[off[0]:])
		u, w := p[0], p[1]
		c00 += u * b[0]
		c01 += u * b[1]
		c02 += u * b[2]
		c03 += u * b[3]
		c10 += w * b[0]
		c11 += w * b[1]
		c12 += w * b[2]
		c13 += w * b[3]
	}
	putGo(t, 0, [4]float32{c00, c01, c02, c03})
	putGo(t, 1, [4]float32{c10, c11, c12, c13})
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

func splitGo(t *tile) {
	n := len(t.c) - (t.k-1)*t.ldc
	for r := range t.k {
		from, odd := t.b[r*t.ldb:][:2*n], t.a[r*t.ldc:][:n]
		for x := range t.c[r*t.ldc:][:n] {
			t.c[r*t.ldc+x], odd[x] = from[2*x], from[2*x+1]
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
