package cpu

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
)

// What is not finite stays where plain sums have it: a transformed tile would spread it, and overflow where they don't.
func TestWinogradNotFinite(t *testing.T) {
	for _, m := range simd.WinogradSizes {
		notFinite(t, "winograd "+sizeText(m), "bias:post=relu:mb2ic3ih14oc5oh14kh3ph1", "BWD_D:g2mb1ic4ih13oc6oh15kh3ph2",
			"deconv:mb1ic2ih9oc3kh3ph1")
	}
}

// notFinite compares what an algorithm makes of infinities, NaN and large numbers in the middle of a source with what
// plain loops do.
func notFinite(t *testing.T, algorithm string, problems ...string) {
	r := rand.New(rand.NewPCG(31, 32))
	for _, isa := range simd.Supported() {
		d := &Device{info: info(), isa: isa}
		for _, text := range problems {
			p := problemtest.Parse(t, text)
			for _, strange := range []float32{float32(math.Inf(1)), float32(math.NaN()), 3e38} {
				in := operands(t, r, &p)
				src := in[p.Inputs()[0]].F32
				src[len(src)/2] = strange
				if strange == 3e38 { // times the weights' integers: of 1 alone it is no overflow
					for i := range in[problem.Wei].F32 {
						in[problem.Wei].F32[i] = 1
					}
				}
				role := p.Outputs()[0]
				got, want := run(t, d, p, algorithm, in)[role], run(t, d, p, "direct", in)[role]
				odd := 0
				for i, v := range want {
					if !same(v, got[i]) && (v-v != 0 || got[i]-got[i] != 0) {
						t.Fatalf("%s, %s, %v: element %d is %v, not %v", isa, text, strange, i, got[i], v)
					}
					if v-v != 0 || math.Abs(v) > 1e38 {
						odd++
					}
				}
				if odd == 0 || odd == len(want) {
					t.Errorf("%s, %s, %v: %d of %d elements are strange", isa, text, strange, odd, len(want))
				}
			}
		}
	}
}

// Strips of all sizes, shared or not, give what one does, and no run takes more memory than its plan says.
func TestWinogradStrips(t *testing.T) {
	r := rand.New(rand.NewPCG(33, 34))
	d := open(t)
	for _, text := range []string{
		"mb1ic64ih60oc24oh60kh3ph1",       // strips of one worker each, the last ones smaller
		"mb3ic40ih30oc70oh30kh3ph1",       // the last block of channels smaller
		"mb1ic200ih14oc72oh14kh3ph1",      // two strips
		"mb1ic300ih7oc260oh7kh3ph1",       // one, shared by all
		"mb1ic16ih9iw300oc8kh3kw3ph1pw1",  // rows of many vectors
		"bias:g2mb2ic32ih33oc48kh3ph1",    // groups
		"mb2ic128ih9iw400oc8kh3kw3ph1pw1", // parts of rows
		"mb7ic40ih14oc40oh14kh3ph1",       // several images together
		"g3mb5ic36ih7oc51oh7kh3ph1",       // and the last of them, of groups
		"mb4ic1ih256oc70oh256kh3ph1",      // results past the caches, more blocks of them than channels to read
	} {
		p := problemtest.Parse(t, text)
		in := operands(t, r, &p)
		role := p.Outputs()[0]
		at := []int64{0, problem.Elems(p.Shape(role)) - 1}
		for range 1500 {
			at = append(at, r.Int64N(at[1]+1))
		}
		for _, m := range simd.WinogradSizes {
			name := "winograd " + sizeText(m)
			got := run(t, d, p, name, in)[role]
			picked := make([]float64, len(at))
			for i, e := range at {
				picked[i] = got[e]
			}
			judge(t, &p, name, role, truthOf(t, p, name, in, role, at), picked)
		}
	}
}
