package problem

import (
	"errors"
	"math/rand/v2"
	"testing"
	"testing/fstest"
)

// random is a valid problem of any operation and rank, with asymmetric and negative paddings.
func random(r *rand.Rand) Problem {
	for {
		p := Problem{Op: Op(r.IntN(3)), N: r.IntN(4), Groups: 1 + r.IntN(3), Rank: 1 + r.IntN(3)}
		p.IC, p.OC = p.Groups*(1+r.IntN(4)), p.Groups*(1+r.IntN(4))
		if p.Op == Pool {
			p.Kind, p.Groups, p.OC = PoolKind(r.IntN(4)), 1, p.IC
		}
		ceil := r.IntN(3) == 0
		same := r.IntN(4) == 0 // the same on all axes, which has a shorter text
		for i := range p.Axes {
			if p.Axes[i] = identity; i < 3-p.Rank {
				continue
			}
			if same && i > 3-p.Rank {
				p.Axes[i] = p.Axes[3-p.Rank]
				continue
			}
			a := Axis{In: 1 + r.IntN(12), Kernel: 1 + r.IntN(5), Stride: 1 + r.IntN(3), PadL: r.IntN(6) - 2, PadR: r.IntN(6) - 2, Dilation: 1 + r.IntN(3)}
			switch {
			case p.Op == Deconv:
				a.Out = a.outDeconv() + r.IntN(max(a.Stride, a.Dilation))
			case p.Op == Pool && ceil:
				a.Out = a.OutCeil()
			default:
				a.Out = a.OutFloor()
			}
			p.Axes[i] = a
		}
		if r.IntN(2) == 0 {
			p.Name = "res2a/conv:1_x"
		}
		if p.Validate() == nil {
			return p
		}
	}
}

func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var ranks, ops [4]int
	negative := 0
	for range 20_000 {
		p := random(r)
		back, err := Parse(p.String())
		if err != nil {
			t.Fatalf("%+v prints as %s: %v", p, p.String(), err)
		}
		if back != p {
			t.Fatalf("%s:\n got %+v\nwant %+v", p.String(), back, p)
		}
		ranks[p.Rank]++
		ops[p.Op]++
		if a := p.Axes[2]; a.PadL < 0 || a.PadR < 0 {
			negative++
		}
	}
	for _, n := range []int{ranks[1], ranks[2], ranks[3], ops[Conv], ops[Deconv], ops[Pool], negative} {
		if n < 1000 {
			t.Errorf("too few of a sort: ranks %v, operations %v, negative paddings %d", ranks, ops, negative)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`mb1ic64ih56oc64oh56kh3ph1n"res2a"`, "pool:max:mb1ic64ih112oh56kh3sh2ph1", "deconv:g1mb256oc3ow227ic96iw55kw11sw4pw0n",
		"g2ic4oc2iw9kw3pw-1rw2", "ic1oc1id4kd3pd1sd2dd1", `pool:avg_ip:ic3iw5ow3kw2sw2rw0n""`, "ic1oc1ih9kh2147483647dh2147483646",
		"pool:max:", "conv::", "n:", "ph-", "mb0_ic1oc1iw1kw1n\"\xff",
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
