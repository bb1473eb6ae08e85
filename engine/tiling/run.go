package tiling

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// A stage is what happens to a tile, for Options.Stage.
type Stage string

// The stages. Each has one goroutine, so that the stages of different tiles overlap.
const (
	Reading     Stage = "read"     // from the sources to the host's memory
	Uploading   Stage = "upload"   // to the device, unless the host reads into its memory
	Computing   Stage = "compute"  // on the device, with what it takes to load other weights
	Downloading Stage = "download" // to the host's memory, unless the host writes from the device's
	Writing     Stage = "write"    // to the sinks, or to a sum of several tiles
)

// Stages are all stages in their order.
func Stages() []Stage { return []Stage{Reading, Uploading, Computing, Downloading, Writing} }

// streams is how many there are: to upload, to compute, to download.
const streams = 3

// pageBytes is how much memory a system fills in at once, at least.
const pageBytes = 4 << 10

// inShared is how many tiles' inputs and outputs there are where the device's memory is the host's: what would be staging memory makes
// room for more, so that computing goes on when a disk that reads and writes is late with one. Of small tiles there is one more each.
func (r *runner) inShared() (in, out int) {
	in, out = holders, holders+1
	if t := r.Tiles.grid.largest(); t.Bytes() <= r.o.TileBytes/2*3 {
		in, out = in+1, out+1
	}
	return in, out
}

// holder is memory for one tile's inputs or outputs, on the host or on the device. It is taken once, for the largest tile.
type holder struct {
	host, hostAll engine.Operands // of the tile, and all memory
	dev, devAll   engine.Args
	shared        bool            // the host's tensors are the device's
	how           driver.PlanInfo // of the plan that the outputs are of
}

// runner is one run of a job.
type runner struct {
	*Job
	from  [problem.Roles]Source
	to    [problem.Roles]Sink
	sizes [problem.Roles]int64 // bytes of the largest tensors, in whole words

	up, work, down *engine.Stream
	sumAll         *engine.Tensor // memory of the sum
	sum            *engine.Tensor // of the tiles so far
	next           int            // tile to be written; all before it are done
	done           int            // tiles
	bytes          int64

	copies   bool    // nothing is shared, though there is memory that could be
	again    *holder // inputs for checks
	recovery recovery
	pace     pace
	starts   starts
	there    []bool // results that another run of this job's made; nil: none
	mate     *mate  // of a team, whose queue the tiles come from; nil for a job of one device
}

// newRunner is a run of the tiles that a job has for its device.
func newRunner(j *Job, from [problem.Roles]Source, to [problem.Roles]Sink, m *mate) *runner {
	for _, pl := range j.plans.list {
		pl.has = "" // the weights may be others this time
	}
	r := &runner{Job: j, from: from, to: to, mate: m}
	j.Tiles.grid.measure(func(role problem.Role, _, bytes int64) { r.sizes[role] = bytes })
	return r
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
	j.running = true
	defer func() { j.running = false }()
	r := newRunner(j, from, to, nil)
	if j.team != nil {
		left, err := j.team.run(ctx, j, from, to, r.skip)
		if left == 0 || err != nil {
			return err
		}
		r.there, j.plans.keep = j.team.written, 1 // all have failed: the first one goes on, as a run of one device does
	}
	parts := j.Tiles.parts()
	for i := range j.Tiles.Results() {
		if r.skip(i) {
			r.done += parts
		}
	}
	return r.all(ctx)
}

// skip says whether a result is there already.
func (r *runner) skip(result int) bool {
	return r.there != nil && r.there[result] || r.o.Skip != nil && r.o.Skip(result)
}

// pipeline computes tiles from the next one to the last.
func (r *runner) pipeline(ctx context.Context) (err error) {
	if r.o.MemLimit > 0 {
		defer r.dev.SaveMemory()()
	}
	r.pace = pace{}
	defer r.keepPace()
	for _, s := range []**engine.Stream{&r.up, &r.work, &r.down} {
		if *s, err = r.dev.NewStream(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, (*s).Close()) }()
	}
	return r.run(ctx)
}

// flight is a tile on its way, and the memory that it is in.
type flight struct {
	tile   *Tile
	in     *holder
	inStep bool // the next one is read once this one can be written
	second bool // the one before is in step, too, and written before there is more to this one than reading
}

// steps keep tiles in step: one that can be written, and one that was.
type steps struct{ ready, written chan struct{} }

