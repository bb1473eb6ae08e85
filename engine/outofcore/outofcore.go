// Package outofcore computes problems between .npy files that need not fit in memory: in tiles that are read, computed and
// written within a memory limit, by a run that can be interrupted at any time, and goes on from there.
//
// While it runs, a result is in a file of its name with ".partial" behind, and beside the first one lies a journal
// (".journal") of what is finished. A tile counts as finished when its data is on the disk before its entry in the journal
// is. Results that are sums of many tiles are kept now and then while they are added up, in two more files (".sum0", ".sum1")
// for each device that adds.
// What is complete gets its own name, and the journal goes. A run is taken up again by one of the same problem with the
// same inputs, on whatever device: its cut is the journal's. One with other inputs is refused.
package outofcore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tensorio"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

// ErrInterrupted is what errors wrap that stand in the way of taking up an interrupted run.
var ErrInterrupted = errors.New("interrupted run")

// Files are a problem's tensors.
type Files struct {
	In  [problem.Roles]tiling.Source // of each input and constant: *tensorio.Array or tiling.Memory
	Out [problem.Roles]string        // .npy files to write; outputs without one are dropped, but not all of them
}

// Options of Prepare.
type Options struct {
	// Tiling is as for tiling.Prepare. TileBytes, Steps, Skip, Written, Sum and Summed are the run's own.
	Tiling tiling.Options
	// Restart forgets an interrupted run, whatever it was.
	Restart bool

	faults faults
}

// faults are what tests break.
type faults struct {
	sink     func(tiling.Sink) tiling.Sink
	sync     func() error // before results are synced
	everySum bool         // each partial sum is kept
	die      bool         // nothing is put into the journal at the end of a run, as if the process had been killed
}

// Run is a problem that is ready to run between files.
type Run struct {
	// Job is how it is cut and computed.
	Job *tiling.Job

	p        problem.Problem
	o        Options
	files    Files
	outputs  []problem.Role // those that have files
	journal  *journal
	finished []bool // results, as the journal has them
	count    int    // of them
	sums     *sums  // nil if no tiles are added up
	parts    int    // of results that are not finished: those that are added up
}

// Syncing is the stage in which finished tiles go from the system's memory to the disk, beside the others. It has the number
// of the last of them.
const Syncing tiling.Stage = "sync"

// tileBytes is how large tiles are: a disk that streams is as fast with them as with larger ones, and they are soon under way.
const tileBytes = 48 << 20

const (
	partialSuffix = ".partial"
	journalSuffix = ".journal"
)

// Prepare takes up a run that was interrupted, or prepares a new one. Nothing is written before Run, and sources and device
// remain the caller's to close.
func Prepare(ctx context.Context, dev *engine.Device, p problem.Problem, files Files, o Options) (_ *Run, err error) {
	r := &Run{p: p, o: o, files: files}
	for _, role := range p.Outputs() {
		if files.Out[role] != "" {
			r.outputs = append(r.outputs, role)
		}
	}
	if err := r.writable(); err != nil {
		return nil, err
	}
	id, err := r.identify()
	if err != nil {
		return nil, err
	}
	journal := files.Out[r.outputs[0]] + journalSuffix
	if r.journal, err = openJournal(journal, id, o.Restart); errors.Is(err, errEnded) && r.over() {
		return nil, fmt.Errorf("%w: %s is its result already, over its own source: nothing is left to do; remove %s before another run",
			ErrInterrupted, files.Out[r.outputs[0]], journal)
	} else if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.journal.close())
		}
	}()
	t := &r.o.Tiling
	if t.Steps = r.journal.head.Steps; t.Steps != nil {
		defer func() {
			if err != nil {
				err = fmt.Errorf("%w: %s was cut for another memory limit or device; give this one as much, or start over (--restart): %w",
					ErrInterrupted, r.files.Out[r.outputs[0]], err)
			}
		}()
	}
	t.TileBytes = tileBytes
	t.Skip = func(result int) bool { return r.finished[result] }
	t.Written = func(result int) {
		r.journal.written(result)
		if r.sums != nil {
			r.sums.done(result)
		}
	}
	t.Sum = func(result int) (int, []byte) { return r.sums.load(result) }
	t.Summed = func(result, parts int, sum *engine.Tensor) { r.sums.keep(result, parts, sum.Bytes()) }
	if r.Job, err = tiling.Prepare(ctx, dev, p, *t); err != nil {
		return nil, err
	}
	r.finished = make([]bool, r.Job.Tiles.Results())
	for _, d := range r.journal.done {
		if d[1] >= len(r.finished) {
			return nil, errors.Join(fmt.Errorf("%w: result %d of %d", ErrInterrupted, d[1], len(r.finished)), r.Job.Close())
		}
		for i := d[0]; i <= d[1]; i++ {
			if !r.finished[i] {
				r.finished[i] = true
				r.count++
			}
		}
	}
	if r.Job.Tiles.Results() < r.Job.Tiles.Len() {
		if err := r.takeSums(); err != nil {
			return nil, errors.Join(err, r.Job.Close())
		}
	}
	return r, nil
}

