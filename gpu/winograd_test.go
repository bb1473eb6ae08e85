//go:build cgo && !noopencl && !novulkan

package gpu_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/engine/winograd"
)

// Each size of tiles, with the product's vectors along channels and along tiles, is within its bounds on both APIs, and
// F(2×2, 3×3) of whole numbers is the truth bit for bit (the oracle says that it is exact).
func TestWinogradTiles(t *testing.T) {
	texts := []string{"bias:g2mb2ic8ih9iw19oc32kh3ph1kw3pw1", "deconv:mb1ic12ih8oc16kh3ph1"}
	if testing.Short() {
		texts = texts[:1]
	}
	for _, m := range winograd.Sizes {
		for vec := 1; vec <= 2; vec++ {
			o := driver.PlanOptions{Algorithm: "winograd", Tile: fmt.Sprintf("m=%d,vec=%d", m, vec)}
			judged(t, func(driver.Device) {}, texts, o, func(t *testing.T, p *problem.Problem, info driver.PlanInfo) {
				if info.Arithmetic != (driver.Arithmetic{Winograd: m}) || info.Tunables != o.Tile {
					t.Errorf("%s by %s is planned as %s, %s", p.String(), o.Tile, info.Tunables, info.Arithmetic)
				}
			})
		}
	}
}

// Tiles that there are not are refused, as is an arithmetic that rounds where the plan is to be exact.
func TestWinogradRefuses(t *testing.T) {
	p := problemtest.Parse(t, "mb1ic8ih9oc16kh3ph1")
	forEach(t, func(t *testing.T, dev driver.Device) {
		for _, o := range []driver.PlanOptions{{Tile: "m=3"}, {Tile: "vec=3"}, {Tile: "tx=4"}, {Tile: "m"}, {Exact: true}} {
			o.Algorithm = "winograd"
			if pl, err := dev.Plan(t.Context(), p, o); !errors.Is(err, driver.ErrUnsupported) || pl != nil {
				t.Errorf("%+v: %v", o, err)
			}
		}
	})
}
