package cpu

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// TestGradientsNotFinite has an infinity or NaN in one operand of gradients, of more weights than there are operands, which
// are looked at before, and of fewer, which are looked at in the end.
func TestGradientsNotFinite(t *testing.T) {
	r := rand.New(rand.NewPCG(25, 26))
	for _, text := range []string{"BWD_W:mb1ic20ih3oc24kh3ph1", "BWD_W:mb2ic16ih12oc17kh3ph1"} {
		p, err := problem.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, isa := range simd.Supported() {
			d := &Device{info: info(), isa: isa}
			for _, role := range p.Inputs() {
				for _, special := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
					in := operands(t, r, &p)
					v := in[role].F32
					v[r.IntN(len(v))] = float32(special)
					out := p.Outputs()[0]
					got := run(t, d, p, "igemm", in)[out]
					for i, want := range truth(t, p, in, out) {
						if !same(got[i], float64(float32(want.Value))) {
							t.Fatalf("%s on %s, %v in %s: element %d is %v, not %v", text, isa, special, role, i, got[i], want.Value)
						}
					}
				}
			}
		}
	}
}
