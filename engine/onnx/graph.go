package onnx

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// Limits of a run, since a small file can ask for large tensors.
const (
	maxMade = 1 << 25 // elements that all nodes of a graph make together
	maxWork = 2e11    // operations of one problem, which the oracle does one by one
)

// evaluation is a graph being run on one data set.
type evaluation struct {
	*runner
	model  *Model
	result *Result
	values map[string]*value
	want   map[string]*Tensor // expected outputs
	used   map[string]bool    // names that some node or output reads
	fused  map[*Node]*Node    // by a convolution, the Relu behind it
	made   int64              // elements so far
	proven int                // problems that ran and were right
	// mistake is how an expected output is known to be wrong, to be told if it is; by its name.
	mistake map[string]func(*value) error
}

// run runs one data set.
func (r *runner) run(ctx context.Context, m *Model, set string, result *Result) error {
	devices := 0
	for _, n := range m.Graph.Nodes {
		if hostOperators[n.Op] != nil && n.Standard() {
			continue
		}
		if _, err := m.checkNode(n); err != nil {
			return err
		}
		devices++
	}
	if devices == 0 {
		return fmt.Errorf("%w: nothing to run on a device: operator %s", engine.ErrUnsupported, result.Operator)
	}
	in, err := m.Graph.inputs(set)
	if err != nil {
		return err
	}
	e := &evaluation{runner: r, model: m, result: result, values: map[string]*value{}, want: map[string]*Tensor{},
		used: map[string]bool{}, fused: m.Graph.fuse(), mistake: map[string]func(*value) error{}}
	for _, n := range m.Graph.Nodes {
		for _, name := range n.Inputs {
			e.used[name] = true
		}
	}
	for i, name := range m.Graph.Outputs {
		t, err := LoadTensor(filepath.Join(set, fmt.Sprintf("output_%d.pb", i)))
		if err != nil {
			return err
		}
		e.want[name], e.used[name] = t, true
	}
	for name, t := range in {
		if e.values[name], err = t.read(); err != nil {
			return err
		}
	}
	result.Check = Exact
	done := map[*Node]bool{}
	for _, n := range m.Graph.Nodes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if relu := e.fused[n]; relu != nil {
			done[relu] = true
		}
		if done[n] {
			continue
		}
		if err := e.node(ctx, n, devices == 1); err != nil {
			return err
		}
	}
	var worst error // of several outputs; a wrong one counts more than one that is expected wrongly
	for _, name := range m.Graph.Outputs {
		v := e.values[name]
		if v == nil {
			return fmt.Errorf("%w: no node makes the output %.100q", ErrFormat, name)
		}
		err := e.judge(name, v)
		if worst == nil || errors.Is(worst, errContradiction) && err != nil {
			worst = err
		}
	}
	return worst
}

// node runs one node and keeps what it makes.
func (e *evaluation) node(ctx context.Context, n *Node, only bool) error {
	in := make([]*value, len(n.Inputs))
	for i, name := range n.Inputs {
		if name == "" {
			continue
		}
		if in[i] = e.values[name]; in[i] == nil {
			return fmt.Errorf("%w: input %.100q of node %.100q is neither an input nor a constant of the graph nor made before it",
				ErrFormat, name, n.Name)
		}
	}
	var out []*value
	var err error
	names := n.Outputs
	if host := hostOperators[n.Op]; host != nil {
		h := &hostCall{Node: n, opset: e.model.Opset, in: in, room: maxMade - e.made}
		out, err = host(h)
		if err != nil {
			return fmt.Errorf("node %.100q: %w", n.Name, err)
		}
	} else if out, names, err = e.device(ctx, n, in, only); err != nil {
		return err
	}
	for i, name := range names {
		if i >= len(out) { // Dropout's mask
			if name != "" && e.used[name] {
				return fmt.Errorf("%w: node %.100q: output %d of %s", engine.ErrUnsupported, n.Name, i, n.Op)
			}
			continue
		}
		if name != "" && out[i] != nil {
			e.made += out[i].elems()
			e.values[name] = out[i]
		}
	}
	if e.made > maxMade {
		return tooMuch()
	}
	return nil
}

func tooMuch() error {
	return fmt.Errorf("%w: the graph's nodes make more than %d elements; run a part of it", engine.ErrUnsupported, maxMade)
}

