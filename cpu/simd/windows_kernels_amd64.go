package simd

// The kernels of sliding windows.

var slides512 = []slideKernels{
	{Weighted, 3, 1, []slideKernel{weigh5123x1x1, weigh5123x1x2, weigh5123x1x3, weigh5123x1x4}},
	{Weighted, 5, 1, []slideKernel{weigh5125x1x1, weigh5125x1x2, weigh5125x1x3, weigh5125x1x4}},
	{Weighted, 7, 1, []slideKernel{weigh5127x1x1, weigh5127x1x2, weigh5127x1x3}},
	{Weighted, 3, 2, []slideKernel{weigh5123x2x1, weigh5123x2x2, weigh5123x2x3, weigh5123x2x4}},
	{Weighted, 5, 2, []slideKernel{weigh5125x2x1, weigh5125x2x2, weigh5125x2x3, weigh5125x2x4}},
	{Gradient, 3, 1, []slideKernel{grad5123x1x1, grad5123x1x2, grad5123x1x3, grad5123x1x4}},
	{Gradient, 3, 2, []slideKernel{grad5123x2x1, grad5123x2x2, grad5123x2x3, grad5123x2x4}},
	{Gradient, 5, 1, []slideKernel{grad5125x1x1}},
	{Averaged, 3, 1, []slideKernel{sum5123x1x1, sum5123x1x2, sum5123x1x3, sum5123x1x4}},
	{Averaged, 3, 2, []slideKernel{sum5123x2x1, sum5123x2x2, sum5123x2x3, sum5123x2x4}},
	{Averaged, 2, 2, []slideKernel{sum5122x2x1, sum5122x2x2, sum5122x2x3, sum5122x2x4}},
	{Greatest, 3, 1, []slideKernel{most5123x1x1, most5123x1x2, most5123x1x3, most5123x1x4}},
	{Greatest, 3, 2, []slideKernel{most5123x2x1, most5123x2x2, most5123x2x3, most5123x2x4}},
	{Greatest, 2, 2, []slideKernel{most5122x2x1, most5122x2x2, most5122x2x3, most5122x2x4}},
}

var slides256 = []slideKernels{
	{Weighted, 3, 1, []slideKernel{weigh2563x1x1, weigh2563x1x2, weigh2563x1x3}},
	{Weighted, 5, 1, []slideKernel{weigh2565x1x1, weigh2565x1x2}},
	{Weighted, 7, 1, []slideKernel{weigh2567x1x1}},
	{Weighted, 3, 2, []slideKernel{weigh2563x2x1, weigh2563x2x2, weigh2563x2x3}},
	{Weighted, 5, 2, []slideKernel{weigh2565x2x1, weigh2565x2x2}},
	{Gradient, 3, 1, []slideKernel{grad2563x1x1}},
	{Gradient, 3, 2, []slideKernel{grad2563x2x1}},
	{Averaged, 3, 1, []slideKernel{sum2563x1x1, sum2563x1x2, sum2563x1x3}},
	{Averaged, 3, 2, []slideKernel{sum2563x2x1, sum2563x2x2, sum2563x2x3}},
	{Averaged, 2, 2, []slideKernel{sum2562x2x1, sum2562x2x2, sum2562x2x3}},
	{Greatest, 3, 1, []slideKernel{most2563x1x1, most2563x1x2, most2563x1x3}},
	{Greatest, 3, 2, []slideKernel{most2563x2x1, most2563x2x2, most2563x2x3}},
	{Greatest, 2, 2, []slideKernel{most2562x2x1, most2562x2x2, most2562x2x3}},
}
