package gpu

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/gpu/hal"
)

// Compilation in the background. Shapes are constants of the fast kernels, so each new shape is a compilation. A plan with
// driver.PlanOptions.Background begins with the general kernels (the algorithm "direct": shapes are parameters, compiled
// once) if its first result comes sooner so, and goes over to the fast kernels between two runs when they are there.

const (
	generalName  = "direct"
	compilations = 2        // in the background at once: the processor has other work
	warmBytes    = 64 << 20 // of tensors that a plan is warmed with
	keptSwitches = 256      // that Switches tells
)

// detours say by class how fast the general kernels are and how long a kernel for a shape takes to its first result,
// compiled by the driver when it is made and again when it is first run. Measured with nothing of it in any cache, 2 cores,
// 3×3, 64 channels at 28×28: llvmpipe 22.3 1.2 GFLOP/s, 0.3 s; PoCL 3.1 3 GFLOP/s, 0.95 s. GPUs' are estimates.
var detours = map[class]struct {
	rate float64 // FLOP/s
	wait time.Duration
}{
	lanes:    {1.2e9, 300 * time.Millisecond},
	straight: {3e9, 950 * time.Millisecond},
	gpuClass: {1e11, 500 * time.Millisecond},
}

// background is a plan that goes over from general kernels to its own.
type background struct {
	dev     *Device
	p       problem.Problem
	general *plan
	own     *plan // compiled by the goroutine
	given   int64 // bytes of the constants
	cancel  context.CancelFunc
	ctx     context.Context

	runs  atomic.Int64
	ready atomic.Pointer[plan] // own, once it is compiled

	working sync.Mutex // held by the goroutine while it holds memory

	mu      sync.Mutex
	weights map[*dualWeights]struct{} // packed for the general kernels
	started bool
	closed  bool
	reason  error         // why own will not come
	took    time.Duration // until own was ready
	at      int64         // the run before which it was
}

// dualWeights are weights of a background plan: packed for the general kernels at first.
type dualWeights struct {
	plan *background
	own  atomic.Pointer[weights]

	mu      sync.RWMutex // held while a run of the general kernels is started
	general *weights
	given   driver.Buffers // copies of the constants
	packed  driver.Event
	freed   bool
}

// detour is a plan that begins with general kernels, or nil where own should be compiled at once.
func (d *Device) detour(ctx context.Context, c *cut, own *plan) *background {
	by, p := detours[d.class()], c.p
	switch {
	case own.info.Algorithm == generalName,
		p.FLOPs()/by.rate > by.wait.Seconds() && !d.serves(own),
		own.known():
		return nil
	}
	general := d.atOnce(ctx, c, own)
	if general == nil {
		return nil
	}
	b := &background{dev: d, p: p, general: general, own: own, weights: map[*dualWeights]struct{}{}}
	b.ctx, b.cancel = context.WithCancel(d.open)
	for _, r := range p.Constants() {
		b.given += bufferBytes(&p, r)
	}
	slog.DebugContext(ctx, "general kernels first", "problem", p.String(), "device", d.info.Name, "until", own.info.Algorithm)
	return b
}

// atOnce is a plan with little to compile: the first of the other algorithms whose kernels are there, as those for all
// shapes are after their first use, else the general one. Where own's algorithm has kernels for any shape, it is these, to be
// compiled once for all shapes.
func (d *Device) atOnce(ctx context.Context, c *cut, own *plan) *plan {
	for i := range algorithms {
		a := &algorithms[i]
		same, tile := a.name == own.info.Algorithm, ""
		if same {
			tile = anyShape
		}
		if same && !d.serves(own) || c.can(d, a) != nil {
			continue
		}
		pl, err := d.build(ctx, a, c, tile)
		if err != nil {
			continue
		}
		plain := pl.info.Arithmetic == (driver.Arithmetic{}) // which Info allows for
		if plain && (a.name == generalName || same || pl.known()) && pl.compile(ctx) == nil {
			return pl
		}
		_ = pl.Close() // of a plan it returns nil
	}
	return nil
}

