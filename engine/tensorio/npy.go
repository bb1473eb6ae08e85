package tensorio

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/sbinet/npyio/npy"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

const (
	maxHeader = 1 << 16 // bytes; numpy's own headers of plain arrays have some hundred at most
	maxRank   = 64      // numpy's
	chunk     = 1 << 16 // bytes converted at a time; a multiple of every element size
)

// saved tells how to make a file that is understood.
const saved = `save it with numpy.save("x.npy", numpy.ascontiguousarray(a, dtype=numpy.float32))`

// plainHeader is the header that numpy writes for arrays of plain numbers. The npy package finds the fields by their
// distance from each other and trusts them: it must see nothing else.
var plainHeader = regexp.MustCompile(`^\{'descr': '[<>|=][a-zA-Z][0-9]+', 'fortran_order': (True|False), ` +
	`'shape': \((-?[0-9]+, )*(-?[0-9]+,?)?\), \} *\n$`)

// readNPY reads an array from a file of the size.
func readNPY(r io.Reader, size int64) (*engine.Tensor, error) {
	h, used, err := readHeader(r, size)
	if err != nil {
		return nil, err
	}
	elem, order, err := element(h.Descr.Type)
	if err != nil {
		return nil, err
	}
	n, err := count(h.Descr.Shape)
	if err != nil {
		return nil, err
	}
	switch rest := size - used; {
	case n > rest/int64(elem.size):
		return nil, fmt.Errorf("%w: the header promises %d elements of %d bytes, the file has %d bytes for them: it is cut short; copy it again",
			ErrFormat, n, elem.size, rest)
	case n*int64(elem.size) < rest:
		return nil, fmt.Errorf("%w: %d bytes are left over after %d elements of %d bytes: the header does not fit the data; %s",
			ErrFormat, rest-n*int64(elem.size), n, elem.size, saved)
	}
	t, err := engine.NewTensor(problem.F32, h.Descr.Shape...)
	if err != nil {
		return nil, err
	}
	data := t.Float32s()
	if h.Descr.Fortran && len(h.Descr.Shape) > 1 {
		data = make([]float32, len(data))
	}
	raw := make([]byte, min(chunk, len(data)*elem.size))
	for rest := data; len(rest) > 0; {
		part := rest[:min(len(rest), chunk/elem.size)]
		if _, err := io.ReadFull(r, raw[:len(part)*elem.size]); err != nil {
			return nil, fmt.Errorf("%w: elements: %w", ErrFormat, err)
		}
		elem.convert(part, raw, order)
		rest = rest[len(part):]
	}
	if h.Descr.Fortran && len(h.Descr.Shape) > 1 {
		transpose(t.Float32s(), data, h.Descr.Shape)
	}
	return t, nil
}

