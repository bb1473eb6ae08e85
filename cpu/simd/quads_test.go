package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// quadCase is a product of quads with what becomes of its sums.
type quadCase struct {
	m, n, k          int
	scales, rounds   bool
	h                Hints
	a                []int8
	b                []byte
	bias, zero       []int32
	scale, low, high []float32
	wantBits         []uint32 // of C's elements
	got              []uint32
	plan             string
}

func newQuadCase(r *rand.Rand, m, n, k int, h Hints, scales, rounds bool) *quadCase {
	c := &quadCase{m: m, n: n, k: k, scales: scales, rounds: rounds, h: h, a: make([]int8, 4*m*k), b: make([]byte, 4*k*n),
		bias: make([]int32, m), zero: make([]int32, m), scale: make([]float32, m), low: make([]float32, m), high: make([]float32, m)}
	for i := range c.a {
		if c.a[i] = int8(r.IntN(256) - 128); r.IntN(4) == 0 {
			c.a[i] = -128
		}
	}
	for i := range c.b {
		if c.b[i] = byte(r.IntN(256)); r.IntN(4) == 0 {
			c.b[i] = 255
		}
	}
	for i := range m {
		if c.bias[i] = int32(r.IntN(2000) - 1000); r.IntN(4) == 0 {
			c.bias[i] = math.MaxInt32 // sums wrap
		}
		c.scale[i] = (r.Float32() - 0.5) * float32(math.Pow(10, float64(r.IntN(9)-6)))
		c.zero[i] = int32(r.IntN(256))
		c.low[i], c.high[i] = float32(-c.zero[i]), float32(255-c.zero[i])
	}
	for i := range m {
		for j := range n {
			sum := c.bias[i]
			for p := range k {
				for q := range 4 {
					sum += int32(c.a[(i*k+p)*4+q]) * int32(c.b[(p*4+q)*n+j])
				}
			}
			bits := uint32(sum)
			if scales {
				v := float32(sum) * c.scale[i]
				bits = math.Float32bits(v)
				if rounds {
					bits = uint32(max(0, min(255, math.RoundToEven(float64(v))+float64(c.zero[i]))))
				}
			}
			c.wantBits = append(c.wantBits, bits)
		}
	}
	return c
}

// run computes it by a plan, from a source of planes of n bytes, four to a quad.
func (c *quadCase) run(g *Gemm) {
	isa := g.kern.isa
	c.plan = g.String()
	words, source, off := make([]int32, c.m*c.k), make([]float32, c.k*c.n), make([]int, c.k)
	for i := range words {
		words[i] = Quad([4]int8(c.a[4*i:]))
	}
	Weave(isa, source, c.n, c.b, c.n, c.k, 4, c.n, 0)
	for i := range off {
		off[i] = i * c.n
	}
	packed, ws := make([]float32, g.PackedA()), make([]float32, g.Workspace())
	g.PackA(packed, Words(words), c.k, 1)
	q := &Quant{Bias: c.bias}
	if c.scales {
		q.Scale = c.scale
	}
	if c.rounds {
		q.Low, q.High, q.Zero = c.low, c.high, c.zero
	}
	rows := NewRows(isa, off, c.n).On(source)
	call := &Call{A: packed, B: &rows, LDC: c.n, Quant: q}
	if c.h.Bytes {
		q.Bytes = make([]byte, c.m*c.n)
	} else {
		call.C = make([]float32, c.m*c.n)
	}
	for i := range g.Tasks() {
		g.Run(i, ws, call)
	}
	c.got = make([]uint32, c.m*c.n)
	for i := range c.got {
		if c.h.Bytes {
			c.got[i] = uint32(q.Bytes[i])
		} else {
			c.got[i] = math.Float32bits(call.C[i])
		}
	}
}

