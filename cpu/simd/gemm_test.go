package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// product is a product to test: its operands, and the plan that runs it.
type product struct {
	m, n, k int
	hints   Hints
	add     bool
	packed  bool // B as a source that packs, else as rows, or patches where there are lines
	plan    int  // which of all candidates to take, 0 for the best
	bias    bool
	clip    bool // to −20 … 30
}

func (p product) String() string {
	return fmt.Sprintf("%d×%d×%d %+v add %t packed %t plan %d", p.m, p.n, p.k, p.hints, p.add, p.packed, p.plan)
}

// matrixB is a source that is not Rows.
type matrixB struct {
	data []float32
	ld   int
}

func (b matrixB) Pack(dst []float32, stride, k0, kc, n0, nc int) {
	for p := range kc {
		copy(dst[p*stride:][:nc], b.data[(k0+p)*b.ld+n0:])
	}
}

// rowsOf is rows of data as a source.
func rowsOf(isa ISA, data []float32, off []int, n int) *Rows {
	r := NewRows(isa, off, n).On(data)
	return &r
}

// patchesOf is the k×n elements as a source in lines, with NaN between them.
func patchesOf(isa ISA, data []float32, k, n, line int) *Patches {
	pitch := n + n/line
	with := fill(nil, k*pitch, func() float32 { return float32(math.NaN()) })
	var off, lines []int
	for p := range k {
		off = append(off, p*pitch)
		for j := range n {
			with[p*pitch+j/line*(line+1)+j%line] = data[p*n+j]
		}
	}
	for i := range n / line {
		lines = append(lines, i*(line+1))
	}
	s := NewPatches(isa, off, lines, line).On(with)
	return &s
}

// planned is the plan to test.
func (p product) planned(t *testing.T, isa ISA) *Gemm {
	g, err := NewGemm(isa, p.m, p.n, p.k, p.hints)
	if err != nil {
		t.Fatal(err)
	}
	if p.plan > 0 {
		all := candidates(kernelsOf(isa), p.m, p.n, p.k, p.hints)
		g = all[p.plan%len(all)]
		g.setTables()
	}
	return g
}

// counter is a post-op that counts how often it sees each element, and doubles it.
type counter struct {
	seen    []int
	n       int
	columns bool
}

func (c *counter) Tile(t []float32, ld, row, rows, col, cols int) {
	for i := range rows {
		for j := range cols {
			at := i*ld + j
			if c.columns {
				at = j*ld + i
			}
			t[at] *= 2
			c.seen[(row+i)*c.n+col+j]++
		}
	}
}

// run computes the product of a and b on top of c and returns it doubled, row by row.
func (p product) run(t *testing.T, isa ISA, a, b, c []float32) []float32 {
	t.Helper()
	g := p.planned(t, isa)
	ldc, size := p.n+3, p.m
	if p.hints.Columns {
		ldc, size = p.m+3, p.n
	}
	at := func(i, j int) int {
		if p.hints.Columns {
			return j*ldc + i
		}
		return i*ldc + j
	}
	out := make([]float32, size*ldc)
	for i := range out {
		out[i] = -77
	}
	for i := range p.m {
		for j := range p.n {
			out[at(i, j)] = c[i*p.n+j]
		}
	}
	packed := make([]float32, g.PackedA())
	g.PackA(packed, a, p.k, 1)
	post := &counter{make([]int, p.m*p.n), p.n, p.hints.Columns}
	off := make([]int, p.k)
	for i := range off {
		off[i] = i * p.n
	}
	call := &Call{A: packed, B: rowsOf(isa, b, off, p.n), C: out, LDC: ldc, Add: p.add, Post: post,
		Clip: p.clip, Lo: lowest, Hi: highest}
	if p.bias {
		call.Bias = biases(p.m)
	}
	switch {
	case p.packed:
		call.B = matrixB{b, p.n}
	case p.hints.Line > 0:
		call.B = patchesOf(isa, b, p.k, p.n, p.hints.Line)
	}
	ws := make([]float32, g.Workspace())
	for i := range ws {
		ws[i] = float32(math.NaN())
	}
	for i := range g.Tasks() {
		g.Run(i, ws, call)
	}
	res := make([]float32, p.m*p.n)
	for i := range p.m {
		for j := range p.n {
			res[i*p.n+j] = out[at(i, j)]
			out[at(i, j)] = -77
			if n := post.seen[i*p.n+j]; n != 1 {
				t.Fatalf("%s %s: %d post-ops at (%d, %d)", isa, p, n, i, j)
			}
		}
	}
	for i, v := range out {
		if v != -77 {
			t.Fatalf("%s %s: element %d beyond C changed", isa, p, i)
		}
	}
	return res
}

