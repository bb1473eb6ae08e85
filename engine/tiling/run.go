package tiling

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// A stage is what happens to a tile, for Options.Stage.
type Stage string

// The stages. Each has one goroutine and one stream, so that the stages of different tiles overlap.
const (
	Uploading   Stage = "upload" // read, and copied to the device
	Computing   Stage = "compute"
	Downloading Stage = "download" // copied from the device, and written
)

// slot is the device memory of one tile in flight, and the tile that is in it.
type slot struct {
	tile Tile
	args engine.Args
}

// runner is one run of a job.
type runner struct {
	*Job
	from [problem.Roles]Source
	to   [problem.Roles]Sink

	up, work, down *engine.Stream
	staging        [2]engine.Operands // as tiles read, and write
	sum            *engine.Tensor     // of the tiles so far
	bytes          int64
}

// Run computes from sources, one for each of the problem's Constants and Inputs, to sinks, one for each of its Outputs.
// Several tiles are on their way at a time. It stops within about one tile when ctx ends. One Run runs at a time.
func (j *Job) Run(ctx context.Context, from [problem.Roles]Source, to [problem.Roles]Sink) (err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := j.Tiles.Problem()
	for _, list := range [2][]problem.Role{p.Constants(), p.Inputs()} {
		for _, r := range list {
			if from[r] == nil {
				return fmt.Errorf("%w: %v is missing", engine.ErrInvalid, r)
			}
		}
	}
	for _, r := range p.Outputs() {
		if to[r] == nil {
			return fmt.Errorf("%w: %v has no sink", engine.ErrInvalid, r)
		}
	}
	for _, pl := range j.plans.list {
		pl.has = "" // the weights may be others this time
	}
	j.running = true
	defer func() { j.running = false }()
	r := &runner{Job: j, from: from, to: to}
	for _, s := range []**engine.Stream{&r.up, &r.work, &r.down} {
		if *s, err = j.dev.NewStream(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, (*s).Close()) }()
	}
	return r.run(ctx)
}

// run moves slots around: from upload to computation to download and back.
func (r *runner) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	n := r.Tiles.Len()
	slots := make([]slot, min(inFlight, n))
	free, ready, done := make(chan *slot, len(slots)), make(chan *slot, len(slots)), make(chan *slot, len(slots))
	for i := range slots {
		free <- &slots[i]
	}
	var wg sync.WaitGroup
	stage := func(name Stage, in <-chan *slot, out chan<- *slot, do func(context.Context, *slot) error) {
		wg.Go(func() {
			for i := range n {
				var s *slot
				select {
				case s = <-in:
				case <-ctx.Done():
					return
				}
				if name == Uploading {
					s.tile = r.Tiles.Tile(i)
				}
				start := time.Now()
				err := ctx.Err()
				if err == nil {
					err = do(ctx, s)
				}
				if err != nil {
					cancel(err)
					return
				}
				if r.o.Stage != nil {
					r.o.Stage(name, i, start, time.Now())
				}
				out <- s // there is room for all of them
			}
		})
	}
	stage(Uploading, free, ready, r.upload)
	stage(Computing, ready, done, r.compute)
	stage(Downloading, done, free, r.download)
	wg.Wait()
	for i := range slots {
		for _, t := range slots[i].args {
			t.Free()
		}
	}
	return context.Cause(ctx)
}

// tensor is a host tensor of the type and shape, the last one of the role if it fits.
func tensor(t **engine.Tensor, typ problem.DataType, shape []int) (err error) {
	if *t != nil && (*t).Type() == typ {
		if slices.Equal((*t).Shape(), shape) {
			return nil
		}
		if len((*t).Bytes()) == typ.Size()*elems(shape) {
			*t, err = (*t).Reshape(shape...)
			return err
		}
	}
	*t = nil // so that it can go before the next one comes
	*t, err = engine.NewTensor(typ, shape...)
	return err
}