// writable says what is wrong with the files to write to, as far as that can be known before there is something to write.
func (r *Run) writable() error {
	if r.outputs == nil {
		return fmt.Errorf("%w: no file to write to", engine.ErrInvalid)
	}
	for i, role := range r.outputs {
		path := r.files.Out[role]
		if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
			return fmt.Errorf("%w: %v: %s is no regular file; write to another one", engine.ErrInvalid, role, path)
		}
		for _, other := range r.outputs[:i] {
			if filepath.Clean(r.files.Out[other]) == filepath.Clean(path) {
				return fmt.Errorf("%w: both %v and %v are to be written to %s", engine.ErrInvalid, other, role, path)
			}
		}
	}
	return nil
}

// over says that the results have their names, one of them that of an input.
func (r *Run) over() bool {
	for _, role := range r.outputs {
		if _, err := os.Stat(r.files.Out[role] + partialSuffix); !errors.Is(err, os.ErrNotExist) {
			return false
		}
	}
	return slices.ContainsFunc(r.outputs, r.replaces)
}

// replaces says that a result has the name of an input.
func (r *Run) replaces(role problem.Role) bool {
	result, err := os.Stat(r.files.Out[role])
	if err != nil {
		return false
	}
	for _, in := range r.files.In {
		if a, ok := in.(*tensorio.Array); ok {
			if source, err := a.Stat(); err == nil && os.SameFile(source, result) {
				return true
			}
		}
	}
	return false
}

// takeSums takes up the sums of results that are not finished.
func (r *Run) takeSums() (err error) {
	h := r.journal.head
	h.Steps, h.Device = r.Job.Tiles.Steps(), "" // any device goes on with another's
	tiles := r.Job.Tiles
	parts := tiles.Len() / tiles.Results()
	size := func(result int) int64 {
		p := tiles.Tile(result * parts).Problem
		return p.BytesOf(p.Outputs()[0])
	}
	if r.sums, err = newSums(r.files.Out[r.outputs[0]], h, parts, size); err != nil {
		return err
	}
	if r.o.faults.everySum {
		r.sums.every = 0
	}
	if r.journal.found {
		r.parts = r.sums.find(func(result int) bool { return result < len(r.finished) && !r.finished[result] })
	}
	return nil
}

// Finished is how many of the job's results an interrupted run made already, and which device it ran on; -1 if there was
// none.
func (r *Run) Finished() (results int, device string) {
	if !r.journal.found {
		return -1, ""
	}
	return r.count, r.journal.head.Device
}

// Tiles is how many tiles those results are of, and those that were added up to parts of others.
func (r *Run) Tiles() int { return r.count*(r.Job.Tiles.Len()/r.Job.Tiles.Results()) + r.parts }

// Close frees the job's plans, and leaves what was not completed for another time.
func (r *Run) Close() error { return errors.Join(r.Job.Close(), r.journal.close()) }

