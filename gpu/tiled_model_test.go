package gpu

import (
	"testing"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// The model gives a GPU's units work: parts where there are few tiles, tiles that the problem fills, large ones where there
// are many, and the mode that suits the source.
func TestTiledModel(t *testing.T) {
	const units = 132
	f := newFake()
	f.info.LocalBytes, f.info.MaxGroupItems, f.info.MaxGroupSize = 48<<10, 1024, [3]int{1024, 1024, 64}
	f.info.MaxBindingBytes, f.info.MaxBufferBytes, f.info.MemoryBytes = 4<<30, 4<<30, 80<<30
	f.info.ComputeUnits = units
	d := f.open(t)
	choose := func(text string) *tiledGemm {
		t.Helper()
		p, err := problem.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		g, err := newTiledGemm(d, &p, "", false)
		if err != nil {
			t.Fatal(text, err)
		}
		return g
	}
	for _, c := range []struct {
		text        string
		mode        int
		parts, wide bool // more than one; 64 sums a work-item
	}{
		{"mb1ic3ih224oc64oh112kh7sh2ph3", flatRows, false, false},
		{"mb1ic64ih56oc64kh3ph1", bySlices, true, false},
		{"mb1ic256ih14oc256kh3ph1", bySlices, true, false},
		{"mb1ic512ih7oc512kh3ph1", bySlices, true, false},
		{"mb1ic256ih56oc64kh1", wideRows, true, false},
		{"mb1ic512ih7oc2048kh1", bySlices, true, false},
		{"mb16ic64ih56oc64kh3ph1", bySlices, false, false},
		{"mb16ic3ih224oc64oh112kh7sh2ph3", flatRows, false, false},
		{"mb16ic256ih56oc256kh3ph1", bySlices, false, true},
		{"mb16ic256ih56oc256kh1", wideRows, false, true},
		{"mb1ic32ih1024oc32kh3ph1", bySlices, false, false},
		{"conv:BWD_D:mb16ic256ih56oc256kh3sh2ph1", bySlices, false, false},
		{"conv:BWD_W:mb1ic64ih56oc64kh3ph1", flatRows, true, false},
		{"conv:BWD_W:mb16ic256ih14oc256kh3ph1", bySlices, true, false},
	} {
		g := choose(c.text)
		ph := &g.phases[len(g.phases)-1]
		groups := g.groups(ph) * g.parts
		waste := float64(g.groups(ph)*g.bm*g.bn) / float64(g.pixels(ph)*g.ocg*g.conv.groups)
		t.Logf("%s: %s, mode %d, %d groups, %.2f of the tiles used", c.text, g.text(), g.mode(ph), groups, 1/waste)
		if g.mode(ph) != c.mode || g.parts > 1 != c.parts || c.wide && g.tm*g.tn < 64 {
			t.Errorf("%s takes %s, mode %d", c.text, g.text(), g.mode(ph))
		}
		if groups < units/2 || waste > 1.6 {
			t.Errorf("%s, %s: %d groups for %d units, %.2f times the work", c.text, g.text(), groups, units, waste)
		}
	}
	f.info.ComputeUnits, d.info.ComputeUnits = 1, 1
	if g := choose("mb1ic512ih7oc512kh3ph1"); g.parts > 4 {
		t.Errorf("one unit takes %s", g.text())
	}
}
