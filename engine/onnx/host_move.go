package onnx

import (
	"fmt"
	"slices"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
)

// The operators of this file move elements, and what is known of their truth with them.

// identity also stands for Dropout, which does nothing when a network is used.
func identity(h *hostCall) ([]*value, error) {
	if err := h.inputs(1, 3); err != nil {
		return nil, err
	}
	if len(h.in) == 3 && h.in[2] != nil { // Dropout's training_mode, from opset 12 on
		return nil, fmt.Errorf("%w: %s in training", engine.ErrUnsupported, h.Op)
	}
	return h.in[:1], nil
}

func constant(h *hostCall) ([]*value, error) {
	if err := h.knows("value"); err != nil {
		return nil, err
	}
	a, ok, err := h.attribute("value", AttributeTensor)
	if err != nil || !ok || a.T == nil {
		return nil, fmt.Errorf("%w: Constant without a value", ErrFormat)
	}
	v, err := a.T.read()
	return []*value{v}, err
}

// reshaped is the same elements in another shape.
func (v *value) reshaped(shape []int) ([]*value, error) {
	r := *v
	r.shape = shape
	if v.host != nil {
		t, err := v.host.Reshape(shape...)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		r.host = t
	}
	return []*value{&r}, nil
}

func reshape(h *hostCall) ([]*value, error) {
	if err := h.inputs(1, 2); err != nil {
		return nil, err
	}
	if err := h.knows("shape", "allowzero"); err != nil {
		return nil, err
	}
	keep, err := h.int("allowzero", 0, 0, 1) // 1: a 0 is 0; else the input's own
	if err != nil {
		return nil, err
	}
	a, ok, err := h.attribute("shape", AttributeInts) // until opset 4
	if err != nil {
		return nil, err
	}
	want := a.Ints
	if len(h.in) == 2 && h.in[1] != nil && h.in[1].kind == Int64 {
		want, ok = h.in[1].ints, true
	}
	if !ok || len(want) > maxRank {
		return nil, fmt.Errorf("%w: Reshape to a shape of %d dimensions", ErrFormat, len(want))
	}
	v := h.in[0]
	shape, rest, known := make([]int, len(want)), -1, int64(1)
	for i, d := range want {
		switch {
		case d == 0 && keep == 0 && i < len(v.shape):
			d = int64(v.shape[i])
		case d == -1 && rest < 0:
			rest, d = i, 1
		}
		if d < 0 || d > maxElems || d > 0 && known > maxElems/d {
			return nil, fmt.Errorf("%w: Reshape of %v to %d", ErrFormat, v.shape, want)
		}
		known *= d
		shape[i] = int(d)
	}
	total := v.elems()
	if rest >= 0 && known > 0 {
		shape[rest] = int(total / known)
		known *= total / known
	}
	if known != total {
		return nil, fmt.Errorf("%w: Reshape of %v to %d", ErrFormat, v.shape, want)
	}
	return v.reshaped(shape)
}

// flat is Flatten: a matrix whose rows are the dimensions before an axis.
func flat(h *hostCall) ([]*value, error) {
	if err := h.inputs(1, 1); err != nil {
		return nil, err
	}
	v := h.in[0]
	at, err := h.axisAttribute(1, len(v.shape), true)
	if err != nil {
		return nil, err
	}
	shape := []int{1, 1}
	for i, d := range v.shape {
		if i < at {
			shape[0] *= d
		} else {
			shape[1] *= d
		}
	}
	return v.reshaped(shape)
}

func squeeze(h *hostCall) ([]*value, error) {
	if err := h.inputs(1, 2); err != nil {
		return nil, err
	}
	list, ok, err := h.axes()
	if err != nil {
		return nil, err
	}
	v := h.in[0]
	gone := make([]bool, len(v.shape))
	for _, a := range list {
		at, err := axis(a, len(v.shape), false)
		if err != nil {
			return nil, err
		}
		if gone[at] = true; v.shape[at] != 1 {
			return nil, fmt.Errorf("%w: Squeeze of dimension %d of %v", ErrFormat, at, v.shape)
		}
	}
	shape := []int{}
	for i, d := range v.shape {
		if gone[i] || !ok && d == 1 {
			continue
		}
		shape = append(shape, d)
	}
	return v.reshaped(shape)
}

func unsqueeze(h *hostCall) ([]*value, error) {
	if err := h.inputs(1, 2); err != nil {
		return nil, err
	}
	list, ok, err := h.axes()
	if err != nil {
		return nil, err
	}
	v := h.in[0]
	rank := len(v.shape) + len(list)
	if !ok || rank > maxRank {
		return nil, fmt.Errorf("%w: Unsqueeze of %v by %d axes", ErrFormat, v.shape, len(list))
	}
	added := make([]bool, rank)
	for _, a := range list {
		at, err := axis(a, rank, false)
		if err != nil {
			return nil, err
		}
		if added[at] {
			return nil, fmt.Errorf("%w: Unsqueeze by axis %d twice", ErrFormat, at)
		}
		added[at] = true
	}
	shape, rest := make([]int, rank), v.shape
	for i := range shape {
		if shape[i] = 1; !added[i] {
			shape[i], rest = rest[0], rest[1:]
		}
	}
	return v.reshaped(shape)
}

