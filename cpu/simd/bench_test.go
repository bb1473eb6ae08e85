package simd

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// shapes of products that convolutions imply: output channels, output positions, taps.
var shapes = [][3]int{
	{64, 12544, 147}, {64, 3136, 576}, {128, 784, 1152}, {256, 196, 2304}, {512, 49, 4608}, {256, 3136, 576},
	{64, 3136, 256}, {2048, 49, 512}, {1024, 1024, 1024},
}

// fastest reports the fastest of all runs beside the mean that the test package reports: what the machine can do when
// nothing else runs on it.
func fastest(b *testing.B, flops float64, run func()) {
	run()
	best := time.Duration(1 << 62)
	for b.Loop() {
		t := time.Now()
		run()
		best = min(best, time.Since(t))
	}
	b.ReportMetric(flops*float64(b.N)/float64(b.Elapsed()), "GFLOP/s")
	b.ReportMetric(flops/float64(best), "best-GFLOP/s")
}

func BenchmarkPeak(b *testing.B) {
	for _, isa := range Supported() {
		b.Run(isa.String(), func(b *testing.B) {
			k := kernelsOf(isa)
			const n = 100_000
			fastest(b, float64(2*n*k.peakChains*k.lanes), func() { k.peak(n) })
		})
	}
}

func BenchmarkGemm(b *testing.B) {
	for _, s := range shapes {
		m, n, k := s[0], s[1], s[2]
		flops := 2 * float64(m) * float64(n) * float64(k)
		x, y, z := make([]float32, m*k), make([]float32, k*n), make([]float32, m*n)
		for i := range x {
			x[i] = 1 / float32(1+i)
		}
		for i := range y {
			y[i] = 1 / float32(1+i)
		}
		name := fmt.Sprintf("%dx%dx%d", m, n, k)
		for _, isa := range Supported() {
			off := make([]int, k)
			for i := range off {
				off[i] = i * n
			}
			for _, direct := range []bool{false, true} {
				g, err := NewGemm(isa, m, n, k, Hints{Workers: 1, Direct: direct})
				if err != nil {
					b.Fatal(err)
				}
				call := &Call{A: Aligned(g.PackedA()), B: rowsOf(isa, y, off, n), C: z, LDC: n}
				g.PackA(call.A, x, k, 1)
				ws := Aligned(g.Workspace())
				kind := "/packed"
				if direct {
					kind = "/direct"
				}
				b.Run(name+"/"+isa.String()+kind, func(b *testing.B) {
					fastest(b, flops, func() {
						for i := range g.Tasks() {
							g.Run(i, ws, call)
						}
					})
				})
			}
		}
		b.Run(name+"/gonum", func(b *testing.B) {
			ma := blas32.General{Rows: m, Cols: k, Stride: k, Data: x}
			mb := blas32.General{Rows: k, Cols: n, Stride: n, Data: y}
			mc := blas32.General{Rows: m, Cols: n, Stride: n, Data: z}
			fastest(b, flops, func() { blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, ma, mb, 0, mc) })
		})
	}
}

// Products of both processors, through the pool.
func BenchmarkMultiply(b *testing.B) {
	workers := runtime.GOMAXPROCS(0)
	p := NewPool(workers)
	defer p.Close()
	for _, s := range shapes {
		m, n, k := s[0], s[1], s[2]
		g, err := NewGemm(Best(), m, n, k, Hints{Workers: workers})
		if err != nil {
			b.Fatal(err)
		}
		off := make([]int, k)
		for i := range off {
			off[i] = i * n
		}
		call := &Call{A: Aligned(g.PackedA()), B: rowsOf(Best(), make([]float32, k*n), off, n), C: make([]float32, m*n), LDC: n}
		ws := Aligned(workers * g.Workspace())
		b.Run(fmt.Sprintf("%dx%dx%d/%s", m, n, k, Best()), func(b *testing.B) {
			fastest(b, 2*float64(m)*float64(n)*float64(k), func() { g.Multiply(p, ws, call) })
		})
	}
}

// nothing is a task that does nothing: what a Run of the pool takes by itself.
type nothing struct{}

func (nothing) Do(int, int) {}

func BenchmarkPool(b *testing.B) {
	p := NewPool(runtime.GOMAXPROCS(0))
	defer p.Close()
	fastest(b, 0, func() { p.Run(8, nothing{}) })
}

// A depthwise 3×3 convolution of 144 planes of 56×56, and one pass over its results.
func BenchmarkShifted(b *testing.B) {
	const planes, size, ld = 144, 56, 58
	src, dst := Aligned(planes*ld*ld), Aligned(planes*size*size)
	s := Shifted{Wei: make([]float32, 9), Rows: size, Cols: size, LDSrc: ld, LDDst: size}
	for i := range 9 {
		s.Off = append(s.Off, i/3*ld+i%3)
	}
	for _, isa := range Supported() {
		b.Run(isa.String(), func(b *testing.B) {
			fastest(b, 2*9*planes*size*size, func() {
				for c := range planes {
					s.Sum(isa, dst[c*size*size:], src[c*ld*ld:])
				}
			})
		})
	}
}

// Reading and writing of a transposition, in GB/s.
func BenchmarkTranspose(b *testing.B) {
	const rows, cols = 256, 3136
	src, dst := Aligned(rows*cols), Aligned(rows*cols)
	for _, isa := range Supported() {
		b.Run(isa.String(), func(b *testing.B) {
			b.SetBytes(2 * 4 * rows * cols)
			for b.Loop() {
				Transpose(isa, dst, rows, src, cols, rows, cols)
			}
		})
	}
}

// The weights of a depthwise 3×3 convolution of 144 planes of 56×56.
func BenchmarkDots(b *testing.B) {
	const planes, size, ld = 144, 56, 58
	src, diff, wei := Aligned(planes*ld*ld), Aligned(planes*size*size), Aligned(9*planes)
	d := Dots{M: 1, Rows: size, Cols: size, LDA: size, LDB: ld, LDC: 9}
	for i := range 9 {
		d.Off = append(d.Off, i/3*ld+i%3)
	}
	for _, isa := range Supported() {
		b.Run(isa.String(), func(b *testing.B) {
			fastest(b, 2*9*planes*size*size, func() {
				for c := range planes {
					d.Add(isa, wei[9*c:], diff[c*size*size:], src[c*ld*ld:])
				}
			})
		})
	}
}
