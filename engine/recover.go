package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// Step is how a problem went on that could not run as asked.
type Step string

// The steps.
const (
	Moved    Step = "moved"    // to another device
	Reopened Step = "reopened" // the device was lost, and opened again
	Divided  Step = "divided"  // into smaller tiles, for lack of memory
)

// Fallback is one problem that did not run as asked.
type Fallback struct {
	Problem  problem.Problem
	Step     Step
	From, To string // device specs, of which only Moved has two
	Reason   error  // wraps ErrUnsupported, ErrOutOfMemory or ErrDeviceLost
}

func (f *Fallback) String() string {
	why := f.Reason.Error()
	if large := new(tooLarge); errors.As(f.Reason, &large) {
		why = strings.Replace(why, large.way, "", 1) // it was taken
	}
	switch f.Step {
	case Reopened:
		return fmt.Sprintf("%s was opened again for %s: %s", f.From, f.Problem.String(), why)
	case Divided:
		return fmt.Sprintf("%s runs in smaller parts on %s: %s", f.Problem.String(), f.From, why)
	}
	return fmt.Sprintf("%s runs on %s instead of %s: %s", f.Problem.String(), f.To, f.From, why)
}

// Fallbacks lists what did not run as asked, as it happened; device by device, if there are several.
func (d *Device) Fallbacks() []Fallback {
	d.mu.Lock()
	list := append([]Fallback(nil), d.fallbacks...)
	d.mu.Unlock()
	for _, other := range d.opened() {
		list = append(list, other.Fallbacks()...)
	}
	return list
}

// Note adds to Fallbacks and logs a warning: for packages that run problems on a device and find another way for them.
func (d *Device) Note(ctx context.Context, f Fallback) {
	d.mu.Lock()
	d.fallbacks = append(d.fallbacks, f)
	d.mu.Unlock()
	slog.WarnContext(ctx, "fallback", "step", string(f.Step), "problem", f.Problem.String(), "from", f.From, "to", f.To,
		"reason", f.Reason)
}

// Lost is nil, or the error that said that the device is lost: until Reopen everything fails.
func (d *Device) Lost() error { return d.on.Load().why() }

// Reopen opens a lost device again, by the same spec and with the same options; it does nothing to a device that is not
// lost. What was made before stays lost (its calls fail with ErrDeviceLost) but has to be freed all the same: the lost
// device is closed after the last of it. p is the problem that it is done for, as Fallbacks tells it.
func (d *Device) Reopen(ctx context.Context, p problem.Problem) error {
	d.reopening.Lock()
	defer d.reopening.Unlock()
	old := d.on.Load()
	why := old.why()
	if why == nil {
		return nil
	}
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	if closed {
		return fmt.Errorf("%s: %w", d.spec, ErrClosed)
	}
	_, _ = d.kept.clear(false) // a lost device has no more to say
	fresh, err := open(ctx, d.spec, &d.o)
	if err != nil {
		return fmt.Errorf("%s is lost (%w) and does not open again: %w", d.spec, why, err)
	}
	d.on.Store(fresh)
	_, _ = d.kept.clear(false) // a lost device has nothing to say
	old.retire()
	d.mu.Lock()
	d.before = append(d.before, old)
	d.mu.Unlock()
	d.Note(ctx, Fallback{Problem: p, Step: Reopened, From: d.spec, To: d.spec, Reason: why})
	return nil
}

// Replacement is the device that problems fall back to, opened if need be, for a problem that this one could not go on
// with. It is this device's and closed with it. Where another device was ruled out, or there is none, the error is reason.
func (d *Device) Replacement(ctx context.Context, p problem.Problem, reason error) (*Device, error) {
	if d.fallbackTo == "" {
		return nil, reason
	}
	other, err := d.openFallback(ctx, p)
	if err != nil {
		return nil, errors.Join(reason, err)
	}
	d.Note(ctx, Fallback{Problem: p, Step: Moved, From: d.spec, To: other.spec, Reason: reason})
	return other, nil
}

// openFallback opens the device to fall back to, or opens it again if it was lost.
func (d *Device) openFallback(ctx context.Context, p problem.Problem) (*Device, error) {
	d.opening.Lock()
	defer d.opening.Unlock()
	d.mu.Lock()
	other, closed := d.fallback, d.closed
	d.mu.Unlock()
	if closed {
		return nil, fmt.Errorf("%s: %w", d.spec, ErrClosed)
	}
	if other != nil {
		return other, other.Reopen(ctx, p)
	}
	o := d.o
	o.fallback, o.Options = "", driver.Options{}
	other, err := openDevice(ctx, d.fallbackTo, o)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errors.Join(fmt.Errorf("%s: %w", d.spec, ErrClosed), other.Close())
	}
	d.fallback = other
	return other, nil
}

// reopenings limits how often one run opens a device again before it goes elsewhere.
const reopenings = 3

// Compute runs any problem once from host to host: in are its Inputs and Constants, the result its Outputs. When the device
// is lost on the way it is opened again; what the device cannot hold runs on it in tiles, in programs that import package
// tiling; where neither helps, the problem falls back to another device.
func (d *Device) Compute(ctx context.Context, p problem.Problem, in Operands) (Operands, error) {
	on, _, err := d.pick(ctx, p, OnHost, driver.PlanOptions{})
	if err != nil {
		return Operands{}, err
	}
	return on.computeHere(ctx, p, in)
}

// computeHere is Compute on this device.
func (d *Device) computeHere(ctx context.Context, p problem.Problem, in Operands) (Operands, error) {
	out, err := d.compute(ctx, p, in)
	for range reopenings {
		if err == nil || ctx.Err() != nil || !errors.Is(err, ErrDeviceLost) {
			break
		}
		if lost := d.Reopen(ctx, p); lost != nil {
			err = lost
			break
		}
		out, err = d.compute(ctx, p, in)
	}
	if err != nil && ctx.Err() == nil && tiler != nil && tiler.help(d, p, err) {
		whole := err
		if out, err = tiler.compute(ctx, d, p, in, whole); errors.Is(err, ErrUnsupported) {
			err = fmt.Errorf("%w; and in tiles: %w", whole, err)
		} else {
			return out, err
		}
	}
	refused := errors.Is(err, ErrUnsupported) || errors.Is(err, ErrOutOfMemory)
	if err == nil || ctx.Err() != nil || !refused && !errors.Is(err, ErrDeviceLost) {
		return out, err
	}
	why := d.hint(&p, err)
	other, err := d.Replacement(ctx, p, why)
	if err != nil {
		return Operands{}, err
	}
	if out, err = other.computeHere(ctx, p, in); err != nil && refused {
		err = fmt.Errorf("%w; and its fallback: %w", why, err)
	}
	return out, err
}

// ErrDeviceHung is ErrDeviceLost of a device that did not answer within the deadline (see WithDeadline).
var ErrDeviceHung error = hung{}

type hung struct{}

func (hung) Error() string { return "device hangs" }
func (hung) Unwrap() error { return ErrDeviceLost }
