package cpu

import (
	"context"
	"math"
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

func each(ctx context.Context, n int, f func(i int)) error {
	return chunks(ctx, n, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			f(i)
		}
	})
}

// chunks calls f for parts of 0 … n−1.
func chunks(ctx context.Context, n int, f func(lo, hi int)) error {
	return parallel(ctx, (n+edgeChunk-1)/edgeChunk, 1, func(c int) { f(c*edgeChunk, min(n, (c+1)*edgeChunk)) })
}

// widen turns the elements of a buffer into float32, which holds each exactly.
func widen(ctx context.Context, isa simd.ISA, dst []float32, b *buffer, from problem.DataType) error {
	switch n := len(dst); from {
	case problem.F16:
		src := view[uint16](b, n)
		return chunks(ctx, n, func(lo, hi int) { simd.Widen(isa, dst[lo:hi], src[lo:hi]) })
	case problem.S8:
		return numbers(ctx, dst, view[int8](b, n))
	default:
		return numbers(ctx, dst, view[uint8](b, n))
	}
}

// widenInts turns 8-bit integers into int32.
func widenInts(ctx context.Context, dst []int32, b *buffer, from problem.DataType) error {
	if from == problem.S8 {
		return numbers(ctx, dst, view[int8](b, len(dst)))
	}
	return numbers(ctx, dst, view[uint8](b, len(dst)))
}

func numbers[To float32 | int32, From int8 | uint8](ctx context.Context, dst []To, src []From) error {
	return each(ctx, len(src), func(i int) { dst[i] = To(src[i]) })
}

// narrow rounds float32 to the elements of a buffer: to nearest even, integers saturated.
func narrow(ctx context.Context, isa simd.ISA, b *buffer, src []float32, to problem.DataType) error {
	n := len(src)
	switch to {
	case problem.F16:
		dst := view[uint16](b, n)
		return chunks(ctx, n, func(lo, hi int) { simd.Narrow(isa, dst[lo:hi], src[lo:hi]) })
	case problem.S8:
		dst := view[int8](b, n)
		return each(ctx, n, func(i int) { dst[i] = int8(saturate(float64(src[i]), problem.S8)) })
	case problem.U8:
		dst := view[uint8](b, n)
		return each(ctx, n, func(i int) { dst[i] = uint8(saturate(float64(src[i]), problem.U8)) })
	}
	copy(view[float32](b, n), src)
	return nil
}

// saturate is the nearest integer that the type holds, to even between two; NaN is 0.
func saturate(v float64, to problem.DataType) float64 {
	lo, hi := -128.0, 127.0
	if to == problem.U8 {
		lo, hi = 0, 255
	}
	if v != v {
		return 0
	}
	return max(lo, min(hi, math.RoundToEven(v)))
}
