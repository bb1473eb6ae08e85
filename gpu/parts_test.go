package gpu

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/gpu/hal"
)

// The parts of a problem cover each tensor that is cut once, at whole words, and kernels can bind each of them.
func TestCut(t *testing.T) {
	d := newFake().open(t)
	rnd := rand.New(rand.NewPCG(13, 14))
	cuts := 0
	for range 20_000 {
		p := problem.Random(rnd, 24)
		d.binding = 4 << (8 + rnd.IntN(6))
		c, err := d.cut(&p)
		if err != nil || c.whole() {
			if whole := d.bindable(&p) == nil; whole != (err == nil) {
				t.Fatalf("%s in %d bytes: %v", p.String(), d.binding, err)
			}
			continue
		}
		cuts++
		summed := p.Dir == problem.BackwardWeights || p.Dir == problem.BackwardBias
		for _, r := range tensors(&p) {
			n := problem.Elems(p.Shape(r))
			if matrix(r) || summed && !batched(r) || n == problem.Elems(c.parts[0].p.Shape(r)) {
				continue
			}
			var ranges [][2]int64 // output channels of an image are cut where the source is not
			for i := range c.parts {
				q := &c.parts[i]
				from := q.at[r]
				to := from + problem.Elems(q.p.Shape(r))*int64(p.TypeOf(r).Size())
				if from%4 != 0 {
					t.Fatalf("%s in %s: part %d of %s begins at byte %d", p.String(), c, i, r, from)
				}
				if !slices.Contains(ranges, [2]int64{from, to}) {
					ranges = append(ranges, [2]int64{from, to})
				}
			}
			slices.SortFunc(ranges, func(a, b [2]int64) int { return cmp.Compare(a[0], b[0]) })
			at := int64(0)
			for _, q := range ranges {
				if q[0] != at {
					t.Fatalf("%s in %s: %s at %d", p.String(), c, r, ranges)
				}
				at = q[1]
			}
			if at != n*int64(p.TypeOf(r).Size()) {
				t.Fatalf("%s in %s: %s of %d elements at %d", p.String(), c, r, n, ranges)
			}
		}
		for i := range c.parts {
			if err := d.bindable(&c.parts[i].p); err != nil {
				t.Fatalf("%s in %s: part %d: %v", p.String(), c, i, err)
			}
		}
	}
	if cuts < 1000 {
		t.Errorf("only %d problems were cut", cuts)
	}
}

// Parts that are alike are packed once and compiled once, and their views are made once for all runs.
func TestPartsShare(t *testing.T) {
	f := newFake()
	d := f.open(t)
	d.binding = 64 << 10
	p, err := problem.Parse("mb16ic4ih64oc4oh64kh3ph1") // 64 KiB an image
	if err != nil {
		t.Fatal(err)
	}
	made, err := d.Plan(t.Context(), p, driver.PlanOptions{Algorithm: "direct"})
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	pl := made.(*plan)
	if len(pl.run) != 16 || len(pl.pack) != 1 || len(f.compiled["conv_direct"]) != 1 {
		t.Errorf("%d steps of %d kernels, %d to pack", len(pl.run), len(f.compiled["conv_direct"]), len(pl.pack))
	}
	if want := 4 * problem.Elems(p.Shape(problem.Wei)); pl.info.WeightsBytes != want {
		t.Errorf("%d bytes of weights are kept, not %d", pl.info.WeightsBytes, want)
	}
	s, err := d.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var args driver.Args
	for _, r := range []problem.Role{problem.Src, problem.Wei, problem.Dst} {
		if args.Buffers[r], err = d.Alloc(bufferBytes(&p, r)); err != nil {
			t.Fatal(err)
		}
		defer args.Buffers[r].Free()
	}
	w, _, err := pl.Pack(t.Context(), s, args.Buffers)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Free()
	args.Weights = w
	views := 0
	for i := range 3 {
		if _, err := pl.Run(t.Context(), s, args); err != nil {
			t.Fatal(err)
		}
		f.mu.Lock()
		if i == 0 {
			views = f.live["views"]
		}
		if f.live["views"] != views {
			t.Errorf("%d views after the first run, %d after run %d", views, f.live["views"], i+1)
		}
		f.mu.Unlock()
	}
	seen := map[span]bool{}
	if err := s.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range f.dispatched {
		if c.Op != hal.Dispatch || c.Kernel.(*fakeKernel).src.Name != "conv_direct" {
			continue
		}
		v := c.Views[0].(*fakeView)
		if seen[span{v.off, v.n}] = true; v.n != d.binding {
			t.Errorf("a part of %d bytes", v.n)
		}
	}
	if len(seen) != 16 {
		t.Errorf("%d different parts ran", len(seen))
	}
}
