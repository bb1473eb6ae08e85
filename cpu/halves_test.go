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

// TestHalvesOfPlanes: poolings and depthwise convolutions read and write 16-bit floats where they lie: of small planes some
// at a time, of large ones in bands, with post-ops, and with weights that are not finite as floats.
func TestHalvesOfPlanes(t *testing.T) {
	r := rand.New(rand.NewPCG(33, 34))
	for _, text := range []string{
		"pool:max:f16:mb2ic70ih7kh3ph1", "pool:avg_p:f16:mb1ic3ih131iw67kh3kw3sh2sw2ph1pw1", "pool:max:f16:mb1ic1ih190iw45kh2kw2sh2sw2",
		"pool:avg_np:f16:mb3ic37ih7oh1kh7", "pool:max:f16:mb1ic5id1ih33iw33kd1kh3kw3ph1pw1", "f16:g35mb2ic35ih9oc35kh3ph1",
		"f16:bias:post=relu+add:g3mb1ic3ih120iw70oc3kh3kw3ph1pw1", "f16:post=relu:then=max(kh2sh2):g6mb1ic6ih28oc6kh3ph1",
	} {
		p := problemtest.Parse(t, text)
		in := operands(t, r, &p)
		infinite := in
		if wei := in[problem.Wei].F32; wei != nil {
			infinite[problem.Wei].F32 = append([]float32(nil), wei...)
			infinite[problem.Wei].F32[5] = float32(math.Inf(1))
		}
		for _, isa := range simd.Supported() {
			t.Setenv("GONVOLVE_CPU", isa.String())
			d := open(t)
			way := "depthwise"
			switch {
			case p.Op == problem.Pool:
				way = "rows"
			case p.Fused():
				way = "conv+pool"
			}
			pl, err := d.Plan(t.Context(), p, wayOf(way).Options())
			if err != nil {
				t.Fatal(err)
			}
			if !pl.(*plan).igemm.asIs(problem.Src) && isa != simd.Portable { // which has no windows that slide
				t.Errorf("%s: its source is widened apart", text)
			}
			got, want := run(t, d, p, way, in)[problem.Dst], truth(t, p, in, problem.Dst)
			judge(t, &p, way, problem.Dst, want, got)
			got, want = run(t, d, p, way, infinite)[problem.Dst], truth(t, p, infinite, problem.Dst)
			judge(t, &p, way, problem.Dst, want, got)
		}
	}
}
