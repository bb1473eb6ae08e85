package cpu

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/engine/winograd"
)

// coefficients in f32.
func coefficients(rows [][]*big.Rat) [][]float32 {
	a := make([][]float32, len(rows))
	for i, row := range rows {
		for _, c := range row {
			v, _ := c.Float32()
			a[i] = append(a[i], v)
		}
	}
	return a
}

// sandwich is rows·x·rowsᵀ.
func sandwich(rows [][]float32, x []float32, n int) []float32 {
	m := len(rows)
	half, y := make([]float32, m*n), make([]float32, m*m)
	for i := range m {
		for j := range n {
			for k := range n {
				half[i*n+j] += rows[i][k] * x[k*n+j]
			}
		}
	}
	for i := range m {
		for j := range m {
			for k := range n {
				y[i*m+j] += rows[j][k] * half[i*n+k]
			}
		}
	}
	return y
}

// byWinograd computes a problem in f32 by plain loops over the matrices of F(m×m, 3×3), without the oracle's geometry; spoil
// is added to a coefficient.
func byWinograd(p *problem.Problem, in driver.Operands, m int, spoil float32) []float64 {
	f, err := winograd.New(m)
	if err != nil {
		panic(err)
	}
	at, g, bt := coefficients(f.AT), coefficients(f.G), coefficients(f.BT)
	bt[1][1] += spoil
	h, w := p.Axes[1], p.Axes[2]
	ph, pw, ih, iw, oh, ow := h.PadL, w.PadL, h.In, w.In, h.Out, w.Out
	icg, ocg := p.IC/p.Groups, p.OC/p.Groups
	src, mode := in[problem.Src].F32, p.PadMode
	flipped := (p.Op == problem.Deconv) == (p.Dir == problem.Forward)
	if p.Dir == problem.BackwardData {
		src, ih, iw, oh, ow, icg, ocg = in[problem.DiffDst].F32, oh, ow, ih, iw, ocg, icg
	}
	border := [2]int{}
	if flipped {
		if mode != problem.Zeros { // of the padded source, whose border is folded below
			border = [2]int{ph, pw}
			oh, ow, ph, pw, mode = ih+2, iw+2, 0, 0, problem.Zeros
		}
		ph, pw = 2-ph, 2-pw
	}
	cell := func(n, c, y, x int) float32 {
		y, x = y-ph, x-pw
		if y >= ih+max(0, h.PadR) || x >= iw+max(0, w.PadR) {
			return 0
		}
		if y, x = source(mode, y, ih), source(mode, x, iw); y < 0 || x < 0 || y >= ih || x >= iw {
			return 0
		}
		return src[((n*p.Groups*icg+c)*ih+y)*iw+x]
	}
	dst := make([]float32, p.N*p.Groups*ocg*oh*ow)
	for n := range p.N {
		for o := range p.Groups * ocg {
			group := o / ocg
			for y0 := 0; y0 < oh; y0 += m {
				for x0 := 0; x0 < ow; x0 += m {
					sums := make([]float32, f.T*f.T)
					for c := range icg {
						var taps, d []float32
						for k := range 9 {
							i := (o*icg+c)*9 + k
							if flipped {
								i = ((group*icg+c)*ocg+o%ocg)*9 + 8 - k
							}
							taps = append(taps, in[problem.Wei].F32[i])
						}
						for k := range f.T * f.T {
							d = append(d, cell(n, group*icg+c, y0+k/f.T, x0+k%f.T))
						}
						u, v := sandwich(g, taps, 3), sandwich(bt, d, f.T)
						for i := range sums {
							sums[i] += u[i] * v[i]
						}
					}
					for k, v := range sandwich(at, sums, f.T) {
						if y, x := y0+k/m, x0+k%m; y < oh && x < ow {
							dst[((n*p.Groups*ocg+o)*oh+y)*ow+x] = v
						}
					}
				}
			}
		}
	}
	if flipped && p.PadMode != problem.Zeros {
		folded := make([]float32, p.N*p.Groups*ocg*h.In*w.In)
		for i, v := range dst {
			plane, y, x := i/(oh*ow), i/ow%oh, i%ow
			y, x = source(p.PadMode, y-border[0], h.In), source(p.PadMode, x-border[1], w.In)
			folded[(plane*h.In+y)*w.In+x] += v
		}
		dst = folded
	}
	out := make([]float64, len(dst))
	for i, v := range dst {
		out[i] = float64(v)
	}
	return out
}

var winogradProblems = []string{
	"mb2ic5ih9iw7oc4oh9ow7kh3kw3ph1pw1",
	"g2mb1ic6ih11iw13oc4oh9ow11kh3kw3ph0pw0",
	"mb1ic3ih8iw6oc2oh11ow3kh3kw3ph4pw0rh1rw-1",
	"mb1ic3ih8iw8oc2oh5ow5kh3kw3ph-1pw-1",
	"pad=reflect:mb1ic3ih9oc4kh3ph1",
	"pad=circular:mb1ic3ih9oc4kh3ph2",
	"BWD_D:g2mb1ic6ih9iw7oc4oh9ow7kh3kw3ph1pw1",
	"BWD_D:pad=replicate:mb1ic3ih9oc4kh3ph2",
	"BWD_D:pad=reflect:mb1ic3ih9oc4kh3ph1",
	"deconv:g2mb1ic4ih9oc6kh3ph1",
	"deconv:BWD_D:mb1ic4ih9oc6kh3ph0",
}

