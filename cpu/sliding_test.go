package cpu

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
)

// TestSlidingLarge has planes that are read in bands, results that are stored past the caches, and planes of which a part
// of the work has several, by plain loops and by windows that slide: the same, bit for bit, as operands are small integers.
func TestSlidingLarge(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var past []string // the caches
	if !testing.Short() {
		past = []string{"g3mb1ic3ih1700iw1680oc3kh3kw3ph1pw1", "pool:max:mb1ic2ih4128kh2sh2"}
	}
	for _, text := range append(past, []string{
		"g2mb1ic2ih530oc2oh530kh3ph1",
		"bias:post=relu+add:g2mb1ic2ih530iw513oc2kh5kw5ph2pw2",
		"g2mb1ic2ih515iw520oc2kh3kw3sh2sw2ph1pw1",
		"BWD_D:g2mb1ic2ih530iw513oc2kh3kw3ph1pw1",
		"pool:max:mb1ic2ih530kh3sh2ph1",
		"pool:max:mb3ic50ih14kh3sh1ph1",
		"pool:avg_np:mb1ic1ih600kh3ph1",
		"g2mb1ic8ih30oc8kh3ph1",
		"bias:post=relu:g2mb2ic6ih530oc4kh3sh2ph1",
		"BWD_D:g2mb1ic8ih30oc6kh5ph2",
		"g70mb2ic70ih14oc140kh3ph1",
	}...) {
		p := problemtest.Parse(t, text)
		in := operands(t, r, &p)
		for _, isa := range simd.Supported() {
			if isa == simd.Portable {
				continue // by rows: the algorithm that TestISAs has
			}
			t.Setenv("GONVOLVE_CPU", isa.String())
			d := open(t)
			name := "depthwise"
			if p.Op == problem.Pool {
				name = "rows"
			}
			pl, err := d.Plan(t.Context(), p, driver.PlanOptions{Algorithm: name})
			if err != nil {
				t.Fatal(err)
			}
			if tile := pl.Info().Tile; !strings.Contains(tile, "sliding") {
				t.Errorf("%s by %s: %s", text, name, tile)
			}
			want := run(t, d, p, "direct", in)[p.Outputs()[0]]
			for i, got := range run(t, d, p, name, in)[p.Outputs()[0]] {
				if !same(got, want[i]) {
					t.Fatalf("%s on %s: element %d is %v, not %v", text, isa, i, got, want[i])
				}
			}
		}
	}
}

// TestShares: planes are put together or cut, never both.
func TestShares(t *testing.T) {
	for _, planes := range []int{0, 1, 7, 8, 1000} {
		for _, elems := range []int{1, 49, 1 << 20} {
			per, bands := shares(planes, elems, 7, 2)
			if per < 1 || bands < 1 || per > 1 && bands > 1 {
				t.Errorf("%d planes of %d: %d at a time, %d bands", planes, elems, per, bands)
			}
		}
	}
}
