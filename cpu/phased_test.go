package cpu

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
)

// TestPhasedRows has rows of odd and even lengths, in one to three dimensions, whole and in bands, phases that no tap reaches
// and several channels from one, by all phases together and by plain loops.
func TestPhasedRows(t *testing.T) {
	r := rand.New(rand.NewPCG(61, 62))
	for _, text := range []string{
		"BWD_D:g3mb2ic3ih17oc3kh3sh2ph1", "BWD_D:g2mb1ic2ih1iw1000oc2kh1kw5sh1sw2ph0pw2", "deconv:mb1ic1oc1iw1ow3kw3sw2",
		"BWD_D:g2mb1ic4id9ih8iw9oc2kd3kh3kw3sd2sh3sw2pd1ph1pw1", "BWD_D:mb1ic1ih600iw601oc1kh3kw3sh2sw2ph1pw1",
		"BWD_D:g4mb1ic4ih22iw23oc4kh1kw1sh3sw2ph0pw0", "deconv:bias:post=relu:g2mb1ic2ih30oc6oh60kh4sh2ph1",
		"BWD_D:g2mb3ic2ih40iw21oc2kh5kw2sh2sw2ph2pw0", "BWD_D:mb1ic1ih1iw20003oc1kh1kw3sh1sw2ph0pw1",
	} {
		p := problemtest.Parse(t, text)
		in := operands(t, r, &p)
		for _, isa := range simd.Supported() {
			t.Setenv("GONVOLVE_CPU", isa.String())
			d := open(t)
			pl, err := d.Plan(t.Context(), p, driver.PlanOptions{Algorithm: "depthwise"})
			if err != nil {
				t.Fatal(err)
			}
			if tile := pl.Info().Tile; !strings.Contains(tile, "phases") {
				t.Errorf("%s: %s", text, tile)
			}
			role := p.Outputs()[0]
			want := run(t, d, p, "direct", in)[role]
			for i, got := range run(t, d, p, "depthwise", in)[role] {
				if !same(got, want[i]) {
					t.Fatalf("%s on %s: element %d is %v, not %v", text, isa, i, got, want[i])
				}
			}
		}
	}
}
