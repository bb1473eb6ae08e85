package tiling

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	ran bool
}

// get is the plan of a tile, here or, if need be, on the device to fall back to: then all tiles go there.
func (s *plans) get(ctx context.Context, j *Job, t *Tile, here bool) (*planned, error) {
	i := slices.IndexFunc(s.list, func(pl *planned) bool { return pl.Problem() == t.Problem })
	if i >= 0 {
		pl := s.list[i]
		s.list = append(slices.Delete(s.list, i, i+1), pl)
		return pl, nil
	}
	plan := j.dev.Plan
	if here {
		plan = j.dev.PlanHere
	}
	made, err := plan(ctx, t.Problem, driver.PlanOptions{Algorithm: j.o.Algorithm, Exact: j.o.Exact})
	if err != nil {
		return nil, err
	}
	j.top().ways.add(made.Info().Arithmetic)
	pl := &planned{Plan: made}
	s.list = append(s.list, pl)
	if made.Device() == j.dev {
		return pl, nil
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

// drop closes all of them, as those of a device that is lost or given up: it need not work.
func (s *plans) drop() {
	for _, pl := range s.list {
		if err := pl.Close(); err != nil {
			slog.Debug("closing a plan of a device that is given up", "error", err)
		}
	}
	s.list = nil
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
	constants, err := j.constants(ctx, t, from)
	if err != nil {
		return &stopped{Reading, err}
	}
	if err := pl.SetWeights(ctx, constants); err != nil {
		return err
	}
	pl.has = key
	return nil
}

// constants reads a tile's weights and the like; what the whole has in memory in one piece is not copied.
func (j *Job) constants(ctx context.Context, t *Tile, from *[problem.Roles]Source) (c engine.Operands, err error) {
	defer j.lockReading()()
	whole := j.Tiles.Problem()
	for _, r := range t.Problem.Constants() {
		b := t.Boxes[r]
		if m, ok := from[r].(Memory); ok && slices.Equal(b.Size, whole.Shape(r)) && whole.TypeOf(r) == t.Problem.TypeOf(r) {
			c[r] = m.Tensor
			continue
		}
		read, err := engine.NewTensor(whole.TypeOf(r), b.Size...)
		if err != nil {
			return c, err
		}
		if err := from[r].ReadBox(ctx, b, read, make([]int, len(b.Size))); err != nil {
			return c, err
		}
		if c[r], err = widened(read, t.Problem.TypeOf(r)); err != nil {
			return c, err
		}
	}
	return c, nil
}

// widened is a tensor as the type: itself, or f16 as f32, which is exact.
func widened(t *engine.Tensor, typ problem.DataType) (*engine.Tensor, error) {
	if t.Type() == typ {
		return t, nil
	}
	return engine.FromFloat32(t.Widen(), t.Shape()...)
}
