package onnx_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/x448/float16"

	"github.com/gonvolve/gonvolve/engine/onnx"
)

// expect checks status, check and a part of the reason.
func expect(t *testing.T, r onnx.Result, status onnx.Status, check onnx.Check, reason string) {
	t.Helper()
	if r.Status != status || !strings.Contains(r.Reason, reason) || (reason == "") != (r.Reason == "") || check != "" && r.Check != check {
		t.Errorf("%+v; want %s (%s) with %q", r, status, check, reason)
	}
}

func halves(v ...float32) (b []byte) {
	for _, x := range v {
		b = binary.LittleEndian.AppendUint16(b, uint16(float16.Fromfloat32(x)))
	}
	return b
}

func int32s(v ...int32) (b []byte) {
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, uint32(x))
	}
	return b
}

// TestOperators runs single nodes whose results were worked out by hand.
func TestOperators(t *testing.T) {
	type (
		names  = []string
		files  = [][]byte
		tensed = []byte
	)
	one := names{"y"}
	two := names{"y", "z"}
	k2, s2 := attr("kernel_shape", []int{2, 2}), attr("strides", []int{2, 2})
	square := []float32{1, 2, 3, 4, 9, 6, 7, 8, 5}
	for _, c := range []struct {
		name    string
		opset   int
		node    tensed
		inputs  names
		outputs names
		in, out files
		check   onnx.Check
	}{
		{"indices", 12, step("MaxPool", names{"x"}, two, k2), names{"x"}, two, files{tensor("x", square, 1, 1, 3, 3)},
			files{tensor("y", []float32{9, 9, 9, 9}, 1, 1, 2, 2), ints("z", []int64{4, 4, 4, 4}, 1, 1, 2, 2)}, onnx.Exact},
		{"column-major indices of the second channel", 12, step("MaxPool", names{"x"}, two, attr("kernel_shape", []int{3, 1}), attr("storage_order", 1)),
			names{"x"}, two, files{tensor("x", append(make([]float32, 6), 1, 2, 3, 9, 6, 7), 1, 2, 3, 2)},
			files{tensor("y", []float32{0, 0, 6, 9}, 1, 2, 1, 2), ints("z", []int64{0, 3, 8, 10}, 1, 2, 1, 2)}, onnx.Exact},
		{"bytes", 12, node("MaxPool", names{"x"}, attr("kernel_shape", []int{2})), names{"x"}, one, files{bytes8("x", []byte{3, 200, 1}, 1, 1, 3)},
			files{bytes8("y", []byte{200, 200}, 1, 1, 2)}, onnx.Exact},
		{"signed bytes", 12, node("MaxPool", names{"x"}, attr("kernel_shape", []int{2})), names{"x"}, one,
			files{typed(onnx.Int8, "x", []byte{253, 254, 128}, 1, 1, 3)}, files{typed(onnx.Int8, "y", []byte{254, 254}, 1, 1, 2)}, onnx.Exact},
		{"halves", 12, node("Conv", names{"x", "w", "b"}), names{"x", "w", "b"}, one,
			files{typed(onnx.Float16, "x", halves(1, 2, 3), 1, 1, 3), typed(onnx.Float16, "w", halves(0.5, 1), 1, 1, 2), typed(onnx.Float16, "b", halves(0.25), 1)},
			files{typed(onnx.Float16, "y", halves(2.75, 4.25), 1, 1, 2)}, onnx.Bounded},
		{"unpool", 11, node("MaxUnpool", names{"x", "i"}, k2, s2), names{"x", "i"}, one,
			files{tensor("x", []float32{1, 2}, 1, 1, 1, 2), ints("i", []int64{5, 2}, 1, 1, 1, 2)},
			files{tensor("y", []float32{0, 0, 2, 0, 0, 1, 0, 0}, 1, 1, 2, 4)}, onnx.Exact},
		{"unpool to a size", 11, node("MaxUnpool", names{"x", "i", "s"}, k2, s2), names{"x", "i", "s"}, one,
			files{tensor("x", []float32{1, 2}, 1, 1, 1, 2), ints("i", []int64{5, 2}, 1, 1, 1, 2), ints("s", []int64{1, 1, 2, 5}, 4)},
			files{tensor("y", []float32{0, 0, 2, 0, 0, 1, 0, 0, 0, 0}, 1, 1, 2, 5)}, onnx.Exact},
		{"integers: padding is the zero point", 10, node("ConvInteger", names{"x", "w", "xz", "wz"}, attr("pads", []int{1, 0})), names{"x", "w", "xz", "wz"}, one,
			files{bytes8("x", []byte{10, 20}, 1, 1, 2), typed(onnx.Int8, "w", []byte{1, 2, 3, 4}, 2, 1, 2), bytes8("xz", []byte{8}),
				typed(onnx.Int8, "wz", []byte{0, 255}, 2)}, // −1
			files{typed(onnx.Int32, "y", int32s(4, 26, 10, 68), 1, 2, 2)}, onnx.Exact},
		{"quantized by channel", 10, node("QLinearConv", names{"x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"}),
			names{"x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"}, one,
			files{bytes8("x", []byte{10, 20}, 1, 1, 2), tensor("xs", []float32{0.5}), bytes8("xz", []byte{8}), bytes8("w", []byte{5, 250}, 2, 1, 1),
				tensor("ws", []float32{1, 0.25}, 2), bytes8("wz", []byte{2, 0}, 2), tensor("ys", []float32{2}), bytes8("yz", []byte{3}),
				typed(onnx.Int32, "b", int32s(4, -100), 2)},
			// (2, 12)·3+4 = 10, 40 → ·0.25 = 2.5 (ties to even: 2), 10 → 5, 13; (2, 12)·250−100 = 400, 2900 → ·0.0625 = 25, 181.25 → 28, 184
			files{bytes8("y", []byte{5, 13, 28, 184}, 1, 2, 2)}, onnx.Exact},
		{"Lp", 11, node("LpPool", names{"x"}, attr("kernel_shape", []int{2}), attr("pads", []int{0, 1})), names{"x"}, one,
			files{tensor("x", []float32{-3, 4, 0.5}, 1, 1, 3)}, files{tensor("y", []float32{5, float32(math.Sqrt(16.25)), 0.5}, 1, 1, 3)}, onnx.Bounded},
		{"global Lp of exponent 1", 2, node("GlobalLpPool", names{"x"}, attr("p", 1)), names{"x"}, one,
			files{tensor("x", []float32{-3, 4, 0.5}, 1, 1, 3)}, files{tensor("y", []float32{7.5}, 1, 1, 1)}, onnx.Bounded},
		{"deform: half a cell to the right, masked", 19, node("DeformConv", names{"x", "w", "o", "", "m"}), names{"x", "w", "o", "m"}, one,
			files{tensor("x", []float32{1, 2, 4, 8}, 1, 1, 2, 2), tensor("w", []float32{2}, 1, 1, 1, 1),
				tensor("o", []float32{0, 0, 0, 0, 0.5, 0.5, 0.5, 0.5}, 1, 2, 2, 2), tensor("m", []float32{1, 1, 1, 0.5}, 1, 1, 2, 2)},
			files{tensor("y", []float32{3, 2, 12, 4}, 1, 1, 2, 2)}, onnx.Bounded},
		{"columns", 18, node("Col2Im", names{"x", "i", "b"}), names{"x", "i", "b"}, one,
			files{tensor("x", []float32{1, 2, 3, 4}, 1, 2, 2), ints("i", []int64{3}, 1), ints("b", []int64{2}, 1)},
			files{tensor("y", []float32{1, 5, 4}, 1, 1, 3)}, onnx.Bounded},
		{"a transposed convolution", 11, node("ConvTranspose", names{"x", "w", "b"}, attr("strides", []int{2}), attr("output_padding", []int{1})),
			names{"x", "w", "b"}, one, files{tensor("x", []float32{1, 2}, 1, 1, 2), tensor("w", []float32{1, 10, 100}, 1, 1, 3), tensor("b", []float32{0.5}, 1)},
			files{tensor("y", []float32{1.5, 10.5, 102.5, 20.5, 200.5, 0.5}, 1, 1, 6)}, onnx.Bounded},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := network(c.opset, [][]byte{c.node}, c.inputs, c.outputs)
			expect(t, runOne(t, m, c.out, c.in...), onnx.Passed, c.check, "")
			wrong := append(files{}, c.out...)
			last := len(wrong) - 1
			wrong[last] = append([]byte{}, wrong[last]...)
			wrong[last][len(wrong[last])-1] ^= 1 // of the last element
			expect(t, runOne(t, m, wrong, c.in...), onnx.Failed, "", "the expected output is off")
		})
	}
}

