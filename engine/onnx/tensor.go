package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

const (
	maxRank  = 64
	maxElems = 1 << 60
)

// DataType is the type of a tensor's elements, by its ONNX number.
type DataType int32

// The data types whose values can be read.
const (
	Float   DataType = 1
	Uint8   DataType = 2
	Int8    DataType = 3
	Int32   DataType = 6
	Int64   DataType = 7
	Float16 DataType = 10
)

// storage is how many bytes an element of a type takes in raw data, and which numbers fit. Types that it does not have
// cannot be read.
var storage = map[DataType]struct {
	bytes       int
	least, most int64 // of types whose values come as int32_data: Float16 as its bits
}{
	Float: {bytes: 4}, Int64: {bytes: 8}, Int32: {4, math.MinInt32, math.MaxInt32}, Int8: {1, math.MinInt8, math.MaxInt8},
	Uint8: {1, 0, math.MaxUint8}, Float16: {2, 0, math.MaxUint16},
}

// hostTypes are the types that package engine has.
var hostTypes = map[DataType]problem.DataType{
	Float: problem.F32, Float16: problem.F16, Int8: problem.S8, Uint8: problem.U8, Int32: problem.S32,
}

var dataTypes = []string{"undefined", "float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool",
	"float16", "float64", "uint32", "uint64", "complex64", "complex128", "bfloat16", "float8e4m3fn", "float8e4m3fnuz",
	"float8e5m2", "float8e5m2fnuz", "uint4", "int4", "float4e2m1"}

func (t DataType) String() string {
	if t >= 0 && int(t) < len(dataTypes) {
		return dataTypes[t]
	}
	return fmt.Sprintf("data type %d", int32(t))
}

// Tensor is a tensor as a file has it. Those of any type can be loaded; the values of some can be read.
type Tensor struct {
	Name  string
	Type  DataType
	Shape []int // outermost first; a scalar has none

	raw      []byte // little-endian elements, in the file's memory; nil if the values are in one of the others
	floats   []float32
	ints     []int64
	small    []int64 // int32_data: of types of up to 32 bits
	external bool    // the values are in another file
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
		case 5:
			t.small = m.ints(t.small)
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

// checkSize compares the values at hand with shape and type.
func (t *Tensor) checkSize(elems int64) error {
	kind, ok := storage[t.Type]
	if !ok || t.external {
		return nil
	}
	have := int64(len(t.small))
	switch t.Type {
	case Float:
		have = int64(len(t.floats))
	case Int64:
		have = int64(len(t.ints))
	default:
		for _, v := range t.small {
			if t.raw == nil && (v < kind.least || v > kind.most) {
				return fmt.Errorf("%w: tensor %.100q has the value %d, which is no %v; export it again", ErrFormat, t.Name, v, t.Type)
			}
		}
	}
	if t.raw != nil {
		have = int64(len(t.raw) / kind.bytes)
		if len(t.raw)%kind.bytes != 0 {
			return fmt.Errorf("%w: tensor %.100q has %d bytes of %v; fetch the file again", ErrFormat, t.Name, len(t.raw), t.Type)
		}
	}
	if have != elems {
		return fmt.Errorf("%w: tensor %.100q of shape %v has %d values instead of %d; fetch the file again",
			ErrFormat, t.Name, t.Shape, have, elems)
	}
	return nil
}

// readable says whether the values are there and of one of the types.
func (t *Tensor) readable(types ...DataType) error {
	if !slices.Contains(types, t.Type) {
		return fmt.Errorf("%w: tensor %.100q is %v; here it may be %v", engine.ErrUnsupported, t.Name, t.Type, types)
	}
	if t.external {
		return fmt.Errorf("%w: tensor %.100q keeps its values in another file; save the model with them inside",
			engine.ErrUnsupported, t.Name)
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

// Host is a copy of a tensor of one of the types that package engine has.
func (t *Tensor) Host() (*engine.Tensor, error) {
	if err := t.readable(Float, Float16, Int8, Uint8, Int32); err != nil {
		return nil, err
	}
	host, err := engine.NewTensor(hostTypes[t.Type], t.Shape...)
	if err != nil {
		return nil, err
	}
	to := host.Bytes()
	switch width := storage[t.Type].bytes; {
	case t.raw != nil && width == 1:
		copy(to, t.raw)
	case t.raw != nil && width == 2:
		for i := 0; i < len(to); i += 2 {
			binary.NativeEndian.PutUint16(to[i:], binary.LittleEndian.Uint16(t.raw[i:]))
		}
	case t.raw != nil:
		for i := 0; i < len(to); i += 4 {
			binary.NativeEndian.PutUint32(to[i:], binary.LittleEndian.Uint32(t.raw[i:]))
		}
	case t.Type == Float:
		copy(host.Float32s(), t.floats)
	case width == 1:
		for i, v := range t.small {
			to[i] = byte(v)
		}
	case width == 2:
		for i, v := range t.small {
			binary.NativeEndian.PutUint16(to[2*i:], uint16(v))
		}
	default:
		for i, v := range t.small {
			host.Int32s()[i] = int32(v)
		}
	}
	return host, nil
}

// appendFloats decodes little-endian elements.
func appendFloats(to []float32, b []byte) []float32 {
	for ; len(b) >= 4; b = b[4:] {
		to = append(to, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return to
}
