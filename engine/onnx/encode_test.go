package onnx_test

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gonvolve/gonvolve/engine/onnx"
)

// The least of a protobuf writer, so that the tests can say what a file holds. Field numbers are those of onnx.proto.

func bytesField(num protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), v)
}

func textField(num protowire.Number, v string) []byte { return bytesField(num, []byte(v)) }

func intField(num protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), uint64(v))
}

func join(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// attr encodes an attribute from an int, a float, a string, an encoded tensor or a slice of ints.
func attr(name string, v any) []byte {
	switch v := v.(type) {
	case int:
		return bytesField(5, join(textField(1, name), intField(3, int64(v)), intField(20, 2)))
	case float32:
		return bytesField(5, join(textField(1, name), floatField(2, v), intField(20, 1)))
	case []byte:
		return bytesField(5, join(textField(1, name), bytesField(5, v), intField(20, 4)))
	case string:
		return bytesField(5, join(textField(1, name), textField(4, v), intField(20, 3)))
	case []int:
		b := textField(1, name)
		for _, x := range v {
			b = append(b, intField(8, int64(x))...)
		}
		return bytesField(5, append(b, intField(20, 7)...))
	}
	panic("attribute of another type")
}

// node encodes a node with one output y.
func node(op string, inputs []string, attrs ...[]byte) []byte {
	return step(op, inputs, []string{"y"}, attrs...)
}

// step encodes a node.
func step(op string, inputs, outputs []string, attrs ...[]byte) []byte {
	b := join(textField(3, "n"), textField(4, op))
	for _, in := range inputs {
		b = append(b, textField(1, in)...)
	}
	for _, out := range outputs {
		b = append(b, textField(2, out)...)
	}
	return append(b, join(attrs...)...)
}

// model encodes a model whose graph has the nodes and inputs and the output y, and whatever else extra encodes into the
// graph.
func model(opset int, nodes [][]byte, inputs []string, extra ...[]byte) []byte {
	return network(opset, nodes, inputs, []string{"y"}, extra...)
}

// network encodes a model with any outputs.
func network(opset int, nodes [][]byte, inputs, outputs []string, extra ...[]byte) []byte {
	g := join(extra...)
	for _, n := range nodes {
		g = append(g, bytesField(1, n)...)
	}
	for _, in := range inputs {
		g = append(g, bytesField(11, textField(1, in))...)
	}
	for _, out := range outputs {
		g = append(g, bytesField(12, textField(1, out))...)
	}
	return join(intField(1, 8), bytesField(7, g), bytesField(8, intField(2, int64(opset))))
}

func rawFloats(data []float32) []byte {
	var b []byte
	for _, v := range data {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// tensor encodes a float32 tensor with raw data.
func tensor(name string, data []float32, shape ...int) []byte {
	return join(dims(shape...), intField(2, 1), textField(8, name), bytesField(9, rawFloats(data)))
}

// typed encodes a tensor of any type with raw data.
func typed(kind onnx.DataType, name string, data []byte, shape ...int) []byte {
	return join(dims(shape...), intField(2, int64(kind)), textField(8, name), bytesField(9, data))
}

// bytes8 encodes a uint8 tensor.
func bytes8(name string, data []byte, shape ...int) []byte {
	return typed(onnx.Uint8, name, data, shape...)
}

// ints encodes an int64 tensor.
func ints(name string, data []int64, shape ...int) []byte {
	return typed(onnx.Int64, name, binaryInts(data...), shape...)
}

func dims(shape ...int) (b []byte) {
	for _, d := range shape {
		b = append(b, intField(1, int64(d))...)
	}
	return b
}

// write puts a file into a directory that it makes.
func write(t testing.TB, b []byte, path ...string) {
	t.Helper()
	file := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
}
