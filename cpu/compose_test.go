package cpu

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
)

// randomCore is a random valid f32 problem in NCHW of an operation and direction, without post-ops, with a change.
func randomCore(r *rand.Rand, op problem.Op, dir problem.Dir, change func(*problem.Problem)) problem.Problem {
	for {
		p := problem.Random(r, 9)
		p = p.Core()
		p.Type = problem.Types{}
		p.Dir, p.Bias, p.Post, p.Then = dir, false, [problem.MaxPost]problem.PostOp{}, problem.Fusion{}
		if change != nil {
			change(&p)
		}
		if p.Op == op && p.Validate() == nil {
			return p
		}
	}
}

// floatsOf are float64 values that float32 holds.
func floatsOf(v []float64) driver.Operand {
	o := driver.Operand{F32: make([]float32, len(v))}
	for i, x := range v {
		o.F32[i] = float32(x)
	}
	return o
}

func dot(a []float64, b driver.Operand) (s float64) {
	for i, v := range a {
		s += v * float64(b.F32[i])
	}
	return s
}

// directed is the problem in another direction.
func directed(p problem.Problem, d problem.Dir) problem.Problem { p.Dir = d; return p }

// TestAdjoint: ⟨A x, y⟩ = ⟨x, Aᵀ y⟩, exactly with whole numbers: every backward is the adjoint of its forward.
func TestAdjoint(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, op := range []problem.Op{problem.Conv, problem.Deconv, problem.Im2col, problem.Col2im, problem.Unpool} {
		for range 200 {
			p := randomCore(r, op, problem.Forward, nil)
			in := operands(t, r, &p)
			y := driver.Operand{F32: integers(r, problem.Elems(p.Shape(problem.Dst)))}
			if op == problem.Unpool { // where several meet, one is lost: the adjoint holds without
				for i := range in[ind].I32 {
					in[ind].I32[i] = -1
				}
				in[ind].I32 = spread(r, &p, in[ind].I32)
			}
			want := dot(values(t, p, in), y)
			back := in
			back[dif] = y
			if got := dot(values(t, directed(p, problem.BackwardData), back), in[src]); got != want {
				t.Fatalf("%s: backward data gives %v, not %v", p.String(), got, want)
			}
			if op == problem.Conv || op == problem.Deconv {
				if got := dot(values(t, directed(p, problem.BackwardWeights), back), in[wei]); got != want {
					t.Fatalf("%s: backward weights gives %v, not %v", p.String(), got, want)
				}
				one := driver.Operand{F32: make([]float32, p.OC)}
				for i := range one.F32 {
					one.F32[i] = 1
				}
				total := 0.0
				for _, v := range y.F32 {
					total += float64(v)
				}
				if got := dot(values(t, directed(p, problem.BackwardBias), back), one); got != total {
					t.Fatalf("%s: backward bias gives %v, not %v", p.String(), got, total)
				}
			}
		}
	}
	// Average pooling is linear too; its divisors make the sums inexact.
	for range 400 {
		p := randomCore(r, problem.Pool, problem.Forward, func(p *problem.Problem) {
			if p.Kind == problem.Max {
				p.Kind, p.Indices = problem.AvgInclude, problem.NoIndices
			}
		})
		if p.Kind == problem.Lp {
			continue
		}
		in := operands(t, r, &p)
		y := driver.Operand{F32: integers(r, problem.Elems(p.Shape(problem.Dst)))}
		got := dot(values(t, directed(p, problem.BackwardData), given(dif, y.F32)), in[src])
		if want := dot(values(t, p, in), y); math.Abs(got-want) > 1e-4 {
			t.Fatalf("%s: backward data gives %v, not %v", p.String(), got, want)
		}
	}
}

