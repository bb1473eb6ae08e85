//go:build !amd64

package simd

const best = Portable

func kernelsOf(ISA) *kernels { return &kernelsPortable }

func pairsOf(ISA) *kernels { return &pairsPortable }
