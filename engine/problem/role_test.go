package problem

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func parseText(t *testing.T, text string) Problem {
	t.Helper()
	p, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestRoles: what each operation and direction reads, keeps and writes, with shapes as they lie in memory and types.
func TestRoles(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"conv:bias:g2mb3ic4ih8oc6oh8kh3ph1", "wei[6 2 3 3]f32 bia[6]f32 | src[3 4 8 8]f32 | dst[3 6 8 8]f32"},
		{"conv:BWD_D:f16:nhwc:g2mb3ic4ih8oc6oh8kh3ph1", "wei[6 2 3 3]f16 | diff_dst[3 8 8 6]f16 | diff_src[3 8 8 4]f16"},
		{"conv:BWD_W:mb3ic4iw8oc6kw3", "| src[3 4 8]f32 diff_dst[3 6 6]f32 | diff_wei[6 4 3]f32"},
		{"deconv:BWD_B:mb3ic4iw8oc6kw3", "| diff_dst[3 6 10]f32 | diff_bia[6]f32"},
		{"deconv:mb1ic4id3oc2kd2", "wei[4 2 2 2 2]f32 | src[1 4 3 3 3]f32 | dst[1 2 4 4 4]f32"},
		{"conv:post=scale+prelu+add+bias:dst=nhwc:mb1ic2iw5oc3kw2", "wei[3 2 2]f32 post[4 3]f32 | src[1 2 5]f32 residual[1 4 3]f32 | dst[1 4 3]f32"},
		{"conv:u8-s8-s32:bias:mb1ic2iw5oc3kw2", "wei[3 2 2]s8 bia[3]s32 quant[4 3]f32 | src[1 2 5]u8 | dst[1 3 4]s32"},
		{"conv:then=max(kw2sw2):post=add:mb1ic2iw5oc3kw2", "wei[3 2 2]f32 | src[1 2 5]f32 residual[1 3 4]f32 | dst[1 3 2]f32"},
		{"pool:max:indices=flat:mb1ic2ih4kh2sh2", "| src[1 2 4 4]f32 | dst[1 2 2 2]f32 ind[1 2 2 2]s32"},
		{"pool:max:BWD_D:mb1ic2ih4kh2sh2", "| src[1 2 4 4]f32 diff_dst[1 2 2 2]f32 | diff_src[1 2 4 4]f32"},
		{"pool:max:BWD_D:indices=plane:mb1ic2ih4kh2sh2", "| diff_dst[1 2 2 2]f32 ind[1 2 2 2]s32 | diff_src[1 2 4 4]f32"},
		{"pool:avg_p:BWD_D:mb1ic2ih4kh2sh2", "| diff_dst[1 2 2 2]f32 | diff_src[1 2 4 4]f32"},
		{"pool:lp3:BWD_D:mb1ic2ih4kh2sh2", "| src[1 2 4 4]f32 diff_dst[1 2 2 2]f32 | diff_src[1 2 4 4]f32"},
		{"unpool:indices=plane:src=nhwc:mb1ic2ih2kh2sh2", "| src[1 2 2 2]f32 ind[1 2 2 2]s32 | dst[1 2 4 4]f32"},
		{"deform:dg=2:mask:mb1ic4ih5oc3kh2", "wei[3 4 2 2]f32 | src[1 4 5 5]f32 offset[1 16 4 4]f32 mask[1 8 4 4]f32 | dst[1 3 4 4]f32"},
		{"im2col:u8:mb2ic3iw5kw2", "| src[2 3 5]u8 | dst[2 6 4]u8"},
		{"col2im:mb2ic3ih5iw4kh2kw1", "| src[2 6 16]f32 | dst[2 3 5 4]f32"},
		{"col2im:BWD_D:mb2ic3iw5kw2", "| diff_dst[2 3 5]f32 | diff_src[2 6 4]f32"},
	} {
		p := parseText(t, c.text)
		var parts []string
		for _, list := range [][]Role{p.Constants(), p.Inputs(), p.Outputs()} {
			var words []string
			for _, r := range list {
				words = append(words, fmt.Sprintf("%v%v%v", r, p.Shape(r), p.TypeOf(r)))
			}
			parts = append(parts, strings.Join(words, " "))
		}
		if got := strings.TrimSpace(strings.Join(parts, " | ")); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.text, got, c.want)
		}
	}
}

// TestEveryRoleHasAShape: whatever a valid problem reads or writes has a shape and a size.
func TestEveryRoleHasAShape(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		p := Random(r, 10)
		for _, role := range slices.Concat(p.Constants(), p.Inputs(), p.Outputs()) {
			if s := p.Shape(role); s == nil || p.N > 0 && p.BytesOf(role) <= 0 {
				t.Fatalf("%s: %v has shape %v, %d bytes", p.String(), role, s, p.BytesOf(role))
			}
		}
		if core := p.Core(); core.SrcLayout != NCHW || !p.Integer() && core.Type != (Types{}) || core.Axes != p.Axes {
			t.Fatalf("%s: core %+v", p.String(), core)
		}
	}
}

