package onnx

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// slot is what an input of an operator is for: a role of the problem, or one of these, which shape it.
type slot uint8

const (
	zeroSrc slot = problem.Roles + iota // zero points and scales of quantized tensors
	zeroWei
	zeroDst
	scaleSrc
	scaleWei
	scaleDst
	sizes // of the output
	block // kernel of Col2Im
	slots
)

const (
	src    = slot(problem.Src)
	wei    = slot(problem.Wei)
	bia    = slot(problem.Bia)
	ind    = slot(problem.Ind)
	offset = slot(problem.Offset)
	mask   = slot(problem.Mask)
)

func (s slot) String() string {
	if s < problem.Roles {
		return problem.Role(s).String()
	}
	return [...]string{"source zero point", "weights' zero point", "output zero point", "source scale", "weights' scale",
		"output scale", "output size", "block size"}[s-problem.Roles]
}

// operator is one that can be translated.
type operator struct {
	attributes map[string]int64 // with the opset that each came with
	inputs     []slot           // in the order of the node
	required   int              // how many of them must be there
	outputs    []problem.Role
	translate  func(*call) (problem.Problem, error)
}

// call is a node with what is known of its inputs.
type call struct {
	*Node
	op *operator
	in [slots]Operand
}

var operators = map[string]*operator{
	"Conv": {
		attributes: with(window11, map[string]int64{"dilations": 1, "group": 1}),
		inputs:     []slot{src, wei, bia}, required: 2, translate: (*call).conv,
	},
	"ConvTranspose": {
		attributes: with(window11, map[string]int64{"dilations": 1, "group": 1, "output_padding": 1, "output_shape": 1}),
		inputs:     []slot{src, wei, bia}, required: 2, translate: (*call).deconv,
	},
	"ConvInteger": {
		attributes: with(window11, map[string]int64{"dilations": 10, "group": 10}),
		inputs:     []slot{src, wei, zeroSrc, zeroWei}, required: 2, translate: (*call).integer,
	},
	"QLinearConv": {
		attributes: with(window11, map[string]int64{"dilations": 10, "group": 10}),
		inputs:     []slot{src, scaleSrc, zeroSrc, wei, scaleWei, zeroWei, scaleDst, zeroDst, bia},
		required:   8, translate: (*call).integer,
	},
	"DeformConv": {
		attributes: map[string]int64{"dilations": 19, "group": 19, "kernel_shape": 19, "offset_group": 19, "pads": 19, "strides": 19},
		inputs:     []slot{src, wei, offset, bia, mask}, required: 3, translate: (*call).deform,
	},
	"MaxPool": {
		attributes: with(window11, map[string]int64{"storage_order": 8, "ceil_mode": 10, "dilations": 10}),
		inputs:     []slot{src}, required: 1, outputs: []problem.Role{problem.Dst, problem.Ind}, translate: (*call).maxPool,
	},
	"AveragePool": {
		attributes: with(window11, map[string]int64{"count_include_pad": 7, "ceil_mode": 10, "dilations": 19}),
		inputs:     []slot{src}, required: 1, translate: (*call).averagePool,
	},
	"LpPool": {
		attributes: with(window11, map[string]int64{"p": 1, "ceil_mode": 18, "dilations": 18}),
		inputs:     []slot{src}, required: 1, translate: (*call).lpPool,
	},
	"GlobalAveragePool": {inputs: []slot{src}, required: 1, translate: (*call).globalAverage},
	"GlobalMaxPool":     {inputs: []slot{src}, required: 1, translate: (*call).globalMax},
	"GlobalLpPool":      {attributes: map[string]int64{"p": 1}, inputs: []slot{src}, required: 1, translate: (*call).globalLp},
	"MaxUnpool": {
		attributes: map[string]int64{"kernel_shape": 9, "pads": 9, "strides": 9},
		inputs:     []slot{src, ind, sizes}, required: 2, translate: (*call).unpool,
	},
	"Col2Im": {
		attributes: map[string]int64{"dilations": 18, "pads": 18, "strides": 18},
		inputs:     []slot{src, sizes, block}, required: 3, translate: (*call).col2im,
	},
}

// window11 is the attributes that most operators share.
var window11 = map[string]int64{"auto_pad": 1, "kernel_shape": 1, "pads": 1, "strides": 1}

func with(a, b map[string]int64) map[string]int64 {
	all := map[string]int64{}
	for _, m := range []map[string]int64{a, b} {
		for name, since := range m {
			all[name] = since
		}
	}
	return all
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

// roles are the problem's outputs in the order of the node's.
func (o *operator) roles() []problem.Role {
	if o.outputs == nil {
		return []problem.Role{problem.Dst}
	}
	return o.outputs
}

// checkNode refuses operators, attributes, inputs and outputs that the translation does not know.
func (m *Model) checkNode(n *Node) (*operator, error) {
	op, ok := operators[n.Op]
	if !ok || !n.Standard() {
		return nil, fmt.Errorf("%w: operator %s", engine.ErrUnsupported, n.operator())
	}
	for name := range n.Attributes {
		since, ok := op.attributes[name]
		if !ok {
			return nil, fmt.Errorf("%w: attribute %.100q of %s", engine.ErrUnsupported, name, n.Op)
		}
		if since > m.Opset {
			return nil, fmt.Errorf("%w: %s has attribute %s from opset %d on, the model imports %d; convert it to the newer opset",
				ErrFormat, n.Op, name, since, m.Opset)
		}
	}
	if len(n.Inputs) > len(op.inputs) || len(n.Outputs) > len(op.roles()) {
		return nil, fmt.Errorf("%w: %s with %d inputs and %d outputs; it has %d and %d at most", ErrFormat, n.Op, len(n.Inputs),
			len(n.Outputs), len(op.inputs), len(op.roles()))
	}
	for i := range op.required {
		if i >= len(n.Inputs) || n.Inputs[i] == "" {
			return nil, fmt.Errorf("%w: %s with %d inputs: the %s is missing", ErrFormat, n.Op, len(n.Inputs), op.inputs[i])
		}
	}
	return op, nil
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

func (n *Node) float(name string, def float32) (float32, error) {
	a, ok, err := n.attribute(name, AttributeFloat)
	if !ok {
		return def, err
	}
	return a.F, err
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
	return dimensions("attribute "+name, a.Ints, count, least)
}

// dimensions checks sizes from a file.
func dimensions(what string, list []int64, count int, least int64) ([]int, error) {
	if len(list) != count {
		return nil, fmt.Errorf("%w: %s has %d values instead of %d", ErrFormat, what, len(list), count)
	}
	v := make([]int, count)
	for i, x := range list {
		if x < least || x > problem.MaxDim {
			return nil, fmt.Errorf("%w: %s holds %d; %d to %d is possible", ErrFormat, what, x, least, problem.MaxDim)
		}
		v[i] = int(x)
	}
	return v, nil
}
