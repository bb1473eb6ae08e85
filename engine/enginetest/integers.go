package enginetest

import (
	"errors"
	"testing"

	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// integerExtremes: sums of the largest products that types and zero points allow, beyond what floats hold exactly and,
// where there are many, beyond 32 bits. Zero points that no value has are refused.
func (s *suite) integerExtremes(t *testing.T) {
	d, o := s.device(t), oracle(t)
	for _, c := range []struct {
		text               string
		src, zs, wei, zw   float32
		bias               int32
		difference, weight int32 // from the zero points
	}{
		{"conv:u8-s8-s32:bias:mb1ic600ih5oc20oh5kh1", 255, 0, -128, 127, 1<<31 - 1, 255, -255},
		{"conv:u8-u8-s32:mb1ic90ih9oc16oh9kh3ph1", 0, 255, 255, 0, 0, -255, 255},
		{"conv:s8-s8-s32:g2mb2ic58ih6oc34oh4kh3", -128, 127, 127, -128, 0, -255, 255},
		{"conv:s8-u8-s32:bias:mb1ic3710ih3oc17oh1kh3", 127, -128, 255, 0, -5, 255, 255},
		{"conv:u8-s8-s32:bias:g5mb1ic5ih9oc10oh9kh7ph3", 255, 0, -128, 127, -1 << 31, 255, -255},
		{"conv:u8-u8-s32:g3mb1ic3ih20oc3oh4kh17", 255, 0, 255, 0, 0, 255, 255}, // odd, above 2^24
		{"conv:s8-s8-s32:bias:mb2ic33ih9oc17oh9kh3ph1", -128, 127, -128, 0, 1, -255, -128},
	} {
		p := problemtest.Parse(t, c.text)
		one, err := verify.NewCase(t.Context(), o, p, verify.Int, verify.DefaultBudget)
		if err != nil {
			t.Fatal(err)
		}
		fill := func(r problem.Role, v float32) {
			values := make([]float32, problem.Elems(p.Shape(r)))
			for i := range values {
				values[i] = v
			}
			if err := one.In[r].Narrow(values); err != nil {
				t.Fatal(err)
			}
		}
		fill(problem.Src, c.src)
		fill(problem.Wei, c.wei)
		quant := one.In[problem.Quant].Float32s()
		for i := range p.OC {
			quant[i], quant[p.OC+i] = c.zs, c.zw
			if p.Bias {
				one.In[problem.Bia].Int32s()[i] = c.bias
			}
		}
		for _, alg := range d.Algorithms(p) {
			got := onDevice(t, d, one, alg)[problem.Dst].Int32s()
			for i, v := range got {
				terms := int32(p.IC / p.Groups)
				for a, x := range [2]int{i / p.Axes[2].Out % p.Axes[1].Out, i % p.Axes[2].Out} {
					terms *= taps(p.Axes[1+a], x)
				}
				if want := terms*c.difference*c.weight + c.bias; v != want {
					t.Errorf("%s by %s: element %d is %d, not %d", c.text, alg, i, v, want)
					break
				}
			}
		}
		quant[1]++
		if _, err := d.Compute(t.Context(), p, one.In); !errors.Is(err, problem.ErrInvalid) {
			t.Errorf("%s with two zero points of the source: %v", c.text, err)
		}
	}
}

// taps is how many taps of a window lie in the source.
func taps(a problem.Axis, window int) (n int32) {
	for k := range a.Kernel {
		if x := window*a.Stride - a.PadL + k*a.Dilation; x >= 0 && x < a.In {
			n++
		}
	}
	return n
}
