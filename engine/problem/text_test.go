package problem

import (
	"errors"
	"strings"
	"testing"
)

// axis is an Axis in the order in, out, kernel, stride, left, right, dilation.
func axis(in, out, k, s, l, r, d int) Axis {
	return Axis{In: in, Out: out, Kernel: k, Stride: s, PadL: l, PadR: r, Dilation: d}
}

func TestParse(t *testing.T) {
	one := identity
	for _, c := range []struct {
		text string
		want Problem
	}{
		// Every key; any order; underscores; the last of a repeated key.
		{"g2mb3ic4id5ih6iw7oc8od3oh3ow3kd3kh2kw1sd1sh2sw3pd0ph0pw0dd0dh0dw0n\"all\"", Problem{N: 3, Groups: 2, IC: 4, OC: 8, Rank: 3, Name: "all",
			Axes: [3]Axis{axis(5, 3, 3, 1, 0, 0, 1), axis(6, 3, 2, 2, 0, 0, 1), axis(7, 3, 1, 3, 0, 0, 1)}}},
		{"kw3_kh3_iw5_ih5__oc1_ic1_mb1_", Problem{N: 1, Groups: 1, IC: 1, OC: 1, Rank: 2,
			Axes: [3]Axis{one, axis(5, 3, 3, 1, 0, 0, 1), axis(5, 3, 3, 1, 0, 0, 1)}}},
		{"mb9mb1ic1oc1ih9ih5kh3", Problem{N: 1, Groups: 1, IC: 1, OC: 1, Rank: 2,
			Axes: [3]Axis{one, axis(5, 3, 3, 1, 0, 0, 1), axis(5, 3, 3, 1, 0, 0, 1)}}},
		{"pool:max:ic8ih3oh3_kh3ph1_dh2dw2", Problem{Op: Pool, N: 2, Groups: 1, IC: 8, OC: 8, Rank: 2,
			Axes: [3]Axis{one, axis(3, 3, 3, 1, 1, 5, 3), axis(3, 3, 3, 1, 1, 5, 3)}}},
		{"mb1ic1oc1iw4294967311kw3", Problem{N: 1, Groups: 1, IC: 1, OC: 1, Rank: 1,
			Axes: [3]Axis{one, one, axis(4294967311, 4294967309, 3, 1, 0, 0, 1)}}},
		// Defaults: mb2, g1, s1, dilation 0-based. Promotion of h to w, of d to h and w; w alone stays 1-D.
		{"ic1oc1ih7kh3dh1", Problem{N: 2, Groups: 1, IC: 1, OC: 1, Rank: 2,
			Axes: [3]Axis{one, axis(7, 3, 3, 1, 0, 0, 2), axis(7, 3, 3, 1, 0, 0, 2)}}},
		{"ic1oc1id4kd3pd1sd2", Problem{N: 2, Groups: 1, IC: 1, OC: 1, Rank: 3,
			Axes: [3]Axis{axis(4, 2, 3, 2, 1, 0, 1), axis(4, 2, 3, 2, 1, 0, 1), axis(4, 2, 3, 2, 1, 0, 1)}}},
		{"ic1oc1iw4kw3", Problem{N: 2, Groups: 1, IC: 1, OC: 1, Rank: 1, Axes: [3]Axis{one, one, axis(4, 2, 3, 1, 0, 0, 1)}}},
		// Values that are the default anyway do not make an axis; without mb, an empty batch is possible.
		{"mb0ic1oc1iw4kw3ph0dh2sh1id0", Problem{N: 0, Groups: 1, IC: 1, OC: 1, Rank: 1, Axes: [3]Axis{one, one, axis(4, 2, 3, 1, 0, 0, 1)}}},
		// o given, p missing: p halves the padding toward zero, the right pad takes the rest.
		{"ic1oc1iw5ow3kw4sw2", Problem{N: 2, Groups: 1, IC: 1, OC: 1, Rank: 1, Axes: [3]Axis{one, one, axis(5, 3, 4, 2, 1, 2, 1)}}},
		{"ic1oc1iw10ow2kw3sw2", Problem{N: 2, Groups: 1, IC: 1, OC: 1, Rank: 1, Axes: [3]Axis{one, one, axis(10, 2, 3, 2, -2, -3, 1)}}},
		// o and p given: the right pad may differ from p or be negative.
		{"ic1oc1iw10ow4kw3sw3pw2", Problem{N: 2, Groups: 1, IC: 1, OC: 1, Rank: 1, Axes: [3]Axis{one, one, axis(10, 4, 3, 3, 2, 0, 1)}}},
		{"ic1oc1iw10ow2kw3sw2pw1", Problem{N: 2, Groups: 1, IC: 1, OC: 1, Rank: 1, Axes: [3]Axis{one, one, axis(10, 2, 3, 2, 1, -6, 1)}}},
		// p given, o missing: what the division leaves over is cropped at the right.
		{"ic1oc1iw6kw2sw3pw1", Problem{N: 2, Groups: 1, IC: 1, OC: 1, Rank: 1, Axes: [3]Axis{one, one, axis(6, 3, 2, 3, 1, 1, 1)}}},
		{"ic1oc1iw6kw2sw4", Problem{N: 2, Groups: 1, IC: 1, OC: 1, Rank: 1, Axes: [3]Axis{one, one, axis(6, 2, 2, 4, 0, 0, 1)}}},
		{"ic1oc1iw7kw2sw4", Problem{N: 2, Groups: 1, IC: 1, OC: 1, Rank: 1, Axes: [3]Axis{one, one, axis(7, 2, 2, 4, 0, -1, 1)}}},
		// Extensions: negative padding, right padding.
		{"ic1oc1iw9kw3pw-1", Problem{N: 2, Groups: 1, IC: 1, OC: 1, Rank: 1, Axes: [3]Axis{one, one, axis(9, 5, 3, 1, -1, -1, 1)}}},
		{"ic1oc1iw9kw3pw1rw0", Problem{N: 2, Groups: 1, IC: 1, OC: 1, Rank: 1, Axes: [3]Axis{one, one, axis(9, 8, 3, 1, 1, 0, 1)}}},
		{"ic1oc1iw9ow4kw3sw2rw1", Problem{N: 2, Groups: 1, IC: 1, OC: 1, Rank: 1, Axes: [3]Axis{one, one, axis(9, 4, 3, 2, 0, 1, 1)}}},
		// Operations.
		{"conv:ic1oc1iw4kw3", Problem{N: 2, Groups: 1, IC: 1, OC: 1, Rank: 1, Axes: [3]Axis{one, one, axis(4, 2, 3, 1, 0, 0, 1)}}},
		{"deconv:ic1oc1iw4kw3sw2pw1", Problem{Op: Deconv, N: 2, Groups: 1, IC: 1, OC: 1, Rank: 1, Axes: [3]Axis{one, one, axis(4, 7, 3, 2, 1, 1, 1)}}},
		{"deconv:ic1oc1iw4ow8kw3sw2", Problem{Op: Deconv, N: 2, Groups: 1, IC: 1, OC: 1, Rank: 1, Axes: [3]Axis{one, one, axis(4, 8, 3, 2, 0, 1, 1)}}},
		{"deconv:ic1oc1iw4ow8kw3sw2pw1rw1", Problem{Op: Deconv, N: 2, Groups: 1, IC: 1, OC: 1, Rank: 1, Axes: [3]Axis{one, one, axis(4, 8, 3, 2, 1, 1, 1)}}},
		{"pool:max:ic3ih4kh2sh2", Problem{Op: Pool, N: 2, Groups: 1, IC: 3, OC: 3, Rank: 2,
			Axes: [3]Axis{one, axis(4, 2, 2, 2, 0, 0, 1), axis(4, 2, 2, 2, 0, 0, 1)}}},
		{"pool:avg_np:ic3iw5ow3kw2sw2", Problem{Op: Pool, Kind: AvgExclude, N: 2, Groups: 1, IC: 3, OC: 3, Rank: 1,
			Axes: [3]Axis{one, one, axis(5, 3, 2, 2, 0, 1, 1)}}},
		// A window that hangs over the end, by ceil rounding.
		{"pool:avg_ip:ic3iw5ow3kw2sw2rw0", Problem{Op: Pool, Kind: AvgInclude, N: 2, Groups: 1, IC: 3, OC: 3, Rank: 1,
			Axes: [3]Axis{one, one, axis(5, 3, 2, 2, 0, 0, 1)}}},
		{"pool:avg_p:ic3iw5kw2", Problem{Op: Pool, Kind: AvgFull, N: 2, Groups: 1, IC: 3, OC: 3, Rank: 1,
			Axes: [3]Axis{one, one, axis(5, 4, 2, 1, 0, 0, 1)}}},
		// Names: to the end, quoted or not, with colons and keys inside.
		{`ic1oc1iw4kw3n"a:b_ic9"`, Problem{N: 2, Groups: 1, IC: 1, OC: 1, Rank: 1, Name: "a:b_ic9", Axes: [3]Axis{one, one, axis(4, 2, 3, 1, 0, 0, 1)}}},
		{`ic1oc1iw4kw3nconv1:x`, Problem{N: 2, Groups: 1, IC: 1, OC: 1, Rank: 1, Name: "conv1:x", Axes: [3]Axis{one, one, axis(4, 2, 3, 1, 0, 0, 1)}}},
	} {
		got, err := Parse(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
		} else if got != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.text, got, c.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "no descriptor"},
		{"mb1ic1oc1", "no spatial sizes"},
		{"mb1ic1oc1kh3", "ih and kh are required"},
		{"mb1ic1oc1ih3", "ih and kh are required"},
		{"mb1ic1oc1ih3kh1kw1", "iw and kw are required"},
		{"ic1oc1ih3kh3sh0", "sh must be at least 1"},
		{"ic1oc1id3kd1ih3kh1", "both height and width or neither"},
		{"ic1oc1id3kd1iw3kw1", "both height and width or neither"},
		{"oc1ih3kh1", "ic0"},
		{"ic1ih3kh1", "oc0"},
		{"g2ic3oc4ih3kh1", "multiples of g2"},
		{"g0ic3oc4ih3kh1", "g0"},
		{"ic1oc1ih3kh4", "use a smaller kernel or more padding"},
		{"ic1oc1ih3kh2dh2", "the kernel spans 4, more than the padded source's 3"},
		{"ic1oc1ih9oh9kh3ph1rh0", "make 8"},
		{"ic1oc1ih-9kh3", "ih wants a whole number"},
		{"icoc1ih9kh3", "ic wants a whole number"},
		{"ic1oc1ih9kh3ph-", "ph wants a whole number"},
		{"ic1oc1ih99999999999999999999kh3", "ih wants a whole number"},
		{"ic1oc1ih1099511627777kh3", "numbers up to 1099511627776"},
		{"ic1oc1ih2147483648kh2147483648", "1 to 2147483647 is possible"},
		{"ic1oc1ih1099511627776oh1099511627776kh1sh2147483647", "times stride s are at most 1152921504606846976"},
		{"deconv:ic1oc1ih1099511627776kh1sh2147483647", "times stride s"},
		{"ic1oc1ih9kh3x4", `unknown key at "x4"`},
		{"ic1oc1 ih9kh3", "unknown key"},
		{"matmul:ic1oc1ih9kh3", "before the colon"},
		{"pool:ic1ih9kh3", "kinds after pool:"},
		{"pool:min:ic1ih9kh3", "kinds after pool:"},
		{"pool:max:g1ic1ih9kh3", "pool has no g"},
		{"pool:max:ic1oc1ih9kh3", "pool has no oc"},
		{"deconv:ic1oc1iw4ow20kw3sw2rw0pw0", "makes 9 to 10"},
		{"deconv:ic1oc1iw1kw1pw1", "output o is -1"},
		{"ic2147483647oc2147483647ih3kh1", "more than 2^58 elements"},
		{"mb0ic1oc1id2147483647ih2147483647iw2147483647kd1kh1kw1", "more than 2^58 elements"},
		{"pool:max:ic1id9kd2147483647pd2147483647", "more than 2^58 elements"},
		{"ic1oc1ih9kh2147483647dh2147483647", "dilation"},
		{"ic1oc1ih9kh2147483647dh2147483646", "extent of the dilated kernel"},
	} {
		p, err := Parse(c.text)
		switch {
		case err == nil:
			t.Errorf("%s: parsed as %v", c.text, p.String())
		case !errors.Is(err, ErrInvalid):
			t.Errorf("%s: %v does not wrap ErrInvalid", c.text, err)
		case !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %v, without %q", c.text, err, c.want)
		case strings.Contains(err.Error(), "\n"):
			t.Errorf("%s: error of several lines: %v", c.text, err)
		}
	}
}