// device runs a node on the device, with what is fused into it, and judges what it makes, which it returns by name.
func (e *evaluation) device(ctx context.Context, n *Node, in []*value, only bool) (out []*value, names []string, err error) {
	p, names, err := e.plan(n, in)
	if err != nil {
		return nil, nil, err
	}
	if only {
		e.result.Problem, e.result.Type = p.String(), p.Type.String()
	}
	roles := operators[n.Op].roles()
	for i, name := range names {
		if want, shape := e.want[name], p.Shape(roles[i]); want != nil && !slices.Equal(want.Shape, shape) {
			return nil, nil, fmt.Errorf("expected output has shape %v, %s makes %v", want.Shape, p.String(), shape)
		}
		if e.made+problem.Elems(p.Shape(roles[i])) > maxMade {
			return nil, nil, tooMuch()
		}
	}
	if p.FLOPs() > maxWork {
		return nil, nil, fmt.Errorf("%w: %s takes %.3g operations; up to %g can be checked",
			engine.ErrUnsupported, p.String(), p.FLOPs(), maxWork)
	}
	bound, err := n.bind(&p, in)
	if err != nil {
		return nil, nil, err
	}
	got, ways, err := e.compute(ctx, &p, bound)
	if err != nil {
		return nil, nil, e.blame(&p, err)
	}
	var theirs driver.Operands
	for r, t := range bound {
		theirs[r] = t.Operand()
	}
	out = make([]*value, len(roles))
	for i, r := range roles {
		if got[r] == nil {
			continue
		}
		truth, err := e.oracle.Reference(ctx, p, driver.Arithmetic{}, theirs, r, nil)
		if err != nil {
			return nil, nil, fmt.Errorf("oracle: %w", err)
		}
		ours := truth
		if !slices.Equal(ways, []driver.Arithmetic{{}}) {
			if ours, err = verify.Reference(ctx, e.oracle, p, ways, theirs, r, nil); err != nil {
				return nil, nil, err
			}
		}
		if out[i], err = e.proof(&p, r, got[r], ours, whole(&p, bound)); err != nil {
			return nil, nil, err
		}
		out[i].truth = truth // on the expected output, too, which was made by another arithmetic
		for i := range ours {
			ours[i].Bound = max(ours[i].Bound, truth[i].Bound)
		}
		if err := e.propagate(ctx, &p, theirs, in, ours, out[i]); err != nil {
			return nil, nil, err
		}
		if i < len(names) && n.Op == "MaxUnpool" {
			e.mistake[names[i]] = func(want *value) error { return indexMistake(&p, bound, want.host) }
		}
	}
	e.proven++
	return out, names, nil
}

// blame notes the problem that something went wrong with.
func (e *evaluation) blame(p *problem.Problem, err error) error {
	e.result.Problem, e.result.Type = p.String(), p.Type.String()
	return err
}

// compute runs the problem on the device, on memory that was poisoned before.
func (e *evaluation) compute(ctx context.Context, p *problem.Problem, in engine.Operands) (out engine.Operands,
	ways []driver.Arithmetic, err error) {
	c := &verify.Case{Problem: *p, In: in}
	prepared, err := c.Start(ctx, e.dev, "")
	if err != nil {
		return out, nil, err
	}
	defer prepared.Close()
	if pl := prepared.Plan; pl != nil && pl.Fallback() != nil {
		return out, nil, pl.Fallback().Reason
	}
	info := prepared.Info()
	e.result.addAlgorithm(info.Algorithm)
	if prepared.Job != nil {
		if f := prepared.Job.Fallback(); f != nil {
			return out, nil, f.Reason
		}
		e.result.Tiles += prepared.Job.Tiles.Len()
	}
	out, err = prepared.Result(ctx)
	return out, prepared.Arithmetics(), err
}

// whole says whether all of a problem's inputs are whole numbers, so that results that need no rounding have none.
func whole(p *problem.Problem, in engine.Operands) bool {
	for _, t := range in {
		if t == nil || t.Type() != problem.F32 && t.Type() != problem.F16 {
			continue
		}
		for _, v := range t.Widen() {
			if float64(v) != math.Trunc(float64(v)) || math.IsInf(float64(v), 0) {
				return false
			}
		}
	}
	return true
}

// proof judges a result of the device by the oracle and makes it a value.
func (e *evaluation) proof(p *problem.Problem, r problem.Role, got *engine.Tensor, truth driver.Truth, integers bool,
) (*value, error) {
	v := wrap(got)
	o := verify.Judge(got.Type(), truth, nil, v.at(), integers)
	e.result.Checked += o.Compared
	e.result.MaxRatio = max(e.result.MaxRatio, finite(o.BoundUsed))
	if o.Wrong > 0 {
		return nil, e.blame(p, fmt.Errorf("%s of %s on the device: %s", r, p.String(), o.String(got.Shape())))
	}
	v.truth, v.exact = truth, unrounded(truth)
	if !v.exact && !o.Exact {
		e.result.weaken(Bounded)
	}
	if r == problem.Ind { // ONNX has them as int64
		v.kind = Int64
		v.ints = make([]int64, len(got.Int32s()))
		for i, x := range got.Int32s() {
			v.ints[i] = int64(x)
		}
		v.host = nil
	}
	return v, nil
}

func (r *Result) addAlgorithm(name string) {
	switch {
	case r.Algorithm == "":
		r.Algorithm = name
	case r.Algorithm != name:
		r.Algorithm = "several"
	}
}

// unrounded says whether results are the true values: where the bound is 0, nothing rounds, whatever the inputs.
func unrounded(truth driver.Truth) bool {
	return !slices.ContainsFunc(truth, func(t driver.Element) bool { return t.Bound != 0 })
}

// weaken notes that something was judged in a way that proves less.
func (r *Result) weaken(c Check) {
	if r.Check != Tolerance {
		r.Check = c
	}
}
