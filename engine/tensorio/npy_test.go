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
	"github.com/gonvolve/gonvolve/engine/problem"
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
	got, err := readNPY(&b, int64(b.Len()), problem.F32)
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
		got, err := readNPY(bytes.NewReader(file), int64(len(file)), problem.F32)
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
	got, err := readNPY(bytes.NewReader(file), int64(len(file)), problem.F32)
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
	if got, err = readNPY(bytes.NewReader(file), int64(len(file)), problem.F32); err != nil {
		t.Fatal(err)
	}
	same(t, got, nil, 2, 0, 4)
}

func TestNPYVersion2(t *testing.T) {
	h := header("|u1", "False", "(2,)") + "\n"
	file := append([]byte("\x93NUMPY\x02\x00"), binary.LittleEndian.AppendUint32(nil, uint32(len(h)))...)
	file = append(append(file, h...), 7, 8)
	got, err := readNPY(bytes.NewReader(file), int64(len(file)), problem.F32)
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
		"long double":      array(header("<f16", "False", "(1,)"), make([]byte, 16)...),
		"bool of 2 bytes":  array(header("<b2", "False", "(1,)"), make([]byte, 2)...),
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
			_, err := readNPY(bytes.NewReader(file), int64(len(file)), problem.F32)
			oneLine(t, err, ErrFormat)
		})
	}
}

// Every type of tensor is read back as what was written, to the bit, and the file tells its type.
func TestNPYKeepsTypes(t *testing.T) {
	for typ, descr := range descrs {
		x, err := engine.NewTensor(typ, 2, 3, 5)
		if err != nil {
			t.Fatal(err)
		}
		for i := range x.Bytes() {
			x.Bytes()[i] = byte(37*i + 11)
		}
		path := filepath.Join(t.TempDir(), "x.npy")
		if err := Write(path, x, Options{}); err != nil {
			t.Fatal(err)
		}
		if is, err := TypeOf(path); is != typ || err != nil {
			t.Errorf("a file of %v is one of %v, %v", typ, is, err)
		}
		got, err := ReadAs(path, typ)
		if err != nil {
			t.Fatal(err)
		}
		if got.Type() != typ || !slices.Equal(got.Shape(), x.Shape()) || !bytes.Equal(got.Bytes(), x.Bytes()) {
			t.Errorf("%v came back as %v %v, %v", typ, got.Type(), got.Shape(), got.Bytes())
		}
		file, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(file, []byte("'descr': '"+descr+"'")) {
			t.Errorf("%v: file %.80q, %v", typ, file, err)
		}
		// The same elements with their bytes the other way round.
		if n := typ.Size(); n > 1 {
			start := len(file) - len(x.Bytes())
			swap(file[start:], n)
			file = bytes.Replace(file, []byte(descr), []byte(">"+descr[1:]), 1)
			got, err := readNPY(bytes.NewReader(file), int64(len(file)), typ)
			if err != nil || !bytes.Equal(got.Bytes(), x.Bytes()) {
				t.Errorf("big-endian %v: %v, %v", typ, got, err)
			}
		}
	}
}

