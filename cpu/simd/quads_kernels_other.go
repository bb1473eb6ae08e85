//go:build !amd64

package simd

func hasQuads(ISA) bool { return false }

var quads512 kernels // of none
