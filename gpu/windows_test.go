package gpu

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/shaders"
)

// The boxes, walked one after the other and each row by row, are the walk row by row; none costs more than the limit.
func TestWindowBoxes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(21, 22))
	for range 300 {
		n := [3]int{1 + rnd.IntN(1<<rnd.IntN(6)), 1 + rnd.IntN(1<<rnd.IntN(6)), 1 + rnd.IntN(1<<rnd.IntN(12))}
		limit := 16 + rnd.IntN(1<<(5+rnd.IntN(10)))
		next := 0
		for _, b := range windowBoxes(n, limit) {
			var size [3]int
			for a := range size {
				size[a] = b.to[a] - b.from[a]
			}
			if cost := windowCost(size); cost > int64(limit) {
				t.Fatalf("%v, limit %d: %v costs %d", n, limit, b, cost)
			}
			for i := b.from[0]; i < b.to[0]; i++ {
				for j := b.from[1]; j < b.to[1]; j++ {
					for k := b.from[2]; k < b.to[2]; k++ {
						if at := (i*n[1]+j)*n[2] + k; at != next {
							t.Fatalf("%v, limit %d: cell %d comes after %d", n, limit, at, next-1)
						}
						next++
					}
				}
			}
		}
		if next != n[0]*n[1]*n[2] {
			t.Fatalf("%v, limit %d: %d cells are visited", n, limit, next)
		}
	}
	if n := len(windowBoxes([3]int{3, 3, 3}, 1<<16)); n != 1 {
		t.Errorf("a small window is cut into %d", n)
	}
}

// No cell lies within the reach of more windows than coveringWindows says, and of some axes one lies in just as many.
func TestCoveringWindows(t *testing.T) {
	rnd := rand.New(rand.NewPCG(23, 24))
	reached := 0
	for range 500 {
		a := problem.Axis{In: 1 + rnd.IntN(12), Kernel: 1 + rnd.IntN(4), Stride: 1 + rnd.IntN(4), Dilation: 1 + rnd.IntN(3)}
		a.PadL, a.PadR = rnd.IntN(3), rnd.IntN(3)
		a.Out = a.OutFloor()
		adaptive := rnd.IntN(3) == 0
		if adaptive {
			a = problem.Axis{In: 1 + rnd.IntN(12), Out: 1 + rnd.IntN(12), Kernel: 1, Stride: 1, Dilation: 1}
		}
		most := 0
		for x := range a.In {
			covering := 0
			for o := range a.Out {
				start, end := o*a.Stride-a.PadL, o*a.Stride-a.PadL+a.Extent()
				if adaptive {
					start, end = a.AdaptiveWindow(o)
				}
				if start <= x && x < end {
					covering++
				}
			}
			most = max(most, covering)
		}
		switch n := coveringWindows(a, adaptive); {
		case most > n:
			t.Fatalf("%+v, adaptive %v: %d windows cover one cell, not %d", a, adaptive, most, n)
		case most == n:
			reached++
		}
	}
	if reached < 200 {
		t.Errorf("only %d times as many windows as said", reached)
	}
}

