package onnx

import (
	"fmt"
	"slices"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// hostOperators are what runs on the host: what stands around convolution and pooling in small networks.
var hostOperators = map[string]func(*hostCall) ([]*value, error){
	"Identity": identity, "Dropout": identity, "Constant": constant,
	"Reshape": reshape, "Flatten": flat, "Squeeze": squeeze, "Unsqueeze": unsqueeze, "Transpose": transpose, "Concat": concat,
	"Relu": relu, "Add": add, "MatMul": matMul, "Gemm": gemm, "Softmax": softmax,
}

// hostCall is a node with its inputs.
type hostCall struct {
	*Node
	opset int64
	in    []*value // nil where left out
	room  int64    // elements that it may make
}

// inputs checks the number of inputs and that the first few are there.
func (h *hostCall) inputs(least, most int) error {
	if len(h.in) < least || len(h.in) > most || slices.Contains(h.in[:least], nil) {
		return fmt.Errorf("%w: %s with %d inputs; it takes %d to %d", ErrFormat, h.Op, len(h.in), least, most)
	}
	return nil
}

// floats checks that all inputs are float32.
func (h *hostCall) floats() error {
	for _, v := range h.in {
		if v != nil && v.kind != Float {
			return fmt.Errorf("%w: %s of %v; here it is for float32", engine.ErrUnsupported, h.Op, v.kind)
		}
	}
	return nil
}

// knows refuses attributes beyond those named.
func (h *hostCall) knows(names ...string) error {
	for name := range h.Attributes {
		if !slices.Contains(names, name) {
			return fmt.Errorf("%w: attribute %.100q of %s", engine.ErrUnsupported, name, h.Op)
		}
	}
	return nil
}

// make is a new float32 tensor, if there is room.
func (h *hostCall) make(shape []int) (*value, []float32, error) {
	if err := h.fits(shape); err != nil {
		return nil, nil, err
	}
	t, err := engine.NewTensor(problem.F32, shape...)
	if err != nil {
		return nil, nil, err
	}
	return wrap(t), t.Float32s(), nil
}

// fits says whether a result has room.
func (h *hostCall) fits(shape []int) error {
	n := int64(1)
	for _, d := range shape {
		if d != 0 && n > h.room/int64(d) {
			return tooMuch()
		}
		n *= int64(d)
	}
	return nil
}

// axis reads a dimension's number, which may count from the end. Of n dimensions, n itself is one where it is a place
// between them.
func axis(v int64, n int, between bool) (int, error) {
	most := int64(n - 1)
	if between {
		most++
	}
	if v < 0 {
		v += int64(n)
	}
	if v < 0 || v > most {
		return 0, fmt.Errorf("%w: axis %d of %d dimensions", ErrFormat, v, n)
	}
	return int(v), nil
}

// axisAttribute reads the attribute axis.
func (h *hostCall) axisAttribute(def int64, n int, between bool) (int, error) {
	a, ok, err := h.attribute("axis", AttributeInt)
	if err != nil {
		return 0, err
	}
	if ok {
		def = a.I
	}
	return axis(def, n, between)
}

// axes reads a list of dimensions' numbers from an attribute or, from opset 13 on, the second input. ok is false if it
// is not there.
func (h *hostCall) axes() (list []int64, ok bool, err error) {
	if h.opset >= 13 {
		if err := h.knows(); err != nil {
			return nil, false, err
		}
		if len(h.in) < 2 || h.in[1] == nil {
			return nil, false, nil
		}
		if h.in[1].kind != Int64 {
			return nil, false, fmt.Errorf("%w: %s with axes of %v", ErrFormat, h.Op, h.in[1].kind)
		}
		return h.in[1].ints, true, nil
	}
	if err := h.knows("axes"); err != nil {
		return nil, false, err
	}
	a, ok, err := h.attribute("axes", AttributeInts)
	return a.Ints, ok, err
}
