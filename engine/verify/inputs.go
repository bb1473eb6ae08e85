package verify

import (
	"context"
	"fmt"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// seeds of the tensors; those of the first four are the golden files'.
var seeds = [problem.Roles]uint64{
	problem.Src: 1, problem.Wei: 2, problem.Bia: 3, problem.DiffDst: 4, problem.Ind: 5, problem.Offset: 6, problem.Mask: 7,
	problem.Residual: 8, problem.PostParams: 9, problem.Quant: 10,
}

// Input makes one of the problem's Inputs or Constants. It depends on problem, role and fill alone.
func Input(ctx context.Context, oracle driver.Oracle, p *problem.Problem, r problem.Role, fill Fill) (*engine.Tensor, error) {
	if r == problem.Ind && p.Op == problem.Pool {
		return poolIndices(ctx, oracle, p, fill)
	}
	t, err := engine.NewTensor(p.TypeOf(r), p.Shape(r)...)
	if err != nil {
		return nil, err
	}
	switch typ := p.TypeOf(r); {
	case r == problem.Ind:
		unpoolIndices(p, t.Int32s())
		return t, nil
	case r == problem.Quant:
		quantize(p, t.Float32s(), fill)
		return t, nil
	case typ == problem.F32:
		fill.Values(t.Float32s(), seeds[r])
		if r == problem.Offset && fill == Uniform {
			for i := range t.Float32s() {
				t.Float32s()[i] *= 3 // whole cells away, too
			}
		}
		return t, nil
	default:
		return t, fill.Elements(t, seeds[r], 0)
	}
}

// Elements fills a tensor of any type with elements first, first+1 … of a larger one, spread over what the type holds: in
// exact mode u8 is 0 to 6.
func (f Fill) Elements(t *engine.Tensor, seed uint64, first int64) error {
	if t.Type() == problem.F32 {
		f.ValuesFrom(t.Float32s(), seed, first)
		return nil
	}
	values := make([]float32, problem.Elems(t.Shape()))
	f.ValuesFrom(values, seed, first)
	spread(t.Type(), values, f)
	return t.Narrow(values)
}

// spread turns filled values into what suits an element type.
func spread(typ problem.DataType, values []float32, fill Fill) {
	for i, v := range values {
		switch {
		case typ == problem.U8 && fill == Int:
			values[i] = v + 3
		case typ == problem.U8:
			values[i] = 127.5 + 127.5*v
		case typ == problem.S8 && fill == Uniform:
			values[i] = 127.5*v - 0.5
		case typ == problem.S32 && fill == Uniform:
			values[i] = 5000 * v
		}
	}
}

// unpoolIndices point into their own windows, as those that a pooling wrote do; −1 where a window has no cell. Some of them meet.
func unpoolIndices(p *problem.Problem, ind []int32) {
	small, large := problem.Elems(p.Shape(problem.Src))/max(1, int64(p.N)*int64(p.IC)), int64(1)
	for _, a := range p.Spatial() {
		large *= int64(a.Out)
	}
	cell := make([]int64, p.Rank)
	for i := range ind {
		plane, at := int64(i)/small, int64(i)%small
		if p.SrcLayout == problem.NHWC { // channels are next to each other
			channels := int64(p.IC)
			pixel := int64(i) / channels
			plane, at = pixel/small*channels+int64(i)%channels, pixel%small
		}
		random, exists := mix(seeds[problem.Ind]+uint64(i)*golden), true
		for k := p.Rank - 1; k >= 0; k-- {
			a := p.Spatial()[k]
			start := at%int64(a.In)*int64(a.Stride) - int64(a.PadL)
			end := min(start+int64(a.Extent()), int64(a.Out))
			tap := int64(random % uint64(a.Kernel))
			at, random = at/int64(a.In), random/uint64(a.Kernel)
			exists = exists && max(start, 0) < end
			cell[k] = min(max(start+tap*int64(a.Dilation), 0), end-1)
		}
		ind[i] = -1
		if !exists {
			continue
		}
		to := int64(0)
		for k, a := range p.Spatial() {
			if p.Indices == problem.Column { // the first dimension is the fastest
				k = p.Rank - 1 - k
				a = p.Spatial()[k]
			}
			to = to*int64(a.Out) + cell[k]
		}
		if p.Indices != problem.Plane {
			to += plane * large
		}
		ind[i] = int32(to)
	}
}

// poolIndices are those of the forward pooling.
func poolIndices(ctx context.Context, oracle driver.Oracle, p *problem.Problem, fill Fill) (*engine.Tensor, error) {
	forward := *p
	forward.Dir = problem.Forward
	src, err := Input(ctx, oracle, &forward, problem.Src, fill)
	if err != nil {
		return nil, err
	}
	truth, err := oracle.Reference(ctx, forward, driver.Arithmetic{}, driver.Operands{problem.Src: src.Operand()}, problem.Ind, nil)
	if err != nil {
		return nil, err
	}
	t, err := engine.NewTensor(problem.S32, p.Shape(problem.Ind)...)
	if err != nil {
		return nil, err
	}
	for i, e := range truth {
		t.Int32s()[i] = int32(e.Value)
	}
	return t, nil
}

// quantize fills zero points and multipliers: rows source, weights, multiplier, destination, a column each channel.
func quantize(p *problem.Problem, q []float32, fill Fill) {
	zero := func(typ problem.DataType, k int) float32 {
		if fill == Int || typ == problem.S32 || typ == problem.F32 {
			return float32(k % 3)
		}
		if typ == problem.U8 {
			return float32(128 + k%7)
		}
		return float32(k%9 - 4)
	}
	taps := float32(p.Terms())
	for o := range p.OC {
		q[o] = zero(p.Type.Src, 5)
		q[p.OC+o] = zero(p.Type.Wei, o)
		q[2*p.OC+o] = (1 + float32(o%5)) / (8 * taps) // most results lie in the range, some saturate
		if fill == Int {
			q[2*p.OC+o] = 1 / float32(int(1)<<(o%4))
		}
		q[3*p.OC+o] = zero(p.Type.Dst, 4)
	}
}

// inputs makes all tensors of a case. A problem that the host's memory cannot hold three times (inputs, results and the
// device's copies) is refused before anything is allocated.
func inputs(ctx context.Context, oracle *engine.Device, p problem.Problem, fill Fill) (engine.Operands, error) {
	var in engine.Operands
	if err := p.Validate(); err != nil {
		return in, err
	}
	o, ok := oracle.Driver().(driver.Oracle)
	if !ok {
		return in, fmt.Errorf("%w: %s is no oracle", driver.ErrInvalid, oracle.Spec())
	}
	if need, have := 3*float64(p.Bytes()), float64(oracle.Info().MemoryBytes); need > have {
		return in, fmt.Errorf("%w: checking this problem takes %.3g GiB of the host's memory, which has %.3g: use a smaller problem",
			driver.ErrUnsupported, need/(1<<30), have/(1<<30))
	}
	for _, list := range [][]problem.Role{p.Constants(), p.Inputs()} {
		for _, r := range list {
			t, err := Input(ctx, o, &p, r, fill)
			if err != nil {
				return in, err
			}
			in[r] = t
		}
	}
	return in, nil
}
