package tensorio

import (
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

func TestSlabs(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 500 {
		shape := make([]int, r.IntN(5))
		for i := range shape {
			shape[i] = r.IntN(6)
		}
		most, next := 1+r.IntN(40), int64(0)
		for b := range Slabs(shape, most) {
			at, n := int64(0), problem.Elems(b.Size)
			for i, size := range shape {
				at = at*int64(size) + int64(b.From[i])
			}
			if at != next || n < 1 || n > int64(most) {
				t.Fatalf("%v by %d: box %v begins at element %d, not %d", shape, most, b, at, next)
			}
			next += n
		}
		if next != problem.Elems(shape) {
			t.Fatalf("%v by %d: %d elements", shape, most, next)
		}
	}
}

// Each single element that differs is found, where it is.
func TestCompare(t *testing.T) {
	dir := t.TempDir()
	nan := float32(math.NaN())
	compare := func(a, b *engine.Tensor) (d Difference, err error) {
		var arrays [2]*Array
		for i, x := range []*engine.Tensor{a, b} {
			path := filepath.Join(dir, []string{"a.npy", "b.npy"}[i])
			if err := Write(path, x, Options{}); err != nil {
				t.Fatal(err)
			}
			if arrays[i], err = OpenArray(path, x.Type()); err != nil {
				t.Fatal(err)
			}
			defer arrays[i].Close()
		}
		last := int64(-1)
		d, err = Compare(t.Context(), arrays[0], arrays[1], func(done, total int64) { last = total - done })
		if err == nil && last != 0 {
			t.Errorf("%d elements were left", last)
		}
		return d, err
	}
	x := make([]float32, 3*slab/2)
	for i := range x {
		x[i] = float32(i % 100)
	}
	x[7] = nan
	shape := []int{3, 1, slab / 2}
	for _, c := range []struct {
		at    int
		v     float32
		first []int
		max   float64
	}{
		{-1, 0, nil, 0}, {7, -nan, nil, 0}, {0, 1, []int{0, 0, 0}, 1}, {slab + 100, -2, []int{2, 0, 100}, float64(2 + x[slab+100])},
		{len(x) - 1, nan, []int{2, 0, slab/2 - 1}, math.NaN()}, {100, float32(math.Copysign(0, -1)), []int{0, 0, 100}, 0},
	} {
		y := slices.Clone(x)
		if c.at >= 0 {
			y[c.at] = c.v
		}
		d, err := compare(tensor(t, x, shape...), tensor(t, y, shape...))
		if err != nil {
			t.Fatal(err)
		}
		same := d.MaxAbs == c.max || d.MaxAbs != d.MaxAbs && c.max != c.max
		if !slices.Equal(d.First, c.first) || d.Elements != int64(len(x)) || (d.Differing == 1) != (c.first != nil) || !same {
			t.Errorf("%v at %d: %+v", c.v, c.at, d)
		}
	}
	if _, err := compare(tensor(t, x[:4], 4), tensor(t, x[:4], 2, 2)); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("other shapes: %v", err)
	}
	ints, err := engine.NewTensor(problem.S32, 2)
	if err != nil {
		t.Fatal(err)
	}
	other, err := engine.NewTensor(problem.S32, 2)
	if err != nil {
		t.Fatal(err)
	}
	ints.Int32s()[1], other.Int32s()[1] = math.MaxInt32, math.MaxInt32-1
	if d, err := compare(ints, other); err != nil || d.MaxAbs != 1 || d.First[0] != 1 {
		t.Errorf("%+v: %v", d, err)
	}
	if _, err := compare(ints, tensor(t, x[:2], 2)); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("other types: %v", err)
	}
}
