package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// naive is result (y, x) of a plane by the definition.
func naive(w *Windows, kind WindowKind, c *Slide, y, x int) float32 {
	sum, most, any := 0.0, float32(math.Inf(-1)), false
	for i := range w.K {
		for j := range w.K {
			r, s := y*w.Stride-w.Top+i, x*w.Stride-w.Left+j
			if r < 0 || r >= w.InH || s < 0 || s >= w.InW {
				continue
			}
			v := c.Src[r*w.InW+s]
			if !any || v > most || v != v {
				most, any = v, true
			}
			if kind == Weighted {
				v *= c.Wei[i*w.K+j]
			}
			sum += float64(v)
		}
	}
	switch kind {
	case Greatest:
		return most
	case Averaged:
		return float32(sum) / c.Div[y*w.OutW+x]
	}
	v := float32(sum)
	if c.Add {
		v += 77
	}
	if c.Biased || c.Clip {
		v += c.Bias
	}
	if c.Clip {
		v = limit(v, c.Lo, c.Hi)
	}
	return v
}

func TestSliders(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	small := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.IntN(7) - 3)
		}
		return v
	}
	for _, isa := range Supported() {
		ran, follow := map[string]bool{}, map[string]bool{}
		for range 4000 {
			w := Windows{K: []int{2, 3, 5, 7}[r.IntN(4)], Stride: 1 + r.IntN(2), InH: 1 + r.IntN(20), InW: 1 + r.IntN(90)}
			switch r.IntN(8) {
			case 0, 1:
				w.InW = 128 // rows of whole cache lines
			case 2:
				w.InW = 300 + r.IntN(300) // several strips
			}
			w.Top, w.Left = r.IntN(w.K)-r.IntN(2), r.IntN(w.K)-r.IntN(2)
			w.OutH = max(1, (w.InH+w.Top+r.IntN(w.K)-w.K)/w.Stride+1)
			w.OutW = max(1, (w.InW+w.Left+r.IntN(w.K)-w.K)/w.Stride+1)
			kind := WindowKind(r.IntN(4))
			s := NewSlider(isa, kind, w)
			if s == nil {
				continue
			}
			shape := fmt.Sprint(kind, w.K, w.Stride)
			ran[shape] = true
			for _, c := range s.columns {
				follow[shape] = follow[shape] || c.more > 0
			}
			c := &Slide{Src: small(w.InH * w.InW), Wei: small(w.K * w.K), Div: small(w.OutH * w.OutW), Bias: 1, Lo: -4, Hi: float32(5 + 77*r.IntN(2)),
				Biased: r.IntN(2) == 0, Clip: r.IntN(3) == 0, Add: r.IntN(3) == 0,
				Ahead: r.IntN(2), Past: r.IntN(2) == 0}
			for i := range c.Div {
				c.Div[i] += 4
			}
			if kind == Greatest && r.IntN(2) == 0 {
				for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1)} {
					c.Src[r.IntN(len(c.Src))] = float32(v)
				}
			}
			y0 := r.IntN(w.OutH)
			y1 := y0 + 1 + r.IntN(w.OutH-y0)
			const guard = 40
			whole := make([]float32, w.OutH*w.OutW+guard)
			fillWith(whole, 77)
			c.Dst = whole
			if kind == Gradient {
				checkGradient(t, isa, s, c, small(w.OutH*w.OutW), y0, y1)
				continue
			}
			s.Rows(c, y0, y1)
			for i, got := range whole {
				y, x := i/w.OutW, i%w.OutW
				want := float32(77)
				if y >= y0 && y < y1 {
					want = naive(&w, kind, c, y, x)
				}
				if math.Float32bits(got) != math.Float32bits(want) && !(got != got && want != want) {
					t.Fatalf("%s %d %+v rows %d to %d: (%d, %d) is %v, not %v", isa, kind, w, y0, y1, y, x, got, want)
				}
			}
		}
		if want := len(kernelsOf(isa).slides); len(ran) != want {
			t.Errorf("%s: %d of %d kinds of windows ran", isa, len(ran), want)
		}
		for _, k := range kernelsOf(isa).slides {
			if shape := fmt.Sprint(k.kind, k.k, k.stride); (k.all != nil) != follow[shape] {
				t.Errorf("%s %s: strips after strips: %v, a kernel for them: %v", isa, shape, follow[shape], k.all != nil)
			}
		}
	}
}

