package tiling

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// plans are compiled tiles, the one used last at the end.
type plans struct {
	list []*planned
	keep int // how many are kept, for they hold packed weights
}

type planned struct {
	*engine.Plan
	has string // boxes of the constants that are its weights; empty: none yet
}

// get is the plan of a tile. One that had to fall back to another device takes all tiles there.
func (s *plans) get(ctx context.Context, j *Job, t *Tile) (*planned, error) {
	i := slices.IndexFunc(s.list, func(pl *planned) bool { return pl.Problem() == t.Problem })
	if i >= 0 {
		pl := s.list[i]
		s.list = append(slices.Delete(s.list, i, i+1), pl)
		return pl, nil
	}
	made, err := j.dev.Plan(ctx, t.Problem, driver.PlanOptions{Algorithm: j.o.Algorithm})
	if err != nil {
		return nil, err
	}
	pl := &planned{Plan: made}
	s.list = append(s.list, pl)
	if made.Device() == j.dev {
		return pl, nil
	}
	if j.running {
		return nil, fmt.Errorf("tile %d of %v: %w", t.Index, j.Tiles, made.Fallback().Reason)
	}
	j.dev = made.Device()
	keep := s.keep
	s.keep = 1
	err = s.trim(pl)
	s.keep = keep
	return pl, err
}

// trim closes those used longest ago but one, until only those to keep are left.
func (s *plans) trim(but *planned) (err error) {
	for len(s.list) > s.keep && s.list[0] != but {
		err = errors.Join(err, s.list[0].Close())
		s.list = s.list[1:]
	}
	return err
}

// load sets the plan's weights to the tile's, unless it has them already.
func (pl *planned) load(ctx context.Context, j *Job, t *Tile, from *[problem.Roles]Source) error {
	roles := t.Problem.Constants()
	if len(roles) == 0 {
		return nil
	}
	key := ""
	for _, r := range roles {
		key += fmt.Sprint(t.Boxes[r].From)
	}
	if pl.has == key {
		return nil
	}
	var constants engine.Operands
	whole := j.Tiles.Problem()
	for _, r := range roles {
		b := t.Boxes[r]
		if m, ok := from[r].(Memory); ok && slices.Equal(b.Size, whole.Shape(r)) && whole.TypeOf(r) == t.Problem.TypeOf(r) {
			constants[r] = m.Tensor
			continue
		}
		read, err := engine.NewTensor(whole.TypeOf(r), b.Size...)
		if err != nil {
			return err
		}
		if err := from[r].ReadBox(ctx, b, read, make([]int, len(b.Size))); err != nil {
			return err
		}
		if constants[r], err = widened(read, t.Problem.TypeOf(r)); err != nil {
			return err
		}
	}
	if err := pl.SetWeights(ctx, constants); err != nil {
		return err
	}
	pl.has = key
	return nil
}

// widened is a tensor as the type: itself, or f16 as f32, which is exact.
func widened(t *engine.Tensor, typ problem.DataType) (*engine.Tensor, error) {
	if t.Type() == typ {
		return t, nil
	}
	return engine.FromFloat32(t.Widen(), t.Shape()...)
}
