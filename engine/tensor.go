package engine

import (
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/x448/float16"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/machine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// Tensor is an array in host memory: [N, C, spatial…], or any other shape, flat in row-major order.
type Tensor struct {
	shape []int
	typ   problem.DataType
	data  []byte
}

// NewTensor makes a tensor of zeros. One that is larger than the machine's memory is an error that wraps ErrOutOfMemory.
func NewTensor(typ problem.DataType, shape ...int) (*Tensor, error) {
	bytes, err := sizeOf(typ, shape)
	if err != nil {
		return nil, err
	}
	if bytes > surelyThere {
		if most := min(machine.LargestAllocation(), math.MaxInt-7); bytes > most {
			return nil, fmt.Errorf("%w: a tensor of shape %v and type %v takes %d bytes, the machine has %d at most: cut it into parts",
				ErrOutOfMemory, shape, typ, bytes, most)
		}
	}
	return &Tensor{slices.Clone(shape), typ, machine.Alloc(bytes)}, nil // of words: every element type is aligned
}

// surelyThere is memory that is taken without asking how much there is, in bytes.
const surelyThere = 1 << 20

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

// Reshape is a tensor of the same memory with another shape of as many elements.
func (t *Tensor) Reshape(shape ...int) (*Tensor, error) {
	bytes, err := sizeOf(t.typ, shape)
	if err != nil {
		return nil, err
	}
	if bytes != int64(len(t.data)) {
		return nil, fmt.Errorf("%w: shape %v has %d elements, %v has %d", ErrInvalid, shape, bytes/int64(t.typ.Size()), t.shape, len(t.data)/t.typ.Size())
	}
	return &Tensor{slices.Clone(shape), t.typ, t.data}, nil
}

// Within is a tensor of any type and shape in the beginning of the same memory, which must be large enough.
func (t *Tensor) Within(typ problem.DataType, shape ...int) (*Tensor, error) {
	bytes, err := sizeOf(typ, shape)
	if err != nil {
		return nil, err
	}
	if bytes > int64(len(t.data)) {
		return nil, fmt.Errorf("%w: %v of type %v takes %d bytes, there are %d", ErrInvalid, shape, typ, bytes, len(t.data))
	}
	return &Tensor{slices.Clone(shape), typ, t.data[:bytes]}, nil
}

// Type is the type of the elements.
func (t *Tensor) Type() problem.DataType { return t.typ }

// Bytes is the memory itself.
func (t *Tensor) Bytes() []byte { return t.data }

// Float32s is the memory as float32 elements; nil for other types.
func (t *Tensor) Float32s() []float32 {
	if t == nil || t.typ != problem.F32 || len(t.data) == 0 {
		return nil
	}
	return elements[float32](t)
}

// Int32s is the memory as int32 elements; nil for other types.
func (t *Tensor) Int32s() []int32 {
	if t == nil || t.typ != problem.S32 || len(t.data) == 0 {
		return nil
	}
	return elements[int32](t)
}

// elements is the memory as elements of T.
func elements[T any](t *Tensor) []T {
	var zero T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(t.data))), len(t.data)/int(unsafe.Sizeof(zero)))
}

// words is the memory rounded up to whole 4-byte words, which is what drivers copy. Every tensor has them.
func (t *Tensor) words() []byte { return t.data[: (len(t.data)+3)&^3 : (len(t.data)+3)&^3] }

// Widen returns the elements as float32, which is exact for every type but s32; f32 elements are not copied.
func (t *Tensor) Widen() []float32 {
	switch t.typ {
	case problem.F32:
		return t.Float32s()
	case problem.F16:
		return convert(elements[float16.Float16](t), float16.Float16.Float32)
	case problem.S8:
		return convert(elements[int8](t), func(v int8) float32 { return float32(v) })
	case problem.U8:
		return convert(t.data, func(v uint8) float32 { return float32(v) })
	}
	return convert(elements[int32](t), func(v int32) float32 { return float32(v) })
}

// Narrow sets the elements to the values, rounded to the tensor's type: f16 to nearest, ties to even; integers likewise,
// and what lies outside their range is cut off at its end. NaN becomes 0 in an integer.
func (t *Tensor) Narrow(values []float32) error {
	if n := len(t.data) / t.typ.Size(); len(values) != n {
		return fmt.Errorf("%w: %d values for a tensor of %d elements", ErrInvalid, len(values), n)
	}
	switch t.typ {
	case problem.F32:
		copy(t.Float32s(), values)
	case problem.F16:
		set(elements[float16.Float16](t), values, float16.Fromfloat32)
	case problem.S8:
		set(elements[int8](t), values, func(v float32) int8 { return int8(integer(v, math.MinInt8, math.MaxInt8)) })
	case problem.U8:
		set(t.data, values, func(v float32) uint8 { return uint8(integer(v, 0, math.MaxUint8)) })
	case problem.S32:
		set(elements[int32](t), values, func(v float32) int32 { return int32(integer(v, math.MinInt32, math.MaxInt32)) })
	}
	return nil
}

func integer(v float32, least, most float64) int64 {
	if v != v {
		return 0
	}
	return int64(min(max(math.RoundToEven(float64(v)), least), most))
}

func convert[T any](from []T, to func(T) float32) []float32 {
	out := make([]float32, len(from))
	for i, v := range from {
		out[i] = to(v)
	}
	return out
}

func set[T any](to []T, from []float32, by func(float32) T) {
	for i, v := range from {
		to[i] = by(v)
	}
}

// Operand is the tensor as an oracle reads it.
func (t *Tensor) Operand() driver.Operand {
	if t == nil {
		return driver.Operand{}
	}
	if t.typ == problem.S32 {
		return driver.Operand{I32: t.Int32s()}
	}
	return driver.Operand{F32: t.Widen()}
}
