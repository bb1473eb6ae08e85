package tiling

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// Several devices compute one problem as a team: each takes the next result from a queue when it has room for one, so that
// the faster takes more. What a device that fails had taken goes back into the queue, and the others take it; one that was lost
// is opened again and takes part again, unless it is lost over and over. When all have failed the run goes on as that of one
// device.

const (
	shareResults = 6         // results for each device of a team, or more, so that the last ones do not count for much
	smallestTile = 256 << 10 // bytes of one that is not cut any smaller for it
	ahead        = 4         // results that a device may have taken and not written
	firstAhead   = 1         // before it has written one: how long it takes is not known
)

// Share is what a device did of a job that was divided among several.
type Share struct {
	Device  string
	Results int // boxes of the result; see Tiles.Results
}

// Shares are those of all devices.
type Shares []Share

// String is such as "cpu (10) + opencl:0 (6)".
func (s Shares) String() string {
	var list []string
	for _, one := range s {
		list = append(list, fmt.Sprintf("%s (%d)", one.Device, one.Results))
	}
	return strings.Join(list, " + ")
}

// mate is a device of a team.
type mate struct {
	*Job
	taken []int     // results that are not written yet
	wrote int       // results
	began time.Time // with the first of them
	out   bool      // it has failed, or is opened again

	reopened int // times that it was opened again …
	since    int // … with so many results written
}

// team is a job's devices, and, while it runs, what there is to do.
type team struct {
	mates []*mate

	writing sync.Mutex // held while sinks are written
	mu      sync.Mutex
	changed *sync.Cond
	queue   []int // results
	left    int   // results that are not written
	tiles   int   // that are
	bytes   int64
	written []bool
}

// prepareTeam prepares a problem for several devices. A device that cannot take part is left out, which its Fallbacks say.
func prepareTeam(ctx context.Context, devs []*engine.Device, p problem.Problem, o Options) (*Job, error) {
	var why error
	reopened := 0
	for len(devs) > 1 {
		j, bad, err := newTeam(ctx, devs, p, o)
		if err == nil {
			return j, nil
		}
		if bad >= 0 && ctx.Err() == nil && errors.Is(err, engine.ErrDeviceLost) && reopened < reopenings {
			reopened++
			if lost := devs[bad].Reopen(ctx, p); lost == nil {
				continue
			} else {
				err = lost
			}
		}
		if bad < 0 || ctx.Err() != nil || !refused(err) && !errors.Is(err, engine.ErrDeviceLost) {
			return nil, err
		}
		out := devs[bad]
		devs = slices.Delete(slices.Clone(devs), bad, bad+1)
		out.Note(ctx, engine.Fallback{Problem: p, Step: engine.Moved, From: out.Spec(), To: specs(devs), Reason: err})
		why = err
	}
	j, err := prepareOne(ctx, devs[0], p, o)
	if err != nil && why != nil {
		err = fmt.Errorf("%w; and %w", why, err)
	}
	return j, err
}

// specs is devices in one word.
func specs(devs []*engine.Device) string {
	var list []string
	for _, d := range devs {
		list = append(list, d.Spec())
	}
	return strings.Join(list, "+")
}

// newTeam cuts a problem so that each device holds its tiles, all of them together what the memory limit allows, and there are
// enough to share. bad is the device that the error is about, or -1.
func newTeam(ctx context.Context, devs []*engine.Device, p problem.Problem, o Options) (_ *Job, bad int, err error) {
	n := int64(len(devs))
	var l Limits
	for i, d := range devs {
		if o.MemLimit > 0 {
			_ = d.Trim() // as in prepareOne
		}
		own := limits(d, o.MemLimit)
		own.MemoryBytes /= n // the devices may have their memory in common
		if i == 0 {
			l = own
		}
		if own.MemoryBytes > 0 {
			l.MemoryBytes = min(l.MemoryBytes, own.MemoryBytes)
		}
		if own.TensorBytes > 0 && (l.TensorBytes == 0 || own.TensorBytes < l.TensorBytes) {
			l.TensorBytes = own.TensorBytes
		}
	}
	limit := l.MemoryBytes
	for range attempts {
		tiles, err := o.cut(p, l)
		if err != nil {
			return nil, -1, err
		}
		if o.Steps == nil {
			tiles = shared(tiles, l, shareResults*len(devs))
		}
		j := &Job{Tiles: tiles, o: o, dev: devs[0], team: &team{}}
		for _, d := range devs {
			j.team.mates = append(j.team.mates, &mate{Job: &Job{Tiles: tiles, o: j.mateOptions(d), dev: d, whole: j}})
		}
		over, bad, err := j.team.compile(ctx, limit)
		if err != nil {
			return nil, bad, errors.Join(err, j.Close())
		}
		j.info, j.most = j.team.mates[0].info, j.team.mates[0].most
		if over == 0 {
			return j, -1, nil
		}
		if err := j.Close(); err != nil {
			return nil, -1, err
		}
		if o.Steps != nil {
			return nil, -1, fmt.Errorf("%w: %v take %d bytes a device, the limit is %d", driver.ErrUnsupported, tiles, over, limit)
		}
		l.MemoryBytes = int64(float64(tiles.Footprint().Total()) * min(0.9, float64(limit)/float64(over)))
	}
	return nil, -1, fmt.Errorf("%w: %s: no tiles found that keep to %d bytes on each of %s", driver.ErrUnsupported, p.String(), limit, specs(devs))
}

