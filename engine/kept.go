package engine

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// What a device keeps of runs from host to host, so that the next one of its kind finds everything in place: streams with
// tensors, to which the driver has recorded the run, and the plans of Compute with their packed weights. It is bounded, it
// goes when memory is short, and with the device.

const (
	keptRuns      = 32
	keptRunBytes  = 32 << 20 // of one run's tensors: of larger ones the transfer is all that counts
	keptRunsBytes = 128 << 20

	keptPlans     = 32
	keptAlike     = 4 // of one problem, with different constants
	keptPlanBytes = 256 << 20
)

// kept is what a device keeps. It is safe for concurrent use: what is in use was taken out.
type kept struct {
	mu     sync.Mutex
	runs   []*hostRun // the latest last
	plans  []*oneShot // the latest last
	closed bool
}

// hostRun is a stream and the tensors of a run.
type hostRun struct {
	plan   *Plan
	stream *Stream
	args   Args
	bytes  int64
}

// newHostRun takes memory for a run.
func (pl *Plan) newHostRun() (h *hostRun, err error) {
	h = &hostRun{plan: pl, bytes: pl.d.Info().WorkspaceBytes}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.free())
			h = nil
		}
	}()
	if h.stream, err = pl.dev.NewStream(); err != nil {
		return h, err
	}
	for _, a := range pl.args {
		if h.args[a.role], err = pl.dev.NewTensor(a.typ, a.shape...); err != nil {
			return h, err
		}
		h.bytes += h.args[a.role].buf.Bytes()
	}
	return h, nil
}

func (h *hostRun) free() (err error) {
	if h.stream != nil {
		err = h.stream.Close()
	}
	for _, t := range h.args {
		t.Free()
	}
	return err
}

// takeRun takes a run of the plan out, or returns nil.
func (k *kept) takeRun(pl *Plan) *hostRun {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, h := range slices.Backward(k.runs) {
		if h.plan == pl {
			k.runs = slices.Delete(k.runs, i, i+1)
			return h
		}
	}
	return nil
}

// giveRun keeps a run, or frees it and what there is no room for.
func (k *kept) giveRun(h *hostRun) error {
	k.mu.Lock()
	var gone []*hostRun
	h.plan.mu.RLock()
	if h.bytes > keptRunBytes || k.closed || h.plan.closed {
		gone = append(gone, h)
	} else {
		k.runs = append(k.runs, h)
	}
	h.plan.mu.RUnlock()
	n := overflow(k.runs, keptRuns, keptRunsBytes, func(h *hostRun) int64 { return h.bytes })
	gone = append(gone, k.runs[:n]...)
	k.runs = slices.Delete(k.runs, 0, n)
	k.mu.Unlock()
	var errs []error
	for _, h := range gone {
		errs = append(errs, h.free())
	}
	return errors.Join(errs...)
}

// overflow is how many of a list's first, which were not used for longest, have to go so that the rest are at most so many
// and take at most so many bytes.
func overflow[T any](list []T, most int, mostBytes int64, bytes func(T) int64) int {
	total := int64(0)
	for i, x := range slices.Backward(list) {
		if total += bytes(x); total > mostBytes || len(list)-i > most {
			return i + 1
		}
	}
	return 0
}

// forget frees the runs of a plan that is closed.
func (k *kept) forget(pl *Plan) error {
	var errs []error
	for h := k.takeRun(pl); h != nil; h = k.takeRun(pl) {
		errs = append(errs, h.free())
	}
	return errors.Join(errs...)
}

// clear frees everything that is not in use, if need be for good. It says whether there was anything.
func (k *kept) clear(closed bool) (any bool, err error) {
	k.mu.Lock()
	runs, plans := k.runs, k.plans
	k.runs, k.plans = nil, nil
	k.closed = k.closed || closed
	k.mu.Unlock()
	var errs []error
	for _, h := range runs {
		errs = append(errs, h.free())
	}
	for _, o := range plans {
		errs = append(errs, o.plan.Close())
	}
	return len(runs)+len(plans) > 0, errors.Join(errs...)
}