// TestIndexMistake has the numbers of ONNX's own test of MaxUnpool, and some that are only wrong.
func TestIndexMistake(t *testing.T) {
	m := model(11, [][]byte{node("MaxUnpool", []string{"x", "i", "s"}, attr("kernel_shape", []int{2, 2}), attr("strides", []int{2, 2}))}, []string{"x", "i", "s"})
	x, s := tensor("x", []float32{5, 6, 7, 8}, 1, 1, 2, 2), ints("s", []int64{1, 1, 5, 5}, 4)
	i := ints("i", []int64{5, 7, 13, 15}, 1, 1, 2, 2)
	out := func(cells map[int]float32) [][]byte {
		v := make([]float32, 25)
		for at, x := range cells {
			v[at] = x
		}
		return [][]byte{tensor("y", v, 1, 1, 5, 5)}
	}
	expect(t, runOne(t, m, out(map[int]float32{5: 5, 7: 6, 13: 7, 15: 8}), x, i, s), onnx.Passed, onnx.Exact, "")
	r := runOne(t, m, out(map[int]float32{6: 5, 8: 6, 16: 7, 18: 8}), x, i, s)
	expect(t, r, onnx.Skipped, "", "index 15 names element [0 0 3 0] of output_shape [1 1 5 5], but its value 8 stands at [0 0 3 3]")
	expect(t, runOne(t, m, out(map[int]float32{6: 5, 8: 6, 16: 7, 19: 8}), x, i, s), onnx.Failed, "", "the expected output is off")
	expect(t, runOne(t, m, out(map[int]float32{6: 5, 8: 6, 16: 7, 18: 8, 24: 1}), x, i, s), onnx.Failed, "", "the expected output is off")
	far := ints("i", []int64{5, 7, 13, 25}, 1, 1, 2, 2)
	expect(t, runOne(t, m, out(nil), x, far, s), onnx.Failed, "", "index 25")
	beyond := ints("i", []int64{5, 7, 13, 1 << 40}, 1, 1, 2, 2)
	expect(t, runOne(t, m, out(nil), x, beyond, s), onnx.Failed, "", "index 1099511627776")
}

