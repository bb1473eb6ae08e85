package gpu

import (
	"testing"

	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/gpu/hal"
)

// The model gives a GPU's units work and many products for what they load, of what its local memory and work-groups can hold.
func TestMatrixModel(t *testing.T) {
	const units = 132
	f := newFake()
	f.info.LocalBytes, f.info.MaxGroupItems, f.info.MaxGroupSize = 48<<10, 1024, [3]int{1024, 1024, 64}
	f.info.MaxBindingBytes, f.info.MaxBufferBytes, f.info.MemoryBytes = 4<<30, 4<<30, 80<<30
	f.info.ComputeUnits, f.info.SubgroupLanes = units, 32
	d := f.open(t)
	d.proof.Matrix = hal.Matrix{M: 16, N: 16, K: 16}
	for _, c := range []struct {
		text        string
		parts, wide bool // more than one; a tile of at least 128×128
	}{
		{"conv:f16:mb1ic64ih56oc64kh3ph1", false, false},
		{"conv:f16:mb1ic256ih14oc256kh3ph1", true, false},
		{"conv:f16:mb1ic512ih7oc512kh3ph1", true, false},
		{"conv:f16:mb1ic512ih7oc2048kh1", false, false},
		{"conv:f16:mb16ic64ih56oc64kh3ph1", false, false},
		{"conv:f16:mb16ic256ih56oc256kh3ph1", false, true},
		{"conv:f16:mb16ic256ih56oc256kh1", false, true},
		{"conv:f16:mb16ic512ih7oc512kh3ph1", true, false},
	} {
		p, err := problem.Parse(c.text)
		if err != nil {
			t.Fatal(err)
		}
		for _, local := range []int64{48 << 10, 32 << 10, 16 << 10} {
			d.limits.LocalBytes = local
			g, err := newMatrixGemm(d, &p, "", false)
			if err != nil {
				t.Fatal(c.text, err)
			}
			groups := g.groups() * g.parts
			waste := float64(g.groups()*g.bm*g.bn) / float64(g.pixels(&g.phases[0])*g.ocg*g.conv.groups)
			t.Logf("%s, %d KiB: %s, %d groups, %.2f of the tiles used", c.text, local>>10, tileText(g.tunables()), groups, 1/waste)
			if g.localBytes() > local || groups < units/4 || waste > 1.6 {
				t.Errorf("%s, %s: %d bytes of local memory, %d groups, %.2f times the work", c.text, tileText(g.tunables()),
					g.localBytes(), groups, waste)
			}
			if local == 48<<10 && (g.parts > 1 != c.parts || c.wide && g.bm*g.bn < 128*128) {
				t.Errorf("%s takes %s", c.text, tileText(g.tunables()))
			}
			for _, tile := range matrixTilings(false)(d, &p) {
				if g, err := newMatrixGemm(d, &p, tile, false); err != nil || g.localBytes() > local || tileText(g.tunables()) != tile {
					t.Errorf("%s: tile %s makes %+v, %v", c.text, tile, g, err)
				}
			}
		}
	}
}
