package tensorio

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

// Slabs cuts an array into boxes of up to so many elements, each of which is one run of memory, in their order.
func Slabs(shape []int, elems int) iter.Seq[tiling.Box] {
	return func(yield func(tiling.Box) bool) {
		if problem.Elems(shape) == 0 {
			return
		}
		// Whole dimensions from the pivot's next on; of the pivot up to step cells; single cells of those before it.
		pivot, inner := len(shape)-1, 1
		for pivot > 0 && inner*shape[pivot] <= elems {
			inner *= shape[pivot]
			pivot--
		}
		step := max(1, elems/inner)
		from := make([]int, len(shape))
		for {
			b := tiling.Box{From: slices.Clone(from), Size: slices.Clone(shape)}
			for i := range pivot {
				b.Size[i] = 1
			}
			if pivot >= 0 {
				b.Size[pivot] = min(step, shape[pivot]-from[pivot])
			}
			if !yield(b) {
				return
			}
			k := pivot
			for ; k >= 0; k-- {
				if k == pivot {
					from[k] += step
				} else {
					from[k]++
				}
				if from[k] < shape[k] {
					break
				}
				from[k] = 0
			}
			if k < 0 {
				return
			}
		}
	}
}

// slab is how many elements Compare has of each array in memory.
const slab = 1 << 20

// Difference is what Compare finds.
type Difference struct {
	Elements  int64   // of either array
	Differing int64   // of them
	First     []int   // where the first one stands
	A, B      float64 // the first one
	MaxAbs    float64 // greatest absolute difference; NaN if a NaN stands beside anything else
}

// Compare compares two arrays of one type and shape bit for bit, except that all NaN are the same, in little memory. The
// arrays may lie in their files in either order. progress is called with the elements that are done.
func Compare(ctx context.Context, a, b *Array, progress func(done, total int64)) (d Difference, err error) {
	if a.typ != b.typ || !slices.Equal(a.shape, b.shape) {
		return d, fmt.Errorf("%w: %s is %v %v, %s is %v %v: only arrays of one type and shape can be compared", engine.ErrInvalid,
			a.path, a.typ, a.shape, b.path, b.typ, b.shape)
	}
	d.Elements = problem.Elems(a.shape)
	var mem [2]*engine.Tensor
	for i := range mem {
		if mem[i], err = engine.NewTensor(a.typ, int(min(slab, d.Elements))); err != nil {
			return d, err
		}
	}
	done := int64(0)
	at := make([]int, len(a.shape))
	for box := range Slabs(a.shape, slab) {
		var part [2]*engine.Tensor
		for i, x := range []*Array{a, b} {
			if part[i], err = mem[i].Within(a.typ, box.Size...); err != nil {
				return d, err
			}
			if err := x.ReadBox(ctx, box, part[i], at); err != nil {
				return d, err
			}
		}
		if !bytes.Equal(part[0].Bytes(), part[1].Bytes()) {
			d.add(box, part[0], part[1])
		}
		done += problem.Elems(box.Size)
		progress(done, d.Elements)
	}
	return d, nil
}

// add adds what differs in a box.
func (d *Difference) add(box tiling.Box, a, b *engine.Tensor) {
	value := func(t *engine.Tensor) func(int) float64 {
		if t.Type() == problem.S32 { // which f32 does not hold
			v := t.Int32s()
			return func(i int) float64 { return float64(v[i]) }
		}
		v := t.Widen()
		return func(i int) float64 { return float64(v[i]) }
	}
	size, va, vb := a.Type().Size(), value(a), value(b)
	for i := range len(a.Bytes()) / size {
		x, y := va(i), vb(i)
		if bytes.Equal(a.Bytes()[i*size:][:size], b.Bytes()[i*size:][:size]) || x != x && y != y {
			continue
		}
		if d.Differing++; d.Differing == 1 {
			d.A, d.B = x, y
			d.First = make([]int, len(box.Size))
			rest := i
			for k := len(box.Size) - 1; k >= 0; k-- {
				d.First[k] = box.From[k] + rest%box.Size[k]
				rest /= box.Size[k]
			}
		}
		if x != y { // not infinities of one sign
			d.MaxAbs = math.Max(d.MaxAbs, math.Abs(x-y))
		}
	}
}
