package simd

import "golang.org/x/sys/cpu"

// The instruction sets are taken as x86-64-v3 and v4 have them, which includes F16C in both.
var best = detect()

func detect() ISA {
	x := &cpu.X86
	switch {
	case !(x.HasAVX2 && x.HasFMA && x.HasBMI2):
		return Portable
	case x.HasAVX512F && x.HasAVX512DQ && x.HasAVX512BW && x.HasAVX512VL:
		return AVX512
	}
	return AVX2
}

func kernelsOf(isa ISA) *kernels {
	switch isa {
	case AVX512:
		return &kernels512
	case AVX2:
		return &kernels256
	}
	return &kernelsPortable
}

var kernels512 = kernels{
	isa: AVX512, lanes: 16,
	gemm: [][]kernel{
		{gemm512x1x1, gemm512x1x2, gemm512x1x3, gemm512x1x4, gemm512x1x5, gemm512x1x6, gemm512x1x7, gemm512x1x8,
			gemm512x1x9, gemm512x1x10, gemm512x1x11, gemm512x1x12, gemm512x1x13, gemm512x1x14},
		{gemm512x2x1, gemm512x2x2, gemm512x2x3, gemm512x2x4, gemm512x2x5, gemm512x2x6, gemm512x2x7, gemm512x2x8,
			gemm512x2x9, gemm512x2x10, gemm512x2x11, gemm512x2x12, gemm512x2x13, gemm512x2x14},
		{gemm512x3x1, gemm512x3x2, gemm512x3x3, gemm512x3x4, gemm512x3x5, gemm512x3x6, gemm512x3x7, gemm512x3x8},
	},
	spread: [][]kernel{
		{spread512x1x1, spread512x1x2, spread512x1x3, spread512x1x4, spread512x1x5, spread512x1x6, spread512x1x7,
			spread512x1x8, spread512x1x9, spread512x1x10, spread512x1x11, spread512x1x12, spread512x1x13,
			spread512x1x14},
		{spread512x2x1, spread512x2x2, spread512x2x3, spread512x2x4, spread512x2x5, spread512x2x6, spread512x2x7,
			spread512x2x8, spread512x2x9, spread512x2x10, spread512x2x11, spread512x2x12, spread512x2x13,
			spread512x2x14},
		{spread512x3x1, spread512x3x2, spread512x3x3, spread512x3x4, spread512x3x5, spread512x3x6, spread512x3x7,
			spread512x3x8, spread512x3x9},
		{spread512x4x1, spread512x4x2, spread512x4x3, spread512x4x4, spread512x4x5, spread512x4x6, spread512x4x7},
	},
	copy:  []kernel{copy512x1, copy512x2, copy512x3},
	turn:  transpose512,
	split: split512,
	winograd: [...]transforms{
		{winogradSrc512x2, winogradDst512x2},
		{winogradSrc512x4, winogradDst512x4},
		{winogradSrc512x6, winogradDst512x6},
	},
	fourier: []fourierKernels{
		{fourierRows512x8, fourierRowsBack512x8, fourierReal512x8, fourierRealBack512x8,
			fourierColumns512x8, fourierColumnsBack512x8, fourierLoad512x8, fourierStore512x8},
		{fourierRows512x16, fourierRowsBack512x16, fourierReal512x16, fourierRealBack512x16,
			fourierColumns512x16, fourierColumnsBack512x16, fourierLoad512x16, fourierStore512x16},
		{fourierRows512x32, fourierRowsBack512x32, fourierReal512x32, fourierRealBack512x32,
			fourierColumns512x32, fourierColumnsBack512x32, fourierLoad512x16, fourierStore512x16},
		{fourierRows512x64, fourierRowsBack512x64, fourierReal512x64, fourierRealBack512x64,
			fourierColumns512x64, fourierColumnsBack512x64, fourierLoad512x16, fourierStore512x16},
	},
	fourierProduct: [][]kernel{
		{fourierProduct512x1x1, fourierProduct512x1x2, fourierProduct512x1x3, fourierProduct512x1x4, fourierProduct512x1x5,
			fourierProduct512x1x6, fourierProduct512x1x7, fourierProduct512x1x8, fourierProduct512x1x9, fourierProduct512x1x10,
			fourierProduct512x1x11, fourierProduct512x1x12, fourierProduct512x1x13},
		{fourierProduct512x2x1, fourierProduct512x2x2, fourierProduct512x2x3, fourierProduct512x2x4, fourierProduct512x2x5,
			fourierProduct512x2x6},
		{fourierProduct512x3x1, fourierProduct512x3x2, fourierProduct512x3x3, fourierProduct512x3x4},
		{fourierProduct512x4x1, fourierProduct512x4x2},
	},
	bias: [2]kernel{biasRow512, biasLane512}, scale: [2]kernel{scaleRow512, scaleLane512},
	divide: [2]kernel{divideRow512, divideLane512}, leak: [2]kernel{leakRow512, leakLane512}, clip: clip512, residual: residual512, quantize: quantize512,
	raise: raise512, integral: integral512, dequantize: dequantize512, shorts: shorts512,
	signed: byteKernels{floatsS512, intsS512, bytesS512}, unsigned: byteKernels{floatsU512, intsU512, bytesU512},
	activations: [activations]kernel{Sigmoid: sigmoid512, Tanh: tanh512, SiLU: silu512, GELU: gelu512, GELUTanh: geluTanh512,
		HardSwish: hardSwish512},
	sum: [][2]kernel{{sum512x1x1, sum512x1x4}, {sum512x2x1, sum512x2x4}, {sum512x3x1, sum512x3x4}, {sum512x4x1, sum512x4x4}},
	most: [][2]kernel{{most512x1x1, most512x1x4}, {most512x2x1, most512x2x4}, {most512x3x1, most512x3x4},
		{most512x4x1, most512x4x4}},
	sumEven:  []kernel{sumEven512x1, sumEven512x2, sumEven512x3, sumEven512x4},
	mostEven: []kernel{mostEven512x1, mostEven512x2, mostEven512x3, mostEven512x4},
	first:    []kernel{first512x1, first512x2, first512x3, first512x4},
	every:    every512, joins: joins512,
	dots: [][]kernel{
		{dot512x1x1, dot512x1x2, dot512x1x3, dot512x1x4, dot512x1x5, dot512x1x6, dot512x1x7, dot512x1x8, dot512x1x9},
		{dot512x2x1, dot512x2x2, dot512x2x3, dot512x2x4, dot512x2x5, dot512x2x6},
		{dot512x4x1, dot512x4x2, dot512x4x3, dot512x4x4, dot512x4x5, dot512x4x6},
	}, dotRows: []int{1, 2, 4},
	widen: widen512, narrow: narrow512,
	slides: slides512, fence: storeFence, rowMeans: rowMeans512,
	peak: peak512, peakChains: 24,
}

