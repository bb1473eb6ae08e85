package onnx

import (
	"fmt"
	"slices"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// weighted reads what all convolutions have but the element types.
func (c *call) weighted() (*windows, error) {
	rank, err := c.image()
	if err != nil {
		return nil, err
	}
	w, err := c.windows(rank)
	if err != nil {
		return nil, err
	}
	shape := c.in[wei].Shape
	if len(shape) != rank+2 || (w.kernel != nil && !slices.Equal(w.kernel, shape[2:])) {
		return nil, fmt.Errorf("%w: weights of shape %v do not go with a source of shape %v and kernel_shape %v",
			ErrFormat, shape, c.in[src].Shape, w.kernel)
	}
	w.kernel = shape[2:]
	w.params.Bias = c.has(bia)
	w.params.Groups, err = c.int("group", 1, 1, problem.MaxDim)
	return w, err
}

func (c *call) conv() (p problem.Problem, err error) {
	w, err := c.weighted()
	if err != nil {
		return p, err
	}
	if w.params.Type, err = c.uniform(floats, wei, bia); err != nil {
		return p, err
	}
	return problem.NewConv(c.in[src].Shape, c.in[wei].Shape, w.params)
}

func (c *call) deform() (p problem.Problem, err error) {
	w, err := c.weighted()
	if err != nil {
		return p, err
	}
	if w.params.Type, err = c.uniform(floats, wei, bia, offset, mask); err != nil {
		return p, err
	}
	w.params.Mask = c.has(mask)
	if w.params.OffsetGroups, err = c.int("offset_group", 1, 1, problem.MaxDim); err != nil {
		return p, err
	}
	return problem.NewDeform(c.in[src].Shape, c.in[wei].Shape, w.params)
}

// integer translates ConvInteger, which makes int32, and QLinearConv, which has an output zero point whose type its
// output is of.
func (c *call) integer() (p problem.Problem, err error) {
	w, err := c.weighted()
	if err != nil {
		return p, err
	}
	for _, o := range []struct {
		types []DataType
		list  []slot
	}{
		{bytes8, []slot{src, wei, zeroDst}},
		{[]DataType{c.in[src].Type}, []slot{zeroSrc}}, {[]DataType{c.in[wei].Type}, []slot{zeroWei}},
		{[]DataType{Float}, []slot{scaleSrc, scaleWei, scaleDst}}, {[]DataType{Int32}, []slot{bia}},
	} {
		if err := c.wants(o.types, o.list...); err != nil {
			return p, err
		}
	}
	w.params.Type = problem.Types{Src: hostTypes[c.in[src].Type], Wei: hostTypes[c.in[wei].Type], Dst: problem.S32}
	if c.has(zeroDst) {
		w.params.Type.Dst = hostTypes[c.in[zeroDst].Type]
	}
	if p, err = problem.NewConv(c.in[src].Shape, c.in[wei].Shape, w.params); err != nil {
		return p, err
	}
	for _, s := range []slot{zeroSrc, zeroDst, scaleSrc, scaleDst, zeroWei, scaleWei} {
		shape := c.in[s].Shape
		each := (s == zeroWei || s == scaleWei) && slices.Equal(shape, []int{p.OC})
		if n := problem.Elems(append([]int{}, shape...)); c.has(s) && n != 1 && !each {
			return p, fmt.Errorf("%w: the %s of %s has shape %v; it takes one value, of weights also one for each of %d channels",
				ErrFormat, s, c.Op, shape, p.OC)
		}
	}
	return p, nil
}

// deconv translates ConvTranspose. An output size, be it output_shape's or auto_pad's input·stride, makes the paddings:
// their odd cell stands at the start, with SAME_UPPER at the end. What the size has beyond all padding is at the end.
func (c *call) deconv() (p problem.Problem, err error) {
	w, err := c.weighted()
	if err != nil {
		return p, err
	}
	if w.params.Type, err = c.uniform(floats, wei, bia); err != nil {
		return p, err
	}
	rank, in := len(w.kernel), c.in[src].Shape[2:]
	o := &w.params
	if o.OutputPad, err = c.ints("output_padding", rank, 0); err != nil {
		return p, err
	}
	if o.OutputSize, err = c.ints("output_shape", rank, 1); err != nil {
		return p, err
	}
	upper := o.SameUpper
	if same := o.SameUpper || o.Lower; same && o.OutputSize == nil {
		for i := range rank {
			if in[i] < 1 || in[i] > problem.MaxDim/o.Stride[i] {
				return p, fmt.Errorf("%w: %s of a source %v with strides %v", problem.ErrInvalid, c.Op, in, o.Stride)
			}
			o.OutputSize = append(o.OutputSize, in[i]*o.Stride[i])
		}
	}
	o.SameUpper, o.Lower = false, false
	if o.OutputSize != nil {
		o.PadL, o.PadR = make([]int, rank), make([]int, rank)
	}
	for i := range o.OutputSize {
		dilation, more := 1, 0
		if o.Dilation != nil {
			dilation = o.Dilation[i]
		}
		if o.OutputPad != nil {
			more = o.OutputPad[i]
		}
		// No factor is above 2^40, in NewDeconv's limits; of what is beyond them it only matters that it does not overflow.
		if in[i] > problem.MaxSize>>10 || w.kernel[i] > problem.MaxDim || dilation > problem.MaxDim {
			return p, fmt.Errorf("%w: %s of a source %v with a kernel %v", problem.ErrInvalid, c.Op, in, w.kernel)
		}
		total := max(0, (in[i]-1)*o.Stride[i]+more+(w.kernel[i]-1)*dilation+1-o.OutputSize[i])
		o.PadL[i], o.PadR[i] = total-total/2, total/2
		if upper {
			o.PadL[i], o.PadR[i] = total/2, total-total/2
		}
	}
	return problem.NewDeconv(c.in[src].Shape, c.in[wei].Shape, *o)
}
