package gpu

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/shaders"
)

// Each cell of a reduction is in one box, and no box costs more than the limit.
func TestBoxes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		c, k := 1+rnd.IntN(1<<rnd.IntN(8)), [3]int{1 + rnd.IntN(3), 1 + rnd.IntN(1<<rnd.IntN(5)), 1 + rnd.IntN(1<<rnd.IntN(6))}
		limit := 512 + rnd.IntN(1<<(10+rnd.IntN(7)))
		seen := make([]int, c*volume(k))
		for _, b := range boxes(c, k, limit) {
			if cost := loopCost([3]int{int(b[3] - b[2]), int(b[5] - b[4]), int(b[7] - b[6])}, int(b[1]-b[0])); cost > int64(limit) {
				t.Fatalf("%d×%v, limit %d: %v costs %d", c, k, limit, b, cost)
			}
			for d := b[2]; d < b[3]; d++ {
				for h := b[4]; h < b[5]; h++ {
					for w := b[6]; w < b[7]; w++ {
						for i := b[0]; i < b[1]; i++ {
							seen[((int(d)*k[1]+int(h))*k[2]+int(w))*c+int(i)]++
						}
					}
				}
			}
		}
		for i, n := range seen {
			if n != 1 {
				t.Fatalf("%d×%v, limit %d: cell %d is in %d boxes", c, k, limit, i, n)
			}
		}
	}
	if n := len(boxes(64, [3]int{1, 3, 3}, 1<<30)); n != 1 {
		t.Errorf("a small reduction is cut into %d", n)
	}
}

