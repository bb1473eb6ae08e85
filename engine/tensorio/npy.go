package tensorio

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sbinet/npyio/npy"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

const (
	maxHeader = 1 << 16 // bytes; numpy's own headers of plain arrays have some hundred at most
	maxRank   = 64      // numpy's

	numpyAlign = 64      // bytes that elements begin with a multiple of
	chunk      = 1 << 16 // bytes converted at a time; a multiple of every element size
)

// saved tells how to make a file that is understood.
const saved = `save it with numpy.save("x.npy", numpy.ascontiguousarray(a))`

// plainHeader is the header that numpy writes for arrays of plain numbers. The npy package finds the fields by their
// distance from each other and trusts them: it must see nothing else.
var plainHeader = regexp.MustCompile(`^\{'descr': '[<>|=][a-zA-Z][0-9]+', 'fortran_order': (True|False), ` +
	`'shape': \((-?[0-9]+, )*(-?[0-9]+,?)?\), \} *\n$`)

// npyInfo is what the header of an array says, checked against the size of the file.
type npyInfo struct {
	elem    element
	order   binary.ByteOrder
	shape   []int
	fortran bool  // the first index runs fastest, and that makes a difference
	data    int64 // bytes before the elements
}

// readInfo reads the header of a file of the size.
func readInfo(r io.Reader, size int64) (i npyInfo, err error) {
	h, used, err := readHeader(r, size)
	if err != nil {
		return i, err
	}
	if i.elem, i.order, err = elementOf(h.Descr.Type); err != nil {
		return i, err
	}
	n, err := count(h.Descr.Shape)
	if err != nil {
		return i, err
	}
	elem := int64(i.elem.size)
	switch rest := size - used; {
	case n > rest/elem:
		return i, fmt.Errorf("%w: the header promises %d elements of %d bytes, the file has %d bytes for them: it is cut short; copy it again",
			ErrFormat, n, elem, rest)
	case n*elem < rest:
		return i, fmt.Errorf("%w: %d bytes are left over after %d elements of %d bytes: the header does not fit the data; %s",
			ErrFormat, rest-n*elem, n, elem, saved)
	}
	i.shape, i.data = h.Descr.Shape, used
	i.fortran = h.Descr.Fortran && len(i.shape) > 1
	return i, nil
}

// readNPY reads an array from a file of the size as elements of the type.
func readNPY(r io.Reader, size int64, typ problem.DataType) (*engine.Tensor, error) {
	h, err := readInfo(r, size)
	if err != nil {
		return nil, err
	}
	t, err := engine.NewTensor(typ, h.shape...)
	if err != nil {
		return nil, err
	}
	into := t
	if h.fortran {
		if into, err = engine.NewTensor(typ, h.shape...); err != nil {
			return nil, err
		}
	}
	if h.elem.typ == typ && h.elem.stored {
		err = readStored(r, into, h.order)
	} else {
		err = readConverted(r, into, h.elem, h.order)
	}
	if err != nil {
		return nil, err
	}
	if h.fortran {
		transpose(t.Bytes(), into.Bytes(), h.shape, typ.Size())
	}
	return t, nil
}

// readHeader reads what stands before the elements and says how many bytes that was.
func readHeader(r io.Reader, size int64) (npy.Header, int64, error) {
	bad := func(format string, args ...any) (npy.Header, int64, error) {
		return npy.Header{}, 0, fmt.Errorf("%w: %s; %s", ErrFormat, fmt.Sprintf(format, args...), saved)
	}
	head := make([]byte, 12) // magic, version, header length: 2 bytes in version 1, 4 in version 2
	switch _, err := io.ReadFull(r, head[:10]); {
	case err == nil && strings.HasPrefix(incomplete, string(head[:10])):
		return npy.Header{}, 0, fmt.Errorf("%w: the array is not complete; run the command that writes it once more", ErrFormat)
	case err != nil || !bytes.Equal(head[:6], npy.Magic[:]):
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

// transpose brings elements of the size from Fortran order, first index fastest, to C order.
func transpose(dst, src []byte, shape []int, size int) {
	strides := make([]int, len(shape)) // in src
	n := size
	for i, d := range shape {
		strides[i] = n
		n *= d
	}
	index := make([]int, len(shape))
	from := 0
	for to := 0; to < len(dst); to += size {
		copy(dst[to:to+size], src[from:])
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
	if _, err := w.Write(npyHeader(t.Type(), t.Shape(), numpyAlign)); err != nil {
		return err
	}
	if littleEndian || t.Type().Size() == 1 {
		_, err := w.Write(t.Bytes())
		return err
	}
	for part := range slices.Chunk(t.Bytes(), chunk) {
		part = slices.Clone(part)
		swap(part, t.Type().Size())
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// npyHeader is the header of an array in version 1, padded so that the elements start at a multiple of align.
func npyHeader(typ problem.DataType, shape []int, align int) []byte {
	sizes := make([]string, len(shape))
	for i, d := range shape {
		sizes[i] = strconv.Itoa(d)
	}
	tuple := strings.Join(sizes, ", ")
	if len(shape) == 1 {
		tuple += ","
	}
	text := "{'descr': '" + descrs[typ] + "', 'fortran_order': False, 'shape': (" + tuple + "), }"
	// numpy leaves room for the first size to grow to 21 digits.
	if len(shape) > 0 {
		text += strings.Repeat(" ", max(0, 21-len(sizes[0])))
	}
	text += strings.Repeat(" ", align-(10+len(text)+1)%align) + "\n"
	head := append([]byte(nil), npy.Magic[:]...)
	head = append(head, 1, 0)
	head = binary.LittleEndian.AppendUint16(head, uint16(len(text)))
	return append(head, text...)
}

// boxesHeader is the header of an array that is written in boxes: the elements of a large one begin with a page, so that the disk
// can take them from where they are.
func boxesHeader(typ problem.DataType, shape []int) []byte {
	if problem.Elems(shape)*int64(typ.Size()) < large {
		return npyHeader(typ, shape, numpyAlign)
	}
	return npyHeader(typ, shape, page)
}