// serves says whether a plan's algorithm has kernels for any shape that are fast here, too.
func (d *Device) serves(own *plan) bool {
	return own.info.Algorithm == tiledName && d.class() == gpuClass
}

// known says whether there is nothing to compile.
func (pl *plan) known() bool {
	return !slices.ContainsFunc(pl.kernels, func(k *kernel) bool { return !pl.dev.known(k) })
}

// known says whether a kernel is compiled, or an earlier process left it so.
func (d *Device) known(k *kernel) bool {
	d.mu.Lock()
	have := d.kernels[k.key] != nil
	d.mu.Unlock()
	if have {
		return true
	}
	h, ok := d.hal.(hal.Rememberer)
	return ok && h.Remembers(k.src, k.tunables)
}

// Info implements driver.Plan.
func (b *background) Info() driver.PlanInfo {
	b.mu.Lock()
	defer b.mu.Unlock()
	own, info := b.own.info, b.general.info
	switch {
	case b.took > 0:
		info = own
		info.Why += fmt.Sprintf("; general kernels until it was compiled, %d runs, %v", b.at, b.took.Round(time.Millisecond))
	case b.reason != nil:
		info.Why += fmt.Sprintf("; %s could not be had: %v", own.Algorithm, b.reason)
	default:
		info.Pending = own.Algorithm
		info.Why += "; " + own.Algorithm + " is compiled in the background from the second run on, and takes over"
	}
	if info.Arithmetic = own.Arithmetic; info.Arithmetic != (driver.Arithmetic{}) {
		info.Arithmetic.OrPlain = true // as the general kernels compute: nobody knows which ones a result came by
	}
	info.WorkspaceBytes = max(own.WorkspaceBytes, b.general.info.WorkspaceBytes)
	info.WeightsBytes = own.WeightsBytes + b.general.info.WeightsBytes + b.given
	return info
}

// Close implements driver.Plan. A compilation goes on in the driver until it is done, which the device's Close waits for.
func (b *background) Close() error {
	b.mu.Lock()
	closed, started := b.closed, b.started
	b.closed = true
	b.mu.Unlock()
	if closed {
		return nil
	}
	b.cancel()
	b.working.Lock()
	defer b.working.Unlock()
	err := b.general.Close()
	if own := b.ready.Load(); own != nil || !started {
		err = errors.Join(err, b.own.Close())
	}
	return err
}

// start compiles in a goroutine of the device, once.
func (b *background) start() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.started || b.closed || !b.dev.begin() {
		return
	}
	b.started = true
	go func() {
		defer b.dev.tasks.Done()
		begin := time.Now()
		err := b.compile()
		b.working.Lock()
		defer b.working.Unlock()
		if err == nil {
			err = b.ctx.Err()
		}
		if err == nil {
			err = b.takeOver()
		}
		if err != nil && b.ready.Load() == nil {
			_ = b.own.Close() // of a plan it returns nil
		}
		b.report(time.Since(begin), err)
	}()
}

// compile makes own's kernels, when its turn comes.
func (b *background) compile() error {
	select {
	case b.dev.turns <- struct{}{}:
		defer func() { <-b.dev.turns }()
	case <-b.ctx.Done():
		return b.ctx.Err()
	}
	return b.own.compile(b.ctx)
}

// takeOver makes own run once, packs the weights for it, and lets it run from then on.
func (b *background) takeOver() (err error) {
	s, err := b.dev.newStream(false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := b.warm(s); err != nil {
		return err
	}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return driver.ErrClosed
	}
	b.ready.Store(b.own)
	var all []*dualWeights
	for w := range b.weights {
		all = append(all, w)
	}
	clear(b.weights)
	b.mu.Unlock()
	for _, w := range all {
		err = errors.Join(err, w.convert(b.ctx, s))
	}
	return err
}