// The truth is that of plain sums, the bounds hold for Winograd's sums, and wrong ones are found.
func TestWinogradBound(t *testing.T) {
	d := open(t)
	r := rand.New(rand.NewPCG(61, 62))
	for _, text := range winogradProblems {
		p := problemtest.Parse(t, text)
		for _, reals := range []bool{false, true} {
			in := operands(t, r, &p)
			for _, o := range in {
				for i := range o.F32 {
					if reals {
						o.F32[i] += r.Float32() - 0.5
					}
				}
			}
			role := p.Outputs()[0]
			plain := truth(t, p, in, role)
			for _, m := range winograd.Sizes {
				a := driver.Arithmetic{Winograd: m}
				want, err := d.Reference(t.Context(), p, a, in, role, nil)
				if err != nil {
					t.Fatalf("%s: %v", text, err)
				}
				last := int64(len(want)) - 1
				some, err := d.Reference(t.Context(), p, a, in, role, []int64{last, 0})
				if near := func(a, b driver.Element) bool {
					return a.Value == b.Value && math.Abs(a.Bound-b.Bound) <= 1e-9*b.Bound && a.Exact == b.Exact
				}; err != nil || !near(some[0], want[last]) || !near(some[1], want[0]) {
					t.Errorf("%s: of a sample %v, %v", text, some, err)
				}
				used, exact := 0.0, true
				for i, got := range byWinograd(&p, in, m, 0) {
					e := want[i]
					if e.Value != plain[i].Value || e.Bound < plain[i].Bound/8 {
						t.Fatalf("%s, F(%d): the truth is %+v, of plain sums %+v", text, m, e, plain[i])
					}
					err := math.Abs(got - e.Value)
					used, exact = max(used, err/e.Bound), exact && e.Exact
					if err > e.Bound || !reals && e.Exact && err != 0 {
						t.Fatalf("%s, F(%d), element %d: %v, not %v ± %v", text, m, i, got, e.Value, e.Bound)
					}
				}
				if exact != (m == 2) {
					t.Errorf("%s: F(%d) of whole numbers is exact: %v", text, m, exact)
				}
				found := false
				for i, got := range byWinograd(&p, in, m, 0.25) {
					found = found || math.Abs(got-want[i].Value) > want[i].Bound
				}
				if !found {
					t.Errorf("%s: a wrong coefficient of F(%d) is within the bounds", text, m)
				}
			}
		}
	}
}

// What is computed in tiles that begin anywhere is within the bounds of a problem that was cut.
func TestWinogradBoundOfTiles(t *testing.T) {
	d := open(t)
	r := rand.New(rand.NewPCG(71, 72))
	for _, text := range []string{"g2mb1ic6ih14iw15oc4kh3kw3ph1pw1", "mb1ic3ih13iw9oc4oh15ow11kh3kw3ph2pw2", "BWD_D:mb1ic3ih13oc4oh13kh3ph1"} {
		p := problemtest.Parse(t, text)
		in := operands(t, r, &p)
		role := p.Outputs()[0]
		for _, m := range winograd.Sizes {
			bounds := func(p problem.Problem, cut bool) driver.Truth {
				truth, err := d.Reference(t.Context(), p, driver.Arithmetic{Winograd: m, Cut: cut}, in, role, nil)
				if err != nil {
					t.Fatal(err)
				}
				return truth
			}
			all := bounds(p, true)
			for k := range m {
				part := p // without its first rows and columns
				for i := 1; i < 3; i++ {
					a := &part.Axes[i]
					if a.PadL -= k; p.Dir == problem.BackwardData {
						a.PadL, a.In = a.PadL+2*k, a.In-k
					} else {
						a.Out -= k
					}
				}
				results := byWinograd(&part, in, m, 0)
				shape, whole := part.Shape(role), p.Shape(role)
				for i, e := range bounds(part, false) {
					x, y, plane := i%shape[3], i/shape[3]%shape[2], i/shape[3]/shape[2]
					w := all[(plane*whole[2]+y+k)*whole[3]+x+k]
					if e.Value != w.Value || e.Bound > w.Bound*(1+1e-9) || math.Abs(results[i]-w.Value) > w.Bound {
						t.Fatalf("%s, F(%d), %d further, element %d: %+v of a tile, %+v of the whole", text, m, k, i, e, w)
					}
				}
			}
		}
	}
}

