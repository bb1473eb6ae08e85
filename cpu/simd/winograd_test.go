package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func integers(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.IntN(17) - 8)
	}
	return v
}

// TestWinograd computes rows of tiles by the transforms and compares them with the convolution. With weights that are
// multiples of 24·24 the transformed weights are integers, and every result is exact.
func TestWinograd(t *testing.T) {
	for _, isa := range Supported() {
		for _, tiles := range []int{1, 3, 4, 7, 8, 14, 16, 17, 40} {
			for cut := range 4 {
				for rows := 1; rows <= 4; rows++ {
					s := WinogradSrc{Rows: rows, Tiles: tiles, Height: 4*rows - cut, Width: 4*tiles - cut, Y: -1, X: -1}
					t.Run(fmt.Sprintf("%s/%dx%d-%d", isa, rows, tiles, cut), func(t *testing.T) { testWinograd(t, isa, s) })
					s.Y, s.X, s.Width, s.Height = -cut, cut-2, 4*tiles+7, 4*rows+9
					t.Run(fmt.Sprintf("%s/%dx%d+%d", isa, rows, tiles, cut), func(t *testing.T) { testWinograd(t, isa, s) })
				}
			}
		}
	}
}

func isNot0(v float32) bool { return v != 0 }

func testWinograd(t *testing.T, isa ISA, s WinogradSrc) {
	const channels = 19
	height, width := min(4*s.Rows, s.Height-2-2*s.Y), min(4*s.Tiles, s.Width-2-2*s.X) // as much padding at the end
	height, width = max(4*s.Rows-3, height), max(4*s.Tiles-3, width)
	r := rand.New(rand.NewPCG(uint64(s.Tiles), uint64(s.Rows)))
	source := integers(r, channels*s.Height*s.Width)
	at := func(c, y, x int) float32 {
		if y < 0 || y >= s.Height || x < 0 || x >= s.Width {
			return 0
		}
		return source[(c*s.Height+y)*s.Width+x]
	}
	parted := make([]float32, channels*s.Channel()+WinogradSlack)
	columns := s.Rows * s.Tiles
	call := WinogradCall{
		ISA: isa, Channels: channels, Plane: channels * columns, LD: columns, Scratch: make([]float32, WinogradScratch),
		Planes: make([]float32, WinogradPlanes*channels*columns+WinogradSlack),
	}
	for c := range channels {
		call.Fill(&s, parted[c*s.Channel():], source[c*s.Height*s.Width:][:s.Height*s.Width])
	}
	s.Count = columns
	call.Source(&s, parted)
	// Some of the tiles are the same as of all.
	some := call
	some.Planes, s.First, s.Count = make([]float32, len(call.Planes)), columns/3, columns-columns/3-columns/5
	some.Source(&s, parted)
	for row := range WinogradPlanes * channels {
		all, part := call.Planes[row*columns:][:columns], some.Planes[row*columns:][:columns]
		if !slices.Equal(all[s.First:][:s.Count], part[:s.Count]) || slices.ContainsFunc(part[s.Count:], isNot0) {
			t.Fatalf("row %d of tiles %d and %d more: %v of %v", row, s.First, s.Count, part, all)
		}
	}
	// A depthwise convolution: each channel's planes times its weights.
	const ld = channels + 1
	plane := columns*ld + 3
	products := make([]float32, WinogradPlanes*plane+WinogradSlack)
	for i := range products {
		products[i] = float32(math.NaN())
	}
	weights := make([][9]float32, channels)
	for c := range channels {
		for i, v := range integers(r, 9) {
			weights[c][i] = 576 * v
		}
		var u [WinogradPlanes]float32
		WinogradWei(&u, &weights[c])
		for p, f := range u {
			if f != float32(math.Round(float64(f))) {
				t.Fatalf("plane %d of the weights: %v", p, f)
			}
			row := call.Planes[p*call.Plane+c*columns:][:columns]
			for i, v := range row {
				products[p*plane+i*ld+c] = v * f
			}
		}
	}
	stride, channel := width+1, (width+1)*height+2
	got := make([]float32, channels*channel)
	for i := range got {
		got[i] = float32(math.NaN())
	}
	lo, hi := float32(math.Inf(-1)), float32(20000)
	dst := WinogradDst{Bias: integers(r, channels), Lo: lo, Hi: hi, Channel: channel, LD: stride, Cols: width}
	call.Plane, call.LD = plane, ld
	for r := range s.Rows {
		call.Planes = products[r*s.Tiles*ld:]
		dst.C, dst.Rows = got[4*r*stride:], min(4, height-4*r)
		if !call.Results(&dst) {
			t.Error("finite results are not")
		}
	}
	written := 0
	for c := range channels {
		for y := range height {
			for x := range width {
				sum := dst.Bias[c]
				for i := range 9 {
					sum += weights[c][i] * at(c, s.Y+y+i/3, s.X+x+i%3)
				}
				written++
				if g := got[c*channel+y*stride+x]; g != min(sum, hi) {
					t.Fatalf("channel %d, (%d, %d): %v, want %v", c, y, x, g, min(sum, hi))
				}
			}
		}
	}
	for _, v := range got {
		if v == v {
			written--
		}
	}
	if written != 0 {
		t.Errorf("%d elements beyond the results were written", -written)
	}
	products[7*plane+(columns-1)*ld+2] = float32(math.Inf(1))
	if call.Results(&dst) {
		t.Error("an infinity is not reported")
	}
}

func BenchmarkWinograd(b *testing.B) {
	const channels, tiles = 64, 56
	columns := tiles
	s := WinogradSrc{Rows: 1, Tiles: tiles, Count: tiles, Height: 100, Width: 4 * tiles, X: -1}
	src, parted := Aligned(s.Height*s.Width), Aligned(channels*s.Channel()+WinogradSlack)
	plane := channels*columns + 16
	call := WinogradCall{
		ISA: Best(), Channels: channels, Plane: plane, LD: columns, Scratch: Aligned(WinogradScratch),
		Planes: Aligned(WinogradPlanes*plane + WinogradSlack),
	}
	b.Run("src", func(b *testing.B) {
		for b.Loop() {
			call.Source(&s, parted)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/channels/tiles, "ns/tile")
	})
	b.Run("fill", func(b *testing.B) {
		for b.Loop() {
			for c := range channels {
				call.Fill(&s, parted[c*s.Channel():], src)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/channels/tiles, "ns/tile")
	})
	dst := WinogradDst{Bias: make([]float32, channels), Lo: float32(math.Inf(-1)), Hi: float32(math.Inf(1)),
		C: Aligned(channels * 16 * tiles), Channel: 16 * tiles, LD: 4 * tiles, Rows: 4, Cols: 4 * tiles}
	call.Plane, call.LD = tiles*channels+16, channels
	b.Run("dst", func(b *testing.B) {
		for b.Loop() {
			call.Results(&dst)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/channels/tiles, "ns/tile")
	})
}