// place is the slot's device memory for a role.
func (r *runner) place(s *slot, role problem.Role) (*engine.DeviceTensor, error) {
	typ, shape := s.tile.Problem.TypeOf(role), s.tile.Problem.Shape(role)
	t := &s.args[role]
	if *t != nil && (*t).Type() == typ && slices.Equal((*t).Shape(), shape) {
		return *t, nil
	}
	(*t).Free()
	*t = nil
	var err error
	*t, err = r.dev.NewTensor(typ, shape...)
	return *t, err
}

// upload reads the tile's inputs and copies them to the device.
func (r *runner) upload(ctx context.Context, s *slot) error {
	p, t := r.Tiles.Problem(), &s.tile
	for _, role := range t.Problem.Inputs() {
		b, in := t.Boxes[role], &r.staging[0][role]
		if err := tensor(in, p.TypeOf(role), b.Size); err != nil {
			return err
		}
		if err := readPadded(ctx, r.from[role], p.Shape(role), b, p.PadMode, *in); err != nil {
			return err
		}
		if role == problem.Ind && r.Tiles.Len() > 1 {
			if err := newReindex(&p, t).toTile((*in).Int32s(), b.Size); err != nil {
				return err
			}
		}
		to, err := r.place(s, role)
		if err != nil {
			return err
		}
		from, err := widened(*in, t.Problem.TypeOf(role))
		if err != nil {
			return err
		}
		if err := r.up.Write(ctx, to, from); err != nil {
			return err
		}
	}
	return r.up.Wait(ctx)
}

// compute runs the tile's plan.
func (r *runner) compute(ctx context.Context, s *slot) error {
	pl, err := r.plans.get(ctx, r.Job, &s.tile)
	if err != nil {
		return err
	}
	if err := r.plans.trim(pl); err != nil {
		return err
	}
	if err := pl.load(ctx, r.Job, &s.tile, &r.from); err != nil {
		return err
	}
	for _, role := range s.tile.Problem.Outputs() {
		if _, err := r.place(s, role); err != nil {
			return err
		}
	}
	ev, err := pl.Run(ctx, r.work, s.args)
	if err != nil {
		return err
	}
	return ev.Wait(ctx)
}

// download copies the tile's outputs to the host, and writes them or adds them to those before.
func (r *runner) download(ctx context.Context, s *slot) error {
	p, t := r.Tiles.Problem(), &s.tile
	for _, role := range t.Problem.Outputs() {
		out := &r.staging[1][role]
		if err := tensor(out, t.Problem.TypeOf(role), t.Problem.Shape(role)); err != nil {
			return err
		}
		if err := r.down.Download(ctx, *out, s.args[role]); err != nil {
			return err
		}
		if role == problem.Ind && r.Tiles.Len() > 1 {
			newReindex(&p, t).toWhole((*out).Int32s(), t.Problem.Shape(role))
		}
		b, keep, result := t.Boxes[role], make([]int, len(t.Boxes[role].Size)), *out
		if role == t.Problem.Outputs()[0] {
			keep = t.Keep
		}
		if t.Parts > 1 {
			done, err := r.add(t, result, p.TypeOf(role))
			if err != nil {
				return err
			}
			if result = done; result == nil {
				continue
			}
		}
		if err := r.to[role].WriteBox(ctx, b, result, keep); err != nil {
			return err
		}
	}
	r.bytes += t.Problem.Bytes()
	if r.o.Progress != nil {
		r.o.Progress(t.Index+1, r.Tiles.Len(), r.bytes)
	}
	return nil
}

// add adds a partial sum to those before it, and returns their sum in the result's type once it is complete.
func (r *runner) add(t *Tile, part *engine.Tensor, typ problem.DataType) (*engine.Tensor, error) {
	if t.Part == 0 {
		if err := tensor(&r.sum, part.Type(), part.Shape()); err != nil {
			return nil, err
		}
		copy(r.sum.Bytes(), part.Bytes())
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
