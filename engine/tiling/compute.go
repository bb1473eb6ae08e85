package tiling

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// Options of Compute and Prepare.
type Options struct {
	// MemLimit is the most that tensors on the device, workspace, packed weights and staging memory may take together,
	// in bytes; 0 is what the device has. The host's own tensors do not count.
	MemLimit int64
	// Algorithm forces one of the device's algorithms, and rules out another device; empty lets the device choose.
	Algorithm string
	// Exact rules out algorithms whose results depend on how the problem is cut, even of small integers.
	Exact bool
	// TileBytes is how large the tensors of a tile need not be more than, in bytes, if smaller tiles cost little; 0: they are as large
	// as there is memory for.
	TileBytes int64
	// Steps has the problem cut as an earlier run had it, whose Tiles.Steps they are, on whatever device. If that takes more
	// than there is, it is an error that wraps driver.ErrUnsupported.
	Steps []int
	// Skip says which results are there already: their tiles are left out. See Tiles.Results.
	Skip func(result int) bool
	// Written is called once a result is in its sinks.
	Written func(result int)
	// Sum is what there is already of a result that is not there: the sum of its first parts, in the order of its memory, and
	// how many these are. See Tile.Parts. It is called before the first part is read, several times where devices fail.
	Sum func(result int) (parts int, sum []byte)
	// Summed is called once so many of a result's parts are added up, but not all. The sum may be read until it returns.
	// Several devices add up several results at a time.
	Summed func(result, parts int, sum *engine.Tensor)
	// Progress is called after each tile, by one goroutine at a time: tiles done or left out, of how many, and bytes moved.
	Progress func(done, total int, bytes int64)
	// Stage is called after each stage of each tile, by several goroutines at a time; see Trace.
	Stage func(s Stage, tile int, from, to time.Time)
	// Alone says which tiles are computed while no other is on its way: Stage then tells what each stage takes by itself.
	Alone func(tile int) bool
	// InStep says which tiles go on together: one is read while the one before it is written, and nothing else is done meanwhile.
	// Stage then tells what a disk takes for both at once.
	InStep func(tile int) bool

	part bool // of a tile of another job, which takes care of errors
}

func init() {
	engine.RegisterTiling(Helps,
		func(ctx context.Context, dev *engine.Device, p problem.Problem, in engine.Operands, why error) (out engine.Operands, err error) {
			j, err := Prepare(ctx, dev, p, Options{})
			if err != nil {
				return out, err
			}
			defer func() { err = errors.Join(err, j.Close()) }()
			spec := dev.Spec()
			dev.Note(ctx, engine.Fallback{Problem: p, Step: engine.Divided, From: spec, To: spec, Reason: why})
			return j.RunHost(ctx, in)
		})
}

// Compute runs any problem once from host to host, as engine's Device.Compute does, in as many tiles as it takes.
func Compute(ctx context.Context, dev *engine.Device, p problem.Problem, in engine.Operands, o Options) (engine.Operands, error) {
	var out engine.Operands
	j, err := Prepare(ctx, dev, p, o)
	if err != nil {
		return out, err
	}
	defer j.Close()
	return j.RunHost(ctx, in)
}

// Job is a problem that is cut for a device, and compiled.
type Job struct {
	Tiles *Tiles
	o     Options
	dev   *engine.Device // where the tiles run
	plans plans

	mu      sync.Mutex
	running bool
	poison  atomic.Bool

	reading sync.Mutex // held while sources are read
	team    *team      // devices that share the job; nil for one of dev's
	whole   *Job       // of which this is a device's share, or nil

	info   driver.PlanInfo // of the largest tile …
	most   problem.Problem // … which is this
	ways   arithmetics     // of all tiles
	why    string
	hoped  int // tiles by their tensors alone
	choice string
	fell   *engine.Fallback
}

// attempts limits how often a cut is made smaller because the device refuses it or takes more workspace than there is.
const attempts = 12

