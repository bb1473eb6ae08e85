package tensorio

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"

	"github.com/x448/float16"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// littleEndian says whether this machine keeps the low byte first, as the files do that are written.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// descrs are what files call the types of tensors.
var descrs = map[problem.DataType]string{problem.F32: "<f4", problem.F16: "<f2", problem.S8: "|i1", problem.U8: "|u1", problem.S32: "<i4"}

// element is an element type of files.
type element struct {
	size   int
	typ    problem.DataType // of a tensor that takes the elements best
	stored bool             // the tensor has the same elements
	// number is an element. Those that float64 cannot express are rounded to odd, so that rounding once more to f32 or
	// f16 is the same as rounding once.
	number func(raw []byte, order binary.ByteOrder) float64
}

var elements = map[string]element{
	"f2": {2, problem.F16, true, func(b []byte, o binary.ByteOrder) float64 { return float64(float16.Frombits(o.Uint16(b)).Float32()) }},
	"f4": {4, problem.F32, true, func(b []byte, o binary.ByteOrder) float64 { return float64(math.Float32frombits(o.Uint32(b))) }},
	"f8": {8, problem.F32, false, func(b []byte, o binary.ByteOrder) float64 { return math.Float64frombits(o.Uint64(b)) }},
	"b1": {1, problem.U8, false, func(b []byte, _ binary.ByteOrder) float64 { return float64(min(1, b[0])) }},
	"i1": {1, problem.S8, true, func(b []byte, _ binary.ByteOrder) float64 { return float64(int8(b[0])) }},
	"u1": {1, problem.U8, true, func(b []byte, _ binary.ByteOrder) float64 { return float64(b[0]) }},
	"i2": {2, problem.S32, false, func(b []byte, o binary.ByteOrder) float64 { return float64(int16(o.Uint16(b))) }},
	"u2": {2, problem.S32, false, func(b []byte, o binary.ByteOrder) float64 { return float64(o.Uint16(b)) }},
	"i4": {4, problem.S32, true, func(b []byte, o binary.ByteOrder) float64 { return float64(int32(o.Uint32(b))) }},
	"u4": {4, problem.S32, false, func(b []byte, o binary.ByteOrder) float64 { return float64(o.Uint32(b)) }},
	"i8": {8, problem.S32, false, func(b []byte, o binary.ByteOrder) float64 {
		if v := int64(o.Uint64(b)); v < 0 {
			return -odd(uint64(-v))
		}
		return odd(o.Uint64(b))
	}},
	"u8": {8, problem.S32, false, func(b []byte, o binary.ByteOrder) float64 { return odd(o.Uint64(b)) }},
}

// odd is v as float64, rounded to odd: cut off, and the last bit set if anything was lost.
func odd(v uint64) float64 {
	lost := max(0, bits.Len64(v)-53)
	kept := v >> lost
	if kept<<lost != v {
		kept |= 1
	}
	return math.Ldexp(float64(kept), lost)
}

// odd32 is v as float32, rounded to odd.
func odd32(v float64) float32 {
	f := float32(v)
	if float64(f) == v || v != v {
		return f
	}
	b := math.Float32bits(f)
	if math.Abs(float64(f)) > math.Abs(v) {
		b-- // towards zero
	}
	return math.Float32frombits(b | 1)
}

// elementOf finds the element type of a descr such as "<f4".
func elementOf(descr string) (element, binary.ByteOrder, error) {
	e, ok := elements[descr[1:]]
	if !ok || (descr[0] == '|') != (e.size == 1) {
		return element{}, nil, fmt.Errorf("%w: elements of type %q; bool, float16 to float64 and integers are understood: %s", ErrFormat, descr, saved)
	}
	if descr[0] == '>' {
		return e, binary.BigEndian, nil
	}
	return e, binary.LittleEndian, nil
}

// readStored reads the elements of a tensor as they are.
func readStored(r io.Reader, t *engine.Tensor, order binary.ByteOrder) error {
	if _, err := io.ReadFull(r, t.Bytes()); err != nil {
		return fmt.Errorf("%w: elements: %w", ErrFormat, err)
	}
	if (order == binary.LittleEndian) != littleEndian {
		swap(t.Bytes(), t.Type().Size())
	}
	return nil
}

// swap reverses the bytes of each element of the size.
func swap(b []byte, size int) {
	for ; len(b) > 0; b = b[size:] {
		slices.Reverse(b[:size])
	}
}

// readConverted reads the elements of a tensor from others.
func readConverted(r io.Reader, t *engine.Tensor, e element, order binary.ByteOrder) error {
	n, set := int(problem.Elems(t.Shape())), setter(t)
	raw := make([]byte, min(chunk, n*e.size))
	for i := 0; i < n; {
		part := raw[:min(len(raw), (n-i)*e.size)]
		if _, err := io.ReadFull(r, part); err != nil {
			return fmt.Errorf("%w: elements: %w", ErrFormat, err)
		}
		for ; len(part) > 0; part = part[e.size:] {
			if v := e.number(part, order); !set(i, v) {
				return notWhole(int64(i), v, t.Type())
			}
			i++
		}
	}
	return nil
}

// ranges are the numbers that integer types hold.
var ranges = map[problem.DataType][2]float64{
	problem.S8: {math.MinInt8, math.MaxInt8}, problem.U8: {0, math.MaxUint8}, problem.S32: {math.MinInt32, math.MaxInt32},
}

// notWhole is the error of a number that an integer type does not hold.
func notWhole(i int64, v float64, typ problem.DataType) error {
	return fmt.Errorf("%w: element %d is %g and %v holds whole numbers from %.0f to %.0f: convert the file, or choose another type",
		ErrFormat, i, v, typ, ranges[typ][0], ranges[typ][1])
}

// setter returns what sets an element of a tensor: f32 and f16 to the nearest number, integers to the number itself or,
// which it tells, to nothing of use.
func setter(t *engine.Tensor) func(i int, v float64) bool {
	b := t.Bytes()
	least, most := ranges[t.Type()][0], ranges[t.Type()][1]
	whole := func(v float64) bool { return v == math.Trunc(v) && v >= least && v <= most }
	switch t.Type() {
	case problem.F16:
		return func(i int, v float64) bool {
			binary.NativeEndian.PutUint16(b[2*i:], float16.Fromfloat32(odd32(v)).Bits())
			return true
		}
	case problem.S8:
		return func(i int, v float64) bool {
			b[i] = byte(int8(v))
			return whole(v)
		}
	case problem.U8:
		return func(i int, v float64) bool {
			b[i] = byte(v)
			return whole(v)
		}
	case problem.S32:
		data := t.Int32s()
		return func(i int, v float64) bool {
			data[i] = int32(v)
			return whole(v)
		}
	}
	data := t.Float32s()
	return func(i int, v float64) bool {
		data[i] = float32(v)
		return true
	}
}

// as is a tensor with its elements converted to the type.
func as(t *engine.Tensor, typ problem.DataType) (*engine.Tensor, error) {
	if t.Type() == typ {
		return t, nil
	}
	out, err := engine.NewTensor(typ, t.Shape()...)
	if err != nil {
		return nil, err
	}
	set := setter(out)
	for i, v := range t.Widen() {
		if !set(i, float64(v)) {
			return nil, notWhole(int64(i), float64(v), typ)
		}
	}
	return out, nil
}
