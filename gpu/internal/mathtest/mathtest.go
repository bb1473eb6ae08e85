// Package mathtest tests the functions of shaders/src/common.inc on the devices of an API, by the kernel math_check:
// their error bounds over all floats, or every so many of them, and that they have the same bits on every device.
package mathtest

import (
	"flag"
	"hash/fnv"
	"math"
	"testing"

	"github.com/gonvolve/gonvolve/gpu/hal"
)

// defaultStride is prime, so that the samples have all kinds of low bits.
const defaultStride = 4099

var stride = flag.Uint("mathstride", defaultStride, "test common.inc with every so many of the 2^32 floats; 1 is a proof")

const (
	unit = 1.0 / (1 << 24)        // half the distance from 1 to the next float32
	tiny = 1.1754943508222875e-38 // smallest normal float32: devices may take what is smaller for 0
	lost = 1.18e-38               // what a result near that may be off: EXP_F ends a little above it
)

// function is one function of common.inc.
type function struct {
	name     string
	mode     uint32
	hash     uint64 // of the results for the default samples
	exponent uint32
	truth    func(x float64) float64
	bound    func(x, truth float64) float64 // nil: the result is truth rounded once
	positive bool                           // it takes x >= 0 only
}

var functions = []function{
	{name: "EXP_F", mode: 0, hash: 0xd9135a72dc81d811, truth: math.Exp, bound: ulps(1)},
	{name: "SIGMOID_F", mode: 1, hash: 0x65ba5e9acc59ace1, truth: sigmoid, bound: ulps(2.5)},
	{name: "SILU_F", mode: 2, hash: 0xa7ac30df8de24211, truth: silu, bound: siluBound},
	{name: "TANH_F", mode: 3, hash: 0x89c0272f80114a97, truth: math.Tanh, bound: ulps(1.5)},
	{name: "ERF_F", mode: 4, hash: 0xedf20e1b8829cf08, truth: math.Erf, bound: ulps(1.5)},
	{name: "GELU_F", mode: 5, hash: 0xbee217d583f5a274, truth: gelu, bound: share(2)},
	{name: "GELU_TANH_F", mode: 6, hash: 0x5e45e25e9ce11c31, truth: geluTanh, bound: share(3)},
	{name: "HARDSWISH_F", mode: 7, hash: 0xd6a802655259d1fa, truth: hardSwish, bound: relative(3)},
	{name: "ROOT_F 1", mode: 8, hash: 0x9ac4ebea42c8732f, exponent: 1, truth: identity, positive: true},
	{name: "ROOT_F 2", mode: 8, hash: 0x961f3a255b4449c3, exponent: 2, truth: root(2), positive: true},
	{name: "ROOT_F 3", mode: 8, hash: 0x42186612e5ec1942, exponent: 3, truth: root(3), bound: ulps(2), positive: true},
	{name: "ROOT_F 7", mode: 8, hash: 0x588bd53cadc060e0, exponent: 7, truth: root(7), bound: ulps(2), positive: true},
	{name: "ROOT_F 255", mode: 8, hash: 0x6a46dc466e18a5ee, exponent: 255, truth: root(255), bound: ulps(2), positive: true},
	{name: "ROOT_F 100000", mode: 8, hash: 0xa2af7e6d2e01579c, exponent: 100000, truth: root(100000), bound: ulps(2), positive: true},
	{name: "POW_INT 1", mode: 9, hash: 0xaebf06cb49ce93bb, exponent: 1, truth: math.Abs},
	{name: "POW_INT 2", mode: 9, hash: 0xabf30dc3488a6018, exponent: 2, truth: func(x float64) float64 { return x * x }},
	{name: "POW_INT 3", mode: 9, hash: 0x43ab0218bda65f85, exponent: 3, truth: power(3), bound: relative(2)},
	{name: "POW_INT 29", mode: 9, hash: 0x88af435b473eba5b, exponent: 29, truth: power(29), bound: relative(28)},
	{name: "RINT_F", mode: 10, hash: 0x90e57e528df7dee5, truth: math.RoundToEven},
	{name: "SATURATE", mode: 11, hash: 0x625eae10a3ebc9f4, truth: func(x float64) float64 {
		if math.IsNaN(x) {
			return -128
		}
		return min(max(x, -128), 127)
	}},
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// gate is x·s, and 0 where x is infinite and s is 0.
func gate(x, s float64) float64 {
	if s == 0 {
		return 0
	}
	return x * s
}

func identity(x float64) float64 { return x }

func silu(x float64) float64 { return gate(x, sigmoid(x)) }

func gelu(x float64) float64 { return gate(x, math.Erfc(-x/math.Sqrt2)/2) }

func geluTanh(x float64) float64 {
	return gate(x, sigmoid(2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
}

func hardSwish(x float64) float64 {
	switch {
	case x <= -3:
		return 0
	case x >= 3:
		return x
	}
	return x * (x + 3) / 6
}

func root(p float64) func(float64) float64 {
	return func(x float64) float64 {
		switch {
		case x < tiny:
			return 0
		case p == 2:
			return math.Sqrt(x)
		}
		return math.Pow(x, 1/p)
	}
}

func power(p float64) func(float64) float64 {
	return func(x float64) float64 { return math.Pow(math.Abs(x), p) }
}

// ulps bounds the error by n distances of the floats around the true result.
func ulps(n float64) func(x, truth float64) float64 {
	return func(_, truth float64) float64 {
		_, e := math.Frexp(max(math.Abs(truth), tiny))
		return n*math.Ldexp(1, e-24) + lost
	}
}

// siluBound also multiplies what the sigmoid loses.
func siluBound(x, truth float64) float64 { return ulps(4)(x, truth) + lost*math.Abs(x) }

// relative bounds the error by n roundings of the result, one after the other.
func relative(n float64) func(x, truth float64) float64 {
	return func(_, truth float64) float64 { return math.Abs(truth)*n*unit/(1-n*unit) + lost }
}

// share bounds the error by n * 2^-24 of |x|.
func share(n float64) func(x, truth float64) float64 {
	return func(x, _ float64) float64 { return n*unit*math.Abs(x) + lost }
}

// edges are floats at which functions change their ways; their neighbours are tested too.
var edges = []float32{
	0, 1e-45, tiny, 1e-30, 0x1p-24, 0x1p-12, 0.35, 0.5, 0.5625, 0.875, 1, 1.5, 2, 2.5, 3, 4, 6, 9, 16, 17, 27, 64,
	87.3365, 88.7228317, 126.5, 127, 128, 1 << 22, 1 << 23, 1 << 24, 0x1p100, 0x1p127, math.MaxFloat32,
	float32(math.Inf(1)), // and its neighbour, NaN
}

// samples calls f with all inputs, a chunk at a time.
func samples(positive bool, f func([]uint32)) {
	var in []uint32
	add := func(u uint32) {
		if positive && u>>31 != 0 {
			return
		}
		if in = append(in, u); len(in) == chunk {
			f(in)
			in = in[:0]
		}
	}
	for _, e := range edges {
		for d := range uint32(5) {
			u := math.Float32bits(e) + d - 2
			add(u)
			add(u ^ 1<<31)
		}
	}
	for u := uint64(0); u < 1<<32; u += uint64(*stride) {
		add(uint32(u))
	}
	f(in)
}

// Run tests every device of the API.
func Run(t *testing.T, api hal.API) {
	for i, info := range devices(t, api) {
		t.Run(info.Name, func(t *testing.T) {
			r := open(t, api, i)
			for _, f := range functions {
				t.Run(f.name, func(t *testing.T) { f.test(t, r) })
			}
			t.Run("halves", func(t *testing.T) { halves(t, r) })
			t.Run("floats to halves", func(t *testing.T) { toHalves(t, r) })
			t.Run("post-operations", func(t *testing.T) { posts(t, r) })
		})
	}
}

func (f *function) test(t *testing.T, r *runner) {
	hash := fnv.New64a()
	worst, wrong := 0.0, 0
	samples(f.positive, func(in []uint32) {
		for i, u := range r.run(t, call{mode: f.mode, exponent: f.exponent}, in) {
			x, got := math.Float32frombits(in[i]), math.Float32frombits(u)
			// Devices may flush denormals, and divide inexactly where that is near.
			if math.Abs(float64(x)) >= 0x1p-100 && math.Abs(float64(got)) >= 0x1p-100 {
				_, _ = hash.Write([]byte{byte(u), byte(u >> 8), byte(u >> 16), byte(u >> 24)})
			}
			share := f.judge(x, got)
			worst = max(worst, share)
			if share > 1 {
				if wrong++; wrong < 10 {
					t.Errorf("of %g (%#x): %g, not %g", x, in[i], got, f.truth(float64(x)))
				}
			}
		}
	})
	t.Logf("worst error: %.3f of the bound; %d wrong", worst, wrong)
	if got := hash.Sum64(); *stride == defaultStride && got != f.hash {
		t.Errorf("the results hash to %#x, elsewhere to %#x", got, f.hash)
	}
}

// judge is the error as a share of the bound.
func (f *function) judge(x, got float32) float64 {
	truth := f.truth(float64(x))
	want := float32(truth)
	switch {
	case got == want, math.IsNaN(truth) && got != got:
		return 0
	case math.IsNaN(truth) || got != got:
		return math.Inf(1)
	case f.bound == nil: // only a denormal may be lost
		if math.Abs(truth) < tiny && got == 0 {
			return 0
		}
		return math.Inf(1)
	}
	bound := f.bound(float64(x), truth)
	if math.IsInf(float64(got), 0) || math.IsInf(float64(want), 0) { // only one is, and the truth may be either
		if math.Abs(truth)+bound > math.MaxFloat32 && math.Abs(truth)-bound <= math.MaxFloat32*(1+unit) {
			return 0
		}
		return math.Inf(1)
	}
	return math.Abs(float64(got)-truth) / bound
}
