package tiling

import (
	"fmt"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// resume takes up the sum of the first result that is not there.
func (r *runner) resume() error {
	parts, result := r.Tiles.parts(), 0
	for result < r.Tiles.Results() && r.skip(result) {
		result++
	}
	if r.o.Sum == nil || parts == 1 || result == r.Tiles.Results() {
		return nil
	}
	n, sum := r.o.Sum(result)
	if n == 0 {
		return nil
	}
	if n < 0 || n >= parts {
		return fmt.Errorf("%w: a sum of %d of %d parts", engine.ErrInvalid, n, parts)
	}
	r.next = result*parts + n
	r.done += n
	t := r.Tiles.Tile(r.next)
	return r.begin(&t, sum)
}

// begin makes room for the sum of a tile's result, and sets it.
func (r *runner) begin(t *Tile, to []byte) (err error) {
	role := t.Problem.Outputs()[0]
	if r.sumAll == nil {
		if r.sumAll, err = engine.NewTensor(problem.U8, int(r.sizes[role])); err != nil {
			return err
		}
	}
	if r.sum, err = r.sumAll.Within(t.Problem.TypeOf(role), t.Problem.Shape(role)...); err != nil {
		return err
	}
	if len(to) != len(r.sum.Bytes()) {
		return fmt.Errorf("%w: a sum of %d bytes instead of %d", engine.ErrInvalid, len(to), len(r.sum.Bytes()))
	}
	copy(r.sum.Bytes(), to)
	return nil
}

// add adds a partial sum to those before it, and returns their sum in the result's type once it is complete.
func (r *runner) add(t *Tile, part *engine.Tensor, typ problem.DataType) (*engine.Tensor, error) {
	if t.Part == 0 {
		if err := r.begin(t, part.Bytes()); err != nil {
			return nil, err
		}
	} else {
		to := r.sum.Float32s()
		for i, v := range part.Float32s() {
			to[i] += v
		}
		whole := r.sum.Int32s()
		for i, v := range part.Int32s() {
			whole[i] += v
		}
	}
	if t.Part < t.Parts-1 {
		if r.o.Summed != nil && r.mate == nil { // of a team's results several are on their way
			r.o.Summed(t.Index/t.Parts, t.Part+1, r.sum)
		}
		return nil, nil
	}
	if typ == r.sum.Type() {
		return r.sum, nil
	}
	narrow, err := engine.NewTensor(typ, r.sum.Shape()...)
	if err != nil {
		return nil, err
	}
	return narrow, narrow.Narrow(r.sum.Float32s())
}
