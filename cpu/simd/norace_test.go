//go:build !race

package simd

import (
	"runtime"
	"runtime/debug"
	"testing"
)

const raceEnabled = false

// The race detector makes sync.Pool forget at random, so that this is not for it.
func TestMultiplyDoesNotAllocate(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection empties the pools
	p := NewPool(2)
	defer p.Close()
	for _, isa := range Supported() {
		g, err := NewGemm(isa, 70, 300, 600, Hints{Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		off := make([]int, g.K)
		c := &Call{A: make([]float32, g.PackedA()), B: rowsOf(isa, make([]float32, g.N), off, g.N),
			C: make([]float32, g.M*g.N), LDC: g.N}
		ws := make([]float32, 2*g.Workspace())
		const warm, runs = 100, 400
		var before, after runtime.MemStats
		for i := range warm + runs {
			if i == warm {
				runtime.ReadMemStats(&before)
			}
			g.Multiply(p, ws, c)
		}
		runtime.ReadMemStats(&after)
		// The runtime itself may make a few things anew.
		if n := after.Mallocs - before.Mallocs; n > runs/10 {
			t.Errorf("%s: %d allocations in %d runs", isa, n, runs)
		}
	}
}
