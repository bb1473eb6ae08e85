package bench

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// turn is how long a device's runs go on for before it is another's turn: where they are short, many of them, after one that
// does not count, as it finds the caches as the other left them.
const turn = 4 * time.Millisecond

// InTurns times a case again on several devices, by some runs of each in turn, there and back, so that what else the machine
// does falls on all alike, and each comes after each: times that are worth comparing to the percent. They replace the records' WallMS and E2EMS, as the mode has it. An
// error fails the record of its device, and ends it.
func InTurns(ctx context.Context, c *verify.Case, o Options, devs []*engine.Device, records []*report.Record) {
	o = o.withDefaults()
	sides, hosts := make([]*ready, len(devs)), make([]*ready, len(devs)) // hosts are for runs from host to host
	fail := func(i int, err error) {
		if ctx.Err() != nil {
			records[i].Status, records[i].Verified, records[i].Reason = report.Skipped, false, "interrupted"
			return
		}
		records[i].Fail(err)
	}
	defer func() {
		for i, s := range sides {
			var errs []error
			if hosts[i] != nil && hosts[i] != s {
				errs = append(errs, hosts[i].Close())
			}
			if s != nil {
				errs = append(errs, s.Close())
			}
			if err := errors.Join(errs...); err != nil {
				fail(i, err)
			}
		}
	}()
	for i, d := range devs {
		var err error
		if sides[i], hosts[i], err = bothReady(ctx, d, c, o); err != nil {
			fail(i, err)
			return
		}
	}
	inTurns := func(list []*ready, run func(*ready, context.Context) (time.Duration, error), into func(*report.Record, *report.Times)) bool {
		took := make([][]time.Duration, len(list))
		back := false
		for begin := time.Now(); more(len(took[0]), time.Since(begin), o); back = !back {
			for i := range list {
				if back {
					i = len(list) - 1 - i
				}
				s := list[i]
				for start, n := time.Now(), 0; n == 0 || time.Since(start) < turn; n++ {
					d, err := run(s, ctx)
					if err != nil {
						fail(i, err)
						return false
					}
					if n > 0 || d >= turn/2 {
						took[i] = append(took[i], d)
					}
				}
			}
		}
		for i, t := range took {
			into(records[i], report.Summarise(t))
		}
		return true
	}
	whole := !slices.ContainsFunc(sides, func(s *ready) bool { return s.Job != nil })
	if o.Mode != E2E && whole && !inTurns(sides, (*ready).wall, func(r *report.Record, t *report.Times) { r.WallMS = t }) {
		return
	}
	if o.Mode != Device {
		inTurns(hosts, (*ready).e2e, func(r *report.Record, t *report.Times) { r.E2EMS = t })
	}
}

// bothReady makes a case ready on a device for runs with tensors there, and from host to host: mostly the same. Both are warm.
func bothReady(ctx context.Context, d *engine.Device, c *verify.Case, o Options) (side, host *ready, err error) {
	if side, err = makeReady(ctx, d, c, o.Algorithm); err != nil {
		return nil, nil, err
	}
	host = side
	var on *engine.Device
	if side.Job == nil && o.Mode != Device {
		on, err = forHost(ctx, d, c, o, side.Plan)
	}
	if err == nil && on != nil {
		if host, err = makeReady(ctx, on, c, ""); err != nil {
			return side, nil, err
		}
	}
	if err == nil {
		_, err = side.warm(ctx)
	}
	if err == nil && o.Mode != Device {
		if err = host.poison(ctx); err == nil {
			_, err = host.e2e(ctx)
		}
	}
	return side, host, err
}
