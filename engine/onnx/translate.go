package onnx

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// operators that can be translated, with their attributes and the opset that each came with.
var operators = map[string]map[string]int64{
	"Conv":              {"auto_pad": 1, "dilations": 1, "group": 1, "kernel_shape": 1, "pads": 1, "strides": 1},
	"MaxPool":           {"auto_pad": 1, "kernel_shape": 1, "pads": 1, "strides": 1, "storage_order": 8, "ceil_mode": 10, "dilations": 10},
	"AveragePool":       {"auto_pad": 1, "kernel_shape": 1, "pads": 1, "strides": 1, "count_include_pad": 7, "ceil_mode": 10, "dilations": 19},
	"GlobalAveragePool": {},
	"GlobalMaxPool":     {},
}

// Operators lists the operators that can be translated.
func Operators() []string {
	var names []string
	for name := range operators {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Problem translates a node of the model, for inputs of the shapes: source, and for Conv weights and, if it has one,
// bias. Operators and options that cannot run are errors that wrap driver.ErrUnsupported; a node that contradicts
// itself or its inputs is one that wraps ErrFormat or problem.ErrInvalid.
func (m *Model) Problem(n *Node, shapes ...[]int) (problem.Problem, error) {
	p, err := m.translate(n, shapes)
	if err != nil {
		return problem.Problem{}, fmt.Errorf("node %.100q: %w", n.Name, err)
	}
	return p, nil
}

func (m *Model) translate(n *Node, shapes [][]int) (problem.Problem, error) {
	if err := m.checkNode(n); err != nil {
		return problem.Problem{}, err
	}
	conv := n.Op == "Conv"
	if len(shapes) != len(n.Inputs) || (conv && len(shapes) != 2 && len(shapes) != 3) || (!conv && len(shapes) != 1) {
		return problem.Problem{}, fmt.Errorf("%w: %s with %d inputs, shapes of %d", ErrFormat, n.Op, len(n.Inputs), len(shapes))
	}
	src := shapes[0]
	if len(src) < 3 {
		return problem.Problem{}, fmt.Errorf("%w: %s of a tensor of shape %v; it takes [N, C, spatial…]", ErrFormat, n.Op, src)
	}
	if len(src) > 5 {
		return problem.Problem{}, fmt.Errorf("%w: %s in %d spatial dimensions; 1 to 3 are possible", engine.ErrUnsupported, n.Op, len(src)-2)
	}
	switch n.Op {
	case "GlobalAveragePool":
		return problem.NewPool(problem.AvgExclude, src, nil, problem.Params{})
	case "GlobalMaxPool":
		return problem.NewPool(problem.Max, src, nil, problem.Params{})
	}
	w, err := n.window(len(src) - 2)
	if err != nil {
		return problem.Problem{}, err
	}
	if conv {
		return w.conv(n, shapes)
	}
	return w.pool(n, src)
}

// checkNode refuses operators, attributes and outputs that the translation does not know.
func (m *Model) checkNode(n *Node) error {
	known, ok := operators[n.Op]
	if !ok || !n.Standard() {
		return fmt.Errorf("%w: operator %s", engine.ErrUnsupported, n.operator())
	}
	for name := range n.Attributes {
		since, ok := known[name]
		if !ok {
			return fmt.Errorf("%w: attribute %.100q of %s", engine.ErrUnsupported, name, n.Op)
		}
		if since > m.Opset {
			return fmt.Errorf("%w: %s has attribute %s from opset %d on, the model imports %d; convert it to the newer opset",
				ErrFormat, n.Op, name, since, m.Opset)
		}
	}
	if n.Op == "MaxPool" && len(n.Outputs) > 1 && n.Outputs[1] != "" {
		return fmt.Errorf("%w: the Indices output of MaxPool", engine.ErrUnsupported)
	}
	return nil
}

// operator is the operator's name with the domain of those that are not ONNX's own, fit for one line of text.
func (n *Node) operator() string {
	name := n.Op
	if !n.Standard() {
		name = n.Domain + "." + n.Op
	}
	if quoted := fmt.Sprintf("%.100q", name); quoted != `"`+name+`"` || name == "" {
		return quoted
	}
	return name
}

// window is the attributes that convolution and pooling share.
type window struct {
	kernel []int // nil: as the weights say
	params problem.Params
	valid  bool // auto_pad VALID
}

// window reads the attributes for a number of spatial dimensions. A missing stride is 1, for pooling too.
func (n *Node) window(rank int) (*window, error) {
	w := &window{}
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
		v, err := n.ints(a.name, a.count, a.least)
		if err != nil {
			return nil, err
		}
		*a.to = v
	}
	if w.params.Stride == nil {
		w.params.Stride = []int{1}
	}
	auto, err := n.text("auto_pad", "NOTSET")
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

func (w *window) conv(n *Node, shapes [][]int) (problem.Problem, error) {
	src, wei := shapes[0], shapes[1]
	if len(wei) != len(src) || (w.kernel != nil && !slices.Equal(w.kernel, wei[2:])) {
		return problem.Problem{}, fmt.Errorf("%w: weights of shape %v do not go with a source of shape %v and kernel_shape %v",
			ErrFormat, wei, src, w.kernel)
	}
	group, err := n.int("group", 1, 1, problem.MaxDim)
	if err != nil {
		return problem.Problem{}, err
	}
	w.params.Groups = group
	w.params.Bias = len(n.Inputs) == 3 && n.Inputs[2] != ""
	p, err := problem.NewConv(src, wei, w.params)
	if err == nil && p.Bias && !slices.Equal(shapes[2], p.Shape(problem.Bia)) {
		err = fmt.Errorf("%w: bias of shape %v, weights of shape %v", ErrFormat, shapes[2], wei)
	}
	return p, err
}

func (w *window) pool(n *Node, src []int) (problem.Problem, error) {
	if w.kernel == nil {
		return problem.Problem{}, fmt.Errorf("%w: %s without kernel_shape", ErrFormat, n.Op)
	}
	ceil, err := n.int("ceil_mode", 0, 0, 1)
	if err != nil {
		return problem.Problem{}, err
	}
	include, err := n.int("count_include_pad", 0, 0, 1)
	if err != nil {
		return problem.Problem{}, err
	}
	// Only Indices, which are refused, depend on the storage order.
	if _, err := n.int("storage_order", 0, 0, 1); err != nil {
		return problem.Problem{}, err
	}
	kind := problem.Max
	if n.Op == "AveragePool" {
		kind = problem.AvgExclude
		if include == 1 {
			kind = problem.AvgInclude
		}
	}
	w.params.Ceil = ceil == 1
	p, err := problem.NewPool(kind, src, w.kernel, w.params)
	if err == nil && w.valid && w.params.Ceil && slices.ContainsFunc(p.Spatial(), func(a problem.Axis) bool { return a.Out != a.OutFloor() }) {
		err = fmt.Errorf("%w: ceil_mode with auto_pad VALID where the size depends on it: the ONNX text rounds down, runtimes up; use pads of 0",
			engine.ErrUnsupported)
	}
	return p, err
}

// attribute finds an attribute of a type.
func (n *Node) attribute(name string, t AttributeType) (a Attribute, ok bool, err error) {
	a, ok = n.Attributes[name]
	if ok && a.Type != t {
		err = fmt.Errorf("%w: attribute %s has type %d instead of %d", ErrFormat, name, a.Type, t)
	}
	return a, ok, err
}

func (n *Node) text(name, def string) (string, error) {
	a, ok, err := n.attribute(name, AttributeString)
	if !ok {
		return def, err
	}
	return strings.TrimSpace(a.S), err
}

func (n *Node) int(name string, def, least, most int) (int, error) {
	a, ok, err := n.attribute(name, AttributeInt)
	if err != nil || !ok {
		return def, err
	}
	if a.I < int64(least) || a.I > int64(most) {
		return 0, fmt.Errorf("%w: attribute %s is %d; %d to %d is possible", ErrFormat, name, a.I, least, most)
	}
	return int(a.I), nil
}

// ints is nil if the attribute is not there.
func (n *Node) ints(name string, count int, least int64) ([]int, error) {
	a, ok, err := n.attribute(name, AttributeInts)
	if err != nil || !ok {
		return nil, err
	}
	if len(a.Ints) != count {
		return nil, fmt.Errorf("%w: attribute %s has %d values instead of %d", ErrFormat, name, len(a.Ints), count)
	}
	v := make([]int, count)
	for i, x := range a.Ints {
		if x < least || x > problem.MaxDim {
			return nil, fmt.Errorf("%w: attribute %s holds %d; %d to %d is possible", ErrFormat, name, x, least, problem.MaxDim)
		}
		v[i] = int(x)
	}
	return v, nil
}