// TestAdaptiveKernel: the kernel of adaptive pooling is the largest window, and the windows cover every cell.
func TestAdaptiveKernel(t *testing.T) {
	for in := 1; in < 40; in++ {
		for out := 1; out < 40; out++ {
			a, widest, next := adaptiveAxis(in, out), 0, 0
			for o := range out {
				start, end := a.AdaptiveWindow(o)
				if start != o*in/out || end != ((o+1)*in+out-1)/out || start > next {
					t.Fatalf("window %d of %d over %d is [%d, %d)", o, out, in, start, end)
				}
				widest, next = max(widest, end-start), end
			}
			if a.Kernel != widest || next != in {
				t.Fatalf("%d to %d: kernel %d, widest window %d, the last ends at %d", in, out, a.Kernel, widest, next)
			}
		}
	}
	a := adaptiveAxis(MaxSize, MaxSize-1)
	if start, end := a.AdaptiveWindow(MaxSize - 2); start != MaxSize-2 || end != MaxSize {
		t.Errorf("the last of the most windows is [%d, %d)", start, end)
	}
}

func TestCheckIndices(t *testing.T) {
	p := parseText(t, "unpool:indices=plane:mb2ic2iw2kw2sw2")
	q := parseText(t, "pool:max:BWD_D:indices=flat:mb2ic2iw4kw2sw2")
	for _, c := range []struct {
		p    Problem
		ind  []int32
		good bool
	}{
		{p, []int32{0, 3, -1, 2}, true}, {p, []int32{4}, false}, {p, []int32{-2}, false}, {p, nil, true}, {q, []int32{15}, true}, {q, []int32{16}, false},
	} {
		if err := c.p.CheckIndices(c.ind); (err == nil) != c.good || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: indices %v: %v", c.p.String(), c.ind, err)
		}
	}
}

// TestOptionErrors: each option only where it means something.
func TestOptionErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"conv:then=lp(kh2):mb1ic1ih4oc1kh1", "max and average pooling fuse"},
		{"conv:then=max(kh9):mb1ic1ih4oc1kh1", "fused pooling"},
		{"conv:then=max:mb1ic1ih4oc1kh1", "write then="},
		{"conv:BWD_D:bias:mb1ic1ih4oc1kh1", "forward direction only"},
		{"conv:BWD_D:post=relu:mb1ic1ih4oc1kh1", "post-ops follow forward convolutions"},
		{"conv:post=add+add:mb1ic1ih4oc1kh1", "at most one post-op add"},
		{"conv:post=relu+relu+relu+relu+relu:mb1ic1ih4oc1kh1", "more than 4"},
		{"conv:post=clip(6,0):mb1ic1ih4oc1kh1", "in order"},
		{"conv:post=leaky:mb1ic1ih4oc1kh1", "write relu"},
		{"conv:post=leaky(nan):mb1ic1ih4oc1kh1", "finite"},
		{"conv:post=wobble:mb1ic1ih4oc1kh1", "none of"},
		{"conv:u8-s8-s8:post=relu:mb1ic1ih4oc1kh1", "post-ops only to f32"},
		{"conv:f16-f32-f32:mb1ic1ih4oc1kh1", "f32 or f16 throughout"},
		{"deconv:u8-s8-s32:mb1ic1ih4oc1kh1", "forward convolution"},
		{"pool:avg_np:u8:mb1ic1ih4kh1", "forward max pooling"},
		{"pool:max:div=3:mb1ic1ih4kh1", "for averages"},
		{"pool:lp0:mb1ic1ih4kh1", "exponent 0"},
		{"pool:lp99:mb1ic1ih4kh1", "exponent 99"},
		{"pool:avg_p:indices=flat:mb1ic1ih4kh1", "indices are for"},
		{"pool:max:BWD_W:mb1ic1ih4kh1", "no direction BWD_W"},
		{"unpool:mb1ic1ih4kh1", "needs an index order"},
		{"deform:dg=3:mb1ic4ih4oc1kh1", "multiple of its offset groups"},
		{"deform:mb1ic4iw4oc1kw1", "2-D"},
		{"conv:mask:mb1ic1ih4oc1kh1", "deformable"},
		{"conv:pad=reflect:mb1ic1ih4oc1kh3ph4", "at most 3"},
		{"conv:pad=circular:mb1ic1ih4oc1kh3ph5", "at most 4"},
		{"conv:pad=reflect:mb1ic1ih6oc1kh3ph-1", "goes with padding mode zeros"},
		{"deconv:pad=reflect:mb1ic1ih4oc1kh3", "is for convolutions"},
		{"conv:adaptive:mb1ic1ih4oc1kh3", "are for pooling"},
		{"pool:max:adaptive:mb1ic1ih4", "adaptive windows of 0"},
		{"conv:div=x:mb1ic1ih4oc1kh3", "whole number"},
		{"conv:wat:mb1ic1ih4oc1kh3", "unknown word"},
	} {
		if _, err := Parse(c.text); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, without %q", c.text, err, c.want)
		}
	}
}