// spread are unpooling's indices such that no two meet.
func spread(r *rand.Rand, p *problem.Problem, index []int32) []int32 {
	in, out := spatialSizes(p)
	for nc := range p.N * p.IC {
		cells := r.Perm(volume(out))
		for i := range volume(in) {
			if i < len(cells) {
				index[nc*volume(in)+i] = int32(indexOf(p.Indices, nc, cells[i], out))
			}
		}
	}
	return index
}

// scattered is the convolution by its other formulation: each source element is sent to the outputs that it reaches.
func scattered(p *problem.Problem, src, wei []float64) []float64 {
	in, out := spatialSizes(p)
	kernel := [3]int{p.Axes[0].Kernel, p.Axes[1].Kernel, p.Axes[2].Kernel}
	icg, ocg := p.IC/p.Groups, p.OC/p.Groups
	dst := make([]float64, p.N*p.OC*volume(out))
	for i := range src {
		nc, at := split(int64(i), in)
		n, c := nc/p.IC, nc%p.IC
		for j := range int(p.Taps()) {
			_, tap := split(int64(j), kernel)
			to, ok := 0, true
			for x, a := range p.Axes {
				pos := at[x] + a.PadL - tap[x]*a.Dilation
				if p.Op == problem.Deconv {
					pos = (at[x]*a.Stride + tap[x]*a.Dilation - a.PadL) * a.Stride
				}
				ok = ok && pos >= 0 && pos%a.Stride == 0 && pos/a.Stride < a.Out
				to = to*a.Out + pos/a.Stride
			}
			for o := 0; ok && o < ocg; o++ {
				channel := c/icg*ocg + o
				w := (channel*icg+c%icg)*int(p.Taps()) + j
				if p.Op == problem.Deconv {
					w = (c*ocg+o)*int(p.Taps()) + j
				}
				dst[(n*p.OC+channel)*volume(out)+to] += src[i] * wei[w]
			}
		}
	}
	return dst
}

func float64s(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}

func TestConvolutionAgainstScatter(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, op := range []problem.Op{problem.Conv, problem.Deconv} {
		for range 300 {
			p := randomCore(r, op, problem.Forward, func(p *problem.Problem) { p.PadMode = problem.Zeros })
			in := operands(t, r, &p)
			if got, want := values(t, p, in), scattered(&p, float64s(in[src].F32), float64s(in[wei].F32)); !slices.Equal(got, want) {
				t.Fatalf("%s:\n got %v\nwant %v", p.String(), got, want)
			}
		}
	}
}

// TestIntegersAgainstScatter takes the zero points off first, in float64, and rounds as ONNX's QLinearConv says.
func TestIntegersAgainstScatter(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 4))
	for range 400 {
		types := problem.Types{Src: problem.S8, Wei: problem.U8, Dst: []problem.DataType{problem.S32, problem.S8, problem.U8, problem.F32}[r.IntN(4)]}
		p := randomCore(r, problem.Conv, problem.Forward, func(p *problem.Problem) { p.PadMode, p.Type = problem.Zeros, types })
		in := operands(t, r, &p)
		q := in[qua].F32
		x, y := float64s(in[src].F32), float64s(in[wei].F32)
		for i := range x {
			x[i] -= float64(q[0])
		}
		for i := range y {
			y[i] -= float64(q[p.OC+i/(len(y)/p.OC)])
		}
		want := scattered(&p, x, y)
		_, out := spatialSizes(&p)
		for i, v := range want {
			o := i / volume(out) % p.OC
			v *= float64(q[2*p.OC+o]) // exact: a power of two
			switch types.Dst {
			case problem.F32:
				want[i] = v
			case problem.S8:
				want[i] = max(-128, min(127, math.RoundToEven(v)+float64(q[3*p.OC+o])))
			case problem.U8:
				want[i] = max(0, min(255, math.RoundToEven(v)+float64(q[3*p.OC+o])))
			}
		}
		if got := values(t, p, in); !slices.Equal(got, want) {
			t.Fatalf("%s:\n got %v\nwant %v", p.String(), got, want)
		}
	}
}