// Prepare cuts a problem for a device, such that it holds the tiles and they keep to the memory limit with all that the
// device's algorithms take, and compiles them. A problem that is small enough becomes one tile.
//
// Where the device stands for several, "auto", the job is for the one of them that For says, or for all, if it is large (see
// Large) and they are measured to be faster together. The devices of a list, "cpu+opencl:0", share it: each takes the next
// tiles when it has room for them.
func Prepare(ctx context.Context, dev *engine.Device, p problem.Problem, o Options) (*Job, error) {
	if o.MemLimit < 0 {
		return nil, fmt.Errorf("%w: a memory limit of %d bytes", engine.ErrInvalid, o.MemLimit)
	}
	if limit := dev.MemLimit(); limit > 0 && (o.MemLimit == 0 || limit < o.MemLimit) {
		o.MemLimit = limit
	}
	if dev.Divides() {
		devs, err := dev.Members(ctx)
		if err != nil {
			return nil, err
		}
		return prepareTeam(ctx, devs, p, o)
	}
	on, choice, err := For(ctx, dev, p, o.MemLimit)
	if err != nil {
		return nil, err
	}
	devs, why, err := together(ctx, dev, on, p, o)
	if err != nil {
		return nil, err
	}
	if devs != nil {
		j, err := prepareTeam(ctx, devs, p, o)
		if err == nil {
			j.choice = why
		}
		return j, err
	}
	j, err := prepareOne(ctx, on, p, o)
	if err == nil {
		j.choice = choice
	}
	return j, err
}

// worthTransforming is how many times as many tiles the memory that transforms take may make for: with more come smaller
// transforms, and weights that are transformed again and again.
const worthTransforming = 1.25

// prepareOne is Prepare for one device. Where the memory that transforms take leaves room for small tiles alone, it does without
// them.
func prepareOne(ctx context.Context, dev *engine.Device, p problem.Problem, o Options) (*Job, error) {
	j, err := prepareBy(ctx, dev, p, o)
	if o.Exact || o.Algorithm != "" || ctx.Err() != nil {
		return j, err
	}
	if o.Exact = true; err != nil {
		if o.Steps == nil || !errors.Is(err, driver.ErrUnsupported) {
			return nil, err
		}
		if plain, other := prepareBy(ctx, dev, p, o); other == nil { // as it may have been cut for
			return plain, nil
		}
		return nil, err
	}
	if o.Steps != nil || j.dev != dev || float64(j.Tiles.Len()) < worthTransforming*float64(j.hoped) {
		return j, nil
	}
	plain, err := prepareBy(ctx, dev, p, o)
	if err != nil {
		return j, nil
	}
	if float64(j.Tiles.Len()) < worthTransforming*float64(plain.Tiles.Len()) {
		j, plain = plain, j
	}
	if err := j.Close(); err != nil {
		return nil, errors.Join(err, plain.Close())
	}
	return plain, nil
}

