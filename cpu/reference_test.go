package cpu

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

func parse(t *testing.T, text string) problem.Problem {
	t.Helper()
	p, err := problem.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestReferenceByHand(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		name, text    string
		bias          bool
		act           problem.Activation
		dir           problem.Dir
		src, wei, bia []float32
		diff          []float32
		want          []float64
	}{
		{name: "valid", text: "mb1ic1oc1iw4kw3", src: []float32{1, 2, 3, 5}, wei: []float32{1, 0, -1}, want: []float64{-2, -3}},
		{name: "padded", text: "mb1ic1oc1iw4kw3pw1", src: []float32{1, 2, 3, 5}, wei: []float32{1, 0, -1}, want: []float64{-2, -2, -3, 3}},
		{name: "cropped", text: "mb1ic1oc1iw5kw2pw-1", src: []float32{9, 1, 2, 3, 9}, wei: []float32{1, 10}, want: []float64{21, 32}},
		{name: "stride and dilation", text: "mb1ic1oc1iw6kw2sw3dw1", src: []float32{1, 2, 3, 4, 5, 6}, wei: []float32{1, 10}, want: []float64{31, 64}},
		{name: "bias and relu", text: "mb1ic1oc2iw2kw1", bias: true, act: problem.ReLU, src: []float32{1, -1}, wei: []float32{2, -2},
			bia: []float32{1, -1}, want: []float64{3, 0, 0, 1}},
		{name: "relu of NaN", text: "mb1ic1oc1iw2kw1", act: problem.ReLU, src: []float32{nan, -1}, wei: []float32{1}, want: []float64{math.NaN(), 0}},
		{name: "groups", text: "g2mb1ic4oc2iw1kw1", src: []float32{1, 2, 3, 4}, wei: []float32{1, 10, 100, 1000}, want: []float64{21, 4300}},
		{name: "2-D", text: "mb1ic1oc1ih2iw3kh2kw2", src: []float32{1, 2, 3, 4, 5, 6}, wei: []float32{1, 10, 100, 1000}, want: []float64{5421, 6532}},
		{name: "deconv", text: "deconv:mb1ic1oc1iw2kw3sw2", src: []float32{1, 2}, wei: []float32{1, 10, 100}, want: []float64{1, 10, 102, 20, 200}},
		{name: "deconv, padded", text: "deconv:mb1ic1oc1iw2ow4kw3sw2pw1rw0", src: []float32{1, 2}, wei: []float32{1, 10, 100}, want: []float64{10, 102, 20, 200}},
		{name: "backward data", text: "mb1ic1oc1iw3kw2", dir: problem.BackwardData, wei: []float32{1, 10}, diff: []float32{1, 2}, want: []float64{1, 12, 20}},
		{name: "backward weights", text: "mb1ic1oc1iw3kw2", dir: problem.BackwardWeights, src: []float32{1, 2, 3}, diff: []float32{1, 10}, want: []float64{21, 32}},
		{name: "max", text: "pool:max:mb1ic1iw4kw2", src: []float32{-1, -3, -2, 0}, want: []float64{-1, -2, 0}},
		{name: "max skips padding", text: "pool:max:mb1ic1iw2kw2pw1", src: []float32{-1, -2}, want: []float64{-1, -1, -2}},
		{name: "NaN wins", text: "pool:max:mb1ic1iw4kw2sw2", src: []float32{nan, 1, inf, nan}, want: []float64{math.NaN(), math.NaN()}},
		{name: "all -inf", text: "pool:max:mb1ic1iw2kw2", src: []float32{-inf, -inf}, want: []float64{math.Inf(-1)}},
		{name: "empty max", text: "pool:max:mb1ic1iw1kw1pw1", src: []float32{7}, want: []float64{math.Inf(-1), 7, math.Inf(-1)}},
		{name: "empty average", text: "pool:avg_np:mb1ic1iw1kw1pw1", src: []float32{7}, want: []float64{0, 7, 0}},
		{name: "exclude", text: "pool:avg_np:mb1ic1iw3kw3pw1", src: []float32{1, 2, 3}, want: []float64{1.5, 2, 2.5}},
		{name: "include", text: "pool:avg_ip:mb1ic1iw3kw3pw1", src: []float32{1, 2, 3}, want: []float64{1, 2, 5. / 3}},
		// The last window hangs over by ceil rounding: only AvgFull counts that.
		{name: "overhang, include", text: "pool:avg_ip:mb1ic1iw5ow3kw2sw2rw0", src: []float32{1, 2, 3, 4, 5}, want: []float64{1.5, 3.5, 5}},
		{name: "overhang, exclude", text: "pool:avg_np:mb1ic1iw5ow3kw2sw2rw0", src: []float32{1, 2, 3, 4, 5}, want: []float64{1.5, 3.5, 5}},
		{name: "overhang, full", text: "pool:avg_p:mb1ic1iw5ow3kw2sw2rw0", src: []float32{1, 2, 3, 4, 5}, want: []float64{1.5, 3.5, 2.5}},
		// Overhang past right padding: source 4 and padding 1 count, the cell beyond does not.
		{name: "padding and overhang", text: "pool:avg_ip:mb1ic1iw4ow3kw3sw2pw1rw1", src: []float32{1, 2, 3, 4}, want: []float64{1, 3, 2}},
		{name: "tie goes to the first", text: "pool:max:mb1ic1iw4kw4", dir: problem.BackwardData, src: []float32{1, 3, 3, 2}, diff: []float32{5}, want: []float64{0, 5, 0, 0}},
		{name: "NaN takes the gradient", text: "pool:max:mb1ic1iw3kw3", dir: problem.BackwardData, src: []float32{1, nan, 3}, diff: []float32{5}, want: []float64{0, 5, 0}},
		{name: "first of -inf takes it", text: "pool:max:mb1ic1iw3kw3", dir: problem.BackwardData, src: []float32{-inf, -inf, -inf}, diff: []float32{5}, want: []float64{5, 0, 0}},
		{name: "average spreads", text: "pool:avg_np:mb1ic1iw3kw2pw1", dir: problem.BackwardData, diff: []float32{1, 2, 4, 8}, want: []float64{2, 3, 10}},
		{name: "full spreads", text: "pool:avg_p:mb1ic1iw3kw2pw1", dir: problem.BackwardData, diff: []float32{1, 2, 4, 8}, want: []float64{1.5, 3, 6}},
		{name: "empty batch", text: "mb0ic1oc1iw4kw3", wei: []float32{1, 0, -1}, want: nil},
	} {
		p := parse(t, c.text)
		p.Bias, p.Act, p.Dir = c.bias, c.act, c.dir
		got := reference(t, p, driver.Operands{Src: c.src, Wei: c.wei, Bia: c.bia, DiffDst: c.diff}).Value
		if !slices.EqualFunc(got, c.want, func(a, b float64) bool { return a == b || a != a && b != b }) {
			t.Errorf("%s: %v, not %v", c.name, got, c.want)
		}
	}
}

