package gpu

import (
	"errors"
	"math/rand/v2"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/shaders"
)

// dots finds out whether the device's dot products of bytes come out right.
func (t *tester) dots() error {
	if !t.dev.limits.Dot {
		return nil
	}
	at, got, want, err := t.dotProducts(shaders.Variant("dot_check", shaders.Dot))
	switch {
	case errors.Is(err, driver.ErrDeviceLost) || t.ctx.Err() != nil:
		return err
	case err != nil:
		t.report("dot products", false, "%v: they are not used", err)
	case got != want:
		t.report("dot products", false, "product %d of four bytes is %d, not %d: they are not used", at, int32(got), int32(want))
	default:
		t.proof.Dot = true
		t.report("dot products", true, "%d of four bytes come out right", dotSamples)
	}
	return nil
}

const dotSamples = 4096

// dotProducts runs a build of the kernel dot_check, and returns the first product that is wrong, else equal numbers.
func (t *tester) dotProducts(kernel string) (at int, got, want uint32, err error) {
	r := rand.New(rand.NewPCG(1, 2))
	extremes := []uint32{0x80808080, 0x7f7f7f7f, 0xffffffff, 0x01010101, 0}
	in := make([]uint32, 2*dotSamples)
	for i := range in {
		if in[i] = r.Uint32(); i < 2*len(extremes)*len(extremes) {
			pair := [2]uint32{extremes[i/2%len(extremes)], extremes[i/2/len(extremes)]}
			in[i] = pair[i%2]
		}
	}
	out, _, err := t.dispatch(kernel, 64, dotSamples, dotSamples, [][]uint32{in}, dotSamples)
	if err != nil {
		return 0, 0, 0, err
	}
	for i := range out {
		sum := int32(0)
		for b := 0; b < 32; b += 8 {
			sum += int32(int8(in[2*i]>>b)) * int32(int8(in[2*i+1]>>b))
		}
		if out[i] != uint32(sum) {
			return i, out[i], uint32(sum), nil
		}
	}
	return 0, 0, 0, nil
}