// TestDeconvIsBackwardData: a transposed convolution is the backward data of the convolution with sizes swapped.
func TestDeconvIsBackwardData(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		c := randomCore(r, problem.Conv, problem.BackwardData, func(p *problem.Problem) { p.PadMode = problem.Zeros })
		d := c
		d.Op, d.Dir, d.IC, d.OC = problem.Deconv, problem.Forward, c.OC, c.IC
		for i := range d.Axes {
			d.Axes[i].In, d.Axes[i].Out = c.Axes[i].Out, c.Axes[i].In
		}
		if d.Validate() != nil { // a right padding that crops more than a stride has no transpose
			continue
		}
		in := operands(t, r, &c)
		want := values(t, c, in)
		if got := values(t, d, given(src, in[dif].F32, wei, in[wei].F32)); !slices.Equal(got, want) {
			t.Fatalf("%s:\n got %v\nwant %v", d.String(), got, want)
		}
	}
}

// TestPaddingModes: a padding mode is a padded copy, then a valid convolution. The copy is made cell by cell by walking
// from the edge, not by a formula.
func TestPaddingModes(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 8))
	for range 300 {
		p := randomCore(r, problem.Conv, problem.Forward, func(p *problem.Problem) { p.PadMode = problem.PadMode(1 + r.IntN(3)) })
		in := operands(t, r, &p)
		q := p.Padded()
		size, _ := spatialSizes(&p)
		large := [3]int{q.Axes[0].In, q.Axes[1].In, q.Axes[2].In}
		walk := func(u, n int) int {
			step := 1
			if u < 0 {
				u, step = -u, -1
			}
			at := 0
			for range u {
				if at += step; at >= 0 && at < n {
					continue
				}
				switch p.PadMode {
				case problem.Replicate:
					at -= step
				case problem.Circular:
					at -= step * n
				case problem.Reflect:
					step = -step
					at += 2 * step
				}
			}
			return at
		}
		copied := make([]float32, p.N*p.IC*volume(large))
		for i := range copied {
			nc, x := split(int64(i), large)
			at := 0
			for a := range 3 {
				at = at*size[a] + walk(x[a]-p.Axes[a].PadL, size[a])
			}
			copied[i] = in[src].F32[nc*volume(size)+at]
		}
		if got, want := values(t, p, in), values(t, q, given(src, copied, wei, in[wei].F32)); !slices.Equal(got, want) {
			t.Fatalf("%s:\n got %v\nwant %v", p.String(), got, want)
		}
	}
}

// TestColumnsTimesWeights: im2col, then a matrix product, is convolution; col2im of a product its backward data.
func TestColumnsTimesWeights(t *testing.T) {
	r := rand.New(rand.NewPCG(18, 8))
	for range 200 {
		c := randomCore(r, problem.Conv, problem.Forward, func(p *problem.Problem) { p.PadMode, p.Groups = problem.Zeros, 1 })
		in := operands(t, r, &c)
		m := c
		m.Op, m.OC = problem.Im2col, c.IC
		if m.Validate() != nil {
			continue
		}
		_, out := spatialSizes(&c)
		rows, cols := c.IC*int(c.Taps()), volume(out)
		col := values(t, m, in)
		want := make([]float64, c.N*c.OC*cols)
		for i := range want {
			n, o, x := i/cols/c.OC, i/cols%c.OC, i%cols
			for k := range rows {
				want[i] += float64(in[wei].F32[o*rows+k]) * col[(n*rows+k)*cols+x]
			}
		}
		if got := values(t, c, in); !slices.Equal(got, want) {
			t.Fatalf("%s: %v, not %v", c.String(), got, want)
		}
		product := make([]float64, c.N*rows*cols)
		dy := integers(r, int64(len(want)))
		for i := range product {
			n, k, x := i/cols/rows, i/cols%rows, i%cols
			for o := range c.OC {
				product[i] += float64(in[wei].F32[o*rows+k]) * float64(dy[(n*c.OC+o)*cols+x])
			}
		}
		m.Op = problem.Col2im
		back := values(t, directed(c, problem.BackwardData), given(dif, dy, wei, in[wei].F32))
		if got := values(t, m, driver.Operands{src: floatsOf(product)}); !slices.Equal(got, back) {
			t.Fatalf("%s: %v, not %v", m.String(), got, back)
		}
	}
}