// compile compiles for all devices at once: drivers take seconds. over is what the largest footprint is if it is above the limit, and
// bad the first device that failed, or -1.
func (t *team) compile(ctx context.Context, limit int64) (over int64, bad int, err error) {
	takes, errs := make([]int64, len(t.mates)), make([]error, len(t.mates))
	var wg sync.WaitGroup
	for i, m := range t.mates {
		wg.Go(func() { takes[i], errs[i] = m.compile(ctx, limit) })
	}
	wg.Wait()
	if bad = slices.IndexFunc(errs, func(err error) bool { return err != nil }); bad >= 0 {
		return 0, bad, errs[bad]
	}
	return slices.Max(takes), -1, nil
}

// mateOptions are the job's for one of its devices, whose stages are named after it.
func (j *Job) mateOptions(d *engine.Device) Options {
	o := Options{MemLimit: j.o.MemLimit, Algorithm: j.o.Algorithm, Exact: j.o.Exact, part: true}
	if stage := j.o.Stage; stage != nil {
		o.Stage = func(s Stage, tile int, from, to time.Time) { stage(s+Stage(" on "+d.Spec()), tile, from, to) }
	}
	return o
}

// shared cuts on until there are enough results to share, or tiles get too small.
func shared(tiles *Tiles, l Limits, enough int) *Tiles {
	p := tiles.Problem()
	for tiles.Results() < enough {
		l.MemoryBytes = tiles.Footprint().Total() * 3 / 4
		smaller, err := Cut(p, l)
		if err != nil || smaller.Results() <= tiles.Results() || smaller.grid.measure(nil).Device/holders < smallestTile {
			break
		}
		tiles = smaller
	}
	return tiles
}

// Shares is what each device does of a job that is divided among several; nil for a job of one device. Results are those of
// the last Run, or of the one that goes on.
func (j *Job) Shares() (list Shares) {
	if j.team == nil {
		return nil
	}
	j.team.mu.Lock()
	defer j.team.mu.Unlock()
	for _, m := range j.team.mates {
		list = append(list, Share{m.dev.Spec(), m.wrote})
	}
	return list
}

// On names the devices where the tiles run: "cpu+opencl:0".
func (j *Job) On() string {
	if j.team == nil {
		return j.dev.Spec()
	}
	return specs(j.Members())
}

