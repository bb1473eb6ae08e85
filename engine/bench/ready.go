package bench

import (
	"context"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// ready is a case on a device, ready to be timed.
type ready struct{ *verify.Prepared }

// makeReady prepares a case.
func makeReady(ctx context.Context, dev *engine.Device, c *verify.Case, algorithm string) (*ready, error) {
	p, err := c.Start(ctx, dev, algorithm)
	if err != nil {
		return nil, err
	}
	return &ready{p}, nil
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

// wall is a run of a case that is not in tiles, submit to finish.
func (s *ready) wall(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	ev, err := s.Plan.Run(ctx, s.Stream, s.Args)
	if err == nil {
		err = ev.Wait(ctx)
	}
	return time.Since(start), err
}

// warm is a run that does not count.
func (s *ready) warm(ctx context.Context) (time.Duration, error) {
	if s.Job != nil {
		return s.e2e(ctx)
	}
	return s.wall(ctx)
}

// poison prepares runs from host to host: what they do not write shows.
func (s *ready) poison(ctx context.Context) error {
	s.Poison()
	if s.Job != nil {
		return nil
	}
	p := s.Plan.Problem()
	for _, role := range p.Outputs() {
		if err := s.Stream.Poison(ctx, s.Args[role]); err != nil {
			return err
		}
	}
	return nil
}

// e2e is a run from host to host.
func (s *ready) e2e(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	if s.Job != nil {
		err := s.Tiles(ctx)
		return time.Since(start), err
	}
	p := s.Plan.Problem()
	for _, role := range p.Inputs() {
		if err := s.Stream.Write(ctx, s.Args[role], s.In()[role]); err != nil {
			return 0, err
		}
	}
	if _, err := s.Plan.Run(ctx, s.Stream, s.Args); err != nil {
		return 0, err
	}
	for _, role := range p.Outputs() {
		if err := s.Stream.Download(ctx, s.Out()[role], s.Args[role]); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}
