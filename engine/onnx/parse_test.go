package onnx_test

import (
	"errors"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/onnx"
	"github.com/gonvolve/gonvolve/engine/problem"
)

func TestParseModel(t *testing.T) {
	untyped := bytesField(5, join(textField(1, "auto_pad"), textField(4, "VALID"))) // as written before IR version 2
	packed := bytesField(5, join(textField(1, "pads"), bytesField(8, []byte{1, 0x80, 1, 3}), intField(20, 7)))
	b := model(13, [][]byte{node("Conv", []string{"x", "w", ""}, attr("group", 2), untyped, packed)}, []string{"x", "w"},
		textField(2, "g"), bytesField(5, tensor("w", []float32{1, 2}, 2)))
	// Fields that nobody knows must be stepped over, and another domain's opset is not ours.
	b = append(b, join(textField(99, "?"), bytesField(8, join(textField(1, "com.example"), intField(2, 3))))...)
	m, err := onnx.ParseModel(b)
	if err != nil {
		t.Fatal(err)
	}
	want := &onnx.Node{Name: "n", Op: "Conv", Inputs: []string{"x", "w", ""}, Outputs: []string{"y"},
		Attributes: map[string]onnx.Attribute{
			"group":    {Type: onnx.AttributeInt, I: 2},
			"auto_pad": {Type: onnx.AttributeString, S: "VALID"},
			"pads":     {Type: onnx.AttributeInts, Ints: []int64{1, 128, 3}},
		}}
	if m.Opset != 13 || m.Graph.Name != "g" || !slices.Equal(m.Graph.Inputs, []string{"x", "w"}) || !slices.Equal(m.Graph.Outputs, []string{"y"}) {
		t.Errorf("model %+v", m)
	}
	if len(m.Graph.Nodes) != 1 || !reflect.DeepEqual(m.Graph.Nodes[0], want) {
		t.Errorf("nodes %+v, want %+v", m.Graph.Nodes, want)
	}
	if len(m.Graph.Initializers) != 1 || m.Graph.Initializers[0].Name != "w" {
		t.Errorf("initializers %+v", m.Graph.Initializers)
	}
}

func TestParseTensor(t *testing.T) {
	long := binaryInts(5, -6)
	for _, c := range []struct {
		name   string
		b      []byte
		shape  []int
		floats []float32
		ints   []int64
	}{
		{"raw", tensor("t", []float32{1, -2}, 2, 1), []int{2, 1}, []float32{1, -2}, nil},
		{"packed", join(dims(2), intField(2, 1), bytesField(4, rawFloats([]float32{3, 4}))), []int{2}, []float32{3, 4}, nil},
		{"unpacked", join(dims(2), intField(2, 1), floatField(4, 3), floatField(4, 4)), []int{2}, []float32{3, 4}, nil},
		{"scalar", join(intField(2, 1), floatField(4, 7)), []int{}, []float32{7}, nil},
		{"empty", join(dims(0, 3), intField(2, 1)), []int{0, 3}, nil, nil},
		{"packed dims", join(bytesField(1, []byte{1, 2}), intField(2, 1), bytesField(4, rawFloats([]float32{3, 4}))), []int{1, 2}, []float32{3, 4}, nil},
		{"int64 raw", join(dims(2), intField(2, 7), bytesField(9, long)), []int{2}, nil, []int64{5, -6}},
		{"int64 data", join(dims(2), intField(2, 7), intField(7, 5), intField(7, -6)), []int{2}, nil, []int64{5, -6}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, err := onnx.ParseTensor(c.b)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(x.Shape, c.shape) {
				t.Errorf("shape %v, want %v", x.Shape, c.shape)
			}
			if c.ints != nil {
				got, err := x.Int64s()
				if err != nil || !slices.Equal(got, c.ints) {
					t.Errorf("%v, %v; want %v", got, err, c.ints)
				}
				if _, err := x.Float32s(); !errors.Is(err, engine.ErrUnsupported) {
					t.Errorf("Float32s of int64: %v, want ErrUnsupported", err)
				}
				return
			}
			got, err := x.Float32s()
			if err != nil || !slices.Equal(got, c.floats) {
				t.Errorf("%v, %v; want %v", got, err, c.floats)
			}
		})
	}
}