// run sends the tiles through the stages. Between two stages there are holders: one is filled while another is read.
func (r *runner) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	var all []*holder
	shared, err := r.shares()
	if err != nil {
		return err
	}
	tiles := r.Tiles.Len()
	pool := func(n int, touched ...problem.Role) chan *holder {
		list := make([]*holder, min(n, tiles))
		for i := range list {
			list[i] = &holder{shared: shared}
		}
		all = append(all, list...)
		c := make(chan *holder, len(list))
		wg.Go(func() {
			for _, h := range list {
				r.touch(h, touched)
				c <- h
			}
		})
		return c
	}
	landed := make(chan struct{}, tiles) // tiles that were written
	step := steps{make(chan struct{}, 1), make(chan struct{}, 1)}
	afterReading, beforeWriting := Uploading, Downloading
	if shared {
		afterReading, beforeWriting = Computing, Computing
	}
	// A stage takes tiles in holders of the pool from, and fills those of the pool to, where there are such pools.
	stage := func(name Stage, tiles <-chan flight, from chan<- *holder, to <-chan *holder, do func(context.Context, *Tile, *holder, *holder) error) <-chan flight {
		next := make(chan flight, 2*holders) // room for all
		wg.Go(func() {
			defer close(next)
			for {
				f, ok := receive(ctx, tiles)
				if !ok {
					return
				}
				var h *holder
				if to != nil {
					if h, ok = receive(ctx, to); !ok {
						return
					}
				}
				if f.second && name == afterReading {
					if _, ok := receive(ctx, step.written); !ok {
						return
					}
				}
				start := time.Now()
				if err := do(ctx, f.tile, f.in, h); err != nil {
					if s := new(stopped); !errors.As(err, &s) {
						err = &stopped{name, err}
					}
					cancel(err)
					return
				}
				if r.o.Stage != nil {
					r.o.Stage(name, f.tile.Index, start, time.Now())
				}
				if from != nil {
					from <- f.in
				}
				if f.inStep && name == beforeWriting {
					step.ready <- struct{}{}
				}
				if to != nil {
					f.in = h
					next <- f
					continue
				}
				if f.inStep {
					step.written <- struct{}{}
				}
				landed <- struct{}{}
			}
		})
		return next
	}
	list := r.tiles(ctx, cancel, &wg, landed, step)
	if shared {
		p := r.Tiles.Problem()
		n, m := r.inShared()
		up, out := pool(n), pool(m, p.Outputs()...)
		list = stage(Reading, list, nil, up, r.inTurn())
		list = stage(Computing, list, up, out, r.compute)
		stage(Writing, list, out, nil, r.write)
	} else {
		read, up, out, down := pool(holders), pool(holders), pool(holders), pool(holders)
		list = stage(Reading, list, nil, read, r.inTurn())
		list = stage(Uploading, list, read, up, r.upload)
		list = stage(Computing, list, up, out, r.compute)
		list = stage(Downloading, list, out, down, r.download)
		stage(Writing, list, down, nil, r.write)
	}
	wg.Wait()
	for _, h := range all {
		for _, t := range h.devAll {
			t.Free()
		}
	}
	return context.Cause(ctx)
}

// touch takes memory that host and device share, and has the system fill in its pages, which takes it time: the first tiles are
// read meanwhile. What cannot be had is missed where it is needed.
func (r *runner) touch(h *holder, roles []problem.Role) {
	for _, role := range roles {
		t, err := r.onHost(h, role, problem.U8, []int{int(r.sizes[role])})
		if err != nil {
			return
		}
		for b := t.Bytes(); len(b) > 0; b = b[min(pageBytes, len(b)):] {
			b[0] = 0
		}
	}
}

// shares says whether tiles are read to and written from the device's own memory, without copies.
func (r *runner) shares() (bool, error) {
	if r.copies {
		return false, nil
	}
	p, t := r.Tiles.Problem(), r.Tiles.Tile(0)
	for _, role := range p.Inputs() {
		if p.TypeOf(role) != t.Problem.TypeOf(role) {
			return false, nil // they are converted on the way
		}
	}
	probe, err := r.dev.NewTensor(problem.F32, 1)
	if err != nil {
		return false, &stopped{Uploading, err}
	}
	defer probe.Free()
	return probe.Host() != nil, nil
}

// receive takes from a channel until that is closed or ctx ends.
func receive[T any](ctx context.Context, c <-chan T) (v T, ok bool) {
	if ctx.Err() != nil { // else the choice would be at random
		return v, false
	}
	select {
	case v, ok = <-c:
		return v, ok
	case <-ctx.Done():
		return v, false
	}
}