var kernels256 = kernels{
	isa: AVX2, lanes: 8,
	gemm: [][]kernel{
		{gemm256x1x1, gemm256x1x2, gemm256x1x3, gemm256x1x4, gemm256x1x5, gemm256x1x6},
		{gemm256x2x1, gemm256x2x2, gemm256x2x3, gemm256x2x4, gemm256x2x5, gemm256x2x6},
	},
	spread: [][]kernel{
		{spread256x1x1, spread256x1x2, spread256x1x3, spread256x1x4, spread256x1x5, spread256x1x6, spread256x1x7,
			spread256x1x8, spread256x1x9, spread256x1x10, spread256x1x11, spread256x1x12},
		{spread256x2x1, spread256x2x2, spread256x2x3, spread256x2x4, spread256x2x5, spread256x2x6},
		{spread256x3x1, spread256x3x2, spread256x3x3, spread256x3x4},
	},
	copy:  []kernel{copy256x1, copy256x2},
	turn:  transpose256,
	split: split256,
	winograd: [...]transforms{
		{winogradSrc256x2, winogradDst256x2},
		{winogradSrc256x4, winogradDst256x4},
		{winogradSrc256x6, winogradDst256x6},
	},
	whole: true,
	fourier: []fourierKernels{
		{fourierRows256x8, fourierRowsBack256x8, fourierReal256x8, fourierRealBack256x8,
			fourierColumns256x8, fourierColumnsBack256x8, fourierLoad256x8, fourierStore256x8},
		{fourierRows256x16, fourierRowsBack256x16, fourierReal256x16, fourierRealBack256x16,
			fourierColumns256x16, fourierColumnsBack256x16, fourierLoad256x8, fourierStore256x8},
		{fourierRows256x32, fourierRowsBack256x32, fourierReal256x32, fourierRealBack256x32,
			fourierColumns256x32, fourierColumnsBack256x32, fourierLoad256x8, fourierStore256x8},
		{fourierRows256x64, fourierRowsBack256x64, fourierReal256x64, fourierRealBack256x64,
			fourierColumns256x64, fourierColumnsBack256x64, fourierLoad256x8, fourierStore256x8},
	},
	fourierProduct: [][]kernel{
		{fourierProduct256x1x1, fourierProduct256x1x2, fourierProduct256x1x3, fourierProduct256x1x4, fourierProduct256x1x5,
			fourierProduct256x1x6},
		{fourierProduct256x2x1, fourierProduct256x2x2},
		{fourierProduct256x3x1},
	},
	bias: [2]kernel{biasRow256, biasLane256}, scale: [2]kernel{scaleRow256, scaleLane256},
	divide: [2]kernel{divideRow256, divideLane256}, leak: [2]kernel{leakRow256, leakLane256}, clip: clip256, residual: residual256, quantize: quantize256,
	raise: raise256, integral: integral256, dequantize: dequantize256, shorts: shorts256,
	signed: byteKernels{floatsS256, intsS256, bytesS256}, unsigned: byteKernels{floatsU256, intsU256, bytesU256},
	activations: [activations]kernel{Sigmoid: sigmoid256, Tanh: tanh256, SiLU: silu256, GELU: gelu256, GELUTanh: geluTanh256,
		HardSwish: hardSwish256},
	sum:      [][2]kernel{{sum256x1x1, sum256x1x4}, {sum256x2x1, sum256x2x4}},
	most:     [][2]kernel{{most256x1x1, most256x1x4}, {most256x2x1, most256x2x4}},
	sumEven:  []kernel{sumEven256x1, sumEven256x2},
	mostEven: []kernel{mostEven256x1, mostEven256x2},
	first:    []kernel{first256x1, first256x2},
	every:    every256, joins: joins256,
	dots: [][]kernel{
		{dot256x1x1, dot256x1x2, dot256x1x3, dot256x1x4, dot256x1x5, dot256x1x6, dot256x1x7, dot256x1x8, dot256x1x9},
		{dot256x2x1, dot256x2x2, dot256x2x3, dot256x2x4, dot256x2x5, dot256x2x6},
	}, dotRows: []int{1, 2},
	widen: widen256, narrow: narrow256,
	slides: slides256, fence: storeFence, rowMeans: rowMeans256,
	peak: peak256, peakChains: 12,
}

