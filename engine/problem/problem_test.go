package problem

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func must(t *testing.T, p Problem, err error) Problem {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// countWindows counts output positions by walking them: an independent form of the size formulas.
func countWindows(a Axis, ceil bool) int {
	n := 0
	for start := -a.PadL; ; start += a.Stride {
		last := start + (a.Kernel-1)*a.Dilation
		fits := last < a.In+a.PadR
		// Ceil rounding admits one more window if it covers something of what is left over, provided that it begins
		// before the end of source and left padding.
		overhangs := ceil && last-a.Stride < a.In+a.PadR-1 && start < a.In
		if !fits && !overhangs {
			return n
		}
		n++
	}
}

func TestOutputSizes(t *testing.T) {
	checked := 0
	for in := 1; in <= 7; in++ {
		for k := 1; k <= 4; k++ {
			for s := 1; s <= 4; s++ {
				for d := 1; d <= 2; d++ {
					for l := -1; l <= 3; l++ {
						for r := -1; r <= 3; r++ {
							a := Axis{In: in, Kernel: k, Stride: s, PadL: l, PadR: r, Dilation: d}
							if in+l+r < a.Extent() {
								if got := a.OutFloor(); got != 0 {
									t.Fatalf("%+v: floor makes %d of a kernel that does not fit", a, got)
								}
								continue
							}
							checked++
							if got, want := a.OutFloor(), countWindows(a, false); got != want {
								t.Fatalf("%+v: floor makes %d, not %d", a, got, want)
							}
							if got, want := a.OutCeil(), countWindows(a, true); got != want && l == r && l >= 0 && 2*l <= a.Extent() {
								t.Fatalf("%+v: ceil makes %d, not %d", a, got, want)
							}
							// The transpose maps back to the size it came from.
							back := Axis{In: a.OutFloor(), Kernel: k, Stride: s, PadL: l, PadR: r, Dilation: d}
							if got := back.outDeconv(); got > in || in-got >= s {
								t.Fatalf("%+v: deconvolution makes %d of it", a, got)
							}
						}
					}
				}
			}
		}
	}
	if checked < 1000 {
		t.Errorf("only %d cases", checked)
	}
	// Known values (PyTorch): ceil drops a window that would begin in the right padding, also without padding.
	for _, c := range []struct {
		a           Axis
		floor, ceil int
	}{
		{Axis{In: 5, Kernel: 2, Stride: 2, Dilation: 1}, 2, 3},
		{Axis{In: 4, Kernel: 1, Stride: 3, Dilation: 1}, 2, 2},
		{Axis{In: 3, Kernel: 1, Stride: 4, Dilation: 1}, 1, 1},
		{Axis{In: 4, Kernel: 2, Stride: 3, PadL: 1, PadR: 1, Dilation: 1}, 2, 2},
		{Axis{In: 2, Kernel: 3, Stride: 2, Dilation: 1}, 0, 1},
	} {
		if f, u := c.a.OutFloor(), c.a.OutCeil(); f != c.floor || u != c.ceil {
			t.Errorf("%+v makes %d and %d, not %d and %d", c.a, f, u, c.floor, c.ceil)
		}
	}
}

func TestNewConv(t *testing.T) {
	p, err := NewConv([]int{2, 6, 9, 10}, []int{8, 3, 3, 2}, Params{
		Stride: []int{2}, PadL: []int{1, -1}, PadR: []int{0, 2}, Dilation: []int{2, 1}, Groups: 2, Bias: true, Post: []PostOp{{Kind: ReLU}}})
	p = must(t, p, err)
	if p.Axes[1] != axis(9, 3, 3, 2, 1, 0, 2) || p.Axes[2] != axis(10, 5, 2, 2, -1, 2, 1) || p.Axes[0] != identity {
		t.Errorf("axes %+v", p.Axes)
	}
	for _, c := range []struct {
		what      string
		got, want []int
	}{
		{"src", p.Shape(Src), []int{2, 6, 9, 10}}, {"wei", p.Shape(Wei), []int{8, 3, 3, 2}},
		{"dst", p.Shape(Dst), []int{2, 8, 3, 5}}, {"bia", p.Shape(Bia), []int{8}}, {"result", p.Shape(p.Outputs()[0]), []int{2, 8, 3, 5}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s is %v, not %v", c.what, c.got, c.want)
		}
	}
	if got := p.Terms(); got != 3*6 {
		t.Errorf("%d terms", got)
	}
	if got, want := p.FLOPs(), 2.0*2*8*3*5*18; got != want {
		t.Errorf("%v FLOPs, not %v", got, want)
	}
	if got, want := p.Bytes(), int64(4*(2*6*9*10+8*3*3*2+8+2*8*3*5)); got != want {
		t.Errorf("%d bytes, not %d", got, want)
	}
	p.Dir = BackwardData
	if !slices.Equal(p.Shape(p.Outputs()[0]), p.Shape(Src)) {
		t.Errorf("backward data computes %v", p.Shape(p.Outputs()[0]))
	}
	p.Dir = BackwardWeights
	if !slices.Equal(p.Shape(p.Outputs()[0]), p.Shape(Wei)) {
		t.Errorf("backward weights computes %v", p.Shape(p.Outputs()[0]))
	}
}

func TestNewDeconv(t *testing.T) {
	p, err := NewDeconv([]int{1, 4, 5}, []int{4, 3, 3}, Params{Stride: []int{2}, PadL: []int{1}, OutputPad: []int{1}, Groups: 2})
	p = must(t, p, err)
	if p.OC != 6 || p.Axes[2] != axis(5, 10, 3, 2, 1, 1, 1) || !slices.Equal(p.Shape(Wei), []int{4, 3, 3}) {
		t.Errorf("%+v", p)
	}
	if got, want := p.FLOPs(), 2.0*4*5*3*3; got != want {
		t.Errorf("%v FLOPs, not %v", got, want)
	}
	// The output padding is less than the larger of stride and dilation.
	if _, err := NewDeconv([]int{1, 4, 5}, []int{4, 3, 3}, Params{OutputPad: []int{1}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("output padding of 1 with stride 1: %v", err)
	}
	if _, err := NewDeconv([]int{1, 4, 5}, []int{4, 3, 3}, Params{OutputPad: []int{1}, Dilation: []int{2}}); err != nil {
		t.Errorf("output padding of 1 with dilation 2: %v", err)
	}
	if _, err := NewDeconv([]int{1, 4, 5}, []int{4, math.MaxInt, 3}, Params{Groups: 3}); !errors.Is(err, ErrInvalid) {
		t.Errorf("output channels that overflow: %v", err)
	}
}

func TestNewPool(t *testing.T) {
	p, err := NewPool(AvgInclude, []int{2, 3, 5, 6}, []int{2, 3}, Params{Ceil: true})
	p = must(t, p, err)
	if p.Axes[1] != axis(5, 3, 2, 2, 0, 0, 1) || p.Axes[2] != axis(6, 2, 3, 3, 0, 0, 1) || p.OC != 3 {
		t.Errorf("stride is not the kernel: %+v", p)
	}
	if p.Shape(Wei) != nil || p.Shape(Bia) != nil || p.Terms() != 6 || p.FLOPs() != 2*3*3*2*6 || p.Bytes() != 4*(2*3*30+2*3*6) {
		t.Errorf("shapes %v %v, %d terms, %v FLOPs, %d bytes", p.Shape(Wei), p.Shape(Bia), p.Terms(), p.FLOPs(), p.Bytes())
	}
	p, err = NewPool(Max, []int{2, 3, 5, 6, 7}, nil, Params{})
	p = must(t, p, err)
	if !slices.Equal(p.Shape(Dst), []int{2, 3, 1, 1, 1}) || p.Taps() != 5*6*7 {
		t.Errorf("global pooling: %v of %d cells", p.Shape(Dst), p.Taps())
	}
}

// TestSamePadding follows ONNX: output ⌈in/stride⌉, the odd cell at the end for upper, at the start for lower.
func TestSamePadding(t *testing.T) {
	for in := 1; in <= 12; in++ {
		for k := 1; k <= 5; k++ {
			for s := 1; s <= 4; s++ {
				for d := 1; d <= 3; d++ {
					o := Params{Stride: []int{s}, Dilation: []int{d}}
					o.SameUpper = true
					up, err := NewConv([]int{1, 1, in}, []int{1, 1, k}, o)
					if err != nil {
						t.Fatal(err)
					}
					o.SameUpper, o.Lower = false, true
					low, err := NewConv([]int{1, 1, in}, []int{1, 1, k}, o)
					if err != nil {
						t.Fatal(err)
					}
					u, l := up.Axes[2], low.Axes[2]
					if u.Out != (in+s-1)/s || l.Out != u.Out {
						t.Fatalf("in %d kernel %d stride %d: outputs %d and %d", in, k, s, u.Out, l.Out)
					}
					if d := u.PadR - u.PadL; d != 0 && d != 1 || l.PadL != u.PadR || l.PadR != u.PadL {
						t.Fatalf("in %d kernel %d stride %d: paddings %+v and %+v", in, k, s, u, l)
					}
				}
			}
		}
	}
	// A transposed convolution makes in·stride.
	for _, op := range []int{0, 1} {
		p, err := NewDeconv([]int{1, 1, 5}, []int{1, 1, 4}, Params{Stride: []int{2}, OutputPad: []int{op}, SameUpper: true})
		if p = must(t, p, err); p.Axes[2].Out != 10 {
			t.Errorf("output padding %d: %+v", op, p.Axes[2])
		}
	}
}

func TestBuildErrors(t *testing.T) {
	x4, w4 := []int{1, 2, 8, 8}, []int{3, 2, 3, 3}
	for _, c := range []struct {
		name     string
		src, wei []int
		o        Params
		want     string
	}{
		{"ranks differ", x4, []int{3, 2, 3}, Params{}, "same number of dimensions"},
		{"no spatial sizes", []int{1, 2}, []int{3, 2}, Params{}, "1 to 3 spatial sizes"},
		{"4-D", []int{1, 2, 3, 3, 3, 3}, []int{1, 2, 3, 3, 3, 3}, Params{}, "1 to 3 spatial sizes"},
		{"channels", x4, []int{3, 1, 3, 3}, Params{}, "source has 2 channels, weights want 1 in 1 groups"},
		{"groups", x4, []int{3, 1, 3, 3}, Params{Groups: 2}, "multiples of g2"},
		{"negative groups", x4, w4, Params{Groups: -1}, "in -1 groups"},
		{"stride count", x4, w4, Params{Stride: []int{1, 1, 1}}, "stride has 3 values for 2 spatial dimensions"},
		{"zero stride", x4, w4, Params{Stride: []int{0}}, "not 0"},
		{"zero dilation", x4, w4, Params{Dilation: []int{0}}, "not 0"},
		{"empty source", []int{1, 2, 0, 8}, w4, Params{}, "not 0"},
		{"large kernel", x4, []int{3, 2, 9, 3}, Params{}, "use a smaller kernel or more padding"},
		{"cropped away", x4, w4, Params{PadL: []int{-3}}, "padded source's 2"},
		{"negative batch", []int{-1, 2, 8, 8}, w4, Params{}, "mb-1"},
		{"huge padding", x4, w4, Params{PadL: []int{math.MaxInt}}, "padding p"},
	} {
		_, err := NewConv(c.src, c.wei, c.o)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, not %q", c.name, err, c.want)
		}
	}
	if _, err := NewPool(Max, []int{1, 2}, nil, Params{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("pooling without spatial sizes: %v", err)
	}
	if _, err := NewPool(PoolKind(9), []int{1, 2, 8}, []int{2}, Params{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("unknown pooling: %v", err)
	}
	if _, err := NewPool(Max, []int{1, 2, 8}, []int{2}, Params{Bias: true, Post: []PostOp{{Kind: ReLU}}, Groups: 2}); err != nil {
		t.Errorf("pooling ignores what only convolution has: %v", err)
	}
}

func TestValidate(t *testing.T) {
	p, err := NewConv([]int{1, 2, 8, 8}, []int{4, 2, 3, 3}, Params{})
	good := must(t, p, err)
	for _, c := range []struct {
		name   string
		change func(*Problem)
		want   string
	}{
		{"zero value", func(p *Problem) { *p = Problem{} }, "0 spatial dimensions"},
		{"operation", func(p *Problem) { p.Op = 9 }, "unknown operation"},
		{"type", func(p *Problem) { p.Type.Src = 9 }, "unknown data type"},
		{"direction", func(p *Problem) { p.Dir = 9 }, "unknown operation"},
		{"post-op", func(p *Problem) { p.Post[0].Kind = 99 }, "unknown post-op"},
		{"rank", func(p *Problem) { p.Rank = 1 }, "axis h is set but the rank is 1"},
		{"too deep", func(p *Problem) { p.Rank = 4 }, "4 spatial dimensions"},
		{"output", func(p *Problem) { p.Axes[1].Out++ }, "output o is 7; source, kernel, stride and padding make 6"},
		{"stride", func(p *Problem) { p.Axes[2].Stride = -1 }, "stride s is -1"},
		{"right padding", func(p *Problem) { p.Axes[2].PadR = math.MinInt }, "right padding r"},
		{"channels", func(p *Problem) { p.OC = 0 }, "oc0"},
		{"pool weights", func(p *Problem) { p.Op, p.OC, p.Dir = Pool, 2, BackwardWeights }, "pool has no"},
		{"pool channels", func(p *Problem) { p.Op = Pool }, "pool has no"},
	} {
		p := good
		c.change(&p)
		if err := p.Validate(); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, not %q", c.name, err, c.want)
		}
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

// TestHugeSizes makes sure that no size of a valid problem overflows.
func TestHugeSizes(t *testing.T) {
	for _, text := range []string{
		"mb1ic16384oc16384iw1073741824kw1", // 2^44 elements each
		"mb2147483647ic8192oc8192iw16384kw1",
		"mb0ic8192oc8192ih1048576kh1",
		"pool:max:mb1ic1ih536870000kh1ph2",
	} {
		p, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if p.Bytes() < 0 || p.Terms() < 1 || p.FLOPs() < 0 || p.Taps() < 1 {
			t.Errorf("%s: %d bytes, %d terms, %v FLOPs", text, p.Bytes(), p.Terms(), p.FLOPs())
		}
	}
}

// Inside counts taps one by one.
func TestInside(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	seen := 0
	for range 3000 {
		p := Random(r, 8)
		if p.Op != Conv && p.Op != Deconv || p.PadMode != Zeros {
			if p.Inside() != 1 {
				t.Errorf("%s: %v", p.String(), p.Inside())
			}
			continue
		}
		inside, all := 1.0, 1.0
		for _, a := range p.Axes {
			in, out := a.In, a.Out
			if p.Op == Deconv {
				in, out = out, in
			}
			if out*a.Kernel > 1<<14 {
				inside = -1
				break
			}
			n := 0
			for o := range out {
				for k := range a.Kernel {
					if at := o*a.Stride - a.PadL + k*a.Dilation; at >= 0 && at < in {
						n++
					}
				}
			}
			inside, all = inside*float64(n), all*float64(out*a.Kernel)
		}
		if inside < 0 {
			continue
		}
		if seen++; math.Abs(p.Inside()-inside/max(all, 1)) > 1e-12 && all > 0 {
			t.Errorf("%s: %v, counted %v of %v", p.String(), p.Inside(), inside, all)
		}
	}
	if seen < 500 {
		t.Errorf("%d problems", seen)
	}
}
