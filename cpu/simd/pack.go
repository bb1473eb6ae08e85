package simd

import (
	"fmt"
	"slices"
	"unsafe"
)

// Rows is a matrix B whose rows lie in memory as such: B[p, x] = data[off[p] + x].
//
// The matrix that a convolution of stride 1 implies is of this kind when its source is padded: row (c, kh, kw) starts at
// the source's element (c, kh, kw), if C has as many columns per row of the image as the padded source.
type Rows struct {
	data  []float32
	off   []int
	reach int // elements that data has to have
	isa   ISA
}

// NewRows returns rows of n elements that start at the offsets, of no data yet.
func NewRows(isa ISA, off []int, n int) Rows { return Rows{off: off, reach: reach(off, n), isa: isa} }

// On returns the same rows of data, which has to have them all: the kernels don't look.
func (r Rows) On(data []float32) Rows {
	mustHold(data, r.reach)
	r.data = data
	return r
}

// Line implements Placed.
func (r *Rows) Line(n0 int) ([]float32, []int) { return r.data[n0:], r.off }

// Pack implements Source.
func (r *Rows) Pack(dst []float32, stride, k0, kc, n0, nc int) {
	t := tiles.Get().(*tile)
	defer t.release()
	kernelsOf(r.isa).copyRows(t, dst, stride, r.data[n0:], r.off[k0:][:kc], nc)
}

// CopyRows copies rows of n elements: dst[p·stride + x] = src[off[p] + x]. A Source may pack with it.
func CopyRows(isa ISA, dst []float32, stride int, src []float32, off []int, n int) {
	mustHold(src, reach(off, n))
	t := tiles.Get().(*tile)
	defer t.release()
	kernelsOf(isa).copyRows(t, dst, stride, src, off, n)
}

func mustHold(data []float32, n int) {
	if len(data) < n {
		panic(fmt.Sprintf("simd: %d elements of data where %d are read", len(data), n))
	}
}

// reach returns where the last of rows ends, all of n elements.
func reach(off []int, n int) int {
	if len(off) == 0 || n == 0 {
		return 0
	}
	if slices.Min(off) < 0 {
		panic("simd: an offset below zero")
	}
	return slices.Max(off) + n
}

// PackA packs A[i, p] = a[i·rowStride + p·colStride] into dst, which has g.PackedA() elements.
func (g *Gemm) PackA(dst, a []float32, rowStride, colStride int) {
	for b := range g.blocks.parts {
		k0 := g.blocks.start(b)
		kc := g.blocks.start(b+1) - k0
		src := a[min(len(a), k0*colStride):]
		if !g.swapped {
			for r := range g.rows.parts() {
				r0, n := g.rows.panel(r)
				g.packPanel(dst[k0*g.rowExt+r0*kc:][:n*kc], n, src[r0*rowStride:], rowStride, colStride, n, kc)
			}
			continue
		}
		for x0 := 0; x0 < g.laneExt; x0 += g.nr {
			n := min(g.nr, g.laneExt-x0)
			width := g.padded(n)
			panel := dst[k0*g.padded(g.laneExt)+x0*kc:][:width*kc]
			g.packPanel(panel, width, src[x0*rowStride:], rowStride, colStride, n, kc)
		}
	}
}

// packPanel writes n rows of kc elements to dst[p·width + i].
func (g *Gemm) packPanel(dst []float32, width int, src []float32, rowStride, colStride, n, kc int) {
	if colStride == 1 {
		Transpose(g.kern.isa, dst, width, src, rowStride, n, kc)
		return
	}
	for p := range kc {
		to, from := dst[p*width:][:n], src[p*colStride:]
		if rowStride == 1 {
			copy(to, from)
			continue
		}
		for i := range to {
			to[i] = from[i*rowStride]
		}
	}
}

// transpose writes src[r·ss + x] to dst[x·ds + r], for r < rows and x < cols.
func (k *kernels) transpose(t *tile, dst []float32, ds int, src []float32, ss, rows, cols int) {
	t.ldc, t.ldb = ds, ss
	for r := 0; r < rows; r += k.lanes {
		t.k = min(k.lanes, rows-r)
		for x := 0; x < cols; x += k.lanes {
			t.lanes = min(k.lanes, cols-x)
			t.b = src[r*ss+x:][:(t.k-1)*ss+t.lanes]
			t.c = dst[x*ds+r:][:(t.lanes-1)*ds+t.k]
			k.turn(t)
		}
	}
}

