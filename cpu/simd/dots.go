package simd

// Dots is sums of products along rows: what the weights of few channels get from the planes that they relate,
//
//	c[m·LDC + p] += Σ_r Σ_x a[m·Plane + r·LDA + x] · b[Off[p] + r·LDB + x]      m < M, r < Rows, x < Cols
//
// Nothing is packed or copied: vectors lie along the rows, and are added up by lanes in the end.
type Dots struct {
	M, Rows, Cols   int
	LDA, LDB, Plane int
	LDC             int
	Off             []int
}

// Add adds the sums.
func (d *Dots) Add(isa ISA, c, a, b []float32) {
	if d.M == 0 || d.Rows == 0 || d.Cols == 0 || len(d.Off) == 0 {
		return
	}
	far := (d.Rows-1)*d.LDB + d.Cols
	mustHold(b, reach(d.Off, far))
	k := kernelsOf(isa)
	t := tiles.Get().(*tile)
	defer t.release()
	way := len(k.dotRows) - 1
	for m, n := 0, 0; m < d.M; m += n {
		for n = k.dotRows[way]; n > d.M-m; n = k.dotRows[way] {
			way--
		}
		kernels := k.dots[way]
		tiles := cut(len(d.Off), len(kernels))
		for i := range tiles.parts {
			p := tiles.start(i)
			t.off = d.Off[p:tiles.start(i+1)]
			t.a = a[m*d.Plane:][:(n-1)*d.Plane+(d.Rows-1)*d.LDA+d.Cols]
			t.b, t.c = b, c[m*d.LDC+p:][:(n-1)*d.LDC+len(t.off)]
			t.rows, t.lanes = k.vectors(d.Cols)
			t.rows--
			t.k, t.lda, t.ldb, t.plane, t.ldc = d.Rows, d.LDA, d.LDB, d.Plane, d.LDC
			kernels[len(t.off)-1](t)
		}
	}
}

// Dot is the sum of the products of two runs, as eight sums, which need not wait for each other.
func Dot(x, y []float32) float32 {
	var a, b, c, d, e, f, g, h float32
	for len(x) >= 8 && len(y) >= 8 {
		v, w := x[:8:8], y[:8:8]
		a += v[0] * w[0]
		b += v[1] * w[1]
		c += v[2] * w[2]
		d += v[3] * w[3]
		e += v[4] * w[4]
		f += v[5] * w[5]
		g += v[6] * w[6]
		h += v[7] * w[7]
		x, y = x[8:], y[8:]
	}
	for i, v := range x {
		a += v * y[i]
	}
	return ((a + b) + (c + d)) + ((e + f) + (g + h))
}