func TestMagnitudeAndTerms(t *testing.T) {
	p := parse(t, "mb1ic1oc1iw4kw3pw1")
	p.Bias = true
	got := reference(t, p, driver.Operands{Src: []float32{1, -2, 3, 4}, Wei: []float32{2, 1, -1}, Bia: []float32{-5}})
	if want := []float64{-5 + 3, -5 + 2 - 2 - 3, -5 - 4 + 3 - 4, -5 + 6 + 4}; !slices.Equal(got.Value, want) {
		t.Errorf("values %v, not %v", got.Value, want)
	}
	if want := []float64{5 + 3, 5 + 2 + 2 + 3, 5 + 4 + 3 + 4, 5 + 6 + 4}; !slices.Equal(got.Magnitude, want) {
		t.Errorf("magnitudes %v, not %v", got.Magnitude, want)
	}
	if want := []int64{2, 3, 3, 2}; !slices.Equal(got.Terms, want) {
		t.Errorf("terms %v, not %v", got.Terms, want)
	}
}

// scatter is the convolution by its other formulation: each source element is sent to the outputs that it reaches.
func scatter(p *problem.Problem, in driver.Operands) []float64 {
	srcSize, dstSize := [3]int{}, [3]int{}
	kernel := [3]int{}
	for i, a := range p.Axes {
		srcSize[i], dstSize[i], kernel[i] = a.In, a.Out, a.Kernel
	}
	icg, ocg := p.IC/p.Groups, p.OC/p.Groups
	dst := make([]float64, problem.Elems(p.Shape(problem.Dst)))
	for i := range in.Src {
		nc, at := split(int64(i), srcSize)
		n, c := nc/p.IC, nc%p.IC
		for j := range int(p.Taps()) {
			_, tap := split(int64(j), kernel)
			to, ok := 0, true
			for x, a := range p.Axes {
				if p.Op == problem.Deconv {
					pos := at[x]*a.Stride + tap[x]*a.Dilation - a.PadL
					ok = ok && pos >= 0 && pos < a.Out
					to = to*a.Out + pos
				} else {
					pos := at[x] + a.PadL - tap[x]*a.Dilation
					ok = ok && pos >= 0 && pos%a.Stride == 0 && pos/a.Stride < a.Out
					to = to*a.Out + pos/a.Stride
				}
			}
			if !ok {
				continue
			}
			for o := range ocg {
				channel := c/icg*ocg + o
				w := (channel*icg+c%icg)*int(p.Taps()) + j
				if p.Op == problem.Deconv {
					w = (c*ocg+o)*int(p.Taps()) + j
				}
				dst[(n*p.OC+channel)*volume(dstSize)+to] += float64(in.Src[i]) * float64(in.Wei[w])
			}
		}
	}
	for i := range dst {
		if p.Bias {
			dst[i] += float64(in.Bia[i/volume(dstSize)%p.OC])
		}
		if p.Act == problem.ReLU {
			dst[i] = max(dst[i], 0)
		}
	}
	return dst
}

