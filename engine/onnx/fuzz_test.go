package onnx_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/onnx"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// checkError wants one line that wraps one of the errors.
func checkError(t *testing.T, err error, wraps ...error) {
	t.Helper()
	if strings.ContainsAny(err.Error(), "\n\r") {
		t.Errorf("more than one line: %q", err)
	}
	for _, w := range wraps {
		if errors.Is(err, w) {
			return
		}
	}
	t.Errorf("%v wraps none of %v", err, wraps)
}

// fuzzed are inputs that fuzzed nodes are translated with.
var fuzzed = [][]onnx.Operand{
	nil, floats([]int{1, 4, 7, 5}), floats([]int{1, 4, 7, 5}, []int{6, 2, 3, 3}), floats([]int{1, 4, 7, 5}, []int{6, 4, 3, 3}, []int{6}),
	floats([]int{2, 1, 9}), floats([]int{3}, []int{3}),
	{{Type: onnx.Float16, Shape: []int{1, 4, 7, 5}}, {Type: onnx.Float16, Shape: []int{4, 6, 3, 3}}},
	{{Type: onnx.Uint8, Shape: []int{1, 4, 7, 5}}, {Type: onnx.Int8, Shape: []int{6, 4, 3, 3}}, {Type: onnx.Uint8, Shape: []int{}}},
	{{Type: onnx.Uint8, Shape: []int{1, 4, 7, 5}}, {Type: onnx.Float}, {Type: onnx.Uint8}, {Type: onnx.Int8, Shape: []int{6, 4, 3, 3}},
		{Type: onnx.Float, Shape: []int{6}}, {Type: onnx.Int8, Shape: []int{6}}, {Type: onnx.Float}, {Type: onnx.Uint8}},
	floats([]int{1, 4, 7, 5}, []int{6, 2, 3, 3}, []int{1, 36, 5, 3}, []int{6}, []int{1, 18, 5, 3}),
	{{Type: onnx.Float, Shape: []int{1, 4, 7, 5}}, {Type: onnx.Int64, Shape: []int{1, 4, 7, 5}}, {Type: onnx.Int64, Shape: []int{4}, Ints: []int64{1, 4, 15, 9}}},
	{{Type: onnx.Float, Shape: []int{1, 4, 6}}, {Type: onnx.Int64, Shape: []int{2}, Ints: []int64{3, 4}}, {Type: onnx.Int64, Shape: []int{2}, Ints: []int64{2, 2}}},
}