// prepareBy is prepareOne by what the options allow.
func prepareBy(ctx context.Context, dev *engine.Device, p problem.Problem, o Options) (*Job, error) {
	if o.MemLimit > 0 {
		_ = dev.Trim() // the limit is a promise for all of the device's memory; a lost device says so in the next call
	}
	l := limits(dev, o.MemLimit)
	limit, why := l.MemoryBytes, ""
	var moved *engine.Fallback
	var short error // of memory, on this device
	reopened, hoped := 0, 0
	for range attempts {
		tiles, err := o.cut(p, l)
		if err == nil && hoped == 0 {
			hoped = tiles.Len()
		}
		if err != nil {
			if why != "" {
				err = fmt.Errorf("%w (smaller because %s)", err, why)
			}
			if short == nil {
				return nil, err
			}
			if err = fmt.Errorf("%w: %w", short, err); o.part {
				return nil, err
			}
			// What there is no memory for here there may be elsewhere.
			if dev, moved, err = replacement(ctx, dev, p, o.Algorithm, err); err != nil {
				return nil, err
			}
			l, short, why = limits(dev, o.MemLimit), nil, ""
			limit = l.MemoryBytes
			continue
		}
		j := &Job{Tiles: tiles, o: o, dev: dev, why: why, hoped: hoped}
		over, err := j.compile(ctx, limit)
		if err == nil && over == 0 {
			if moved != nil {
				j.fell = moved
			}
			return j, nil
		}
		if cerr := j.Close(); cerr != nil {
			return nil, errors.Join(err, cerr)
		}
		f := tiles.Footprint()
		switch {
		case errors.Is(err, engine.ErrDeviceLost) && !o.part && ctx.Err() == nil:
			if reopened++; reopened <= reopenings {
				if err = dev.Reopen(ctx, p); err == nil {
					continue
				}
			}
			if dev, moved, err = replacement(ctx, dev, p, o.Algorithm, err); err != nil {
				return nil, err
			}
			l, reopened = limits(dev, o.MemLimit), 0
			limit = l.MemoryBytes
		case o.Steps != nil && err == nil:
			return nil, fmt.Errorf("%w: %v take %d bytes, the limit is %d", driver.ErrUnsupported, tiles, over, limit)
		case o.Steps != nil:
			return nil, err
		case err == nil: // bring the tensors down by as much as all are over
			why = fmt.Sprintf("workspace and packed weights take %d bytes", over-f.Total())
			l.MemoryBytes = int64(float64(f.Total()) * min(0.9, float64(limit)/float64(over)))
		case refused(err) && ctx.Err() == nil:
			if why = err.Error(); errors.Is(err, driver.ErrOutOfMemory) {
				short = err
			}
			l.MemoryBytes = f.Total() / 2
		default:
			return nil, err
		}
	}
	err := fmt.Errorf("%w: %s: no tiles found that keep to %d bytes: %s", driver.ErrUnsupported, p.String(), limit, why)
	if short != nil {
		err = fmt.Errorf("%w: %w", short, err)
	}
	return nil, err
}

// cut is the cut by the options' steps, or else by the limits.
func (o *Options) cut(p problem.Problem, l Limits) (*Tiles, error) {
	if o.Steps != nil {
		return CutBy(p, o.Steps)
	}
	tiles, err := Cut(p, l)
	if err == nil && o.TileBytes > 0 {
		tiles = tiles.smaller(o.TileBytes, l)
	}
	return tiles, err
}

// limits are the device's, and the user's.
func limits(dev *engine.Device, memory int64) Limits {
	info := dev.Info()
	most := info.MemoryBytes / 4 * 3 // the rest is for what others hold
	if b, ok := dev.Driver().(driver.MemoryBudgeter); ok {
		if n := b.MemoryBudget(); n > 0 { // what they hold now is known
			most = min(most, n)
		}
	}
	if most > 0 && (memory == 0 || most < memory) {
		memory = most
	}
	return Limits{TensorBytes: info.MaxTensorBytes, MemoryBytes: memory}
}

// TooLarge says whether tensors are more or larger than the device holds, or than any of its algorithms takes, so that the
// problem has to be cut.
func TooLarge(dev *engine.Device, p problem.Problem) bool {
	tiles, err := Cut(p, limits(dev, 0))
	return errors.Is(err, driver.ErrUnsupported) || err == nil && (tiles.Len() > 1 || len(dev.Algorithms(p)) == 0)
}

// Helps says whether smaller tiles may do on a device that has refused a problem, as why says.
func Helps(dev *engine.Device, p problem.Problem, why error) bool {
	return errors.Is(why, driver.ErrOutOfMemory) || errors.Is(why, driver.ErrUnsupported) && TooLarge(dev, p)
}

// refused says whether smaller tiles may do.
func refused(err error) bool {
	return errors.Is(err, driver.ErrUnsupported) || errors.Is(err, driver.ErrOutOfMemory)
}

