package onnx_test

import (
	"errors"
	"strings"
	"testing"

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

func FuzzModel(f *testing.F) {
	f.Add(model(13, [][]byte{node("Conv", []string{"x", "w", "b"}, attr("group", 2), attr("pads", []int{0, 1, 2, 3}), attr("dilations", []int{2, 1}))},
		[]string{"x"}, bytesField(5, tensor("w", []float32{1, 2}, 1, 2))))
	f.Add(model(19, [][]byte{node("AveragePool", []string{"x"}, attr("kernel_shape", []int{2, 2}), attr("strides", []int{2, 2}),
		attr("auto_pad", "SAME_UPPER"), attr("ceil_mode", 1), attr("count_include_pad", 1))}, []string{"x"}))
	f.Add(model(1, [][]byte{node("GlobalMaxPool", []string{"x"})}, []string{"x"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := onnx.ParseModel(b)
		if err != nil {
			checkError(t, err, onnx.ErrFormat)
			return
		}
		for _, n := range m.Graph.Nodes {
			for _, in := range [][][]int{nil, {{1, 4, 7, 5}}, {{1, 4, 7, 5}, {6, 2, 3, 3}}, {{1, 4, 7, 5}, {6, 4, 3, 3}, {6}}, {{2, 1, 9}}, {{3}, {3}}} {
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

func FuzzTensor(f *testing.F) {
	f.Add(tensor("t", []float32{1, 2, 3, 4}, 2, 2))
	f.Add(join(bytesField(1, []byte{1, 2}), intField(2, 7), intField(7, 5), bytesField(7, []byte{0x80, 1})))
	f.Add(join(intField(2, 1), floatField(4, 1)))
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
