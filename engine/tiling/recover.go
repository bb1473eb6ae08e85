package tiling

import (
	"context"
	"errors"
	"fmt"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

const (
	reopenings = 3 // of a device, without a tile finished in between, before another takes its place
	divisions  = 3 // of tiles in halves, before another device takes them
)

// stopped is why a run stopped, and where. What comes of sources and sinks is not the device's fault.
type stopped struct {
	stage Stage
	error
}

func (s *stopped) Unwrap() error { return s.error }

// errUnshared is memory of a device that shares its memory, but not all of it.
var errUnshared = errors.New("memory that the host has no part in")

// smallest is the error of a tile that cannot be cut once more.
type smallest struct{ error }

func (s *smallest) Unwrap() error { return s.error }

// recovery is what was done so far so that a run goes on.
type recovery struct {
	reopened int   // times that the device was opened again …
	at       int   // … for this tile
	divided  int   // times that tiles were halved
	limit    int64 // of memory, for the parts of a tile; 0: tiles are whole
	why      error // of the last time
}

// all computes the tiles, whatever happens to the device: one that is lost is opened again, tiles for which memory is
// short are divided, and where nothing helps another device goes on, each time from the first tile that is not written.
func (r *runner) all(ctx context.Context) error {
	for r.next < r.Tiles.Len() {
		var err error
		if r.recovery.limit > 0 {
			err = r.divide(ctx)
		} else if err = r.pipeline(ctx); err == nil {
			return nil
		}
		if err != nil {
			if err = r.recover(ctx, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// recover finds out how to go on after an error, or returns it.
func (r *runner) recover(ctx context.Context, err error) error {
	var s *stopped
	lost := errors.Is(err, engine.ErrDeviceLost)
	switch {
	case errors.Is(err, errUnshared):
		r.copies = true
		return nil
	case ctx.Err() != nil && !errors.Is(err, ctx.Err()): // whatever else went wrong meanwhile
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	case ctx.Err() != nil || r.o.part || errors.As(err, &s) && (s.stage == Reading || s.stage == Writing):
		return err
	case r.next == r.Tiles.Len(): // only the streams had to be closed
		if lost {
			return nil // the next run will see
		}
		return err
	case lost:
		return r.reopen(ctx, err)
	case refused(err):
		return r.halve(ctx, err)
	}
	return err
}

// reopen opens the device again, or moves on.
func (r *runner) reopen(ctx context.Context, why error) error {
	if r.recovery.at != r.next {
		r.recovery.at, r.recovery.reopened = r.next, 0
	}
	if r.recovery.reopened == reopenings {
		return r.move(ctx, why)
	}
	r.recovery.reopened++
	r.plans.drop()
	if err := r.dev.Reopen(ctx, r.Tiles.Problem()); err != nil {
		return r.move(ctx, err)
	}
	return nil
}

// halve divides tiles into parts that take half of the memory, or moves on.
func (r *runner) halve(ctx context.Context, why error) error {
	var end *smallest
	switch {
	case errors.As(why, &end) && r.recovery.why != nil:
		return r.move(ctx, fmt.Errorf("%w; and in smaller parts: %w", r.recovery.why, why))
	case errors.As(why, &end) || r.recovery.divided == divisions:
		return r.move(ctx, why)
	}
	if r.recovery.divided == 0 {
		r.recovery.limit = r.Tiles.Footprint().Total()
	}
	r.recovery.divided++
	r.recovery.why = why
	r.recovery.limit = max(1, r.recovery.limit/2)
	r.plans.drop() // the parts have their own
	spec := r.dev.Spec()
	r.dev.Note(ctx, engine.Fallback{Problem: r.Tiles.Problem(), Step: engine.Divided, From: spec, To: spec, Reason: why})
	return nil
}

// move goes on with another device.
func (r *runner) move(ctx context.Context, why error) error {
	other, fell, err := replacement(ctx, r.dev, r.Tiles.Problem(), r.o.Algorithm, why)
	if err != nil {
		return err
	}
	r.plans.drop()
	r.dev, r.recovery = other, recovery{at: r.next}
	over, err := r.compile(ctx, limits(other, r.o.MemLimit).MemoryBytes)
	r.fell = fell
	switch {
	case err == nil && over > 0:
		return r.halve(ctx, fmt.Errorf("%w: tiles take %d bytes on %s", driver.ErrOutOfMemory, over, other.Spec()))
	case err != nil:
		return r.recover(ctx, err)
	}
	return nil
}

// replacement is the device to go on with, unless an algorithm of this one is asked for.
func replacement(ctx context.Context, dev *engine.Device, p problem.Problem, algorithm string, why error) (
	*engine.Device, *engine.Fallback, error) {
	if algorithm != "" {
		return nil, nil, why
	}
	other, err := dev.Replacement(ctx, p, why)
	if err != nil {
		return nil, nil, err
	}
	return other, &engine.Fallback{Problem: p, Step: engine.Moved, From: dev.Spec(), To: other.Spec(), Reason: why}, nil
}

// divide computes the next tile as a problem of its own, in parts that keep to the limit.
func (r *runner) divide(ctx context.Context) error {
	t := r.Tiles.Tile(r.next)
	if r.skip(t.Index / t.Parts) {
		r.next++
		return nil
	}
	next, err := r.start(t.Index)
	if err != nil {
		return &stopped{Reading, err}
	}
	if next != t.Index {
		t = r.Tiles.Tile(next)
	}
	in, err := r.inputs(ctx, &t, &holder{})
	if err != nil {
		return &stopped{Reading, err}
	}
	o := Options{MemLimit: r.recovery.limit, Algorithm: r.o.Algorithm, Exact: r.o.Exact, part: true}
	j, err := prepareOne(ctx, r.dev, t.Problem, o)
	if errors.Is(err, driver.ErrUnsupported) {
		return &smallest{err}
	}
	if err != nil {
		return err
	}
	j.Poison(r.poisons())
	out, err := j.RunHost(ctx, in)
	r.top().ways.add(j.Arithmetics()...)
	if cerr := j.Close(); err != nil || cerr != nil {
		return errors.Join(err, cerr)
	}
	if err := r.put(ctx, &t, &holder{host: out}); err != nil { // its parts were checked
		return &stopped{Writing, err}
	}
	return nil
}
