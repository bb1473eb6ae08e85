package simd

import "golang.org/x/sys/cpu"

func hasQuads(isa ISA) bool { return isa == AVX512 && cpu.X86.HasAVX512VNNI }

var quads512 = kernels{
	isa: AVX512, lanes: 16,
	gemm: [][]kernel{
		{quads512x1x1, quads512x1x2, quads512x1x3, quads512x1x4, quads512x1x5, quads512x1x6, quads512x1x7,
			quads512x1x8, quads512x1x9, quads512x1x10, quads512x1x11, quads512x1x12, quads512x1x13, quads512x1x14},
		{quads512x2x1, quads512x2x2, quads512x2x3, quads512x2x4, quads512x2x5, quads512x2x6, quads512x2x7,
			quads512x2x8, quads512x2x9, quads512x2x10, quads512x2x11, quads512x2x12, quads512x2x13, quads512x2x14},
		{quads512x3x1, quads512x3x2, quads512x3x3, quads512x3x4, quads512x3x5, quads512x3x6, quads512x3x7,
			quads512x3x8},
		{quads512x4x1, quads512x4x2, quads512x4x3, quads512x4x4, quads512x4x5, quads512x4x6},
	},
	spread: [][]kernel{
		{quadsSpread512x1x1, quadsSpread512x1x2, quadsSpread512x1x3, quadsSpread512x1x4, quadsSpread512x1x5,
			quadsSpread512x1x6, quadsSpread512x1x7, quadsSpread512x1x8, quadsSpread512x1x9, quadsSpread512x1x10,
			quadsSpread512x1x11, quadsSpread512x1x12, quadsSpread512x1x13, quadsSpread512x1x14},
		{quadsSpread512x2x1, quadsSpread512x2x2, quadsSpread512x2x3, quadsSpread512x2x4, quadsSpread512x2x5,
			quadsSpread512x2x6, quadsSpread512x2x7, quadsSpread512x2x8, quadsSpread512x2x9, quadsSpread512x2x10,
			quadsSpread512x2x11, quadsSpread512x2x12, quadsSpread512x2x13, quadsSpread512x2x14},
		{quadsSpread512x3x1, quadsSpread512x3x2, quadsSpread512x3x3, quadsSpread512x3x4, quadsSpread512x3x5,
			quadsSpread512x3x6, quadsSpread512x3x7, quadsSpread512x3x8, quadsSpread512x3x9},
		{quadsSpread512x4x1, quadsSpread512x4x2, quadsSpread512x4x3, quadsSpread512x4x4, quadsSpread512x4x5,
			quadsSpread512x4x6, quadsSpread512x4x7},
	},
	copy: []kernel{copy512x1, copy512x2, copy512x3},
	turn: transpose512, turnBytes: turnBytes512, weave: weave512,
}
