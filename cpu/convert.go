package cpu

import (
	"context"
	"math"
	"unsafe"

	"github.com/x448/float16"

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
	return parallel(ctx, (n+edgeChunk-1)/edgeChunk, 1, func(c int) {
		for i := c * edgeChunk; i < min(n, (c+1)*edgeChunk); i++ {
			f(i)
		}
	})
}

// widen turns the elements of a buffer into float32, which holds each exactly.
func widen(ctx context.Context, dst []float32, b *buffer, from problem.DataType) error {
	switch n := len(dst); from {
	case problem.F16:
		src := view[float16.Float16](b, n)
		return each(ctx, n, func(i int) { dst[i] = src[i].Float32() })
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
func narrow(ctx context.Context, b *buffer, src []float32, to problem.DataType) error {
	n := len(src)
	switch to {
	case problem.F16:
		dst := view[float16.Float16](b, n)
		return each(ctx, n, func(i int) { dst[i] = float16.Fromfloat32(src[i]) })
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
