package cpu

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
)

// TestMaxCells has ties, infinities and NaN in planes that are whole, parted and read in bands, by rows and by plain loops:
// the same maxima, the same cells, and the same sums in the same order.
func TestMaxCells(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	mixed := func() float32 { return []float32{0, 1, 2, 3, -1, -2, inf, -inf, nan}[r.IntN(9)] }
	least := func() float32 { return []float32{-inf, -inf, -inf, -inf, -inf, -inf, -1, nan}[r.IntN(8)] }
	for _, text := range []string{
		"mb2ic3ih17kh3sh2ph1", "mb1ic2ih200iw171kh3kw3ph1pw1", "mb1ic1ih530kh2sh2",
		"mb1ic1ih203iw180kh3kw2sh1sw3ph1pw0dh1dw0", "mb2ic5id9ih8iw11kd3kh2kw3sd2sh1sw2pd1ph0pw1",
		"mb1ic2id40ih20iw30kd3kh3kw3pd1ph1pw1", "mb1ic1id5ih30iw30od1oh30ow30kd5kh3kw3pd0ph1pw1",
		"mb1ic2ih1iw5000kh1kw5sh1sw2ph0pw2", "mb1ic1ih4000iw1kh3kw1sh2sw1ph1pw0", "mb1ic3ih30kh5sh1ph4",
		"mb1ic4ih13oh7kh3sh2ph0", "mb1ic2ih12kh9sh1ph7dh1",
	} {
		for _, prefix := range []string{"BWD_D:", "indices=plane:", "indices=flat:", "indices=column:"} {
			p := problemtest.Parse(t, "pool:max:"+prefix+text)
			for _, value := range []func() float32{mixed, least} {
				in := operands(t, r, &p)
				for i := range in[problem.Src].F32 {
					in[problem.Src].F32[i] = value()
				}
				for _, isa := range simd.Supported() {
					t.Setenv("GONVOLVE_CPU", isa.String())
					d := open(t)
					got, want := run(t, d, p, "rows", in), run(t, d, p, "direct", in)
					for _, role := range p.Outputs() {
						for i, v := range got[role] {
							if !same(v, want[role][i]) {
								t.Fatalf("%s on %s: %s element %d is %v, not %v", p.String(), isa, role, i, v, want[role][i])
							}
						}
					}
				}
			}
		}
	}
}

// TestWindowHolds compares windows' arithmetic with the definition, for every cell and what is none: with dilation, padding,
// cropping and windows that adapt.
func TestWindowHolds(t *testing.T) {
	for _, text := range []string{
		"ih9kh3sh2ph1", "ih9iw7kh3kw2sh1sw3ph1pw0dh1dw0", "id4ih5iw6kd2kh3kw2sd1sh2sw2pd1ph1pw1", "ih7iw5kh4kw5ph3pw4", "ih6kh3sh1ph1dh2",
		"id5ih4iw3kd3kh2kw2dd1dh1dw1pd2ph1pw1", "ih11iw10oh3ow4kh3kw2sh3sw2ph-1pw-1",
	} {
		p := problemtest.Parse(t, "pool:max:BWD_D:indices=plane:mb1ic1"+text)
		w := newWindows(&p)
		in, out := spatialSizes(&p)
		for i := range volume(out) {
			_, x := split(int64(i), out)
			for cell := -2; cell < volume(in)+2; cell++ {
				want := cell < volume(in) && holds(&p, i, cell)
				if got := w.holds([3]span{w.spans[0][x[0]], w.spans[1][x[1]], w.spans[2][x[2]]}, cell); got != want {
					t.Fatalf("%s: window %d has cell %d: %v, not %v", text, i, cell, got, want)
				}
			}
		}
	}
}
