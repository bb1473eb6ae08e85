package onnx_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/onnx"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// of is an operand of a type.
func of(kind onnx.DataType, shape ...int) onnx.Operand { return onnx.Operand{Type: kind, Shape: shape} }

// says is an int64 operand with values.
func says(v ...int64) onnx.Operand {
	return onnx.Operand{Type: onnx.Int64, Shape: []int{len(v)}, Ints: v}
}

type operands []onnx.Operand

// quantized are the inputs of QLinearConv.
func quantized(src, wei, dst onnx.DataType, scales ...int) operands {
	return operands{of(src, 1, 4, 7, 5), of(onnx.Float), of(src), of(wei, 6, 4, 3, 3), of(onnx.Float, scales...), of(wei, scales...), of(onnx.Float), of(dst)}
}

func TestTypes(t *testing.T) {
	const (
		f16, u8, s8, f32 = onnx.Float16, onnx.Uint8, onnx.Int8, onnx.Float
		conv             = "mb1ic4oc6ih7oh5kh3iw5ow3kw3"
	)
	x, w := []int{1, 4, 7, 5}, []int{6, 4, 3, 3}
	left := onnx.Operand{}
	k := map[string]any{"kernel_shape": []int{2, 2}}
	indices := map[string]any{"kernel_shape": []int{2, 2}, "storage_order": 1}
	for _, c := range []struct {
		name    string
		op      string
		in      operands
		outputs int
		attrs   map[string]any
		want    string // the problem's text, or a part of the error
		is      error
	}{
		{"f16 conv", "Conv", operands{of(f16, x...), of(f16, w...), of(f16, 6)}, 1, nil, "conv:f16:bias:" + conv, nil},
		{"f16 deconv", "ConvTranspose", operands{of(f16, 1, 6, 7, 5), of(f16, w...)}, 1, nil, "deconv:f16:mb1ic6oc4ih7oh9kh3iw5ow7kw3", nil},
		{"f16 average", "AveragePool", operands{of(f16, x...)}, 1, k, "pool:avg_np:f16:mb1ic4ih7oh6kh2iw5ow4kw2", nil},
		{"f16 Lp", "LpPool", operands{of(f16, x...)}, 1, k, "pool:lp2:f16:mb1ic4ih7oh6kh2iw5ow4kw2", nil},
		{"f16 deform", "DeformConv", operands{of(f16, x...), of(f16, w...), of(f16, 1, 18, 5, 3), left, of(f16, 1, 9, 5, 3)}, 1, nil, "deform:f16:mask:" + conv, nil},
		{"u8 max", "MaxPool", operands{of(u8, x...)}, 1, k, "pool:max:u8:mb1ic4ih7oh6kh2iw5ow4kw2", nil},
		{"s8 max with indices", "MaxPool", operands{of(s8, x...)}, 2, k, "pool:max:s8:indices=flat:mb1ic4ih7oh6kh2iw5ow4kw2", nil},
		{"column-major indices", "MaxPool", operands{of(f32, x...)}, 2, indices, "pool:max:indices=column:mb1ic4ih7oh6kh2iw5ow4kw2", nil},
		{"storage order without indices", "MaxPool", operands{of(f32, x...)}, 1, indices, "pool:max:mb1ic4ih7oh6kh2iw5ow4kw2", nil},
		{"unpool", "MaxUnpool", operands{of(f32, 1, 1, 2, 3), of(onnx.Int64, 1, 1, 2, 3)}, 1,
			map[string]any{"kernel_shape": []int{2, 2}, "strides": []int{2, 2}, "pads": []int{0, 1, 0, 0}}, "unpool:indices=flat:mb1ic1ih2oh4kh2sh2iw3ow5kw2sw2pw1", nil},
		{"unpool: the stride defaults to 1", "MaxUnpool", operands{of(f32, 1, 1, 2, 3), of(onnx.Int64, 1, 1, 2, 3)}, 1, k,
			"unpool:indices=flat:mb1ic1ih2oh3kh2iw3ow4kw2", nil},
		{"unpool to a size", "MaxUnpool", operands{of(u8, 1, 1, 2, 3), of(onnx.Int64, 1, 1, 2, 3), says(1, 1, 9, 8)}, 1, k,
			"unpool:u8:indices=flat:mb1ic1ih2oh9kh2ph0rh0iw3ow8kw2pw0rw0", nil},
		{"integers", "ConvInteger", operands{of(u8, x...), of(s8, w...)}, 1, nil, "conv:u8-s8-s32:" + conv, nil},
		{"integers with zero points", "ConvInteger", operands{of(u8, x...), of(u8, w...), of(u8), of(u8, 6)}, 1, map[string]any{"auto_pad": "SAME_UPPER"},
			"conv:u8-u8-s32:mb1ic4oc6ih7oh7kh3ph1iw5ow5kw3pw1", nil},
		{"quantized", "QLinearConv", quantized(u8, s8, u8), 1, nil, "conv:u8-s8-u8:" + conv, nil},
		{"quantized by channel", "QLinearConv", append(quantized(s8, s8, s8, 6), of(onnx.Int32, 6)), 1, nil, "conv:s8:bias:" + conv, nil},
		{"columns", "Col2Im", operands{of(f32, 2, 12, 4), says(3, 3), says(2, 2)}, 1, nil, "col2im:mb2ic3ih3oh2kh2", nil},
		{"columns in 3-D", "Col2Im", operands{of(f32, 1, 8, 4), says(3, 2, 4), says(2, 2, 2)}, 1, map[string]any{"strides": []int{1, 1, 2}},
			"col2im:mb1ic1id3od2kd2ih2oh1kh2iw4ow2kw2sw2", nil},

		{"conv of bytes", "Conv", operands{of(u8, x...), of(u8, w...)}, 1, nil, "a src of uint8", engine.ErrUnsupported},
		{"mixed floats", "Conv", operands{of(f16, x...), of(f32, w...)}, 1, nil, "a wei of float32; here it may be [float16]", engine.ErrUnsupported},
		{"average of bytes", "AveragePool", operands{of(u8, x...)}, 1, k, "a src of uint8", engine.ErrUnsupported},
		{"indices of another type", "MaxUnpool", operands{of(f32, 1, 1, 2, 3), of(onnx.Int32, 1, 1, 2, 3)}, 1, k, "a ind of int32", engine.ErrUnsupported},
		{"indices of another shape", "MaxUnpool", operands{of(f32, 1, 1, 2, 3), of(onnx.Int64, 1, 1, 3, 2)}, 1, k, "the ind of MaxUnpool has shape [1 1 3 2]", onnx.ErrFormat},
		{"other channels", "MaxUnpool", operands{of(f32, 1, 1, 2, 3), of(onnx.Int64, 1, 1, 2, 3), says(1, 2, 9, 8)}, 1, k, "output_shape [1 2 9 8]", onnx.ErrFormat},
		{"size of 0", "MaxUnpool", operands{of(f32, 1, 1, 2, 3), of(onnx.Int64, 1, 1, 2, 3), says(1, 1, 9, 0)}, 1, k, "output_shape [1 1 9 0]", onnx.ErrFormat},
		{"size of another rank", "MaxUnpool", operands{of(f32, 1, 1, 2, 3), of(onnx.Int64, 1, 1, 2, 3), says(9, 8)}, 1, k, "2 values instead of 4", onnx.ErrFormat},
		{"too many indices", "MaxPool", operands{of(f32, 1, 1<<20, 1<<12, 1)}, 2, map[string]any{"kernel_shape": []int{2, 1}}, "2^31", engine.ErrUnsupported},
		{"unpool too large", "MaxUnpool", operands{of(f32, 1, 1, 2, 3), of(onnx.Int64, 1, 1, 2, 3), says(1, 1, 1<<20, 1<<12)}, 1, k, "2^31", engine.ErrUnsupported},
		{"unpool without a kernel", "MaxUnpool", operands{of(f32, 1, 1, 2, 3), of(onnx.Int64, 1, 1, 2, 3)}, 1, nil, "kernel_shape", onnx.ErrFormat},
		{"zero point of another type", "ConvInteger", operands{of(u8, x...), of(s8, w...), of(s8)}, 1, nil, "a source zero point of int8", engine.ErrUnsupported},
		{"source zero points by channel", "ConvInteger", operands{of(u8, x...), of(s8, w...), of(u8, 6)}, 1, nil, "one value", onnx.ErrFormat},
		{"zero points of other channels", "ConvInteger", operands{of(u8, x...), of(s8, w...), left, of(s8, 5)}, 1, nil, "each of 6 channels", onnx.ErrFormat},
		{"no zero points at all", "ConvInteger", operands{of(u8, x...), of(s8, w...), left, of(s8, 0)}, 1, nil, "each of 6 channels", onnx.ErrFormat},
		{"float bias of integers", "QLinearConv", append(quantized(u8, s8, u8), of(f32, 6)), 1, nil, "a bia of float32", engine.ErrUnsupported},
		{"no output scale", "QLinearConv", quantized(u8, s8, u8)[:6], 1, nil, "the output scale is missing", onnx.ErrFormat},
		{"offsets of another shape", "DeformConv", operands{of(f32, x...), of(f32, w...), of(f32, 1, 9, 5, 3)}, 1, nil, "the offset of DeformConv", onnx.ErrFormat},
		{"deform in 1-D", "DeformConv", operands{of(f32, 1, 2, 9), of(f32, 3, 2, 4), of(f32, 1, 8, 6)}, 1, nil, "2-D", problem.ErrInvalid},
		{"columns that do not fit", "Col2Im", operands{of(f32, 2, 10, 4), says(3, 3), says(2, 2)}, 1, nil, "10 rows", onnx.ErrFormat},
		{"other positions", "Col2Im", operands{of(f32, 2, 12, 5), says(3, 3), says(2, 2)}, 1, nil, "the src of Col2Im has shape [2 12 5]", onnx.ErrFormat},
		{"columns of an image", "Col2Im", operands{of(f32, 2, 3, 4, 4), says(3, 3), says(2, 2)}, 1, nil, "[N, C·taps, positions]", onnx.ErrFormat},
		{"columns in 4-D", "Col2Im", operands{of(f32, 2, 16, 1), says(2, 2, 2, 2), says(2, 2, 2, 2)}, 1, nil, "4 spatial", engine.ErrUnsupported},
		{"block of another rank", "Col2Im", operands{of(f32, 2, 12, 4), says(3, 3), says(2)}, 1, nil, "1 values instead of 2", onnx.ErrFormat},
		{"block that overflows", "Col2Im", operands{of(f32, 2, 12, 4), says(3, 3), says(1<<31, 1<<33)}, 1, nil, "holds", onnx.ErrFormat},
		{"exponent", "LpPool", operands{of(f32, x...)}, 1, map[string]any{"kernel_shape": []int{2, 2}, "p": 0}, "p is 0", onnx.ErrFormat},
		{"too many outputs", "Conv", operands{of(f32, x...), of(f32, w...)}, 2, nil, "2 outputs", onnx.ErrFormat},
		{"deconv from an overflow", "ConvTranspose", operands{of(f32, 1, 6, 1<<31, 1), of(f32, w...)}, 1,
			map[string]any{"output_shape": []int{4, 4}, "strides": []int{1<<31 - 1, 1}}, "", problem.ErrInvalid},
		{"deconv from a stride that overflows", "ConvTranspose", operands{of(f32, 1, 6, 1<<31, 1), of(f32, w...)}, 1,
			map[string]any{"auto_pad": "SAME_LOWER", "strides": []int{1<<31 - 1, 1}}, "", problem.ErrInvalid},
		{"output_shape out of reach", "ConvTranspose", operands{of(f32, 1, 6, 3, 3), of(f32, w...)}, 1, map[string]any{"output_shape": []int{9, 5}}, "", problem.ErrInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			var names []string
			for i := range c.in {
				names = append(names, string(rune('a'+i)))
				if c.in[i].Type == 0 {
					names[i] = ""
				}
			}
			var attrs [][]byte
			for name, v := range c.attrs {
				attrs = append(attrs, attr(name, v))
			}
			m, err := onnx.ParseModel(model(20, [][]byte{step(c.op, names, []string{"y", "z"}[:c.outputs], attrs...)}, nil))
			if err != nil {
				t.Fatal(err)
			}
			p, err := m.Problem(m.Graph.Nodes[0], c.in...)
			if c.is != nil {
				if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
					t.Fatalf("%v, %v; want %v with %q", p.String(), err, c.is, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want, err := problem.Parse(c.want)
			if err != nil {
				t.Fatal(err)
			}
			if p != want {
				t.Errorf("%s, want %s", p.String(), want.String())
			}
		})
	}
}
