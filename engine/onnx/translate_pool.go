package onnx

import (
	"fmt"
	"math"
	"slices"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// pooling reads what all poolings with a window have but the element type.
func (c *call) pooling() (*windows, error) {
	rank, err := c.image()
	if err != nil {
		return nil, err
	}
	w, err := c.windows(rank)
	if err != nil {
		return nil, err
	}
	if w.kernel == nil {
		return nil, fmt.Errorf("%w: %s without kernel_shape", ErrFormat, c.Op)
	}
	ceil, err := c.int("ceil_mode", 0, 0, 1)
	w.params.Ceil = ceil == 1
	return w, err
}

func (c *call) pool(kind problem.PoolKind, w *windows) (problem.Problem, error) {
	p, err := problem.NewPool(kind, c.in[src].Shape, w.kernel, w.params)
	if err != nil || !w.valid || !w.params.Ceil {
		return p, err
	}
	if slices.ContainsFunc(p.Spatial(), func(a problem.Axis) bool { return a.Out != a.OutFloor() }) {
		err = fmt.Errorf("%w: ceil_mode with auto_pad VALID where the size depends on it: the ONNX text rounds down, "+
			"runtimes up; use pads of 0", engine.ErrUnsupported)
	}
	return p, err
}

func (c *call) maxPool() (p problem.Problem, err error) {
	w, err := c.pooling()
	if err != nil {
		return p, err
	}
	if w.params.Type, err = c.uniform(moved); err != nil {
		return p, err
	}
	order, err := c.int("storage_order", 0, 0, 1)
	if err != nil {
		return p, err
	}
	if len(c.Outputs) > 1 && c.Outputs[1] != "" {
		if w.params.Indices = problem.Flat; order == 1 {
			w.params.Indices = problem.Column
		}
	}
	p, err = c.pool(problem.Max, w)
	if err == nil && p.Indices != problem.NoIndices && problem.Elems(p.Shape(problem.Src)) > math.MaxInt32 {
		err = fmt.Errorf("%w: indices into more than 2^31 elements", engine.ErrUnsupported)
	}
	return p, err
}

func (c *call) averagePool() (p problem.Problem, err error) {
	w, err := c.pooling()
	if err != nil {
		return p, err
	}
	if w.params.Type, err = c.uniform(floats); err != nil {
		return p, err
	}
	include, err := c.int("count_include_pad", 0, 0, 1)
	if err != nil {
		return p, err
	}
	if include == 1 {
		return c.pool(problem.AvgInclude, w)
	}
	return c.pool(problem.AvgExclude, w)
}

func (c *call) lpPool() (p problem.Problem, err error) {
	w, err := c.pooling()
	if err != nil {
		return p, err
	}
	if err := c.exponent(&w.params); err != nil {
		return p, err
	}
	return c.pool(problem.Lp, w)
}

// exponent reads the type and the exponent of Lp pooling.
func (c *call) exponent(o *problem.Params) (err error) {
	if o.Type, err = c.uniform(floats); err != nil {
		return err
	}
	o.P, err = c.int("p", 2, 1, problem.MaxExponent)
	return err
}

func (c *call) globalAverage() (problem.Problem, error) { return c.global(problem.AvgExclude, floats) }
func (c *call) globalMax() (problem.Problem, error)     { return c.global(problem.Max, floats) }
func (c *call) globalLp() (problem.Problem, error)      { return c.global(problem.Lp, floats) }

func (c *call) global(kind problem.PoolKind, types []DataType) (p problem.Problem, err error) {
	if _, err := c.image(); err != nil {
		return p, err
	}
	var o problem.Params
	if o.Type, err = c.uniform(types); err != nil {
		return p, err
	}
	if kind == problem.Lp {
		if err := c.exponent(&o); err != nil {
			return p, err
		}
	}
	return problem.NewPool(kind, c.in[src].Shape, nil, o)
}

// unpool translates MaxUnpool. The indices count elements of the output, which has the shape of the pooling's input.
func (c *call) unpool() (p problem.Problem, err error) {
	rank, err := c.image()
	if err != nil {
		return p, err
	}
	w, err := c.windows(rank)
	if err != nil {
		return p, err
	}
	if w.kernel == nil {
		return p, fmt.Errorf("%w: %s without kernel_shape", ErrFormat, c.Op)
	}
	if w.params.Type, err = c.uniform(moved); err != nil {
		return p, err
	}
	if err := c.wants([]DataType{Int64}, ind, sizes); err != nil {
		return p, err
	}
	if c.has(sizes) {
		shape := c.in[src].Shape
		size, err := dimensions(sizes.String(), c.in[sizes].Ints, rank+2, 0)
		if err != nil {
			return p, err
		}
		if !slices.Equal(size[:2], shape[:2]) || slices.Min(size[2:]) < 1 {
			return p, fmt.Errorf("%w: output_shape %v of a source of shape %v", ErrFormat, size, shape)
		}
		w.params.OutputSize = size[2:]
	}
	w.params.Indices = problem.Flat
	p, err = problem.NewUnpool(c.in[src].Shape, w.kernel, w.params)
	if err == nil && problem.Elems(p.Shape(problem.Dst)) > math.MaxInt32 {
		err = fmt.Errorf("%w: indices into more than 2^31 elements", engine.ErrUnsupported)
	}
	return p, err
}

func (c *call) col2im() (p problem.Problem, err error) {
	if err := c.wants([]DataType{Int64}, sizes, block); err != nil {
		return p, err
	}
	shape, rank := c.in[src].Shape, len(c.in[sizes].Ints)
	if len(shape) != 3 {
		return p, fmt.Errorf("%w: %s of a tensor of shape %v; it takes [N, C·taps, positions]", ErrFormat, c.Op, shape)
	}
	if rank < 1 || rank > 3 {
		return p, fmt.Errorf("%w: %s in %d spatial dimensions; 1 to 3 are possible", engine.ErrUnsupported, c.Op, rank)
	}
	w, err := c.windows(rank)
	if err != nil {
		return p, err
	}
	if w.params.Type, err = c.uniform(floats); err != nil {
		return p, err
	}
	image, err := dimensions(sizes.String(), c.in[sizes].Ints, rank, 1)
	if err != nil {
		return p, err
	}
	kernel, err := dimensions(block.String(), c.in[block].Ints, rank, 1)
	if err != nil {
		return p, err
	}
	channels := shape[1]
	for _, k := range kernel {
		if channels%k != 0 {
			return p, fmt.Errorf("%w: %s of %d rows with a block of %v; they must be a multiple of it", ErrFormat, c.Op, shape[1], kernel)
		}
		channels /= k
	}
	return problem.NewCol2im(append([]int{shape[0], channels}, image...), kernel, w.params)
}