// want is the product in float64, doubled, and the sum of the magnitudes of its terms.
func (p product) want(a, b, c []float32, i, j int) (sum, magnitude float64) {
	if p.add {
		sum = float64(c[i*p.n+j])
	}
	magnitude = math.Abs(sum)
	for x := range p.k {
		v := float64(a[i*p.k+x]) * float64(b[x*p.n+j])
		sum, magnitude = sum+v, magnitude+math.Abs(v)
	}
	if p.bias {
		sum += float64(i%7 - 3)
		magnitude += 3
	}
	if p.clip {
		sum = max(lowest, min(highest, sum))
	}
	return 2 * sum, 2 * magnitude
}

const lowest, highest = -20, 30

func biases(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i%7 - 3)
	}
	return v
}

func fill(r *rand.Rand, n int, f func() float32) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = f()
	}
	return v
}

// check runs the product on integers, where it must be exact, and on others, where the error is bounded.
func (p product) check(t *testing.T, isa ISA, r *rand.Rand) {
	t.Helper()
	for _, exact := range []bool{true, false} {
		p.plan = 0
		if exact {
			p.plan = r.IntN(20)
		}
		value := func() float32 { return float32(r.NormFloat64()) }
		if exact {
			value = func() float32 { return float32(r.IntN(33) - 16) }
		}
		a, b, c := fill(r, p.m*p.k, value), fill(r, p.k*p.n, value), fill(r, p.m*p.n, value)
		got := p.run(t, isa, a, b, c)
		for i := range p.m {
			for j := range p.n {
				sum, magnitude := p.want(a, b, c, i, j)
				n := float64(p.k+3) * 0x1p-24
				bound := n / (1 - n) * magnitude
				if exact {
					bound = 0
				}
				if d := math.Abs(float64(got[i*p.n+j]) - sum); !(d <= bound) {
					t.Fatalf("%s %s exact %t: C[%d, %d] = %g, want %g ± %g", isa, p, exact, i, j, got[i*p.n+j], sum, bound)
				}
			}
		}
	}
}

// variants are all ways to run one product.
func variants(m, n, k, workers int) []product {
	var all []product
	for i := range 24 {
		p := product{m: m, n: n, k: k, add: i&1 != 0, packed: i&2 != 0,
			hints: Hints{Workers: workers, Columns: i&4 != 0, Direct: i&8 != 0}, bias: (i+m)%3 == 0, clip: (i+n)%5 == 0}
		switch {
		case p.packed && (p.hints.Direct || i >= 16):
			continue
		case i >= 16 && n > 0:
			p.hints.Line = n
			for _, parts := range []int{2, 3, 5, 7} {
				if n%parts == 0 && p.hints.Line%parts == 0 && (m+parts)%2 == 0 {
					p.hints.Line /= parts
				}
			}
		}
		all = append(all, p)
	}
	return all
}

func TestGemmSmall(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, isa := range Supported() {
		for m := range 17 {
			for n := range 35 {
				if (testing.Short() || raceEnabled) && (m+n)%7 != 0 {
					continue
				}
				for _, p := range variants(m, n, []int{0, 1, 2, 7}[(m+n)%4], 1+n%3) {
					p.check(t, isa, r)
				}
			}
		}
	}
}

func TestGemmRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	rounds := 12
	if testing.Short() || raceEnabled {
		rounds = 1
	}
	for range rounds {
		m, n, k := 1+r.IntN(150), 1+r.IntN(220), r.IntN(1000)
		for _, isa := range Supported() {
			for _, p := range variants(m, n, k, 1+r.IntN(4)) {
				p.check(t, isa, r)
			}
		}
	}
}

