package simd

// The kernels of sliding windows.

var slides512 = []slideKernels{
	{Weighted, 3, 1, []slideKernel{weigh5123x1x1, weigh5123x1x2, weigh5123x1x3, weigh5123x1x4}, []slideKernel{four5123x1, four5123x2}, weigh5123x1x4all},
	{Weighted, 5, 1, []slideKernel{weigh5125x1x1, weigh5125x1x2, weigh5125x1x3, weigh5125x1x4}, nil, weigh5125x1x4all},
	{Weighted, 7, 1, []slideKernel{weigh5127x1x1, weigh5127x1x2, weigh5127x1x3}, nil, weigh5127x1x3all},
	{Weighted, 3, 2, []slideKernel{weigh5123x2x1, weigh5123x2x2, weigh5123x2x3, weigh5123x2x4}, nil, weigh5123x2x4all},
	{Weighted, 5, 2, []slideKernel{weigh5125x2x1, weigh5125x2x2, weigh5125x2x3, weigh5125x2x4}, nil, weigh5125x2x4all},
	{Gradient, 3, 1, []slideKernel{grad5123x1x1, grad5123x1x2, grad5123x1x3, grad5123x1x4}, nil, nil},
	{Gradient, 3, 2, []slideKernel{grad5123x2x1, grad5123x2x2, grad5123x2x3, grad5123x2x4}, nil, nil},
	{Gradient, 5, 1, []slideKernel{grad5125x1x1}, nil, nil},
	{Averaged, 3, 1, []slideKernel{sum5123x1x1, sum5123x1x2, sum5123x1x3, sum5123x1x4}, nil, sum5123x1x4all},
	{Averaged, 3, 2, []slideKernel{sum5123x2x1, sum5123x2x2, sum5123x2x3, sum5123x2x4}, nil, sum5123x2x4all},
	{Averaged, 2, 2, []slideKernel{sum5122x2x1, sum5122x2x2, sum5122x2x3, sum5122x2x4}, nil, sum5122x2x4all},
	{Greatest, 3, 1, []slideKernel{most5123x1x1, most5123x1x2, most5123x1x3, most5123x1x4}, nil, most5123x1x4all},
	{Greatest, 3, 2, []slideKernel{most5123x2x1, most5123x2x2, most5123x2x3, most5123x2x4}, nil, most5123x2x4all},
	{Greatest, 2, 2, []slideKernel{most5122x2x1, most5122x2x2, most5122x2x3, most5122x2x4}, nil, most5122x2x4all},
}

var slides256 = []slideKernels{
	{Weighted, 3, 1, []slideKernel{weigh2563x1x1, weigh2563x1x2, weigh2563x1x3}, []slideKernel{four2563x1}, weigh2563x1x3all},
	{Weighted, 5, 1, []slideKernel{weigh2565x1x1, weigh2565x1x2}, nil, weigh2565x1x2all},
	{Weighted, 7, 1, []slideKernel{weigh2567x1x1}, nil, weigh2567x1x1all},
	{Weighted, 3, 2, []slideKernel{weigh2563x2x1, weigh2563x2x2, weigh2563x2x3}, nil, weigh2563x2x3all},
	{Weighted, 5, 2, []slideKernel{weigh2565x2x1, weigh2565x2x2}, nil, weigh2565x2x2all},
	{Gradient, 3, 1, []slideKernel{grad2563x1x1}, nil, nil},
	{Gradient, 3, 2, []slideKernel{grad2563x2x1}, nil, nil},
	{Averaged, 3, 1, []slideKernel{sum2563x1x1, sum2563x1x2, sum2563x1x3}, nil, sum2563x1x3all},
	{Averaged, 3, 2, []slideKernel{sum2563x2x1, sum2563x2x2, sum2563x2x3}, nil, sum2563x2x3all},
	{Averaged, 2, 2, []slideKernel{sum2562x2x1, sum2562x2x2, sum2562x2x3}, nil, sum2562x2x3all},
	{Greatest, 3, 1, []slideKernel{most2563x1x1, most2563x1x2, most2563x1x3}, nil, most2563x1x3all},
	{Greatest, 3, 2, []slideKernel{most2563x2x1, most2563x2x2, most2563x2x3}, nil, most2563x2x3all},
	{Greatest, 2, 2, []slideKernel{most2562x2x1, most2562x2x2, most2562x2x3}, nil, most2562x2x3all},
}
