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
	return chunks(ctx, len(src), func(lo, hi int) {
		to := dst[lo:hi]
		for i, v := range src[lo:hi] {
			to[i] = To(v)
		}
	})
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
		return saturate(ctx, dst, src, to)
	case problem.U8:
		dst := view[uint8](b, n)
		return saturate(ctx, dst, src, to)
	}
	copy(view[float32](b, n), src)
	return nil
}

// saturate sets dst to the nearest integers that the type holds, to even between two; NaN is 0.
func saturate[To int8 | uint8](ctx context.Context, dst []To, src []float32, to problem.DataType) error {
	lo, hi := limits(to)
	// In a sum with whole, the lowest bits are those of the integer.
	const whole = 3 << 22
	return chunks(ctx, len(dst), func(from, end int) {
		dst := dst[from:end]
		for i, v := range src[from:end] {
			switch {
			case v > hi:
				v = hi
			case v < lo:
				v = lo
			case v != v:
				v = 0
			}
			dst[i] = To(math.Float32bits(v + whole))
		}
	})
}