// compile plans every kind of tile. over is what they take if that is more than the limit, or 0.
func (j *Job) compile(ctx context.Context, limit int64) (over int64, err error) {
	kinds := j.Tiles.kinds()
	f := j.Tiles.Footprint()
	var weights, workspace int64
	largest := int64(-1)
	for _, i := range kinds {
		t := j.Tiles.Tile(i)
		// What is too large is to be cut smaller, not to fall back.
		pl, err := j.plans.get(ctx, j, &t, true)
		if refused(err) && !j.running && j.whole == nil && !j.Tiles.canShrink() {
			pl, err = j.plans.get(ctx, j, &t, false)
		}
		if err != nil {
			return 0, err
		}
		info := pl.Info()
		weights, workspace = max(weights, info.WeightsBytes+j.kept(&t)), max(workspace, info.WorkspaceBytes)
		if n := t.Problem.Bytes(); n > largest {
			largest, j.info, j.most, j.fell = n, info, t.Problem, pl.Fallback()
		}
	}
	// As many plans keep their weights as there is memory for.
	total := f.Total() + workspace + j.staging() + j.checking()
	if limit > 0 && total+weights > limit {
		return total + weights, nil
	}
	j.plans.keep = len(kinds)
	if limit > 0 && weights > 0 {
		j.plans.keep = int(min(int64(len(kinds)), (limit-total)/weights))
	}
	return 0, j.plans.trim(nil)
}

// staging is what the device's streams take to transfer tiles and weights.
func (j *Job) staging() (bytes int64) {
	m, ok := j.dev.Driver().(driver.MemorySaver)
	if !ok {
		return 0
	}
	var largest int64
	j.Tiles.grid.measure(func(_ problem.Role, _, n int64) { largest = max(largest, n) })
	return streams * m.StagingBytes(largest)
}

// canShrink says whether there is any dimension left to cut.
func (c *Tiles) canShrink() bool {
	for d, e := range c.grid.of {
		if e.cut && c.grid.half(dim(d)) < e.step {
			return true
		}
	}
	return false
}

// maxKinds limits how many different tiles are compiled before the first one runs.
const maxKinds = 64

// kinds are tiles of which all others are copies elsewhere; a part of them if there are too many.
func (c *Tiles) kinds() []int {
	known := map[problem.Problem]bool{}
	var list []int
	at := [dims][]int{}
	for d, e := range c.grid.of {
		n := e.parts()
		for _, k := range []int{0, n / 2, n - 2, 1, n - 1} { // the second and the last but one may differ by a halo
			if k >= 0 && k < n && !slices.Contains(at[d], k) {
				at[d] = append(at[d], k)
			}
		}
	}
	var visit func(k, i int)
	visit = func(k, i int) {
		if len(list) == maxKinds {
			return
		}
		if k == int(dims) {
			if t := c.Tile(i); !known[t.Problem] {
				known[t.Problem] = true
				list = append(list, i)
			}
			return
		}
		d := c.grid.order[k]
		for _, x := range at[d] {
			visit(k+1, i*c.grid.of[d].parts()+x)
		}
	}
	visit(0, 0)
	return list
}

// lockReading keeps others from the sources until unlock is called.
func (j *Job) lockReading() (unlock func()) {
	j = j.top()
	j.reading.Lock()
	return j.reading.Unlock
}

// Poison has the memory of each tile's outputs filled with NaN before it is computed, so that elements that nobody writes
// show, until it is called with false.
func (j *Job) Poison(on bool) { j.poison.Store(on) }

// poisons says whether Poison is on.
func (j *Job) poisons() bool { return j.top().poison.Load() }

// Info is how the largest tile is computed. Tile also says how the problem is cut, where it is.
func (j *Job) Info() driver.PlanInfo {
	i := j.info
	if j.Tiles.Len() > 1 {
		if i.Tile != "" {
			i.Tile += "; "
		}
		i.Tile += j.Tiles.String()
		i.Arithmetic = inTiles(i.Arithmetic)
	}
	if shares := j.Shares(); shares != nil {
		i.Tile += " on " + shares.String()
	}
	return i
}

