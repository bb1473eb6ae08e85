package simd

import (
	"math"
	"unsafe"
)

// A product of quads (Hints.Quads) has quads of bytes as the elements of A and B, K of them, those of A with signs and those
// of B without, and sums of 32 bits, which wrap, as those of C:
//
//	C[i, j] = Σ_p Σ_q A[i, p].byte(q) · B[p, j].byte(q)
//
// That is twice what a product of pairs multiplies at a time. It fits convolutions of 8-bit integers whose weights still are
// such integers once their zero points are subtracted; the source's zero point, and the 128 that makes its signed bytes
// unsigned, go into the bias.

// HasQuads says whether there are kernels for products of quads.
func HasQuads(isa ISA) bool { return isa <= best && hasQuads(isa) }

// Quad is a quad as an element of A.
func Quad(q [4]int8) int32 {
	return int32(uint32(uint8(q[0])) | uint32(uint8(q[1]))<<8 | uint32(uint8(q[2]))<<16 | uint32(uint8(q[3]))<<24)
}

// Quant is what a product of quads makes of its sums while they are in registers, with parameters for each row of C: C = sum +
// Bias; if there is a Scale, float32(that)·Scale; and if there are limits, that within Low and High, which are integers,
// rounded to the nearest integer, to even between two, plus Zero. That is a byte, or an integer of 32 bits if C is not of bytes.
type Quant struct {
	Bias      []int32
	Scale     []float32
	Low, High []float32
	Zero      []int32
	Bytes     []byte // C of a plan with Hints.Bytes
}

// quantize tells the kernel how sums start, and what becomes of complete ones.
func (j *job) quantize(r0, rows, x0, nx int, first, last bool) {
	t, q := &j.t, j.Quant
	t.finish = 0
	at, n, starts := r0, rows, biasByRow
	if j.swapped {
		at, n, starts = x0, nx, biasByLane
	}
	if first {
		t.bias, t.finish = Words(q.Bias[at:][:n]), starts
	}
	if !last || q.Scale == nil {
		return
	}
	t.scale, t.finish = q.Scale[at:][:n], t.finish|scaled
	if q.Low == nil {
		return
	}
	t.low, t.high, t.zero = q.Low[at:][:n], q.High[at:][:n], Words(q.Zero[at:][:n])
	t.finish |= rounded
	if j.bytes && !j.swapped {
		t.finish |= narrowed
	}
}

// bytesAt is where bytes begin, as a tile has it: an address, of no elements. There may be fewer than four bytes, which is why
// nobody checks that a float fits.
//
//go:nocheckptr
func bytesAt(v []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(v))), 0)
}

// turnBytes writes the lowest bytes of src[r·nr + x] to dst[x·LDC + r], for r < rows and x < cols.
func (j *job) turnBytes(dst []byte, src []float32, rows, cols int) {
	t, k := &j.turn, j.kern
	t.ldc, t.ldb = j.LDC, j.nr
	for r := 0; r < rows; r += k.lanes {
		t.k = min(k.lanes, rows-r)
		for x := 0; x < cols; x += k.lanes {
			t.lanes = min(k.lanes, cols-x)
			t.b = src[r*j.nr+x:][:(t.k-1)*j.nr+t.lanes]
			t.c = bytesAt(dst[x*j.LDC+r:][:(t.lanes-1)*j.LDC+t.k])
			k.turnBytes(t)
		}
	}
}

// Weave makes quads of rows of n bytes: the byte q of dst[i·ld + x] is src[i·4·ldSrc + q·ldSrc + x], exclusively ored with flip,
// for i < quads and q < rows; those of more rows, up to 4, are any.
func Weave(isa ISA, dst []float32, ld int, src []byte, ldSrc, quads, rows, n int, flip byte) {
	if quads == 0 || n == 0 {
		return
	}
	t := tiles.Get().(*tile)
	defer t.release()
	for q := range t.quad {
		t.quad[q] = min(q, rows-1) * ldSrc
	}
	t.off = t.quad[:]
	src = src[:(quads-1)*4*ldSrc+t.quad[3]+n]
	t.b, t.ldb, t.rows = bytesAt(src), 4*ldSrc, quads
	t.c, t.ldc = dst[:(quads-1)*ld+n], ld
	vectors, last := quads512.vectors(n)
	t.k, t.lanes = vectors-1, last
	t.limits[0] = math.Float32frombits(0x01010101 * uint32(flip))
	quads512.weave(t)
}