// Transpose writes the matrix src[r·ss + x], r < rows and x < cols, to dst[x·ds + r].
func Transpose(isa ISA, dst []float32, ds int, src []float32, ss, rows, cols int) {
	t := tiles.Get().(*tile)
	defer t.release()
	kernelsOf(isa).transpose(t, dst, ds, src, ss, rows, cols)
}

// Split parts rows of 2n elements: even[r·ld + x] = src[r·ldSrc + 2x], and odd the ones between. A convolution of stride 2
// becomes one of stride 1 thereby.
func Split(isa ISA, even, odd []float32, ld int, src []float32, ldSrc, rows, n int) {
	if rows == 0 || n == 0 {
		return
	}
	k := kernelsOf(isa)
	t := tiles.Get().(*tile)
	defer t.release()
	t.c, t.a, t.ldc = even[:(rows-1)*ld+n], odd[:(rows-1)*ld+n], ld
	t.b, t.ldb, t.k = src[:(rows-1)*ldSrc+2*n], ldSrc, rows
	t.rows, t.lanes = k.vectors(n)
	t.parts = [2]int{min(k.lanes, 2*t.lanes), max(0, 2*t.lanes-k.lanes)}
	t.off = t.parts[:]
	k.split(t)
}

// Every sets every other element of rows: dst[r·ld + 2x] = src[r·ldSrc + x].
func Every(isa ISA, dst []float32, ld int, src []float32, ldSrc, rows, n int) {
	if rows == 0 || n == 0 {
		return
	}
	k := kernelsOf(isa)
	whole := 0
	if per := k.lanes / 2; k.every != nil && n > per {
		// The last element isn't the kernel's: the one behind it need not exist.
		t := tiles.Get().(*tile)
		defer t.release()
		t.rows, t.k, t.ldb, t.ldc = (n-1)/per, rows, ldSrc, ld
		whole = t.rows * per
		t.b, t.c = src[:(rows-1)*ldSrc+whole], dst[:(rows-1)*ld+2*whole]
		k.every(t)
	}
	for r := range rows {
		to := dst[r*ld:][:2*n-1]
		for x := whole; x < n; x++ {
			to[2*x] = src[r*ldSrc+x]
		}
	}
}

// Join is the way back from Split, of rows that lie one after the other: dst[r·ld + 2x] = even[r·⌈n/2⌉ + x], and of odd,
// of which a row has ⌊n/2⌋, the ones between, n in all.
func Join(isa ISA, dst []float32, ld int, even, odd []float32, rows, n int) {
	if rows == 0 || n == 0 {
		return
	}
	pairs, evens := n/2, (n+1)/2
	dst, even, odd = dst[:(rows-1)*ld+n], even[:rows*evens], odd[:rows*pairs]
	k := kernelsOf(isa)
	whole := 0
	if per := k.lanes / 2; k.joins != nil && pairs >= per {
		t := tiles.Get().(*tile)
		defer t.release()
		t.a, t.b, t.c, t.lda, t.ldb, t.ldc = even, odd, dst, evens, pairs, ld
		t.k, t.rows = rows, pairs/per
		k.joins(t)
		if skip := pairs - per; pairs%per > 0 { // a last vector, which has some again
			t.a, t.b, t.c, t.rows = even[skip:], odd[skip:], dst[2*skip:], 1
			k.joins(t)
		}
		whole = pairs
	}
	for r := range rows {
		to := dst[r*ld:][:n]
		for x := whole; x < pairs; x++ {
			to[2*x], to[2*x+1] = even[r*evens+x], odd[r*pairs+x]
		}
		if evens > pairs {
			to[n-1] = even[r*evens+pairs]
		}
	}
}

// Aligned returns n zeros that start at a cache line.
func Aligned(n int) []float32 {
	const line = 64 / 4
	v := make([]float32, n+line-1)
	skip := -(uintptr(unsafe.Pointer(unsafe.SliceData(v))) / 4) % line
	return v[skip:][:n:n]
}