// oneShot is a plan of Compute with its weights.
type oneShot struct {
	p         problem.Problem // without its name
	plan      *Plan
	constants [problem.Roles][]byte // copies of what is packed
	bytes     int64
}

// fits says whether the plan has these constants. They are compared, not their addresses or sums: tensors change.
func (o *oneShot) fits(in *Operands) bool {
	for _, r := range o.p.Constants() {
		if in[r] == nil || !bytes.Equal(o.constants[r], in[r].data) {
			return false
		}
	}
	return true
}

// takePlan takes a plan of the problem out: one with these constants, or else, if there are many of it already, the one
// that was not used for longest.
func (k *kept) takePlan(p problem.Problem, in *Operands) *oneShot {
	k.mu.Lock()
	defer k.mu.Unlock()
	alike, first, found := 0, -1, -1
	for i, o := range slices.Backward(k.plans) {
		if o.p != p || o.plan.on.why() != nil {
			continue
		}
		if o.fits(in) {
			found = i
			break
		}
		alike, first = alike+1, i
	}
	if found < 0 && alike >= keptAlike {
		found = first
	}
	if found < 0 {
		return nil
	}
	o := k.plans[found]
	k.plans = slices.Delete(k.plans, found, found+1)
	return o
}

// givePlan keeps a plan, or closes it and what there is no room for.
func (k *kept) givePlan(o *oneShot) error {
	k.mu.Lock()
	var gone []*oneShot
	if k.closed || o.bytes > keptPlanBytes/4 {
		gone = append(gone, o)
	} else {
		k.plans = append(k.plans, o)
	}
	n := overflow(k.plans, keptPlans, keptPlanBytes, func(o *oneShot) int64 { return o.bytes })
	gone = append(gone, k.plans[:n]...)
	k.plans = slices.Delete(k.plans, 0, n)
	k.mu.Unlock()
	var errs []error
	for _, o := range gone {
		errs = append(errs, o.plan.Close())
	}
	return errors.Join(errs...)
}

// compute is Compute where nothing goes wrong: by a plan that is kept, or by a new one, which starts with general kernels
// where its first result comes sooner so.
func (d *Device) compute(ctx context.Context, p problem.Problem, in Operands) (out Operands, err error) {
	p.Name = ""
	o := d.kept.takePlan(p, &in)
	if o == nil {
		pl, err := d.PlanHere(ctx, p, driver.PlanOptions{Background: true})
		if err != nil {
			return out, err
		}
		o = &oneShot{p: p, plan: pl}
	}
	defer func() {
		give := d.kept.givePlan
		if err != nil {
			give = func(o *oneShot) error { return o.plan.Close() }
		}
		if cerr := give(o); err == nil {
			err = cerr
		}
	}()
	if err := o.setWeights(ctx, &in); err != nil {
		return out, err
	}
	return o.plan.RunHost(ctx, in)
}

// setWeights packs the constants, unless the plan has them.
func (o *oneShot) setWeights(ctx context.Context, in *Operands) error {
	if !o.plan.constants || o.bytes > 0 && o.fits(in) {
		return nil
	}
	var constants Operands
	for _, r := range o.p.Constants() {
		constants[r] = in[r]
	}
	if err := o.plan.SetWeights(ctx, constants); err != nil {
		return err
	}
	o.bytes = o.plan.d.Info().WeightsBytes
	for _, r := range o.p.Constants() {
		o.constants[r] = append(o.constants[r][:0], in[r].data...)
		o.bytes += int64(len(in[r].data))
	}
	return nil
}

// Trim gives up what the device keeps of finished runs and calls of Compute: memory, plans, packed weights. It does so by
// itself when memory is short.
func (d *Device) Trim() error {
	_, err := d.kept.clear(false)
	return err
}

// madeRoom says whether it is worth to try again what failed: memory was short, and the device kept some.
func (d *Device) madeRoom(err error) bool {
	if !errors.Is(err, ErrOutOfMemory) {
		return false
	}
	any, _ := d.kept.clear(false) // what it says of a lost device, the next call says
	return any
}