// TestHost runs what moves and computes on the host behind a pooling that changes nothing.
func TestHost(t *testing.T) {
	x := []float32{1, -2, 3, 4, -5, 6}
	in := tensor("x", x, 1, 2, 3)
	pool := step("MaxPool", []string{"x"}, []string{"p"}, attr("kernel_shape", []int{1}))
	constant := func(t []byte) []byte { return bytesField(5, t) } // an initializer
	for _, c := range []struct {
		name  string
		opset int
		nodes [][]byte
		extra [][]byte
		out   []byte
		check onnx.Check
	}{
		{"Identity", 12, [][]byte{node("Identity", []string{"p"})}, nil, tensor("y", x, 1, 2, 3), onnx.Exact},
		{"Dropout", 12, [][]byte{step("Dropout", []string{"p"}, []string{"y", "mask"}, attr("ratio", float32(0.5)))}, nil, tensor("y", x, 1, 2, 3), onnx.Exact},
		{"Reshape", 12, [][]byte{node("Reshape", []string{"p", "s"})}, [][]byte{constant(ints("s", []int64{0, -1, 2}, 3))}, tensor("y", x, 1, 3, 2), onnx.Exact},
		{"Reshape by a Constant", 12, [][]byte{step("Constant", nil, []string{"s"}, attr("value", ints("", []int64{6}, 1))), node("Reshape", []string{"p", "s"})}, nil,
			tensor("y", x, 6), onnx.Exact},
		{"Reshape of opset 1", 1, [][]byte{node("Reshape", []string{"p"}, attr("shape", []int{3, 2}))}, nil, tensor("y", x, 3, 2), onnx.Exact},
		{"Flatten", 12, [][]byte{node("Flatten", []string{"p"}, attr("axis", 2))}, nil, tensor("y", x, 2, 3), onnx.Exact},
		{"Flatten from the end", 12, [][]byte{node("Flatten", []string{"p"}, attr("axis", -3))}, nil, tensor("y", x, 1, 6), onnx.Exact},
		{"Squeeze", 12, [][]byte{node("Squeeze", []string{"p"}, attr("axes", []int{0}))}, nil, tensor("y", x, 2, 3), onnx.Exact},
		{"Squeeze all", 13, [][]byte{node("Squeeze", []string{"p"})}, nil, tensor("y", x, 2, 3), onnx.Exact},
		{"Squeeze of opset 13", 13, [][]byte{node("Squeeze", []string{"p", "a"})}, [][]byte{constant(ints("a", []int64{-3}, 1))}, tensor("y", x, 2, 3), onnx.Exact},
		{"Unsqueeze", 12, [][]byte{node("Unsqueeze", []string{"p"}, attr("axes", []int{3, 1}))}, nil, tensor("y", x, 1, 1, 2, 1, 3), onnx.Exact},
		{"Unsqueeze of opset 13", 13, [][]byte{node("Unsqueeze", []string{"p", "a"})}, [][]byte{constant(ints("a", []int64{-1}, 1))}, tensor("y", x, 1, 2, 3, 1), onnx.Exact},
		{"Transpose", 12, [][]byte{node("Transpose", []string{"p"})}, nil, tensor("y", []float32{1, 4, -2, -5, 3, 6}, 3, 2, 1), onnx.Exact},
		{"Transpose by perm", 12, [][]byte{node("Transpose", []string{"p"}, attr("perm", []int{1, 0, 2}))}, nil, tensor("y", x, 2, 1, 3), onnx.Exact},
		{"Concat", 12, [][]byte{node("Concat", []string{"p", "c", "p"}, attr("axis", 2))}, [][]byte{constant(tensor("c", []float32{7, 8}, 1, 2, 1))},
			tensor("y", []float32{1, -2, 3, 7, 1, -2, 3, 4, -5, 6, 8, 4, -5, 6}, 1, 2, 7), onnx.Exact},
		{"Concat of rows", 12, [][]byte{node("Concat", []string{"p", "e", "p"}, attr("axis", -2))}, [][]byte{constant(tensor("e", nil, 1, 0, 3))},
			tensor("y", append(x[:6:6], x...), 1, 4, 3), onnx.Exact},
		{"Relu", 12, [][]byte{node("Relu", []string{"p"})}, nil, tensor("y", []float32{1, 0, 3, 4, 0, 6}, 1, 2, 3), onnx.Exact},
		{"Add", 12, [][]byte{node("Add", []string{"p", "c"})}, [][]byte{constant(tensor("c", []float32{10, 20}, 2, 1))},
			tensor("y", []float32{11, 8, 13, 24, 15, 26}, 1, 2, 3), onnx.Bounded},
		{"Add to a larger shape", 12, [][]byte{node("Add", []string{"c", "p"})}, [][]byte{constant(tensor("c", []float32{10, 20}, 2, 1, 1, 1))},
			tensor("y", []float32{11, 8, 13, 14, 5, 16, 21, 18, 23, 24, 15, 26}, 2, 1, 2, 3), onnx.Bounded},
		{"MatMul", 12, [][]byte{step("Squeeze", []string{"p"}, []string{"m"}, attr("axes", []int{0})), node("MatMul", []string{"m", "c"})},
			[][]byte{constant(tensor("c", []float32{1, 0, 10, 1, 100, 2}, 3, 2))}, tensor("y", []float32{281, 4, 554, 7}, 2, 2), onnx.Bounded},
		{"Gemm", 12, [][]byte{step("Squeeze", []string{"p"}, []string{"m"}, attr("axes", []int{0})),
			node("Gemm", []string{"m", "m", "c"}, attr("transA", 1), attr("alpha", float32(2)), attr("beta", float32(-1)))},
			[][]byte{constant(tensor("c", []float32{1, 2, 3}, 3))}, tensor("y", []float32{33, -46, 51, -45, 56, -75, 53, -74, 87}, 3, 3), onnx.Bounded},
		{"Gemm transposed", 12, [][]byte{step("Squeeze", []string{"p"}, []string{"m"}, attr("axes", []int{0})),
			node("Gemm", []string{"m", "m"}, attr("transB", 1))}, nil, tensor("y", []float32{14, 32, 32, 77}, 2, 2), onnx.Bounded},
		{"Softmax", 13, [][]byte{node("Softmax", []string{"p"}, attr("axis", 1))}, nil, tensor("y", soft(x, 0, 3, 1, 4, 2, 5), 1, 2, 3), onnx.Bounded},
		{"Softmax of old", 12, [][]byte{node("Softmax", []string{"p"})}, nil, tensor("y", soft(x, 0, 1, 2, 3, 4, 5), 1, 2, 3), onnx.Bounded},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := model(c.opset, append([][]byte{pool}, c.nodes...), []string{"x"}, c.extra...)
			r := runOne(t, m, [][]byte{c.out}, in)
			expect(t, r, onnx.Passed, c.check, "")
			wrong := append([]byte{}, c.out...)
			wrong[len(wrong)-2] ^= 0x20
			expect(t, runOne(t, m, [][]byte{wrong}, in), onnx.Failed, "", "expected")
		})
	}
}

