package verify

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// The wanted numbers were computed from the definition with Python's whole numbers.
func TestFillInt(t *testing.T) {
	for role, want := range map[problem.Role][]float32{
		problem.Src:     {-3, -3, 1, 3, 1, 1, 0, -3, 1, 3},
		problem.Wei:     {-1, 1, -1, 2, -3, -3, 3, -3, 0, 3},
		problem.Bia:     {-2, -1, 1, 2, 3, 0, -3, -3, -1, 0},
		problem.DiffDst: {-3, 2, 1, 2, -1, -3, 1, 2, -3, 3},
	} {
		got := make([]float32, 1000)
		Int.Values(got, seeds[role])
		if !slices.Equal(got[:10], want) {
			t.Errorf("%v begins %v, not %v", role, got[:10], want)
		}
		seen := map[float32]bool{}
		for _, v := range got {
			seen[v] = true
		}
		if len(seen) != 7 || slices.Min(got) != -3 || slices.Max(got) != 3 {
			t.Errorf("%v has the values %v, not the whole numbers from -3 to 3", role, seen)
		}
	}
	got := make([]float32, 1000)
	Int.Values(got, seeds[problem.Bia])
	if got[999] != 3 {
		t.Errorf("element 999 is %v, not 3", got[999])
	}
}

func TestFillUniform(t *testing.T) {
	got := make([]float32, 10000)
	Uniform.Values(got, seeds[problem.Src])
	for i, want := range []float32{7645441, 4172206, 5514482, 5283346} {
		if got[i] != want/(1<<23) {
			t.Errorf("element %d is %v, not %v", i, got[i], want/(1<<23))
		}
	}
	Uniform.Values(got, seeds[problem.Wei])
	if got[0] != -1986945.0/(1<<23) {
		t.Errorf("weights begin with %v", got[0])
	}
	if lo, hi := slices.Min(got), slices.Max(got); lo < -1 || lo > -0.99 || hi > 1 || hi < 0.99 {
		t.Errorf("values from %v to %v, not about -1 to 1", lo, hi)
	}
}

func TestParseFill(t *testing.T) {
	for _, f := range []Fill{Int, Uniform} {
		if got, err := ParseFill(string(f)); got != f || err != nil {
			t.Errorf("%s: %v, %v", f, got, err)
		}
	}
	if _, err := ParseFill("random"); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("unknown fill: %v", err)
	}
}

func TestHash(t *testing.T) {
	for _, c := range []struct {
		t    []float32
		want uint64
	}{
		{nil, 0},
		{[]float32{1}, 0xe220a8397b1dcdaf},
		{[]float32{0, 1}, 0x6e789e6aa1b965f5},
		{[]float32{1, -2, 3}, 0x197c82adb7c6d1b2},
		{[]float32{5, 0, -7, 2}, 0x2c5c2ec4cbed231c},
		{[]float32{5, float32(math.Copysign(0, -1)), -7, 2}, 0x2c5c2ec4cbed231c},
	} {
		if got, ok := Hash(c.t); got != c.want || !ok {
			t.Errorf("%v: %#x, %v; want %#x", c.t, got, ok, c.want)
		}
	}
	nan := float32(math.NaN())
	for _, v := range []float32{0.5, nan, float32(math.Inf(1)), float32(math.Inf(-1)), 1e30} {
		if _, ok := Hash([]float32{1, v}); ok {
			t.Errorf("%v passes for a whole number", v)
		}
	}
	// The place of a value counts, the order of the sum does not.
	a, _ := Hash([]float32{1, 2})
	b, _ := Hash([]float32{2, 1})
	if a == b {
		t.Error("swapped elements have the same hash")
	}
	one, _ := Hash([]float32{1, 0})
	two, _ := Hash([]float32{0, 2})
	if one+two != a {
		t.Error("the hash is not the sum of what its elements give")
	}
}
