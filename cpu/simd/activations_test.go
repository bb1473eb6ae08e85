package simd

import (
	"math"
	"testing"
)

// TestActivations compares the functions with float64's, on floats of all magnitudes, by the errors of
// shaders/src/common.inc.
func TestActivations(t *testing.T) {
	const unit = 1.0 / (1 << 24)
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	gate := func(x, s float64) float64 {
		if s == 0 {
			return 0
		}
		return x * s
	}
	for _, f := range []struct {
		name  string
		f     Activation
		truth func(x float64) float64
		// how far off y it may be
		bound func(x, y float64) float64
	}{
		{"sigmoid", Sigmoid, sigmoid, func(_, y float64) float64 { return 2.5*2*unit*y + 1.18e-38 }},
		{"tanh", Tanh, math.Tanh, func(_, y float64) float64 { return 1.5*2*unit*math.Abs(y) + 1e-45 }},
		{"silu", SiLU, func(x float64) float64 { return gate(x, sigmoid(x)) },
			func(x, y float64) float64 { return 4*2*unit*math.Abs(y) + 1.18e-38*(1+math.Abs(x)) }},
		{"gelu", GELU, func(x float64) float64 { return gate(x, math.Erfc(-x/math.Sqrt2)/2) },
			func(x, _ float64) float64 { return 2*unit*math.Abs(x) + 1e-45 }},
		{"geluTanh", GELUTanh, func(x float64) float64 {
			return gate(x, sigmoid(2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		}, func(x, _ float64) float64 { return 3*unit*math.Abs(x) + 1.18e-38*(1+math.Abs(x)) }},
		{"hardSwish", HardSwish, func(x float64) float64 {
			switch {
			case x <= -3:
				return 0
			case x < 3:
				return x * (x + 3) / 6
			}
			return x
		}, func(_, y float64) float64 { return 3*1.0001*unit*math.Abs(y) + 3e-45 }},
	} {
		for _, isa := range Supported() {
			if isa == Portable {
				if (Block{}).Activate(isa, f.f) {
					t.Errorf("%s: there are portable kernels now: test them", f.name)
				}
				continue
			}
			worst := 0.0
			const cols = 997 // with a rest that is masked
			step := uint32(9973)
			if testing.Short() {
				step *= 16
			}
			x, y := make([]float32, cols+1), make([]float32, cols+1)
			for bits, more := uint32(0), true; more; {
				for i := range cols {
					x[i] = math.Float32frombits(bits)
					if bits += step; bits < step { // all were had
						more = false
					}
				}
				copy(y, x)
				y[cols] = 77
				if !(Block{C: y, LD: cols, Rows: 1, Cols: cols}).Activate(isa, f.f) {
					t.Fatalf("%s: %s has no kernel", f.name, isa)
				}
				if y[cols] != 77 {
					t.Fatalf("%s on %s writes beyond its rows", f.name, isa)
				}
				for i, got := range y[:cols] {
					v := float64(x[i])
					want := f.truth(v)
					d := math.Abs(float64(got) - want)
					switch {
					case want != want && got != got || float32(want) == got:
					case math.IsInf(v, 0) || v != v || !(d <= f.bound(v, want)):
						t.Fatalf("%s(%v) on %s is %v, not %v", f.name, v, isa, got, want)
					default:
						worst = max(worst, d/f.bound(v, want))
					}
				}
			}
			t.Logf("%s on %s: %.0f %% of the bound", f.name, isa, 100*worst)
		}
	}
}
