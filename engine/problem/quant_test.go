package problem

import (
	"errors"
	"math"
	"testing"
)

func TestCheckQuant(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	good := []float32{255, 255, -128, 127, 0.25, -1e30, 3, 255}
	for _, c := range []struct {
		text  string
		at    int
		value float32
		good  bool
	}{
		{"conv:u8-s8-u8:mb1ic1ih1oc2oh1kh1", 1, 255, true},
		{"conv:u8-s8-u8:mb1ic1ih1oc2oh1kh1", 1, 254, false},
		{"conv:u8-s8-u8:mb1ic1ih1oc2oh1kh1", 0, 256, false},
		{"conv:u8-s8-u8:mb1ic1ih1oc2oh1kh1", 2, -129, false},
		{"conv:u8-s8-u8:mb1ic1ih1oc2oh1kh1", 2, 0.5, false},
		{"conv:u8-s8-u8:mb1ic1ih1oc2oh1kh1", 3, nan, false},
		{"conv:u8-s8-u8:mb1ic1ih1oc2oh1kh1", 4, nan, false},
		{"conv:u8-s8-u8:mb1ic1ih1oc2oh1kh1", 5, inf, false},
		{"conv:u8-s8-u8:mb1ic1ih1oc2oh1kh1", 7, -1, false},
		{"conv:u8-s8-s32:mb1ic1ih1oc2oh1kh1", 7, -1, true}, // nobody reads it
	} {
		p, err := Parse(c.text)
		if err != nil {
			t.Fatal(err)
		}
		q := append([]float32(nil), good...)
		q[c.at] = c.value
		if err := p.CheckQuant(q); (err == nil) != c.good || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v: %v", c.text, q, err)
		}
	}
}