// Every product counts, also those with zero.
func TestGemmSpecialValues(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, isa := range Supported() {
		for _, p := range variants(21, 37, 400, 2) {
			p.bias = false
			for _, special := range []float32{inf, -inf, nan} {
				want := special
				if p.clip && special == special {
					want = 2 * max(lowest, min(highest, special))
				}
				a, b, c := make([]float32, p.m*p.k), make([]float32, p.k*p.n), make([]float32, p.m*p.n)
				for i := range a {
					a[i] = float32(i % 2)
				}
				b[399*p.n+36], b[398*p.n+35] = special, special
				got := p.run(t, isa, a, b, c)
				for i := range p.m {
					if v := got[i*p.n+36]; v != want && (v == v || want == want) {
						t.Fatalf("%s %s: 1·%g came out as %g", isa, p, special, v)
					}
					if v := got[i*p.n+35]; v == v {
						t.Fatalf("%s %s: 0·%g came out as %g", isa, p, special, v)
					}
					if v := got[i*p.n+34]; v != 0 {
						t.Fatalf("%s %s: a zero came out as %g", isa, p, v)
					}
				}
			}
		}
	}
}

func FuzzGemm(f *testing.F) {
	f.Add(uint8(0), uint16(5), uint16(49), uint16(33), uint8(0))
	f.Add(uint8(1), uint16(64), uint16(56), uint16(600), uint8(5))
	f.Add(uint8(2), uint16(15), uint16(1), uint16(0), uint8(12))
	f.Fuzz(func(t *testing.T, isa uint8, m, n, k uint16, variant uint8) {
		all := variants(int(m%200), int(n%300), int(k%900), 1+int(variant/16))
		all[int(variant)%len(all)].check(t, min(ISA(isa%3), Best()), rand.New(rand.NewPCG(uint64(k), uint64(n))))
	})
}

func TestTranspose(t *testing.T) {
	for _, isa := range Supported() {
		for rows := range 36 {
			for cols := range 36 {
				src := make([]float32, rows*(cols+2))
				for i := range src {
					src[i] = float32(i)
				}
				dst := fill(nil, cols*(rows+3), func() float32 { return -1 })
				Transpose(isa, dst, rows+3, src, cols+2, rows, cols)
				for i, v := range dst {
					want := float32(-1)
					if x, r := i/(rows+3), i%(rows+3); r < rows {
						want = src[r*(cols+2)+x]
					}
					if v != want {
						t.Fatalf("%s %d×%d: element %d is %g, want %g", isa, rows, cols, i, v, want)
					}
				}
			}
		}
	}
}

func TestSplit(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	value := func() float32 { return float32(r.IntN(1000)) }
	for _, isa := range Supported() {
		for rows := range 4 {
			for n := range 50 {
				ld, ldSrc := n+2, 2*n+1
				src := fill(r, rows*ldSrc, value)
				even, odd := fill(r, rows*ld, value), fill(r, rows*ld, value)
				wantEven, wantOdd := append([]float32(nil), even...), append([]float32(nil), odd...)
				for i := range rows {
					for x := range n {
						wantEven[i*ld+x], wantOdd[i*ld+x] = src[i*ldSrc+2*x], src[i*ldSrc+2*x+1]
					}
				}
				Split(isa, even, odd, ld, src, ldSrc, rows, n)
				if !slices.Equal(even, wantEven) || !slices.Equal(odd, wantOdd) {
					t.Fatalf("%s %d×%d: %v and %v of %v", isa, rows, n, even, odd, src)
				}
			}
		}
	}
}

// What the kernels don't look at is looked at before.
func TestReachIsChecked(t *testing.T) {
	for name, f := range map[string]func(){
		"short rows":    func() { NewRows(Best(), []int{0, 6}, 5).On(make([]float32, 10)) },
		"negative row":  func() { NewRows(Best(), []int{0, -1}, 5) },
		"short patches": func() { NewPatches(Best(), []int{0, 3}, []int{0, 5}, 4).On(make([]float32, 11)) },
		"copy":          func() { CopyRows(Best(), make([]float32, 20), 5, make([]float32, 10), []int{0, 6}, 5) },
		"copy's target": func() { CopyRows(Best(), make([]float32, 9), 5, make([]float32, 20), []int{0, 6}, 5) },
		"shifted rows": func() {
			(&Shifted{Off: []int{9}, Rows: 1, Cols: 2}).Max(Best(), make([]float32, 2), make([]float32, 10))
		},
		"none to compare": func() { (&Shifted{Rows: 1, Cols: 2}).Max(Best(), make([]float32, 2), make([]float32, 10)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
	NewPatches(Best(), []int{0, 3}, []int{0, 5}, 4).On(make([]float32, 12))
}
