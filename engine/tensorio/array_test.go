package tensorio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

// numpyFile makes a file of small whole numbers from 0 to 6, of any element type and in either order of bytes and indices.
func numpyFile(t *testing.T, r *rand.Rand, path, descr string, fortran bool, shape []int) {
	t.Helper()
	e, order, err := elementOf(descr)
	if err != nil {
		t.Fatal(err)
	}
	sizes := strings.Trim(strings.Join(strings.Fields(fmt.Sprint(shape)), ", "), "[]")
	if len(shape) == 1 {
		sizes += ","
	}
	name := map[bool]string{false: "False", true: "True"}[fortran]
	file := array(header(descr, name, "("+sizes+")"))
	raw := make([]byte, e.size)
	for range problem.Elems(shape) {
		v := r.IntN(7)
		clear(raw)
		switch descr[1:] {
		case "b1":
			raw[0] = byte(v % 2)
		case "f2":
			order.PutUint16(raw, []uint16{0, 0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600}[v])
		case "f4":
			order.PutUint32(raw, []uint32{0, 0x3f800000, 0x40000000, 0x40400000, 0x40800000, 0x40a00000, 0x40c00000}[v])
		case "f8":
			order.PutUint64(raw, []uint64{0, 0x3ff0 << 48, 0x4000 << 48, 0x4008 << 48, 0x4010 << 48, 0x4014 << 48, 0x4018 << 48}[v])
		default:
			if raw[0] = byte(v); order == binary.ByteOrder(binary.BigEndian) {
				slices.Reverse(raw)
			}
		}
		file = append(file, raw...)
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
}

// randomBox is a box of an array, and a tensor with room for it somewhere.
func randomBox(t *testing.T, r *rand.Rand, typ problem.DataType, shape []int) (b tiling.Box, x *engine.Tensor, at []int) {
	t.Helper()
	room := make([]int, len(shape))
	b, at = tiling.Box{From: make([]int, len(shape)), Size: slices.Clone(shape)}, make([]int, len(shape))
	for i, n := range shape {
		if r.IntN(3) > 0 {
			b.From[i] = r.IntN(n)
			b.Size[i] = 1 + r.IntN(n-b.From[i])
		}
		if room[i] = b.Size[i]; r.IntN(4) == 0 {
			at[i] = r.IntN(3)
			room[i] += at[i] + r.IntN(3)
		}
	}
	x, err := engine.NewTensor(typ, room...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range x.Bytes() {
		x.Bytes()[i] = 0xee
	}
	return b, x, at
}

// A box of a file is that of the whole array, whatever its elements and their order, wherever it goes in a tensor.
func TestArrayReadsBoxes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	path := filepath.Join(t.TempDir(), "x.npy")
	types := []problem.DataType{problem.F32, problem.F16, problem.S8, problem.U8, problem.S32}
	for _, name := range slices.Sorted(maps.Keys(elements)) {
		for k := range 60 {
			shape := make([]int, 1+r.IntN(5))
			for i := range shape {
				if shape[i] = 1 + r.IntN(6); r.IntN(8) == 0 {
					shape[i] = 900 // rows with gaps that are worth a read of their own
				}
			}
			if problem.Elems(shape) > 1<<20 {
				continue
			}
			descr := []string{"<", ">"}[k%2] + name
			if elements[name].size == 1 {
				descr = "|" + name
			}
			numpyFile(t, r, path, descr, k%3 == 0, shape)
			typ := types[r.IntN(len(types))]
			whole, err := ReadAs(path, typ)
			if err != nil {
				t.Fatal(err)
			}
			a, err := OpenArray(path, typ)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := ShapeOf(path); err != nil || !slices.Equal(got, shape) || !slices.Equal(a.Shape(), shape) || a.Type() != typ {
				t.Errorf("%s %v: shape %v, %v: %v", descr, shape, got, a.Shape(), err)
			}
			for range 4 {
				b, got, at := randomBox(t, r, typ, shape)
				want, err := engine.NewTensor(typ, got.Shape()...)
				if err != nil {
					t.Fatal(err)
				}
				copy(want.Bytes(), got.Bytes())
				if err := (tiling.Memory{Tensor: whole}).ReadBox(t.Context(), b, want, at); err != nil {
					t.Fatal(err)
				}
				if err := a.ReadBox(t.Context(), b, got, at); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got.Bytes(), want.Bytes()) {
					t.Fatalf("%s %v as %v, Fortran %v: box %v at %v of %v is\n%v, want\n%v", descr, shape, typ, k%3 == 0, b, at, got.Shape(),
						got.Widen(), want.Widen())
				}
			}
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Longer than one read, than the window, and than a row that is worth a read of its own.
func TestArrayReadsLongRuns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.npy")
	shape := []int{2, 3, 1_000_003}
	x, err := engine.NewTensor(problem.F32, shape...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range x.Float32s() {
		x.Float32s()[i] = float32(i % 1000)
	}
	if err := Write(path, x, Options{}); err != nil {
		t.Fatal(err)
	}
	for _, typ := range []problem.DataType{problem.F32, problem.S32} {
		whole, err := ReadAs(path, typ)
		if err != nil {
			t.Fatal(err)
		}
		a, err := OpenArray(path, typ)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range []tiling.Box{{From: []int{0, 0, 0}, Size: shape}, {From: []int{0, 1, 5}, Size: []int{2, 2, 999_990}}} {
			got, err := engine.NewTensor(typ, b.Size...)
			if err != nil {
				t.Fatal(err)
			}
			want, err := engine.NewTensor(typ, b.Size...)
			if err != nil {
				t.Fatal(err)
			}
			at := []int{0, 0, 0}
			if err := errors.Join(a.ReadBox(t.Context(), b, got, at), (tiling.Memory{Tensor: whole}).ReadBox(t.Context(), b, want, at)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want.Bytes()) {
				t.Errorf("%v: box %v differs", typ, b)
			}
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Boxes that cover an array make the file that Write makes; before that it is none.
func TestArrayWritesBoxes(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	dir := t.TempDir()
	path, want := filepath.Join(dir, "y.npy"), filepath.Join(dir, "want.npy")
	for k := range 200 {
		typ := []problem.DataType{problem.F32, problem.F16, problem.S8, problem.U8, problem.S32}[k%5]
		shape := make([]int, 1+r.IntN(5))
		for i := range shape {
			shape[i] = 1 + r.IntN(7)
		}
		whole, err := engine.NewTensor(typ, shape...)
		if err != nil {
			t.Fatal(err)
		}
		for i := range whole.Bytes() {
			whole.Bytes()[i] = byte(r.IntN(256))
		}
		a, err := CreateArray(path, typ, shape...)
		if err != nil {
			t.Fatal(err)
		}
		step := make([]int, len(shape))
		for i, n := range shape {
			step[i] = 1 + r.IntN(n)
		}
		from := make([]int, len(shape))
		for first := true; ; first = false {
			if !first && r.IntN(8) == 0 { // as after an interruption
				if err := a.Close(); err != nil {
					t.Fatal(err)
				}
				if a, err = ReopenArray(path, typ, shape...); err != nil {
					t.Fatal(err)
				}
			}
			b := tiling.Box{From: slices.Clone(from), Size: make([]int, len(shape))}
			for i, n := range shape {
				b.Size[i] = min(step[i], n-from[i])
			}
			if err := a.WriteBox(t.Context(), b, whole, from); err != nil {
				t.Fatal(err)
			}
			i := len(shape) - 1
			for ; i >= 0; i-- {
				if from[i] += step[i]; from[i] < shape[i] {
					break
				}
				from[i] = 0
			}
			if i < 0 {
				break
			}
		}
		if _, err := Read(path); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "not complete") {
			t.Fatalf("before it is complete: %v", err)
		}
		if err := errors.Join(a.Complete(), a.Close(), Write(want, whole, Options{})); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		wanted, err := os.ReadFile(want)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, wanted) {
			t.Fatalf("%v %v in steps of %v: the file differs from what Write writes", typ, shape, step)
		}
	}
}

func TestArrayErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.npy")
	if err := Write(path, tensor(t, []float32{1, 2, 300, -4}, 2, 2), Options{}); err != nil {
		t.Fatal(err)
	}
	a, err := OpenArray(path, problem.U8)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	x, err := engine.NewTensor(problem.U8, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	at := []int{0, 0}
	for _, c := range []struct {
		from, size []int
		want       error
		says       string
	}{
		{[]int{1, 0}, []int{1, 2}, ErrFormat, "element 2 is 300"},
		{[]int{1, 1}, []int{1, 2}, engine.ErrInvalid, "box"},
		{[]int{-1, 0}, []int{1, 2}, engine.ErrInvalid, "box"},
		{[]int{0, 0}, []int{2, 2}, engine.ErrInvalid, "box"},
		{[]int{0}, []int{1}, engine.ErrInvalid, "box"},
		{[]int{0, 0}, []int{1, -1}, engine.ErrInvalid, "box"},
	} {
		err := a.ReadBox(t.Context(), tiling.Box{From: c.from, Size: c.size}, x, at)
		if oneLine(t, err, c.want); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("box %v at %v: %v", c.size, c.from, err)
		}
	}
	if err := a.ReadBox(t.Context(), tiling.Box{From: at, Size: []int{0, 2}}, x, at); err != nil {
		t.Errorf("an empty box: %v", err)
	}
	// A file that shrinks while it is read.
	if err := os.Truncate(path, 130); err != nil {
		t.Fatal(err)
	}
	oneLine(t, a.ReadBox(t.Context(), tiling.Box{From: at, Size: []int{1, 2}}, x, at), ErrFormat)
	_, err = OpenArray(path, problem.F32)
	oneLine(t, err, ErrFormat)
	_, err = OpenArray(filepath.Join(dir, "x.png"), problem.F32)
	oneLine(t, err, ErrFormat)
	_, err = ReopenArray(path, problem.F32, 2, 2)
	oneLine(t, err, ErrFormat)
	if err := os.WriteFile(path, make([]byte, 144), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = ReopenArray(path, problem.F32, 2, 2)
	oneLine(t, err, ErrFormat)
	if _, err := CreateArray(filepath.Join(dir, "none", "x.npy"), problem.F32, 2); err == nil {
		t.Error("a file in no folder")
	}
	if _, err := CreateArray(filepath.Join(dir, "large.npy"), problem.F32, 1<<30, 1<<28); err == nil {
		t.Error("an array larger than any disk")
	}
	if _, err := os.Stat(filepath.Join(dir, "large.npy")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what could not be made is left behind: %v", err)
	}
}
