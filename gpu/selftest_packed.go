package gpu

import (
	"fmt"
	"math"
)

// The self-test of f16 arithmetic: multiply-adds round to nearest, once or twice, keep denormals, and overflow to infinity.

// checkedHalves are numbers whose products and sums round, tie, cancel, overflow and are denormal.
var checkedHalves = []uint16{
	0x0000, 0x0001, 0x0003, 0x0200, 0x03ff, 0x0400, 0x0401, 0x07ff, 0x1001, 0x1400, 0x2e66, 0x3555, 0x3800, 0x3bff, 0x3c00,
	0x3c01, 0x3c03, 0x3fff, 0x4200, 0x5bff, 0x6400, 0x67ff, 0x6801, 0x77ff, 0x7800, 0x7bff, 0x8001, 0x8400, 0xb555, 0xbc00, 0xbc01, 0xfbff,
}

// toHalf is v rounded to f16, to nearest, ties to even.
func toHalf(v float64) float64 {
	_, e := math.Frexp(v)
	grain := math.Ldexp(1, max(e, -13)-11)
	if r := math.RoundToEven(v/grain) * grain; math.Abs(r) < 1<<16 {
		return r
	}
	return math.Copysign(math.Inf(1), v)
}

// packedArithmetic finds whether kernels may compute with halves.
func (t *tester) packedArithmetic() error {
	if !t.dev.limits.HalfArithmetic || !t.proof.Halves {
		t.report("f16 arithmetic", true, "the device has none: tensors of f16 are computed with in f32")
		return nil
	}
	wrong, err := t.halfFMAs("hvec_check.packed", t.proof.NativeHalf)
	if err != nil {
		return err
	}
	if t.proof.HalfArithmetic = wrong == ""; !t.proof.HalfArithmetic {
		t.report("f16 arithmetic", false, "%s: it is not used", wrong)
		return nil
	}
	if t.dev.class() == gpuClass {
		if t.proof.PackedGain, err = t.packedGain(); err != nil {
			return err
		}
	}
	n := len(checkedHalves)
	detail := fmt.Sprintf("%d multiply-adds round to nearest and keep denormals", n*n*n)
	if t.proof.PackedGain > 0 {
		detail += fmt.Sprintf("; %.2g times as fast as f32", t.proof.PackedGain)
	}
	t.report("f16 arithmetic", true, "%s", detail)
	return nil
}

// halfFMAs runs a kernel on all triples of checkedHalves and says what is wrong.
func (t *tester) halfFMAs(kernel string, native int32) (wrong string, err error) {
	defer func() { t.dev.proof.NativeHalf = 0 }()
	t.dev.proof.NativeHalf = native
	var halves []uint16
	for _, a := range checkedHalves {
		for _, b := range checkedHalves {
			for _, c := range checkedHalves {
				halves = append(halves, a, b, c)
			}
		}
	}
	in := make([]uint32, len(halves)/2)
	for i, h := range halves {
		in[i/2] |= uint32(h) << (16 * (i & 1))
	}
	n := len(halves) / 3
	out, _, err := t.dispatchTuned(kernel, []int32{64, 1, 1, 4}, n/4, n, [][]uint32{in}, uint32(n))
	if err != nil {
		return "", err
	}
	for i, bits := range out {
		a, b, c := halfValue(halves[3*i]), halfValue(halves[3*i+1]), halfValue(halves[3*i+2])
		got := float64(math.Float32frombits(bits))
		fused, twice, apart := toHalf(a*b+c), toHalf(float64(float32(a*b+c))), toHalf(toHalf(a*b)+c)
		if got != fused && got != twice && got != apart && (got == got || apart == apart) {
			return fmt.Sprintf("%v · %v + %v is %v, not %v", a, b, c, got, fused), nil
		}
	}
	return "", nil
}

// packedGain measures how many times as fast as f32 arithmetic that of f16 is.
func (t *tester) packedGain() (float64, error) {
	defer func() { t.dev.proof = proof{} }()
	t.dev.proof = t.proof
	m := &peakMeter{dev: t.dev, stream: t.stream}
	const chains = 8
	plain, err := m.chains(t.ctx, "peak_fma", chains)
	if err != nil || plain == 0 {
		return 0, err
	}
	packed, err := m.chains(t.ctx, "peak_fma.packed", chains)
	return packed / plain, err
}
