package tensorio

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

// Boxes whose neighbours in the file are many go past the cache, wherever pages begin and end: what is written is in the file,
// and what is in the file is read, whether the cache has none, some or all of it.
func TestLargePieces(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 7))
	path := filepath.Join(t.TempDir(), "x.npy")
	shape := []int{3, 1500, 301} // 5.4 MB, which is no whole number of pages
	whole, err := engine.NewTensor(problem.F32, shape...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole.Float32s() {
		whole.Float32s()[i] = r.Float32()
	}
	part := func(from, rows int) (tiling.Box, *engine.Tensor) {
		b := tiling.Box{From: []int{0, from, 0}, Size: []int{3, rows, 301}}
		x, err := engine.NewTensor(problem.F32, b.Size...)
		if err != nil {
			t.Fatal(err)
		}
		return b, x
	}
	none := make([]int, 3)
	a, err := CreateArray(path, problem.F32, shape...)
	if err != nil {
		t.Fatal(err)
	}
	for from := 0; from < 1500; {
		rows := min(1+r.IntN(700), 1500-from)
		b, x := part(from, rows)
		if err := (tiling.Memory{Tensor: whole}).ReadBox(t.Context(), b, x, none); err != nil {
			t.Fatal(err)
		}
		if err := a.WriteBox(t.Context(), b, x, none); err != nil {
			t.Fatal(err)
		}
		from += rows
	}
	bulky(t, a)
	if err := a.Complete(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path) // which also brings it into the cache
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(file, whole.Bytes()) || len(file) != len(whole.Bytes())+page {
		t.Fatal("the file is not what was written")
	}
	for _, cached := range []bool{true, false} {
		if a, err = OpenArray(path, problem.F32); err != nil {
			t.Fatal(err)
		}
		if !cached {
			forget(t, a.f)
		}
		for range 2 { // the second time through the cache
			for from := 0; from < 1500; {
				rows := min(1+r.IntN(700), 1500-from)
				b, x := part(from, rows)
				if err := a.ReadBox(t.Context(), b, x, none); err != nil {
					t.Fatal(err)
				}
				_, want := part(from, rows)
				if err := (tiling.Memory{Tensor: whole}).ReadBox(t.Context(), b, want, none); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(x.Bytes(), want.Bytes()) {
					t.Fatalf("rows %d to %d are others (cached: %v)", from, from+rows, cached)
				}
				from += rows
			}
			if !cached {
				bulky(t, a)
				cached = true
			}
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(path, int64(len(file))-8); err != nil {
		t.Fatal(err)
	}
	if a, err := OpenArray(path, problem.F32); err == nil {
		a.Close()
		t.Error("a file that is cut short was opened")
	}
}

// bulky fails if an array could go past the cache, and did not.
func bulky(t *testing.T, a *Array) {
	t.Helper()
	if a.bulk.direct != nil && a.bulk.windows == nil {
		t.Error("nothing went past the cache")
	}
}

// Where whole pages of the file come to memory that the disk can get at, nothing is copied. Where the kernel refuses that memory,
// or the file begins elsewhere, the elements are the same.
func TestInPlace(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 7))
	shape := []int{2, 1280, 1024} // 10 MiB
	b := tiling.Box{From: []int{0, 256, 0}, Size: []int{2, 896, 1024}}
	none := make([]int, 3)
	memory := func(shape []int, off int) *engine.Tensor {
		n := int(problem.Elems(shape))
		all, err := engine.NewTensor(problem.F32, n+off)
		if err != nil {
			t.Fatal(err)
		}
		x, err := engine.FromFloat32(all.Float32s()[off:], shape...)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	for _, c := range []struct {
		name   string
		off    int     // of memory from a page, in elements
		align  uintptr // that the file is said to need
		copies bool
	}{
		{"in place", 0, page, false},
		{"memory that is said not to be aligned", 1, page, true},
		{"memory that the kernel refuses", 1, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.npy")
			a, err := CreateArray(path, problem.F32, shape...)
			if err != nil {
				t.Fatal(err)
			}
			copies := c.copies && (c.align > 1 || a.bulk.align > 4) // some disks take any words
			a.bulk.align = c.align
			check := func() {
				t.Helper()
				if a.bulk.direct != nil && (a.bulk.windows != nil) != copies {
					t.Errorf("copies: %v", !copies)
				}
				if a.bulk.off.Load() {
					t.Error("it went through the cache")
				}
				if err := a.Close(); err != nil {
					t.Fatal(err)
				}
			}
			whole := memory(shape, c.off)
			for i := range whole.Float32s() {
				whole.Float32s()[i] = r.Float32()
			}
			if err := a.WriteBox(t.Context(), tiling.Box{From: none, Size: shape}, whole, none); err != nil {
				t.Fatal(err)
			}
			if err := a.Complete(); err != nil {
				t.Fatal(err)
			}
			check()
			if a, err = OpenArray(path, problem.F32); err != nil {
				t.Fatal(err)
			}
			forget(t, a.f)
			a.bulk.align = c.align
			got, want := memory(b.Size, c.off), memory(b.Size, 0)
			if err := a.ReadBox(t.Context(), b, got, none); err != nil {
				t.Fatal(err)
			}
			if err := (tiling.Memory{Tensor: whole}).ReadBox(t.Context(), b, want, none); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want.Bytes()) {
				t.Error("what is read is not what was written")
			}
			check()
		})
	}
}
