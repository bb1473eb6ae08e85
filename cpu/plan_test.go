package cpu

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
)

// TestAlgorithms compares every algorithm with the oracle on problems of every kind.
func TestAlgorithms(t *testing.T) {
	d := open(t)
	r := rand.New(rand.NewPCG(13, 14))
	ran := map[string]int{}
	for range several(4000) {
		p := problem.Random(r, 9)
		in := operands(t, r, &p)
		for _, name := range ways(d, p) {
			ran[name]++
			got := run(t, d, p, name, in)
			for _, role := range p.Outputs() {
				judge(t, &p, name, role, truthOf(t, p, name, in, role, nil), got[role])
			}
		}
	}
	for name, least := range map[string]int{"gemm": 1000, "direct": 2000, "reference": 4000, "fused": 20, "conv+pool": 20} {
		if ran[name] < least*several(4000)/4000 {
			t.Errorf("%s ran %d problems only", name, ran[name])
		}
	}
}

// TestSpecialValues: infinities and NaN come out of every algorithm as the definition has them, zeros times them too.
func TestSpecialValues(t *testing.T) {
	d := open(t)
	r := rand.New(rand.NewPCG(23, 14))
	special := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}
	for range several(1500) {
		p := problem.Random(r, 9)
		if p.Kind == problem.Lp && p.Dir == problem.BackwardData || p.Op == problem.Deform { // defined for numbers only
			continue
		}
		in := operands(t, r, &p)
		for _, list := range [][]problem.Role{p.Constants(), p.Inputs()} {
			for _, role := range list {
				v := in[role].F32
				if typ := p.TypeOf(role); len(v) == 0 || role == problem.Quant || role == problem.PostParams || typ != problem.F32 && typ != problem.F16 {
					continue
				}
				for range 1 + len(v)/16 {
					v[r.IntN(len(v))] = special[r.IntN(3)]
				}
			}
		}
		for _, name := range ways(d, p) {
			got := run(t, d, p, name, in)
			for _, role := range p.Outputs() {
				judge(t, &p, name, role, truthOf(t, p, name, in, role, nil), got[role])
			}
		}
	}
}

// TestReals: real operands stay within the oracle's bounds.
func TestReals(t *testing.T) {
	d := open(t)
	r := rand.New(rand.NewPCG(24, 14))
	for range several(1500) {
		p := problem.Random(r, 9)
		in := operands(t, r, &p)
		for _, list := range [][]problem.Role{p.Constants(), p.Inputs()} {
			for _, role := range list {
				if typ := p.TypeOf(role); typ == problem.F32 {
					for i := range in[role].F32 {
						in[role].F32[i] = float32(r.NormFloat64())
					}
				}
			}
		}
		if p.Integer() { // zero points are whole
			for o := range p.OC {
				in[qua].F32[o], in[qua].F32[p.OC+o], in[qua].F32[3*p.OC+o] = 2, float32(o%3), -3
			}
		}
		for _, name := range ways(d, p) {
			got := run(t, d, p, name, in)
			for _, role := range p.Outputs() {
				for i, e := range truthOf(t, p, name, in, role, nil) {
					v := got[role][i]
					if math.Abs(v-e.Value) > e.Bound && v != rounded(e.Value, p.TypeOf(role)) && !same(v, e.Value) {
						t.Fatalf("%s, %s, %s element %d: %v, not %v by %v", p.String(), name, role, i, v, e.Value, e.Bound)
					}
				}
			}
		}
	}
}

// TestLarge has more positions, and deeper sums, than the product takes at a time, and bands that end anywhere.
func TestLarge(t *testing.T) {
	d := open(t)
	r := rand.New(rand.NewPCG(15, 16))
	for _, text := range []string{
		"mb1ic64oc2ih40kh5ph2",           // 1600 rows: tiles of 655 columns, which end inside an output row
		"g2mb2ic1024oc2ih9iw11kh5kw5pw2", // at least 64 columns a tile
		"mb2ic3oc4ih9kh1",                // the source is the matrix
		"mb1ic3oc4ih9kh1sh2",             // 1×1, but strided
		"BWD_D:mb1ic64oc2ih40kh5ph2",
		"BWD_W:mb2ic64oc2ih40kh5ph2",
		"BWD_D:mb2ic3oc4ih9kh1",
		"BWD_W:mb2ic3oc4ih9kh1",
		"deconv:mb1ic2oc64ih40kh5ph2sh2",
		"deform:dg=2:mb1ic64oc2ih40kh5ph2",
		"then=max(kh3sh2ph1):mb1ic3oc16ih120kh3ph1",
		"bias:post=relu:then=avg_ip(kh3sh2ph1):pad=reflect:mb1ic3oc16ih120kh3ph1",
		"then=max(kh2sh3):g2mb2ic4oc256ih60kh3ph1",
		"nhwc:f16:mb1ic16oc16ih60kh3ph1",
	} {
		p := problemtest.Parse(t, text)
		in := operands(t, r, &p)
		total := problem.Elems(p.Shape(p.Outputs()[0]))
		at := []int64{0, total - 1}
		for range 2000 {
			at = append(at, r.Int64N(total))
		}
		for _, name := range ways(d, p) {
			if name == "reference" {
				continue
			}
			got := run(t, d, p, name, in)[p.Outputs()[0]]
			picked := make([]float64, len(at))
			for i, e := range at {
				picked[i] = got[e]
			}
			judge(t, &p, name, p.Outputs()[0], truthOf(t, p, name, in, p.Outputs()[0], at), picked)
		}
	}
}

