package bench

import (
	"context"
	"errors"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// ready is a case on a device, ready to be timed.
type ready struct {
	plan *engine.Plan
	run  *verify.Prepared
	in   engine.Operands
	out  engine.Operands // of runs from host to host
}

// planner is Plan, or PlanHere, of a device.
type planner func(context.Context, problem.Problem, driver.PlanOptions) (*engine.Plan, error)

// makeReady plans a case.
func makeReady(ctx context.Context, plan planner, c *verify.Case, algorithm string) (s *ready, err error) {
	s = &ready{in: c.In}
	if s.plan, err = plan(ctx, c.Problem, driver.PlanOptions{Algorithm: algorithm}); err != nil {
		return nil, err
	}
	if s.run, err = c.Prepare(ctx, s.plan); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// forHost is the device for a case from host to host, if that is another than a plan's: one that was chosen for tensors that
// stay on it need not be best with transfers.
func forHost(ctx context.Context, dev *engine.Device, c *verify.Case, o Options, pl *engine.Plan) (*engine.Device, error) {
	if o.Algorithm != "" || pl.Choice() == "" || pl.Fallback() != nil {
		return nil, nil
	}
	on, err := dev.For(ctx, c.Problem, engine.OnHost)
	if err != nil || on == pl.Device() {
		return nil, err
	}
	return on, nil
}

// wall is a run, submit to finish.
func (s *ready) wall(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	ev, err := s.plan.Run(ctx, s.run.Stream, s.run.Args)
	if err == nil {
		err = ev.Wait(ctx)
	}
	return time.Since(start), err
}

// poison prepares runs from host to host, whose results are in out.
func (s *ready) poison(ctx context.Context) (err error) {
	p := s.plan.Problem()
	for _, role := range p.Outputs() {
		if s.out[role] == nil {
			if s.out[role], err = engine.NewTensor(p.TypeOf(role), p.Shape(role)...); err != nil {
				return err
			}
		}
		if err := s.run.Stream.Poison(ctx, s.run.Args[role]); err != nil {
			return err
		}
	}
	return nil
}

// e2e is a run from host to host.
func (s *ready) e2e(ctx context.Context) (time.Duration, error) {
	p := s.plan.Problem()
	inputs, outputs := p.Inputs(), p.Outputs()
	start := time.Now()
	for _, role := range inputs {
		if err := s.run.Stream.Write(ctx, s.run.Args[role], s.in[role]); err != nil {
			return 0, err
		}
	}
	if _, err := s.plan.Run(ctx, s.run.Stream, s.run.Args); err != nil {
		return 0, err
	}
	for _, role := range outputs {
		if err := s.run.Stream.Download(ctx, s.out[role], s.run.Args[role]); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}

func (s *ready) close() error {
	var err error
	if s.run != nil {
		err = s.run.Close()
	}
	return errors.Join(err, s.plan.Close())
}
