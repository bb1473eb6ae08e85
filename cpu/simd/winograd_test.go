package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gonvolve/gonvolve/engine/winograd"
)

func integers(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.IntN(17) - 8)
	}
	return v
}

// TestWinograd computes rows of tiles by the transforms and compares them with the convolution. With weights that are
// multiples of 2·2 and 24·24 the transformed weights are integers, and every result of m = 2 and 4 is exact; of 6 none is, and
// the bound is that of package winograd.
func TestWinograd(t *testing.T) {
	for _, isa := range Supported() {
		for _, size := range WinogradSizes {
			m := int(size)
			all := []int{1, 3, 4, 7, 8, 14, 16, 17, 40}
			if m == 6 { // whose bounds take long
				all = []int{1, 3, 8, 17}
			}
			for _, tiles := range all {
				for cut := 0; cut < m; cut += max(1, m-3) {
					for rows := 1; rows <= 4; rows++ {
						s := WinogradSrc{M: size, Rows: rows, Tiles: tiles, Height: m*rows - cut, Width: m*tiles - cut, Y: -1, X: -1}
						name := fmt.Sprintf("%s/%d/%dx%d", isa, m, rows, tiles)
						t.Run(fmt.Sprintf("%s-%d", name, cut), func(t *testing.T) { testWinograd(t, isa, s) })
						s.Y, s.X, s.Width, s.Height = -cut, cut-2, m*tiles+7, m*rows+9
						t.Run(fmt.Sprintf("%s+%d", name, cut), func(t *testing.T) { testWinograd(t, isa, s) })
					}
				}
			}
		}
	}
}

// wholeWeights are factors of weights that make the transformed weights integers; of m = 6 they would be too large to be exact.
var wholeWeights = map[Winograd]float32{2: 4, 4: 576, 6: 1}

// bounds are how far the results of a tile may be off, by package winograd.
func bounds(m Winograd, cells func(y, x int) float32, wei *[9]float32) []float64 {
	f, err := winograd.New(int(m))
	if err != nil {
		panic(err)
	}
	n := m.Cells()
	d, g, u, v := make([]float64, n*n), make([]float64, 9), make([]float64, n*n), make([]float64, n*n)
	for i := range d {
		d[i] = float64(cells(i/n, i%n))
	}
	for i, w := range wei {
		g[i] = float64(w)
	}
	f.Weights(u, g)
	f.Cells(v, d)
	for i := range u {
		u[i] *= v[i]
	}
	b := make([]float64, m*m)
	f.Results(b, u)
	for i := range b {
		b[i] *= float64(f.Roundings(1)+1) * 0x1p-24 // and the bias
	}
	return b
}

func isNot0(v float32) bool { return v != 0 }

