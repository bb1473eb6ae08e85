package simd

import (
	"fmt"
	"math"
	"slices"
)

// Fourier is the transforms of tiles of n×n real elements, a vector of tiles at a time, by which a convolution becomes
// products of complex numbers: with V the conjugate of the weights' transform, which it is scaled for,
//
//	Y[y, x] = Σ_u Σ_v d[y+u, x+v]·w[u, v]    is the inverse transform of    V ⊙ (transform of d)
//
// where y+u and x+v stay below n. Lines are transformed by steps of radix 4, and one of radix 2 if n is no power of 4 (Cooley
// and Tukey, An algorithm for the machine calculation of complex Fourier series, 1965). Of n² numbers, n²/2+2 are kept: the others
// are conjugates of these. So of a real line half of the transform is computed, those numbers that are no conjugates of others:
// rows are real, and the columns 0 and n/2 of their transforms.
type Fourier struct {
	ISA ISA
	N   int

	kern  *kernels
	lines *fourierKernels
	pitch int   // vectors from row to row of a tile in work
	bins  []bin // kept
}

// bin is an element of a transform.
type bin struct {
	y, x  int
	scale float64 // of the weights'
	real  bool
}

// FourierSizes are the tiles that there are.
var FourierSizes = []int{8, 16, 32, 64}

// fourierKernels transform tile.k lines of vectors: rows of a tile in work, in place; its columns 0 and n/2, which are real,
// and the others between work and bins; load and store are between planes and work. Work is at tile.b, and tile.a has memory
// for them. Bins are at tile.c, tile.ldb elements apart, and an imaginary part tile.ldc elements after the real one.
type fourierKernels struct{ rows, rowsBack, real, realBack, columns, columnsBack, load, store kernel }

// complexOrder is the order in which numbers of a transform of n complex numbers are made, and taken back.
func complexOrder(n int) (order []int) {
	if n <= 2 {
		return []int{0, 1}[:n]
	}
	for p := range 4 {
		for _, m := range complexOrder(n / 4) {
			order = append(order, p+4*m)
		}
	}
	return order
}

// realOrder is the order of a transform of n real numbers, of which X[k] or X[n−k] is kept.
func realOrder(n int) (order []int) {
	if n <= 2 {
		return []int{0, 1}[:n]
	}
	for _, m := range complexOrder(n / 4) {
		order = append(order, 4*m+1)
	}
	if n == 4 {
		order = append(order, 2)
	} else {
		for _, m := range complexOrder(n / 8) {
			order = append(order, 2*(4*m+1))
		}
	}
	for _, k := range realOrder(n / 4) {
		order = append(order, 4*k)
	}
	return order
}

// NewFourier returns the transforms of tiles of n×n.
func NewFourier(isa ISA, n int) *Fourier {
	i := slices.Index(FourierSizes, n)
	if i < 0 {
		panic(fmt.Sprintf("simd: no Fourier transform of %d", n))
	}
	k := kernelsOf(isa)
	// The extra vector of each row keeps columns from sharing a set of the cache.
	f := &Fourier{ISA: isa, N: n, kern: k, lines: &k.fourier[i], pitch: n + 1}
	// What comes back of a number counts for its conjugate, too.
	unit := 1 / float64(n*n)
	columns := make([]int, n/2) // the numbers of a row's transform by the place of the real part
	for _, x := range realOrder(n) {
		if x%(n/2) != 0 {
			columns[min(x, n-x)] = x
		}
	}
	for _, x := range columns[1:] {
		for _, y := range complexOrder(n) {
			f.bins = append(f.bins, bin{y, x, 2 * unit, false})
		}
	}
	for _, x := range []int{0, n / 2} {
		for _, y := range realOrder(n) {
			b := bin{y, x, 2 * unit, false}
			if y%(n/2) == 0 {
				b.scale, b.real = unit, true
			}
			f.bins = append(f.bins, b)
		}
	}
	return f
}

// Bins is how many complex numbers a transform has.
func (f *Fourier) Bins() int { return len(f.bins) }

// Lanes is how many tiles are transformed at a time.
func (f *Fourier) Lanes() int { return f.kern.lanes }

// Scratch is how many elements of memory a call takes.
func (f *Fourier) Scratch() int { return f.work() + (2*f.N+3)*f.kern.lanes }

func (f *Fourier) work() int { return f.N * f.pitch * f.kern.lanes }

// FourierWeights transforms weights at some offsets of the window. It is for one goroutine at a time.
type FourierWeights struct {
	*Fourier
	at       [][2]int
	height   int       // of the window
	cos, sin []float64 // of 2π j/N
	rows     []float64 // transforms of the window's rows
}

// NewWeights returns what transforms weights w[i] at offsets at[i] = (u, v).
func (f *Fourier) NewWeights(at [][2]int) *FourierWeights {
	t := &FourierWeights{Fourier: f, at: at, cos: make([]float64, f.N), sin: make([]float64, f.N)}
	for j := range t.cos {
		t.sin[j], t.cos[j] = math.Sincos(2 * math.Pi * float64(j) / float64(f.N))
	}
	for _, p := range at {
		t.height = max(t.height, p[0]+1)
	}
	t.rows = make([]float64, t.height*2*(f.N/2+1))
	return t
}