// Arithmetics are how the sums of the tiles are formed, each way once: a result came by one of them, or where tiles are added
// up by several. There may be more after a run than before it, as what goes wrong may change how tiles are computed.
func (j *Job) Arithmetics() []driver.Arithmetic {
	list := j.ways.all()
	if j.Tiles.Len() > 1 {
		for i, a := range list {
			list[i] = inTiles(a)
		}
	}
	return list
}

// arithmetics are different ways to form sums.
type arithmetics struct {
	mu   sync.Mutex
	list []driver.Arithmetic
}

// add adds those that are not there yet.
func (w *arithmetics) add(list ...driver.Arithmetic) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range list {
		if !slices.Contains(w.list, a) {
			w.list = append(w.list, a)
		}
	}
}

func (w *arithmetics) all() []driver.Arithmetic {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.list)
}

// inTiles is an arithmetic as the whole sees it whose tiles have it.
func inTiles(a driver.Arithmetic) driver.Arithmetic {
	a.Cut = a.FFT != 0 || a.Winograd != 0
	return a
}

// top is the job, or the one of which it is a device's share.
func (j *Job) top() *Job {
	if j.whole != nil {
		return j.whole
	}
	return j
}

// Largest is the problem of the largest tile: most of them are alike.
func (j *Job) Largest() problem.Problem { return j.most }

// Why is empty, or why tiles are smaller than the limits alone would have them.
func (j *Job) Why() string { return j.why }

// Choice is empty, or why the job is for its device, if there were several to choose from.
func (j *Job) Choice() string { return j.choice }

// Device is where the tiles run: the device that was asked for, or what took its place.
func (j *Job) Device() *engine.Device { return j.dev }

// Fallback is nil, or why tiles run on another device than asked.
func (j *Job) Fallback() *engine.Fallback { return j.fell }

// Close frees the plans, once a Run is done with them.
func (j *Job) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.plans.keep = 0
	if j.team != nil {
		var errs []error
		for _, m := range j.team.mates {
			errs = append(errs, m.Close())
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	if err := j.plans.trim(nil); !errors.Is(err, engine.ErrDeviceLost) { // what is lost need not be freed
		return err
	}
	return nil
}

// RunHost computes the problem's Outputs from its Inputs and Constants, all in host memory.
func (j *Job) RunHost(ctx context.Context, in engine.Operands) (out engine.Operands, err error) {
	p := j.Tiles.Problem()
	var result engine.Operands
	for _, r := range p.Outputs() {
		if result[r], err = engine.NewTensor(p.TypeOf(r), p.Shape(r)...); err != nil {
			return out, err
		}
	}
	if err := j.RunInto(ctx, in, result); err != nil {
		return out, err
	}
	return result, nil
}

// RunInto is RunHost with the results in tensors that are there already.
func (j *Job) RunInto(ctx context.Context, in, out engine.Operands) error {
	p := j.Tiles.Problem()
	var from [problem.Roles]Source
	var to [problem.Roles]Sink
	for _, list := range [2][]problem.Role{p.Constants(), p.Inputs()} {
		for _, r := range list {
			t := in[r]
			if t == nil {
				return fmt.Errorf("%w: %v is missing", engine.ErrInvalid, r)
			}
			if t.Type() != p.TypeOf(r) || !slices.Equal(t.Shape(), p.Shape(r)) {
				return fmt.Errorf("%w: %v is %v %v, the problem wants %v %v", engine.ErrInvalid, r, t.Type(), t.Shape(), p.TypeOf(r), p.Shape(r))
			}
			from[r] = Memory{t}
		}
	}
	for _, r := range p.Outputs() {
		t := out[r]
		if t == nil || t.Type() != p.TypeOf(r) || !slices.Equal(t.Shape(), p.Shape(r)) {
			return fmt.Errorf("%w: the problem makes %v as %v %v", engine.ErrInvalid, r, p.TypeOf(r), p.Shape(r))
		}
		to[r] = Memory{t}
	}
	return j.Run(ctx, from, to)
}
