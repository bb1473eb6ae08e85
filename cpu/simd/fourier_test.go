package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// fourierCase is a correlation of tiles of n×n with a kernel of height×width, by the transforms.
type fourierCase struct{ n, height, width int }

// TestFourier correlates a tile for each lane with a kernel, and compares what the tiles give whole with plain sums.
func TestFourier(t *testing.T) {
	for _, isa := range Supported() {
		for _, c := range []fourierCase{{8, 5, 5}, {8, 3, 8}, {16, 5, 5}, {16, 1, 16}, {16, 11, 2}, {32, 7, 9}, {32, 32, 1}, {64, 31, 31}, {64, 3, 40}} {
			t.Run(fmt.Sprintf("%s/%d/%dx%d", isa, c.n, c.height, c.width), func(t *testing.T) { c.test(t, isa) })
		}
	}
}

func (c fourierCase) test(t *testing.T, isa ISA) {
	f := NewFourier(isa, c.n)
	r := rand.New(rand.NewPCG(uint64(c.n), uint64(c.width)))
	line := 2*c.n + 3
	src := make([]float32, (c.n+5)*line)
	for i := range src {
		src[i] = r.Float32() - 0.5
	}
	var at [][2]int
	var w []float32
	energy := 0.0
	for u := range c.height {
		for v := range c.width {
			at, w = append(at, [2]int{u, v}), append(w, r.Float32()-0.5)
			energy += float64(w[len(w)-1]) * float64(w[len(w)-1])
		}
	}
	wei := make([]float32, 2*f.Bins())
	f.NewWeights(at).Transform(wei, 2, 1, w)
	lanes := f.Lanes()
	off := make([]int, lanes)
	for i := range off {
		off[i] = r.IntN(6)*line + r.IntN(c.n)
	}
	for _, count := range []int{lanes, lanes - 1, 1} {
		part := 2*lanes + 3
		call := FourierCall{Fourier: f, Scratch: make([]float32, f.Scratch()), Bin: 2*part + 5, Part: part}
		all := make([]float32, f.Bins()*call.Bin)
		for i := range all {
			all[i] = float32(math.NaN())
		}
		call.Source(all, src, line, off)
		sums := make([]float32, f.Bins()*2*lanes)
		for i := range f.Bins() {
			b := all[i*call.Bin:]
			for lane := range lanes {
				re, im := b[lane], b[part+lane]
				sums[2*i*lanes+lane] = re*wei[2*i] - im*wei[2*i+1]
				sums[(2*i+1)*lanes+lane] = im*wei[2*i] + re*wei[2*i+1]
			}
			if v, w := b[lanes], b[part+lanes]; v == v || w == w {
				t.Fatalf("bin %d has %v, %v after its %d lanes", i, v, w, lanes)
			}
		}
		call.Bin, call.Part = 2*lanes, lanes
		rows, cols := c.n-c.height+1, c.n-c.width+1
		d := FourierDst{Bias: make([]float32, count), Lo: -2, Hi: 2, Channel: rows*(cols+1) + 1, LD: cols + 1, Rows: rows, Cols: cols}
		for i := range d.Bias {
			d.Bias[i] = float32(i)/8 - 1
		}
		d.C = make([]float32, count*d.Channel)
		for i := range d.C {
			d.C[i] = float32(math.NaN())
		}
		if !call.Results(&d, sums) {
			t.Error("a result is not finite")
		}
		for lane := range count {
			norm := 0.0
			for y := range c.n {
				for x := range c.n {
					v := float64(src[off[lane]+y*line+x])
					norm += v * v
				}
			}
			// Far above rounding, and far below any mistake.
			bound := 1e-5 * math.Sqrt(norm*energy)
			for y := range rows {
				for x := range cols {
					want := float64(d.Bias[lane])
					for i, p := range at {
						want += float64(w[i]) * float64(src[off[lane]+(y+p[0])*line+x+p[1]])
					}
					want = max(-2, min(2, want))
					if got := float64(d.C[lane*d.Channel+y*d.LD+x]); !(math.Abs(got-want) <= bound) {
						t.Fatalf("lane %d of %d, %d, %d: %v, not %v ± %v", lane, count, y, x, got, want, bound)
					}
				}
				if v := d.C[lane*d.Channel+y*d.LD+cols]; v == v {
					t.Fatalf("%v is stored beyond the columns", v)
				}
			}
		}
		sums[lanes-1-(lanes-count)] = float32(math.Inf(1))
		if call.Results(&d, sums) {
			t.Error("an infinity was not seen")
		}
	}
}