func FuzzModel(f *testing.F) {
	f.Add(model(13, [][]byte{node("Conv", []string{"x", "w", "b"}, attr("group", 2), attr("pads", []int{0, 1, 2, 3}), attr("dilations", []int{2, 1}))},
		[]string{"x"}, bytesField(5, tensor("w", []float32{1, 2}, 1, 2))))
	f.Add(model(19, [][]byte{node("AveragePool", []string{"x"}, attr("kernel_shape", []int{2, 2}), attr("strides", []int{2, 2}),
		attr("auto_pad", "SAME_UPPER"), attr("ceil_mode", 1), attr("count_include_pad", 1))}, []string{"x"}))
	f.Add(model(8, [][]byte{node("ConvTranspose", []string{"x", "w"}, attr("output_shape", []int{14, 11}), attr("output_padding", []int{1, 0}),
		attr("strides", []int{2, 2}), attr("auto_pad", "SAME_LOWER"))}, []string{"x"}))
	f.Add(model(10, [][]byte{node("QLinearConv", []string{"x", "xs", "xz", "w", "ws", "wz", "ys", "yz"}, attr("strides", []int{2, 1}))}, []string{"x"}))
	f.Add(model(10, [][]byte{node("ConvInteger", []string{"x", "w", "xz"}, attr("pads", []int{0, 0, 1, 1}))}, []string{"x"}))
	f.Add(model(19, [][]byte{node("DeformConv", []string{"x", "w", "o", "b", "m"}, attr("offset_group", 2), attr("group", 2))}, []string{"x"}))
	f.Add(model(18, [][]byte{node("Col2Im", []string{"x", "i", "b"}, attr("dilations", []int{2, 1}))}, []string{"x"}))
	f.Add(model(18, [][]byte{node("LpPool", []string{"x"}, attr("p", 3), attr("kernel_shape", []int{2, 2}))}, []string{"x"}))
	f.Add(model(11, [][]byte{node("MaxUnpool", []string{"x", "i", "s"}, attr("kernel_shape", []int{2, 2}))}, []string{"x"}))
	f.Add(model(1, [][]byte{node("GlobalMaxPool", []string{"x"})}, []string{"x"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := onnx.ParseModel(b)
		if err != nil {
			checkError(t, err, onnx.ErrFormat)
			return
		}
		for _, n := range m.Graph.Nodes {
			for _, in := range fuzzed {
				p, err := m.Problem(n, in...)
				if err != nil {
					checkError(t, err, onnx.ErrFormat, engine.ErrUnsupported, problem.ErrInvalid)
				} else if err := p.Validate(); err != nil {
					t.Errorf("translated to an invalid problem: %v", err)
				}
			}
		}
	})
}

// FuzzRun runs graphs as they come on small inputs: whatever they hold, it ends in a result.
func FuzzRun(f *testing.F) {
	pool := step("MaxPool", []string{"x"}, []string{"p"}, attr("kernel_shape", []int{2, 1}))
	for _, n := range [][]byte{
		node("Flatten", []string{"p"}), node("Transpose", []string{"p"}, attr("perm", []int{0, 2, 3, 1})), node("Softmax", []string{"p"}, attr("axis", 2)),
		node("Concat", []string{"p", "p"}, attr("axis", -1)), node("Reshape", []string{"p", "s"}), node("Add", []string{"p", "x"}),
		node("Unsqueeze", []string{"p"}, attr("axes", []int{0, 5})), node("Squeeze", []string{"p"}),
		node("Conv", []string{"p", "w"}, attr("pads", []int{1, 0, 0, 1})), node("ConvTranspose", []string{"p", "w"}, attr("strides", []int{2, 3})),
	} {
		f.Add(model(12, [][]byte{pool, n}, []string{"x"}, bytesField(5, tensor("w", []float32{1, 2, 3, 4}, 2, 2, 1, 1)), bytesField(5, ints("s", []int64{-1, 2}, 2))))
	}
	x, y := tensor("x", []float32{1, -2, 3, 4, 5, -6, 7, 8}, 1, 2, 2, 2), tensor("y", []float32{3, 4, 7, 8}, 1, 2, 1, 2)
	dev, err := engine.Open(f.Context(), "cpu")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { dev.Close() })
	dir := f.TempDir()
	writeTest(f, dir, nil, [][]byte{y}, x)
	f.Fuzz(func(t *testing.T, b []byte) {
		write(t, b, dir, "model.onnx")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // hostile sizes may be much work
		defer cancel()
		cases := 0
		err := onnx.RunDir(ctx, dev, dir, nil, func(r onnx.Result) {
			if cases++; (r.Reason == "") != (r.Status == onnx.Passed) || strings.Contains(r.Reason, "\n") {
				t.Errorf("%+v", r)
			}
		})
		if ctx.Err() == nil && (err != nil || cases != 1) {
			t.Errorf("%d results, %v", cases, err)
		}
	})
}

func FuzzTensor(f *testing.F) {
	f.Add(tensor("t", []float32{1, 2, 3, 4}, 2, 2))
	f.Add(join(bytesField(1, []byte{1, 2}), intField(2, 7), intField(7, 5), bytesField(7, []byte{0x80, 1})))
	f.Add(join(intField(2, 1), floatField(4, 1)))
	f.Add(join(intField(1, 2), intField(2, 3), intField(5, 255), intField(5, -3)))
	f.Add(join(intField(1, 1), intField(2, 10), bytesField(9, []byte{0, 0x3c})))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := onnx.ParseTensor(b)
		if err != nil {
			checkError(t, err, onnx.ErrFormat)
			return
		}
		n := 1
		for _, d := range x.Shape {
			n *= d
		}
		if v, err := x.Host(); err != nil {
			checkError(t, err, engine.ErrUnsupported)
		} else if len(v.Bytes()) != n*v.Type().Size() || n > len(b) {
			t.Errorf("%d bytes of shape %v in %d bytes", len(v.Bytes()), x.Shape, len(b))
		}
		if v, err := x.Float32s(); err != nil {
			checkError(t, err, engine.ErrUnsupported)
		} else if len(v) != n || 4*len(v) > len(b) {
			t.Errorf("%d values of shape %v in %d bytes", len(v), x.Shape, len(b))
		}
		if v, err := x.Int64s(); err != nil {
			checkError(t, err, engine.ErrUnsupported)
		} else if len(v) != n || len(v) > len(b) {
			t.Errorf("%d values of shape %v in %d bytes", len(v), x.Shape, len(b))
		}
	})
}
