package gpu

import "math"

// The self-test of kernels that store halves: which of the device's own conversions between halves and floats are exact.
// The others are done by integer operations.

// What NativeHalf consists of.
const (
	nativeLoads int32 = 1 << iota
	nativeStores
)

// halfInfinity is the first half past the finite ones, in the order of their bits.
const halfInfinity = 0x7c00

// halfValue is the value of a half by its definition.
func halfValue(h uint16) float64 {
	exponent, digits := int(h>>10&31), float64(h&1023)
	v := math.Ldexp(digits, -24)
	switch {
	case exponent == 31 && digits != 0:
		return math.NaN()
	case exponent == 31:
		v = math.Inf(1)
	case exponent > 0:
		v = math.Ldexp(1024+digits, exponent-25)
	}
	return math.Copysign(v, 1-2*float64(h>>15))
}

// halves finds whether kernels may have halves in memory, and who converts them.
func (t *tester) halves() error {
	if !t.dev.limits.Storage16 {
		t.report("half storage", true, "the device has none: tensors of f16 are converted in passes of their own")
		return nil
	}
	loads, err := t.conversions(nativeLoads, t.loadsHalves)
	if err != nil {
		return err
	}
	stores, err := t.conversions(nativeStores, t.storesHalves)
	if err != nil {
		return err
	}
	native := []string{"neither loads nor stores", "loads", "stores", "loads and stores"}
	if t.proof.Halves = loads >= 0 && stores >= 0; !t.proof.Halves {
		t.report("half storage", false, "halves in memory come out wrong: tensors of f16 are converted in passes of their own")
		return nil
	}
	t.proof.NativeHalf = loads | stores
	t.report("half storage", true, "the device's own conversions are exact in %s", native[t.proof.NativeHalf])
	return nil
}

// conversions tries the device's own way, then the one by integer operations. It returns the first that is right as a part
// of NativeHalf, or −1.
func (t *tester) conversions(native int32, right func() (bool, error)) (int32, error) {
	defer func() { t.dev.proof.NativeHalf = 0 }()
	for _, way := range []int32{native, 0} {
		t.dev.proof.NativeHalf = way
		if ok, err := right(); ok || err != nil {
			return way, err
		}
	}
	return -1, nil
}

// loadsHalves says whether each half comes out as its value, one by one and in vectors.
func (t *tester) loadsHalves() (bool, error) {
	const n = 1 << 16
	in := make([]uint32, n/2)
	for i := range in {
		in[i] = uint32(2*i) | uint32(2*i+1)<<16
	}
	for vector := range int32(2) {
		out, _, err := t.dispatchTuned("half_load.half", []int32{64, 1, 1, vector}, n, n, [][]uint32{in}, n)
		if err != nil {
			return false, err
		}
		for h, bits := range out {
			got, want := math.Float32frombits(bits), float32(halfValue(uint16(h)))
			if bits != math.Float32bits(want) && (got == got || want == want) {
				return false, nil
			}
		}
	}
	return true, nil
}

// storesHalves says whether floats are rounded to the nearest half: each half's value, the middle between it and the next,
// which goes to the even one, and what is beside the middle.
func (t *tester) storesHalves() (bool, error) {
	var in []uint32
	var want []uint16
	add := func(v float64, h int) {
		bits := math.Float32bits(float32(v))
		sign := uint32(len(in)&1) << 31
		in, want = append(in, bits|sign), append(want, uint16(h)|uint16(sign>>16))
	}
	for h := range halfInfinity {
		v, next := halfValue(uint16(h)), halfValue(uint16(h+1))
		if h+1 == halfInfinity {
			next = 1 << 16
		}
		middle := float32(v+next) / 2
		add(v, h)
		add(float64(math.Nextafter32(middle, 0)), h)
		add(float64(middle), h+h&1)
		add(float64(math.Nextafter32(middle, math.MaxFloat32)), h+1)
	}
	for _, v := range []float64{1 << 16, math.MaxFloat32, math.Inf(1)} {
		add(v, halfInfinity)
	}
	add(0x1p-126, 0)
	add(math.NaN(), halfInfinity+1)
	out, _, err := t.dispatchTuned("half_store.half", []int32{64, 1, 1}, len(in), (len(in)+1)/2, [][]uint32{in}, uint32(len(in)))
	if err != nil {
		return false, err
	}
	for i, w := range want {
		got := uint16(out[i/2] >> (16 * (i & 1)))
		nan := w&(1<<15-1) > halfInfinity && got&(1<<15-1) > halfInfinity
		if got != w && !nan {
			return false, nil
		}
	}
	return true, nil
}
