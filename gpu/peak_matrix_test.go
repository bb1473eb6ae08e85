//go:build cgo && !noopencl && !novulkan

package gpu_test

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/gonvolve/gonvolve/gpu"
)

// The measurement by cooperative matrices does the products that it counts: their sums come out, its matrices being emulated.
func TestPeakMatrix(t *testing.T) {
	_, d := oracleAnd(t, "vulkan:0")
	const chains, m, lanes, rounds = 2, 16, 8, 3
	src := make([]float64, m*m+(m+chains)*m)
	data := make([]byte, 2*len(src))
	for i := range src {
		src[i] = float64(i*7%5 - 2)
		binary.LittleEndian.PutUint16(data[2*i:], nearestHalf(src[i]))
	}
	dst := make([]byte, 4*64) // of eight subgroups
	if err := gpu.RunPeak(t.Context(), d.Driver(), "peak_matrix.emulated", []int32{chains, m, m, m, lanes}, rounds, data, dst); err != nil {
		t.Fatal(err)
	}
	left, right := src[:m*m], src[m*m:]
	var want [lanes]float64
	for c := range chains {
		for e := range m * m {
			for k := range m {
				a := left[k*m+e/m]
				want[e%lanes] += a * (right[(k+c+1)*m+e%m] + 8*rounds*right[k*m+e%m])
			}
		}
	}
	for i := range len(dst) / 4 {
		if got := math.Float32frombits(binary.LittleEndian.Uint32(dst[4*i:])); float64(got) != want[i%lanes] {
			t.Fatalf("work-item %d has %v, not %v", i, got, want[i%lanes])
		}
	}
}
