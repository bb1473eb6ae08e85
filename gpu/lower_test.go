package gpu

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/gpu/hal"
)

// kernelsOf plans a problem by the general kernels and lists the kernels that packing and running dispatch.
func kernelsOf(t *testing.T, d *Device, text string) (pl *plan, pack, run []string) {
	t.Helper()
	p, err := problem.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	made, err := d.Plan(t.Context(), p, driver.PlanOptions{Algorithm: "direct"})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	t.Cleanup(func() { made.Close() })
	pl = made.(*plan)
	names := func(steps []step) (list []string) {
		for _, s := range steps {
			if s.cmd.Op == hal.Dispatch {
				list = append(list, s.kernel.key.name)
			}
		}
		return list
	}
	return pl, names(pl.pack), names(pl.run)
}

// What is f32 in NCHW with zeros as padding runs on the caller's tensors; everything else costs its conversions, no more.
func TestLowering(t *testing.T) {
	d := newFake().open(t)
	for _, c := range []struct {
		text      string
		pack, run []string
	}{
		{"mb1ic3ih9oc5kh3ph1", nil, []string{"conv_direct"}},
		{"conv:BWD_D:mb1ic3ih9oc5kh3ph1", nil, []string{"conv_transposed"}},
		{"deconv:BWD_D:mb1ic3ih9oc5kh3ph1", nil, []string{"conv_direct"}},
		{"conv:BWD_W:mb64ic128ih9oc64kh3", nil, []string{"conv_weights"}},
		{"conv:BWD_W:mb64ic1ih9oc1kh3", nil, []string{"conv_weights", "sum_parts"}},
		{"conv:src=nhwc:mb1ic3ih9oc5kh3", nil, []string{"reformat", "conv_direct"}},
		{"conv:dst=nhwc:post=add:mb1ic3ih9oc5kh3", nil, []string{"reformat", "conv_direct", "reformat"}},
		{"conv:f16:mb1ic3ih9oc5kh3", []string{"reformat"}, []string{"reformat", "conv_direct", "reformat"}},
		{"conv:u8-s8-s32:mb1ic3ih9oc5kh3", []string{"reformat"}, []string{"reformat", "conv_direct"}},
		{"conv:pad=reflect:mb1ic3ih9oc5kh3ph1", nil, []string{"pad_mode", "conv_direct"}},
		{"conv:BWD_D:pad=reflect:mb1ic3ih9oc5kh3ph1", nil, []string{"conv_transposed", "pad_fold", "pad_fold"}},
		{"conv:BWD_D:f16:pad=circular:mb1ic3iw9oc5kw3pw1", []string{"reformat"}, []string{"reformat", "conv_transposed", "pad_fold", "reformat"}},
		{"conv:BWD_D:pad=reflect:mb1ic3ih9oc5kh3ph0", nil, []string{"conv_transposed"}},
	} {
		pl, pack, run := kernelsOf(t, d, c.text)
		if !slices.Equal(pack, c.pack) || !slices.Equal(run, c.run) {
			t.Errorf("%s: packs by %v, runs %v", c.text, pack, run)
		}
		direct := len(c.run) == 1
		if direct != (pl.info.WorkspaceBytes == 0) {
			t.Errorf("%s: %d bytes of workspace", c.text, pl.info.WorkspaceBytes)
		}
	}
}

// Pieces that are in use at the same step have slots of their own, large enough; only what both lists use is kept.
func TestPlace(t *testing.T) {
	d := newFake().open(t)
	rnd := rand.New(rand.NewPCG(9, 10))
	for range 300 {
		pl := &plan{dev: d}
		for range 1 + rnd.IntN(8) {
			pl.scratch(rnd.Int64N(100))
		}
		steps := func() (list []step) {
			for range rnd.IntN(10) {
				s := step{uses: []operand{operand(problem.Src), none}}
				for range rnd.IntN(3) {
					s.uses = append(s.uses, problem.Roles+operand(rnd.IntN(len(pl.pieces))))
				}
				list = append(list, s)
			}
			return list
		}
		pl.run = steps()
		if rnd.IntN(2) == 0 {
			pl.pack = steps()
		}
		if err := pl.place(); err != nil {
			t.Fatal(err)
		}
		kept := int64(0)
		for _, list := range []struct {
			steps []step
			slots []int64
		}{{pl.pack, pl.packSlots}, {pl.run, pl.runSlots}} {
			lives := pl.lifetimes(list.steps)
			for i, a := range lives {
				p := pl.pieces[i]
				if !a.used || p.kept {
					continue
				}
				if list.slots[p.slot] < p.bytes {
					t.Fatalf("piece of %d bytes in a slot of %d", p.bytes, list.slots[p.slot])
				}
				for j, b := range lives[:i] {
					if q := pl.pieces[j]; b.used && !q.kept && q.slot == p.slot && a.first <= b.last && b.first <= a.last {
						t.Fatalf("pieces %d and %d share slot %d at the same time", i, j, p.slot)
					}
				}
			}
		}
		packs, runs := pl.lifetimes(pl.pack), pl.lifetimes(pl.run)
		for i, p := range pl.pieces {
			if p.kept != (packs[i].used && runs[i].used) {
				t.Fatalf("piece %d kept: %t", i, p.kept)
			}
			if p.kept {
				kept += p.bytes
			}
		}
		if kept != pl.info.WeightsBytes {
			t.Fatalf("%d bytes are kept, %d are told", kept, pl.info.WeightsBytes)
		}
	}
}

// The segments of all parts and dispatches cover the sum once, within the loop limit.
func TestReduce(t *testing.T) {
	rnd := rand.New(rand.NewPCG(11, 12))
	for range 2000 {
		results, rows, columns := 1+rnd.IntN(1<<rnd.IntN(20)), rnd.IntN(1<<rnd.IntN(16)), 1+rnd.IntN(1<<rnd.IntN(24))
		limit := 1024 << rnd.IntN(12)
		r := reduce(results, rows, columns, 1<<rnd.IntN(16), limit)
		if r.parts < 1 || r.parts > mostParts || r.parts*r.per < r.segments || (r.parts-1)*r.per >= max(1, r.segments) {
			t.Fatalf("%d segments in %+v", r.segments, r)
		}
		if r.chunk*r.chunks < columns || (r.chunks-1)*r.chunk >= columns || r.segments != rows*r.chunks {
			t.Fatalf("%d rows of %d columns in %+v", rows, columns, r)
		}
		if cost := 1 + r.step*(2+r.chunk); r.step < 1 || cost > limit {
			t.Fatalf("limit %d: %+v costs %d", limit, r, cost)
		}
	}
}
