package engine

import (
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// Tensor is an array in host memory: [N, C, spatial…], or any other shape, flat in row-major order.
type Tensor struct {
	shape []int
	typ   problem.DataType
	data  []byte
}

// NewTensor makes a tensor of zeros.
func NewTensor(typ problem.DataType, shape ...int) (*Tensor, error) {
	bytes, err := sizeOf(typ, shape)
	if err != nil {
		return nil, err
	}
	if bytes > math.MaxInt-7 {
		return nil, fmt.Errorf("%w: a tensor of shape %v does not fit this machine's address space", ErrOutOfMemory, shape)
	}
	// Made of words, so that every element type is aligned.
	words := make([]uint64, (bytes+7)/8)
	return &Tensor{slices.Clone(shape), typ, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), bytes)}, nil
}

// FromFloat32 makes a tensor of the data without copying it.
func FromFloat32(data []float32, shape ...int) (*Tensor, error) {
	bytes, err := sizeOf(problem.F32, shape)
	if err != nil {
		return nil, err
	}
	if bytes != 4*int64(len(data)) {
		return nil, fmt.Errorf("%w: shape %v has %d elements, the data %d", ErrInvalid, shape, bytes/4, len(data))
	}
	return &Tensor{slices.Clone(shape), problem.F32, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(data))), bytes)}, nil
}

// sizeOf is the bytes of a shape, checked.
func sizeOf(typ problem.DataType, shape []int) (int64, error) {
	n := int64(typ.Size())
	for _, d := range shape {
		if d < 0 || (d > 0 && n > math.MaxInt64/8/int64(d)) {
			return 0, fmt.Errorf("%w: shape %v is negative or too large", ErrInvalid, shape)
		}
		n *= int64(d)
	}
	return n, nil
}

// Shape is the sizes, outermost first. It must not be changed.
func (t *Tensor) Shape() []int { return t.shape }

// Type is the type of the elements.
func (t *Tensor) Type() problem.DataType { return t.typ }

// Bytes is the memory itself.
func (t *Tensor) Bytes() []byte { return t.data }

// Float32s is the memory as float32 elements; nil for other types.
func (t *Tensor) Float32s() []float32 {
	if t == nil || t.typ != problem.F32 || len(t.data) == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(t.data))), len(t.data)/4)
}