// checkGradient compares what rows y0 to y1−1 of diff add to weights with the definition.
func checkGradient(t *testing.T, isa ISA, s *Slider, c *Slide, diff []float32, y0, y1 int) {
	w := &s.Windows
	want := make([]float32, len(c.Wei))
	for i := range want {
		want[i] = c.Wei[i]
		for y := y0; y < y1; y++ {
			for x := range w.OutW {
				r, s := y*w.Stride-w.Top+i/w.K, x*w.Stride-w.Left+i%w.K
				if r >= 0 && r < w.InH && s >= 0 && s < w.InW {
					want[i] += diff[y*w.OutW+x] * c.Src[r*w.InW+s]
				}
			}
		}
	}
	c.Dst = diff
	s.Rows(c, y0, y1)
	for i, got := range c.Wei {
		if got != want[i] {
			t.Fatalf("%s %+v rows %d to %d: weight %d is %v, not %v", isa, *w, y0, y1, i, got, want[i])
		}
	}
}

func fillWith(v []float32, x float32) {
	for i := range v {
		v[i] = x
	}
}

// Four is the sum of what Rows makes of each channel of the source.
func TestFour(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	small := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.IntN(7) - 3)
		}
		return v
	}
	for _, isa := range Supported() {
		ran := 0
		for range 1000 {
			w := Windows{K: 3, Stride: 1, Top: r.IntN(4) - 1, Left: r.IntN(4) - 1, InH: 1 + r.IntN(12), InW: 1 + r.IntN(90)}
			w.OutH, w.OutW = max(1, w.InH+w.Top+r.IntN(3)-2), max(1, w.InW+w.Left+r.IntN(3)-2)
			s := NewSlider(isa, Weighted, w)
			if s == nil || !s.Fours() {
				continue
			}
			ran++
			in, out, from := w.InH*w.InW, w.OutH*w.OutW, 1+r.IntN(5)
			c := &Slide{Src: small(from * in), Wei: small(from * 9 * 4), Biased: r.IntN(2) == 0, Clip: r.IntN(3) == 0, Lo: -20, Hi: 20, Ahead: r.IntN(2)}
			biases := [4]float32{1, -2, 3, -4}
			y0 := r.IntN(w.OutH)
			y1 := y0 + 1 + r.IntN(w.OutH-y0)
			const guard = 40
			c.Dst = make([]float32, 4*out+guard)
			fillWith(c.Dst, 77)
			s.Four(c, biases, y0, y1)
			for i, got := range c.Dst {
				o, y, x := i/out, i%out/w.OutW, i%w.OutW
				want := float32(77)
				if o < 4 && y >= y0 && y < y1 {
					want = 0
					for k := range from {
						one := &Slide{Src: c.Src[k*in:][:in], Wei: make([]float32, 9)}
						for tap := range one.Wei {
							one.Wei[tap] = c.Wei[(k*9+tap)*4+o]
						}
						want += naive(&w, Weighted, one, y, x)
					}
					if c.Biased || c.Clip {
						want += biases[o]
					}
					if c.Clip {
						want = limit(want, c.Lo, c.Hi)
					}
				}
				if got != want {
					t.Fatalf("%s %+v rows %d to %d, %d channels: (%d, %d, %d) is %v, not %v", isa, w, y0, y1, from, o, y, x, got, want)
				}
			}
		}
		if fast := kernelsOf(isa).slides != nil; fast != (ran > 0) {
			t.Errorf("%s: %d ran", isa, ran)
		}
	}
}

func TestMeans(t *testing.T) {
	for _, isa := range Supported() {
		for n := 1; n < 200; n += 1 + n/20 {
			src, dst := make([]float32, 5*n), []float32{9, 9, 9, 9, 9, 9}
			for i := range src {
				src[i] = float32(i % 11)
			}
			NewMeans(isa, n).Rows(dst[:5], src, 4)
			for i, got := range dst {
				want := float32(9)
				if i < 5 {
					want = Sum(src[i*n:][:n]) / 4
				}
				if got != want {
					t.Errorf("%s: mean %d of %d elements is %v, not %v", isa, i, n, got, want)
				}
			}
		}
	}
}