// warm runs own on tensors of zeros: some drivers compile only then. Where memory is short they will when it counts.
func (b *background) warm(s *stream) error {
	var args driver.Args
	var all driver.Buffers
	total := int64(0)
	roles := slices.Concat(b.p.Constants(), b.p.Inputs(), b.p.Outputs())
	for _, r := range roles {
		total += bufferBytes(&b.p, r)
	}
	if total > warmBytes {
		return nil
	}
	defer func() {
		for _, buf := range all {
			if buf != nil {
				buf.Free()
			}
		}
	}()
	for _, r := range roles {
		buf, err := b.dev.newBuffer(bufferBytes(&b.p, r))
		if err != nil {
			return notMemory(err)
		}
		all[r] = buf
		if err := s.Fill(b.ctx, buf, 0); err != nil {
			return err
		}
	}
	args.Buffers = all
	if b.own.constants {
		w, _, err := b.own.Pack(b.ctx, s, all)
		if err != nil {
			return notMemory(err)
		}
		defer w.Free()
		args.Weights = w
	}
	if _, err := b.own.Run(b.ctx, s, args); err != nil {
		return notMemory(err)
	}
	return s.Wait(b.ctx)
}

// notMemory is an error, but for lack of memory.
func notMemory(err error) error {
	if errors.Is(err, driver.ErrOutOfMemory) {
		return nil
	}
	return err
}

// report notes how it ended.
func (b *background) report(took time.Duration, err error) {
	b.mu.Lock()
	closed := b.closed
	own := b.ready.Load() != nil
	if b.reason = err; own {
		b.took, b.at = took, b.runs.Load()
	}
	b.mu.Unlock()
	if closed {
		return // nobody waits for it
	}
	sw := driver.Switch{Problem: b.p, From: b.general.info.Algorithm, To: b.own.info.Algorithm, After: took, Reason: err}
	b.dev.mu.Lock()
	b.dev.switches = append(b.dev.switches, sw)
	b.dev.switches = b.dev.switches[max(0, len(b.dev.switches)-keptSwitches):]
	b.dev.mu.Unlock()
	if err != nil {
		slog.Warn("general kernels stay", "problem", b.p.String(), "device", b.dev.info.Name, "instead of", sw.To, "reason", err)
		return
	}
	slog.Debug("kernels switched", "problem", b.p.String(), "device", b.dev.info.Name, "from", sw.From, "to", sw.To, "after", took)
}

// Switches implements driver.Switcher.
func (d *Device) Switches() []driver.Switch {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.switches)
}

// begin counts a goroutine of the device, unless the device is about to be closed.
func (d *Device) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open.Err() != nil {
		return false
	}
	d.tasks.Add(1)
	return true
}

// Pack implements driver.Plan.
func (b *background) Pack(ctx context.Context, s driver.Stream, constants driver.Buffers) (driver.Weights, driver.Event, error) {
	w := &dualWeights{plan: b}
	if own := b.ready.Load(); own != nil {
		return w.packOwn(ctx, own, s, constants)
	}
	st, err := b.dev.ownStream(s)
	if err != nil {
		return nil, nil, err
	}
	if err := w.keep(ctx, st, &constants); err != nil {
		w.Free()
		return nil, nil, err
	}
	g, e, err := b.general.Pack(ctx, s, constants)
	if err != nil {
		w.Free()
		return nil, nil, err
	}
	w.general, w.packed = g.(*weights), e
	b.mu.Lock()
	own := b.ready.Load()
	if own == nil {
		b.weights[w] = struct{}{}
	}
	b.mu.Unlock()
	if own != nil { // it came in between
		w.Free()
		return (&dualWeights{plan: b}).packOwn(ctx, own, s, constants)
	}
	return w, e, nil
}

// packOwn packs for own alone.
func (w *dualWeights) packOwn(ctx context.Context, own *plan, s driver.Stream, constants driver.Buffers) (driver.Weights, driver.Event, error) {
	packed, e, err := own.Pack(ctx, s, constants)
	if err != nil {
		return nil, nil, err
	}
	w.own.Store(packed.(*weights))
	return w, e, nil
}

