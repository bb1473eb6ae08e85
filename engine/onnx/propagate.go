package onnx

import (
	"context"
	"fmt"
	"math"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/rounding"
)

// Errors on the way through a graph. Let x be an element's true value, which real arithmetic would give, and off a bound
// on how far float32 arithmetic may be off it, whoever computes and in whatever order: the device here, or whoever made
// the expected output. If both stay within off, they are within 2·off of each other, and any element of theirs is at
// most 2·off larger than ours. An operator f makes of it
//
//	|f32(f(x')) − f(x)| ≤ |f32(f(x')) − f(x')| + |f(x') − f(x)|,  |x' − x| ≤ off
//
// where the first part is the rounding of this operator, for any x' that near, and the second its Lipschitz bound.

// margin covers that the bounds themselves are computed in float64.
const margin = 1 + 1e-9

// errors is off by element; ok is false where it is not known.
func (v *value) errors() (off func(i int) float64, ok bool) {
	if v.exact {
		return func(int) float64 { return 0 }, true
	}
	if v.off == nil {
		return nil, false
	}
	return func(i int) float64 { return v.off[i] }, true
}

// setErrors keeps the bounds, at most infinite.
func (v *value) setErrors(n int, of func(i int) float64) {
	v.off = make([]float64, n)
	for i := range v.off {
		x := of(i) * margin
		if math.IsNaN(x) {
			x = math.Inf(1)
		}
		v.off[i] = x
	}
}

// up is the least float32 that is not below x.
func up(x float64) float32 {
	f := float32(x)
	if float64(f) < x {
		f = math.Nextafter32(f, float32(math.Inf(1)))
	}
	return f
}

// linear says whether |f(x+e) − f(x)| ≤ g(|e|), where g is the same problem with the absolute values of the weights and
// without bias and post-op: a convolution (its post-op is a Relu, which steepens nothing), an average, a maximum (which
// differs by the largest |e| of its window at most), or a copy.
func linear(p *problem.Problem) bool {
	switch p.Op {
	case problem.Conv, problem.Deconv:
		return !p.Integer()
	case problem.Pool:
		return p.Kind != problem.Lp
	}
	return p.Op == problem.Unpool || p.Op == problem.Col2im
}

// propagate sets how far the output of a problem may be off, from the oracle's word on it for the very inputs that the
// device had. Nothing is known where an operand other than the source is not exact, or the operator is not linear.
func (e *evaluation) propagate(ctx context.Context, p *problem.Problem, in driver.Operands, from []*value,
	truth driver.Truth, out *value) error {
	exact := true
	for i, v := range from {
		if v == nil || v.exact {
			continue
		}
		if exact = false; i > 0 {
			return nil
		}
	}
	if exact {
		out.setErrors(len(truth), func(i int) float64 { return truth[i].Bound })
		return nil
	}
	out.exact, out.truth = false, nil
	off, ok := from[0].errors()
	if !ok || !linear(p) || out.kind == Int64 {
		return nil
	}
	// The sum of |weights| times how far the sources may be off.
	q := *p
	q.Bias, q.Type, q.Indices, q.Post = false, problem.Types{}, problem.NoIndices, [problem.MaxPost]problem.PostOp{}
	if p.Op == problem.Unpool {
		q.Indices = p.Indices
	}
	errs := driver.Operands{problem.Src: {F32: make([]float32, from[0].elems())}, problem.Ind: in[problem.Ind]}
	for i := range errs[problem.Src].F32 {
		errs[problem.Src].F32[i] = up(off(i))
	}
	if weights := in[problem.Wei].F32; weights != nil {
		errs[problem.Wei].F32 = make([]float32, len(weights))
		for i, w := range weights {
			errs[problem.Wei].F32[i] = float32(math.Abs(float64(w)))
		}
	}
	sums, err := e.oracle.Reference(ctx, q, driver.Arithmetic{}, errs, problem.Dst, nil)
	if err != nil {
		return fmt.Errorf("oracle: %w", err)
	}
	out.setErrors(len(truth), func(i int) float64 {
		t, s := truth[i], sums[i].Value
		// Bound is for our x'; the terms of another's may be larger, by 2·s in all.
		own := t.Bound
		if own > 0 {
			own += rounding.Sum(0, 2*s, t.Terms+2).Bound
		}
		if p.Type.Dst == problem.F16 {
			own += 2 * s * 0x1p-10
		}
		return own + s
	})
	return nil
}

// unit is half the distance of float32 numbers, as a share of them.
const unit = 0x1p-24

// errorsOf makes a host operator's result from its values and, if all inputs' errors are known, from the function that
// says by element how far they may be off.
func (h *hostCall) errorsOf(r *value, of func(off []func(i int) float64) func(i int) float64) []*value {
	var off []func(int) float64
	for _, v := range h.in {
		if v == nil {
			off = append(off, nil)
			continue
		}
		f, ok := v.errors()
		if !ok {
			return []*value{r}
		}
		off = append(off, f)
	}
	r.setErrors(int(r.elems()), of(off))
	return []*value{r}
}

// agree judges an output by how far it may be off: ours and theirs may both be, so they may be twice that apart. Where
// this is more than every number of the expected output it proves nothing, and ONNX's tolerance decides.
func (e *evaluation) agree(got *value, ours, theirs func(int64) float64) error {
	largest := 0.0
	for i := range got.elems() {
		if w := math.Abs(theirs(i)); w <= math.MaxFloat64 {
			largest = max(largest, w)
		}
	}
	off, known := got.errors()
	for i := range got.elems() {
		g, w := ours(i), theirs(i)
		limit, what := absolute+relative*math.Abs(w), "ONNX allows"
		if known && 2*off(int(i)) <= largest {
			limit, what = 2*off(int(i)), "rounding explains"
			e.result.weaken(Bounded)
		} else {
			e.result.weaken(Tolerance)
		}
		if d := distance(g, w); d > limit {
			return fmt.Errorf("the graph's output at %v is %g, expected is %g: %.3g apart, %s %.3g; all %d problems of the device "+
				"are right, so it is another operator or the expectation", unflatten(i, got.shape), g, w, d, what, limit, e.proven)
		}
	}
	return nil
}

// softmaxError bounds the error of an element of softmax, p, from how far the row's inputs may be off, their range, and
// the number of terms. With R the sum of the relative errors (each exponent is off by at most the error of its input
// less that of the maximum; exp, its sum and the quotient round), p' ≤ p·e^R and p ≤ p'·e^R.
func softmaxError(p, off, span float64, terms int) float64 {
	const functions = 16 // roundings that exp and the quotient may take, wherever they come from
	r := 2*off + unit*(2*(span+2*off)+float64(terms)+functions)
	return p*math.Exp(r)*math.Expm1(r) + math.SmallestNonzeroFloat32
}
