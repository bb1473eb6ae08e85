package verify

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

// Prepared is a case on a device, ready to run: whole, by a plan and tensors that stay on the device, or, where that cannot
// hold it, in tiles from host to host.
type Prepared struct {
	Planned time.Duration // that Start took to plan it

	Plan   *engine.Plan   // nil in tiles
	Stream *engine.Stream // likewise
	Args   engine.Args    // likewise

	Job *tiling.Job // nil unless in tiles
	Why error       // of the whole, that it is in tiles

	c         *Case
	out       engine.Operands
	owns      bool // the plan
	algorithm string
	flags     []string // that the device was opened by
}

// Start plans the case for a device, by an algorithm (empty: the device's choice), and prepares it: whole, or, where the device
// or its memory limit cannot hold that, in tiles.
func (c *Case) Start(ctx context.Context, dev *engine.Device, algorithm string) (*Prepared, error) {
	p, err := c.whole(ctx, dev, algorithm)
	if err != nil && ctx.Err() == nil && tiling.Helps(dev, c.Problem, err) {
		why := err
		if p, err = c.inTiles(ctx, dev, tiling.Options{Algorithm: algorithm}); err == nil {
			p.Why = why
		} else if ctx.Err() == nil {
			err = &beyond{why, err}
		}
	}
	if err != nil {
		return nil, err
	}
	p.owns, p.algorithm, p.flags = true, algorithm, Flags(dev)
	return p, nil
}

// inTiles prepares the case in tiles.
func (c *Case) inTiles(ctx context.Context, dev *engine.Device, o tiling.Options) (*Prepared, error) {
	start := time.Now()
	j, err := tiling.Prepare(ctx, dev, c.Problem, o)
	if err != nil {
		return nil, err
	}
	p := &Prepared{Planned: time.Since(start), Job: j, c: c}
	if p.out, err = c.outputs(); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return p, nil
}

// once runs the case once, has the result judged, and closes it.
func (p *Prepared) once(ctx context.Context, r *report.Record, judge func(engine.Operands) error) (err error) {
	defer func() { err = errors.Join(err, p.Close()) }()
	p.Note(r)
	got, err := p.Result(ctx)
	if err != nil {
		return err
	}
	p.Note(r) // what each device of several did, too
	r.Runs = 1
	return judge(got)
}

// beyond is the error of a problem that runs neither whole nor in tiles.
type beyond struct{ whole, tiles error }

func (b *beyond) Error() string   { return b.whole.Error() + "; and in tiles: " + b.tiles.Error() }
func (b *beyond) Unwrap() []error { return []error{b.whole, b.tiles} }

// whole prepares the case as it is. A plan that fell back for the problem's size is an error.
func (c *Case) whole(ctx context.Context, dev *engine.Device, algorithm string) (*Prepared, error) {
	start := time.Now()
	pl, err := dev.Plan(ctx, c.Problem, driver.PlanOptions{Algorithm: algorithm})
	if err != nil {
		return nil, err
	}
	planned := time.Since(start)
	if f := pl.Fallback(); f != nil && tiling.Helps(dev, c.Problem, f.Reason) {
		return nil, errors.Join(f.Reason, pl.Close())
	}
	p, err := c.Prepare(ctx, pl)
	if err != nil {
		return nil, errors.Join(err, pl.Close())
	}
	p.Planned = planned
	return p, nil
}

// Prepare uploads the case's inputs to the plan's device. The plan stays the caller's.
func (c *Case) Prepare(ctx context.Context, pl *engine.Plan) (p *Prepared, err error) {
	p = &Prepared{Plan: pl, c: c}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
			p = nil
		}
	}()
	if p.Stream, err = pl.Device().NewStream(); err != nil {
		return p, err
	}
	if roles := c.Problem.Constants(); len(roles) > 0 {
		var constants engine.Operands
		for _, r := range roles {
			constants[r] = c.In[r]
		}
		if err = pl.SetWeights(ctx, constants); err != nil {
			return p, err
		}
	}
	for _, r := range c.Problem.Inputs() {
		if p.Args[r], err = p.Stream.Upload(ctx, c.In[r]); err != nil {
			return p, err
		}
	}
	for _, r := range c.Problem.Outputs() {
		if p.Args[r], err = pl.Device().NewTensor(c.Problem.TypeOf(r), c.Problem.Shape(r)...); err != nil {
			return p, err
		}
	}
	p.out, err = c.outputs()
	return p, err
}

