package onnx

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// ErrNoTests is what RunDir returns for a directory that holds no test of the operators asked for.
var ErrNoTests = errors.New("no ONNX tests")

// Status is the outcome of a test case.
type Status string

// The outcomes.
const (
	Passed      Status = "passed"
	Failed      Status = "failed"
	Unsupported Status = "unsupported" // the model or its problem is beyond this package or the device
)

// Result is the outcome of one test case: one data set of one model.
type Result struct {
	Name      string `json:"name"`                // path of the data set below the directory of the run
	Operator  string `json:"operator,omitempty"`  // "Conv"; of a larger graph its operators
	Problem   string `json:"problem,omitempty"`   // in the text form of package problem
	Device    string `json:"device"`              // spec
	Algorithm string `json:"algorithm,omitempty"` // that the plan chose
	Status    Status `json:"status"`
	Reason    string `json:"reason,omitempty"` // one line; empty if passed
	// MaxAbsErr is the largest distance from the expected output; math.MaxFloat64 where one of the two is no number.
	MaxAbsErr float64 `json:"max_abs_err"`
	// MaxRatio is the largest distance from the oracle, as a part of the bound: up to 1 if passed.
	MaxRatio float64 `json:"max_ratio"`
}

// RunDir runs the ONNX backend tests below dir on the device, in the order of their paths, and calls each with every
// result. A test is a folder with a model.onnx and folders test_data_set_N of input_N.pb and output_N.pb files. Models
// of a single convolution or pooling node can run; all others are unsupported. If operators is not empty, models
// without any of them are left out.
//
// A case passes if the output has exactly the expected shape and each element is within the error that rounding to
// float32 can have caused, as worked out beforehand, not by a tolerance that happened to suffice. With n terms summed
// (and a bias added, or a divisor applied) in any order, a float32 result is at most
//
//	bound = γ(n+1)·Σ|src·wei| + (n+1)·2⁻¹²⁶,  γ(k) = k·u/(1−k·u),  u = 2⁻²⁴
//
// from the exact one; the second part is for devices that flush subnormal numbers. Each element of the output must be
// within the bound of the float64 oracle, and so must the expected output, which is a float32 result of somebody else's
// order of summation: together they may be twice the bound apart. A maximum sums nothing, its bound is 0. NaN must meet
// NaN, and an infinity itself. The reason of a failed case says whether it is the device or the expected output that is
// off.
//
// The bound is for algorithms that sum the products themselves, not for those that transform them (Winograd).
//
// The oracle is the device's own if it has one (driver.Oracle), else that of the "cpu" device, whose driver must then be
// part of the program. A plan that fell back to another device counts as unsupported. The error is for what ends the
// whole run: ctx, a lost device, no oracle, an unreadable directory, or one without tests (ErrNoTests).
func RunDir(ctx context.Context, dev *engine.Device, dir string, operators []string, each func(Result)) error {
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	oracle, done, err := oracleFor(ctx, dev)
	if err != nil {
		return err
	}
	defer done()
	r := &runner{dev: dev, oracle: oracle, dir: dir, operators: operators, each: each}
	if err := r.walk(ctx); err != nil {
		return err
	}
	if r.cases > 0 {
		return nil
	}
	if len(operators) > 0 {
		return fmt.Errorf("%w of %s in %s", ErrNoTests, strings.Join(operators, ", "), dir)
	}
	return fmt.Errorf("%w in %s: there is no folder with a model.onnx and test_data_set_N folders", ErrNoTests, dir)
}

func oracleFor(ctx context.Context, dev *engine.Device) (o driver.Oracle, done func(), err error) {
	if o, ok := dev.Driver().(driver.Oracle); ok {
		return o, func() {}, nil
	}
	cpu, err := engine.Open(ctx, "cpu")
	if err != nil {
		return nil, nil, fmt.Errorf("the oracle to compare with: %w", err)
	}
	o, ok := cpu.Driver().(driver.Oracle)
	if !ok {
		cpu.Close()
		return nil, nil, fmt.Errorf("%w: the cpu device has no oracle", engine.ErrUnsupported)
	}
	return o, func() { cpu.Close() }, nil
}

// runner is one RunDir.
type runner struct {
	dev       *engine.Device
	oracle    driver.Oracle
	dir       string
	operators []string
	each      func(Result)
	cases     int
}

func (r *runner) walk(ctx context.Context) error {
	tree := os.DirFS(r.dir) // unlike filepath.WalkDir's root, it may be a symbolic link
	return fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() != "model.onnx" {
			return err
		}
		folder := path.Dir(name)
		sub, err := fs.Sub(tree, folder)
		if err != nil {
			return err
		}
		sets, err := fs.Glob(sub, "test_data_set_*")
		if err != nil || len(sets) == 0 {
			return err
		}
		return r.model(ctx, folder, sets)
	})
}

