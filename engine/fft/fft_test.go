package fft

import (
	"math"
	"testing"

	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
)

// The error of a few units, counted by hand: 6, 8, 10 or 12 additions and 2, 2, 4 or 4 multiplications by twiddles, of (1+2·√2)u each,
// in each of two transforms, 2u of the weights and √2·2c·u of the products.
func TestError(t *testing.T) {
	for i, size := range Sizes {
		for _, channels := range []int{1, 100} {
			tau := []float64{6, 8, 10, 12}[i] + []float64{2, 2, 4, 4}[i]*(1+2*math.Sqrt2)
			want := (2*tau + 2 + math.Sqrt2*2*float64(channels)) * unit
			if got := Error(size, channels); got < want || got > 1.001*want {
				t.Errorf("tiles of %d, %d channels: %v, not %v", size, channels, got, want)
			}
		}
	}
	if e := Error(16, math.MaxInt32); e <= 0 || math.IsNaN(e) {
		t.Errorf("of many channels %v", e)
	}
}

func TestApplies(t *testing.T) {
	for text, tiles := range map[string][]int{
		"mb1ic3ih9oc4kh3ph1":                   {0, 8, 16, 32, 64},
		"deconv:f16:mb1ic3ih9oc4kh5ph2":        {0, 8, 16, 32, 64},
		"BWD_D:mb1ic3ih39oc4kh17ph2":           {0, 32, 64},
		"mb1ic3ih99oc4kh9dh3ph2":               {0, 64},
		"mb1ic3ih9iw9oc4kh1kw2pw0":             {0, 8, 16, 32, 64},
		"mb1ic3ih99oc4kh65ph2":                 nil,
		"mb1ic3ih9iw9oc4kh2kw1ph0":             nil,
		"mb1ic3iw9oc4kw3pw1":                   nil,
		"mb1ic3ih9oc4kh3sh2ph1":                nil,
		"BWD_W:mb1ic3ih9oc4kh3ph1":             nil,
		"u8-s8-s32:mb1ic3ih9oc4kh3":            nil,
		"pool:max:mb1ic3ih9kh3":                nil,
		"mb1ic3id3ih9iw9oc4kd1kh3kw3pd0ph1pw1": nil,
	} {
		p := problemtest.Parse(t, text)
		var can []int
		for _, size := range append([]int{0, 4}, Sizes...) {
			if Applies(&p, size) == nil {
				can = append(can, size)
			}
		}
		if len(can) != len(tiles) || len(can) > 1 && can[1] != tiles[1] {
			t.Errorf("%s: tiles of %v, not %v", text, can, tiles)
		}
	}
}

// The operations are those of cpu/simd's kernels of lines: additions and subtractions, multiplications, and twice those that are
// fused, of one line of the assembly.
func TestOperations(t *testing.T) {
	for n, want := range map[int][2]int{8: {24, 66}, 16: {74, 182}, 32: {214, 518}, 64: {550, 1254}} {
		if r, c := realLine(n), complexLine(n); r != want[0] || c != want[1] {
			t.Errorf("%d cells: %d, %d operations, not %v", n, r, c, want)
		}
		if got, all := Operations(n, n), (n+2)*want[0]+(n/2-1)*want[1]; got != all {
			t.Errorf("%d×%[1]d cells: %d operations, not %d", n, got, all)
		}
	}
}