// Each item of work is covered by one dispatch, however few groups a dispatch may have.
func TestDispatches(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	d := &Device{}
	for range 300 {
		var items [3]int
		k := &kernel{key: kernelKey{name: "test"}}
		for i := range items {
			items[i], k.local[i] = 1+rnd.IntN(20), 1+rnd.IntN(5)
			d.limits.MaxGroupCount[i] = 1 + rnd.Int64N(6)
		}
		seen := map[[3]int]int{}
		cmds, err := d.dispatches(k, items, func(base [3]int) any {
			return []int32{int32(base[0]), int32(base[1]), int32(base[2])}
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cmds {
			var base, n [3]int
			for i := range base {
				base[i] = int(binary.LittleEndian.Uint32(c.Params[4*i:]))
				n[i] = c.Groups[i] * k.local[i]
				if int64(c.Groups[i]) > d.limits.MaxGroupCount[i] {
					t.Fatalf("%v groups, at most %v", c.Groups, d.limits.MaxGroupCount)
				}
			}
			for z := range n[2] {
				for y := range n[1] {
					for x := range n[0] {
						seen[[3]int{base[0] + x, base[1] + y, base[2] + z}]++
					}
				}
			}
		}
		inside := 0
		for at, n := range seen {
			if n != 1 {
				t.Fatalf("%v: item %v is covered %d times", items, at, n)
			}
			if at[0] < items[0] && at[1] < items[1] && at[2] < items[2] {
				inside++
			}
		}
		if inside != items[0]*items[1]*items[2] {
			t.Fatalf("%v: %d items are covered", items, inside)
		}
	}
	if cmds, err := d.dispatches(&kernel{local: [3]int{1, 1, 1}}, [3]int{5, 0, 1}, nil); cmds != nil || err != nil {
		t.Errorf("no items: %v, %v", cmds, err)
	}
}

// classes are devices of every class.
func classes() map[string]*fake {
	all := map[string]*fake{}
	for _, c := range []struct {
		name  string
		typ   driver.Type
		vw    int
		glsl  bool
		lanes int
	}{
		{"straight16", driver.CPU, 16, false, 0}, {"straight8", driver.CPU, 8, false, 0}, {"lanes", driver.CPU, 4, true, 8},
		{"gpu4", driver.Discrete, 4, true, 32}, {"gpu1", driver.Discrete, 1, false, 0},
	} {
		f := newFake()
		f.info.Type, f.info.VectorWidth, f.info.GLSL, f.info.ShuffleLanes = c.typ, c.vw, c.glsl, c.lanes
		all[c.name] = f
	}
	return all
}

// shape is a random convolution.
func shape(t *testing.T, rnd *rand.Rand) problem.Problem {
	t.Helper()
	for {
		g := 1 + rnd.IntN(2)
		text := fmt.Sprintf("g%dmb%dic%dih%diw%doc%dkh%dkw%dsh%dsw%dph%dpw%ddh%ddw%d", g, 1+rnd.IntN(3), g*(1+rnd.IntN(20)), 1+rnd.IntN(40), 1+rnd.IntN(40),
			g*(1+rnd.IntN(40)), 1+rnd.IntN(5), 1+rnd.IntN(5), 1+rnd.IntN(3), 1+rnd.IntN(3), rnd.IntN(4), rnd.IntN(4), rnd.IntN(3), rnd.IntN(3))
		if p, err := problem.Parse(text); err == nil && p.Validate() == nil {
			return p
		}
	}
}

// The tiles of all chunks and phases cover the result once, and what they read is inside of what was copied.
func TestIgemmGeometry(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for name, f := range classes() {
		d := f.open(t)
		inPlace, cut, apart := 0, 0, 0
		for i := range 600 {
			p := shape(t, rnd)
			if i%3 == 0 {
				p.Dir = problem.BackwardData
			}
			if canIgemm(d, &p) != nil {
				continue
			}
			g := newIgemm(d, &p)
			fault := func(format string, args ...any) {
				t.Helper()
				t.Fatalf("%s, %s: %s in %+v", name, p.String(), fmt.Sprintf(format, args...), g)
			}
			if i%2 == 0 && !g.inPlace { // as a map too large for the cache would be
				g.chunk = [3]int{1 + rnd.IntN(p.N), 1, g.ty * (1 + rnd.IntN(3))}
				g.slices, g.rows = g.spans(0, 1), g.spans(1, g.chunk[2])
				g.rebase()
				cut++
			}
			if g.tx < 1 || g.ty < 1 || g.tn < 1 || g.lx < 1 {
				fault("empty tile")
			}
			if n := g.ocb * g.tn * g.vw; n < g.ocg || n-g.ocg >= g.tn*g.vw {
				fault("%d channels in blocks", n)
			}
			quad := 1 // whole vectors are read
			if f.info.GLSL {
				quad = 4
			}
			seen := make([]int, p.N*volume(g.out))
			chunks(g.all(), g.chunk, func(first, size [3]int) {
				for i := range g.phases {
					ph := &g.phases[i]
					rows := min(size[2], ph.axis[1].Out-first[2])
					if rows <= 0 {
						continue
					}
					a := ph.axis
					last := [3]int{(size[1]-1)*a[0].Stride + a[0].Extent() - 1, (roundUp(rows, g.ty)-1)*a[1].Stride + a[1].Extent() - 1,
						roundUp((roundUp(a[2].Out, g.tx)-1)*a[2].Stride+a[2].Extent(), quad) - 1}
					end := ph.base + (last[0]*g.rows+last[1])*g.pitch + last[2]
					if !ph.empty && (ph.base < 0 || end >= g.slices*g.rows*g.pitch || ph.base%quad != 0 || g.pitch%quad != 0) {
						fault("phase %d reads %d to %d of %d", i, ph.base, end, g.slices*g.rows*g.pitch)
					}
					if g.inPlace && !ph.empty && (last[1]-a[1].PadL >= g.in[1] || last[2]-a[2].PadL >= g.in[2] || a[1].PadL > 0 || a[2].PadL > 0) {
						fault("phase %d reads past a row", i)
					}
					for n := range size[0] {
						for y := range rows {
							for x := range a[2].Out {
								row, column := ph.at[1]+(first[2]+y)*ph.every[1], ph.at[2]+x*ph.every[2]
								seen[((first[0]+n)*g.out[1]+row)*g.out[2]+column]++
							}
						}
					}
				}
			})
			for i, n := range seen {
				if n != 1 {
					fault("result %d is computed %d times", i, n)
				}
			}
			if g.inPlace {
				inPlace++
			} else if g.pitch%g.vw != 0 {
				fault("rows of parts of vectors")
			}
			if len(g.phases) > 1 {
				apart++
			}
		}
		if cut < 30 || apart < 30 {
			t.Errorf("%s: %d in place, %d cut, %d of phases", name, inPlace, cut, apart)
		}
	}
}

// Each tap of a transposed convolution with strides is in one phase for each result that it reaches, and reads what the
// definition says.
func TestPhases(t *testing.T) {
	rnd := rand.New(rand.NewPCG(17, 18))
	for range 2000 {
		k, s, d, p, narrow, wide := 1+rnd.IntN(7), 1+rnd.IntN(5), 1+rnd.IntN(5), rnd.IntN(9)-4, 1+rnd.IntN(9), 1+rnd.IntN(40)
		one := [3]int{1, 1, 1}
		c := &conv{wide: one, narrow: one, k: one, s: one, d: one, transposed: true}
		c.wide[2], c.narrow[2], c.k[2], c.s[2], c.p[2], c.d[2] = wide, narrow, k, s, p, d
		type term struct{ result, tap, source int }
		want, got := map[term]int{}, map[term]int{}
		for x := range narrow {
			for tap := range k {
				if w := x*s - p + tap*d; w >= 0 && w < wide {
					want[term{w, tap, x}]++
				}
			}
		}
		for _, ph := range phasesOf(c) {
			a := ph.axis[2]
			for q := range a.Out {
				for i := range a.Kernel {
					x := q - a.PadL + i*a.Dilation
					if w := ph.at[2] + q*ph.every[2]; !ph.empty && x >= 0 && x < narrow {
						got[term{w, ph.first[2] + i*ph.step[2], x}]++
					}
				}
			}
		}
		if !maps.Equal(want, got) {
			t.Fatalf("%+v: %v, want %v", c, got, want)
		}
	}
}

// Every algorithm's plans compile with the kernels' tunables and dispatch with their buffers and parameters: the fake
// checks each.
func TestPlansFitTheKernels(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	ran := map[string]int{}
	for name, f := range classes() {
		f.loopLimit = 10_000
		d := f.open(t)
		stream, err := d.NewStream()
		if err != nil {
			t.Fatal(err)
		}
		problems := []string{
			"mb2ic3ih9oc5oh9kh3ph1", "mb1ic8ih8oc16oh8kh1", "mb1ic40ih30oc8oh1kh30", "g3mb2ic3ih70iw9oc6oh34ow9kh3kw3sh2sw1ph0pw1", "pool:max:mb2ic3ih7oh4kh3sh2ph1",
			"pool:avg_np:mb1ic2ih200oh1kh200", "conv:BWD_D:g2mb1ic40id5oc8kd3pd1", "conv:BWD_D:mb1ic16ih9oc16kh3ph1", "conv:BWD_D:mb2ic16ih19oc16kh3sh2ph1",
			"deconv:bias:mb1ic16ih9oc16kh1sh3", "mb1ic16id6oc32kd3sd2pd1", "mb1ic64ih200oc8kh3ph1",
			"conv:BWD_W:mb1ic1ih200oc1kh3", "conv:BWD_W:mb1ic1iw90000oc1kw3", "conv:BWD_B:mb70000ic1ih1oc3kh1",
			"deconv:post=add:mb1ic4ih5oc16kh3ph1", "conv:BWD_D:pad=replicate:f16:nhwc:mb1ic2iw5oc3kw3pw7000",
			"conv:pad=circular:mb1ic2id5oc3kd3pd1", "conv:u8-s8-s8:mb1ic3ih7oc5kh3",
			"conv:u8-s8-f32:post=scale+add:mb1ic3ih7oc5kh3",
			"conv:post=leaky(0.5)+scale:then=max(kh2sh2):mb1ic3ih8oc5kh3ph1", "conv:then=avg_p(kd2):mb1ic3id8oc5kd3",
			"deform:dg=2:mask:mb1ic4ih7oc5kh3",
		}
		for i := range len(problems) + 15 {
			var p problem.Problem
			if i < len(problems) {
				if p, err = problem.Parse(problems[i]); err != nil {
					t.Fatal(err)
				}
			} else {
				p = shape(t, rnd)
			}
			p.Bias = p.Op == problem.Conv && p.Dir == problem.Forward && i%2 == 0
			for _, alg := range d.Algorithms(p) {
				if err := runOnce(t.Context(), d, stream, p, alg); err != nil {
					t.Errorf("%s, %s by %s: %v", name, p.String(), alg, err)
				}
				ran[alg]++
			}
		}
		for _, c := range f.compiled["conv_igemm"] {
			if k, err := shaders.Get("conv_igemm"); err != nil || len(c) != len(k.Tunables) {
				t.Errorf("conv_igemm with %d tunables: %v", len(c), err)
			}
		}
		if used, _ := d.MemoryInUse(); used != 0 {
			t.Errorf("%s: %d bytes are in use after all plans", name, used)
		}
		if d.class() == gpuClass != strings.HasPrefix(name, "gpu") {
			t.Errorf("%s is of class %d", name, d.class())
		}
	}
	if ran["igemm"] < 20 || ran["depthwise"] < 5 || ran["rows"] < 5 || ran["direct"] < 50 || ran["fused"] == 0 || ran["conv+pool"] == 0 {
		t.Errorf("too few plans: %v", ran)
	}
}

// The strips hold every row of every phase once, none is empty, and their loops end.
func TestWalkGeometry(t *testing.T) {
	rnd := rand.New(rand.NewPCG(15, 16))
	for name, f := range classes() {
		f.loopLimit = 1_024
		d := f.open(t)
		for range 500 {
			h := problem.Axis{Out: 1 + rnd.IntN(3000), Kernel: 1 + rnd.IntN(7), Stride: 1 + rnd.IntN(4), Dilation: 1 + rnd.IntN(4)}
			w := problem.Axis{Out: 1 + rnd.IntN(100), Kernel: 1 + rnd.IntN(7), Stride: 1 + rnd.IntN(4), Dilation: 1 + rnd.IntN(4)}
			w.In = 1 + rnd.IntN(400)
			k := newWalk(d, 1+rnd.IntN(40), h, w)
			if k.xt*k.tx*k.rw < w.Out || (k.xt-1)*k.tx*k.rw >= w.Out {
				t.Fatalf("%s: %+v for %+v", name, k, w)
			}
			if d.class() == gpuClass && k.tx > 1 && (k.whole == 0 || k.tx > d.quadWidth()) {
				t.Fatalf("%s: lanes apart in %+v for %+v", name, k, w)
			}
			if k.step*h.Stride%h.Dilation != 0 || k.move != min(h.Kernel, k.step*h.Stride/h.Dilation) {
				t.Fatalf("%s: %+v for %+v", name, k, h)
			}
			if rows := k.strips * k.rows * k.step; rows < h.Out || (k.strips-1)*k.rows*k.step >= h.Out || int64(k.rows+h.Kernel+1) > f.loopLimit {
				t.Fatalf("%s: %+v for %+v", name, k, h)
			}
		}
	}
}

func TestPlanRefusals(t *testing.T) {
	d := newFake().open(t)
	for _, text := range []string{
		"mb1ic1048576ih1024oc1oh1024kh1", "mb8ic64ih256oc64oh256kh1", "BWD_D:pad=circular:mb1ic64ih500oc1oh1500kh1ph500",
	} {
		p, err := problem.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if pl, err := d.Plan(t.Context(), p, driver.PlanOptions{}); !isUnsupported(err) || pl != nil || len(d.Algorithms(p)) != 0 {
			t.Errorf("%s: %v, %v", text, pl, err)
		}
	}
	p, err := problem.Parse("mb1ic3ih9oc5oh9kh3ph1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Plan(t.Context(), p, driver.PlanOptions{Algorithm: "magic"}); !isUnsupported(err) || !strings.Contains(err.Error(), "direct") {
		t.Errorf("unknown algorithm: %v", err)
	}
}