func TestString(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"ic1oc1ih5iw5kh3kw3", "conv:mb2ic1oc1ih5oh3kh3"},
		{"mb1ic64ih112oh56kh7sh2ph3oc64n\"stem\"", `conv:mb1ic64oc64ih112oh56kh7sh2ph3n"stem"`},
		{"ic1oc1iw4kw3", "conv:mb2ic1oc1iw4ow2kw3"},
		{"g2ic4oc2iw9kw3pw-1", "conv:g2mb2ic4oc2iw9ow5kw3pw-1"},
		{"ic1oc1id4kd3ih4kh3iw5kw3", "conv:mb2ic1oc1id4od2kd3ih4oh2kh3iw5ow3kw3"},
		{"pool:avg_ip:ic3iw5ow3kw2sw2rw0dw0", "pool:avg_ip:mb2ic3iw5ow3kw2sw2pw0rw0"},
		{"deconv:ic1oc1iw4ow8kw3sw2pw1rw1", "deconv:mb2ic1oc1iw4ow8kw3sw2pw1rw1"},
	} {
		p, err := Parse(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
		} else if got := p.String(); got != c.want {
			t.Errorf("%s prints as %s, not %s", c.text, got, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	for _, d := range []Dir{Forward, BackwardData, BackwardWeights} {
		if got, err := Lookup[Dir](d.String()); err != nil || got != d {
			t.Errorf("%v: %v, %v", d, got, err)
		}
	}
	for _, k := range []PoolKind{Max, AvgExclude, AvgFull, AvgInclude} {
		if got, err := Lookup[PoolKind](k.String()); err != nil || got != k {
			t.Errorf("%v: %v, %v", k, got, err)
		}
	}
	if _, err := Lookup[DataType]("f64"); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "[f32 f16 s8 u8 s32]") {
		t.Errorf("f64: %v", err)
	}
	if s := PostKind(99).String(); s != "problem.PostKind(99)" {
		t.Errorf("PostKind(99) is %q", s)
	}
}
