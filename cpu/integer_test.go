package cpu

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
)

// Products of pairs and of quads give what plain loops do, bit for bit: of every type, with zero points and operands over their
// whole ranges, and multipliers that leave little, all, and far too much of a sum. Quads come where weights have the zero point
// that makes them signed bytes.
func TestIntegers(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 42))
	for _, text := range []string{
		"u8-s8-s8:mb2ic13ih11iw40oc21kh3kw3ph1pw1",
		"s8-s8-u8:bias:mb1ic8ih17oc33kh3sh2ph1",
		"s8-u8-f32:bias:post=relu:g3mb2ic9ih9oc12kh3dh1ph2",
		"u8-u8-s32:bias:mb1ic5ih30oc40kh5sh3ph2",
		"u8-s8-f32:post=relu:mb3ic7id5ih6iw7oc9kd2kh3kw1",
		"s8-s8-s8:nhwc:mb2ic70ih14oc80kh1",
		"u8-s8-s8:mb1ic3ih40oc16kh7sh2ph3",
		"s8-s8-f32:mb1ic1300ih5oc18kh1",
		"u8-s8-s8:mb1ic4ih25iw30oc6kh3kw2sh4sw2dh3ph2pw1", // rows of patches that are not read
		"u8-s8-s8:mb1ic3ih31oc5kh1sh3ph1",
		"s8-s8-s32:mb2ic6iw31oc4kw3sw2pw1",
		"u8-s8-s8:g8mb1ic8ih12oc8kh3ph1",
		"s8-s8-s8:bias:g2mb2ic14ih13iw9oc10kh3kw3sh2sw2ph1pw1",
		"u8-s8-u8:bias:mb1ic256ih9oc30kh3ph1",
		"s8-u8-u8:bias:g9mb2ic9ih40iw37oc9kh3kw3ph1pw1", // exact floats
		"u8-u8-s32:bias:g12mb2ic12ih15iw20oc24kh5kw5sh2sw2ph2pw2",
		"s8-s8-f32:bias:post=relu:nhwc:g7mb1ic7ih25oc7kh16ph3", // of 256 products
		"u8-s8-s8:g3mb1ic3ih60oc6kh17ph3",                      // of 289
		"s8-u8-s32:bias:mb1ic300ih6oc70kh3ph1",
		"s8-s8-f32:bias:post=relu+scale:mb2ic16ih10oc12kh3ph1",
		"u8-s8-s8:mb0ic8ih12oc8kh3ph1",
	} {
		p := problemtest.Parse(t, text)
		for round := range 6 {
			in := operands(t, r, &p)
			for _, role := range []problem.Role{problem.Src, problem.Wei} {
				for i := range in[role].F32 {
					in[role].F32[i] = anyOf(r, p.TypeOf(role))
				}
			}
			q := in[problem.Quant].F32
			zero := anyOf(r, p.Type.Src)
			for o := range p.OC {
				q[o], q[p.OC+o] = zero, anyOf(r, p.Type.Wei)
				if round >= 3 {
					q[p.OC+o] = signs(p.Type.Wei)
				}
				q[2*p.OC+o] = (r.Float32() - 0.5) * float32(math.Pow(10, float64(6*(round%3)-8))) // the last of 10⁴
				if p.Type.Dst.Size() == 1 {
					q[3*p.OC+o] = anyOf(r, p.Type.Dst)
				}
			}
			if err := p.CheckQuant(q); err != nil {
				t.Fatal(err)
			}
			out := p.Outputs()[0]
			for _, isa := range simd.Supported() {
				d := &Device{info: info(), isa: isa}
				want := run(t, d, p, "direct", in)[out]
				for _, a := range candidates(isa, &p) {
					if a.name != "igemm" && a.name != "depthwise" {
						continue
					}
					got := run(t, d, p, a.name, in)[out]
					if len(want) != len(got) {
						t.Fatalf("%s on %s by %s: %d elements of %d", text, isa, a.name, len(got), len(want))
					}
					for i := range want {
						if math.Float64bits(got[i]) != math.Float64bits(want[i]) {
							t.Fatalf("%s on %s by %s, multipliers %d: element %d is %v, not %v",
								text, isa, a.name, round, i, got[i], want[i])
						}
					}
				}
			}
		}
	}
}

// signs is the zero point with which all weights of a type are signed bytes.
func signs(typ problem.DataType) float32 {
	if typ == problem.U8 {
		return 128
	}
	return 0
}

// Quads are what convolutions by bytes run as where their channels fill them, and their weights are bytes: one that is not is
// reason for pairs.
func TestQuadsOrPairs(t *testing.T) {
	for _, c := range []struct {
		text       string
		zero       float32 // of the weights
		wei        float32
		quads, can bool
	}{
		{"u8-s8-u8:mb1ic8ih5oc4kh3", 0, -128, true, true},
		{"u8-s8-u8:mb1ic3ih5oc4kh3", 0, 127, true, true},
		{"u8-s8-u8:mb1ic8ih5oc4kh3", 1, -128, false, true},
		{"u8-s8-u8:mb1ic8ih5oc4kh3", 1, -127, true, true},
		{"u8-s8-u8:mb1ic8ih5oc4kh3", -1, 127, false, true},
		{"s8-u8-s32:mb1ic8ih5oc4kh3", 128, 255, true, true},
		{"s8-u8-s32:mb1ic8ih5oc4kh3", 0, 128, false, true},
		{"u8-s8-u8:g8mb1ic8ih5oc8kh3", 0, 1, false, false},
		{"u8-s8-u8:nhwc:mb1ic8ih5oc4kh3", 0, 1, false, false},
	} {
		p := problemtest.Parse(t, c.text)
		for _, isa := range simd.Supported() {
			n := newIntegers(&Device{info: info(), isa: isa}, &p).integers
			if got, want := n.quads != nil, c.can && simd.HasQuads(isa); got != want {
				t.Errorf("%s on %s: quads are planned: %t", c.text, isa, got)
			}
			by := newQuant(make([]float32, 4*p.OC), p.OC)
			var in tensors
			in.i[problem.Wei] = make([]int32, problem.Elems(p.Shape(problem.Wei)))
			for i := range by.wei {
				by.wei[i] = c.zero
			}
			in.i[problem.Wei][0] = int32(c.wei - c.zero)
			_, quads, err := n.pack(t.Context(), &in, by)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := quads != nil, c.quads && simd.HasQuads(isa); got != want {
				t.Errorf("%s on %s, weight %v less %v: packed as quads: %t", c.text, isa, c.wei, c.zero, got)
			}
		}
	}
}

// anyOf is a value of a type of 8 bits, often one of its limits.
func anyOf(r *rand.Rand, typ problem.DataType) float32 {
	lo, hi := limits(typ)
	switch r.IntN(8) {
	case 0:
		return lo
	case 1:
		return hi
	}
	return lo + float32(r.IntN(256))
}
