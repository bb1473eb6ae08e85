package onnx

import (
	"errors"
	"fmt"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// errContradiction is what the error of an expected output wraps that breaks ONNX's own rule in a known way.
var errContradiction = errors.New("the expected output contradicts ONNX")

// indexMistake says whether the expected output of a MaxUnpool shows a mistake that early versions of ONNX's own tests
// and of runtimes made (onnx/onnx issue 2398). Indices count elements of the tensor that was pooled, which is the
// output, so one of output_shape. The mistake is to unpool into the size that the node would make without output_shape,
// and to pad that: every value ends up beside the place that its index names. The error proves it from the data: the
// expected output is, bit for bit, what the mistake makes, and not what the rule does.
func indexMistake(p *problem.Problem, in engine.Operands, want *engine.Tensor) error {
	if p.Op != problem.Unpool || p.Type.Src != problem.F32 || p.N == 0 {
		return nil
	}
	small, large := []int{p.N, p.IC}, p.Shape(problem.Dst)
	for _, a := range p.Spatial() {
		size := (a.In-1)*a.Stride - a.PadL - a.PadR + a.Extent()
		if size < 1 || size > a.Out {
			return nil
		}
		small = append(small, size)
	}
	values, indices, have := in[problem.Src].Float32s(), in[problem.Ind].Int32s(), want.Float32s()
	mistaken := map[int64]float32{}
	moved := -1
	for i, index := range indices {
		if index < 0 || int64(index) >= problem.Elems(small) {
			return nil
		}
		at := flatten(unflatten(int64(index), small), large)
		if mistaken[at] = values[i]; at != int64(index) && values[i] != 0 {
			moved = i
		}
	}
	if moved < 0 {
		return nil
	}
	for i, v := range have {
		if v != mistaken[int64(i)] {
			return nil
		}
	}
	index := int64(indices[moved])
	return fmt.Errorf("%w: index %d names element %v of output_shape %v, but its value %g stands at %v, which it names "+
		"without output_shape, in %v: indices count in the tensor that was pooled (onnx/onnx issue 2398)", errContradiction,
		index, unflatten(index, large), large, values[moved], unflatten(index, small), small)
}

// unflatten takes a row-major index apart.
func unflatten(i int64, shape []int) []int {
	at := make([]int, len(shape))
	for k := len(shape) - 1; k >= 0; k-- {
		at[k] = int(i % int64(shape[k]))
		i /= int64(shape[k])
	}
	return at
}

// flatten is the row-major index of an element.
func flatten(at, shape []int) int64 {
	i := int64(0)
	for k, x := range at {
		i = i*int64(shape[k]) + int64(x)
	}
	return i
}