// Numbers are rounded once to f32 and f16; integers are taken whole or not at all.
func TestNPYConversions(t *testing.T) {
	le := binary.LittleEndian
	f8 := func(v float64) []byte { return le.AppendUint64(nil, math.Float64bits(v)) }
	i8 := func(v int64) []byte { return le.AppendUint64(nil, uint64(v)) }
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		descr string
		raw   []byte
		typ   problem.DataType
		want  float32
		ok    bool
	}{
		{"<f2", []byte{0, 0xbc}, problem.F32, -1, true}, {"<f2", []byte{1, 0}, problem.F32, 0x1p-24, true},
		{">f2", []byte{0x7c, 0}, problem.F32, inf, true}, {"|b1", []byte{2}, problem.F32, 1, true}, {"|b1", []byte{0}, problem.U8, 0, true},
		{"<f4", le.AppendUint32(nil, math.Float32bits(1+3.0/2048)), problem.F16, 1 + 4.0/2048, true},
		// Rounded to f32 first, these would be ties, and the tie would go the wrong way.
		{"<f8", f8(1 + 1.0/2048 + 0x1p-40), problem.F16, 1 + 2.0/2048, true},
		{"<f8", f8(-1 - 1.0/2048 - 0x1p-40), problem.F16, -1 - 2.0/2048, true},
		{"<f8", f8(1 + 3.0/2048 - 0x1p-40), problem.F16, 1 + 2.0/2048, true},
		{"<f8", f8(1e300), problem.F16, inf, true}, {"<f8", f8(65519.999999999), problem.F16, 65504, true},
		{"<i8", i8(1<<60 + 1<<36 + 1), problem.F32, 1<<60 + 1<<37, true}, {"<i8", i8(-1<<60 - 1<<36 - 1), problem.F32, -1<<60 - 1<<37, true},
		{"<i8", i8(1<<60 + 1<<36), problem.F32, 1 << 60, true}, {"<i8", i8(math.MinInt64), problem.F32, -1 << 63, true},
		{"<u8", i8(-1), problem.F32, 1 << 64, true}, {"<i8", i8(7), problem.S32, 7, true}, {"<i8", i8(-1 << 31), problem.S32, -1 << 31, true},
		{"<i8", i8(1 << 31), problem.S32, 0, false}, {"<i8", i8(math.MinInt64), problem.S32, 0, false}, {"<u8", i8(-1), problem.S32, 0, false},
		{"<f8", f8(-128), problem.S8, -128, true}, {"<f8", f8(-129), problem.S8, 0, false}, {"<f8", f8(0.5), problem.S8, 0, false},
		{"<f8", f8(math.NaN()), problem.S32, 0, false}, {"<f8", f8(math.Inf(-1)), problem.S8, 0, false},
		{"<u2", []byte{255, 0}, problem.U8, 255, true}, {"<u2", []byte{0, 1}, problem.U8, 0, false}, {"|i1", []byte{0xff}, problem.U8, 0, false},
	} {
		file := array(header(c.descr, "False", "(1,)"), c.raw...)
		got, err := readNPY(bytes.NewReader(file), int64(len(file)), c.typ)
		switch {
		case !c.ok:
			oneLine(t, err, ErrFormat)
		case err != nil:
			t.Errorf("%s %v to %v: %v", c.descr, c.raw, c.typ, err)
		case got.Type() != c.typ || got.Widen()[0] != c.want:
			t.Errorf("%s %v to %v: %v %v; want %v", c.descr, c.raw, c.typ, got.Type(), got.Widen(), c.want)
		}
	}
}

// Fortran order is undone for elements of every size.
func TestNPYFortranOrderOfTypes(t *testing.T) {
	file := array(header("<i2", "True", "(2, 3)"), 0, 0, 10, 0, 1, 0, 11, 0, 2, 0, 12, 0)
	for _, typ := range []problem.DataType{problem.F32, problem.F16, problem.S8, problem.U8, problem.S32} {
		got, err := readNPY(bytes.NewReader(file), int64(len(file)), typ)
		if err != nil || !slices.Equal(got.Widen(), []float32{0, 1, 2, 10, 11, 12}) {
			t.Errorf("%v: %v, %v", typ, got, err)
		}
	}
}

func FuzzNPY(f *testing.F) {
	f.Add(array(header("<f4", "False", "(2,)"), make([]byte, 8)...), uint8(problem.F32))
	f.Add(array(header(">i8", "True", "(1, 2)"), make([]byte, 16)...), uint8(problem.S32))
	f.Add(array(header("|u1", "False", "()"), 1), uint8(problem.U8))
	f.Add(array(header("<f2", "True", "(2, 1)"), 1, 2, 3, 4), uint8(problem.F16))
	f.Add(array(header("<f8", "False", "(1,)"), make([]byte, 8)...), uint8(problem.S8))
	f.Add(array(header("<f4", "False", "(0, 99999999)")), uint8(problem.F16))
	f.Add([]byte("\x93NUMPY\x02\x00\xff\xff\xff\xff"), uint8(problem.F32))
	f.Fuzz(func(t *testing.T, file []byte, typ uint8) {
		as := problem.DataType(typ) % (problem.S32 + 1)
		got, err := readNPY(bytes.NewReader(file), int64(len(file)), as)
		if err != nil {
			oneLine(t, err, ErrFormat)
			return
		}
		// What was understood is a tensor, and survives being written.
		var b bytes.Buffer
		if err := writeNPY(&b, got); err != nil {
			t.Fatal(err)
		}
		again, err := readNPY(&b, int64(b.Len()), as)
		if err != nil {
			t.Fatal(err)
		}
		if again.Type() != as || !slices.Equal(again.Shape(), got.Shape()) || !bytes.Equal(again.Bytes(), got.Bytes()) {
			t.Errorf("%v became %v", got, again)
		}
	})
}
