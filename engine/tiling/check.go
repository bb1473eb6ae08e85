package tiling

import (
	"context"

	"github.com/gonvolve/gonvolve/engine"
)

// check computes a sample of a tile's outputs once more, if the device was opened by engine.WithCheck. By now the tile's
// inputs have made room for others, so they are read again.
func (r *runner) check(ctx context.Context, t *Tile, from *holder) error {
	if r.dev.Checks() == 0 {
		return nil
	}
	if r.again == nil {
		r.again = &holder{}
	}
	in, err := r.inputs(ctx, t, r.again)
	if err != nil {
		return err
	}
	return r.dev.Check(ctx, t.Problem, from.how, in, from.host)
}

// inputs reads a tile's inputs and constants as its problem has them.
func (r *runner) inputs(ctx context.Context, t *Tile, to *holder) (in engine.Operands, err error) {
	if err := r.read(ctx, t, nil, nil, to); err != nil {
		return in, err
	}
	if in, err = r.constants(ctx, t, &r.from); err != nil {
		return in, err
	}
	for _, role := range t.Problem.Inputs() {
		if in[role], err = widened(to.host[role], t.Problem.TypeOf(role)); err != nil {
			return in, err
		}
	}
	return in, nil
}

// checking is the host memory that checks take, in bytes: a tile's inputs and constants.
func (j *Job) checking() (bytes int64) {
	if j.dev.Checks() == 0 {
		return 0
	}
	p := j.Tiles.grid.largest()
	for _, role := range p.Inputs() {
		bytes += p.BytesOf(role)
	}
	for _, role := range p.Constants() {
		bytes += p.BytesOf(role)
	}
	return bytes
}

// kept is the host memory in which a plan keeps a tile's constants for checks, in bytes.
func (j *Job) kept(t *Tile) (bytes int64) {
	if j.dev.Checks() == 0 {
		return 0
	}
	for _, role := range t.Problem.Constants() {
		bytes += t.Problem.BytesOf(role)
	}
	return bytes
}