// TestReferenceOfElements: the elements that are asked for are those of the whole.
func TestReferenceOfElements(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	d := open(t)
	for range 500 {
		p := problem.Random(r, 9)
		in := operands(t, r, &p)
		for _, role := range p.Outputs() {
			all := truth(t, p, in, role)
			last := int64(len(all)) - 1
			for _, at := range []int64{-1, last + 1} {
				if _, err := d.Reference(t.Context(), p, driver.Arithmetic{}, in, role, []int64{at}); !errors.Is(err, driver.ErrInvalid) {
					t.Errorf("%s, element %d: %v", p.String(), at, err)
				}
			}
			if last < 0 {
				continue
			}
			some, err := d.Reference(t.Context(), p, driver.Arithmetic{}, in, role, []int64{last, 0})
			if err != nil || !slices.Equal(some, driver.Truth{all[last], all[0]}) {
				t.Errorf("%s: %v, %v", p.String(), some, err)
			}
		}
	}
	p := problemtest.Parse(t, "mb1ic1oc1iw4kw3")
	in := given(src, make(f, 4), wei, make(f, 2))
	if _, err := d.Reference(t.Context(), p, driver.Arithmetic{}, in, problem.Dst, nil); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("short weights: %v", err)
	}
	if _, err := d.Reference(t.Context(), p, driver.Arithmetic{}, given(src, make(f, 4), wei, make(f, 3)), problem.Ind, nil); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("an output that the problem does not have: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Reference(ctx, p, driver.Arithmetic{}, given(src, make(f, 4), wei, make(f, 3)), problem.Dst, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestNormGradient compares the gradient of Lp pooling with differences of its results.
func TestNormGradient(t *testing.T) {
	r := rand.New(rand.NewPCG(25, 12))
	for range 60 {
		p := randomCore(r, problem.Pool, problem.Forward, func(p *problem.Problem) {
			p.Kind, p.Indices, p.Divisor, p.P = problem.Lp, problem.NoIndices, 0, 1+r.IntN(4)
		})
		x, dy := make(f, problem.Elems(p.Shape(problem.Src))), integers(r, problem.Elems(p.Shape(problem.Dst)))
		for i := range x {
			x[i] = float32(1+r.IntN(3)) * float32(2*r.IntN(2)-1)
		}
		grad := values(t, directed(p, problem.BackwardData), given(src, x, dif, dy))
		const h = 1.0 / 1024
		for i := 0; i < len(x); i += 1 + len(x)/8 {
			v := x[i]
			x[i] = v + h
			up := dot(values(t, p, given(src, x)), driver.Operand{F32: dy})
			x[i] = v - h
			down := dot(values(t, p, given(src, x)), driver.Operand{F32: dy})
			x[i] = v
			if want := (up - down) / (2 * h); math.Abs(grad[i]-want) > 1e-3*(1+math.Abs(want)) {
				t.Fatalf("%s: gradient %v, by differences %v", p.String(), grad[i], want)
			}
		}
	}
}

// TestPoolingAgainstFormula follows PyTorch's words: start = o·s − p, end = min(start + k, in + p), then clipped.
func TestPoolingAgainstFormula(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 600 {
		p := randomCore(r, problem.Pool, problem.Forward, func(p *problem.Problem) {
			p.Adaptive, p.Indices = false, problem.NoIndices
			for i := range p.Axes {
				p.Axes[i].Dilation = 1 // the formula has none
			}
		})
		if p.Kind == problem.Lp {
			continue
		}
		in := operands(t, r, &p)
		size, out := spatialSizes(&p)
		for i, got := range values(t, p, in) {
			nc, at := split(int64(i), out)
			var from, to [3]int
			inside, padded := 1, 1
			for x, a := range p.Axes {
				start := at[x]*a.Stride - a.PadL
				end := min(start+a.Kernel, a.In+a.PadR)
				from[x], to[x] = max(start, 0), min(end, a.In)
				padded *= max(0, end-start)
				inside *= max(0, to[x]-from[x])
			}
			total, want := 0.0, math.Inf(-1)
			for z := from[0]; z < to[0]; z++ {
				for y := from[1]; y < to[1]; y++ {
					for x := from[2]; x < to[2]; x++ {
						v := float64(in[src].F32[((nc*size[0]+z)*size[1]+y)*size[2]+x])
						total, want = total+v, max(want, v)
					}
				}
			}
			divisor := map[problem.PoolKind]int{problem.AvgExclude: inside, problem.AvgInclude: padded, problem.AvgFull: int(p.Taps())}[p.Kind]
			if p.Divisor != 0 {
				divisor = p.Divisor
			}
			switch {
			case p.Kind == problem.Max:
			case inside == 0:
				want = 0
			default:
				want = total / float64(divisor)
			}
			if got != want {
				t.Fatalf("%s element %d: %v, not %v", p.String(), i, got, want)
			}
		}
	}
}
