package mathtest

import (
	"math"
	"testing"
)

// halfValue is the value of a half precision number by its definition.
func halfValue(h uint32) float64 {
	sign, e, m := 1-2*float64(h>>15), int(h>>10&31), float64(h&1023)
	switch e {
	case 0:
		return sign * math.Ldexp(m, -24)
	case 31:
		if m != 0 {
			return math.NaN()
		}
		return sign * math.Inf(1)
	}
	return sign * math.Ldexp(1024+m, e-25)
}

// halves widens all halves and narrows them again.
func halves(t *testing.T, r *runner) {
	in := make([]uint32, 1<<16)
	for i := range in {
		in[i] = uint32(i)
	}
	wide := r.run(t, call{mode: 12}, in)
	back := r.run(t, call{mode: 13}, wide)
	for h, u := range wide {
		want := halfValue(uint32(h))
		if math.IsNaN(want) {
			if got := math.Float32frombits(u); got == got {
				t.Errorf("half %#04x is %g, not NaN", h, got)
			}
			if back[h]&0x7fff <= 0x7c00 {
				t.Errorf("half %#04x comes back as %#x, which is not NaN", h, back[h])
			}
			continue
		}
		if u != math.Float32bits(float32(want)) || back[h] != uint32(h) {
			t.Errorf("half %#04x is %#x and comes back as %#x, not %g", h, u, back[h], want)
		}
	}
}

// toHalves narrows samples, and the floats around all halves and around all ties between them.
func toHalves(t *testing.T, r *runner) {
	check := func(in []uint32) {
		for i, got := range r.run(t, call{mode: 13}, in) {
			if want := toHalf(math.Float32frombits(in[i])); got != want && (got&0x7fff <= 0x7c00 || want&0x7fff <= 0x7c00) {
				t.Errorf("float %#x becomes half %#x, not %#x", in[i], got, want)
			}
		}
	}
	samples(false, check)
	for sign := range uint32(2) {
		var in []uint32
		for h := range uint32(0x7c00) {
			low, high := halfValue(h), halfValue(h+1)
			if h == 0x7bff {
				high = 0x1p16 // where the half after the last would be
			}
			for _, v := range []float64{low, (low + high) / 2} {
				u := math.Float32bits(float32(v))
				for _, near := range []uint32{u - 1, u, u + 1} {
					in = append(in, near^sign<<31)
				}
			}
		}
		check(in)
	}
}

// toHalf finds the nearest half by search, on a tie the even one.
func toHalf(x float32) uint32 {
	sign := math.Float32bits(x) >> 31 << 15
	a := math.Abs(float64(x))
	switch {
	case math.IsNaN(a):
		return 0x7e00
	case a >= 65520: // nearer to 2^16, or a tie with 2^16 even
		return sign | 0x7c00
	}
	low, high := uint32(0), uint32(0x7bff)
	for low < high {
		if mid := (low + high + 1) / 2; halfValue(mid) <= a {
			low = mid
		} else {
			high = mid - 1
		}
	}
	if low == 0x7bff {
		return sign | low
	}
	below, above := a-halfValue(low), halfValue(low+1)-a
	if above < below || above == below && low&1 == 1 {
		low++
	}
	return sign | low
}
