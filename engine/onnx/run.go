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
	Skipped     Status = "skipped"     // the test itself is wrong, as its reason shows; the device's result is right
)

// Check is a way to judge a result.
type Check string

// The ways.
const (
	Exact     Check = "exact"     // bit for bit
	Bounded   Check = "bounded"   // by the bound that the arithmetic gives
	Tolerance Check = "tolerance" // each convolution and pooling by its bound; elements of the output by ONNX's tolerance
)

// Result is the outcome of one test case: one data set of one model.
type Result struct {
	Name      string `json:"name"`                // path of the data set below the directory of the run
	Operator  string `json:"operator,omitempty"`  // "Conv"; of a larger graph its operators
	Problem   string `json:"problem,omitempty"`   // in the text form of package problem; of the only one, or the one that failed
	Type      string `json:"type,omitempty"`      // of that problem's elements
	Device    string `json:"device"`              // spec
	Algorithm string `json:"algorithm,omitempty"` // that the plan chose
	Tiles     int    `json:"tiles,omitempty"`     // of problems that the device, or its memory limit, cannot hold whole
	Status    Status `json:"status"`
	Reason    string `json:"reason,omitempty"` // one line; empty if passed
	Check     Check  `json:"check,omitempty"`  // the weakest way in which something was judged
	Checked   int64  `json:"checked"`          // elements that the device made, all of them compared with the oracle
	// MaxAbsErr is the largest distance from the expected output; math.MaxFloat64 where one of the two is no number.
	MaxAbsErr float64 `json:"max_abs_err"`
	// MaxRatio is the largest distance of a device's result from the oracle, as a part of the bound: up to 1 if passed.
	MaxRatio float64 `json:"max_ratio"`
}

// RunDir runs the ONNX backend tests below dir on the device, in the order of their paths, and calls each with every
// result. A test is a folder with a model.onnx and folders test_data_set_N of input_N.pb and output_N.pb files. The
// operators of Operators run on the device, each as a plan of its own, on outputs that were poisoned before. A few others
// (those that move elements, and the simplest arithmetic) run on the host, so that small graphs run whole; a Relu behind
// a convolution runs on the device with it. A model with any other operator, or with nothing for the device, is
// unsupported. If operators is not empty, models without any of
// them are left out.
//
// What is judged, and how:
//
//   - Every result of the device by the float64 oracle, on the very inputs that the device had: each element must be
//     within the bound (driver.Element) that rounding can have caused, as worked out beforehand, or be the true value
//     rounded, bit for bit, where nothing rounds: maxima, indices, integers, and sums if all inputs are integers.
//   - The expected output by the oracle too, in the same way, if between the model's inputs and this output there are
//     only one operator on the device and others that move elements. It is somebody else's result, rounded in another
//     order: both may be the bound away from the truth. One that is further away is named as wrong.
//   - Other outputs of larger graphs by comparison with the expected output. Beside the values it is computed how far
//     they may be off at most, whoever computes them (propagate.go); both may be that far off. Where this bound is not
//     known, or larger than every number of the output, so that it proves nothing, the limit is what ONNX publishes for
//     its backend tests: 10⁻⁷ + 10⁻³·|expected|. Each convolution and pooling is proven all the same, but the whole is
//     only compared, and Check says so.
//
// An expected output that breaks ONNX's own rule in a known way, shown by its numbers, makes the case skipped, with the
// evidence as its reason, if the device's result is right.
//
// A problem that the device cannot hold, or its memory limit, runs on it in tiles (Result.Tiles).
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
		result := Result{Name: path.Join(folder, set), Device: r.dev.Name(), Status: Passed}
		caseErr := err
		if caseErr == nil {
			result.Operator = m.Graph.operators()
			caseErr = r.run(ctx, m, filepath.Join(r.dir, filepath.FromSlash(result.Name)), &result)
		}
		if caseErr != nil {
			result.Status, result.Reason = Failed, caseErr.Error()
			switch {
			case errors.Is(caseErr, errContradiction):
				result.Status = Skipped
			case errors.Is(caseErr, engine.ErrUnsupported):
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
