// Package cpu is the driver that every machine has, in Go, for every problem. Import it for its side effect: it registers
// "cpu".
//
// It is the oracle: files oracle*.go compute single elements in float64 by the loops of the definition, with the error
// bounds of package rounding, and other results are judged by them. And it runs problems: as products of packed matrices
// (igemm, of quads of bytes or pairs of 16-bit integers where 8-bit ones are convolved), of transformed tiles (winograd, fft) or
// sums of shifted rows (depthwise, of 8-bit integers, too, where floats hold the sums; rows: windows that slide over planes, where
// their shape has kernels for that) by the kernels of package simd, as a matrix product of gonum's (gemm), by plain loops
// (direct), or band by band with the pooling that follows (fused), always on tensors in [N, C, spatial…] of float32, or int32
// where integers are summed, or words of four bytes; what is stored otherwise is converted at the edges.
//
// A run, but by gonum's product, allocates nothing and starts no goroutine, but one event in 64: its memory is kept by the
// plan and the device, the workers of package simd are those of the process, and who waits for a run takes part in it.
//
// GONVOLVE_CPU=avx512, avx2 or portable takes the kernels of that instruction set instead of the best. Where the portable ones
// are the best, gonum's product is taken if it has assembly for the processor and they have not.
package cpu

import "github.com/gonvolve/gonvolve/engine"

func init() { engine.Register("cpu", Driver{}) }