// TestDeformableAsConvolution: offsets of 0 leave a convolution, and offsets of whole cells one of a moved source.
func TestDeformableAsConvolution(t *testing.T) {
	r := rand.New(rand.NewPCG(19, 8))
	for range 200 {
		p := randomCore(r, problem.Deform, problem.Forward, func(p *problem.Problem) { p.Mask = false })
		c := p
		c.Op, c.OffsetGroups = problem.Conv, 0
		in := operands(t, r, &p)
		clear(in[off].F32)
		if got, want := values(t, p, in), values(t, c, in); !slices.Equal(got, want) {
			t.Fatalf("%s: %v, not %v", p.String(), got, want)
		}
		up, left := r.IntN(3)-1, r.IntN(3)-1
		_, out := spatialSizes(&p)
		for i := range in[off].F32 { // rows (h, w) by taps
			in[off].F32[i] = float32([2]int{up, left}[i/volume(out)%2])
		}
		for a, move := range map[int]int{1: up, 2: left} {
			c.Axes[a].PadL -= move
			c.Axes[a].PadR += move
		}
		if c.Validate() != nil {
			continue
		}
		if got, want := values(t, p, in), values(t, c, in); !slices.Equal(got, want) {
			t.Fatalf("%s, moved by %d, %d: %v, not %v", p.String(), up, left, got, want)
		}
	}
}

// TestUnpoolOfPool: unpooling what max pooling made puts each maximum back, and pooling that again changes nothing.
func TestUnpoolOfPool(t *testing.T) {
	r := rand.New(rand.NewPCG(20, 8))
	for range 200 {
		p := randomCore(r, problem.Pool, problem.Forward, func(p *problem.Problem) {
			p.Kind, p.Divisor, p.P, p.Adaptive, p.Indices = problem.Max, 0, 0, false, problem.IndexOrder(1+r.IntN(3))
			for i := range p.Axes {
				p.Axes[i].PadL, p.Axes[i].PadR, p.Axes[i].Dilation = 0, 0, 1
				p.Axes[i].Out = p.Axes[i].OutFloor()
			}
		})
		x := integers(r, problem.Elems(p.Shape(problem.Src)))
		for i := range x {
			x[i] += 4 // larger than the zeros of unpooling
		}
		y, where := values(t, p, given(src, x)), truth(t, p, given(src, x), ind)
		u := p
		u.Op = problem.Unpool
		for i := range u.Axes {
			u.Axes[i].In, u.Axes[i].Out = p.Axes[i].Out, p.Axes[i].In
		}
		index := make([]int32, len(where))
		for i, e := range where {
			index[i] = int32(e.Value)
		}
		back := values(t, u, driver.Operands{src: floatsOf(y), ind: {I32: index}})
		for i, v := range back {
			if v != 0 && v != float64(x[i]) {
				t.Fatalf("%s: unpooling puts %v where %v was", p.String(), v, x[i])
			}
		}
		if again := values(t, p, driver.Operands{src: floatsOf(back)}); !slices.Equal(again, y) {
			t.Fatalf("%s: %v, not %v", p.String(), again, y)
		}
		dy := integers(r, int64(len(y)))
		byIndex := values(t, directed(p, problem.BackwardData), driver.Operands{dif: {F32: dy}, ind: {I32: index}})
		q := directed(p, problem.BackwardData)
		q.Indices = problem.NoIndices
		if bySource := values(t, q, given(dif, dy, src, x)); !slices.Equal(byIndex, bySource) {
			t.Fatalf("%s: %v by index, %v by source", q.String(), byIndex, bySource)
		}
	}
}

