package simd

import (
	"math"
	"testing"
)

// Halves go to the even neighbour, and what no integer is to 0; in whole vectors as behind them.
func TestBytes(t *testing.T) {
	src := []float32{0.5, 1.5, -0.5, -1.5, 2.5, 126.5, 127.5, 300, -128.5, -129, 1e30, -1e30, float32(math.Inf(1)), float32(math.NaN()), 254.5, 0.49999997,
		float32(math.Inf(-1)), 1 << 31, -1 << 31}
	wantS := []int8{0, 2, 0, -2, 2, 126, 127, 127, -128, -128, 127, -128, 127, 0, 127, 0, -128, 127, -128}
	wantU := []uint8{0, 2, 0, 0, 2, 126, 128, 255, 0, 0, 255, 0, 255, 0, 254, 0, 0, 255, 0}
	for _, isa := range Supported() {
		for n := range 120 {
			floats, s8, u8 := make([]float32, n), make([]int8, n+1), make([]uint8, n+1)
			for i := range floats {
				floats[i] = src[i%len(src)]
			}
			s8[n], u8[n] = 77, 77
			Saturate(isa, s8, floats, -128, 127)
			Saturate(isa, u8, floats, 0, 255)
			for i := range floats {
				if j := i % len(src); s8[i] != wantS[j] || u8[i] != wantU[j] {
					t.Fatalf("%s: %v is %d and %d, not %d and %d", isa, floats[i], s8[i], u8[i], wantS[j], wantU[j])
				}
			}
			fs, fu, is, iu := make([]float32, n+1), make([]float32, n+1), make([]int32, n+1), make([]int32, n+1)
			for i := range n {
				s8[i], u8[i] = int8(i*37), uint8(i*37)
			}
			Floats(isa, fs[:n], s8)
			Floats(isa, fu[:n], u8)
			Integers(isa, is[:n], s8)
			Integers(isa, iu[:n], u8)
			for i := range n {
				if fs[i] != float32(s8[i]) || fu[i] != float32(u8[i]) || is[i] != int32(s8[i]) || iu[i] != int32(u8[i]) {
					t.Fatalf("%s: %d and %d became %v %v %v %v", isa, s8[i], u8[i], fs[i], fu[i], is[i], iu[i])
				}
			}
			if s8[n] != 77 || u8[n] != 77 || fs[n] != 0 || fu[n] != 0 || is[n] != 0 || iu[n] != 0 {
				t.Fatalf("%s: something was written behind %d elements", isa, n)
			}
		}
	}
}

func TestShorts(t *testing.T) {
	for _, isa := range Supported() {
		for n := range 70 {
			src, dst := make([]int32, n), make([]int16, n+1)
			for i := range src {
				src[i] = int32(i*7%256) - 128
			}
			dst[n] = 77
			Shorts(isa, dst[:n], src, -101)
			for i, v := range src {
				if dst[i] != int16(v+101) || dst[n] != 77 {
					t.Fatalf("%s: %d of %d is %d, and what is behind %d", isa, v, n, dst[i], dst[n])
				}
			}
		}
	}
}

// Integers that floats hold, and the limits of 32 bits among them, come back as such.
func TestIntegral(t *testing.T) {
	for _, isa := range Supported() {
		for cols := 1; cols < 70; cols += 3 {
			const rows, ld = 2, 72
			v, want := make([]float32, rows*ld), make([]int32, rows*ld)
			for i := range v {
				want[i] = []int32{1<<24 - int32(i), -1<<24 + int32(i), math.MinInt32, 0}[i%4]
				if v[i] = float32(want[i]); i%ld >= cols {
					want[i] = int32(math.Float32bits(v[i]))
				}
			}
			Block{C: v, LD: ld, Rows: rows, Cols: cols}.Integral(isa)
			for i, got := range Ints(v) {
				if got != want[i] {
					t.Fatalf("%s, %d columns: element %d is %d, not %d", isa, cols, i, got, want[i])
				}
			}
		}
	}
}

func TestPassesOverIntegers(t *testing.T) {
	for _, isa := range Supported() {
		for cols := 1; cols < 70; cols += 3 {
			const rows, ld = 3, 72
			for _, way := range []string{"raise", "dequantize"} {
				ints := make([]int32, rows*ld)
				for i := range ints {
					ints[i] = math.MaxInt32 - int32(i)
				}
				b := Block{C: Words(ints), LD: ld, Rows: rows, Cols: cols}
				if way == "raise" {
					b.Raise(isa, []int32{100, -1000, math.MaxInt32})
				} else {
					b.Dequantize(isa, []float32{1, 0.3, -7})
				}
				for i := range ints {
					want := math.MaxInt32 - int32(i)
					if i%ld < cols {
						if way == "raise" {
							want += []int32{100, -1000, math.MaxInt32}[i/ld]
						} else {
							want = int32(math.Float32bits(float32(want) * []float32{1, 0.3, -7}[i/ld]))
						}
					}
					if ints[i] != want {
						t.Fatalf("%s: %s of %d columns: element %d is %d, not %d", isa, way, cols, i, ints[i], want)
					}
				}
			}
		}
	}
}
