package mathtest

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Post-operations as common.inc numbers them.
const (
	postReLU = 1 + iota
	postLeaky
	postPReLU
	postClip
	postSigmoid
	postTanh
	postSiLU
	postGELU
	postGELUTanh
	postHardSwish
	postScale
	postAddBias
	postAdd
	postKinds
	postSlots = 5
)

// modes are those of math_check that compute a post-operation alone.
var modes = map[int]uint32{
	postSigmoid: 1, postTanh: 3, postSiLU: 2, postGELU: 5, postGELUTanh: 6, postHardSwish: 7,
}

// posts compares chains of POST_OPS, bit for bit, with one operation after the other: those of one rounding each in Go,
// functions by the device, which the other tests judge.
func posts(t *testing.T, r *runner) {
	var chains [][]int
	for k := 1; k < postKinds; k++ {
		alone := make([]int, postSlots)
		alone[k%postSlots] = k
		chains = append(chains, alone)
	}
	chains = append(chains,
		[]int{postScale, postReLU, postLeaky, postClip, postAdd},
		[]int{postAddBias, postPReLU, postScale, postSiLU, postAdd},
		[]int{postPReLU, postScale, postScale, postAddBias, postGELU},
		[]int{postAdd, postAdd, postTanh, postHardSwish, postGELUTanh},
	)
	const channels, n = 7, 7 * 300
	rng := rand.New(rand.NewPCG(1, 2))
	in := bits([]float32{0, float32(math.Copysign(0, -1)), float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))})
	in = append(in, bits(random(rng, n-len(in)))...)
	res := random(rng, n)
	for _, chain := range chains {
		packed, rows := int32(0), 0
		for slot, k := range chain {
			packed |= int32(k) << (4 * slot)
			switch k {
			case postScale:
				rows += 2
			case postPReLU, postAddBias:
				rows++
			}
		}
		par := random(rng, 2*postSlots+rows*channels)
		for slot := range postSlots {
			par[2*slot+1] = par[2*slot] + 1 // clip's bounds in order
		}
		got := r.run(t, call{mode: 14, chain: packed, channels: channels, par: par, res: res}, in)

		want := append([]uint32(nil), in...)
		row := 2 * postSlots
		for slot, k := range chain {
			if mode, ok := modes[k]; ok {
				want = r.run(t, call{mode: mode, chain: packed}, want)
				continue
			}
			for i := range want {
				a, b := par[2*slot], par[2*slot+1]
				switch k {
				case postScale:
					a, b = par[row+i%channels], par[row+channels+i%channels]
				case postPReLU, postAddBias:
					a = par[row+i%channels]
				case postAdd:
					a = res[i]
				}
				want[i] = math.Float32bits(simple(k, math.Float32frombits(want[i]), a, b))
			}
			switch k {
			case postScale:
				row += 2 * channels
			case postPReLU, postAddBias:
				row += channels
			}
		}
		for i := range got {
			g, w := math.Float32frombits(got[i]), math.Float32frombits(want[i])
			if g != w && (g == g || w == w) {
				t.Fatalf("chain %v of %g at %d: %g, not %g", chain, math.Float32frombits(in[i]), i, g, w)
			}
		}
	}
}

// simple is a post-operation without a function.
func simple(kind int, x, a, b float32) float32 {
	switch {
	case kind == postReLU && x < 0:
		return 0
	case (kind == postLeaky || kind == postPReLU) && x < 0:
		return x * a
	case kind == postClip && x < a:
		return a
	case kind == postClip && x > b:
		return b
	case kind == postScale:
		return float32(x*a) + b
	case kind == postAddBias || kind == postAdd:
		return x + a
	}
	return x
}

// random numbers around 0.
func random(rng *rand.Rand, n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(rng.NormFloat64() * 3)
	}
	return out
}
