// Package bench measures problems on devices: first run, kernels alone, submit to finish, and host to host, each result
// checked against the oracle before and after it was timed.
package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// Mode says what is measured beside the first run.
type Mode string

// The modes.
const (
	Both   Mode = "both"   // Device and E2E
	Device Mode = "device" // tensors stay on the device
	E2E    Mode = "e2e"    // host tensor to host tensor
)

// ParseMode reads a mode's name.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case Both, Device, E2E:
		return m, nil
	}
	return "", fmt.Errorf("%w: mode %q; use both, device or e2e", driver.ErrInvalid, s)
}

// Options of Measure.
type Options struct {
	Algorithm string        // empty: the device's choice
	Mode      Mode          // empty: Both
	MinTime   time.Duration // each measurement goes on for at least so long …
	MinRuns   int           // … and so many runs
	MaxRuns   int           // but no more than so many
	Peaks     driver.Peaks  // of the device, for the shares that the record has of them; zero for none
	// Best, if not 0, is what another algorithm takes: one whose first run takes over hopeless times as long is not run again,
	// and has that run's time.
	Best time.Duration
}

// hopeless is how many times the best's time an algorithm takes in a first run that need not be run again to be judged.
const hopeless = 20

// withDefaults fills what was left zero.
func (o Options) withDefaults() Options {
	if o.Mode == "" {
		o.Mode = Both
	}
	if o.MinRuns == 0 {
		o.MinRuns = 3
	}
	if o.MaxRuns == 0 {
		o.MaxRuns = 10000
	}
	o.MinRuns = min(o.MinRuns, o.MaxRuns)
	return o
}

// Measure runs a case on a device. The record says what went wrong, if anything; a result that fails its check has no
// times. When ctx ends the record is Skipped.
func Measure(ctx context.Context, dev *engine.Device, c *verify.Case, o Options) report.Record {
	r := report.New(&c.Problem, dev)
	r.Repro = verify.Repro(&c.Problem, dev.Name(), o.Algorithm, c.Fill, verify.Flags(dev)...)
	err := measure(ctx, dev, c, o.withDefaults(), &r)
	switch {
	case err == nil:
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		r.Status, r.Verified, r.Reason = report.Skipped, false, "interrupted"
	default:
		r.Fail(err)
	}
	if !r.Verified {
		// Times of wrong or unfinished work would be compared with those of right results.
		r.DeviceMS, r.WallMS, r.E2EMS, r.FirstMS, r.GFLOPS, r.GBPS = nil, nil, nil, 0, 0, 0
		r.PeakPct, r.PeakBWPct = nil, nil
	}
	return r
}

func measure(ctx context.Context, dev *engine.Device, c *verify.Case, o Options, r *report.Record) (err error) {
	p, err := c.Start(ctx, dev, o.Algorithm)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	p.Note(r)
	if p.Job != nil {
		return inTiles(ctx, p, o, r)
	}
	pl := p.Plan
	run := func(s *engine.Stream) (wall, kernels time.Duration, err error) {
		start := time.Now()
		ev, err := pl.Run(ctx, s, p.Args)
		if err != nil {
			return 0, 0, err
		}
		if err := ev.Wait(ctx); err != nil {
			return 0, 0, err
		}
		wall = time.Since(start)
		kernels, _ = ev.DeviceTime()
		return wall, kernels, nil
	}
	first, kernels, err := run(p.Stream)
	if err != nil {
		return err
	}
	r.FirstMS = report.Milliseconds(p.Planned + first)
	// judge checks a fresh result; it is also the warm-up.
	judge := func() error {
		got, err := p.Result(ctx)
		if err == nil {
			err = p.Judge(ctx, r, got)
		}
		return err
	}
	if err := judge(); err != nil || !r.Verified {
		return err
	}
	if o.Best > 0 && first > hopeless*o.Best && o.Mode != E2E {
		r.Runs, r.WallMS = 1, report.Summarise([]time.Duration{first})
		if kernels > 0 {
			r.DeviceMS = report.Summarise([]time.Duration{kernels})
		}
		r.Rate(&c.Problem)
		r.Shares(&c.Problem, o.Peaks)
		return nil
	}
	if o.Mode != E2E {
		repeat := func(s *engine.Stream) (wall, kernels []time.Duration, err error) {
			for begin := time.Now(); more(len(wall), time.Since(begin), o); {
				w, k, err := run(s)
				if err != nil {
					return nil, nil, err
				}
				wall = append(wall, w)
				if k > 0 {
					kernels = append(kernels, k)
				}
			}
			return wall, kernels, nil
		}
		wall, kernels, err := repeat(p.Stream)
		if err == nil && len(kernels) == 0 { // the device's clock costs time: it is read in runs of its own
			var s *engine.Stream
			if s, err = pl.Device().NewTimedStream(); err == nil {
				_, kernels, err = repeat(s)
				err = errors.Join(err, s.Close())
			}
		}
		if err != nil {
			return err
		}
		r.Runs, r.WallMS, r.DeviceMS = len(wall), report.Summarise(wall), report.Summarise(kernels)
		r.Rate(&c.Problem)
		r.Shares(&c.Problem, o.Peaks)
		if err := judge(); err != nil || !r.Verified {
			return err
		}
	}
	if o.Mode == Device {
		return nil
	}
	on, err := forHost(ctx, dev, c, o, pl)
	if err != nil {
		return err
	}
	if on == nil {
		return endToEnd(ctx, &ready{p}, o, r)
	}
	r.ChosenE2E = on.Spec()
	s, err := makeReady(ctx, on, c, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if _, err := s.warm(ctx); err != nil {
		return err
	}
	return endToEnd(ctx, s, o, r)
}

// inTiles measures a case that the device cannot hold: its tensors are on the host, so that it has times from there to there
// alone.
func inTiles(ctx context.Context, p *verify.Prepared, o Options, r *report.Record) error {
	start := time.Now()
	got, err := p.Result(ctx) // poisoned, and the first
	if err != nil {
		return err
	}
	r.FirstMS = report.Milliseconds(p.Planned + time.Since(start))
	if err := p.Judge(ctx, r, got); err != nil || !r.Verified {
		return err
	}
	if o.Mode == Device {
		return fmt.Errorf("%w: it runs in tiles, whose tensors do not stay on the device; use mode both or e2e: %w", driver.ErrUnsupported, p.Why)
	}
	if err := endToEnd(ctx, &ready{p}, o, r); err != nil {
		return err
	}
	p.Note(r) // what each device of several did, too
	return nil
}

// endToEnd times runs from host to host.
func endToEnd(ctx context.Context, s *ready, o Options, r *report.Record) error {
	if err := s.poison(ctx); err != nil {
		return err
	}
	var e2e []time.Duration
	for begin := time.Now(); more(len(e2e), time.Since(begin), o); {
		d, err := s.e2e(ctx)
		if err != nil {
			return err
		}
		e2e = append(e2e, d)
	}
	r.E2EMS = report.Summarise(e2e)
	r.Runs = max(r.Runs, len(e2e))
	return s.Judge(ctx, r, s.Out())
}

// more says whether a measurement goes on.
func more(runs int, took time.Duration, o Options) bool {
	return runs < o.MinRuns || (took < o.MinTime && runs < o.MaxRuns)
}