// keep copies the constants, to pack them again later.
func (w *dualWeights) keep(ctx context.Context, s *stream, constants *driver.Buffers) error {
	d := w.plan.dev
	var cmds []hal.Command
	var holds []*ref
	for _, r := range w.plan.p.Constants() {
		bytes := bufferBytes(&w.plan.p, r)
		from, err := d.own(r.String(), constants[r], bytes)
		if err != nil {
			return err
		}
		to, err := d.newBuffer(bytes)
		if err != nil {
			return fmt.Errorf("copy of %v: %w", r, err)
		}
		w.given[r] = to
		if bytes > 0 {
			cmds = append(cmds, hal.Command{
				Op: hal.Copy, Src: from.at.block.mem, SrcOff: from.at.off, Dst: to.at.block.mem, DstOff: to.at.off, Bytes: bytes,
			})
			holds = append(holds, from.ref, to.ref)
		}
	}
	_, err := s.run(ctx, cmds, holds...)
	return err
}

// convert packs the weights for own and lets go of what the general kernels read. The copies were made before packed.
func (w *dualWeights) convert(ctx context.Context, s *stream) error {
	if err := w.packed.Wait(ctx); err != nil {
		return err
	}
	w.mu.RLock()
	given, freed := w.given, w.freed
	w.mu.RUnlock()
	if freed {
		return nil
	}
	packed, e, err := w.plan.own.Pack(ctx, s, given)
	if err == nil {
		if err = e.Wait(ctx); err != nil {
			packed.Free()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.freed:
		if err == nil {
			packed.Free()
		}
		return nil
	case err != nil:
		return fmt.Errorf("weights: %w", err)
	}
	w.own.Store(packed.(*weights))
	w.letGo()
	return nil
}

// letGo frees what only the general kernels need. The caller holds mu, or is the only one to know w.
func (w *dualWeights) letGo() {
	if w.general != nil {
		w.general.Free()
	}
	for _, b := range w.given {
		if b != nil {
			b.Free()
		}
	}
	w.general, w.given = nil, driver.Buffers{}
}

// Bytes implements driver.Weights.
func (w *dualWeights) Bytes() (n int64) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if own := w.own.Load(); own != nil {
		return own.Bytes()
	}
	for _, b := range w.given {
		if b != nil {
			n += b.Bytes()
		}
	}
	return n + w.general.Bytes()
}

// Free implements driver.Weights.
func (w *dualWeights) Free() {
	w.plan.mu.Lock()
	delete(w.plan.weights, w)
	w.plan.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.freed {
		return
	}
	w.freed = true
	w.letGo()
	if own := w.own.Load(); own != nil {
		own.Free()
	}
}

// Run implements driver.Plan.
func (b *background) Run(ctx context.Context, s driver.Stream, a driver.Args) (driver.Event, error) {
	own := b.ready.Load()
	if own == nil && b.runs.Add(1) == 2 {
		b.start() // what runs once is not worth a kernel of its own, nor the cores that it is compiled on
	}
	if !b.general.constants {
		if own == nil {
			own = b.general
		}
		return own.Run(ctx, s, a)
	}
	w, ok := a.Weights.(*dualWeights)
	if !ok || w.plan != b {
		return nil, fmt.Errorf("%w: weights that this plan packed are needed", driver.ErrInvalid)
	}
	if packed := w.own.Load(); packed != nil {
		a.Weights = packed
		return b.own.Run(ctx, s, a)
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	if packed := w.own.Load(); packed != nil {
		a.Weights = packed
		return b.own.Run(ctx, s, a)
	}
	if w.freed {
		return nil, fmt.Errorf("%w: weights", driver.ErrClosed)
	}
	a.Weights = w.general
	return b.general.Run(ctx, s, a)
}
