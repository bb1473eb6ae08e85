package tensorio

import (
	"context"
	"fmt"
	"slices"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

// walk goes through a box in the order of the file: runs of elements that are neighbours in the file, in rows at even
// distances, in all positions of the other dimensions. All is counted in elements.
type walk struct {
	run, step        int64 // elements, and their distance in the tensor
	rows             int64
	fileRow, hostRow int64 // distances of the rows
	outer            []dim // outermost in the file first
	file, host       int64 // of the first element
}

// dim is a dimension of a box.
type dim struct{ n, file, host int64 }

// walk is the way through a box of the array and of a tensor.
func (a *Array) walk(b tiling.Box, t *engine.Tensor, at []int) (*walk, error) {
	rank := len(a.shape)
	host := t.Shape()
	ok := t.Type() == a.typ && len(b.From) == rank && len(b.Size) == rank && len(host) == rank && len(at) == rank
	for i := 0; ok && i < rank; i++ {
		n := b.Size[i]
		ok = n >= 0 && b.From[i] >= 0 && b.From[i] <= a.shape[i]-n && at[i] >= 0 && at[i] <= host[i]-n
	}
	if !ok {
		return nil, fmt.Errorf("%w: a box of %v at %v of %s (%v %v), at %v of %v %v", engine.ErrInvalid, b.Size, b.From, a.path, a.typ, a.shape,
			at, t.Type(), host)
	}
	w := &walk{run: 1, step: 1, rows: 1}
	if slices.Contains(b.Size, 0) {
		w.rows = 0
		return w, nil
	}
	file := strides(a.shape, a.info.fortran)
	mem := strides(host, false)
	dims := make([]dim, 0, rank)
	for i := range rank {
		w.file += file[i] * int64(b.From[i])
		w.host += mem[i] * int64(at[i])
		if b.Size[i] > 1 {
			dims = append(dims, dim{int64(b.Size[i]), file[i], mem[i]})
		}
	}
	if a.info.fortran {
		slices.Reverse(dims)
	}
	last := func() *dim { return &dims[len(dims)-1] }
	if len(dims) > 0 && last().file == 1 {
		w.run, w.step = last().n, last().host
		dims = dims[:len(dims)-1]
	}
	for len(dims) > 0 && last().file == w.run && last().host == w.run*w.step {
		w.run *= last().n
		dims = dims[:len(dims)-1]
	}
	if len(dims) > 0 {
		w.rows, w.fileRow, w.hostRow = last().n, last().file, last().host
		dims = dims[:len(dims)-1]
	}
	w.outer = dims
	return w, nil
}

// strides are the distances of neighbours along each dimension.
func strides(shape []int, fortran bool) []int64 {
	s := make([]int64, len(shape))
	n := int64(1)
	for k := range shape {
		i := len(shape) - 1 - k
		if fortran {
			i = k
		}
		s[i] = n
		n *= int64(shape[i])
	}
	return s
}

// each calls do with the first element of each group of rows.
func (w *walk) each(ctx context.Context, do func(file, host int64) error) error {
	if w.rows == 0 {
		return nil
	}
	at := make([]int64, len(w.outer))
	file, host := w.file, w.host
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := do(file, host); err != nil {
			return err
		}
		k := len(at) - 1
		for ; k >= 0; k-- {
			d := w.outer[k]
			at[k]++
			file, host = file+d.file, host+d.host
			if at[k] < d.n {
				break
			}
			file, host = file-d.n*d.file, host-d.n*d.host
			at[k] = 0
		}
		if k < 0 {
			return nil
		}
	}
}
