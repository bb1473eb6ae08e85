package onnx_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine/devicetest"
	"github.com/gonvolve/gonvolve/engine/onnx"
)

// writeTest writes a backend test of one data set.
func writeTest(t testing.TB, dir string, model []byte, outputs [][]byte, inputs ...[]byte) {
	t.Helper()
	write(t, model, dir, "model.onnx")
	set := filepath.Join(dir, "test_data_set_0")
	for i, in := range inputs {
		write(t, in, set, fmt.Sprintf("input_%d.pb", i))
	}
	for i, out := range outputs {
		write(t, out, set, fmt.Sprintf("output_%d.pb", i))
	}
}

// runOne runs one backend test on the cpu.
func runOne(t *testing.T, model []byte, outputs [][]byte, inputs ...[]byte) onnx.Result {
	t.Helper()
	dir := t.TempDir()
	writeTest(t, dir, model, outputs, inputs...)
	all := run(t, dir)
	if len(all) != 1 {
		t.Fatalf("%d results", len(all))
	}
	return all["test_data_set_0"]
}

func run(t *testing.T, dir string, operators ...string) map[string]onnx.Result {
	t.Helper()
	all := map[string]onnx.Result{}
	var order []string
	err := onnx.RunDir(t.Context(), devicetest.Open(t, "cpu"), dir, operators, func(r onnx.Result) {
		all[r.Name] = r
		order = append(order, r.Name)
	})
	if err != nil {
		t.Fatal(err)
	}
	byPath := func(a, b string) int { return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/")) }
	if !slices.IsSortedFunc(order, byPath) {
		t.Errorf("results out of order: %v", order)
	}
	return all
}

func TestRunDir(t *testing.T) {
	dir := t.TempDir()
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	test := func(name string, model []byte, output []byte, inputs ...[]byte) {
		var outputs [][]byte
		if output != nil {
			outputs = [][]byte{output}
		}
		writeTest(t, filepath.Join(dir, name), model, outputs, inputs...)
	}
	x := tensor("x", []float32{1, 2, 3}, 1, 1, 3)
	kernel := attr("kernel_shape", []int{2})
	maxPool := model(12, [][]byte{node("MaxPool", []string{"x"}, kernel)}, []string{"x"})
	average := model(12, [][]byte{node("AveragePool", []string{"x"}, kernel)}, []string{"x"})
	conv := model(12, [][]byte{node("Conv", []string{"x", "w", "b"})}, []string{"x", "w", "b"})
	weights, bias := tensor("w", []float32{10, 1}, 1, 1, 2), tensor("b", []float32{0.5}, 1)
	convOut := tensor("y", []float32{12.5, 23.5}, 1, 1, 2)
	constants := join(bytesField(5, weights), bytesField(5, bias))

	test("pass/max", maxPool, tensor("y", []float32{2, 3}, 1, 1, 2), x)
	test("pass/conv", conv, convOut, x, weights, bias)
	test("pass/constants", model(12, [][]byte{node("Conv", []string{"x", "w", "b"})}, []string{"x"}, constants), convOut, x)
	test("pass/constants among the inputs", model(6, [][]byte{node("Conv", []string{"x", "w", "b"})}, []string{"x", "w", "b"}, constants), convOut, x)
	test("pass/no bias", model(12, [][]byte{node("Conv", []string{"x", "w", ""})}, []string{"x", "w"}), tensor("y", []float32{12, 23}, 1, 1, 2), x, weights)
	test("pass/empty batch", maxPool, tensor("y", nil, 0, 1, 2), tensor("x", nil, 0, 1, 3))
	test("pass/nan", average, tensor("y", []float32{nan, inf}, 1, 1, 2), tensor("x", []float32{nan, 1, inf}, 1, 1, 3))

	test("fail/wrong value", maxPool, tensor("y", []float32{2, 4}, 1, 1, 2), x)
	test("fail/one ulp of a maximum", maxPool, tensor("y", []float32{2, math.Nextafter32(3, 4)}, 1, 1, 2), x)
	test("fail/beyond rounding", average, tensor("y", []float32{1.5, 2.500005}, 1, 1, 2), x)
	test("fail/nan expected", average, tensor("y", []float32{1.5, nan}, 1, 1, 2), x)
	test("fail/infinity", average, tensor("y", []float32{1.5, 2.5}, 1, 1, 2), tensor("x", []float32{1, 2, inf}, 1, 1, 3))
	test("fail/shape", maxPool, tensor("y", []float32{2, 3}, 1, 2), x)
	test("fail/truncated model", maxPool[:20], tensor("y", []float32{2, 3}, 1, 1, 2), x)
	test("fail/truncated input", maxPool, tensor("y", []float32{2, 3}, 1, 1, 2), x[:len(x)-1])
	test("fail/no input", conv, convOut, x, weights)
	test("fail/no output", maxPool, nil, x)
	test("fail/dangling input", model(12, [][]byte{node("MaxPool", []string{"z"}, kernel)}, []string{"x"}), convOut, x)

	test("un/operator", model(12, [][]byte{node("Relu", []string{"x"})}, []string{"x"}), x, x)
	test("un/domain", model(12, [][]byte{append(node("Conv", []string{"x"}), textField(7, "com.example")...)}, []string{"x"}), x, x)
	test("un/graph", model(12, [][]byte{node("Elu", []string{"x"}), node("MaxPool", []string{"r"}, kernel)}, []string{"x"}), x, x)
	test("un/int32", maxPool, x, join(dims(1, 1, 3), intField(2, 6), bytesField(9, make([]byte, 12))))

	got := run(t, dir)
	for name, c := range map[string]struct {
		status onnx.Status
		reason string
	}{
		"pass/max":                        {onnx.Passed, ""},
		"pass/conv":                       {onnx.Passed, ""},
		"pass/constants":                  {onnx.Passed, ""},
		"pass/constants among the inputs": {onnx.Passed, ""},
		"pass/no bias":                    {onnx.Passed, ""},
		"pass/empty batch":                {onnx.Passed, ""},
		"pass/nan":                        {onnx.Passed, ""},
		"fail/wrong value":                {onnx.Failed, "the expected output is off: 1 of 2 compared elements are wrong; worst at [0 0 1]: got 4, true value 3"},
		"fail/one ulp of a maximum":       {onnx.Failed, "got 3.000000238418579, true value 3"},
		"fail/beyond rounding":            {onnx.Failed, "which rounding does not explain"},
		"fail/nan expected":               {onnx.Failed, "NaN"},
		"fail/infinity":                   {onnx.Failed, "Inf"},
		"fail/shape":                      {onnx.Failed, "[1 2]"},
		"fail/truncated model":            {onnx.Failed, "model.onnx: bad ONNX file"},
		"fail/truncated input":            {onnx.Failed, "input_0.pb: bad ONNX file"},
		"fail/no input":                   {onnx.Failed, "2 of the 3 files"},
		"fail/no output":                  {onnx.Failed, "output_0.pb"},
		"fail/dangling input":             {onnx.Failed, `input "z"`},
		"un/operator":                     {onnx.Unsupported, "operator Relu"},
		"un/domain":                       {onnx.Unsupported, "operator com.example.Conv"},
		"un/graph":                        {onnx.Unsupported, "operator Elu"},
		"un/int32":                        {onnx.Unsupported, "a src of int32"},
	} {
		r, ok := got[name+"/test_data_set_0"]
		if !ok || r.Status != c.status || !strings.Contains(r.Reason, c.reason) || (c.reason == "") != (r.Reason == "") {
			t.Errorf("%s: %+v; want %s with %q", name, r, c.status, c.reason)
		}
		if strings.Contains(r.Reason, "\n") || r.Device != "cpu" {
			t.Errorf("%s: reason or device of %+v", name, r)
		}
		if _, err := json.Marshal(r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		delete(got, name+"/test_data_set_0")
	}
	if len(got) > 0 {
		t.Errorf("results of unknown tests: %v", got)
	}

	only := run(t, dir, "averagepool")
	for name, r := range only {
		if r.Operator != "AveragePool" && name != "fail/truncated model/test_data_set_0" {
			t.Errorf("filter let through %+v", r)
		}
	}
	if len(only) != 5 {
		t.Errorf("%d results with the filter, want 4 of AveragePool and the model that nobody can read", len(only))
	}
}

func TestRunDirErrors(t *testing.T) {
	dev, dir := devicetest.Open(t, "cpu"), t.TempDir()
	none := func(r onnx.Result) { t.Errorf("result %+v", r) }
	if err := onnx.RunDir(t.Context(), dev, dir, nil, none); !errors.Is(err, onnx.ErrNoTests) || !strings.Contains(err.Error(), dir) {
		t.Errorf("empty directory: %v", err)
	}
	if err := onnx.RunDir(t.Context(), dev, filepath.Join(dir, "absent"), nil, none); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	write(t, model(12, [][]byte{node("Relu", []string{"x"})}, []string{"x"}), dir, "model.onnx")
	if err := onnx.RunDir(t.Context(), dev, dir, nil, none); !errors.Is(err, onnx.ErrNoTests) {
		t.Errorf("model without data: %v", err)
	}
	write(t, nil, dir, "test_data_set_0", "input_0.pb")
	if err := onnx.RunDir(t.Context(), dev, dir, []string{"Conv"}, none); !errors.Is(err, onnx.ErrNoTests) || !strings.Contains(err.Error(), "Conv") {
		t.Errorf("filter that matches nothing: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := onnx.RunDir(ctx, dev, dir, nil, none); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// TestSuite runs ONNX's own tests of the operators, as Debian's package libonnx-testdata installs them.
// GONVOLVE_ONNX_TESTDATA names another folder.
func TestSuite(t *testing.T) {
	dir := os.Getenv("GONVOLVE_ONNX_TESTDATA")
	if dir == "" {
		dir = "/usr/share/libonnx-testdata/data"
	}
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("GONVOLVE_REQUIRE_DRIVERS") == "1" {
			t.Fatalf("%v; install libonnx-testdata or set GONVOLVE_ONNX_TESTDATA", err)
		}
		t.Skipf("%v; install libonnx-testdata or set GONVOLVE_ONNX_TESTDATA", err)
	}
	// What is known to be wrong with the tests, and the evidence. Everything else must pass.
	known := map[string]string{
		"test_maxunpool_export_with_output_shape": "indices count in the tensor that was pooled",
	}
	counts := map[onnx.Status]int{}
	for name, r := range run(t, dir, onnx.Operators()...) {
		counts[r.Status]++
		test := filepath.Base(filepath.Dir(name))
		switch reason, listed := known[test]; {
		case r.Status == onnx.Passed:
			t.Logf("%s passed (%s) by %s (%s): error %g, %.2f of the bound", name, r.Check, r.Algorithm, r.Problem, r.MaxAbsErr, r.MaxRatio)
		case r.Status == onnx.Skipped && listed && strings.Contains(r.Reason, reason):
			t.Logf("%s skipped: %s", name, r.Reason)
		default:
			t.Errorf("%s %s: %s", name, r.Status, r.Reason)
		}
	}
	t.Logf("%v", counts)
	if counts[onnx.Passed] == 0 {
		t.Error("nothing passed")
	}
}
