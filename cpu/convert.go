package cpu

import (
	"unsafe"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// view is a buffer's memory as n elements of a type.
func view[T any](b *buffer, n int) []T {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b.data))), n)
}

// edge is a tensor between a buffer and the numbers that the loops want, which are floats or integers. It is converted in
// parts of edgeChunk elements.
type edge struct {
	isa    simd.ISA
	typ    problem.DataType // of the buffer
	b      *buffer
	floats []float32
	ints   []int32
}

const edgeChunk = 1 << 14

var (
	widening  = repeated[edge]{do: (*edge).widen}
	narrowing = repeated[edge]{do: (*edge).narrow}
)

func (e *edge) parts() int { return (len(e.floats) + len(e.ints) + edgeChunk - 1) / edgeChunk }

// widen turns the elements of a part of the buffer into numbers that hold each exactly.
func (e *edge) widen(i int) {
	lo, hi := i*edgeChunk, min(len(e.floats)+len(e.ints), (i+1)*edgeChunk)
	switch {
	case e.typ == problem.F16:
		simd.Widen(e.isa, e.floats[lo:hi], view[uint16](e.b, hi)[lo:])
	case e.typ == problem.S8 && e.ints != nil:
		simd.Integers(e.isa, e.ints[lo:hi], view[int8](e.b, hi)[lo:])
	case e.typ == problem.S8:
		simd.Floats(e.isa, e.floats[lo:hi], view[int8](e.b, hi)[lo:])
	case e.ints != nil:
		simd.Integers(e.isa, e.ints[lo:hi], view[uint8](e.b, hi)[lo:])
	default:
		simd.Floats(e.isa, e.floats[lo:hi], view[uint8](e.b, hi)[lo:])
	}
}

// narrow rounds a part of the numbers to the elements of the buffer: to nearest even, integers saturated.
func (e *edge) narrow(i int) {
	n := len(e.floats) + len(e.ints)
	lo, hi := i*edgeChunk, min(n, (i+1)*edgeChunk)
	switch {
	case e.ints != nil:
		copy(view[int32](e.b, hi)[lo:], e.ints[lo:hi])
	case e.typ == problem.F16:
		simd.Narrow(e.isa, view[uint16](e.b, hi)[lo:], e.floats[lo:hi])
	case e.typ == problem.S8:
		least, greatest := limits(e.typ)
		simd.Saturate(e.isa, view[int8](e.b, hi)[lo:], e.floats[lo:hi], least, greatest)
	case e.typ == problem.U8:
		least, greatest := limits(e.typ)
		simd.Saturate(e.isa, view[uint8](e.b, hi)[lo:], e.floats[lo:hi], least, greatest)
	default:
		copy(view[float32](e.b, hi)[lo:], e.floats[lo:hi])
	}
}
