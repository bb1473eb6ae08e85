package problem

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/fstest"
)

func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var ranks [4]int
	var ops [Col2im + 1]int
	var types, dirs [5]int
	fused, post := 0, 0
	negative := 0
	for range 20_000 {
		p := Random(r, 12)
		if r.IntN(2) == 0 {
			p.Name = "res2a/conv:1_x"
		}
		back, err := Parse(p.String())
		if err != nil {
			t.Fatalf("%+v prints as %s: %v", p, p.String(), err)
		}
		if back != p {
			t.Fatalf("%s:\n got %+v\nwant %+v", p.String(), back, p)
		}
		ranks[p.Rank]++
		ops[p.Op]++
		types[p.Type.Src]++
		dirs[p.Dir]++
		if p.Fused() {
			fused++
		}
		if len(p.Posts()) > 0 {
			post++
		}
		if a := p.Axes[2]; a.PadL < 0 || a.PadR < 0 {
			negative++
		}
	}
	for _, n := range slices.Concat(ranks[1:], ops[:], types[:S32], dirs[:BackwardBias+1], []int{negative, fused, post}) {
		if n < 100 {
			t.Errorf("too few of a sort: ranks %v, operations %v, types %v, directions %v, negative paddings %d, fused %d, post-ops %d",
				ranks, ops, types, dirs, negative, fused, post)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`mb1ic64ih56oc64oh56kh3ph1n"res2a"`, "pool:max:mb1ic64ih112oh56kh3sh2ph1", "deconv:g1mb256oc3ow227ic96iw55kw11sw4pw0n",
		"g2ic4oc2iw9kw3pw-1rw2", "ic1oc1id4kd3pd1sd2dd1", `pool:avg_ip:ic3iw5ow3kw2sw2rw0n""`, "ic1oc1ih9kh2147483647dh2147483646",
		"pool:max:", "conv::", "conv:BWD_W:f16:ic3oc4ih9kh3", "u8-s8-s32:bias:ic3oc4ih9kh3ph1", "post=leaky(0.1)+clip(0,6)+add:dst=nhwc:ic3oc4ih9kh3",
		"then=avg_np(kh3sh2):pad=circular:ic3oc4ih9kh3ph1", "pool:lp3:adaptive:ic3ih7oh3iw9ow2", "unpool:indices=flat:ic3ih4oh9kh2sh2", "deform:dg=2:mask:ic4oc2ih5kh3",
		"pool:avg_np:div=3:nhwc:ic2iw9kw3", "im2col:BWD_D:s8:ic2iw9kw3", "post=clip(-inf,1e99):ic1oc1iw1kw1", "n:", "ph-", "mb0_ic1oc1iw1kw1n\"\xff",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("%v does not wrap ErrInvalid", err)
			}
			return
		}
		if p.Bytes() < 0 || p.Taps() < 1 || p.Terms() < 1 || p.FLOPs() < 0 {
			t.Fatalf("%s: %d bytes, %d taps, %d terms, %v FLOPs", p.String(), p.Bytes(), p.Taps(), p.Terms(), p.FLOPs())
		}
		back, err := Parse(p.String())
		if err != nil {
			t.Fatalf("%q prints as %q: %v", text, p.String(), err)
		}
		if back != p {
			t.Fatalf("%q prints as %q:\n got %+v\nwant %+v", text, p.String(), back, p)
		}
	})
}

func FuzzReadList(f *testing.F) {
	for _, s := range []string{
		"ic1oc1ih3kh1 ic1oc1ih3kh1\n", "# comment\nic1oc1ih3kh1 # more\n", "ic1oc1 \\\nih3kh1", "--batch=list\n", "--batch=other\n--batch=other",
		"--batch=../x", "\\", "#", "conv:ic1oc1ih3kh1n#no\r\n", "\x85#",
	} {
		f.Add(s, "")
		f.Add(s, "pool:max:")
	}
	f.Fuzz(func(t *testing.T, text, prefix string) {
		files := fstest.MapFS{"dir/list": {Data: []byte(text)}, "dir/other": {Data: []byte("conv:ic1oc1ih3kh1")}}
		list, err := ReadList(files, "dir/list", prefix)
		if err != nil && list != nil {
			t.Fatalf("%d problems beside %v", len(list), err)
		}
		for _, p := range list {
			if err := p.Validate(); err != nil {
				t.Fatalf("%q holds %q: %v", text, p.String(), err)
			}
		}
	})
}
