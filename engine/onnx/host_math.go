package onnx

import (
	"fmt"
	"math"
	"slices"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/rounding"
)

// The operators of this file compute in float64 and round once.

// relu is monotonic and steepens nothing: what bounds the error of its input bounds that of its output.
func relu(h *hostCall) ([]*value, error) {
	if err := h.inputs(1, 1); err != nil {
		return nil, err
	}
	if err := h.floats(); err != nil {
		return nil, err
	}
	v := h.in[0]
	r, to, err := h.make(v.shape)
	if err != nil {
		return nil, err
	}
	for i, x := range v.host.Float32s() {
		to[i] = max(x, 0)
	}
	r.exact, r.off = v.exact, v.off
	if v.truth != nil {
		r.truth = make(driver.Truth, len(v.truth))
		for i, t := range v.truth {
			t.Value = max(t.Value, 0)
			r.truth[i] = t
		}
	}
	return []*value{r}, nil
}

// add is Add as it is from opset 7 on: both shapes are padded with ones at the front, and ones are repeated.
func add(h *hostCall) ([]*value, error) {
	if err := h.inputs(2, 2); err != nil {
		return nil, err
	}
	if err := h.floats(); err != nil {
		return nil, err
	}
	if h.opset < 7 && !slices.Equal(h.in[0].shape, h.in[1].shape) {
		return nil, fmt.Errorf("%w: Add by the rules of opset %d; convert the model to 7 or later", engine.ErrUnsupported, h.opset)
	}
	a, b := h.in[0], h.in[1]
	shape, err := broadcast(a.shape, b.shape)
	if err != nil {
		return nil, err
	}
	r, to, err := h.make(shape)
	if err != nil {
		return nil, err
	}
	x, y := spread(a, shape), spread(b, shape)
	at := make([]int, len(shape))
	for i := range to {
		to[i] = x.at(at) + y.at(at)
		for k := len(shape) - 1; k >= 0; k-- {
			if at[k]++; at[k] < shape[k] {
				break
			}
			at[k] = 0
		}
	}
	return h.errorsOf(r, func(off []func(int) float64) func(int) float64 {
		return func(i int) float64 {
			at := unflatten(int64(i), shape)
			both := off[0](x.index(at)) + off[1](y.index(at))
			return both + unit*(math.Abs(float64(to[i]))+2*both) + math.SmallestNonzeroFloat32
		}
	}), nil
}

// broadcast is the shape that two shapes make together.
func broadcast(a, b []int) ([]int, error) {
	if len(a) < len(b) {
		a, b = b, a
	}
	shape := slices.Clone(a)
	for i := range b {
		at := &shape[len(a)-len(b)+i]
		switch d := b[i]; {
		case *at == 1:
			*at = d
		case d != 1 && d != *at:
			return nil, fmt.Errorf("%w: shapes %v and %v together", ErrFormat, a, b)
		}
	}
	return shape, nil
}

// spreading reads a tensor as if it had a larger shape.
type spreading struct {
	data  []float32
	steps []int
}

func spread(v *value, shape []int) spreading {
	steps := make([]int, len(shape))
	step, skip := 1, len(shape)-len(v.shape)
	for k := len(v.shape) - 1; k >= 0; k-- {
		if v.shape[k] != 1 {
			steps[skip+k] = step
		}
		step *= v.shape[k]
	}
	return spreading{v.host.Float32s(), steps}
}

// index is that of an element of the larger shape in the tensor.
func (s spreading) index(at []int) int {
	i := 0
	for k, x := range at {
		i += x * s.steps[k]
	}
	return i
}

func (s spreading) at(at []int) float32 { return s.data[s.index(at)] }

// matMul is MatMul of two matrices.
func matMul(h *hostCall) ([]*value, error) {
	if err := h.inputs(2, 2); err != nil {
		return nil, err
	}
	return h.product(1, 0, false, false)
}

func gemm(h *hostCall) ([]*value, error) {
	if err := h.inputs(2, 3); err != nil {
		return nil, err
	}
	if h.opset < 7 {
		return nil, fmt.Errorf("%w: Gemm by the rules of opset %d; convert the model to 7 or later", engine.ErrUnsupported, h.opset)
	}
	alpha, err := h.float("alpha", 1)
	if err != nil {
		return nil, err
	}
	beta, err := h.float("beta", 1)
	if err != nil {
		return nil, err
	}
	transA, err := h.int("transA", 0, 0, 1)
	if err != nil {
		return nil, err
	}
	transB, err := h.int("transB", 0, 0, 1)
	if err != nil {
		return nil, err
	}
	return h.product(float64(alpha), float64(beta), transA == 1, transB == 1)
}