// Transform writes the V of weights, computed in float64 and rounded once: of bin i the real part to dst[i·bin], and the imaginary
// one to dst[i·bin + part].
func (t *FourierWeights) Transform(dst []float32, bin, part int, w []float32) {
	columns, rows := t.N/2+1, t.rows
	around := t.N - 1 // N is a power of two
	clear(rows)
	for i, p := range t.at {
		row, w := rows[2*p[0]*columns:][:2*columns], float64(w[i])
		for x := range columns {
			j := p[1] * x & around
			row[2*x] += w * t.cos[j]
			row[2*x+1] += w * t.sin[j]
		}
	}
	for i, b := range t.bins {
		column := min(b.x, t.N-b.x) // the rows' transform has conjugates in the others
		sign := 1.
		if column != b.x {
			sign = -1
		}
		re, im := 0.0, 0.0
		for u := range t.height {
			j, k := u*b.y&around, 2*(u*columns+column)
			x, y := rows[k], sign*rows[k+1]
			re += x*t.cos[j] - y*t.sin[j]
			im += x*t.sin[j] + y*t.cos[j]
		}
		if b.real {
			im = 0
		}
		dst[i*bin], dst[i*bin+part] = float32(re*b.scale), float32(im*b.scale)
	}
}

// FourierCall is what transforms work on.
type FourierCall struct {
	*Fourier
	Scratch []float32 // of Scratch() elements
	// From bin to bin of what is stored, and from the real parts in a bin to the imaginary ones.
	Bin, Part int

	t tile
	o [2]int
}

// rows transforms so many rows in place.
func (c *FourierCall) rows(kern kernel, n int) {
	w, t := c.work(), &c.t
	t.a, t.b, t.k = c.Scratch[w:], c.Scratch[:w], n
	kern(t)
}

// columns transforms between columns and bins.
func (c *FourierCall) columns(complex, real kernel, bins []float32) {
	w, t, half := c.work(), &c.t, c.N/2
	bins = bins[:(len(c.bins)-1)*c.Bin+c.Part+c.kern.lanes]
	t.a, t.ldb, t.ldc = c.Scratch[w:], c.Bin, c.Part
	t.b, t.c, t.k = c.Scratch[c.kern.lanes:w], bins, half-1
	complex(t)
	t.b, t.c, t.k = c.Scratch[:w], bins[(half-1)*c.N*c.Bin:], 2
	real(t)
}

// Source transforms the tiles at src[off[i]], rows of line elements, and stores them in each bin of dst, whole vectors.
func (c *FourierCall) Source(dst, src []float32, line int, off []int) {
	v, t := c.kern.lanes, &c.t
	_ = src[slices.Max(off[:v])+(c.N-1)*line+c.N-1]
	t.off, t.k, t.ldb, t.ldc = off[:v], c.N, line, c.pitch*v
	for x := 0; x < c.N; x += v {
		t.b, t.c = src[x:], c.Scratch[x*v:c.work()]
		c.lines.load(t)
	}
	c.rows(c.lines.rows, c.N)
	c.columns(c.lines.columns, c.lines.real, dst)
}

// FourierDst is where the results of a tile go: a bias for each channel is added, what is below Lo becomes Lo and what is
// above Hi becomes Hi, so that NaN stays. Of the tile, Rows rows and Cols columns are stored.
type FourierDst struct {
	Bias        []float32 // of the channels that there are, at most a vector
	Lo, Hi      float32
	C           []float32
	Channel, LD int
	Rows, Cols  int
}

// Results transforms the sums of a tile back, of a vector of channels, whose first ones are stored. It reports whether
// they are finite before bias and limits.
func (c *FourierCall) Results(d *FourierDst, sums []float32) (finite bool) {
	v, t := c.kern.lanes, &c.t
	c.columns(c.lines.columnsBack, c.lines.realBack, sums)
	c.rows(c.lines.rowsBack, d.Rows)
	w, row := c.work(), c.pitch*v
	t.a, t.lanes, t.bias, t.limits = c.Scratch[w:], len(d.Bias), d.Bias, [2]float32{d.Lo, d.Hi}
	clear(t.a[:v])
	t.ldb, t.ldc, t.rows = row, d.LD, d.Rows
	t.off = c.o[:]
	for x := 0; x < d.Cols; x += v {
		c.o = [2]int{d.Channel, min(v, d.Cols-x)}
		t.b = c.Scratch[x*v : w]
		t.c = d.C[x:][:(t.lanes-1)*d.Channel+(d.Rows-1)*d.LD+c.o[1]]
		c.lines.store(t)
	}
	finite = true
	for _, m := range t.a[:t.lanes] {
		finite = finite && m == m
	}
	return finite
}
