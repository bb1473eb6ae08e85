package engine_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/devicetest"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// TestNarrow: values round to nearest, ties to even, and saturate.
func TestNarrow(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		typ      problem.DataType
		in, want []float32
	}{
		{problem.F32, []float32{0.1, -3, inf}, []float32{0.1, -3, inf}},
		{problem.F16, []float32{1 + 1.0/2048, 1 + 3.0/2048, 65504, 65520, 0x1p-24, 0x1p-26}, []float32{1, 1 + 4.0/2048, 65504, inf, 0x1p-24, 0}},
		{problem.S8, []float32{0.5, 1.5, -2.5, 200, -200, inf, nan}, []float32{0, 2, -2, 127, -128, 127, 0}},
		{problem.U8, []float32{0.5, 254.5, 255.5, -1, -inf, nan, 7}, []float32{0, 254, 255, 0, 0, 0, 7}},
		{problem.S32, []float32{2.5, -3.5, 1 << 30, 3e9}, []float32{2, -4, 1 << 30, 1 << 31}},
	} {
		x, err := engine.NewTensor(c.typ, len(c.in))
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Narrow(c.in); err != nil {
			t.Fatal(err)
		}
		if got := x.Widen(); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v became %v, not %v", c.typ, c.in, got, c.want)
		}
		if err := x.Narrow(c.in[1:]); !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("%v: too few values: %v", c.typ, err)
		}
	}
}

// TestHalvesRoundTrip: every f16 number widens exactly and narrows back to itself.
func TestHalvesRoundTrip(t *testing.T) {
	x, err := engine.NewTensor(problem.F16, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1 << 16 {
		x.Bytes()[2*i], x.Bytes()[2*i+1] = byte(i), byte(i>>8)
	}
	before := slices.Clone(x.Bytes())
	if err := x.Narrow(x.Widen()); err != nil {
		t.Fatal(err)
	}
	for i := range 1 << 16 {
		nan := i&0x7c00 == 0x7c00 && i&0x3ff != 0
		now := int(x.Bytes()[2*i]) | int(x.Bytes()[2*i+1])<<8
		if was := int(before[2*i]) | int(before[2*i+1])<<8; now != was && !(nan && now&0x7c00 == 0x7c00 && now&0x3ff != 0) {
			t.Fatalf("%#x became %#x", was, now)
		}
	}
}

// TestOddBytes: tensors whose bytes are no whole number of words go to a device and back.
func TestOddBytes(t *testing.T) {
	d := devicetest.Open(t, "cpu")
	s, err := d.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, typ := range []problem.DataType{problem.U8, problem.S8, problem.F16} {
		for n := range 9 {
			x, err := engine.NewTensor(typ, n)
			if err != nil {
				t.Fatal(err)
			}
			for i := range x.Bytes() {
				x.Bytes()[i] = byte(17 * (i + 1))
			}
			on, err := s.Upload(t.Context(), x)
			if err != nil {
				t.Fatal(err)
			}
			back, err := engine.NewTensor(typ, n)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Download(t.Context(), back, on); err != nil {
				t.Fatal(err)
			}
			on.Free()
			if !slices.Equal(back.Bytes(), x.Bytes()) {
				t.Errorf("%d elements of %v: %v came back as %v", n, typ, x.Bytes(), back.Bytes())
			}
		}
	}
}

// TestHugeTensors: what no machine can hold is an error, not the end of the process.
func TestHugeTensors(t *testing.T) {
	for _, c := range []struct {
		shape []int
		want  error
	}{
		{[]int{1 << 20, 1 << 25}, engine.ErrOutOfMemory}, {[]int{1 << 30, 1 << 27}, engine.ErrOutOfMemory},
		{[]int{1 << 40, 1 << 40}, engine.ErrInvalid}, {[]int{-1}, engine.ErrInvalid},
	} {
		for _, typ := range []problem.DataType{problem.F32, problem.F16, problem.U8} {
			if _, err := engine.NewTensor(typ, c.shape...); !errors.Is(err, c.want) {
				t.Errorf("%v %v: %v; want %v", typ, c.shape, err, c.want)
			}
		}
	}
}

func TestReshape(t *testing.T) {
	x, err := engine.NewTensor(problem.S8, 2, 6)
	if err != nil {
		t.Fatal(err)
	}
	y, err := x.Reshape(1, 3, 4)
	if err != nil || y.Type() != problem.S8 || !slices.Equal(y.Shape(), []int{1, 3, 4}) {
		t.Fatalf("%v, %v", y, err)
	}
	y.Bytes()[5] = 7
	if x.Bytes()[5] != 7 || !slices.Equal(x.Shape(), []int{2, 6}) {
		t.Error("the memory is not the same, or the first tensor has changed")
	}
	for _, shape := range [][]int{{11}, {-1, -12}, {}, {1 << 40, 1 << 40}} {
		if _, err := x.Reshape(shape...); !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("%v: %v", shape, err)
		}
	}
}

// A part of a tensor's memory as another tensor: no larger, and the same memory.
func TestWithin(t *testing.T) {
	all, err := engine.NewTensor(problem.U8, 40)
	if err != nil {
		t.Fatal(err)
	}
	part, err := all.Within(problem.F32, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	part.Float32s()[5] = 1
	if got := all.Bytes()[23]; got != 0x3f {
		t.Errorf("byte %#x", got)
	}
	for _, shape := range [][]int{{11}, {2, 6}, {-1}, {1 << 40, 1 << 40}} {
		if _, err := all.Within(problem.F32, shape...); !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("%v of 40 bytes: %v", shape, err)
		}
	}
	dev, err := engine.Open(t.Context(), "cpu")
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	there, err := dev.NewTensor(problem.U8, 40)
	if err != nil {
		t.Fatal(err)
	}
	defer there.Free()
	small, err := there.Within(problem.F32, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	if host := small.Host(); host == nil || len(host.Float32s()) != 6 || host.Shape()[1] != 3 {
		t.Errorf("the cpu's memory as the host's: %v", host)
	}
	if _, err := there.Within(problem.F32, 11); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("11 elements in 40 bytes: %v", err)
	}
}
