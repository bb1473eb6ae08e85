package cpu

import (
	"math"
	"slices"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
)

// Short names for tables.
type (
	f = []float32
	n = []int32
	w = []float64
)

// given is operands by role.
func given(pairs ...any) (in driver.Operands) {
	for i := 0; i < len(pairs); i += 2 {
		switch v := pairs[i+1].(type) {
		case []float32:
			in[pairs[i].(problem.Role)].F32 = v
		case []int32:
			in[pairs[i].(problem.Role)].I32 = v
		}
	}
	return in
}

const (
	src, wei, bia, dif = problem.Src, problem.Wei, problem.Bia, problem.DiffDst
	ind, res, par, qua = problem.Ind, problem.Residual, problem.PostParams, problem.Quant
	off, mas           = problem.Offset, problem.Mask
)

// TestReferenceByHand has each rule in a case small enough to compute in one's head, for the oracle and all algorithms.
func TestReferenceByHand(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	wnan, winf := math.NaN(), math.Inf(1)
	d := open(t)
	for _, c := range []struct {
		name, text string
		in         driver.Operands
		want       []float64
		indices    []float64 // the second output, if any
	}{
		{name: "valid", text: "mb1ic1oc1iw4kw3", in: given(src, f{1, 2, 3, 5}, wei, f{1, 0, -1}), want: w{-2, -3}},
		{name: "padded", text: "mb1ic1oc1iw4kw3pw1", in: given(src, f{1, 2, 3, 5}, wei, f{1, 0, -1}), want: w{-2, -2, -3, 3}},
		{name: "cropped", text: "mb1ic1oc1iw5kw2pw-1", in: given(src, f{9, 1, 2, 3, 9}, wei, f{1, 10}), want: w{21, 32}},
		{name: "stride and dilation", text: "mb1ic1oc1iw6kw2sw3dw1", in: given(src, f{1, 2, 3, 4, 5, 6}, wei, f{1, 10}), want: w{31, 64}},
		{name: "bias and relu", text: "bias:post=relu:mb1ic1oc2iw2kw1", in: given(src, f{1, -1}, wei, f{2, -2}, bia, f{1, -1}), want: w{3, 0, 0, 1}},
		{name: "relu of NaN", text: "post=relu:mb1ic1oc1iw2kw1", in: given(src, f{nan, -1}, wei, f{1}), want: w{wnan, 0}},
		{name: "groups", text: "g2mb1ic4oc2iw1kw1", in: given(src, f{1, 2, 3, 4}, wei, f{1, 10, 100, 1000}), want: w{21, 4300}},
		{name: "2-D", text: "mb1ic1oc1ih2iw3kh2kw2", in: given(src, f{1, 2, 3, 4, 5, 6}, wei, f{1, 10, 100, 1000}), want: w{5421, 6532}},
		{name: "0 times NaN", text: "mb1ic2oc1iw3kw1", in: given(src, f{nan, inf, 1, 3, 2, 4}, wei, f{0, 1}), want: w{wnan, wnan, 4}},
		{name: "padding is skipped", text: "mb1ic1oc1iw2kw3pw1", in: given(src, f{1, 2}, wei, f{inf, 1, -inf}), want: w{-winf, winf}},
		{name: "deconv", text: "deconv:mb1ic1oc1iw2kw3sw2", in: given(src, f{1, 2}, wei, f{1, 10, 100}), want: w{1, 10, 102, 20, 200}},
		{name: "deconv, padded", text: "deconv:mb1ic1oc1iw2ow4kw3sw2pw1rw0", in: given(src, f{1, 2}, wei, f{1, 10, 100}), want: w{10, 102, 20, 200}},
		{name: "backward data", text: "BWD_D:mb1ic1oc1iw3kw2", in: given(wei, f{1, 10}, dif, f{1, 2}), want: w{1, 12, 20}},
		{name: "backward weights", text: "BWD_W:mb1ic1oc1iw3kw2", in: given(src, f{1, 2, 3}, dif, f{1, 10}), want: w{21, 32}},
		{name: "backward bias", text: "BWD_B:mb2ic1oc2iw3kw2", in: given(dif, f{1, 2, 3, 4, 10, 20, 30, 40}), want: w{33, 77}},
		{name: "channels last", text: "nhwc:mb1ic2oc2iw2kw1", in: given(src, f{1, 10, 2, 20}, wei, f{1, 1, 1, -1}), want: w{11, -9, 22, -18}},
		{name: "only dst's channels last", text: "dst=nhwc:mb1ic2oc2iw2kw1", in: given(src, f{1, 2, 10, 20}, wei, f{1, 1, 1, -1}), want: w{11, -9, 22, -18}},

		{name: "reflect", text: "pad=reflect:mb1ic1oc1iw3kw1pw2", in: given(src, f{1, 2, 3}, wei, f{1}), want: w{3, 2, 1, 2, 3, 2, 1}},
		{name: "replicate", text: "pad=replicate:mb1ic1oc1iw3kw1pw2", in: given(src, f{1, 2, 3}, wei, f{1}), want: w{1, 1, 1, 2, 3, 3, 3}},
		{name: "circular", text: "pad=circular:mb1ic1oc1iw3kw1pw2", in: given(src, f{1, 2, 3}, wei, f{1}), want: w{2, 3, 1, 2, 3, 1, 2}},
		{name: "reflect, backward", text: "BWD_D:pad=reflect:mb1ic1oc1iw3kw1pw2", in: given(wei, f{1}, dif, f{1, 2, 4, 8, 16, 32, 64}), want: w{4 + 64, 2 + 8 + 32, 1 + 16}},
		{name: "circular, backward weights", text: "BWD_W:pad=circular:mb1ic1oc1iw2kw2pw1rw0", in: given(src, f{1, 10}, dif, f{1, 100}), want: w{10 + 100, 1 + 1000}},

		{name: "max", text: "pool:max:mb1ic1iw4kw2", in: given(src, f{-1, -3, -2, 0}), want: w{-1, -2, 0}},
		{name: "max skips padding", text: "pool:max:mb1ic1iw2kw2pw1", in: given(src, f{-1, -2}), want: w{-1, -1, -2}},
		{name: "NaN wins", text: "pool:max:mb1ic1iw4kw2sw2", in: given(src, f{nan, 1, inf, nan}), want: w{wnan, wnan}},
		{name: "all -inf", text: "pool:max:mb1ic1iw2kw2", in: given(src, f{-inf, -inf}), want: w{-winf}},
		{name: "empty max", text: "pool:max:mb1ic1iw1kw1pw1", in: given(src, f{7}), want: w{-winf, 7, -winf}},
		{name: "empty max of bytes", text: "pool:max:s8:mb1ic1iw1kw1pw1", in: given(src, f{7}), want: w{-128, 7, -128}},
		{name: "plane indices", text: "pool:max:indices=plane:mb1ic2ih2iw2kh1kw2", in: given(src, f{1, 2, 4, 3, 5, 5, 7, 8}), want: w{2, 4, 5, 8}, indices: w{1, 2, 0, 3}},
		{name: "flat indices", text: "pool:max:indices=flat:mb1ic2ih2iw2kh1kw2", in: given(src, f{1, 2, 4, 3, 5, 5, 7, 8}), want: w{2, 4, 5, 8}, indices: w{1, 2, 4, 7}},
		{name: "column indices", text: "pool:max:indices=column:mb1ic2ih2iw2kh1kw2", in: given(src, f{1, 2, 4, 3, 5, 5, 7, 8}), want: w{2, 4, 5, 8}, indices: w{2, 1, 4, 7}},
		{name: "index of the first", text: "pool:max:indices=plane:mb1ic1iw4kw4", in: given(src, f{1, 3, 3, 2}), want: w{3}, indices: w{1}},
		{name: "index of NaN", text: "pool:max:indices=plane:mb1ic1iw4kw4", in: given(src, f{1, nan, 3, 2}), want: w{wnan}, indices: w{1}},
		{name: "index in all -inf", text: "pool:max:indices=plane:mb1ic1iw3kw2", in: given(src, f{-inf, -inf, -inf}), want: w{-winf, -winf}, indices: w{0, 1}},
		{name: "index of an empty window", text: "pool:max:indices=flat:mb1ic1iw1kw1pw1", in: given(src, f{7}), want: w{-winf, 7, -winf}, indices: w{-1, 0, -1}},
		{name: "empty average", text: "pool:avg_np:mb1ic1iw1kw1pw1", in: given(src, f{7}), want: w{0, 7, 0}},
		{name: "exclude", text: "pool:avg_np:mb1ic1iw3kw3pw1", in: given(src, f{1, 2, 3}), want: w{1.5, 2, 2.5}},
		{name: "include", text: "pool:avg_ip:mb1ic1iw3kw3pw1", in: given(src, f{1, 2, 3}), want: w{1, 2, 5. / 3}},
		// The last window hangs over by ceil rounding: only AvgFull counts that.
		{name: "overhang, include", text: "pool:avg_ip:mb1ic1iw5ow3kw2sw2rw0", in: given(src, f{1, 2, 3, 4, 5}), want: w{1.5, 3.5, 5}},
		{name: "overhang, exclude", text: "pool:avg_np:mb1ic1iw5ow3kw2sw2rw0", in: given(src, f{1, 2, 3, 4, 5}), want: w{1.5, 3.5, 5}},
		{name: "overhang, full", text: "pool:avg_p:mb1ic1iw5ow3kw2sw2rw0", in: given(src, f{1, 2, 3, 4, 5}), want: w{1.5, 3.5, 2.5}},
		// Overhang past right padding: source 4 and padding 1 count, the cell beyond does not.
		{name: "padding and overhang", text: "pool:avg_ip:mb1ic1iw4ow3kw3sw2pw1rw1", in: given(src, f{1, 2, 3, 4}), want: w{1, 3, 2}},
		{name: "divisor", text: "pool:avg_ip:div=4:mb1ic1iw3kw3pw1", in: given(src, f{1, 2, 3}), want: w{.75, 1.5, 1.25}},
		{name: "adaptive average", text: "pool:avg_np:adaptive:mb1ic1iw5ow3", in: given(src, f{1, 2, 3, 4, 5}), want: w{1.5, 3, 4.5}},
		{name: "adaptive full is its window", text: "pool:avg_p:adaptive:mb1ic1iw5ow3", in: given(src, f{1, 2, 3, 4, 5}), want: w{1.5, 3, 4.5}},
		{name: "adaptive enlarges", text: "pool:max:adaptive:mb1ic1iw2ow3", in: given(src, f{1, 2}), want: w{1, 2, 2}},
		{name: "lp1", text: "pool:lp1:mb1ic1iw3kw2", in: given(src, f{3, -4, 0}), want: w{7, 4}},
		{name: "lp2", text: "pool:lp2:mb1ic1iw3kw2", in: given(src, f{3, -4, 0}), want: w{5, 4}},
		{name: "lp2, padding is 0", text: "pool:lp2:mb1ic1iw1kw1pw1", in: given(src, f{-3}), want: w{0, 3, 0}},
		{name: "tie goes to the first", text: "pool:max:BWD_D:mb1ic1iw4kw4", in: given(src, f{1, 3, 3, 2}, dif, f{5}), want: w{0, 5, 0, 0}},
		{name: "NaN takes the gradient", text: "pool:max:BWD_D:mb1ic1iw3kw3", in: given(src, f{1, nan, 3}, dif, f{5}), want: w{0, 5, 0}},
		{name: "first of -inf takes it", text: "pool:max:BWD_D:mb1ic1iw3kw3", in: given(src, f{-inf, -inf, -inf}, dif, f{5}), want: w{5, 0, 0}},
		{name: "by index", text: "pool:max:BWD_D:indices=plane:mb1ic1iw3kw2", in: given(ind, n{1, 1}, dif, f{5, 7}), want: w{0, 12, 0}},
		{name: "no index", text: "pool:max:BWD_D:indices=flat:mb1ic1iw1kw1pw1", in: given(ind, n{-1, 0, -1}, dif, f{5, 7, 9}), want: w{7}},
		{name: "average spreads", text: "pool:avg_np:BWD_D:mb1ic1iw3kw2pw1", in: given(dif, f{1, 2, 4, 8}), want: w{2, 3, 10}},
		{name: "full spreads", text: "pool:avg_p:BWD_D:mb1ic1iw3kw2pw1", in: given(dif, f{1, 2, 4, 8}), want: w{1.5, 3, 6}},
		{name: "divisor spreads", text: "pool:avg_p:BWD_D:div=4:mb1ic1iw3kw2pw1", in: given(dif, f{1, 2, 4, 8}), want: w{.75, 1.5, 3}},
		{name: "adaptive spreads", text: "pool:avg_np:BWD_D:adaptive:mb1ic1iw3ow2", in: given(dif, f{2, 4}), want: w{1, 3, 2}},
		{name: "lp1 backward", text: "pool:lp1:BWD_D:mb1ic1iw3kw2", in: given(src, f{3, -4, 0}, dif, f{1, 10}), want: w{1, -11, 0}},
		{name: "lp2 backward", text: "pool:lp2:BWD_D:mb1ic1iw3kw2sw2rw1", in: given(src, f{3, -4, 0}, dif, f{10, 7}), want: w{6, -8, 0}},

		{name: "unpool", text: "unpool:indices=plane:mb1ic2iw2ow3kw2sw1", in: given(src, f{1, 2, 3, 4}, ind, n{2, 0, 1, 1}), want: w{2, 0, 1, 0, 4, 0}},
		{name: "unpool, flat", text: "unpool:indices=flat:mb1ic2iw2ow3kw2sw1", in: given(src, f{1, 2, 3, 4}, ind, n{2, 0, 4, 6}), want: w{2, 0, 1, 0, 3, 0}},
		{name: "unpool, column", text: "unpool:indices=column:mb1ic1ih1oh2kh2iw2ow3kw2sw1", in: given(src, f{1, 2}, ind, n{1, 4}), want: w{0, 0, 2, 1, 0, 0}},
		{name: "unpool backward", text: "unpool:BWD_D:indices=plane:mb1ic1iw3ow4kw2sw1", in: given(dif, f{1, 2, 3, 4}, ind, n{3, 0, -1}), want: w{4, 1, 0}},

		{name: "im2col", text: "im2col:mb1ic1iw3kw2pw1", in: given(src, f{1, 2, 3}), want: w{0, 1, 2, 3, 1, 2, 3, 0}},
		{name: "col2im", text: "col2im:mb1ic1iw3kw2pw1", in: given(src, f{9, 1, 2, 3, 10, 20, 30, 9}), want: w{11, 22, 33}},
		{name: "im2col backward", text: "im2col:BWD_D:mb1ic1iw3kw2pw1", in: given(dif, f{9, 1, 2, 3, 10, 20, 30, 9}), want: w{11, 22, 33}},
		{name: "col2im, channels last", text: "col2im:nhwc:mb1ic1iw3kw2", in: given(src, f{1, 10, 2, 20}), want: w{1, 12, 20}},

		// Offsets (0, ½) and (0, 1): between cells, and one further; (0, −½) half out.
		{name: "deform", text: "deform:dg=1:mb1ic1oc1ih1iw3kh1kw1", in: given(src, f{2, 4, 8}, wei, f{1}, off, f{0, 0, 0, .5, 1, .5}), want: w{3, 8, 4}},
		{name: "deform, first out", text: "deform:dg=1:mb1ic1oc1ih1iw2kh1kw1", in: given(src, f{2, 4}, wei, f{1}, off, f{0, 1, -.5, 0}), want: w{1, 0}},
		{name: "deform, mask", text: "deform:dg=1:mask:mb1ic1oc1ih1iw2kh1kw1", in: given(src, f{2, 4}, wei, f{3}, off, f{0, 0, 0, 0}, mas, f{.5, 2}), want: w{3, 24}},

		{name: "integers", text: "u8-s8-s32:bias:mb1ic1oc1iw3kw2pw1", in: given(src, f{5, 7, 9}, wei, f{1, 3}, bia, n{100}, qua, f{5, 1, 9, 9}),
			want: w{100 + 2*0, 100 + 2*2, 100 + 2*4, 100}},
		{name: "int32 wraps", text: "u8-s8-s32:bias:mb1ic1oc1iw1kw1", in: given(src, f{2}, wei, f{1}, bia, n{math.MaxInt32}, qua, f{0, 0, 1, 0}), want: w{math.MinInt32 + 1}},
		{name: "half to even", text: "s8-s8-s8:mb1ic1oc1iw4kw1", in: given(src, f{1, 3, -1, -3}, wei, f{1}, qua, f{0, 0, .5, 10}), want: w{10, 12, 10, 8}},
		{name: "saturates", text: "u8-s8-u8:mb1ic1oc1iw3kw1", in: given(src, f{100, 1, 3}, wei, f{-3}, qua, f{2, 0, 1, 3}), want: w{0, 6, 0}},
		{name: "saturates above", text: "u8-s8-s8:mb1ic1oc1iw1kw1", in: given(src, f{100}, wei, f{100}, qua, f{0, 0, 1, 0}), want: w{127}},
		{name: "dequantized", text: "u8-u8-f32:post=relu:mb1ic1oc2iw1kw1", in: given(src, f{3}, wei, f{3, 5}, qua, f{0, 0, 4, 4, .5, 2, 0, 0}), want: w{0, 6}},

		{name: "scale", text: "post=scale:mb1ic1oc2iw1kw1", in: given(src, f{3}, wei, f{1, 2}, par, f{2, 10, 1, 5}), want: w{7, 65}},
		{name: "rows in order", text: "post=bias+prelu+scale:mb1ic1oc1iw2kw1", in: given(src, f{3, -3}, wei, f{1}, par, f{1, 10, 2, 5}), want: w{13, -35}},
		{name: "leaky and clip", text: "post=leaky(0.5)+clip(-1,2):mb1ic1oc1iw4kw1", in: given(src, f{-4, -1, 1, 3}, wei, f{1}), want: w{-1, -.5, 1, 2}},
		{name: "clip of NaN", text: "post=clip(-1,2):mb1ic1oc1iw1kw1", in: given(src, f{nan}, wei, f{1}), want: w{wnan}},
		{name: "residual before relu", text: "bias:post=add+relu:mb1ic1oc1iw2kw1", in: given(src, f{1, 2}, wei, f{1}, bia, f{-2}, res, f{5, -5}), want: w{4, 0}},
		{name: "residual's layout", text: "post=add:dst=nhwc:mb1ic1oc2iw2kw1", in: given(src, f{1, 2}, wei, f{1, 10}, res, f{100, 200, 300, 400}), want: w{101, 210, 302, 420}},
		{name: "hardswish", text: "post=hardswish:mb1ic1oc1iw4kw1", in: given(src, f{-3, -1.5, 0, 6}, wei, f{1}), want: w{0, -.375, 0, 6}},
		{name: "sigmoid", text: "post=sigmoid:mb1ic1oc1iw3kw1", in: given(src, f{0, 1000, -1000}, wei, f{1}), want: w{.5, 1, 0}},
		{name: "gates close", text: "post=silu+gelu+gelu_tanh+hardswish:mb1ic1oc1iw1kw1", in: given(src, f{-1000}, wei, f{1}), want: w{0}},
		{name: "then max", text: "post=relu:then=max(kw2sw2):mb1ic1oc1iw4kw1", in: given(src, f{-1, -2, 3, 5}, wei, f{1}), want: w{0, 5}},
		{name: "then average", text: "bias:then=avg_ip(kw2sw1pw1):mb1ic1oc1iw2kw1", in: given(src, f{2, 4}, wei, f{1}, bia, f{2}), want: w{2, 5, 3}},

		{name: "f16 rounds once", text: "f16:mb1ic1oc1iw2kw2pw1", in: given(src, f{2048, 1}, wei, f{1, 1}), want: w{2048, 2049, 1}},
		{name: "empty batch", text: "mb0ic1oc1iw4kw3", in: given(wei, f{1, 0, -1}), want: nil},
		{name: "no batch has no gradient", text: "BWD_W:mb0ic1oc1iw4kw3", want: w{0, 0, 0}},
	} {
		p := problemtest.Parse(t, c.text)
		for i, role := range p.Outputs() {
			want := [][]float64{c.want, c.indices}[i]
			truth := truth(t, p, c.in, role)
			if !slices.EqualFunc(truth, want, func(e driver.Element, v float64) bool { return same(e.Value, v) }) {
				t.Fatalf("%s: %s: the oracle has %v, not %v", c.name, role, truth, want)
			}
		}
		for _, name := range ways(d, p) {
			got := run(t, d, p, name, c.in)
			for i, role := range p.Outputs() {
				want := slices.Clone([][]float64{c.want, c.indices}[i])
				for k := range want {
					want[k] = rounded(want[k], p.TypeOf(role))
				}
				if wayOf(name).Algorithm == "fft" { // rounds on its way
					judge(t, &p, name, role, truthOf(t, p, name, c.in, role, nil), got[role])
					continue
				}
				if have := got[role]; !slices.EqualFunc(have, want, same) {
					t.Errorf("%s, %s: %s is %v, not %v", c.name, name, role, have, want)
				}
			}
		}
	}
}
