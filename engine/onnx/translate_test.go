package onnx_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/onnx"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// shapes of the inputs of the translation tests.
type shapes [][]int

var (
	image  = shapes{{1, 4, 7, 5}}
	volume = shapes{{2, 3, 4, 5, 6}}
	deconv = shapes{{1, 4, 3, 3}, {4, 6, 3, 3}}
	conv   = shapes{{1, 4, 7, 5}, {6, 4, 3, 3}}
)

func TestProblem(t *testing.T) {
	type attrs map[string]any
	for _, c := range []struct {
		name   string
		op     string
		opset  int
		shapes shapes
		attrs  attrs
		want   string // the problem's text
	}{
		{"conv defaults", "Conv", 1, conv, nil, "conv:mb1ic4oc6ih7oh5kh3iw5ow3kw3"},
		{"conv kernel_shape", "Conv", 11, conv, attrs{"kernel_shape": []int{3, 3}}, "conv:mb1ic4oc6ih7oh5kh3iw5ow3kw3"},
		{"conv strides", "Conv", 11, conv, attrs{"strides": []int{2, 1}}, "conv:mb1ic4oc6ih7oh3kh3sh2iw5ow3kw3"},
		{"conv pads", "Conv", 11, conv, attrs{"pads": []int{1, 1, 1, 1}}, "conv:mb1ic4oc6ih7oh7kh3ph1iw5ow5kw3pw1"},
		{"conv pads: begins, then ends", "Conv", 11, conv, attrs{"pads": []int{0, 1, 2, 3}}, "conv:mb1ic4oc6ih7oh7kh3ph0iw5ow7kw3pw1"},
		{"conv pads that the size does not imply", "Conv", 11, conv, attrs{"strides": []int{2, 3}, "pads": []int{1, 1, 0, 3}},
			"conv:mb1ic4oc6ih7oh3kh3sh2ph1rh0iw5ow3kw3sw3pw1rw3"},
		{"conv dilations", "Conv", 11, conv, attrs{"dilations": []int{3, 2}}, "conv:mb1ic4oc6ih7oh1kh3dh2iw5ow1kw3dw1"},
		{"conv group", "Conv", 11, shapes{{1, 4, 7, 5}, {6, 2, 3, 3}}, attrs{"group": 2}, "conv:g2mb1ic4oc6ih7oh5kh3iw5ow3kw3"},
		{"conv bias", "Conv", 11, append(conv[:2:2], []int{6}), nil, "conv:mb1ic4oc6ih7oh5kh3iw5ow3kw3 bias"},
		{"conv NOTSET", "Conv", 11, conv, attrs{"auto_pad": "NOTSET", "pads": []int{1, 0, 1, 0}}, "conv:mb1ic4oc6ih7oh7kh3ph1iw5ow3kw3"},
		{"conv VALID", "Conv", 11, conv, attrs{"auto_pad": "VALID"}, "conv:mb1ic4oc6ih7oh5kh3iw5ow3kw3"},
		{"conv VALID with pads of 0", "Conv", 11, conv, attrs{"auto_pad": "VALID", "pads": []int{0, 0, 0, 0}}, "conv:mb1ic4oc6ih7oh5kh3iw5ow3kw3"},
		{"conv SAME_UPPER, odd", "Conv", 11, shapes{{1, 1, 4, 4}, {1, 1, 2, 2}}, attrs{"auto_pad": "SAME_UPPER"}, "conv:mb1ic1oc1ih4oh4kh2ph0"},
		{"conv SAME_LOWER, odd", "Conv", 11, shapes{{1, 1, 4, 4}, {1, 1, 2, 2}}, attrs{"auto_pad": "SAME_LOWER"}, "conv:mb1ic1oc1ih4oh4kh2ph1"},
		{"conv SAME_UPPER, stride", "Conv", 11, conv, attrs{"auto_pad": "SAME_UPPER", "strides": []int{2, 2}}, "conv:mb1ic4oc6ih7oh4kh3sh2ph1iw5ow3kw3sw2pw1"},
		{"conv SAME_UPPER, dilation", "Conv", 11, conv, attrs{"auto_pad": "SAME_UPPER", "dilations": []int{2, 1}},
			"conv:mb1ic4oc6ih7oh7kh3ph2dh1iw5ow5kw3pw1"},
		{"conv 1-D", "Conv", 11, shapes{{1, 2, 9}, {3, 2, 4}}, attrs{"pads": []int{1, 2}}, "conv:mb1ic2oc3iw9ow9kw4pw1"},
		{"conv 3-D", "Conv", 11, shapes{{1, 2, 4, 5, 6}, {3, 2, 1, 2, 3}}, attrs{"pads": []int{0, 0, 1, 0, 1, 1}},
			"conv:mb1ic2oc3id4od4kd1ih5oh5kh2ph0iw6ow6kw3pw1"},
		{"conv empty batch", "Conv", 11, shapes{{0, 1, 4, 4}, {1, 1, 2, 2}}, nil, "conv:mb0ic1oc1ih4oh3kh2"},

		{"max: strides default to 1", "MaxPool", 12, image, attrs{"kernel_shape": []int{2, 3}}, "pool:max:mb1ic4ih7oh6kh2iw5ow3kw3"},
		{"max: all attributes", "MaxPool", 12, image, attrs{"kernel_shape": []int{2, 2}, "strides": []int{2, 1}, "pads": []int{1, 0, 0, 1},
			"dilations": []int{1, 2}, "storage_order": 1, "ceil_mode": 0, "auto_pad": "NOTSET"}, "pool:max:mb1ic4ih7oh4kh2sh2ph1iw5ow4kw2pw0dw1"},
		{"max: floor", "MaxPool", 12, image, attrs{"kernel_shape": []int{2, 2}, "strides": []int{2, 2}}, "pool:max:mb1ic4ih7oh3kh2sh2rh0iw5ow2kw2sw2rw0"},
		{"max: ceil", "MaxPool", 12, image, attrs{"kernel_shape": []int{2, 2}, "strides": []int{2, 2}, "ceil_mode": 1},
			"pool:max:mb1ic4ih7oh4kh2sh2rh0iw5ow3kw2sw2rw0"},
		{"max: SAME_LOWER", "MaxPool", 12, image, attrs{"kernel_shape": []int{2, 2}, "auto_pad": "SAME_LOWER"}, "pool:max:mb1ic4ih7oh7kh2ph1iw5ow5kw2pw1"},
		{"max: opset 1", "MaxPool", 1, image, attrs{"kernel_shape": []int{2, 2}}, "pool:max:mb1ic4ih7oh6kh2iw5ow4kw2"},
		{"max: VALID and ceil agree", "MaxPool", 12, image, attrs{"kernel_shape": []int{3, 3}, "auto_pad": "VALID", "ceil_mode": 1},
			"pool:max:mb1ic4ih7oh5kh3iw5ow3kw3"},

		{"average excludes padding", "AveragePool", 1, image, attrs{"kernel_shape": []int{3, 3}, "pads": []int{1, 1, 1, 1}},
			"pool:avg_np:mb1ic4ih7oh7kh3ph1iw5ow5kw3pw1"},
		{"count_include_pad 0", "AveragePool", 7, image, attrs{"kernel_shape": []int{3, 3}, "count_include_pad": 0}, "pool:avg_np:mb1ic4ih7oh5kh3iw5ow3kw3"},
		{"count_include_pad 1", "AveragePool", 7, image, attrs{"kernel_shape": []int{3, 3}, "count_include_pad": 1}, "pool:avg_ip:mb1ic4ih7oh5kh3iw5ow3kw3"},
		{"average: dilations", "AveragePool", 19, image, attrs{"kernel_shape": []int{2, 2}, "dilations": []int{2, 3}}, "pool:avg_np:mb1ic4ih7oh5kh2dh1iw5ow2kw2dw2"},
		{"average: ceil", "AveragePool", 10, image, attrs{"kernel_shape": []int{3, 3}, "strides": []int{3, 3}, "ceil_mode": 1},
			"pool:avg_np:mb1ic4ih7oh3kh3sh3ph0rh0iw5ow2kw3sw3pw0rw0"},
		{"average 3-D", "AveragePool", 7, volume, attrs{"kernel_shape": []int{1, 2, 3}}, "pool:avg_np:mb2ic3id4od4kd1ih5oh4kh2iw6ow4kw3"},
		{"max 1-D", "MaxPool", 8, shapes{{1, 2, 9}}, attrs{"kernel_shape": []int{4}, "strides": []int{4}}, "pool:max:mb1ic2iw9ow2kw4sw4rw0"},

		{"average: dilations in 3-D", "AveragePool", 19, volume, attrs{"kernel_shape": []int{2, 2, 2}, "dilations": []int{1, 2, 3},
			"count_include_pad": 1, "pads": []int{1, 0, 0, 0, 0, 1}}, "pool:avg_ip:mb2ic3id4od4kd2pd1ih5oh3kh2ph0dh1iw6ow4kw2pw0dw2"},
		{"Lp: the default exponent", "LpPool", 11, image, attrs{"kernel_shape": []int{2, 3}, "strides": []int{2, 1}},
			"pool:lp2:mb1ic4ih7oh3kh2sh2rh0iw5ow3kw3"},
		{"Lp: all attributes", "LpPool", 18, image, attrs{"kernel_shape": []int{2, 2}, "p": 3, "dilations": []int{2, 1}, "ceil_mode": 1,
			"auto_pad": "NOTSET", "pads": []int{1, 0, 1, 0}}, "pool:lp3:mb1ic4ih7oh7kh2ph1dh1iw5ow4kw2pw0"},
		{"global Lp", "GlobalLpPool", 2, image, attrs{"p": 1}, "pool:lp1:mb1ic4ih7oh1kh7sh7iw5ow1kw5sw5"},

		{"deconv defaults", "ConvTranspose", 1, deconv, nil, "deconv:mb1ic4oc6ih3oh5kh3"},
		{"deconv group and bias", "ConvTranspose", 11, append(deconv[:2:2], []int{12}), attrs{"group": 2}, "deconv:g2mb1ic4oc12ih3oh5kh3 bias"},
		{"deconv pads", "ConvTranspose", 11, deconv, attrs{"strides": []int{3, 2}, "pads": []int{1, 2, 1, 2}},
			"deconv:mb1ic4oc6ih3oh7kh3sh3ph1iw3ow3kw3sw2pw2"},
		{"deconv output_padding", "ConvTranspose", 11, deconv, attrs{"strides": []int{3, 2}, "output_padding": []int{1, 1}},
			"deconv:mb1ic4oc6ih3oh10kh3sh3ph0rh0iw3ow8kw3sw2pw0rw0"},
		{"deconv output_shape that needs no padding", "ConvTranspose", 11, deconv, attrs{"strides": []int{3, 2}, "output_shape": []int{10, 8}},
			"deconv:mb1ic4oc6ih3oh10kh3sh3ph0rh0iw3ow8kw3sw2pw0rw0"},
		{"deconv output_shape: the larger half at the start", "ConvTranspose", 11, deconv,
			attrs{"strides": []int{3, 2}, "output_shape": []int{8, 4}}, "deconv:mb1ic4oc6ih3oh8kh3sh3ph1rh0iw3ow4kw3sw2pw2rw1"},
		{"deconv output_shape, SAME_LOWER", "ConvTranspose", 11, deconv,
			attrs{"strides": []int{3, 2}, "output_shape": []int{8, 4}, "auto_pad": "SAME_LOWER"}, "deconv:mb1ic4oc6ih3oh8kh3sh3ph1rh0iw3ow4kw3sw2pw2rw1"},
		{"deconv output_shape, SAME_UPPER", "ConvTranspose", 11, deconv,
			attrs{"strides": []int{3, 2}, "output_shape": []int{8, 4}, "auto_pad": "SAME_UPPER"}, "deconv:mb1ic4oc6ih3oh8kh3sh3ph0rh1iw3ow4kw3sw2pw1rw2"},
		{"deconv SAME_UPPER", "ConvTranspose", 11, deconv, attrs{"strides": []int{2, 1}, "auto_pad": "SAME_UPPER"},
			"deconv:mb1ic4oc6ih3oh6kh3sh2ph0rh1iw3ow3kw3pw1"},
		{"deconv SAME_LOWER, the stride larger than the kernel", "ConvTranspose", 11, deconv, attrs{"strides": []int{4, 2}, "auto_pad": "SAME_LOWER"},
			"deconv:mb1ic4oc6ih3oh12kh3sh4ph0rh0iw3ow6kw3sw2pw1rw0"},
		{"deconv VALID, dilations", "ConvTranspose", 11, deconv, attrs{"dilations": []int{2, 1}, "auto_pad": "VALID"},
			"deconv:mb1ic4oc6ih3oh7kh3dh1iw3ow5kw3"},
		{"deconv 1-D", "ConvTranspose", 11, shapes{{1, 2, 9}, {2, 3, 4}}, nil, "deconv:mb1ic2oc3iw9ow12kw4"},
		{"deconv 3-D", "ConvTranspose", 11, shapes{{1, 2, 2, 3, 4}, {2, 1, 3, 3, 3}}, nil, "deconv:mb1ic2oc1id2od4kd3ih3oh5kh3iw4ow6kw3"},

		{"deform", "DeformConv", 19, shapes{{1, 4, 7, 5}, {6, 4, 3, 3}, {1, 18, 5, 3}}, nil, "deform:mb1ic4oc6ih7oh5kh3iw5ow3kw3"},
		{"deform: all inputs and attributes", "DeformConv", 19, shapes{{1, 4, 7, 5}, {6, 2, 3, 3}, {1, 36, 4, 4}, {6}, {1, 18, 4, 4}},
			attrs{"group": 2, "offset_group": 2, "kernel_shape": []int{3, 3}, "pads": []int{1, 0, 0, 1}, "strides": []int{1, 1}, "dilations": []int{2, 1}},
			"deform:dg=2:mask:g2mb1ic4oc6ih7oh4kh3ph1rh0dh1iw5ow4kw3pw0rw1 bias"},

		{"global average", "GlobalAveragePool", 1, image, nil, "pool:avg_np:mb1ic4ih7oh1kh7sh7iw5ow1kw5sw5"},
		{"global max 3-D", "GlobalMaxPool", 22, volume, nil, "pool:max:mb2ic3id4od1kd4sd4ih5oh1kh5sh5iw6ow1kw6sw6"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := translate(t, c.op, c.opset, c.shapes, c.attrs)
			if err != nil {
				t.Fatal(err)
			}
			text, bias := strings.CutSuffix(c.want, " bias")
			want, err := problem.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			want.Bias = bias
			if p != want {
				t.Errorf("%s (bias %v), want %s", p.String(), p.Bias, c.want)
			}
		})
	}
}