// Plans of every operation on windows, with types, layouts and walks that are too long for one dispatch: the fake checks
// each dispatch's buffers and parameters.
func TestWindowPlans(t *testing.T) {
	for name, f := range classes() {
		f.loopLimit = 10_000
		d := f.open(t)
		stream, err := d.NewStream()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			text       string
			dispatches map[string]int
		}{
			{"pool:max:indices=flat:mb2ic3ih9kh3", map[string]int{"pool": 1}},
			{"pool:lp3:nhwc:f16:mb2ic3id5kd3", map[string]int{"reformat": 2, "pool": 1}},
			{"pool:avg_np:mb1ic2ih200oh1kh200", map[string]int{"pool": 16}},
			{"pool:max:BWD_D:mb2ic3ih9kh3", map[string]int{"pool": 1, "fold": 1}},
			{"pool:max:BWD_D:indices=plane:mb2ic3ih9kh3", map[string]int{"fold": 1}},
			{"pool:avg_ip:BWD_D:dst=nhwc:mb2ic3ih9kh3", map[string]int{"reformat": 1, "pool": 1, "fold": 1}},
			{"pool:avg_np:adaptive:BWD_D:mb1ic2iw2ow30000", map[string]int{"pool": 1, "fold": 4}},
			{"unpool:u8:indices=column:mb1ic3ih4kh2sh2", map[string]int{"reformat": 2, "unpool": 2}},
			{"unpool:BWD_D:indices=plane:mb1ic3ih4kh2sh2", map[string]int{"unpool": 1}},
			{"im2col:mb1ic3ih6kh3", map[string]int{"unfold": 1}},
			{"im2col:BWD_D:mb1ic3ih6kh3", map[string]int{"fold": 1}},
			{"col2im:mb0ic3ih6kh3", map[string]int{}},
		} {
			p, err := problem.Parse(c.text)
			if err != nil {
				t.Fatal(err)
			}
			f.dispatched = nil
			if err := runOnce(t.Context(), d, stream, p, "direct"); err != nil {
				t.Errorf("%s, %s: %v", name, c.text, err)
			}
			got := map[string]int{}
			for _, cmd := range f.dispatched {
				got[cmd.Kernel.(*fakeKernel).src.Name]++
			}
			if !maps.Equal(got, c.dispatches) {
				t.Errorf("%s, %s: dispatches %v, want %v", name, c.text, got, c.dispatches)
			}
		}
		if used, _ := d.MemoryInUse(); used != 0 {
			t.Errorf("%s: %d bytes are in use after all plans", name, used)
		}
	}
}

// Averages whose divisor f32 does not hold would not be the exact quotient.
func TestPoolRefusals(t *testing.T) {
	d := newFake().open(t)
	for _, text := range []string{"pool:avg_p:mb1ic1ih4200oh1kh4200ph0", "pool:avg_np:div=16777217:mb1ic1ih4kh2"} {
		p, err := problem.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if pl, err := d.Plan(t.Context(), p, driver.PlanOptions{}); !isUnsupported(err) || pl != nil {
			t.Errorf("%s: %v, %v", text, pl, err)
		}
	}
}

// The kernels that walk windows name their parameters in the order in which windows and geometry give them.
func TestWindowParamsMatchTheKernels(t *testing.T) {
	var geometryNames []string
	for _, of := range []string{"i", "o", "k", "s", "p", "e", "d"} {
		geometryNames = append(geometryNames, of+"d", of+"h", of+"w")
	}
	walk := append([]string{"total", "gx"}, geometryNames...)
	rest := []string{"d0", "d1", "h0", "h1", "w0", "w1", "start", "last", "arg"}
	for name, want := range map[string][]string{
		"unfold":   walk,
		"pool":     append(slices.Clone(walk), rest...),
		"fold":     append(slices.Clone(walk), rest...),
		"unpool":   {"total", "gx", "n", "cells", "d", "h", "w"},
		"reformat": {"items", "gx", "total", "rows", "columns"},
	} {
		k, err := shaders.Get(name)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range k.Params {
			got = append(got, f.Name)
			if f.Type != "int" {
				t.Errorf("%s: %s is of type %s", name, f.Name, f.Type)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s has %v, want %v", name, got, want)
		}
	}
	p, err := problem.Parse("pool:max:mb1ic1id2ih3iw4kd1kh2kw2sd1sh1sw2pw1")
	if err != nil {
		t.Fatal(err)
	}
	want := []int32{2, 3, 4, 2, 2, 3, 1, 2, 2, 1, 1, 2, 0, 0, 1, 2, 3, 5, 1, 1, 1}
	if got := geometry(&p); !slices.Equal(got, want) {
		t.Errorf("geometry %v, want %v", got, want)
	}
}
