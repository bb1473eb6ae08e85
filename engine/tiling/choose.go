package tiling

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/auto"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// tried is what the tensors of a problem take at most that devices try whole, in bytes; of a larger one they try a tile.
const tried int64 = 64 << 20

// For is the device for a problem of any size from host to host that is to keep to a memory limit (0: to the device's own), and
// why, in words: engine.Device.For, by a tile of what is too large to be tried whole, such as the limit makes it have.
func For(ctx context.Context, dev *engine.Device, p problem.Problem, limit int64) (on *engine.Device, why string, err error) {
	p = part(p, trial(dev, limit))
	if on, err = dev.For(ctx, p, engine.OnHost); err != nil {
		return nil, "", err
	}
	return on, dev.Why(p, engine.OnHost), nil
}

// trial is what a problem that is tried takes at most under a memory limit.
func trial(dev *engine.Device, limit int64) int64 {
	most := tried
	for _, limit := range []int64{limit, dev.MemLimit()} {
		if limit > 0 {
			most = min(most, max(1, limit/(2*holders)))
		}
	}
	return most
}

// part is a problem, or a tile of it whose tensors take no more than so many bytes, if there is one.
func part(p problem.Problem, most int64) problem.Problem {
	if p.Bytes() <= most {
		return p
	}
	tiles, err := Cut(p, Limits{MemoryBytes: 2 * holders * most})
	if err != nil {
		return p
	}
	return tiles.Tile(tiles.Len() / 2).Problem
}

// large is what the tensors of a problem take at least for it to be worth trying whether devices are faster together.
var large int64 = 1 << 30

// Large says whether a problem is so large that "auto" may divide it.
func Large(p *problem.Problem) bool { return p.Bytes() >= large }

// worthDividing is the part of the best single device's time that several together may take at most to be chosen.
const worthDividing = 0.9

// together is all devices of a group, and why, if they compute a part of a large problem faster than the one that is fastest
// by itself.
func together(ctx context.Context, dev, on *engine.Device, p problem.Problem, o Options) ([]*engine.Device, string, error) {
	if dev == on || !Large(&p) || o.Algorithm != "" || o.Steps != nil {
		return nil, "", nil
	}
	devs, err := dev.Members(ctx)
	if err != nil || len(devs) < 2 {
		return nil, "", err
	}
	q := part(p, tried)
	enter := func(prepare func(Options) (*Job, error)) func(context.Context) (auto.Entrant, error) {
		return func(context.Context) (auto.Entrant, error) {
			j, err := prepare(Options{MemLimit: o.MemLimit, Exact: o.Exact})
			if err != nil {
				return nil, err
			}
			return newEntrant(j)
		}
	}
	alone, all := on.Spec(), specs(devs)
	_, results, err := auto.Race(ctx, []auto.Contender{
		{Name: alone, Start: enter(func(o Options) (*Job, error) { return prepareOne(ctx, on, q, o) })},
		{Name: all, Start: enter(func(o Options) (*Job, error) { return prepareTeam(ctx, devs, q, o) })},
	})
	if err != nil {
		return nil, "", err
	}
	winner := 0
	if results[1].Out == "" && results[1].MS > 0 && (results[0].MS == 0 || results[1].MS < worthDividing*results[0].MS) {
		winner = 1
	}
	choice := auto.New(winner, results, "")
	slog.InfoContext(ctx, "devices chosen", "of", dev.Name(), "problem", p.String(), "tried", q.String(), "devices", choice.Name, "why", choice.Why())
	if winner == 0 {
		return nil, "", nil
	}
	return devs, choice.Why(), nil
}

// entrant is a job with tensors that nobody needs.
type entrant struct {
	j  *Job
	in engine.Operands
}

func newEntrant(j *Job) (e *entrant, err error) {
	e = &entrant{j: j}
	p := j.Tiles.Problem()
	for _, list := range [2][]problem.Role{p.Constants(), p.Inputs()} {
		for _, r := range list {
			if e.in[r], err = engine.NewTensor(p.TypeOf(r), p.Shape(r)...); err != nil {
				return nil, errors.Join(err, j.Close())
			}
		}
	}
	return e, nil
}

func (e *entrant) Run(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	_, err := e.j.RunHost(ctx, e.in)
	return time.Since(start), err
}

func (e *entrant) Close() error { return e.j.Close() }
