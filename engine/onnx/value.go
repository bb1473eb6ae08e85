package onnx

import (
	"fmt"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// value is a tensor in a run of a graph.
type value struct {
	kind  DataType
	shape []int
	host  *engine.Tensor // of types that package engine has …
	ints  []int64        // … and of int64

	// What is known of the true elements, which real arithmetic would give, so that expected outputs can be judged.
	exact bool         // these are they
	truth driver.Truth // the oracle's word on them, if all that they come from is exact
	off   []float64    // how far they may be off; nil if nothing is known
}

// read makes a value of a tensor from a file.
func (t *Tensor) read() (*value, error) {
	v := &value{kind: t.Type, shape: t.Shape, exact: true}
	var err error
	if t.Type == Int64 {
		v.ints, err = t.Int64s()
	} else {
		v.host, err = t.Host()
	}
	return v, err
}

// wrap makes a value of a host tensor.
func wrap(t *engine.Tensor) *value {
	v := &value{shape: t.Shape(), host: t}
	for kind, typ := range hostTypes {
		if typ == t.Type() {
			v.kind = kind
		}
	}
	return v
}

// operand is what the translation wants to know.
func (v *value) operand() Operand {
	if v == nil {
		return Operand{}
	}
	return Operand{Type: v.kind, Shape: v.shape, Ints: v.ints}
}

func (v *value) elems() int64 { return problem.Elems(append([]int{}, v.shape...)) }

// at reads elements as float64, exactly but for the largest int64.
func (v *value) at() func(int64) float64 {
	if v.kind == Int64 {
		return func(i int64) float64 { return float64(v.ints[i]) }
	}
	if v.kind == Int32 {
		ints := v.host.Int32s()
		return func(i int64) float64 { return float64(ints[i]) }
	}
	wide := v.host.Widen()
	return func(i int64) float64 { return float64(wide[i]) }
}

// as is the value as a tensor of a problem's type: what ONNX has as int64, f16 or a scalar, problems have as s32 or f32.
func (v *value) as(typ problem.DataType) (*engine.Tensor, error) {
	if v.host != nil && v.host.Type() == typ {
		return v.host, nil
	}
	t, err := engine.NewTensor(typ, v.shape...)
	if err != nil {
		return nil, err
	}
	switch {
	case v.kind == Int64 && typ == problem.S32:
		for i, x := range v.ints {
			if int64(int32(x)) != x {
				return nil, fmt.Errorf("%w: index %d, element %d, is beyond every tensor", ErrFormat, x, i)
			}
			t.Int32s()[i] = int32(x)
		}
		return t, nil
	case v.kind == Float16 && typ == problem.F32:
		return t, t.Narrow(v.host.Widen())
	}
	return nil, fmt.Errorf("%w: %v where %v is wanted", engine.ErrUnsupported, v.kind, typ)
}

// bind makes the operands of a translated node from its inputs.
func (n *Node) bind(p *problem.Problem, in []*value) (engine.Operands, error) {
	var all engine.Operands
	var by [slots]*value
	for i, s := range operators[n.Op].inputs {
		if i < len(in) {
			by[s] = in[i]
		}
		if s >= problem.Roles || by[s] == nil {
			continue
		}
		t, err := by[s].as(p.TypeOf(problem.Role(s)))
		if err != nil {
			return all, err
		}
		all[s] = t
	}
	if t := all[problem.Ind]; t != nil {
		if err := p.CheckIndices(t.Int32s()); err != nil {
			return all, err
		}
	}
	if !p.Integer() {
		return all, nil
	}
	q, err := engine.NewTensor(problem.F32, p.Shape(problem.Quant)...)
	if err != nil {
		return all, err
	}
	fillQuant(q.Float32s(), p.OC, &by)
	all[problem.Quant] = q
	return all, nil
}

// fillQuant fills the rows of Quant: zero points of source and weights, multiplier, zero point of the output. The
// multiplier is source scale · weights' scale / output scale in float32, in this order.
func fillQuant(q []float32, oc int, by *[slots]*value) {
	row := func(s slot, missing float32) func(int) float32 {
		if by[s] == nil {
			return func(int) float32 { return missing }
		}
		wide := by[s].host.Widen() // one value, or one for each channel
		return func(o int) float32 { return wide[min(o, len(wide)-1)] }
	}
	zs, zw, zd := row(zeroSrc, 0), row(zeroWei, 0), row(zeroDst, 0)
	ss, sw, sd := row(scaleSrc, 1), row(scaleWei, 1), row(scaleDst, 1)
	for o := range oc {
		q[o], q[oc+o], q[2*oc+o], q[3*oc+o] = zs(o), zw(o), ss(o)*sw(o)/sd(o), zd(o)
	}
}
