package filter

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text, name string
		size       int
		sum        float32
	}{
		{"identity", "identity", 1, 1}, {"sharpen", "sharpen", 3, 1}, {"emboss", "emboss", 3, 1},
		{"laplacian", "laplacian", 3, 0}, {"sobel-x", "sobel-x", 3, 0}, {"sobel-y", "sobel-y", 3, 0},
		{"box", "box:3", 3, 1}, {"box:1", "box:1", 1, 1}, {"box:31", "box:31", 31, 1},
		{"gaussian", "gaussian:5", 5, 1}, {"gaussian:1", "gaussian:1", 1, 1}, {"gaussian:7,1.5", "gaussian:7,1.5", 7, 1},
		{"gaussian:31,0.01", "gaussian:31,0.01", 31, 1}, {"gaussian:31,1000", "gaussian:31,1000", 31, 1},
	} {
		f, err := Parse(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if f.Name != c.name || f.Size != c.size || f.Sum() != c.sum || len(f.Taps) != c.size*c.size {
			t.Errorf("%s: %s of size %d, %d taps, sum %g; want %s, %d, %g", c.text, f.Name, f.Size, len(f.Taps), f.Sum(), c.name, c.size, c.sum)
		}
		again, err := Parse(f.Name)
		if err != nil || !slices.Equal(again.Taps, f.Taps) {
			t.Errorf("%s does not parse to itself: %v", f.Name, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"", "blur", "gaussian:", "gaussian:4", "gaussian:0", "gaussian:-3", "gaussian:33", "gaussian:99999999999999999999",
		"gaussian:5,", "gaussian:5,0", "gaussian:5,-1", "gaussian:5,NaN", "gaussian:5,Inf", "gaussian:5,1,2", "box:3,1", "box:x", "sobel-x:3", "Gaussian",
		"a\nb"} {
		_, err := Parse(text)
		if !errors.Is(err, engine.ErrInvalid) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestParseGivesCopies(t *testing.T) {
	a, _ := Parse("sharpen")
	a.Taps[0] = 99
	if b, _ := Parse("sharpen"); b.Taps[0] != 0 {
		t.Error("a change of one filter's taps changes the next filter's")
	}
}

// Rounded taps are multiples of 2^-16, symmetric, and within a unit or so of the true ones; the promise of the
// package comment follows from that.
func TestRoundedTaps(t *testing.T) {
	for size := 1; size <= MaxSize; size += 2 {
		for _, sigma := range []float64{0, 0.01, 0.5, 1, 2.5, 8, 1000} {
			weight := func(i, j int) float64 { return math.Exp(-float64(i*i+j*j) / (2 * sigma * sigma)) }
			if sigma == 0 {
				weight = func(int, int) float64 { return 1 }
			}
			taps := round(size, weight)
			total, units := 0.0, 0
			for c := range taps {
				total += weight(c/size-size/2, c%size-size/2)
			}
			for c, v := range taps {
				y, x := c/size, c%size
				u := float64(v) * one
				if u != math.Trunc(u) || u < 0 {
					t.Fatalf("size %d, sigma %g: tap %g is no multiple of 2^-16", size, sigma, v)
				}
				units += int(u)
				if v != taps[x*size+y] || v != taps[(size-1-y)*size+x] {
					t.Fatalf("size %d, sigma %g: not symmetric at %d, %d", size, sigma, y, x)
				}
				// Only the centre may be off by what was too little for a lot of eight.
				if d := math.Abs(u - one*weight(y-size/2, x-size/2)/total); d > 1 && (c != len(taps)/2 || d > 8) {
					t.Errorf("size %d, sigma %g: tap %d is off by %g units", size, sigma, c, d)
				}
			}
			if units != one {
				t.Errorf("size %d, sigma %g: the taps sum to %d units, not %d", size, sigma, units, one)
			}
		}
	}
}

// The order of summation does not matter, with the worst picture: all white.
func TestAnyOrderIsExact(t *testing.T) {
	for _, name := range []string{"gaussian:31", "box:31", "gaussian:5,0.7", "sharpen", "emboss", "sobel-x"} {
		f, err := Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		var forwards, backwards float32
		var true64 float64
		for i := range f.Taps {
			forwards += 255 * f.Taps[i]
			backwards = float32(math.FMA(253, float64(f.Taps[len(f.Taps)-1-i]), float64(backwards)))
			true64 += 253 * float64(f.Taps[i])
		}
		if forwards != 255*f.Sum() || float64(backwards) != true64 {
			t.Errorf("%s: sums are %g, %g; want %g, %g", name, forwards, backwards, 255*f.Sum(), true64)
		}
	}
}

func TestWeights(t *testing.T) {
	f, _ := Parse("sobel-y")
	w, err := f.Weights(3)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(w.Shape(), []int{3, 1, 3, 3}) || !slices.Equal(w.Float32s()[18:], f.Taps) {
		t.Errorf("shape %v, last channel %v", w.Shape(), w.Float32s()[18:])
	}
	if _, err := f.Weights(0); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("0 channels: %v", err)
	}
}