func testWinograd(t *testing.T, isa ISA, s WinogradSrc) {
	const channels = 19
	m, planes := int(s.M), s.M.Planes()
	height, width := min(m*s.Rows, s.Height-2-2*s.Y), min(m*s.Tiles, s.Width-2-2*s.X) // as much padding at the end
	height, width = max(m*s.Rows-m+1, height), max(m*s.Tiles-m+1, width)
	r := rand.New(rand.NewPCG(uint64(s.Tiles), uint64(s.Rows)))
	source := integers(r, channels*s.Height*s.Width)
	at := func(c, y, x int) float32 {
		if y < 0 || y >= s.Height || x < 0 || x >= s.Width {
			return 0
		}
		return source[(c*s.Height+y)*s.Width+x]
	}
	columns := s.Rows * s.Tiles
	call := WinogradCall{
		ISA: isa, M: s.M, Channels: channels, Plane: channels * columns, LD: columns, Scratch: make([]float32, s.M.Scratch()),
		Planes: make([]float32, planes*channels*columns+WinogradSlack),
	}
	for i := range call.Scratch {
		call.Scratch[i] = float32(math.NaN())
	}
	s.Count = columns
	call.Source(&s, source)
	// Some of the tiles are the same as of all.
	some := call
	some.Planes, s.First, s.Count = make([]float32, len(call.Planes)), columns/3, columns-columns/3-columns/5
	some.Source(&s, source)
	for row := range planes * channels {
		all, part := call.Planes[row*columns:][:columns], some.Planes[row*columns:][:columns]
		if !slices.Equal(all[s.First:][:s.Count], part[:s.Count]) || slices.ContainsFunc(part[s.Count:], isNot0) {
			t.Fatalf("row %d of tiles %d and %d more: %v of %v", row, s.First, s.Count, part, all)
		}
	}
	// A depthwise convolution: each channel's planes times its weights.
	const ld = channels + 1
	plane := columns*ld + 3
	products := make([]float32, planes*plane+WinogradSlack)
	for i := range products {
		products[i] = float32(math.NaN())
	}
	weights := make([][9]float32, channels)
	for c := range channels {
		for i, v := range integers(r, 9) {
			weights[c][i] = wholeWeights[s.M] * v
		}
		u := make([]float32, planes)
		s.M.Wei(u, 1, &weights[c])
		for p, f := range u {
			if m < 6 && f != float32(math.Round(float64(f))) {
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
	lo, hi := float32(math.Inf(-1)), 35*wholeWeights[s.M]
	dst := WinogradDst{Bias: integers(r, channels), Lo: lo, Hi: hi, Channel: channel, LD: stride, Cols: width}
	call.Plane, call.LD = plane, ld
	for r := range s.Rows {
		call.Planes = products[r*s.Tiles*ld:]
		dst.C, dst.Rows = got[m*r*stride:], min(m, height-m*r)
		if !call.Results(&dst) {
			t.Error("finite results are not")
		}
	}
	written := 0
	for c := range channels {
		var bound []float64
		for y := range height {
			for x := range width {
				if m == 6 && y%m == 0 && x%m == 0 {
					bound = append(bound, bounds(s.M, func(i, j int) float32 { return at(c, s.Y+y+i, s.X+x+j) }, &weights[c])...)
				}
				sum := dst.Bias[c]
				for i := range 9 {
					sum += weights[c][i] * at(c, s.Y+y+i/3, s.X+x+i%3)
				}
				written++
				most := 0.0
				if m == 6 {
					most = bound[(y/m*s.Tiles+x/m)*m*m+y%m*m+x%m]
				}
				if g := got[c*channel+y*stride+x]; !(math.Abs(float64(g)-float64(min(sum, hi))) <= most) {
					t.Fatalf("channel %d, (%d, %d): %v, want %v ± %v", c, y, x, g, min(sum, hi), most)
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
	const channels = 64
	for _, isa := range Supported() {
		for _, m := range WinogradSizes {
			tiles := 56 / int(m)
			s := WinogradSrc{M: m, Rows: 1, Tiles: tiles, Count: tiles, Height: 100, Width: int(m) * tiles, X: -1}
			src := Aligned(channels * s.Height * s.Width)
			plane := channels*tiles + 16
			call := WinogradCall{
				ISA: isa, M: m, Plane: plane, LD: tiles, Scratch: Aligned(m.Scratch()), Planes: Aligned(m.Planes()*plane + WinogradSlack),
			}
			run := func(name string, body func()) {
				b.Run(fmt.Sprintf("%s/%d/%s", isa, m, name), func(b *testing.B) {
					for b.Loop() {
						body()
					}
					results := channels * tiles * int(m*m)
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(results), "ns/result")
				})
			}
			run("src", func() {
				call.Channels = channels
				call.Source(&s, src)
			})
			width := int(m) * tiles
			dst := WinogradDst{Bias: make([]float32, channels), Lo: float32(math.Inf(-1)), Hi: float32(math.Inf(1)),
				C: Aligned(channels * 16 * width), Channel: 16 * width, LD: width, Rows: int(m), Cols: width}
			run("dst", func() {
				call.LD = channels
				call.Results(&dst)
				call.LD = tiles
			})
		}
	}
}
