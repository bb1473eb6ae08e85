package cpu

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
)

// TestHalvesInPlace: products read 16-bit floats where they lie, in bands, images and groups, and with weights that are not
// finite loops have them widened.
func TestHalvesInPlace(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	for _, text := range []string{
		"f16:mb1ic300ih56oc8kh1", "f16:bias:post=relu+add:mb2ic64ih7oc96kh1", "f16:g3mb3ic36ih13oc48kh1", "f16:mb2ic33ih3oc17kh1",
		"f16:mb1ic40id3ih5iw7oc24kd1kh1kw1", "f16:post=relu:then=max(kh2sh2):mb1ic48ih28oc32kh1",
	} {
		p := problemtest.Parse(t, text)
		in := operands(t, r, &p)
		infinite := in
		infinite[problem.Wei].F32 = append([]float32(nil), in[problem.Wei].F32...)
		infinite[problem.Wei].F32[5] = float32(math.Inf(1))
		for _, isa := range simd.Supported() {
			t.Setenv("GONVOLVE_CPU", isa.String())
			d := open(t)
			way := "igemm"
			if p.Fused() {
				way = "conv+pool"
			} else if ig := newIgemm(d, &p, false); !ig.halves {
				t.Errorf("%s: its source is widened apart", text)
			}
			got, want := run(t, d, p, way, in)[problem.Dst], truth(t, p, in, problem.Dst)
			judge(t, &p, way, problem.Dst, want, got)
			got, want = run(t, d, p, way, infinite)[problem.Dst], truth(t, p, infinite, problem.Dst)
			judge(t, &p, way, problem.Dst, want, got)
		}
	}
}