func transpose(h *hostCall) ([]*value, error) {
	if err := h.inputs(1, 1); err != nil {
		return nil, err
	}
	v := h.in[0]
	rank := len(v.shape)
	perm, err := h.ints("perm", rank, 0)
	if err != nil {
		return nil, err
	}
	if perm == nil {
		for i := range rank {
			perm = append(perm, rank-1-i)
		}
	}
	shape, steps, seen := make([]int, rank), make([]int64, rank), make([]bool, rank)
	for i, from := range perm {
		if from >= rank || seen[from] {
			return nil, fmt.Errorf("%w: Transpose by %v", ErrFormat, perm)
		}
		seen[from], shape[i], steps[i] = true, v.shape[from], 1
		for _, d := range v.shape[from+1:] {
			steps[i] *= int64(d)
		}
	}
	at, from := make([]int, rank), int64(0)
	return h.gather(shape, func(int64) (*value, int64) {
		now := from
		for k := rank - 1; k >= 0; k-- { // the next element's index
			at[k]++
			if from += steps[k]; at[k] < shape[k] {
				break
			}
			from -= steps[k] * int64(shape[k])
			at[k] = 0
		}
		return v, now
	})
}

func concat(h *hostCall) ([]*value, error) {
	if err := h.inputs(1, len(h.in)); err != nil {
		return nil, err
	}
	if slices.Contains(h.in, nil) {
		return nil, fmt.Errorf("%w: Concat with an input left out", ErrFormat)
	}
	first := h.in[0]
	along, err := h.axisAttribute(1, len(first.shape), false)
	if err != nil {
		return nil, err
	}
	shape := slices.Clone(first.shape)
	shape[along] = 0
	for _, v := range h.in {
		if len(v.shape) != len(shape) || v.kind != first.kind || !slices.Equal(v.shape[:along], shape[:along]) ||
			!slices.Equal(v.shape[along+1:], shape[along+1:]) {
			return nil, fmt.Errorf("%w: Concat of %v %v and %v %v along axis %d",
				ErrFormat, first.kind, first.shape, v.kind, v.shape, along)
		}
		if shape[along] += v.shape[along]; shape[along] > maxMade {
			return nil, tooMuch()
		}
	}
	inner := int64(1)
	for _, d := range shape[along+1:] {
		inner *= int64(d)
	}
	part, k, row := 0, int64(0), int64(0) // element k of row row of an input
	return h.gather(shape, func(int64) (*value, int64) {
		for k == inner*int64(h.in[part].shape[along]) {
			if part, k = part+1, 0; part == len(h.in) {
				part, row = 0, row+1
			}
		}
		k++
		return h.in[part], row*inner*int64(h.in[part].shape[along]) + k - 1
	})
}

// gather makes a tensor of elements of the inputs, called for in row-major order.
func (h *hostCall) gather(shape []int, from func(int64) (*value, int64)) ([]*value, error) {
	if err := h.fits(shape); err != nil {
		return nil, err
	}
	first := h.in[0]
	r := &value{kind: first.kind, shape: shape, exact: true}
	known, bounded := true, true
	for _, v := range h.in {
		r.exact = r.exact && v.exact
		known = known && (v.exact || v.truth != nil)
		bounded = bounded && (v.exact || v.off != nil)
	}
	n := r.elems()
	width := 0
	if first.kind == Int64 {
		r.ints = make([]int64, n)
	} else {
		t, err := engine.NewTensor(hostTypes[first.kind], shape...)
		if err != nil {
			return nil, err
		}
		r.host, width = t, storage[first.kind].bytes
	}
	if known && !r.exact {
		r.truth = make(driver.Truth, n)
	}
	if bounded && !r.exact {
		r.off = make([]float64, n)
	}
	readers := map[*value]func(int64) float64{}
	for i := range n {
		v, at := from(i)
		if r.ints != nil {
			r.ints[i] = v.ints[at]
			continue
		}
		copy(r.host.Bytes()[int(i)*width:][:width], v.host.Bytes()[int(at)*width:])
		if r.off != nil && v.off != nil {
			r.off[i] = v.off[at]
		}
		switch {
		case r.truth == nil:
		case v.truth != nil:
			r.truth[i] = v.truth[at]
		default:
			if readers[v] == nil {
				readers[v] = v.at()
			}
			r.truth[i] = driver.Element{Value: readers[v](at)}
		}
	}
	return []*value{r}, nil
}