func binaryInts(v ...int64) (b []byte) {
	for _, x := range v {
		for i := range 8 {
			b = append(b, byte(uint64(x)>>(8*i)))
		}
	}
	return b
}

func floatField(num protowire.Number, v float32) []byte {
	return protowire.AppendFixed32(protowire.AppendTag(nil, num, protowire.Fixed32Type), math.Float32bits(v))
}

func TestHostTensors(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		typ  problem.DataType
		want []float32
	}{
		{"raw floats", tensor("t", []float32{1, -2}, 2), problem.F32, []float32{1, -2}},
		{"floats", join(dims(2), intField(2, 1), floatField(4, 3), floatField(4, 4)), problem.F32, []float32{3, 4}},
		{"raw halves", typed(onnx.Float16, "t", halves(0.5, -3), 2), problem.F16, []float32{0.5, -3}},
		{"halves", join(dims(2), intField(2, 10), intField(5, 0x3c00), intField(5, 0xc000)), problem.F16, []float32{1, -2}},
		{"raw bytes", bytes8("t", []byte{7, 200}, 2), problem.U8, []float32{7, 200}},
		{"bytes", join(dims(2), intField(2, 2), intField(5, 7), intField(5, 200)), problem.U8, []float32{7, 200}},
		{"raw signed bytes", typed(onnx.Int8, "t", []byte{7, 200}, 2), problem.S8, []float32{7, -56}},
		{"signed bytes", join(dims(2), intField(2, 3), intField(5, 7), intField(5, -56)), problem.S8, []float32{7, -56}},
		{"raw integers", typed(onnx.Int32, "t", int32s(7, -1<<31), 2), problem.S32, []float32{7, -1 << 31}},
		{"integers", join(dims(2), intField(2, 6), bytesField(5, []byte{7, 0x80, 1})), problem.S32, []float32{7, 128}},
		{"nothing", join(dims(2, 0), intField(2, 6)), problem.S32, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, err := onnx.ParseTensor(c.b)
			if err != nil {
				t.Fatal(err)
			}
			h, err := x.Host()
			if err != nil {
				t.Fatal(err)
			}
			if h.Type() != c.typ || !slices.Equal(h.Shape(), x.Shape) || !slices.Equal(h.Widen(), c.want) {
				t.Errorf("%v %v %v; want %v %v %v", h.Type(), h.Shape(), h.Widen(), c.typ, x.Shape, c.want)
			}
		})
	}
}

func TestTensorsThatCannotBeRead(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"uint8", join(dims(2), intField(2, 2), bytesField(9, []byte{1, 2})), "uint8"},
		{"float16", join(dims(1), intField(2, 10), bytesField(9, []byte{1, 2})), "float16"},
		{"unknown type", join(dims(1), intField(2, 77)), "data type 77"},
		{"external", join(dims(5), intField(2, 1), intField(14, 1)), "another file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, err := onnx.ParseTensor(c.b)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := x.Float32s(); !errors.Is(err, engine.ErrUnsupported) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want ErrUnsupported with %q", err, c.want)
			}
			if _, err := x.Int64s(); !errors.Is(err, engine.ErrUnsupported) {
				t.Errorf("%v; want ErrUnsupported", err)
			}
		})
	}
}

