package simd_test

import (
	"fmt"

	"github.com/gonvolve/gonvolve/cpu/simd"
)

// A convolution of one channel of 4×4 with two 3×3 filters, without padding: C has a row for each filter and a column for
// each of the 2×2 positions.
func Example() {
	const size, out, filters, taps = 4, 2, 2, 9
	isa := simd.Best()
	wei := make([]float32, filters*taps)
	for i := range taps {
		wei[i] = 1 // sums
	}
	wei[taps+4] = 1 // copies

	// Once for a problem: the plan, the weights, and where the taps and the lines of positions are.
	pool := simd.NewPool(2)
	defer pool.Close()
	g, err := simd.NewGemm(isa, filters, out*out, taps, simd.Hints{Workers: pool.Workers()})
	if err != nil {
		fmt.Println(err)
		return
	}
	packed := simd.Aligned(g.PackedA())
	g.PackA(packed, wei, taps, 1)
	var off []int
	for i := range taps {
		off = append(off, i/3*size+i%3)
	}
	patches := simd.NewPatches(isa, off, []int{0, size}, out)
	ws := simd.Aligned(pool.Workers() * g.Workspace())

	// For each run: the source and the result.
	src := make([]float32, size*size)
	for i := range src {
		src[i] = float32(i)
	}
	b := patches.On(src)
	dst := make([]float32, filters*out*out)
	g.Multiply(pool, ws, &simd.Call{A: packed, B: &b, C: dst, LDC: out * out, Bias: []float32{0, 100}})
	fmt.Println(dst)
	// Output: [45 54 81 90 105 106 109 110]
}