// TestFusedIsInTurn: a fused pooling is the pooling of the convolution's result.
func TestFusedIsInTurn(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 8))
	for count := 0; count < 100; {
		p := problem.Random(r, 9)
		if p = p.Core(); !p.Fused() {
			continue
		}
		count++
		p.Post = [problem.MaxPost]problem.PostOp{{Kind: problem.ReLU}} // keeps whole numbers
		in := operands(t, r, &p)
		c, pool := p, p.ThenPool()
		c.Then = problem.Fusion{}
		want := values(t, pool, driver.Operands{src: floatsOf(values(t, c, in))})
		if got := values(t, p, in); !slices.Equal(got, want) {
			t.Fatalf("%s: %v, not %v", p.String(), got, want)
		}
	}
}

// TestLayouts: the layout changes the order in memory and nothing else, also of the elements that are asked for.
func TestLayouts(t *testing.T) {
	r := rand.New(rand.NewPCG(22, 8))
	for range 500 {
		p := problem.Random(r, 9)
		p.SrcLayout, p.DstLayout = problem.NHWC, problem.NHWC
		q := p
		q.SrcLayout, q.DstLayout = problem.NCHW, problem.NCHW
		in := operands(t, r, &p)
		plain := in
		for _, role := range p.Inputs() {
			if p.LayoutOf(role) == problem.NHWC {
				index := logical(&p, role)
				moved := driver.Operand{F32: slices.Clone(in[role].F32), I32: slices.Clone(in[role].I32)}
				for i := range in[role].F32 {
					moved.F32[index(int64(i))] = in[role].F32[i]
				}
				for i := range in[role].I32 {
					moved.I32[index(int64(i))] = in[role].I32[i]
				}
				plain[role] = moved
			}
		}
		for _, role := range p.Outputs() {
			got, want, index := truth(t, p, in, role), truth(t, q, plain, role), logical(&p, role)
			for i, e := range got {
				if e != want[index(int64(i))] && !same(e.Value, want[index(int64(i))].Value) {
					t.Fatalf("%s, element %d: %v, not %v", p.String(), i, e, want[index(int64(i))])
				}
			}
		}
	}
	p := problemtest.Parse(t, "src=nhwc:mb2ic3oc1ih2iw2kh1kw1")
	index := logical(&p, src)
	var at []int64
	for i := range int64(24) {
		at = append(at, index(i))
	}
	if want := []int64{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11, 12, 16, 20, 13, 17, 21, 14, 18, 22, 15, 19, 23}; !slices.Equal(at, want) {
		t.Errorf("memory order %v, not %v", at, want)
	}
}

// TestForeignIndices: backward max pooling ignores an index that its window does not hold, in every order.
func TestForeignIndices(t *testing.T) {
	p := problemtest.Parse(t, "pool:max:BWD_D:indices=flat:mb1ic2iw4kw2sw2")
	d := open(t)
	for _, c := range []struct {
		ind  []int32
		want []float32
	}{
		{[]int32{1, 2, 4, 7}, []float32{0, 1, 2, 0, 3, 0, 0, 4}},
		{[]int32{2, 1, 0, 3}, []float32{0, 0, 0, 0, 0, 0, 0, 0}}, // the neighbour's window, the other plane
		{[]int32{-1, 3, 5, 99}, []float32{0, 0, 0, 2, 0, 3, 0, 0}},
	} {
		truth, err := d.Reference(t.Context(), p, driver.Arithmetic{}, driver.Operands{problem.DiffDst: {F32: []float32{1, 2, 3, 4}}, problem.Ind: {I32: c.ind}}, problem.DiffSrc, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range truth {
			if e.Value != float64(c.want[i]) {
				t.Errorf("indices %v: element %d is %v, not %v", c.ind, i, e.Value, c.want[i])
			}
		}
	}
}
