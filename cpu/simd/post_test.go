package simd

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/x448/float16"
)

// passes are the passes and what each does to one element, given its parameters.
var passes = []struct {
	name string
	run  func(b Block, isa ISA, p, q Params, r []float32, ld int)
	want func(c, p, q, r float32) float32
}{
	{"bias", func(b Block, isa ISA, p, _ Params, _ []float32, _ int) { b.Bias(isa, p) },
		func(c, p, _, _ float32) float32 { return c + p }},
	{"scale", func(b Block, isa ISA, p, q Params, _ []float32, _ int) { b.Scale(isa, p, q) },
		func(c, p, q, _ float32) float32 { return float32(c*p) + q }},
	{"divide", func(b Block, isa ISA, p, _ Params, _ []float32, _ int) { b.Divide(isa, p) },
		func(c, p, _, _ float32) float32 { return c / p }},
	{"leak", func(b Block, isa ISA, p, _ Params, _ []float32, _ int) { b.Leak(isa, p) },
		func(c, p, _, _ float32) float32 {
			if c < 0 {
				return c * p
			}
			return c
		}},
	{"relu", func(b Block, isa ISA, _, _ Params, _ []float32, _ int) { b.Clip(isa, 0, float32(math.Inf(1))) },
		func(c, _, _, _ float32) float32 {
			if c < 0 {
				return 0
			}
			return c
		}},
	{"clip", func(b Block, isa ISA, _, _ Params, _ []float32, _ int) { b.Clip(isa, -0.5, 0.25) },
		func(c, _, _, _ float32) float32 {
			switch {
			case c < -0.5:
				return -0.5
			case c > 0.25:
				return 0.25
			}
			return c
		}},
	{"add", func(b Block, isa ISA, _, _ Params, r []float32, ld int) { b.Add(isa, r, ld) },
		func(c, _, _, r float32) float32 { return c + r }},
}

// Every pass is bit for bit what it says, with NaN, infinities and both zeros among the elements.
func TestPasses(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	special := []float32{0, float32(math.Copysign(0, -1)), float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}
	value := func() float32 {
		if r.IntN(4) == 0 {
			return special[r.IntN(len(special))]
		}
		return float32(r.NormFloat64())
	}
	for _, isa := range Supported() {
		for _, rows := range []int{0, 1, 2, 5} {
			for cols := range 53 {
				for _, byCol := range []bool{false, true} {
					ld := cols + 3
					c, res := fill(r, rows*ld, value), fill(r, rows*ld, value)
					n := rows
					if byCol {
						n = cols
					}
					p, q := fill(r, n, value), fill(r, n, value)
					for _, pass := range passes {
						got := append([]float32(nil), c...)
						pass.run(Block{got, ld, rows, cols}, isa, Params{p, byCol}, Params{q, byCol}, res, ld)
						for i, v := range got {
							want := c[i]
							if row, col := i/ld, i%ld; col < cols {
								at := pick(byCol, row, col)
								want = pass.want(c[i], p[at], q[at], res[i])
							}
							if math.Float32bits(v) != math.Float32bits(want) && (v == v || want == want) {
								t.Fatalf("%s %s %d×%d by column %t: element %d of %g is %g, want %g",
									isa, pass.name, rows, cols, byCol, i, c[i], v, want)
							}
						}
					}
				}
			}
		}
	}
}

func TestShifted(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	value := func() float32 { return float32(r.IntN(33) - 16) }
	for _, isa := range Supported() {
		for _, taps := range []int{0, 1, 9} {
			for rows := range 7 {
				for size := range 160 {
					cols, step := size/2, 1+size%2
					s := Shifted{Wei: fill(r, taps, value), Rows: rows, Cols: cols, LDSrc: step*cols + 5, LDDst: cols + 2,
						Add: cols%2 == 1, Even: step == 2}
					for i := range taps {
						s.Off = append(s.Off, i/3*s.LDSrc+i%3)
					}
					src, dst := fill(r, (rows+2)*s.LDSrc, value), fill(r, rows*s.LDDst, value)
					got := append([]float32(nil), dst...)
					s.Sum(isa, got, src)
					for i, v := range got {
						want := dst[i]
						if row, x := i/s.LDDst, i%s.LDDst; x < cols {
							if !s.Add {
								want = 0
							}
							for p, o := range s.Off {
								want += s.Wei[p] * src[o+row*s.LDSrc+step*x]
							}
						}
						if v != want {
							t.Fatalf("%s %d taps %d×%d: element %d is %g, want %g", isa, taps, rows, cols, i, v, want)
						}
					}
				}
			}
		}
	}
}

func TestShiftedMax(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	zero, inf, nan := float32(0), float32(math.Inf(1)), float32(math.NaN())
	value := func() float32 {
		return []float32{zero, float32(math.Copysign(0, -1)), inf, -inf, nan, 1, 2, 3, -1, -2, -3}[r.IntN(11)]
	}
	for _, isa := range Supported() {
		for _, taps := range []int{1, 2, 4} {
			for rows := range 6 {
				for size := range 140 {
					cols, step := size/2, 1+size%2
					s := Shifted{Rows: rows, Cols: cols, LDSrc: step*cols + 5, LDDst: cols + 2, Even: step == 2}
					for i := range taps {
						s.Off = append(s.Off, i/2*s.LDSrc+i%2)
					}
					src, dst := fill(r, (rows+2)*s.LDSrc, value), fill(r, rows*s.LDDst, value)
					got := append([]float32(nil), dst...)
					s.Max(isa, got, src)
					for i, v := range got {
						want := dst[i]
						if row, x := i/s.LDDst, i%s.LDDst; x < cols {
							want = src[row*s.LDSrc+step*x]
							for _, o := range s.Off {
								if v := src[o+row*s.LDSrc+step*x]; v > want || v != v {
									want = v
								}
							}
						}
						if math.Float32bits(v) != math.Float32bits(want) && (v == v || want == want) {
							t.Fatalf("%s %d taps %d×%d: element %d is %g, want %g", isa, taps, rows, cols, i, v, want)
						}
					}
				}
			}
		}
	}
}

// All 16-bit floats, and what lies between two of them.
func TestHalves(t *testing.T) {
	for _, isa := range Supported() {
		h := make([]uint16, 1<<16+5)
		for i := range h {
			h[i] = uint16(i)
		}
		wide, back := make([]float32, len(h)), make([]uint16, len(h))
		Widen(isa, wide, h)
		Narrow(isa, back, wide)
		for i, v := range wide {
			if want := float16.Frombits(h[i]).Float32(); v != want && (v == v || want == want) {
				t.Fatalf("%s: %#x is %g, want %g", isa, h[i], v, want)
			}
			if back[i] != h[i] && v == v {
				t.Fatalf("%s: %g became %#x, want %#x", isa, v, back[i], h[i])
			}
		}
		for i := range wide {
			wide[i] = math.Float32frombits(uint32(i)*65521 + 7)
		}
		Narrow(isa, back, wide)
		for i, v := range wide {
			if want := float16.Fromfloat32(v).Bits(); back[i] != want && v == v {
				t.Fatalf("%s: %g became %#x, want %#x", isa, v, back[i], want)
			}
		}
	}
}
