package simd

import (
	"unsafe"

	"github.com/x448/float16"
)

// Widen converts 16-bit floats, which float32 holds exactly.
func Widen(isa ISA, dst []float32, src []uint16) {
	src = src[:len(dst)]
	k := kernelsOf(isa)
	n := len(dst) / k.lanes * k.lanes
	if n > 0 {
		t := tiles.Get().(*tile)
		t.b, t.c, t.k = floatsOf(src[:n]), dst[:n], n/k.lanes
		k.widen(t)
		t.release()
	}
	widenAll(dst[n:], src[n:])
}

// Narrow converts to 16-bit floats, rounded to nearest even.
func Narrow(isa ISA, dst []uint16, src []float32) {
	dst = dst[:len(src)]
	k := kernelsOf(isa)
	n := len(src) / k.lanes * k.lanes
	if n > 0 {
		t := tiles.Get().(*tile)
		t.b, t.c, t.k = src[:n], floatsOf(dst[:n]), n/k.lanes
		k.narrow(t)
		t.release()
	}
	narrowAll(dst[n:], src[n:])
}

// floatsOf and its counterpart are the same memory, as a tile has it: an even number of 16-bit floats.
func floatsOf(h []uint16) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(h))), len(h)/2)
}

func halvesOf(v []float32) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(v))), 2*len(v))
}

func widenGo(t *tile)  { widenAll(t.c, halvesOf(t.b)) }
func narrowGo(t *tile) { narrowAll(halvesOf(t.c), t.b) }

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