func (c *quadCase) check(t *testing.T, g *Gemm) {
	t.Helper()
	c.run(g)
	for i, want := range c.wantBits {
		if c.got[i] != want {
			t.Fatalf("%d×%d×%d %+v, %s: C[%d, %d] = %#x, want %#x", c.m, c.n, c.k, c.h, c.plan, i/c.n, i%c.n, c.got[i], want)
		}
	}
}

func TestQuads(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for _, isa := range Supported() {
		if !HasQuads(isa) {
			if _, err := NewGemm(isa, 1, 1, 1, Hints{Quads: true, Line: 1}); err == nil {
				t.Errorf("%s: a plan without kernels", isa)
			}
			continue
		}
		for i := range 400 {
			n := 1 + r.IntN(70)
			m, k := r.IntN(70), r.IntN(20)
			if i%40 == 0 {
				k += 1700
			}
			scales, rounds, bytes := i%4 > 0, i%4 > 1, i%4 > 2
			h := Hints{Quads: true, Workers: 1 + i%3, Line: n, Bytes: bytes}
			g, err := NewGemm(isa, m, n, k, h)
			if err != nil {
				t.Fatal(err)
			}
			newQuadCase(r, m, n, k, h, scales, rounds).check(t, g)
		}
	}
}

// Every kernel of quads, whatever the planner would choose.
func TestQuadKernels(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for _, isa := range Supported() {
		if !HasQuads(isa) {
			continue
		}
		for m := 1; m <= 15; m++ {
			for n := 1; n <= 65; n += 7 {
				for _, bytes := range []bool{false, true} {
					h := Hints{Quads: true, Workers: 1, Line: n, Bytes: bytes}
					for _, g := range candidates(&quads512, m, n, 5, h) {
						g.setTables()
						newQuadCase(r, m, n, 5, h, true, bytes).check(t, g)
					}
				}
			}
		}
	}
}

// What is woven of rows, of any number and length, is what is said of it.
func TestWeave(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	for _, isa := range Supported() {
		if !HasQuads(isa) {
			continue
		}
		for range 200 {
			quads, rows, n := 1+r.IntN(3), 1+r.IntN(4), 1+r.IntN(100)
			if quads > 1 {
				rows = 4
			}
			ldSrc, ld, flip := n+r.IntN(3), n+r.IntN(3), byte(r.IntN(2)*128)
			src, dst := make([]byte, (4*quads-5+rows)*ldSrc+n), make([]float32, (quads-1)*ld+n)
			for i := range src {
				src[i] = byte(r.IntN(256))
			}
			Weave(isa, dst, ld, src, ldSrc, quads, rows, n, flip)
			for i := range quads {
				for x := range n {
					for q := range rows {
						want, got := src[(4*i+q)*ldSrc+x]^flip, byte(math.Float32bits(dst[i*ld+x])>>(8*q))
						if got != want {
							t.Fatalf("byte %d of word %d of quad %d of %d rows of %d: %#x, want %#x", q, x, i, rows, n, got, want)
						}
					}
				}
			}
		}
	}
}

func BenchmarkQuads(b *testing.B) {
	const m, n, k = 256, 3136, 144
	for _, isa := range Supported() {
		if !HasQuads(isa) {
			continue
		}
		g, err := NewGemm(isa, m, n, k, Hints{Quads: true, Line: n})
		if err != nil {
			b.Fatal(err)
		}
		off := make([]int, k)
		for i := range off {
			off[i] = i * n
		}
		rows := NewRows(isa, off, n).On(make([]float32, k*n))
		call := &Call{A: Aligned(g.PackedA()), B: &rows, C: make([]float32, m*n), LDC: n, Quant: &Quant{Bias: make([]int32, m)}}
		ws := Aligned(g.Workspace())
		b.Run(fmt.Sprintf("%dx%dx%d/%s", m, n, 4*k, isa), func(b *testing.B) {
			fastest(b, 2*m*n*4*k, func() {
				for i := range g.Tasks() {
					g.Run(i, ws, call)
				}
			})
		})
	}
}