// outputs are host tensors for the results.
func (c *Case) outputs() (out engine.Operands, err error) {
	for _, r := range c.Problem.Outputs() {
		if out[r], err = engine.NewTensor(c.Problem.TypeOf(r), c.Problem.Shape(r)...); err != nil {
			return out, err
		}
	}
	return out, nil
}

// Close frees everything, but for a plan that was the caller's.
func (p *Prepared) Close() error {
	for _, t := range p.Args {
		t.Free()
	}
	var errs []error
	if p.Stream != nil {
		errs = append(errs, p.Stream.Close())
	}
	if p.owns && p.Plan != nil {
		errs = append(errs, p.Plan.Close())
	}
	if p.Job != nil {
		errs = append(errs, p.Job.Close())
	}
	return errors.Join(errs...)
}

// Info is what runs.
func (p *Prepared) Info() driver.PlanInfo {
	if p.Job != nil {
		return p.Job.Info()
	}
	return p.Plan.Info()
}

// Note fills a record with what runs, and where, and the command that runs it again.
func (p *Prepared) Note(r *report.Record) {
	if p.Job != nil {
		r.InTiles(p.Job, p.Why)
	} else {
		r.Planned(p.Plan)
	}
	r.Repro = Repro(&p.c.Problem, r.On(), p.algorithm, p.c.Fill, p.flags...)
}

// Result poisons the outputs, runs once and downloads them. The tensors are the Prepared's: the next Result overwrites
// them.
func (p *Prepared) Result(ctx context.Context) (engine.Operands, error) {
	if p.Job != nil {
		p.Poison()
		p.Job.Poison(true)
		defer p.Job.Poison(false)
		return p.out, p.Tiles(ctx)
	}
	for r := range p.out {
		if p.out[r] != nil {
			if err := p.Stream.Poison(ctx, p.Args[r]); err != nil {
				return engine.Operands{}, err
			}
		}
	}
	ev, err := p.Plan.Run(ctx, p.Stream, p.Args)
	if err != nil {
		return engine.Operands{}, err
	}
	if err := ev.Wait(ctx); err != nil {
		return engine.Operands{}, err
	}
	for r, t := range p.out {
		if t != nil {
			if err := p.Stream.Download(ctx, t, p.Args[r]); err != nil {
				return engine.Operands{}, err
			}
		}
	}
	return p.out, nil
}

// Poison fills the host's results of a case in tiles with NaN.
func (p *Prepared) Poison() {
	for _, t := range p.out {
		if t != nil {
			b := t.Bytes()
			for len(b) >= 4 {
				binary.LittleEndian.PutUint32(b, 0x7fc0dead) // as Stream.Poison does
				b = b[4:]
			}
		}
	}
}

// Tiles computes a case that is in tiles, from host to host.
func (p *Prepared) Tiles(ctx context.Context) error { return p.Job.RunInto(ctx, p.c.In, p.out) }

// In are the inputs on the host.
func (p *Prepared) In() engine.Operands { return p.c.In }

// Out are the results on the host, of the last Result or Tiles.
func (p *Prepared) Out() engine.Operands { return p.out }

// Judge compares results with the truth about the arithmetics that they come by, at the borders of tiles, too, and fills the
// record.
func (p *Prepared) Judge(ctx context.Context, r *report.Record, got engine.Operands) error {
	var tiles *tiling.Tiles
	if p.Job != nil {
		tiles = p.Job.Tiles
	}
	return p.c.judgeBy(ctx, r, p.Arithmetics(), tiles, got)
}

// Arithmetics are how results come by: of tiles by one or another of them.
func (p *Prepared) Arithmetics() []driver.Arithmetic {
	if p.Job != nil {
		return p.Job.Arithmetics()
	}
	return []driver.Arithmetic{p.Plan.Info().Arithmetic}
}