// product is alpha·A·B + beta·C.
func (h *hostCall) product(alpha, beta float64, transA, transB bool) ([]*value, error) {
	if err := h.floats(); err != nil {
		return nil, err
	}
	a, b := h.in[0], h.in[1]
	if len(a.shape) != 2 || len(b.shape) != 2 {
		return nil, fmt.Errorf("%w: %s of shapes %v and %v; here it is for matrices", engine.ErrUnsupported, h.Op, a.shape, b.shape)
	}
	stride := func(v *value, transposed bool) (rows, columns, row, column int) {
		if transposed {
			return v.shape[1], v.shape[0], 1, v.shape[1]
		}
		return v.shape[0], v.shape[1], v.shape[1], 1
	}
	rows, inner, rowA, stepA := stride(a, transA)
	also, columns, stepB, columnB := stride(b, transB)
	shape := []int{rows, columns}
	if inner != also {
		return nil, fmt.Errorf("%w: %s of shapes %v and %v", ErrFormat, h.Op, a.shape, b.shape)
	}
	r, to, err := h.make(shape)
	if err != nil {
		return nil, err
	}
	if 2*float64(rows)*float64(columns)*float64(inner) > maxWork {
		return nil, fmt.Errorf("%w: %s of shapes %v and %v on the host: too much work", engine.ErrUnsupported, h.Op, a.shape, b.shape)
	}
	var plus spreading
	if len(h.in) == 3 && h.in[2] != nil {
		c := h.in[2]
		if all, err := broadcast(shape, c.shape); err != nil || !slices.Equal(all, shape) {
			return nil, fmt.Errorf("%w: %s adds shape %v to %v", ErrFormat, h.Op, c.shape, shape)
		}
		plus = spread(c, shape)
	}
	x, y := a.host.Float32s(), b.host.Float32s()
	for i := range to {
		m, n := i/columns, i%columns
		sum := 0.0
		for k := range inner {
			sum += float64(x[m*rowA+k*stepA]) * float64(y[k*stepB+n*columnB])
		}
		if plus.steps != nil {
			sum = alpha*sum + beta*float64(plus.at([]int{m, n}))
		} else {
			sum *= alpha
		}
		to[i] = float32(sum)
	}
	return h.errorsOf(r, func(off []func(int) float64) func(int) float64 {
		return func(i int) float64 {
			m, n := i/columns, i%columns
			moved, size := 0.0, 0.0 // Σ of how far products may be off, and of how large they may be
			for k := range inner {
				ia, ib := m*rowA+k*stepA, k*stepB+n*columnB
				va, vb := math.Abs(float64(x[ia])), math.Abs(float64(y[ib]))
				ea, eb := off[0](ia), off[1](ib)
				moved += (va+2*ea)*eb + (vb+2*eb)*ea
				size += (va + 2*ea) * (vb + 2*eb)
			}
			moved, size = moved*math.Abs(alpha), size*math.Abs(alpha)
			if plus.steps != nil {
				at := plus.index([]int{m, n})
				moved += math.Abs(beta) * off[2](at)
				size += math.Abs(beta) * (math.Abs(float64(plus.data[at])) + 2*off[2](at))
			}
			return moved + rounding.Sum(0, size, int64(inner)+4).Bound // one for C, two for alpha and beta, and the last
		}
	}), nil
}

// softmax is over one axis; until opset 12, over it and all that follow.
func softmax(h *hostCall) ([]*value, error) {
	if err := h.inputs(1, 1); err != nil {
		return nil, err
	}
	if err := h.floats(); err != nil {
		return nil, err
	}
	v := h.in[0]
	def := int64(-1)
	if h.opset < 13 {
		def = 1
	}
	along, err := h.axisAttribute(def, len(v.shape), h.opset < 13)
	if err != nil {
		return nil, err
	}
	r, to, err := h.make(v.shape)
	if err != nil {
		return nil, err
	}
	length, inner := 1, 1
	for k, d := range v.shape {
		switch {
		case k == along || k > along && h.opset < 13:
			length *= d
		case k > along:
			inner *= d
		}
	}
	from := v.host.Float32s()
	// each calls f with the index of the first element of every row, whose others follow at a distance of inner.
	each := func(f func(start int)) {
		for start := range to {
			if start/inner%length == 0 {
				f(start)
			}
		}
	}
	each(func(start int) {
		most, sum := math.Inf(-1), 0.0
		for k := range length {
			most = max(most, float64(from[start+k*inner]))
		}
		for k := range length {
			sum += math.Exp(float64(from[start+k*inner]) - most)
		}
		for k := range length {
			to[start+k*inner] = float32(math.Exp(float64(from[start+k*inner])-most) / sum)
		}
	})
	return h.errorsOf(r, func(off []func(int) float64) func(int) float64 {
		errs := make([]float64, len(to))
		each(func(start int) {
			most, least, worst := math.Inf(-1), math.Inf(1), 0.0
			for k := range length {
				i := start + k*inner
				most, least, worst = max(most, float64(from[i])), min(least, float64(from[i])), max(worst, off[0](i))
			}
			for k := range length {
				errs[start+k*inner] = softmaxError(float64(to[start+k*inner]), worst, most-least, length)
			}
		})
		return func(i int) float64 { return errs[i] }
	}), nil
}
