package tiling

import (
	"fmt"
	"sync"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// starts are sums that results begin with, by the first tile that is to be added.
type starts struct {
	mu  sync.Mutex
	sum map[int][]byte
}

// start is the tile that a result goes on with, whose first tile is given: after those that Options.Sum has the sum of.
func (r *runner) start(tile int) (int, error) {
	parts, from := r.Tiles.parts(), r.top().o.Sum
	if from == nil || parts == 1 || tile%parts != 0 {
		return tile, nil
	}
	n, sum := from(tile / parts)
	if n == 0 {
		return tile, nil
	}
	if n < 0 || n >= parts {
		return 0, fmt.Errorf("%w: a sum of %d of %d parts", engine.ErrInvalid, n, parts)
	}
	r.starts.mu.Lock()
	defer r.starts.mu.Unlock()
	if r.starts.sum == nil {
		r.starts.sum = map[int][]byte{}
	}
	r.starts.sum[tile+n] = sum
	return tile + n, nil
}

// started takes the sum that a result begins with before the tile is added; nil if there is none.
func (r *runner) started(tile int) []byte {
	r.starts.mu.Lock()
	defer r.starts.mu.Unlock()
	sum := r.starts.sum[tile]
	delete(r.starts.sum, tile)
	return sum
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
	if from := r.started(t.Index); from != nil {
		if err := r.begin(t, from); err != nil {
			return nil, err
		}
		if r.mate == nil {
			r.done += t.Part
		} else {
			r.whole.team.goesOn(t.Part)
		}
	}
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
		if summed := r.top().o.Summed; summed != nil {
			summed(t.Index/t.Parts, t.Part+1, r.sum)
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
