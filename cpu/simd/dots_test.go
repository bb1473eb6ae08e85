package simd

import (
	"math/rand/v2"
	"testing"
)

func TestDots(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	small := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.IntN(7) - 3)
		}
		return v
	}
	for _, isa := range Supported() {
		for range 1500 {
			d := Dots{M: 1 + r.IntN(9), Rows: 1 + r.IntN(5), Cols: 1 + r.IntN(80)}
			d.LDA, d.LDB = d.Cols+r.IntN(9), d.Cols+r.IntN(99)
			d.Plane = d.Rows*d.LDA + r.IntN(9)
			d.Off = make([]int, 1+r.IntN(30))
			for p := range d.Off {
				d.Off[p] = r.IntN(200)
			}
			d.LDC = len(d.Off) + r.IntN(3)
			// Nothing may be read behind the last element.
			a := small((d.M-1)*d.Plane + (d.Rows-1)*d.LDA + d.Cols)
			b := small(reach(d.Off, (d.Rows-1)*d.LDB+d.Cols))
			c := make([]float32, d.M*d.LDC)
			fillWith(c, 7)
			d.Add(isa, c, a, b)
			for i, got := range c {
				m, p := i/d.LDC, i%d.LDC
				want := float32(7)
				for r := 0; r < d.Rows && p < len(d.Off); r++ {
					for x := range d.Cols {
						want += a[m*d.Plane+r*d.LDA+x] * b[d.Off[p]+r*d.LDB+x]
					}
				}
				if got != want {
					t.Fatalf("%s %+v: (%d, %d) is %v, not %v", isa, d, m, p, got, want)
				}
			}
		}
	}
}

// Nothing is read beyond the data, and what isn't there is a panic.
func TestDotsOutside(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("rows that are not there were read")
		}
	}()
	d := Dots{M: 1, Rows: 2, Cols: 8, LDA: 8, LDB: 8, Plane: 16, LDC: 1, Off: []int{1}}
	d.Add(Best(), make([]float32, 1), make([]float32, 16), make([]float32, 16))
}
