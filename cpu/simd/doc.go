// Package simd is matrix kernels in assembly with a portable twin: the product of single-precision matrices that a
// convolution spends its time in, and what moves its operands into place.
//
// The product C = A·B, C of M×N, is cut as Goto and van de Geijn do ("Anatomy of High-Performance Matrix
// Multiplication", 2008). One side of C is the lane side, along which vectors lie, the other the row side:
//
//	tile[r, x] += Σ_p rows[p, r] · lanes[p, x]        r < mr, x < nr, both panels of kc steps packed
//
// A [Gemm] is the plan of a product for one instruction set: which side is which, the tile, the cut along K, the cut into
// tasks. A is packed once, B comes from a [Source] panel by panel, so that nobody has to write the matrix that a
// convolution implies, or, of a [Placed] one, is read where it lies, line by line: as vectors, or element by element where
// the vectors lie along the rows of C. A model of the cycles that each way takes decides ([Gemm.Cycles]). What happens to the results, such as a bias, happens to each tile while it is in the cache ([Post]).
//
// Every product is computed: zeros aren't skipped, so that infinities and NaN take the course that IEEE 754 gives them.
package simd

//go:generate go -C gen run . -dir ..
