//go:build cgo && !noopencl && !novulkan

package gpu_test

import (
	"math"
	"slices"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/gpu"
)

// halfProblems have both modes of the kernel, tiles that overhang, groups, strides, depth, phases, post-operations and parts.
var halfProblems = []string{
	"conv:f16:mb1ic17ih13oc33oh13kh3ph1", "conv:f16:mb1ic3ih17oc16kh7sh2ph3", "conv:f16:bias:post=scale+add+relu:mb2ic33ih6oc35kh3ph1",
	"conv:f16:g2mb2ic6ih9oc22oh5kh3sh2ph1", "conv:f16:mb1ic40ih3oc130oh3kh3ph1", "conv:BWD_D:f16:mb2ic16ih9oc20kh3sh2ph1",
	"deconv:f16:bias:post=relu:mb2ic3ih6oc5kh3ph1sh2", "conv:f16:g2mb2ic4id7ih5iw9oc6kd3kh2kw3sd2sh1sw2pd1ph0pw0dd1dh0dw0",
	"conv:f16:mb1ic4ih12oc8oh3kh3sh4ph-2",
}

// halfDevices are those that run sums in f16, by an algorithm each: their own arithmetic where they have it, and the emulation.
func halfDevices(t *testing.T, run func(t *testing.T, oracle, d *engine.Device, algorithm string)) {
	for _, spec := range []string{"vulkan:0", "opencl:0"} {
		oracle, d := oracleAnd(t, spec)
		gpu.EmulateHalves(d.Driver())
		p, err := problem.Parse(halfProblems[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"igemm_half", "igemm_half_emulated"} {
			if slices.Contains(d.Algorithms(p), name) {
				t.Run(spec+" "+name, func(t *testing.T) { run(t, oracle, d, name) })
			} else if name != "igemm_half" {
				t.Errorf("%s has no %s", spec, name)
			}
		}
	}
}

// Short sums in f16 come out right, exactly where they must, with several tiles and lengths; none of them is chosen under Exact.
func TestHalfSums(t *testing.T) {
	halfDevices(t, func(t *testing.T, oracle, d *engine.Device, name string) {
		tiles := []string{"", "short=4,parts=2", "bm=64,bn=32,bk=16,tm=8,tn=4,short=16,generic=1"}
		for i, text := range halfProblems {
			p, err := problem.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			check := func(t *testing.T, p *problem.Problem, info driver.PlanInfo) {
				if info.Algorithm != name || info.Arithmetic.Half == 0 {
					t.Errorf("%s is planned as %s, %s", p.String(), info.Algorithm, info.Arithmetic)
				}
			}
			list := tiles[:1]
			if i < 2 {
				list = tiles
			}
			for _, tile := range list {
				if err := judge(t, oracle, d, p, driver.PlanOptions{Algorithm: name, Tile: tile}, check); err != nil {
					t.Errorf("%s by %q: %v", text, tile, err)
				}
			}
			if pl, err := d.Plan(t.Context(), p, driver.PlanOptions{Algorithm: name, Exact: true}); err == nil {
				t.Errorf("%s is exact: %v", text, pl.Close())
			}
		}
		p, err := problem.Parse(halfProblems[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, tile := range []string{"short=3", "short=32,bk=32", "short=0"} {
			if pl, err := d.Plan(t.Context(), p, driver.PlanOptions{Algorithm: name, Tile: tile}); err == nil {
				t.Errorf("%s is a tile: %v", tile, pl.Close())
			}
		}
	})
}

// Short sums that overflow f16 are formed by f32, so that results are what they are by plain sums: 2^15·1 − 2^15·1 and the like, of
// 8 products each of which f16 can hold, and products that it cannot. Infinities and NaN of a tensor reach the results that they
// concern, and no others.
func TestHalfSumsOverflow(t *testing.T) {
	p, err := problem.Parse("conv:f16:mb1ic40ih5oc20kh1")
	if err != nil {
		t.Fatal(err)
	}
	src := make([]float32, 40*25)
	wei := make([]float32, 20*40)
	for i := range src {
		c := i / 25
		src[i] = float32([]int{32768, 32768, 32768, 32768, 2, 4}[c*6/40])
		if i%25 == 7 {
			src[i] = float32(c%3 + 1)
		}
	}
	src[24] = float32(math.Inf(1))
	for i := range wei {
		c := i % 40
		wei[i] = float32([]int{1, 1, -1, -1, 1, 1}[c*6/40])
		if i/40 == 3 {
			wei[i] *= 4 // products of 2^17
		}
	}
	want := make([]float64, 20*25)
	for o := range 20 {
		for q := range 25 {
			for c := range 40 {
				want[o*25+q] += float64(src[c*25+q]) * float64(wei[o*40+c])
			}
		}
	}
	halfDevices(t, func(t *testing.T, _, d *engine.Device, name string) {
		got := hosted(t, d, p, name, map[problem.Role][]float32{
			problem.Src: src, problem.Wei: wei,
		})
		infinite := 0
		for i, v := range got {
			w := want[i]
			if math.Abs(w) >= 65520 {
				w = math.Copysign(math.Inf(1), w)
				infinite++
			} else {
				w = halfValue(nearestHalf(w))
			}
			if float64(v) != w {
				t.Fatalf("result %d is %v, not %v", i, v, w)
			}
		}
		if infinite == 0 || infinite == len(want) {
			t.Errorf("%d infinite results", infinite)
		}
	})
}

// hosted runs a problem by an algorithm on tensors of these values, and returns dst's.
func hosted(t *testing.T, d *engine.Device, p problem.Problem, name string, values map[problem.Role][]float32) []float32 {
	t.Helper()
	var in engine.Operands
	for r, v := range values {
		tensor, err := engine.NewTensor(p.TypeOf(r), p.Shape(r)...)
		if err == nil {
			err = tensor.Narrow(v)
		}
		if err != nil {
			t.Fatal(err)
		}
		in[r] = tensor
	}
	pl, err := d.Plan(t.Context(), p, driver.PlanOptions{Algorithm: name})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := pl.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := pl.SetWeights(t.Context(), engine.Operands{problem.Wei: in[problem.Wei]}); err != nil {
		t.Fatal(err)
	}
	out, err := pl.RunHost(t.Context(), engine.Operands{problem.Src: in[problem.Src]})
	if err != nil {
		t.Fatal(err)
	}
	return out[problem.Dst].Widen()
}
