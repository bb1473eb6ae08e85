package cpu

import (
	"fmt"
	"testing"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// fourierGrid is kernels, channels and maps, those of which the plain product takes less than a tenth of a second.
func fourierGrid() (texts []string) {
	for _, k := range []int{5, 7, 9, 11, 15, 31} {
		for _, c := range []int{16, 64, 256} {
			for _, size := range []int{14, 28, 56, 112} {
				if float64(2*c*c*size*size*k*k) < 3e10 {
					texts = append(texts, fmt.Sprintf("mb1ic%dih%doc%dkh%dph%d", c, size, c, k, k/2))
				}
			}
		}
	}
	return texts
}

// The model's choice between the implicit product and tiles of Fourier's.
func TestFFTChoice(t *testing.T) {
	g := choiceGrid{name: "fft", ways: []string{"igemm", "fft t=8", "fft t=16", "fft t=32", "fft t=64"},
		problems: fourierGrid(), most: 6e8, choose: func(isa simd.ISA, p *problem.Problem) string {
			if !worthFourier(isa, p, choiceProcessors) {
				return "igemm"
			}
			size, _ := fftTile(isa, p, choiceProcessors)
			return "fft " + fourierText(size)
		}}
	g.test(t, 1.05, 1.5)
}