func TestConvolutionAgainstScatter(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, op := range []problem.Op{problem.Conv, problem.Deconv} {
		for range 400 {
			p := randomProblem(r, op)
			in := operandsOf(r, &p)
			if got, want := reference(t, p, in).Value, scatter(&p, in); !slices.Equal(got, want) {
				t.Fatalf("%s:\n got %v\nwant %v", p.String(), got, want)
			}
		}
	}
}

func dot(a []float64, b []float32) (s float64) {
	for i, v := range a {
		s += v * float64(b[i])
	}
	return s
}

// TestAdjoint: ⟨conv(x, w), y⟩ = ⟨x, backward data(y, w)⟩ = ⟨w, backward weights(x, y)⟩, exactly with whole numbers.
func TestAdjoint(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, op := range []problem.Op{problem.Conv, problem.Deconv} {
		for range 300 {
			p := randomProblem(r, op)
			p.Bias, p.Act = false, problem.Identity
			in := operandsOf(r, &p)
			want := dot(reference(t, p, in).Value, in.DiffDst)
			p.Dir = problem.BackwardData
			if got := dot(reference(t, p, driver.Operands{Wei: in.Wei, DiffDst: in.DiffDst}).Value, in.Src); got != want {
				t.Fatalf("%s: backward data gives %v, not %v", p.String(), got, want)
			}
			p.Dir = problem.BackwardWeights
			if got := dot(reference(t, p, driver.Operands{Src: in.Src, DiffDst: in.DiffDst}).Value, in.Wei); got != want {
				t.Fatalf("%s: backward weights gives %v, not %v", p.String(), got, want)
			}
		}
	}
	// Average pooling is linear too; its divisors make the sums inexact.
	for range 300 {
		p := randomProblem(r, problem.Pool)
		if p.Kind == problem.Max {
			continue
		}
		in := operandsOf(r, &p)
		want := dot(reference(t, p, in).Value, in.DiffDst)
		p.Dir = problem.BackwardData
		if got := dot(reference(t, p, driver.Operands{DiffDst: in.DiffDst}).Value, in.Src); math.Abs(got-want) > 1e-9 {
			t.Fatalf("%s: backward data gives %v, not %v", p.String(), got, want)
		}
	}
}