// readHeader reads what stands before the elements and says how many bytes that was.
func readHeader(r io.Reader, size int64) (npy.Header, int64, error) {
	bad := func(format string, args ...any) (npy.Header, int64, error) {
		return npy.Header{}, 0, fmt.Errorf("%w: %s; %s", ErrFormat, fmt.Sprintf(format, args...), saved)
	}
	head := make([]byte, 12) // magic, version, header length: 2 bytes in version 1, 4 in version 2
	if _, err := io.ReadFull(r, head[:10]); err != nil || !bytes.Equal(head[:6], npy.Magic[:]) {
		return bad("not a .npy array")
	}
	used, length := int64(10), int64(binary.LittleEndian.Uint16(head[8:]))
	switch head[6] {
	case 1:
		head = head[:10]
	case 2:
		if _, err := io.ReadFull(r, head[10:]); err != nil {
			return bad("cut short in the header")
		}
		used, length = 12, int64(binary.LittleEndian.Uint32(head[8:]))
	default:
		return bad("version %d of the .npy format is not understood", head[6])
	}
	if length > maxHeader || length > size-used {
		return bad("a header of %d bytes in a file of %d", length, size)
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(r, text); err != nil {
		return bad("cut short in the header")
	}
	if !plainHeader.Match(text) {
		return bad("the header %.120q is not that of an array of plain numbers", bytes.TrimRight(text, " \n"))
	}
	parsed, err := npy.NewReader(bytes.NewReader(append(head, text...)))
	if err != nil {
		return bad("header: %v", err)
	}
	return parsed.Header, used + length, nil
}

// kind is an element type.
type kind struct {
	size    int
	convert func(dst []float32, raw []byte, order binary.ByteOrder)
}

var kinds = map[string]kind{
	"f4": {4, func(d []float32, b []byte, o binary.ByteOrder) {
		for i := range d {
			d[i] = math.Float32frombits(o.Uint32(b[4*i:]))
		}
	}},
	"f8": {8, func(d []float32, b []byte, o binary.ByteOrder) {
		for i := range d {
			d[i] = float32(math.Float64frombits(o.Uint64(b[8*i:])))
		}
	}},
	"i1": {1, func(d []float32, b []byte, _ binary.ByteOrder) {
		for i := range d {
			d[i] = float32(int8(b[i]))
		}
	}},
	"u1": {1, func(d []float32, b []byte, _ binary.ByteOrder) {
		for i := range d {
			d[i] = float32(b[i])
		}
	}},
	"i2": {2, func(d []float32, b []byte, o binary.ByteOrder) {
		for i := range d {
			d[i] = float32(int16(o.Uint16(b[2*i:])))
		}
	}},
	"u2": {2, func(d []float32, b []byte, o binary.ByteOrder) {
		for i := range d {
			d[i] = float32(o.Uint16(b[2*i:]))
		}
	}},
	"i4": {4, func(d []float32, b []byte, o binary.ByteOrder) {
		for i := range d {
			d[i] = float32(int32(o.Uint32(b[4*i:])))
		}
	}},
	"u4": {4, func(d []float32, b []byte, o binary.ByteOrder) {
		for i := range d {
			d[i] = float32(o.Uint32(b[4*i:]))
		}
	}},
	"i8": {8, func(d []float32, b []byte, o binary.ByteOrder) {
		for i := range d {
			d[i] = float32(int64(o.Uint64(b[8*i:])))
		}
	}},
	"u8": {8, func(d []float32, b []byte, o binary.ByteOrder) {
		for i := range d {
			d[i] = float32(o.Uint64(b[8*i:]))
		}
	}},
}

// element finds the type of a descr such as "<f4".
func element(descr string) (kind, binary.ByteOrder, error) {
	k, ok := kinds[descr[1:]]
	if !ok || (descr[0] == '|') != (k.size == 1) {
		return kind{}, nil, fmt.Errorf("%w: elements of type %q; float32, float64 and integers are understood: %s", ErrFormat, descr, saved)
	}
	if descr[0] == '>' {
		return k, binary.BigEndian, nil
	}
	return k, binary.LittleEndian, nil
}

// count is the number of elements of a shape from a file.
func count(shape []int) (int64, error) {
	if len(shape) > maxRank {
		return 0, fmt.Errorf("%w: %d dimensions; up to %d are possible", ErrFormat, len(shape), maxRank)
	}
	n := int64(1)
	for _, d := range shape {
		if d < 0 || d > 0 && n > math.MaxInt64/8/int64(d) {
			return 0, fmt.Errorf("%w: shape %v is negative or too large; %s", ErrFormat, shape, saved)
		}
		n *= int64(d)
	}
	return n, nil
}

// transpose brings elements from Fortran order, first index fastest, to C order.
func transpose(dst, src []float32, shape []int) {
	strides := make([]int, len(shape)) // in src
	n := 1
	for i, d := range shape {
		strides[i] = n
		n *= d
	}
	index := make([]int, len(shape))
	from := 0
	for to := range dst {
		dst[to] = src[from]
		for i := len(shape) - 1; i >= 0; i-- {
			index[i]++
			from += strides[i]
			if index[i] < shape[i] {
				break
			}
			from -= index[i] * strides[i]
			index[i] = 0
		}
	}
}

// writeNPY writes the bytes that numpy.save would.
func writeNPY(w io.Writer, t *engine.Tensor) error {
	if _, err := w.Write(npyHeader(t.Shape())); err != nil {
		return err
	}
	raw := make([]byte, 0, chunk)
	for data := t.Float32s(); len(data) > 0; {
		part := data[:min(len(data), chunk/4)]
		raw = raw[:0]
		for _, v := range part {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
		if _, err := w.Write(raw); err != nil {
			return err
		}
		data = data[len(part):]
	}
	return nil
}

// npyHeader is the header of a float32 array in version 1, padded so that the elements start at a multiple of 64.
func npyHeader(shape []int) []byte {
	sizes := make([]string, len(shape))
	for i, d := range shape {
		sizes[i] = strconv.Itoa(d)
	}
	tuple := strings.Join(sizes, ", ")
	if len(shape) == 1 {
		tuple += ","
	}
	text := "{'descr': '<f4', 'fortran_order': False, 'shape': (" + tuple + "), }"
	// numpy leaves room for the first size to grow to 21 digits.
	if len(shape) > 0 {
		text += strings.Repeat(" ", max(0, 21-len(sizes[0])))
	}
	text += strings.Repeat(" ", 64-(10+len(text)+1)%64) + "\n"
	head := append([]byte(nil), npy.Magic[:]...)
	head = append(head, 1, 0)
	head = binary.LittleEndian.AppendUint16(head, uint16(len(text)))
	return append(head, text...)
}