// pairsOf returns the kernels for pairs of integers. Without AVX512_VNNI, AVX-512 takes those of AVX2.
func pairsOf(isa ISA) *kernels {
	switch {
	case isa == AVX512 && cpu.X86.HasAVX512VNNI:
		return &pairs512
	case isa >= AVX2:
		return &pairs256
	}
	return &pairsPortable
}

var pairs512 = kernels{
	isa: AVX512, lanes: 16,
	gemm: [][]kernel{
		{pairs512x1x1, pairs512x1x2, pairs512x1x3, pairs512x1x4, pairs512x1x5, pairs512x1x6, pairs512x1x7, pairs512x1x8,
			pairs512x1x9, pairs512x1x10, pairs512x1x11, pairs512x1x12, pairs512x1x13, pairs512x1x14},
		{pairs512x2x1, pairs512x2x2, pairs512x2x3, pairs512x2x4, pairs512x2x5, pairs512x2x6, pairs512x2x7, pairs512x2x8,
			pairs512x2x9, pairs512x2x10, pairs512x2x11, pairs512x2x12, pairs512x2x13, pairs512x2x14},
		{pairs512x3x1, pairs512x3x2, pairs512x3x3, pairs512x3x4, pairs512x3x5, pairs512x3x6, pairs512x3x7, pairs512x3x8},
	},
	turn: transpose512,
	join: join512,
}

var pairs256 = kernels{
	isa: AVX2, lanes: 8,
	gemm: [][]kernel{
		{pairs256x1x1, pairs256x1x2, pairs256x1x3, pairs256x1x4, pairs256x1x5},
		{pairs256x2x1, pairs256x2x2, pairs256x2x3, pairs256x2x4, pairs256x2x5},
	},
	turn: transpose256,
	join: join256, joinsWhole: true,
}
