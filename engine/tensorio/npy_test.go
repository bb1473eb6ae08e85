package tensorio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sbinet/npyio/npy"

	"github.com/gonvolve/gonvolve/engine"
)

// array is a version 1 file with the header as written and the data.
func array(header string, data ...byte) []byte {
	b := append([]byte("\x93NUMPY\x01\x00"), 0, 0)
	binary.LittleEndian.PutUint16(b[8:], uint16(len(header)+1))
	return append(append(b, header+"\n"...), data...)
}

func header(descr, order, shape string) string {
	return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }"
}

func tensor(t *testing.T, data []float32, shape ...int) *engine.Tensor {
	t.Helper()
	v, err := engine.FromFloat32(data, shape...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// oneLine checks an error as users must see it.
func oneLine(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q; want one line that wraps %q", err, want)
	}
}

func same(t *testing.T, got *engine.Tensor, want []float32, shape ...int) {
	t.Helper()
	if !slices.Equal(got.Shape(), shape) {
		t.Errorf("shape %v; want %v", got.Shape(), shape)
	}
	if !slices.EqualFunc(got.Float32s(), want, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
		t.Errorf("elements %v; want %v", got.Float32s(), want)
	}
}

func TestNPYRoundTrip(t *testing.T) {
	special := []float32{0, float32(math.Copysign(0, -1)), 1.5, float32(math.Inf(-1)), math.Float32frombits(0x7fc0dead), math.SmallestNonzeroFloat32}
	large := make([]float32, 3*chunk/4+7)
	for i := range large {
		large[i] = float32(i)
	}
	for _, c := range []struct {
		data  []float32
		shape []int
	}{
		{special, []int{6}}, {special, []int{1, 2, 3}}, {special[:1], nil}, {nil, []int{0}}, {nil, []int{2, 0, 3}},
		{large, []int{len(large)}}, {special, []int{1, 1, 1, 1, 1, 3, 2}},
	} {
		path := filepath.Join(t.TempDir(), "x.NPY")
		if err := Write(path, tensor(t, c.data, c.shape...), Options{}); err != nil {
			t.Fatal(err)
		}
		got, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, c.data, c.shape...)
		if st, err := os.Stat(path); err != nil || (st.Size()-int64(4*len(c.data)))%64 != 0 {
			t.Errorf("shape %v: file of %d bytes, the elements do not start at a multiple of 64", c.shape, st.Size())
		}
	}
}

// The npy package reads what this one writes, and this one reads what that one writes.
func TestNPYAgreesWithOtherImplementation(t *testing.T) {
	var b bytes.Buffer
	if err := writeNPY(&b, tensor(t, []float32{1, 2, 3, 4, 5, 6}, 2, 3)); err != nil {
		t.Fatal(err)
	}
	r, err := npy.NewReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	var data []float32
	if err := r.Read(&data); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.Header.Descr.Shape, []int{2, 3}) || r.Header.Descr.Type != "<f4" || !slices.Equal(data, []float32{1, 2, 3, 4, 5, 6}) {
		t.Errorf("header %+v, data %v", r.Header, data)
	}
	b.Reset()
	if err := npy.Write(&b, [3][2]int16{{1, -2}, {3, 4}, {5, -6}}); err != nil {
		t.Fatal(err)
	}
	got, err := readNPY(&b, int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, []float32{1, -2, 3, 4, 5, -6}, 3, 2)
}

// What numpy 1.24 wrote for numpy.arange(6, dtype='f4').reshape(2, 3).
func TestNPYIsNumpys(t *testing.T) {
	want := "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }" + strings.Repeat(" ", 58) + "\n" +
		"\x00\x00\x00\x00\x00\x00\x80\x3f\x00\x00\x00\x40\x00\x00\x40\x40\x00\x00\x80\x40\x00\x00\xa0\x40"
	var b bytes.Buffer
	if err := writeNPY(&b, tensor(t, []float32{0, 1, 2, 3, 4, 5}, 2, 3)); err != nil {
		t.Fatal(err)
	}
	if b.String() != want {
		t.Errorf("wrote %q\n want %q", b.String(), want)
	}
}

func TestNPYTypes(t *testing.T) {
	le, be := binary.LittleEndian, binary.BigEndian
	for _, c := range []struct {
		descr string
		raw   []byte
		want  float32
	}{
		{"<f4", le.AppendUint32(nil, math.Float32bits(-1.25)), -1.25},
		{">f4", be.AppendUint32(nil, math.Float32bits(-1.25)), -1.25},
		{"<f8", le.AppendUint64(nil, math.Float64bits(0.1)), 0.1},
		{">f8", be.AppendUint64(nil, math.Float64bits(1e300)), float32(math.Inf(1))},
		{"|i1", []byte{0x80}, -128}, {"|u1", []byte{0x80}, 128},
		{"<i2", []byte{0xfe, 0xff}, -2}, {">i2", []byte{0xff, 0xfe}, -2}, {"<u2", []byte{0xfe, 0xff}, 65534},
		{"<i4", le.AppendUint32(nil, 0xffffffff), -1}, {"<u4", le.AppendUint32(nil, 0xffffffff), 1 << 32},
		{"<i4", le.AppendUint32(nil, 1<<24+1), 1 << 24}, // ties to even
		{">i8", be.AppendUint64(nil, math.MaxUint64-4), -5}, {"<u8", le.AppendUint64(nil, 1<<63), 1 << 63},
	} {
		file := array(header(c.descr, "False", "(1,)"), c.raw...)
		got, err := readNPY(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Errorf("%s: %v", c.descr, err)
			continue
		}
		same(t, got, []float32{c.want}, 1)
	}
}