// soft is the softmax of the elements in groups of 2, or of 6 if at is the identity.
func soft(x []float32, at ...int) []float32 {
	group := 2
	if at[1] == 1 {
		group = 6
	}
	out := make([]float32, len(x))
	for g := 0; g < len(x); g += group {
		sum := 0.0
		for _, i := range at[g : g+group] {
			sum += math.Exp(float64(x[i]))
		}
		for _, i := range at[g : g+group] {
			out[i] = float32(math.Exp(float64(x[i])) / sum)
		}
	}
	return out
}

func TestHostErrors(t *testing.T) {
	in := tensor("x", []float32{1, -2, 3, 4, -5, 6}, 1, 2, 3)
	pool := step("MaxPool", []string{"x"}, []string{"p", "i"}, attr("kernel_shape", []int{1}))
	constants := [][]byte{bytesField(5, tensor("c", []float32{1, 2}, 2)), bytesField(5, ints("s", []int64{4, -1}, 2)),
		bytesField(5, ints("huge", []int64{1 << 40, 1 << 40}, 2)), bytesField(5, ints("nine", []int64{9}, 1)), bytesField(5, tensor("v", make([]float32, 9000), 9000, 1)),
		bytesField(5, tensor("h", make([]float32, 9000), 1, 9000))}
	for _, c := range []struct {
		name   string
		opset  int
		node   []byte
		status onnx.Status
		reason string
	}{
		{"no input", 12, node("Relu", nil), onnx.Failed, "Relu with 0 inputs"},
		{"input of later", 12, node("Relu", []string{"y"}), onnx.Failed, `input "y"`},
		{"training", 12, node("Dropout", []string{"p", "", "c"}), onnx.Unsupported, "training"},
		{"Constant of another kind", 12, node("Constant", nil, attr("value_int", 1)), onnx.Unsupported, "value_int"},
		{"Constant without a value", 12, node("Constant", nil), onnx.Failed, "without a value"},
		{"Reshape to another size", 12, node("Reshape", []string{"p", "s"}), onnx.Failed, "Reshape of [1 2 3] to [4 -1]"},
		{"Reshape to a huge size", 12, node("Reshape", []string{"p", "huge"}), onnx.Failed, "Reshape of [1 2 3]"},
		{"Reshape to floats", 12, node("Reshape", []string{"p", "c"}), onnx.Failed, "Reshape to a shape"},
		{"Flatten beyond", 12, node("Flatten", []string{"p"}, attr("axis", 4)), onnx.Failed, "axis 4 of 3"},
		{"Squeeze of 2", 12, node("Squeeze", []string{"p"}, attr("axes", []int{1})), onnx.Failed, "dimension 1 of [1 2 3]"},
		{"Squeeze beyond", 13, node("Squeeze", []string{"p", "nine"}), onnx.Failed, "axis 9"},
		{"Squeeze by floats", 13, node("Squeeze", []string{"p", "c"}), onnx.Failed, "axes of float32"},
		{"old axes", 13, node("Squeeze", []string{"p"}, attr("axes", []int{0})), onnx.Unsupported, `"axes"`},
		{"Unsqueeze without axes", 13, node("Unsqueeze", []string{"p"}), onnx.Failed, "0 axes"},
		{"Unsqueeze twice", 12, node("Unsqueeze", []string{"p"}, attr("axes", []int{1, 1})), onnx.Failed, "axis 1 twice"},
		{"Unsqueeze beyond", 12, node("Unsqueeze", []string{"p"}, attr("axes", []int{4})), onnx.Failed, "axis 4"},
		{"Transpose twice the same", 12, node("Transpose", []string{"p"}, attr("perm", []int{0, 1, 1})), onnx.Failed, "Transpose by [0 1 1]"},
		{"Transpose beyond", 12, node("Transpose", []string{"p"}, attr("perm", []int{0, 1, 3})), onnx.Failed, "Transpose by [0 1 3]"},
		{"Concat of other shapes", 12, node("Concat", []string{"p", "c"}, attr("axis", 0)), onnx.Failed, "Concat of"},
		{"Concat of other types", 12, node("Concat", []string{"p", "i"}, attr("axis", 0)), onnx.Failed, "Concat of"},
		{"Concat of nothing", 12, node("Concat", nil), onnx.Failed, ""},
		{"Concat with a gap", 12, node("Concat", []string{"p", ""}), onnx.Failed, "left out"},
		{"Relu of integers", 12, node("Relu", []string{"i"}), onnx.Unsupported, "Relu of int64"},
		{"Add of other shapes", 12, node("Add", []string{"p", "c"}), onnx.Failed, "shapes [1 2 3] and [2]"},
		{"Add of old", 6, node("Add", []string{"x", "c"}), onnx.Unsupported, "opset 6"},
		{"Add that spreads too far", 12, node("Add", []string{"v", "h"}), onnx.Unsupported, "make more than"},
		{"MatMul that is too large", 12, node("MatMul", []string{"v", "h"}), onnx.Unsupported, "make more than"},
		{"MatMul of no matrices", 12, node("MatMul", []string{"p", "c"}), onnx.Unsupported, "for matrices"},
		{"MatMul that does not fit", 12, node("MatMul", []string{"v", "v"}), onnx.Failed, "MatMul of shapes"},
		{"Gemm of old", 6, node("Gemm", []string{"v", "h"}), onnx.Unsupported, "opset 6"},
		{"Gemm with a sum that does not fit", 12, node("Gemm", []string{"h", "v", "c"}), onnx.Failed, "adds shape [2] to [1 1]"},
		{"Softmax beyond", 13, node("Softmax", []string{"p"}, attr("axis", 3)), onnx.Failed, "axis 3 of 3"},
		{"output that only training has", 12, step("Dropout", []string{"p"}, []string{"z", "y"}), onnx.Unsupported, "output 1 of Dropout"},
		{"output of nobody", 12, step("Relu", []string{"p"}, []string{"z"}), onnx.Failed, `no node makes the output "y"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			nodes := [][]byte{pool, c.node}
			if c.opset < 8 {
				nodes[0] = step("MaxPool", []string{"x"}, []string{"p"}, attr("kernel_shape", []int{1}))
			}
			r := runOne(t, model(c.opset, nodes, []string{"x"}, constants...), [][]byte{in}, in)
			if r.Status != c.status || !strings.Contains(r.Reason, c.reason) || strings.Contains(r.Reason, "\n") {
				t.Errorf("%+v; want %s with %q", r, c.status, c.reason)
			}
		})
	}
}

// TestLargeGraphs runs graphs that a few bytes make large.
func TestLargeGraphs(t *testing.T) {
	x := tensor("x", []float32{1, 2}, 1, 1, 2)
	deconv := model(12, [][]byte{step("ConvTranspose", []string{"x", "w"}, []string{"p"}, attr("strides", []int{1 << 27})),
		node("Identity", []string{"p"})}, []string{"x"}, bytesField(5, tensor("w", []float32{1}, 1, 1, 1)))
	expect(t, runOne(t, deconv, [][]byte{x}, x), onnx.Unsupported, "", "make more than")

	pool := model(12, [][]byte{step("MaxPool", []string{"i"}, []string{"p"}, attr("kernel_shape", []int{1 << 20, 1 << 20}),
		attr("pads", []int{1 << 19, 1 << 19, 1 << 19, 1 << 19})), node("Relu", []string{"p"})}, []string{"i"})
	image := tensor("i", []float32{1, 2}, 1, 1, 1, 2)
	expect(t, runOne(t, pool, [][]byte{image}, image), onnx.Unsupported, "", "operations")

	nodes := [][]byte{step("MaxPool", []string{"x"}, []string{"c"}, attr("kernel_shape", []int{1}))}
	last := "c"
	for range 40 {
		nodes = append(nodes, step("Concat", []string{last, last}, []string{last + "c"}, attr("axis", 2)))
		last += "c"
	}
	doubling := model(12, append(nodes, node("Relu", []string{last})), []string{"x"})
	expect(t, runOne(t, doubling, [][]byte{x}, x), onnx.Unsupported, "", "make more than")
}

// TestTruthMoves has a rounded and an exact tensor that are moved together: the output is judged by the oracle's word on
// the one and by the other itself.
func TestTruthMoves(t *testing.T) {
	m := model(12, [][]byte{
		step("Conv", []string{"x", "w"}, []string{"c"}),
		step("Relu", []string{"c"}, []string{"r"}),
		step("Concat", []string{"r", "e"}, []string{"b"}, attr("axis", 2)),
		node("Transpose", []string{"b"}),
	}, []string{"x"}, bytesField(5, tensor("w", []float32{0.1, 3}, 2, 1, 1)), bytesField(5, tensor("e", []float32{5, 6}, 1, 2, 1)))
	x := tensor("x", []float32{0.7, -1}, 1, 1, 2)
	third := float32(0.1) * float32(0.7)
	expect(t, runOne(t, m, [][]byte{tensor("y", []float32{third, 3 * float32(0.7), 0, 0, 5, 6}, 3, 2, 1)}, x), onnx.Passed, onnx.Bounded, "")
	expect(t, runOne(t, m, [][]byte{tensor("y", []float32{third, 3 * float32(0.7), 0, 0, 5, 6.000001}, 3, 2, 1)}, x), onnx.Failed, "", "got 6.0000009")
	expect(t, runOne(t, m, [][]byte{tensor("y", []float32{third * (1 + 0x1p-20), 3 * float32(0.7), 0, 0, 5, 6}, 3, 2, 1)}, x), onnx.Failed, "", "at [0 0 0]")
}

// TestFusedRelu has convolutions whose Relu can be fused, and some whose cannot.
func TestFusedRelu(t *testing.T) {
	x := tensor("x", []float32{1, -2, 3}, 1, 1, 3)
	conv := step("Conv", []string{"x", "w"}, []string{"c"})
	w := bytesField(5, tensor("w", []float32{2}, 1, 1, 1))
	relu := step("Relu", []string{"c"}, []string{"y"})
	plain, positive := tensor("c", []float32{2, -4, 6}, 1, 1, 3), tensor("y", []float32{2, 0, 6}, 1, 1, 3)
	r := runOne(t, network(12, [][]byte{conv, relu}, []string{"x"}, []string{"y"}, w), [][]byte{positive}, x)
	expect(t, r, onnx.Passed, onnx.Bounded, "")
	if r.Problem != "conv:post=relu:mb1ic1oc1iw3ow3kw1" || r.Checked != 3 {
		t.Errorf("ran %s, checked %d", r.Problem, r.Checked)
	}
	r = runOne(t, network(12, [][]byte{conv, relu}, []string{"x"}, []string{"c", "y"}, w), [][]byte{plain, positive}, x)
	expect(t, r, onnx.Passed, onnx.Bounded, "")
	if r.Problem != "conv:mb1ic1oc1iw3ow3kw1" {
		t.Errorf("ran %s", r.Problem)
	}
	both := network(12, [][]byte{conv, relu, step("Concat", []string{"c", "y"}, []string{"z"}, attr("axis", 2))}, []string{"x"}, []string{"z"}, w)
	r = runOne(t, both, [][]byte{tensor("z", []float32{2, -4, 6, 2, 0, 6}, 1, 1, 6)}, x)
	expect(t, r, onnx.Passed, onnx.Bounded, "")
	before := network(12, [][]byte{step("Relu", []string{"x"}, []string{"r"}), step("Conv", []string{"r", "w"}, []string{"y"})}, []string{"x"}, []string{"y"}, w)
	expect(t, runOne(t, before, [][]byte{tensor("y", []float32{2, 0, 6}, 1, 1, 3)}, x), onnx.Passed, onnx.Bounded, "")
}

// TestPropagation runs a network whose every result is rounded, against float64. The bound must allow float64's result,
// and must refuse what is wrong though within ONNX's tolerance.
func TestPropagation(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		return v
	}
	x, w1, b1, w2, m, b2 := random(3*12), random(4*3*3), random(4), random(4*2*3), random(2*10*5), random(5)
	h := conv1(x64(x), 3, w1, b1)
	for i := range h {
		h[i] = max(h[i], 0)
	}
	h = pool1(h, 10, func(a, b float64) float64 { return (a + b) / 2 })
	h = pool1(deconv1(h, 4, w2, 2), 11, math.Max)
	logits := make([]float64, 5)
	for j := range logits {
		logits[j] = 2 * float64(b2[j])
		for k, v := range h {
			logits[j] += v * float64(m[5*k+j])
		}
	}
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(v - slices.Max(logits))
	}
	var chances []float64
	for _, v := range logits {
		chances = append(chances, math.Exp(v-slices.Max(logits))/sum)
	}
	constants := [][]byte{bytesField(5, tensor("w1", w1, 4, 3, 3)), bytesField(5, tensor("b1", b1, 4)), bytesField(5, tensor("w2", w2, 4, 2, 3)),
		bytesField(5, tensor("m", m, 20, 5)), bytesField(5, tensor("b2", b2, 5))}
	net := network(13, [][]byte{
		step("Conv", []string{"x", "w1", "b1"}, []string{"h1"}),
		step("Relu", []string{"h1"}, []string{"h2"}),
		step("AveragePool", []string{"h2"}, []string{"h3"}, attr("kernel_shape", []int{2})),
		step("ConvTranspose", []string{"h3", "w2"}, []string{"h4"}),
		step("MaxPool", []string{"h4"}, []string{"h5"}, attr("kernel_shape", []int{2})),
		step("Flatten", []string{"h5"}, []string{"h6"}),
		step("Gemm", []string{"h6", "m", "b2"}, []string{"h7"}),
		step("Add", []string{"h7", "b2"}, []string{"y"}),
		step("Softmax", []string{"y"}, []string{"z"}),
	}, []string{"x"}, []string{"y", "z"}, constants...)
	outputs := func() [][]byte {
		return [][]byte{tensor("y", x32(logits), 1, 5), tensor("z", x32(chances), 1, 5)}
	}
	in := tensor("x", x, 1, 3, 12)
	expect(t, runOne(t, net, outputs(), in), onnx.Passed, onnx.Bounded, "")
	likely := slices.Index(logits, slices.Max(logits))
	logits[likely] *= 1 + 2e-4
	expect(t, runOne(t, net, outputs(), in), onnx.Failed, "", "rounding explains")
	logits[likely] /= 1 + 2e-4
	chances[likely] *= 1.02 // softmax makes absolute errors relative ones
	expect(t, runOne(t, net, outputs(), in), onnx.Failed, "", "rounding explains")
}

func x64(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}

func x32(v []float64) []float32 {
	w := make([]float32, len(v))
	for i, x := range v {
		w[i] = float32(x)
	}
	return w
}

// conv1 is a 1-D convolution of c rows with a kernel of 3.
func conv1(x []float64, c int, w, b []float32) (y []float64) {
	n := len(x) / c
	for o := range b {
		for p := range n - 2 {
			sum := float64(b[o])
			for i := range c {
				for k := range 3 {
					sum += x[i*n+p+k] * float64(w[(o*c+i)*3+k])
				}
			}
			y = append(y, sum)
		}
	}
	return y
}

// deconv1 is a transposed one, to oc rows.
func deconv1(x []float64, c int, w []float32, oc int) []float64 {
	n := len(x) / c
	y := make([]float64, oc*(n+2))
	for i := range c {
		for o := range oc {
			for p := range n {
				for k := range 3 {
					y[o*(n+2)+p+k] += x[i*n+p] * float64(w[(i*oc+o)*3+k])
				}
			}
		}
	}
	return y
}

// pool1 pools neighbours in rows of n.
func pool1(x []float64, n int, f func(a, b float64) float64) (y []float64) {
	for i := range x {
		if i%n < n-1 {
			y = append(y, f(x[i], x[i+1]))
		}
	}
	return y
}
