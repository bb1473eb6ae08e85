package onnx

import (
	"fmt"
	"slices"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// Operand is what the translation of a node wants to know of an input. The zero Operand is one that is left out.
type Operand struct {
	Type  DataType
	Shape []int
	Ints  []int64 // values of an int64 input that says sizes
}

// Problem translates a node of the model, for inputs in the order of the node's. Operators, element types and options
// that cannot run are errors that wrap driver.ErrUnsupported; a node that contradicts itself or its inputs is one that
// wraps ErrFormat or problem.ErrInvalid.
func (m *Model) Problem(n *Node, in ...Operand) (problem.Problem, error) {
	p, err := m.translate(n, in)
	if err != nil {
		return problem.Problem{}, fmt.Errorf("node %.100q: %w", n.Name, err)
	}
	return p, nil
}

func (m *Model) translate(n *Node, in []Operand) (problem.Problem, error) {
	op, err := m.checkNode(n)
	if err != nil {
		return problem.Problem{}, err
	}
	if len(in) != len(n.Inputs) {
		return problem.Problem{}, fmt.Errorf("%w: %s with %d inputs, shapes of %d", ErrFormat, n.Op, len(n.Inputs), len(in))
	}
	c := &call{Node: n, op: op}
	for i, o := range in {
		if (o.Type == 0) != (n.Inputs[i] == "") {
			return problem.Problem{}, fmt.Errorf("%w: %s: the %s is there or left out, not both", ErrFormat, n.Op, op.inputs[i])
		}
		c.in[op.inputs[i]] = o
	}
	p, err := op.translate(c)
	if err != nil {
		return p, err
	}
	for _, s := range op.inputs {
		if s >= problem.Roles || !c.has(s) {
			continue
		}
		if want := p.Shape(problem.Role(s)); !slices.Equal(c.in[s].Shape, want) {
			return p, fmt.Errorf("%w: the %s of %s has shape %v, %s wants %v", ErrFormat, s, n.Op, c.in[s].Shape, p.String(), want)
		}
	}
	return p, nil
}

func (c *call) has(s slot) bool { return c.in[s].Type != 0 }

// image checks that the source has a batch, channels and 1 to 3 spatial dimensions, whose number it returns.
func (c *call) image() (rank int, err error) {
	shape := c.in[src].Shape
	if len(shape) < 3 {
		return 0, fmt.Errorf("%w: %s of a tensor of shape %v; it takes [N, C, spatial…]", ErrFormat, c.Op, shape)
	}
	if len(shape) > 5 {
		return 0, fmt.Errorf("%w: %s in %d spatial dimensions; 1 to 3 are possible", engine.ErrUnsupported, c.Op, len(shape)-2)
	}
	return len(shape) - 2, nil
}

// wants checks the element types of inputs that are there.
func (c *call) wants(types []DataType, list ...slot) error {
	for _, s := range list {
		if c.has(s) && !slices.Contains(types, c.in[s].Type) {
			return fmt.Errorf("%w: %s with a %s of %v; here it may be %v", engine.ErrUnsupported, c.Op, s, c.in[s].Type, types)
		}
	}
	return nil
}

// uniform is the type of an operation whose source may be of the types, and whose other tensors must be as the source.
func (c *call) uniform(types []DataType, others ...slot) (problem.Types, error) {
	if err := c.wants(types, src); err != nil {
		return problem.Types{}, err
	}
	own := c.in[src].Type
	if err := c.wants([]DataType{own}, others...); err != nil {
		return problem.Types{}, err
	}
	return problem.All(hostTypes[own]), nil
}

var (
	floats = []DataType{Float, Float16}
	bytes8 = []DataType{Int8, Uint8}
	moved  = []DataType{Float, Float16, Int8, Uint8} // what is compared and copied, not summed
)

// windows is the attributes that convolution and pooling share.
type windows struct {
	kernel []int // nil: as the weights say
	params problem.Params
	valid  bool // auto_pad VALID
}

// windows reads the attributes for a number of spatial dimensions. A missing stride is 1, for pooling too.
func (c *call) windows(rank int) (*windows, error) {
	w := &windows{}
	var pads []int
	for _, a := range []struct {
		name  string
		to    *[]int
		count int
		least int64
	}{
		{"kernel_shape", &w.kernel, rank, 1}, {"strides", &w.params.Stride, rank, 1},
		{"dilations", &w.params.Dilation, rank, 1}, {"pads", &pads, 2 * rank, 0},
	} {
		v, err := c.ints(a.name, a.count, a.least)
		if err != nil {
			return nil, err
		}
		*a.to = v
	}
	if w.params.Stride == nil {
		w.params.Stride = slices.Repeat([]int{1}, rank)
	}
	auto, err := c.text("auto_pad", "NOTSET")
	if err != nil {
		return nil, err
	}
	switch auto {
	case "NOTSET", "":
		if pads != nil { // all begins, then all ends
			w.params.PadL, w.params.PadR = pads[:rank], pads[rank:]
		}
		return w, nil
	case "VALID":
		w.valid = true
	case "SAME_UPPER":
		w.params.SameUpper = true
	case "SAME_LOWER":
		w.params.Lower = true
	default:
		return nil, fmt.Errorf("%w: auto_pad %.100q is none of NOTSET, VALID, SAME_UPPER, SAME_LOWER", ErrFormat, auto)
	}
	if slices.ContainsFunc(pads, func(v int) bool { return v != 0 }) {
		return nil, fmt.Errorf("%w: pads %v together with auto_pad %s; keep one of them", ErrFormat, pads, auto)
	}
	return w, nil
}