// tiles sends the tiles that are to be computed, of which landed gets word when they are written.
func (r *runner) tiles(ctx context.Context, fail context.CancelCauseFunc, wg *sync.WaitGroup, landed <-chan struct{}, step steps) <-chan flight {
	parts := r.Tiles.parts()
	c := make(chan flight)
	wg.Go(func() {
		defer close(c)
		flying := 0
		land := func() {
			for ; flying > 0; flying-- {
				receive(ctx, landed)
			}
		}
		next := r.queue(ctx)
		last := false // the last one is in step
		for i, ok := next(); ok; i, ok = next() {
			end := (i/parts + 1) * parts
			i, err := r.start(i)
			if err != nil {
				fail(&stopped{Reading, err})
				return
			}
			for ; i < end; i++ {
				t := r.Tiles.Tile(i)
				alone := r.o.Alone != nil && r.o.Alone(i)
				f := flight{tile: &t, inStep: r.o.InStep != nil && r.o.InStep(i)}
				if f.second = last && f.inStep; last && !f.inStep {
					receive(ctx, step.written)
				}
				if alone || f.inStep && !last {
					land()
				}
				select {
				case c <- f:
					flying++
				case <-ctx.Done():
					return
				}
				if alone {
					land()
				}
				if last = f.inStep; last {
					receive(ctx, step.ready)
				}
			}
		}
	})
	return c
}

// queue has the results to make, by the first tile of each that is missing: one after another, or as a team shares them.
func (r *runner) queue(ctx context.Context) (next func() (tile int, ok bool)) {
	parts, at := r.Tiles.parts(), r.next
	if r.mate != nil {
		return func() (int, bool) {
			result, ok := r.whole.team.take(ctx, r.mate)
			return result * parts, ok
		}
	}
	return func() (tile int, ok bool) {
		for at < r.Tiles.Len() && r.skip(at/parts) {
			at = (at/parts + 1) * parts
		}
		tile, at = at, (at/parts+1)*parts
		return tile, tile < r.Tiles.Len()
	}
}

// onHost is the tensor of a role in the holder's memory.
func (r *runner) onHost(h *holder, role problem.Role, typ problem.DataType, shape []int) (t *engine.Tensor, err error) {
	if h.shared {
		dev, err := r.onDevice(h, role, typ, shape)
		if err != nil {
			return nil, &stopped{Uploading, err} // it is not the source's fault
		}
		if h.host[role] = dev.Host(); h.host[role] == nil {
			return nil, &stopped{Uploading, errUnshared}
		}
		return h.host[role], nil
	}
	if h.hostAll[role] == nil {
		if h.hostAll[role], err = engine.NewTensor(problem.U8, int(r.sizes[role])); err != nil {
			return nil, err
		}
	}
	h.host[role], err = h.hostAll[role].Within(typ, shape...)
	return h.host[role], err
}

// onDevice is the device tensor of a role in the holder's memory.
func (r *runner) onDevice(h *holder, role problem.Role, typ problem.DataType, shape []int) (t *engine.DeviceTensor, err error) {
	if h.devAll[role] == nil {
		if h.devAll[role], err = r.dev.NewTensor(problem.U8, int(r.sizes[role])); err != nil {
			return nil, err
		}
	}
	h.dev[role], err = h.devAll[role].Within(typ, shape...)
	return h.dev[role], err
}

// inTurn reads tiles one after another. What a tile shares with the one before it, the halo, is still in that one's memory, though
// it may be computed by now: it is not read twice.
func (r *runner) inTurn() func(context.Context, *Tile, *holder, *holder) error {
	var before *Tile
	var was *holder
	return func(ctx context.Context, t *Tile, _, to *holder) error {
		if was == to {
			before = nil
		}
		err := r.read(ctx, t, before, was, to)
		before, was = t, to
		return err
	}
}