func TestHostileFiles(t *testing.T) {
	good := model(13, [][]byte{node("Conv", []string{"x", "w"}, attr("pads", []int{0, 0, 0, 0}))}, []string{"x"},
		bytesField(5, tensor("w", []float32{1}, 1)))
	parseModel := func(b []byte) error { _, err := onnx.ParseModel(b); return err }
	parseTensor := func(b []byte) error { _, err := onnx.ParseTensor(b); return err }
	for _, c := range []struct {
		name  string
		parse func([]byte) error
		b     []byte
		want  string
	}{
		{"empty model", parseModel, nil, "no graph"},
		{"text", parseModel, []byte("<html>not found</html>"), "protobuf"},
		{"truncated", parseModel, good[:len(good)-20], "truncated"},
		{"group never ended", parseModel, []byte{0x0b}, "truncated"},
		{"graph is a number", parseModel, intField(7, 1), "wire type"},
		{"opset 0", parseModel, join(bytesField(7, nil), bytesField(8, intField(2, 0))), "opset 0"},
		{"attribute twice", parseModel, model(1, [][]byte{node("Conv", nil, attr("a", 1), attr("a", 2))}, nil), "twice"},
		{"node bomb", parseModel, bytesField(7, []byte(strings.Repeat("\x0a\x00", 1<<20+1))), "more than 1048576"},
		{"bad initializer", parseModel, model(1, nil, nil, bytesField(5, tensor("w", nil, 4))), "0 values instead of 4"},
		{"empty tensor file", parseTensor, nil, "no data type"},
		{"short data", parseTensor, tensor("t", []float32{1}, 2), "1 values instead of 2"},
		{"byte out of range", parseTensor, join(dims(1), intField(2, 2), intField(5, 256)), "256, which is no uint8"},
		{"signed byte out of range", parseTensor, join(dims(1), intField(2, 3), intField(5, -129)), "-129"},
		{"half out of range", parseTensor, join(dims(1), intField(2, 10), intField(5, 1<<16)), "65536"},
		{"int32 out of range", parseTensor, join(dims(1), intField(2, 6), intField(5, 1<<31)), "2147483648"},
		{"half a half", parseTensor, join(dims(1), intField(2, 10), bytesField(9, []byte{1, 2, 3})), "3 bytes of float16"},
		{"too few bytes", parseTensor, bytes8("t", []byte{1}, 2), "1 values instead of 2"},
		{"bad attribute tensor", parseModel, model(1, [][]byte{node("Constant", nil, attr("value", bytes8("t", []byte{1}, 2)))}, nil), "1 values"},
		{"odd data", parseTensor, join(dims(1), intField(2, 1), bytesField(9, []byte{1, 2, 3})), "3 bytes"},
		{"odd packed data", parseTensor, join(dims(1), intField(2, 1), bytesField(4, []byte{1, 2, 3})), "multiple of 4"},
		{"cut packed dims", parseTensor, join(bytesField(1, []byte{0x80}), intField(2, 1)), "truncated"},
		{"negative size", parseTensor, join(dims(-1), intField(2, 1)), "negative"},
		{"huge", parseTensor, join(dims(1<<31, 1<<31, 1<<31), intField(2, 1)), "too large"},
		{"huge with a zero", parseTensor, join(dims(1<<62, 0), intField(2, 1)), "too large"},
		{"rank", parseTensor, join(dims(make([]int, 65)...), intField(2, 1)), "65 dimensions"},
		{"segment", parseTensor, join(bytesField(3, nil), intField(2, 1)), "segments"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.parse(c.b)
			if !errors.Is(err, onnx.ErrFormat) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v; want ErrFormat with %q", err, c.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
	for n := range good { // no prefix may panic
		if err := parseModel(good[:n]); err != nil && !errors.Is(err, onnx.ErrFormat) {
			t.Errorf("first %d bytes: %v, want ErrFormat", n, err)
		}
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	write(t, []byte("version https://git-lfs.github.com/spec/v1\n"), dir, "lfs.onnx")
	write(t, []byte{0xff}, dir, "bad.onnx")
	for _, c := range []struct{ file, want string }{{"lfs.onnx", "git lfs pull"}, {"bad.onnx", "fetch the file again"}, {".", "regular"}} {
		for what, load := range map[string]func(string) error{
			"Load":       func(f string) error { _, err := onnx.Load(f); return err },
			"LoadTensor": func(f string) error { _, err := onnx.LoadTensor(f); return err },
		} {
			file := filepath.Join(dir, c.file)
			err := load(file)
			if !errors.Is(err, onnx.ErrFormat) || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s(%s): %v; want ErrFormat with the file's name and %q", what, c.file, err, c.want)
			}
		}
	}
}
