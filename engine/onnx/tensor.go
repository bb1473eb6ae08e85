package onnx

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/gonvolve/gonvolve/engine"
)

const (
	maxRank  = 64
	maxElems = 1 << 60
)

// DataType is the type of a tensor's elements, by its ONNX number.
type DataType int32

// The data types whose values can be read.
const (
	Float DataType = 1
	Int64 DataType = 7
)

var dataTypes = []string{"undefined", "float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool",
	"float16", "float64", "uint32", "uint64", "complex64", "complex128", "bfloat16", "float8e4m3fn", "float8e4m3fnuz",
	"float8e5m2", "float8e5m2fnuz", "uint4", "int4", "float4e2m1"}

func (t DataType) String() string {
	if t >= 0 && int(t) < len(dataTypes) {
		return dataTypes[t]
	}
	return fmt.Sprintf("data type %d", int32(t))
}

// Tensor is a tensor as a file has it. Those of any type can be loaded; the values of float32 and int64 can be read.
type Tensor struct {
	Name  string
	Type  DataType
	Shape []int // outermost first; a scalar has none

	raw      []byte // little-endian elements, in the file's memory; nil if the values are in floats or ints
	floats   []float32
	ints     []int64
	external bool // the values are in another file
}

// LoadTensor reads a TensorProto file, such as input_0.pb of a backend test.
func LoadTensor(path string) (*Tensor, error) {
	b, err := readFile(path)
	if err != nil {
		return nil, err
	}
	t, err := ParseTensor(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// ParseTensor reads a serialized TensorProto. The tensor may go on using b.
func ParseTensor(b []byte) (*Tensor, error) { return parseTensor(newMessage("tensor", b)) }

func parseTensor(m *message) (*Tensor, error) {
	t := &Tensor{}
	var dims []int64
	for m.next() {
		switch m.num {
		case 1:
			dims = m.ints(dims)
		case 2:
			t.Type = DataType(m.int())
		case 3:
			m.fail("stored in segments, which no current writer does; export the model again")
		case 4:
			t.floats = m.floats(t.floats)
		case 7:
			t.ints = m.ints(t.ints)
		case 8:
			t.Name = m.text()
		case 9:
			t.raw = m.data()
		case 14:
			t.external = m.int() == 1
		}
	}
	if m.err != nil {
		return nil, m.err
	}
	if t.Type == 0 {
		return nil, fmt.Errorf("%w: tensor %.100q has no data type; is this a TensorProto file?", ErrFormat, t.Name)
	}
	if len(dims) > maxRank {
		return nil, fmt.Errorf("%w: tensor %.100q has %d dimensions; %d are possible", ErrFormat, t.Name, len(dims), maxRank)
	}
	t.Shape = make([]int, len(dims))
	elems := int64(1)
	for i, d := range dims {
		if d < 0 || d > math.MaxInt || (d > 0 && elems > maxElems/d) {
			return nil, fmt.Errorf("%w: tensor %.100q has shape %d, which is negative or too large", ErrFormat, t.Name, dims)
		}
		t.Shape[i] = int(d)
		elems *= d
	}
	return t, t.checkSize(elems)
}

// checkSize compares the values at hand with the shape.
func (t *Tensor) checkSize(elems int64) error {
	var have, bytes int64
	switch t.Type {
	case Float:
		have, bytes = int64(len(t.floats)), 4
	case Int64:
		have, bytes = int64(len(t.ints)), 8
	default:
		return nil
	}
	if t.external {
		return nil
	}
	if t.raw != nil {
		have = int64(len(t.raw)) / bytes
		if int64(len(t.raw))%bytes != 0 {
			return fmt.Errorf("%w: tensor %.100q has %d bytes of %v; fetch the file again", ErrFormat, t.Name, len(t.raw), t.Type)
		}
	}
	if have != elems {
		return fmt.Errorf("%w: tensor %.100q of shape %v has %d values instead of %d; fetch the file again",
			ErrFormat, t.Name, t.Shape, have, elems)
	}
	return nil
}

// readable says whether the values are there and of the type.
func (t *Tensor) readable(want DataType) error {
	if t.Type != want {
		return fmt.Errorf("%w: tensor %.100q is %v; %v is supported here", engine.ErrUnsupported, t.Name, t.Type, want)
	}
	if t.external {
		return fmt.Errorf("%w: tensor %.100q keeps its values in another file; save the model with them inside", engine.ErrUnsupported, t.Name)
	}
	return nil
}

// Float32s are the values of a float32 tensor, row-major.
func (t *Tensor) Float32s() ([]float32, error) {
	if err := t.readable(Float); err != nil {
		return nil, err
	}
	if t.raw == nil {
		return t.floats, nil
	}
	return appendFloats(make([]float32, 0, len(t.raw)/4), t.raw), nil
}

// Int64s are the values of an int64 tensor, row-major.
func (t *Tensor) Int64s() ([]int64, error) {
	if err := t.readable(Int64); err != nil {
		return nil, err
	}
	if t.raw == nil {
		return t.ints, nil
	}
	v := make([]int64, len(t.raw)/8)
	for i := range v {
		v[i] = int64(binary.LittleEndian.Uint64(t.raw[8*i:]))
	}
	return v, nil
}

// appendFloats decodes little-endian elements.
func appendFloats(to []float32, b []byte) []float32 {
	for ; len(b) >= 4; b = b[4:] {
		to = append(to, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return to
}