func TestNPYFortranOrder(t *testing.T) {
	// Element [i][j][k] is 100i + 10j + k; the first index runs fastest.
	var raw []byte
	for k := range 4 {
		for j := range 3 {
			for i := range 2 {
				raw = append(raw, byte(100*i+10*j+k))
			}
		}
	}
	file := array(header("|u1", "True", "(2, 3, 4)"), raw...)
	got, err := readNPY(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	var want []float32
	for i := range 2 {
		for j := range 3 {
			for k := range 4 {
				want = append(want, float32(100*i+10*j+k))
			}
		}
	}
	same(t, got, want, 2, 3, 4)
	file = array(header("|u1", "True", "(2, 0, 4)"))
	if got, err = readNPY(bytes.NewReader(file), int64(len(file))); err != nil {
		t.Fatal(err)
	}
	same(t, got, nil, 2, 0, 4)
}

func TestNPYVersion2(t *testing.T) {
	h := header("|u1", "False", "(2,)") + "\n"
	file := append([]byte("\x93NUMPY\x02\x00"), binary.LittleEndian.AppendUint32(nil, uint32(len(h)))...)
	file = append(append(file, h...), 7, 8)
	got, err := readNPY(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, []float32{7, 8}, 2)
}

func TestNPYHostile(t *testing.T) {
	ok := array(header("<f4", "False", "(2,)"), make([]byte, 8)...)
	v2 := append([]byte("\x93NUMPY\x02\x00\xff\xff\xff\xff"), ok[10:]...)
	for name, file := range map[string][]byte{
		"empty":            nil,
		"magic only":       ok[:6],
		"no NumPy file":    []byte("PK\x03\x04 this is an archive"),
		"cut in header":    ok[:30],
		"cut in data":      ok[:len(ok)-1],
		"too much data":    append(bytes.Clone(ok), 0),
		"version 3":        append([]byte("\x93NUMPY\x03\x00"), ok[8:]...),
		"version 2 cut":    []byte("\x93NUMPY\x02\x00\x00\x00\x00"),
		"4 GiB header":     v2,
		"promises 4 TiB":   array(header("<f4", "False", "(1048576, 1048576)"), make([]byte, 8)...),
		"overflow":         array(header("<f4", "False", "(4611686018427387904, 4)")),
		"overflow to 0":    array(header("<f4", "False", "(4294967296, 4294967296)")),
		"no such number":   array(header("<f4", "False", "(99999999999999999999,)")),
		"negative":         array(header("<f4", "False", "(-1,)")),
		"two negative":     array(header("<f4", "False", "(-1, -2)"), make([]byte, 8)...),
		"too many sizes":   array(header("<f4", "False", "("+strings.Repeat("1, ", 65)+")"), make([]byte, 4)...),
		"objects":          array(header("|O", "False", "(2,)"), make([]byte, 16)...),
		"complex":          array(header("<c8", "False", "(1,)"), make([]byte, 8)...),
		"half":             array(header("<f2", "False", "(1,)"), make([]byte, 2)...),
		"text":             array(header("<U3", "False", "(1,)"), make([]byte, 12)...),
		"bytes in order":   array(header("<u1", "False", "(1,)"), 0),
		"records":          array("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", make([]byte, 4)...),
		"no line feed":     append(array(header("<f4", "False", "(1,)"))[:20], make([]byte, 200)...),
		"no shape":         array("{'descr': '<f4', 'fortran_order': False, }"),
		"order maybe":      array(header("<f4", "Maybe", "(1,)"), make([]byte, 4)...),
		"fields swapped":   array("{'shape': (1,), 'fortran_order': False, 'descr': '<f4', }", make([]byte, 4)...),
		"no last comma":    array("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)}", make([]byte, 48)...),
		"two commas":       array(header("<f4", "False", "(1,,)"), make([]byte, 4)...),
		"line feed inside": array("{'descr': '<f4',\n 'fortran_order': False, 'shape': (1,), }", make([]byte, 4)...),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readNPY(bytes.NewReader(file), int64(len(file)))
			oneLine(t, err, ErrFormat)
		})
	}
}

func FuzzNPY(f *testing.F) {
	f.Add(array(header("<f4", "False", "(2,)"), make([]byte, 8)...))
	f.Add(array(header(">i8", "True", "(1, 2)"), make([]byte, 16)...))
	f.Add(array(header("|u1", "False", "()"), 1))
	f.Add(array(header("<f4", "False", "(0, 99999999)")))
	f.Add([]byte("\x93NUMPY\x02\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := readNPY(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			oneLine(t, err, ErrFormat)
			return
		}
		// What was understood is a tensor, and survives being written.
		var b bytes.Buffer
		if err := writeNPY(&b, got); err != nil {
			t.Fatal(err)
		}
		again, err := readNPY(&b, int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		same(t, again, got.Float32s(), got.Shape()...)
	})
}
