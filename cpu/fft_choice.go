package cpu

import (
	"math"
	"slices"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/fft"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// fftStrips is how many strips to take tiles in: their transforms and products stay in the caches, or take no more memory than
// the weights, which are read again for each strip.
func fftStrips(bins, tiles, from, to int) int {
	each := bins * 2 * (from + to)
	most := max(1, fftStrip/max(1, each), bins*2*from*to/max(1, each))
	return max(1, (tiles+most-1)/most)
}

// fftChunk is how many channels are transformed at a time.
func fftChunk(from, columns, several int) int {
	return max(1, min((from+several-1)/several, fftLanes/max(1, columns)))
}

// fftCosts are what the parts of products of transforms take, in ns of one processor of the machine that testdata's tables
// were measured on: starting them, a quarter of a vector's complex multiply-add, a call of a kernel, a strip, 16 weights that come
// from beyond a processor's own cache, or all caches, and the transform of a vector of tiles or results, by fft.Sizes. They are
// fitted to those tables, so that relative errors are least.
type fftCosts struct {
	start, multiply, call, strip, far, memory float64
	transform                                 [4]float64
}

var fftCostsOf = map[simd.ISA]fftCosts{
	simd.AVX512:   {start: 3410, multiply: 0.249, far: 0.34, memory: 0.713, transform: [...]float64{278, 752, 3590, 18700}},
	simd.AVX2:     {multiply: 0.28, call: 13.1, strip: 3070, memory: 0.804, transform: [...]float64{112, 327, 2190, 14500}},
	simd.Portable: {start: 19700, multiply: 0.348, call: 89.8, far: 0.34, transform: [...]float64{773, 5940, 34100, 190000}},
}

// fftWeights is the most elements of transformed weights that are worth their memory: those of 5×5 taps take ten times as much
// as the taps.
const fftWeights = 1 << 26

// worthWeights says whether tiles of t×t have weights of that size.
func worthWeights(p *problem.Problem, t int) bool {
	return float64(t*t+4)*float64(p.OC)*float64(p.IC/p.Groups) <= fftWeights
}

// fftTile is the size of tiles that should be fastest for a problem, and how long it should take so many processors; the smallest if
// all have too many weights, and 0 if there is none.
func fftTile(isa simd.ISA, p *problem.Problem, several int) (best int, least float64) {
	for _, t := range fft.Sizes {
		if fft.Applies(p, t) != nil || best != 0 && !worthWeights(p, t) {
			continue
		}
		if took := expectedFourier(isa, p, t, several); best == 0 || took < least {
			best, least = t, took
		}
	}
	return best, least
}

// expectedFourier is what tiles of t×t should take.
func expectedFourier(isa simd.ISA, p *problem.Problem, t, several int) float64 {
	c, lanes, out := fftCostsOf[isa], isa.Lanes(), positions(p)
	from, to, tiles := read(p), made(p), p.N
	for i, a := range p.Axes[1:] {
		step := t - a.Extent() + 1
		tiles *= (out[i+1] + step - 1) / step
	}
	if tiles == 0 {
		return math.Inf(1)
	}
	bins := t*t/2 + 2
	strips := fftStrips(bins, tiles, from, to)
	columns := (tiles + strips - 1) / strips
	chunk := fftChunk(from, columns, several)
	transforms := strips*vectors(from, chunk)*vectors(chunk*columns, lanes) + tiles*vectors(to, lanes)
	products := simd.NewFourierProducts(isa, from, to, columns)
	weights := bins * products.Weights()
	parts := float64(bins*strips)*(c.multiply*float64(from*products.Steps())/2+c.call*float64(products.Calls())) +
		c.transform[slices.Index(fft.Sizes, t)]*float64(transforms)
	if weights > several*ownWeights {
		parts += c.far * float64(weights/16*strips)
	}
	if weights > allWeights {
		parts += c.memory * float64(weights/16*strips)
	}
	return float64(p.Groups) * (c.start + parts/float64(several) + c.strip*float64(strips))
}

// worthFourier says whether transforms should be faster than the implicit product, by so much that it is worth their rounding. Of
// fewer channels they were not, nor of eight by 3×3.
func worthFourier(isa simd.ISA, p *problem.Problem, several int) bool {
	const channels, products = 8, 16 * 9
	if few := min(read(p), made(p)); !fourier(p) || few < channels || int64(few)*p.Taps() < products {
		return false
	}
	t, least := fftTile(isa, p, several)
	return worthWeights(p, t) && least < worthRounding*expectedProduct(isa, p, several)
}