func translate(t *testing.T, op string, opset int, in shapes, attrs map[string]any) (problem.Problem, error) {
	t.Helper()
	var encoded [][]byte
	for name, v := range attrs {
		encoded = append(encoded, attr(name, v))
	}
	m, err := onnx.ParseModel(model(opset, [][]byte{node(op, []string{"x", "w", "b", "more", "most"}[:len(in)], encoded...)}, nil))
	if err != nil {
		t.Fatal(err)
	}
	return m.Problem(m.Graph.Nodes[0], floats(in...)...)
}

// floats are float32 operands of the shapes.
func floats(in ...[]int) (all []onnx.Operand) {
	for _, s := range in {
		all = append(all, onnx.Operand{Type: onnx.Float, Shape: s})
	}
	return all
}

func TestProblemErrors(t *testing.T) {
	type attrs map[string]any
	k := []int{2, 2}
	for _, c := range []struct {
		name   string
		op     string
		opset  int
		shapes shapes
		attrs  attrs
		is     error
		want   string
	}{
		{"operator", "Relu", 13, image, nil, engine.ErrUnsupported, "operator Relu"},
		{"operator with a strange name", "Re\nlu", 13, image, nil, engine.ErrUnsupported, `"Re\nlu"`},
		{"unknown attribute", "Conv", 11, conv, attrs{"mode": 1}, engine.ErrUnsupported, `"mode"`},
		{"attribute of a later opset", "AveragePool", 18, image, attrs{"kernel_shape": k, "dilations": k}, onnx.ErrFormat, "opset 19"},
		{"ceil_mode of a later opset", "MaxPool", 8, image, attrs{"kernel_shape": k, "ceil_mode": 1}, onnx.ErrFormat, "opset 10"},
		{"count_include_pad of a later opset", "AveragePool", 6, image, attrs{"kernel_shape": k, "count_include_pad": 1}, onnx.ErrFormat, "opset 7"},
		{"attribute of a global pool", "GlobalMaxPool", 1, image, attrs{"kernel_shape": k}, engine.ErrUnsupported, "kernel_shape"},
		{"no kernel", "MaxPool", 12, image, nil, onnx.ErrFormat, "kernel_shape"},
		{"kernel of another rank", "MaxPool", 12, image, attrs{"kernel_shape": []int{2}}, onnx.ErrFormat, "1 values instead of 2"},
		{"kernel of 0", "MaxPool", 12, image, attrs{"kernel_shape": []int{0, 2}}, onnx.ErrFormat, "holds 0"},
		{"kernel unlike the weights", "Conv", 11, conv, attrs{"kernel_shape": k}, onnx.ErrFormat, "weights"},
		{"negative pad", "Conv", 11, conv, attrs{"pads": []int{0, -1, 0, 0}}, onnx.ErrFormat, "holds -1"},
		{"half the pads", "Conv", 11, conv, attrs{"pads": k}, onnx.ErrFormat, "2 values instead of 4"},
		{"stride beyond everything", "Conv", 11, conv, attrs{"strides": []int{1 << 40, 1}}, onnx.ErrFormat, "strides"},
		{"auto_pad", "Conv", 11, conv, attrs{"auto_pad": "SAME"}, onnx.ErrFormat, `"SAME"`},
		{"auto_pad and pads", "Conv", 11, conv, attrs{"auto_pad": "SAME_UPPER", "pads": []int{1, 1, 1, 1}}, onnx.ErrFormat, "together"},
		{"auto_pad of another type", "Conv", 11, conv, attrs{"auto_pad": 1}, onnx.ErrFormat, "type 2 instead of 3"},
		{"ceil_mode 2", "MaxPool", 12, image, attrs{"kernel_shape": k, "ceil_mode": 2}, onnx.ErrFormat, "ceil_mode"},
		{"storage_order 2", "MaxPool", 12, image, attrs{"kernel_shape": k, "storage_order": 2}, onnx.ErrFormat, "storage_order"},
		{"VALID and ceil disagree", "MaxPool", 12, image, attrs{"kernel_shape": k, "strides": k, "auto_pad": "VALID", "ceil_mode": 1},
			engine.ErrUnsupported, "VALID"},
		{"group", "Conv", 11, conv, attrs{"group": 3}, problem.ErrInvalid, "3 groups"},
		{"group 0", "Conv", 11, conv, attrs{"group": 0}, onnx.ErrFormat, "group is 0"},
		{"bias of another size", "Conv", 11, append(conv[:2:2], []int{5}), nil, onnx.ErrFormat, "the bia of Conv has shape [5]"},
		{"kernel too large", "Conv", 11, shapes{{1, 1, 2, 2}, {1, 1, 3, 3}}, nil, problem.ErrInvalid, "smaller kernel"},
		{"no weights", "Conv", 11, image, nil, onnx.ErrFormat, "1 inputs: the wei is missing"},
		{"too many inputs", "MaxPool", 12, conv, attrs{"kernel_shape": k}, onnx.ErrFormat, "2 inputs"},
		{"no spatial dimension", "GlobalMaxPool", 1, shapes{{1, 2}}, nil, onnx.ErrFormat, "[N, C, spatial…]"},
		{"four spatial dimensions", "GlobalMaxPool", 1, shapes{{1, 2, 3, 4, 5, 6}}, nil, engine.ErrUnsupported, "4 spatial"},
		{"weights of another rank", "Conv", 11, shapes{{1, 1, 2, 2}, {1, 1, 3}}, nil, onnx.ErrFormat, "weights"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := translate(t, c.op, c.opset, c.shapes, c.attrs)
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v; want %q with %q", err, c.is, c.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}
