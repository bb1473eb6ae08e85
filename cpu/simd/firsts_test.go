package simd

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestFirsts(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 17))
	zero, inf, nan := float32(0), float32(math.Inf(1)), float32(math.NaN())
	value := func() float32 {
		return []float32{zero, float32(math.Copysign(0, -1)), inf, -inf, nan, 1, 2, 3, -1, -2, -3}[r.IntN(11)]
	}
	low := func() float32 { return []float32{-inf, -inf, -inf, nan, -3}[r.IntN(5)] }
	for _, isa := range Supported() {
		for _, of := range []func() float32{value, low} {
			for _, taps := range []int{1, 2, 9} {
				for cols := range 140 {
					var from []int
					for p := range taps {
						from = append(from, p/3*(cols+2)+p%3, 100*p-7)
					}
					src := fill(r, (taps+2)/3*(cols+2)+2, of)
					got, want := make([]int32, cols), make([]int32, cols)
					for x := range want {
						best := -inf
						want[x] = None
						for p := range taps {
							if v := src[from[2*p]+x]; v > best || v != v {
								best, want[x] = v, int32(from[2*p+1])
							}
						}
					}
					Firsts(isa, got, src, from)
					if !slices.Equal(got, want) {
						t.Fatalf("%s %d taps, %d columns: %v, want %v", isa, taps, cols, got, want)
					}
				}
			}
		}
	}
}

func TestEvery(t *testing.T) {
	r := rand.New(rand.NewPCG(18, 19))
	value := func() float32 { return float32(r.IntN(1000)) }
	for _, isa := range Supported() {
		for rows := range 4 {
			for n := 1; n < 50; n++ {
				ld, ldSrc := 2*n-1, n+2
				src, got := fill(r, rows*ldSrc, value), fill(r, rows*ld, value)
				want := append([]float32(nil), got...)
				for i := range rows {
					for x := range n {
						want[i*ld+2*x] = src[i*ldSrc+x]
					}
				}
				Every(isa, got, ld, src, ldSrc, rows, n)
				if !slices.Equal(got, want) {
					t.Fatalf("%s %d×%d: %v of %v, want %v", isa, rows, n, got, src, want)
				}
			}
		}
	}
}

// TestHalfRows: rows of halves, with what lies between them left alone.
func TestHalfRows(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 42))
	for _, isa := range Supported() {
		for rows := range 4 {
			for n := range 70 {
				ld, ldSrc := n+3, n+5
				floats := fill(r, rows*ldSrc+1, func() float32 { return float32(r.IntN(2000) - 1000) })
				halves, gotHalves := make([]uint16, rows*ldSrc+1), make([]uint16, rows*ld+1)
				narrowAll(halves, floats)
				got, want, wantHalves := make([]float32, rows*ld+1), make([]float32, rows*ld+1), make([]uint16, rows*ld+1)
				for i := range rows {
					copy(want[i*ld:][:n], floats[i*ldSrc:])
					copy(wantHalves[i*ld:][:n], halves[i*ldSrc:])
				}
				WidenRows(isa, got, ld, halves, ldSrc, rows, n)
				NarrowRows(isa, gotHalves, ld, floats, ldSrc, rows, n)
				if !slices.Equal(got, want) || !slices.Equal(gotHalves, wantHalves) {
					t.Fatalf("%s %d×%d: %v and %v, want %v and %v", isa, rows, n, got, gotHalves, want, wantHalves)
				}
			}
		}
	}
}

func TestJoin(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 52))
	value := func() float32 { return float32(r.IntN(1000)) }
	for _, isa := range Supported() {
		for rows := range 4 {
			for n := range 90 {
				ld := n + 3
				even, odd := fill(r, rows*((n+1)/2), value), fill(r, rows*(n/2), value)
				got := fill(r, rows*ld, value)
				want := append([]float32(nil), got...)
				for i := range rows {
					for x := range n {
						if want[i*ld+x] = even[i*((n+1)/2)+x/2]; x%2 == 1 {
							want[i*ld+x] = odd[i*(n/2)+x/2]
						}
					}
				}
				Join(isa, got, ld, even, odd, rows, n)
				if !slices.Equal(got, want) {
					t.Fatalf("%s %d×%d: %v, want %v", isa, rows, n, got, want)
				}
			}
		}
	}
}
