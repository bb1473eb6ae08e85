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
// where y+u and x+v stay below n. Lines of n complex numbers are transformed by steps of radix 4, and one of radix 2 if n
// is no power of 4 (Cooley and Tukey, An algorithm for the machine calculation of complex Fourier series, 1965). Two real
// rows are transformed as the parts of one complex row; so are the columns 0 and n/2 of the rows' transforms, which are
// real. Of n² numbers, n²/2+2 are kept: the others are conjugates of these.
type Fourier struct {
	ISA ISA
	N   int

	kern      *kernels
	lines     kernel
	pitch     int   // vectors from row to row of a tile in work
	bins      []bin // kept
	load, sum []int // where fourierBins and fourierSums have them in a tile in work
}

// bin is an element of a transform.
type bin struct {
	y, x  int
	scale float64 // of the weights'
}

// FourierSizes are the tiles that there are.
var FourierSizes = []int{16, 32, 64}

// NewFourier returns the transforms of tiles of n×n.
func NewFourier(isa ISA, n int) *Fourier {
	i := slices.Index(FourierSizes, n)
	if i < 0 {
		panic(fmt.Sprintf("simd: no Fourier transform of %d", n))
	}
	k := kernelsOf(isa)
	// The extra vector of each row keeps columns from sharing a set of the cache, and has place for imaginary parts of what
	// is real: zeros to load, and anything to store.
	f := &Fourier{ISA: isa, N: n, kern: k, lines: k.fourier[i], pitch: n + 1}
	at := func(y, x int) int { return (y*f.pitch + x) * k.lanes }
	zero, waste := at(0, n), at(1, n)
	unit := 1 / float64(n*n)
	for x := 1; x < n/2; x++ {
		for y := range n {
			f.bins = append(f.bins, bin{y, x, unit / 2})
			f.load = append(f.load, at(y, x), at(y, n-x))
		}
	}
	for _, x := range []int{0, n / 2} {
		for y := 1; y < n/2; y++ {
			f.bins = append(f.bins, bin{y, x, unit / 4})
			f.load = append(f.load, at(y, x), at(n-y, x))
		}
	}
	f.sum = slices.Clone(f.load)
	for _, x := range []int{0, n / 2} {
		for _, y := range []int{0, n / 2} {
			f.bins = append(f.bins, bin{y, x, unit / 4})
			f.load, f.sum = append(f.load, at(y, x), zero), append(f.sum, at(y, x), waste)
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

// Weights writes the V of weights w[i] at offsets at[i] = (u, v), real and imaginary part of each bin, in float64 and
// rounded once.
func (f *Fourier) Weights(dst []float32, at [][2]int, w []float32) {
	cos, sin := make([]float64, f.N), make([]float64, f.N)
	for j := range cos {
		sin[j], cos[j] = math.Sincos(2 * math.Pi * float64(j) / float64(f.N))
	}
	height := 0
	for _, p := range at {
		height = max(height, p[0]+1)
	}
	columns := f.N/2 + 1
	rows := make([]float64, 2*height*columns) // transforms of rows
	for i, p := range at {
		for x := range columns {
			j, k := p[1]*x%f.N, 2*(p[0]*columns+x)
			rows[k] += float64(w[i]) * cos[j]
			rows[k+1] += float64(w[i]) * sin[j]
		}
	}
	for i, b := range f.bins {
		re, im := 0.0, 0.0
		for u := range height {
			j, k := u*b.y%f.N, 2*(u*columns+b.x)
			re += rows[k]*cos[j] - rows[k+1]*sin[j]
			im += rows[k]*sin[j] + rows[k+1]*cos[j]
		}
		if f.load[2*i+1] == f.N*f.kern.lanes { // real
			im = 0
		}
		dst[2*i], dst[2*i+1] = float32(re*b.scale), float32(im*b.scale)
	}
}

// FourierCall is what transforms work on.
type FourierCall struct {
	*Fourier
	Scratch []float32 // of Scratch() elements
	// From bin to bin of what is stored, and within: of transforms, in this order, the imaginary parts, the real ones and
	// the negative of the imaginary ones; of sums, the real and the imaginary parts.
	Bin, Part int

	t tile
	o [2]int
}

// pass runs a kernel on k pairs of lines whose elements are step apart: the first ones start at re and im, the others
// nextRe and nextIm elements further.
func (c *FourierCall) pass(kern kernel, re, im, step, k, nextRe, nextIm int) {
	w := c.work()
	t := &c.t
	for ; c.kern.isa == Portable && k > 1; k-- { // slices do not go back as addresses do
		c.pass(kern, re, im, step, 1, 0, 0)
		re, im = re+nextRe, im+nextIm
	}
	t.a, t.b, t.c = c.Scratch[w:], c.Scratch[re:w], c.Scratch[im:w]
	t.ldb, t.ldc, t.rows, t.k, t.lanes = step, nextRe, nextIm, k, c.N
	kern(t)
}

// Source transforms the tiles at src[off[i]], rows of line elements, and stores the first lanes of them in each bin of dst.
func (c *FourierCall) Source(dst, src []float32, line int, off []int, lanes int) {
	v, t := c.kern.lanes, &c.t
	row := c.pitch * v
	_ = src[slices.Max(off[:v])+(c.N-1)*line+c.N-1]
	t.off, t.k, t.ldb, t.ldc = off[:v], c.N, line, row
	for x := 0; x < c.N; x += v {
		t.b, t.c = src[x:], c.Scratch[x*v:c.work()]
		c.kern.fourierLoad(t)
	}
	half := c.N / 2
	c.pass(c.lines, 0, row, v, half, 2*row, 2*row)
	c.pass(c.kern.fourierPart, 0, row, v, half, 2*row, 2*row)
	c.pass(c.lines, 0, half*v, row, 1, 0, 0)
	c.pass(c.kern.fourierPart, 0, half*v, row, 1, 0, 0)
	c.pass(c.lines, v, (c.N-1)*v, row, half-1, v, -v)
	clear(c.Scratch[c.N*v:][:v])
	t.b, t.c = c.Scratch[:c.work()], dst[:(len(c.bins)-1)*c.Bin+2*c.Part+lanes]
	t.off, t.k, t.ldb, t.ldc, t.lanes = c.load, len(c.bins), c.Bin, c.Part, lanes
	c.kern.fourierBins(t)
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
	row, half := c.pitch*v, c.N/2
	t.a, t.b = c.Scratch[:c.work()], sums[:(len(c.bins)-1)*c.Bin+c.Part+v]
	t.off, t.k, t.ldb, t.ldc = c.sum, len(c.bins), c.Bin, c.Part
	c.kern.fourierSums(t)
	pairs := (d.Rows + 1) / 2
	c.pass(c.kern.fourierJoin, 0, half*v, row, 1, 0, 0)
	c.pass(c.lines, half*v, 0, row, 1, 0, 0) // of exchanged parts: the inverse
	c.pass(c.lines, (c.N-1)*v, v, row, half-1, -v, v)
	c.pass(c.kern.fourierJoin, 0, row, v, pairs, 2*row, 2*row)
	c.pass(c.lines, row, 0, v, pairs, 2*row, 2*row)
	w := c.work()
	t.a, t.lanes, t.bias, t.limits = c.Scratch[w:], len(d.Bias), d.Bias, [2]float32{d.Lo, d.Hi}
	clear(t.a[:v])
	t.ldb, t.ldc, t.rows = row, d.LD, d.Rows
	t.off = c.o[:]
	for x := 0; x < d.Cols; x += v {
		c.o = [2]int{d.Channel, min(v, d.Cols-x)}
		t.b = c.Scratch[x*v : w]
		t.c = d.C[x:][:(t.lanes-1)*d.Channel+(d.Rows-1)*d.LD+c.o[1]]
		c.kern.fourierStore(t)
	}
	finite = true
	for _, m := range t.a[:t.lanes] {
		finite = finite && m == m
	}
	return finite
}

// FourierRows is the real and the imaginary parts of transforms as the matrix B of a product with the weights' real parts,
// then their imaginary ones: lines of Part columns, of which the first makes real parts of sums, the second imaginary ones.
type FourierRows struct {
	Data []float32 // a bin
	Part int
	Off  []int // of a channel in a part, and again, a part further
	Cols int   // of a line
}

// Line implements Placed.
func (r *FourierRows) Line(n0 int) ([]float32, []int) {
	return r.Data[(1-n0/r.Cols)*r.Part+n0%r.Cols:], r.Off
}

// Pack implements Source. Products read such rows in place.
func (r *FourierRows) Pack([]float32, int, int, int, int, int) {
	panic("simd: transforms are read in place")
}