// Run computes what is not finished, and completes the files. It is called once.
func (r *Run) Run(ctx context.Context) (err error) {
	if !r.journal.complete {
		if err := r.compute(ctx); err != nil {
			return err
		}
	}
	over := slices.DeleteFunc(slices.Clone(r.outputs), func(role problem.Role) bool { return !r.replaces(role) })
	others := slices.DeleteFunc(slices.Clone(r.outputs), r.replaces)
	for _, role := range append(others, over...) { // an input is there until the results that are not in its place are complete
		if err := r.complete(role); err != nil {
			return err
		}
	}
	if r.sums != nil {
		if err := r.sums.remove(); err != nil {
			return err
		}
	}
	return r.journal.remove()
}

// compute makes the results that are missing.
func (r *Run) compute(ctx context.Context) (err error) {
	var to [problem.Roles]tiling.Sink
	var arrays []*tensorio.Array
	defer func() {
		for _, a := range arrays {
			err = errors.Join(err, a.Close())
		}
	}()
	if !r.journal.found {
		if err := r.journal.claim(); err != nil { // before the files that it is about
			return err
		}
		if r.sums != nil {
			if err := r.sums.remove(); err != nil {
				return err
			}
		}
	}
	for _, role := range r.p.Outputs() {
		if !slices.Contains(r.outputs, role) {
			to[role] = discard{}
			continue
		}
		open := tensorio.CreateArray
		if r.journal.found {
			open = tensorio.ReopenArray
		}
		a, err := open(r.files.Out[role]+partialSuffix, r.p.TypeOf(role), r.p.Shape(role)...)
		if err != nil {
			if r.journal.found {
				err = fmt.Errorf("%w: %w; start over (--restart)", ErrInterrupted, err)
			}
			return err
		}
		arrays = append(arrays, a)
		to[role] = a
		if r.o.faults.sink != nil {
			to[role] = r.o.faults.sink(a)
		}
	}
	if !r.journal.found {
		if err := r.journal.begin(r.Job.Tiles.Steps(), r.Job.On()); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	end := r.journal.keep(func(last int) error {
		start := time.Now()
		if r.o.faults.sync != nil {
			if err := r.o.faults.sync(); err != nil {
				return err
			}
		}
		for _, a := range arrays {
			if err := a.Sync(); err != nil {
				return err
			}
		}
		if stage := r.o.Tiling.Stage; stage != nil {
			parts := r.Job.Tiles.Len() / r.Job.Tiles.Results()
			stage(Syncing, (last+1)*parts-1, start, time.Now())
		}
		return nil
	}, cancel)
	err = r.Job.Run(ctx, r.files.In, to)
	if err := end(r.o.faults.die); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	if err := r.unchanged(); err != nil {
		return err
	}
	return r.journal.finish()
}

// unchanged is an error if inputs are others than when the run began: then results are neither of these nor of those.
func (r *Run) unchanged() error {
	now, err := r.identify()
	if err == nil {
		err = r.journal.head.ID.differs(now)
	}
	if err != nil {
		err = fmt.Errorf("%w: %s is not complete: %w; start over (--restart)", ErrInterrupted, r.files.Out[r.outputs[0]], err)
	}
	return err
}

// complete gives a result its header and its name, if it has not got them yet.
func (r *Run) complete(role problem.Role) error {
	path := r.files.Out[role]
	partial := path + partialSuffix
	if _, err := os.Stat(partial); errors.Is(err, os.ErrNotExist) {
		shape, err := tensorio.ShapeOf(path)
		if err == nil && !slices.Equal(shape, r.p.Shape(role)) {
			err = fmt.Errorf("%s has shape %v", path, shape)
		}
		if err != nil {
			return fmt.Errorf("%w: %s is gone: %w; start over (--restart)", ErrInterrupted, partial, err)
		}
		return nil
	}
	a, err := tensorio.ReopenArray(partial, r.p.TypeOf(role), r.p.Shape(role)...)
	if err != nil {
		return err
	}
	if err := errors.Join(a.Complete(), a.Close()); err != nil {
		return err
	}
	if err := os.Rename(partial, path); err != nil {
		return err
	}
	return syncFolder(path)
}

// syncFolder returns when the names in a file's folder are on the disk.
func syncFolder(path string) error {
	d, err := os.Open(cmp.Or(filepath.Dir(path), "."))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// discard is a sink for what nobody wants.
type discard struct{}

func (discard) WriteBox(context.Context, tiling.Box, *engine.Tensor, []int) error { return nil }