// read reads the tile's inputs; before is the tile that was read to another holder's memory, or nil.
func (r *runner) read(ctx context.Context, t, before *Tile, was, to *holder) error {
	defer r.lockReading()()
	p := r.Tiles.Problem()
	for _, role := range t.Problem.Inputs() {
		b := t.Boxes[role]
		in, err := r.onHost(to, role, p.TypeOf(role), b.Size)
		if err != nil {
			return err
		}
		whole := p.Shape(role)
		if before == nil || role == problem.Ind { // which is changed where it is
			err = readPadded(ctx, r.from[role], whole, b, p.PadMode, in, make([]int, len(whole)))
		} else {
			err = readAfter(ctx, r.from[role], whole, before.Boxes[role], b, p.PadMode, was.host[role], in)
		}
		if err != nil {
			return err
		}
		if role != problem.Ind {
			continue
		}
		if r.Tiles.Len() > 1 {
			err = newReindex(&p, t).toTile(in.Int32s(), b.Size)
		} else {
			err = p.CheckIndices(in.Int32s())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// upload copies the tile's inputs to the device.
func (r *runner) upload(ctx context.Context, t *Tile, from, to *holder) error {
	for _, role := range t.Problem.Inputs() {
		typ := t.Problem.TypeOf(role)
		dev, err := r.onDevice(to, role, typ, t.Problem.Shape(role))
		if err != nil {
			return err
		}
		host, err := widened(from.host[role], typ)
		if err != nil {
			return err
		}
		if err := r.up.Write(ctx, dev, host); err != nil {
			return err
		}
	}
	return r.up.Wait(ctx)
}

// compute runs the tile's plan.
func (r *runner) compute(ctx context.Context, t *Tile, from, to *holder) error {
	pl, err := r.plans.get(ctx, r.Job, t, true)
	if err != nil {
		return err
	}
	if err := r.plans.trim(pl); err != nil {
		return err
	}
	start, first := time.Now(), !pl.ran // then drivers may compile
	pl.ran = true
	if err := pl.load(ctx, r.Job, t, &r.from); err != nil {
		return err
	}
	var args engine.Args
	for _, role := range t.Problem.Inputs() {
		args[role] = from.dev[role]
	}
	for _, role := range t.Problem.Outputs() {
		typ, shape := t.Problem.TypeOf(role), t.Problem.Shape(role)
		if to.shared { // for what writes it
			_, err = r.onHost(to, role, typ, shape)
		} else {
			_, err = r.onDevice(to, role, typ, shape)
		}
		if err != nil {
			return err
		}
		args[role] = to.dev[role]
	}
	to.how = pl.Info()
	if r.poisons() {
		for _, role := range t.Problem.Outputs() {
			if err := r.work.Poison(ctx, args[role]); err != nil {
				return err
			}
		}
	}
	ev, err := pl.Run(ctx, r.work, args)
	if err == nil {
		err = ev.Wait(ctx)
	}
	if err == nil && !first {
		r.pace.work += work(&t.Problem)
		r.pace.took += time.Since(start)
	}
	return err
}

// download copies the tile's outputs to the host.
func (r *runner) download(ctx context.Context, t *Tile, from, to *holder) error {
	to.how = from.how
	for _, role := range t.Problem.Outputs() {
		host, err := r.onHost(to, role, t.Problem.TypeOf(role), t.Problem.Shape(role))
		if err != nil {
			return err
		}
		if err := r.down.Download(ctx, host, from.dev[role]); err != nil {
			return err
		}
	}
	return nil
}

// write writes the tile's outputs, after a check.
func (r *runner) write(ctx context.Context, t *Tile, from, _ *holder) error {
	if err := r.check(ctx, t, from); err != nil {
		return err
	}
	return r.put(ctx, t, from)
}

// put writes the tile's outputs, or adds them to those of the tiles before it.
func (r *runner) put(ctx context.Context, t *Tile, from *holder) error {
	p := r.Tiles.Problem()
	for _, role := range t.Problem.Outputs() {
		result := from.host[role]
		if role == problem.Ind && r.Tiles.Len() > 1 {
			newReindex(&p, t).toWhole(result.Int32s(), result.Shape())
		}
		b, keep := t.Boxes[role], make([]int, len(t.Boxes[role].Size))
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
		if err := r.toSink(ctx, role, b, result, keep); err != nil {
			return err
		}
	}
	if r.mate != nil {
		r.whole.team.done(r.whole, r.mate, t)
		return nil
	}
	if t.Part == t.Parts-1 && r.o.Written != nil {
		r.o.Written(t.Index / t.Parts)
	}
	r.next = t.Index + 1
	r.done++
	r.bytes += t.Problem.Bytes()
	if r.o.Progress != nil {
		r.o.Progress(r.done, r.Tiles.Len(), r.bytes)
	}
	return nil
}

// toSink writes a box, one at a time, whoever computed it.
func (r *runner) toSink(ctx context.Context, role problem.Role, b Box, from *engine.Tensor, at []int) error {
	if r.mate != nil {
		r.whole.team.writing.Lock()
		defer r.whole.team.writing.Unlock()
	}
	return r.to[role].WriteBox(ctx, b, from, at)
}
