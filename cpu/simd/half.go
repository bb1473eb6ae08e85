package simd

import (
	"unsafe"

	"github.com/x448/float16"
)

// Widen converts 16-bit floats, which float32 holds exactly.
func Widen(isa ISA, dst []float32, src []uint16) { WidenRows(isa, dst, 0, src, 0, 1, len(dst)) }

// WidenRows converts rows of n: dst[r·ld + x] = src[r·ldSrc + x].
func WidenRows(isa ISA, dst []float32, ld int, src []uint16, ldSrc, rows, n int) {
	if rows == 0 || n == 0 {
		return
	}
	dst, src = dst[:(rows-1)*ld+n], src[:(rows-1)*ldSrc+n]
	k := kernelsOf(isa)
	if k.widen == nil || n < k.lanes {
		for r := range rows {
			widenAll(dst[r*ld:][:n], src[r*ldSrc:][:n])
		}
		return
	}
	t := tiles.Get().(*tile)
	defer t.release()
	t.b, t.c, t.ldb, t.ldc = floatsOf(src), dst, ldSrc, ld
	t.k, t.rows = rows, n/k.lanes
	k.widen(t)
	if n%k.lanes > 0 { // a last vector, which has some again
		t.b, t.c, t.rows = floatsOf(src[n-k.lanes:]), dst[n-k.lanes:], 1
		k.widen(t)
	}
}

// Narrow converts to 16-bit floats, rounded to nearest even.
func Narrow(isa ISA, dst []uint16, src []float32) { NarrowRows(isa, dst, 0, src, 0, 1, len(src)) }

// NarrowRows converts rows of n: dst[r·ld + x] = src[r·ldSrc + x].
func NarrowRows(isa ISA, dst []uint16, ld int, src []float32, ldSrc, rows, n int) {
	if rows == 0 || n == 0 {
		return
	}
	dst, src = dst[:(rows-1)*ld+n], src[:(rows-1)*ldSrc+n]
	k := kernelsOf(isa)
	if k.narrow == nil || n < k.lanes {
		for r := range rows {
			narrowAll(dst[r*ld:][:n], src[r*ldSrc:][:n])
		}
		return
	}
	t := tiles.Get().(*tile)
	defer t.release()
	t.b, t.c, t.ldb, t.ldc = src, floatsOf(dst), ldSrc, ld
	t.k, t.rows = rows, n/k.lanes
	k.narrow(t)
	if n%k.lanes > 0 {
		t.b, t.c, t.rows = src[n-k.lanes:], floatsOf(dst[n-k.lanes:]), 1
		k.narrow(t)
	}
}

// floatsOf is the same memory, as the kernels in assembly have it in a tile.
func floatsOf(h []uint16) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(h))), len(h)/2)
}

func widenAll(dst []float32, src []uint16) {
	for i, h := range src {
		dst[i] = float16.Frombits(h).Float32()
	}
}

func narrowAll(dst []uint16, src []float32) {
	for i, v := range src {
		dst[i] = float16.Fromfloat32(v).Bits()
	}
}
