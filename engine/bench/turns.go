package bench

import (
	"context"
	"errors"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// InTurns times a case again on several devices, a run on each in turn, so that what else the machine does falls on all
// alike: times that are worth comparing to the percent. They replace the records' WallMS. An error fails the record of its
// device, and ends it.
func InTurns(ctx context.Context, c *verify.Case, o Options, devs []*engine.Device, records []*report.Record) {
	o = o.withDefaults()
	type side struct {
		plan *engine.Plan
		run  *verify.Prepared
		took []time.Duration
	}
	sides := make([]side, len(devs))
	fail := func(i int, err error) {
		if ctx.Err() != nil {
			records[i].Status, records[i].Verified, records[i].Reason = report.Skipped, false, "interrupted"
			return
		}
		records[i].Fail(err)
	}
	defer func() {
		for i, s := range sides {
			var err error
			if s.run != nil {
				err = s.run.Close()
			}
			if s.plan != nil {
				err = errors.Join(err, s.plan.Close())
			}
			if err != nil {
				fail(i, err)
			}
		}
	}()
	turn := func(i int) error {
		s := &sides[i]
		start := time.Now()
		ev, err := s.plan.Run(ctx, s.run.Stream, s.run.Args)
		if err == nil {
			err = ev.Wait(ctx)
		}
		s.took = append(s.took, time.Since(start))
		return err
	}
	for i, d := range devs {
		var err error
		if sides[i].plan, err = d.Plan(ctx, c.Problem, driver.PlanOptions{Algorithm: o.Algorithm}); err == nil {
			sides[i].run, err = c.Prepare(ctx, sides[i].plan)
		}
		if err == nil {
			err = turn(i) // warm
			sides[i].took = nil
		}
		if err != nil {
			fail(i, err)
			return
		}
	}
	for begin := time.Now(); more(len(sides[0].took), time.Since(begin), o); {
		for i := range sides {
			if err := turn(i); err != nil {
				fail(i, err)
				return
			}
		}
	}
	for i, s := range sides {
		records[i].WallMS = report.Summarise(s.took)
	}
}
