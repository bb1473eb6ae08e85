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
	if !bytes.HasSuffix(file, whole.Bytes()) || len(file) != len(whole.Bytes())+128 {
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
	if a.bulk.direct != nil && a.bulk.memory == nil {
		t.Error("nothing went past the cache")
	}
}