// model runs the data sets of one model.
func (r *runner) model(ctx context.Context, folder string, sets []string) error {
	m, err := Load(filepath.Join(r.dir, filepath.FromSlash(folder), "model.onnx"))
	if err == nil && len(r.operators) > 0 && !slices.ContainsFunc(m.Graph.Nodes, func(n *Node) bool {
		return n.Standard() && slices.ContainsFunc(r.operators, func(o string) bool { return strings.EqualFold(o, n.Op) })
	}) {
		return nil
	}
	for _, set := range sets {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.cases++
		result := Result{Name: path.Join(folder, set), Device: r.dev.Spec(), Status: Passed}
		caseErr := err
		if caseErr == nil {
			result.Operator = m.Graph.operators()
			caseErr = r.run(ctx, m, filepath.Join(r.dir, filepath.FromSlash(result.Name)), &result)
		}
		if caseErr != nil {
			result.Status, result.Reason = Failed, caseErr.Error()
			if errors.Is(caseErr, engine.ErrUnsupported) {
				result.Status = Unsupported
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		r.each(result)
		if errors.Is(caseErr, engine.ErrDeviceLost) {
			return caseErr
		}
	}
	return nil
}

// operators names the graph's operators, each once, a few at most.
func (g *Graph) operators() string {
	const most = 8
	var names []string
	for _, n := range g.Nodes {
		if name := n.operator(); !slices.Contains(names, name) {
			if len(names) == most {
				names = append(names, "…")
				break
			}
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// run runs one data set.
func (r *runner) run(ctx context.Context, m *Model, set string, result *Result) error {
	if len(m.Graph.Nodes) != 1 {
		return fmt.Errorf("%w: a graph of %d nodes (%s); single convolution and pooling nodes can run",
			engine.ErrUnsupported, len(m.Graph.Nodes), result.Operator)
	}
	n := m.Graph.Nodes[0]
	if err := m.checkNode(n); err != nil {
		return err
	}
	in, err := m.Graph.inputs(set)
	if err != nil {
		return err
	}
	shapes := make([][]int, len(n.Inputs))
	operands := make([][]float32, 3) // src, wei, bia
	for i, name := range n.Inputs {
		if name == "" {
			continue
		}
		t := in[name]
		if t == nil {
			return fmt.Errorf("%w: input %.100q of the node is neither an input nor a constant of the graph", ErrFormat, name)
		}
		if i >= len(operands) {
			return fmt.Errorf("%w: %s with %d inputs", ErrFormat, n.Op, len(n.Inputs))
		}
		shapes[i] = t.Shape
		if operands[i], err = t.Float32s(); err != nil {
			return err
		}
	}
	p, err := m.Problem(n, shapes...)
	if err != nil {
		return err
	}
	result.Problem = p.String()
	output := filepath.Join(set, "output_0.pb")
	t, err := LoadTensor(output)
	if err != nil {
		return err
	}
	want, err := t.Float32s()
	if err != nil {
		return fmt.Errorf("%s: %w", output, err)
	}
	if !slices.Equal(t.Shape, p.Shape(problem.Dst)) {
		return fmt.Errorf("expected output has shape %v, %s makes %v", t.Shape, result.Problem, p.Shape(problem.Dst))
	}
	got, err := r.compute(ctx, p, operands, result)
	if err != nil {
		return err
	}
	truth, err := r.oracle.Reference(ctx, p, driver.Operands{
		problem.Src: {F32: operands[0]}, problem.Wei: {F32: operands[1]}, problem.Bia: {F32: operands[2]}}, problem.Dst, nil)
	if err != nil {
		return fmt.Errorf("oracle: %w", err)
	}
	return compare(got, want, truth, result)
}

// compute runs the problem on the device, on memory that was poisoned before.
func (r *runner) compute(ctx context.Context, p problem.Problem, operands [][]float32, result *Result) ([]float32, error) {
	pl, err := r.dev.Plan(ctx, p, driver.PlanOptions{})
	if err != nil {
		return nil, err
	}
	defer pl.Close()
	if f := pl.Fallback(); f != nil {
		return nil, f.Reason
	}
	result.Algorithm = pl.Info().Algorithm
	if p.Op == problem.Conv {
		wei, err := engine.FromFloat32(operands[1], p.Shape(problem.Wei)...)
		if err != nil {
			return nil, err
		}
		var bia *engine.Tensor
		if p.Bias {
			if bia, err = engine.FromFloat32(operands[2], p.Shape(problem.Bia)...); err != nil {
				return nil, err
			}
		}
		if err := pl.SetWeights(ctx, engine.Operands{problem.Wei: wei, problem.Bia: bia}); err != nil {
			return nil, err
		}
	}
	host, err := engine.FromFloat32(operands[0], p.Shape(problem.Src)...)
	if err != nil {
		return nil, err
	}
	out, err := engine.NewTensor(p.TypeOf(problem.Dst), p.Shape(problem.Dst)...)
	if err != nil {
		return nil, err
	}
	s, err := r.dev.NewStream()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	src, err := s.Upload(ctx, host)
	if err != nil {
		return nil, err
	}
	defer src.Free()
	dst, err := r.dev.NewTensor(p.TypeOf(problem.Dst), p.Shape(problem.Dst)...)
	if err != nil {
		return nil, err
	}
	defer dst.Free()
	if err := s.Poison(ctx, dst); err != nil {
		return nil, err
	}
	if _, err := pl.Run(ctx, s, engine.Args{problem.Src: src, problem.Dst: dst}); err != nil {
		return nil, err
	}
	return out.Float32s(), s.Download(ctx, out, dst)
}

// inputs are the graph's inputs, from the files of a data set, and its constants, by name. Files of old models have the
// constants among the inputs, and data sets leave those out.
func (g *Graph) inputs(set string) (map[string]*Tensor, error) {
	all := map[string]*Tensor{}
	for _, t := range g.Initializers {
		all[t.Name] = t
	}
	names := slices.DeleteFunc(slices.Clone(g.Inputs), func(name string) bool { return all[name] != nil })
	var files []string
	for i := range g.Inputs {
		file := filepath.Join(set, fmt.Sprintf("input_%d.pb", i))
		if _, err := os.Stat(file); err != nil {
			break
		}
		files = append(files, file)
	}
	if len(files) == len(g.Inputs) {
		names = g.Inputs
	}
	if len(files) != len(names) {
		return nil, fmt.Errorf("%w: %s has %d of the %d files input_N.pb that the model takes", ErrFormat, set, len(files), len(names))
	}
	for i, file := range files {
		t, err := LoadTensor(file)
		if err != nil {
			return nil, err
		}
		all[names[i]] = t
	}
	return all, nil
}