// A large result's bounds are computed tile by tile as they are asked for, and are those of the whole.
func TestWinogradBoundOfSome(t *testing.T) {
	r := rand.New(rand.NewPCG(63, 64))
	p := problemtest.Parse(t, "g2mb2ic6ih9iw14oc4kh3ph1kw3pw1")
	in := operands(t, r, &p)
	logical, err := logicalTensors(t.Context(), &p, in)
	if err != nil {
		t.Fatal(err)
	}
	w, err := newWinograd(t.Context(), &p, driver.Arithmetic{Winograd: 4}, newGeometry(&p), logical, problem.Elems(p.Shape(problem.Dst)))
	if err != nil {
		t.Fatal(err)
	}
	for nc := range p.N * p.OC {
		for tile := range w.plane() {
			for k, m := range w.one(nc, tile) {
				if want := w.all[(nc*w.plane()+tile)*16+k]; math.Abs(m-want) > 1e-12*want {
					t.Fatalf("plane %d, tile %d, result %d: %v, of all %v", nc, tile, k, m, want)
				}
			}
		}
	}
}

// What there is no bound for is refused.
func TestArithmeticRefused(t *testing.T) {
	d := open(t)
	r := rand.New(rand.NewPCG(65, 66))
	for text, list := range map[string][]driver.Arithmetic{
		"mb1ic3ih9oc4kh3ph1":                   {{Winograd: 3}, {Winograd: 4, Half: 8}, {Winograd: -2}},
		"mb1ic3ih9oc4kh3ph1sh2":                {{Winograd: 4}, {FFT: 16}},
		"mb1ic3ih9oc4kh5ph2":                   {{Winograd: 4}, {FFT: 4}, {FFT: 16, Half: 8}, {FFT: 16, Winograd: 4}, {FFT: -1}},
		"mb1ic3ih39oc4kh18ph2":                 {{FFT: 16}},
		"mb1ic3iw9oc4kw3pw1":                   {{Winograd: 2}},
		"BWD_W:mb1ic3ih9oc4kh3ph1":             {{Winograd: 4}, {FFT: 16}},
		"u8-s8-s32:mb1ic3ih9oc4kh3":            {{Winograd: 2}, {FFT: 16}, {Half: 8}},
		"pool:max:mb1ic3ih9kh3":                {{Winograd: 2}, {Half: 8}},
		"mb1ic3id3ih9iw9oc4kd1kh3kw3pd0ph1pw1": {{Winograd: 2}},
	} {
		p := problemtest.Parse(t, text)
		in := operands(t, r, &p)
		for _, a := range list {
			if _, err := d.Reference(t.Context(), p, a, in, p.Outputs()[0], nil); !errors.Is(err, driver.ErrUnsupported) {
				t.Errorf("%s by %s: %v", text, a, err)
			}
		}
	}
}

// A result of Winograd's or of plain sums may be off by the larger of both bounds. Where most products are 0 that is the plain
// sums' own, of elsewhere Winograd's.
func TestOrPlain(t *testing.T) {
	d := open(t)
	p := problemtest.Parse(t, "mb1ic64ih9oc4kh3ph1")
	in := operands(t, rand.New(rand.NewPCG(69, 70)), &p)
	for i := range in[problem.Wei].F32 {
		if i%9 != 0 && i >= len(in[problem.Wei].F32)/2 {
			in[problem.Wei].F32[i] = 0
		}
	}
	bounds := func(a driver.Arithmetic) driver.Truth {
		truth, err := d.Reference(t.Context(), p, a, in, problem.Dst, nil)
		if err != nil {
			t.Fatal(err)
		}
		return truth
	}
	plain, special, both := bounds(driver.Arithmetic{}), bounds(driver.Arithmetic{Winograd: 2}),
		bounds(driver.Arithmetic{Winograd: 2, OrPlain: true})
	larger := [2]int{}
	for i, e := range both {
		if e.Bound != max(plain[i].Bound, special[i].Bound) || e.Value != plain[i].Value || e.Exact != (plain[i].Exact && special[i].Exact) {
			t.Fatalf("element %d: %+v, of plain sums %+v, of Winograd's %+v", i, e, plain[i], special[i])
		}
		if special[i].Bound > plain[i].Bound {
			larger[1]++
		} else {
			larger[0]++
		}
	}
	if larger[0] == 0 || larger[1] == 0 {
		t.Errorf("the plain sums' bound was the larger one %d times, Winograd's %d times", larger[0], larger[1])
	}
}

// f16 sums of small whole numbers are exact while they are small, others within n·2⁻¹¹ of the sum of their terms.
func TestHalfSums(t *testing.T) {
	d := open(t)
	p := problemtest.Parse(t, "mb1ic5ih9oc4kh3ph1")
	in := operands(t, rand.New(rand.NewPCG(67, 68)), &p)
	half, err := d.Reference(t.Context(), p, driver.Arithmetic{Half: 8}, in, problem.Dst, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range truth(t, p, in, problem.Dst) {
		least := 8. / (1 << 11) * e.Magnitude
		if h := half[i]; h.Value != e.Value || !h.Exact || h.Bound < least || h.Bound > 1.01*least+0.02 {
			t.Fatalf("element %d: %+v, of f32 sums %+v", i, h, e)
		}
	}
}
