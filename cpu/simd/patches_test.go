package simd

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
)

// layer is a square convolution with as much padding as keeps the size, for stride 1 or 2.
type layer struct{ ic, size, oc, kernel, stride, dilation int }

func (l layer) String() string {
	return fmt.Sprintf("ic%dih%doc%dkh%dsh%ddh%d", l.ic, l.size, l.oc, l.kernel, l.stride, l.dilation-1)
}

func (l layer) pad() int { return l.dilation * (l.kernel - 1) / 2 }
func (l layer) out() int { return (l.size+2*l.pad()-l.dilation*(l.kernel-1)-1)/l.stride + 1 }

// half is the row length of the parted rows.
func (l layer) half() int { return (l.size + 2*l.pad() + 1) / 2 }

// patches returns the matrix that the layer implies, and what writes its source: padded, and parted for stride 2.
func (l layer) patches(isa ISA) (*Patches, func(src []float32)) {
	padded, out := l.size+2*l.pad(), l.out()
	var off, lines []int
	pitch, plane := padded, padded*padded
	if l.stride == 2 {
		// Row by row the even elements, then the odd ones.
		pitch = 2 * l.half()
		plane = pitch * padded
	}
	for c := range l.ic {
		for i := range l.kernel * l.kernel {
			y, x := i/l.kernel*l.dilation, i%l.kernel*l.dilation
			if l.stride == 2 {
				x = x%2*l.half() + x/2
			}
			off = append(off, c*plane+y*pitch+x)
		}
	}
	for y := range out {
		lines = append(lines, y*l.stride*pitch)
	}
	data := Aligned(l.ic * plane)
	s := NewPatches(isa, off, lines, out).On(data)
	row := make([]float32, 2*l.half())
	return &s, func(src []float32) {
		for c := range l.ic {
			for y := range l.size {
				from := src[(c*l.size+y)*l.size:][:l.size]
				to := data[c*plane+(y+l.pad())*pitch:][:pitch]
				if l.stride == 1 {
					copy(to[l.pad():], from)
					continue
				}
				copy(row[l.pad():], from)
				Split(isa, to, to[l.half():], pitch, row, 0, 1, l.half())
			}
		}
	}
}

func TestPatches(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	value := func() float32 { return float32(r.IntN(17) - 8) }
	for _, isa := range Supported() {
		for _, l := range []layer{
			{3, 9, 5, 3, 1, 1}, {2, 14, 17, 3, 2, 1}, {5, 7, 40, 3, 1, 1}, {3, 23, 8, 7, 2, 1}, {4, 15, 6, 3, 1, 2},
			{6, 11, 33, 1, 1, 1}, {3, 12, 4, 1, 2, 1}, {1, 60, 2, 5, 1, 1},
		} {
			s, write := l.patches(isa)
			src, wei := fill(r, l.ic*l.size*l.size, value), fill(r, l.oc*len(s.off), value)
			write(src)
			out := l.out()
			g, err := NewGemm(isa, l.oc, out*out, len(s.off), Hints{Workers: 2, Line: out})
			if err != nil {
				t.Fatal(err)
			}
			call := &Call{A: make([]float32, g.PackedA()), B: s, C: make([]float32, l.oc*out*out), LDC: out * out}
			g.PackA(call.A, wei, len(s.off), 1)
			ws := make([]float32, g.Workspace())
			for i := range g.Tasks() {
				g.Run(i, ws, call)
			}
			for i, v := range call.C {
				o, y, x := i/(out*out), i/out%out, i%out
				want := float32(0)
				for j, w := range wei[o*len(s.off):][:len(s.off)] {
					c, tap := j/(l.kernel*l.kernel), j%(l.kernel*l.kernel)
					sy := y*l.stride - l.pad() + tap/l.kernel*l.dilation
					sx := x*l.stride - l.pad() + tap%l.kernel*l.dilation
					if sy >= 0 && sy < l.size && sx >= 0 && sx < l.size {
						want += w * src[(c*l.size+sy)*l.size+sx]
					}
				}
				if v != want {
					t.Fatalf("%s %s: dst[%d, %d, %d] = %g, want %g", isa, l, o, y, x, v, want)
				}
			}
		}
	}
}

// Whole convolutions: padding the source, packing patches, multiplying, bias and ReLU. On one worker and on all.
func BenchmarkConvolution(b *testing.B) {
	for _, l := range []layer{
		{3, 224, 64, 7, 2, 1}, {64, 56, 64, 3, 1, 1}, {128, 28, 128, 3, 1, 1}, {256, 14, 256, 3, 1, 1}, {512, 7, 512, 3, 1, 1},
		{256, 56, 256, 3, 1, 1}, {256, 56, 64, 1, 1, 1}, {512, 7, 2048, 1, 1, 1}, {512, 28, 512, 3, 1, 2}, {48, 35, 64, 5, 1, 1},
	} {
		for _, workers := range []int{1, runtime.GOMAXPROCS(0)} {
			s, write := l.patches(Best())
			positions := l.out() * l.out()
			g, err := NewGemm(Best(), l.oc, positions, len(s.off), Hints{Workers: workers, Line: l.out()})
			if err != nil {
				b.Fatal(err)
			}
			call := &Call{A: Aligned(g.PackedA()), B: s, C: Aligned(l.oc * positions), LDC: positions,
				Bias: make([]float32, l.oc), Clip: true, Hi: 6}
			ws, src := Aligned(workers*g.Workspace()), Aligned(l.ic*l.size*l.size)
			p := NewPool(workers)
			b.Run(fmt.Sprintf("%s/%s/%d", l, Best(), workers), func(b *testing.B) {
				fastest(b, 2*float64(l.oc*positions)*float64(len(s.off)), func() {
					write(src)
					g.Multiply(p, ws, call)
				})
			})
			p.Close()
		}
	}
}