// run computes what is missing of a job by all devices.
func (t *team) run(ctx context.Context, j *Job, from [problem.Roles]Source, to [problem.Roles]Sink, skip func(int) bool) (left int, err error) {
	t.mu.Lock()
	t.changed = sync.NewCond(&t.mu)
	t.queue, t.left, t.tiles, t.bytes, t.written = nil, 0, 0, 0, make([]bool, j.Tiles.Results())
	for i := range t.written {
		if t.written[i] = skip(i); t.written[i] {
			t.tiles += j.Tiles.parts()
			continue
		}
		t.queue = append(t.queue, i)
		t.left++
	}
	for _, m := range t.mates {
		m.taken, m.wrote, m.began, m.out, m.reopened, m.since = nil, 0, time.Now(), false, 0, 0
	}
	t.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, m := range t.mates {
		wg.Go(func() {
			if err := t.work(ctx, j, m, from, to); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left == 0 {
		return 0, nil
	}
	return t.left, context.Cause(ctx) // nil if every device has failed
}

// work computes results on one device until there are no more, or the device has failed for good. The error is of what ends the
// run of all.
func (t *team) work(ctx context.Context, j *Job, m *mate, from [problem.Roles]Source, to [problem.Roles]Sink) error {
	copies := false
	for {
		r := newRunner(m.Job, from, to, m)
		r.copies = copies
		err := r.pipeline(ctx)
		s := new(stopped)
		switch {
		case err == nil || ctx.Err() != nil:
			return nil
		case errors.Is(err, errUnshared):
			copies = true
			t.giveBack(m)
		case errors.As(err, &s) && (s.stage == Reading || s.stage == Writing), !refused(err) && !errors.Is(err, engine.ErrDeviceLost):
			return err
		default:
			back := t.giveBack(m) // before anything that takes time
			again, err := t.reopen(ctx, j, m, err)
			if !again {
				t.retire(ctx, j, m, back, err)
				return nil
			}
		}
	}
}

// reopen opens a device again that was lost, if there is anything left to do, and it has not been lost so often without a
// result in between. If it does not, err is why.
func (t *team) reopen(ctx context.Context, j *Job, m *mate, why error) (again bool, err error) {
	t.mu.Lock()
	if m.wrote > m.since {
		m.reopened, m.since = 0, m.wrote
	}
	idle := t.left == 0 || m.reopened == reopenings || !errors.Is(why, engine.ErrDeviceLost)
	m.reopened++
	m.out = true // the others do not wait for it
	t.changed.Broadcast()
	t.mu.Unlock()
	if idle {
		return false, why
	}
	m.plans.drop()
	if err := m.dev.Reopen(ctx, j.Tiles.Problem()); err != nil {
		return false, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	m.out = false
	return true, nil
}

// take is the next result for a device: it waits while the device has enough to do, or others will be done with all that is
// left before it was done with one more. ok is false at the end.
func (t *team) take(ctx context.Context, m *mate) (result int, ok bool) {
	defer context.AfterFunc(ctx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.changed.Broadcast()
	})()
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		switch {
		case t.left == 0 || ctx.Err() != nil || m.out:
			return 0, false
		case len(t.queue) > 0 && t.better(m):
			result = t.queue[0]
			t.queue = t.queue[1:]
			m.taken = append(m.taken, result)
			return result, true
		}
		t.changed.Wait()
	}
}

// better says whether the device should take one more: not if the others are done with all that is left before it was done
// with this one. The caller holds mu.
func (t *team) better(m *mate) bool {
	if m.wrote == 0 {
		return len(m.taken) < firstAhead
	}
	if len(m.taken) >= ahead {
		return false
	}
	now := time.Now()
	mine, others := float64(len(m.taken)+1)/m.rate(now), 0.0
	for _, o := range t.mates {
		if o != m && !o.out {
			others += max(0, math.Ceil(o.rate(now)*mine)-1-float64(len(o.taken))) // results before then
		}
	}
	return others < float64(len(t.queue))
}

// rate is how many results a device writes in a second.
func (m *mate) rate(now time.Time) float64 {
	return float64(m.wrote) / max(now.Sub(m.began).Seconds(), 1e-9)
}

// done notes that a device has written a tile, the last of a result if it is finished.
func (t *team) done(j *Job, m *mate, tile *Tile) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tiles++
	t.bytes += tile.Problem.Bytes()
	if tile.Part == tile.Parts-1 {
		result := tile.Index / tile.Parts
		t.written[result] = true
		t.left--
		m.wrote++
		m.taken = slices.DeleteFunc(m.taken, func(r int) bool { return r == result })
		if j.o.Written != nil {
			j.o.Written(result)
		}
		t.changed.Broadcast()
	}
	if j.o.Progress != nil {
		j.o.Progress(min(t.tiles, j.Tiles.Len()), j.Tiles.Len(), t.bytes)
	}
}

// goesOn notes parts of a result that were added up before.
func (t *team) goesOn(parts int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tiles += parts
}

// giveBack puts what a device had taken back into the queue.
func (t *team) giveBack(m *mate) (results int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	results = len(m.taken)
	t.queue = append(m.taken, t.queue...)
	slices.Sort(t.queue)
	m.taken = nil
	t.changed.Broadcast()
	return results
}

// retire leaves a device out, after it has given results back.
func (t *team) retire(ctx context.Context, j *Job, m *mate, back int, why error) {
	t.mu.Lock()
	m.out = true
	var others []*engine.Device
	for _, o := range t.mates {
		if !o.out {
			others = append(others, o.dev)
		}
	}
	left := t.left
	t.changed.Broadcast()
	t.mu.Unlock()
	m.plans.drop()
	if left == 0 {
		slog.DebugContext(ctx, "device failed after its last tile", "device", m.dev.Spec(), "reason", why)
		return
	}
	to := specs(others)
	if to == "" { // the run goes on as that of the first
		to = j.dev.Spec()
	}
	slog.DebugContext(ctx, "device leaves a team", "device", m.dev.Spec(), "results", back)
	m.dev.Note(ctx, engine.Fallback{Problem: j.Tiles.Problem(), Step: engine.Moved, From: m.dev.Spec(), To: to, Reason: why})
}