// TestDeconvIsBackwardData: a transposed convolution is the backward data of the convolution with sizes swapped.
func TestDeconvIsBackwardData(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		c := randomProblem(r, problem.Conv)
		c.Bias, c.Act, c.Dir = false, problem.Identity, problem.BackwardData
		d := c
		d.Op, d.Dir, d.IC, d.OC = problem.Deconv, problem.Forward, c.OC, c.IC
		for i := range d.Axes {
			d.Axes[i].In, d.Axes[i].Out = c.Axes[i].Out, c.Axes[i].In
		}
		if d.Validate() != nil { // a right padding that crops more than a stride has no transpose
			continue
		}
		in := operandsOf(r, &c)
		want := reference(t, c, driver.Operands{Wei: in.Wei, DiffDst: in.DiffDst}).Value
		if got := reference(t, d, driver.Operands{Src: in.DiffDst, Wei: in.Wei}).Value; !slices.Equal(got, want) {
			t.Fatalf("%s:\n got %v\nwant %v", d.String(), got, want)
		}
	}
}

// TestPoolingAgainstFormula follows PyTorch's words: start = o·s − p, end = min(start + k, in + p), then clipped.
func TestPoolingAgainstFormula(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 600 {
		p := randomProblem(r, problem.Pool)
		for i := range p.Axes {
			p.Axes[i].Dilation = 1 // the formula has none
		}
		if p.Validate() != nil {
			continue
		}
		in := operandsOf(r, &p)
		inSize, outSize := spatialSizes(&p)
		got := reference(t, p, in).Value
		for i := range got {
			nc, at := split(int64(i), outSize)
			var from, to [3]int
			inside, padded := 1, 1
			for x, a := range p.Axes {
				start := at[x]*a.Stride - a.PadL
				end := min(start+a.Kernel, a.In+a.PadR)
				from[x], to[x] = max(start, 0), min(end, a.In)
				padded *= max(0, end-start)
				inside *= max(0, to[x]-from[x])
			}
			total, best := 0.0, math.Inf(-1)
			for z := from[0]; z < to[0]; z++ {
				for y := from[1]; y < to[1]; y++ {
					for x := from[2]; x < to[2]; x++ {
						v := float64(in.Src[((nc*inSize[0]+z)*inSize[1]+y)*inSize[2]+x])
						total, best = total+v, max(best, v)
					}
				}
			}
			want := best
			switch {
			case p.Kind == problem.Max:
			case inside == 0:
				want = 0
			default:
				want = total / float64(map[problem.PoolKind]int{
					problem.AvgExclude: inside, problem.AvgInclude: padded, problem.AvgFull: int(p.Taps())}[p.Kind])
			}
			if got[i] != want {
				t.Fatalf("%s element %d: %v, not %v", p.String(), i, got[i], want)
			}
		}
	}
}

func TestReferenceOfElements(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for _, op := range []problem.Op{problem.Conv, problem.Deconv, problem.Pool} {
		for _, dir := range []problem.Dir{problem.Forward, problem.BackwardData, problem.BackwardWeights} {
			p := randomProblem(r, op)
			if p.Dir = dir; p.Validate() != nil {
				continue
			}
			in := operandsOf(r, &p)
			all := reference(t, p, in)
			last := int64(len(all.Value)) - 1
			some, err := (&Device{}).Reference(t.Context(), p, in, []int64{last, 0})
			if err != nil || some.Value[0] != all.Value[last] || some.Terms[1] != all.Terms[0] || len(some.Value) != 2 {
				t.Errorf("%s %s: %v, %v", dir, p.String(), some, err)
			}
			for _, at := range []int64{-1, last + 1} {
				if _, err := (&Device{}).Reference(t.Context(), p, in, []int64{at}); !errors.Is(err, driver.ErrInvalid) {
					t.Errorf("%s %s, element %d: %v", dir, p.String(), at, err)
				}
			}
		}
	}
	p := parse(t, "mb1ic1oc1iw4kw3")
	if _, err := (&Device{}).Reference(t.Context(), p, driver.Operands{Src: make([]float32, 4), Wei: make([]float32, 2)}, nil); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("short weights: %v", err)
	}
}
