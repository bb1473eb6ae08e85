package simd

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// checkPairs compares a product of pairs with the sums in int32.
func checkPairs(t *testing.T, isa ISA, m, n, k int, h Hints, r *rand.Rand) {
	t.Helper()
	g, err := NewGemm(isa, m, n, k, h)
	if err != nil {
		t.Fatal(err)
	}
	value := func() int16 { return int16(r.IntN(511) - 255) }
	a, b := make([]int16, m*2*k), make([]int16, 2*k*n)
	for i := range a {
		a[i] = value()
	}
	for i := range b {
		b[i] = value()
	}
	words := make([]int32, m*k)
	for i := range words {
		words[i] = Pair(a[2*i], a[2*i+1])
	}
	off := make([]int, 2*k)
	for i := range off {
		off[i] = i * n
	}
	packed, ws := make([]float32, g.PackedA()), make([]float32, g.Workspace())
	g.PackA(packed, Words(words), k, 1)
	c := make([]int32, m*n)
	for i := range c {
		c[i] = 1 << 30 // so that some sums wrap
	}
	ld := n
	if h.Columns {
		ld = m
	}
	call := &Call{A: packed, B: NewPairRows(isa, b, off), C: Words(c), LDC: ld, Add: true}
	for i := range g.Tasks() {
		g.Run(i, ws, call)
	}
	for i := range m {
		for j := range n {
			want := int32(1 << 30)
			for p := range 2 * k {
				want += int32(a[i*2*k+p]) * int32(b[p*n+j])
			}
			at := i*n + j
			if h.Columns {
				at = j*m + i
			}
			if c[at] != want {
				t.Fatalf("%s %d×%d×%d %+v: C[%d, %d] = %d, want %d", isa, m, n, k, h, i, j, c[at], want)
			}
		}
	}
}

func TestPairs(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, isa := range Supported() {
		for i := range 200 {
			h := Hints{Pairs: true, Workers: 1 + i%3, Columns: i%2 == 1}
			m, n, k := r.IntN(40), r.IntN(70), r.IntN(30)
			if i%40 == 0 {
				k += 700
			}
			checkPairs(t, isa, m, n, k, h, r)
		}
	}
}

func BenchmarkPairs(b *testing.B) {
	const m, n, k = 256, 3136, 288
	for _, isa := range Supported() {
		g, err := NewGemm(isa, m, n, k, Hints{Pairs: true})
		if err != nil {
			b.Fatal(err)
		}
		off := make([]int, 2*k)
		for i := range off {
			off[i] = i * n
		}
		call := &Call{A: Aligned(g.PackedA()), B: NewPairRows(isa, make([]int16, 2*k*n), off), C: make([]float32, m*n), LDC: n}
		ws := Aligned(g.Workspace())
		b.Run(fmt.Sprintf("%dx%dx%d/%s", m, n, 2*k, isa), func(b *testing.B) {
			fastest(b, 2*m*n*2*k, func() {
				for i := range g.Tasks() {
					g.Run(i, ws, call)
				}
			})
		})
	}
}
