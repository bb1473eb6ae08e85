// Package tune measures which algorithm and which tile is the fastest for a problem on a device, proves it against the
// oracle, and stores it in the database that plans consult (package tuned).
package tune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/tiling"
	"github.com/gonvolve/gonvolve/engine/tuned"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// The rules of the contest.
const (
	hopeless   = 3    // a candidate whose first run takes so many times the best median is dropped
	near       = 1.15 // candidates within this factor of the best are timed again, in turns
	finalists  = 4    // but no more than so many
	worthwhile = 0.97 // the device's own choice stays unless another takes less than this part of its time …
	steady     = 0.75 // and is faster in this part of the turns: what else the machine does is no merit
	minRuns    = 3
	maxRuns    = 200
)

// Status says how tuning a problem ended.
type Status string

// The statuses.
const (
	Tuned       Status = "tuned"
	Known       Status = "known" // the database has the problem, nothing was measured
	Unsupported Status = "unsupported"
	Failed      Status = "failed" // no candidate is right, or something broke
	Interrupted Status = "interrupted"
)

// Options of Problem.
type Options struct {
	Budget time.Duration // time for planning and timing candidates; two are always timed. 0: 10 seconds
	Force  bool          // measure what the database has already
}

// Candidate is what became of one.
type Candidate struct {
	driver.Candidate
	MS     float64 // median of submit to finish; 0 if it was not timed to the end
	Reason string  // why not, or what was wrong
	code   string  // that its plan runs
	wrong  bool
}

// Name is the candidate in words.
func (c *Candidate) Name() string {
	if c.Tile == "" {
		return c.Algorithm
	}
	return c.Algorithm + " " + c.Tile
}

// Result is what tuning a problem found.
type Result struct {
	Problem string // that was tuned: of one that the device cannot hold the largest tile …
	Whole   string // … and that one; else empty
	Device  string
	Status  Status
	Reason  string
	Default Candidate // the device's own choice
	Winner  Candidate
	Tried   int // candidates that were planned …
	Total   int // … of so many
	Wrong   []Candidate
	Check   string // how the winner was proven
}

// Speedup is how many times faster the winner is than the device's own choice.
func (r *Result) Speedup() float64 {
	if r.Winner.MS == 0 {
		return 0
	}
	return r.Default.MS / r.Winner.MS
}

// tuner is the work on one problem.
type tuner struct {
	oracle, dev *engine.Device
	p           problem.Problem
	o           Options
	cases       []*verify.Case // exact, then bounded
	start       time.Time
	all         []Candidate // the device's own choice first
	best        float64     // median of heats so far, 0 for none
}

// Problem tunes one problem on a device, which was opened with engine.NoFallback and engine.WithTuning(nil), and stores
// the winner. Of a problem that the device or its memory limit cannot hold it tunes the largest tile, which is what runs of it
// plan, but for a winner whose workspace is larger and makes for smaller tiles.
func Problem(ctx context.Context, oracle, dev *engine.Device, p problem.Problem, db *tuned.DB, o Options) Result {
	o.Budget = cmp.Or(o.Budget, 10*time.Second)
	r := Result{Problem: p.String(), Device: dev.Spec()}
	if limit := dev.MemLimit(); tiling.TooLarge(dev, p) || limit > 0 && p.Bytes() > limit {
		tile, err := largestTile(ctx, dev, p)
		if err != nil {
			r.failed(ctx, err)
			return r
		}
		p, r.Problem, r.Whole = tile, tile.String(), r.Problem
	}
	key := dev.TuningKey(p)
	if e, ok := db.Own(dev.Driver(), key); ok && !o.Force {
		r.Status, r.Check, r.Tried, r.Total = Known, e.Check, e.Tried, e.Tried
		r.Default = Candidate{Candidate: driver.Candidate{Algorithm: e.Default, Tile: e.DefaultTile}, MS: e.DefaultMS}
		r.Winner = Candidate{Candidate: driver.Candidate{Algorithm: e.Algorithm, Tile: e.Tile}, MS: e.MS}
		return r
	}
	t := &tuner{oracle: oracle, dev: dev, p: p, o: o}
	err := t.run(ctx, &r)
	if err == nil {
		err = db.Put(tuned.Entry{
			Key: key, Kernels: r.Winner.code, DeviceName: dev.Info().Name, Algorithm: r.Winner.Algorithm, Tile: r.Winner.Tile, MS: r.Winner.MS,
			Default: r.Default.Algorithm, DefaultTile: r.Default.Tile, DefaultMS: r.Default.MS,
			Tried: r.Tried, Check: r.Check, Date: time.Now().UTC().Format(time.DateOnly),
		})
	}
	if err != nil {
		r.failed(ctx, err)
	} else {
		r.Status = Tuned
	}
	return r
}

// mostTuned is what the tensors of a tile may take for it to be tuned, in bytes.
const mostTuned = 1 << 30

// largestTile is the largest tile of a problem on a device.
func largestTile(ctx context.Context, dev *engine.Device, p problem.Problem) (problem.Problem, error) {
	j, err := tiling.Prepare(ctx, dev, p, tiling.Options{})
	if err != nil {
		return p, err
	}
	tile := j.Largest()
	err = j.Close()
	if n := tile.Bytes(); err == nil && n > mostTuned {
		err = fmt.Errorf("%w: tiles of %s take %d bytes, up to %d are tuned; give the memory limit of the runs (--mem-limit)",
			driver.ErrUnsupported, p.String(), n, mostTuned)
	}
	return tile, err
}

// failed notes why there is no winner.
func (r *Result) failed(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
		r.Status, r.Reason = Interrupted, "interrupted"
	case errors.Is(err, driver.ErrUnsupported):
		r.Status, r.Reason = Unsupported, err.Error()
	default:
		r.Status, r.Reason = Failed, err.Error()
	}
}

// errWrong is returned when nothing that was measured is right.
var errWrong = errors.New("no candidate is right")

func (t *tuner) run(ctx context.Context, r *Result) error {
	pl, err := t.dev.Plan(ctx, t.p, driver.PlanOptions{})
	if err != nil {
		return err
	}
	info := pl.Info()
	if err := pl.Close(); err != nil {
		return err
	}
	own := driver.Candidate{Algorithm: info.Algorithm, Tile: info.Tunables}
	candidates := append([]driver.Candidate{own}, t.others(own)...)
	c, err := verify.NewCase(ctx, t.oracle, t.p, verify.Int, verify.DefaultBudget)
	if err != nil {
		return err
	}
	t.cases, t.start = []*verify.Case{c}, time.Now()
	for i, c := range candidates {
		// The rest of the budget is for the final.
		if i >= 2 && time.Since(t.start) > t.o.Budget*3/4 {
			break
		}
		x := Candidate{Candidate: c}
		if err := t.heat(ctx, &x); err != nil {
			return err
		}
		t.all = append(t.all, x)
	}
	winner, check, err := t.proven(ctx)
	r.Tried, r.Total, r.Default = len(t.all), len(candidates), t.all[0]
	if err == nil {
		r.Winner, r.Check = *winner, check
	}
	for _, x := range t.all {
		if x.wrong {
			r.Wrong = append(r.Wrong, x)
		}
	}
	return err
}

// others lists the candidates beside the device's own choice.
func (t *tuner) others(own driver.Candidate) (list []driver.Candidate) {
	if d, ok := t.dev.Driver().(driver.Tuner); ok {
		list = d.Candidates(t.p)
	} else {
		for _, a := range t.dev.Algorithms(t.p) {
			list = append(list, driver.Candidate{Algorithm: a})
		}
	}
	return slices.DeleteFunc(list, func(c driver.Candidate) bool {
		return c == own || c == driver.Candidate{Algorithm: own.Algorithm}
	})
}

// prepared is a candidate that is ready to run.
type prepared struct {
	*verify.Prepared
	plan *engine.Plan
}

func (p *prepared) close() error { return errors.Join(p.Prepared.Close(), p.plan.Close()) }

func (t *tuner) prepare(ctx context.Context, c driver.Candidate, on *verify.Case) (*prepared, error) {
	pl, err := t.dev.Plan(ctx, t.p, c.Options())
	if err != nil {
		return nil, err
	}
	p, err := on.Prepare(ctx, pl)
	if err != nil {
		return nil, errors.Join(err, pl.Close())
	}
	return &prepared{p, pl}, nil
}

func (p *prepared) time(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	ev, err := p.plan.Run(ctx, p.Stream, p.Args)
	if err != nil {
		return 0, err
	}
	err = ev.Wait(ctx)
	return time.Since(start), err
}

// judge checks one run's result; why is empty if it is right.
func (t *tuner) judge(ctx context.Context, p *prepared, on *verify.Case) (check, why string, err error) {
	got, err := p.Result(ctx)
	if err != nil {
		return "", "", err
	}
	r := report.New(&t.p, t.dev)
	r.Planned(p.plan)
	err = on.Judge(ctx, &r, p.plan.Info().Arithmetic, got)
	return r.Check, r.Reason, err
}

// fatal says whether an error ends the tuning: one of a candidate alone only drops it.
func fatal(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, driver.ErrDeviceLost) || errors.Is(err, driver.ErrClosed)
}

// heat checks a candidate once and times it, unless it is hopeless.
func (t *tuner) heat(ctx context.Context, x *Candidate) (err error) {
	refused := func(err error) error {
		x.Reason = err.Error()
		if fatal(ctx, err) {
			return err
		}
		return nil
	}
	p, err := t.prepare(ctx, x.Candidate, t.cases[0])
	if err != nil {
		return refused(err)
	}
	defer func() { err = errors.Join(err, p.close()) }()
	x.code = tuned.Code(p.plan.Info())
	if _, x.Reason, err = t.judge(ctx, p, t.cases[0]); err != nil {
		return refused(err)
	}
	if x.wrong = x.Reason != ""; x.wrong {
		return nil
	}
	var took []time.Duration
	for begin := time.Now(); len(took) < minRuns || len(took) < maxRuns && time.Since(begin) < t.o.Budget/20; {
		d, err := p.time(ctx)
		if err != nil {
			return refused(err)
		}
		took = append(took, d)
		if ms := report.Milliseconds(d); len(took) == 1 && t.best > 0 && ms > hopeless*t.best {
			x.Reason = fmt.Sprintf("dropped: %.4g ms in the first run", ms)
			return nil
		}
	}
	x.MS = report.Summarise(took).Median
	if t.best == 0 || x.MS < t.best {
		t.best = x.MS
	}
	return nil
}

// proven returns the fastest candidate that passes the oracle in exact and in bounded mode.
func (t *tuner) proven(ctx context.Context) (*Candidate, string, error) {
	for {
		x, err := t.final(ctx)
		if err != nil {
			return nil, "", err
		}
		if x == nil {
			for _, x := range t.all {
				if x.Reason != "" {
					return nil, "", fmt.Errorf("%w: %s: %s", errWrong, x.Name(), x.Reason)
				}
			}
			return nil, "", errWrong
		}
		check, err := t.prove(ctx, x)
		if err != nil || !x.wrong {
			return x, check, err
		}
	}
}

// final times the device's own choice and the best others again in turns, so that what else the machine does falls on all
// alike, and returns the winner; nil if there is nobody.
func (t *tuner) final(ctx context.Context) (winner *Candidate, err error) {
	in := t.finalists()
	switch len(in) {
	case 0:
		return nil, nil
	case 1:
		return in[0], nil
	}
	ready := make([]*prepared, 0, len(in))
	defer func() {
		for _, p := range ready {
			err = errors.Join(err, p.close())
		}
	}()
	for i, x := range in {
		p, err := t.prepare(ctx, x.Candidate, t.cases[0])
		if err != nil && !fatal(ctx, err) && i > 0 {
			in = in[:i] // the device cannot hold more of them at once
			break
		}
		if err != nil {
			return nil, err
		}
		ready = append(ready, p)
		if _, err := p.time(ctx); err != nil { // warm
			return nil, err
		}
	}
	took := make([][]time.Duration, len(in))
	for begin := time.Now(); len(took[0]) < 2*minRuns || len(took[0]) < maxRuns && time.Since(begin) < t.o.Budget/4; {
		for i, p := range ready {
			d, err := p.time(ctx)
			if err != nil {
				return nil, err
			}
			took[i] = append(took[i], d)
		}
	}
	own := slices.Index(in, &t.all[0])
	for i, x := range in {
		x.MS = report.Summarise(took[i]).Median
	}
	for i, x := range in {
		if (winner == nil || x.MS < winner.MS) && (i == own || own < 0 || beats(x, in[own], took[i], took[own])) {
			winner = x
		}
	}
	return winner, nil
}

// beats says whether a candidate is really faster than the device's own choice, by what both took in each turn.
func beats(x, own *Candidate, took, ownTook []time.Duration) bool {
	won := 0
	for i := range took {
		if took[i] < ownTook[i] {
			won++
		}
	}
	return x.MS <= worthwhile*own.MS && float64(won) >= steady*float64(len(took))
}

// finalists lists the device's own choice and the best others, the fastest first, without those that were wrong.
func (t *tuner) finalists() (in []*Candidate) {
	best := 0.0
	for _, x := range t.all {
		if x.MS > 0 && !x.wrong && (best == 0 || x.MS < best) {
			best = x.MS
		}
	}
	own := &t.all[0]
	for i := range t.all {
		if x := &t.all[i]; x.MS > 0 && !x.wrong && (x == own || x.MS <= near*best) {
			in = append(in, x)
		}
	}
	slices.SortStableFunc(in, func(a, b *Candidate) int { return cmp.Compare(a.MS, b.MS) })
	if len(in) > finalists {
		if slices.Index(in, own) >= finalists {
			in[finalists-1] = own
		}
		in = in[:finalists]
	}
	return in
}

// prove checks a candidate with whole numbers and with random ones.
func (t *tuner) prove(ctx context.Context, x *Candidate) (checks string, err error) {
	if len(t.cases) == 1 {
		c, err := verify.NewCase(ctx, t.oracle, t.p, verify.Uniform, verify.DefaultBudget)
		if err != nil {
			return "", err
		}
		t.cases = append(t.cases, c)
	}
	for _, on := range t.cases {
		check, err := t.proveOn(ctx, x, on)
		if err != nil || x.wrong {
			return "", err
		}
		if checks != "" {
			checks += ", "
		}
		checks += string(on.Fill) + " " + check
	}
	return checks, nil
}

func (t *tuner) proveOn(ctx context.Context, x *Candidate, on *verify.Case) (check string, err error) {
	p, err := t.prepare(ctx, x.Candidate, on)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	check, x.Reason, err = t.judge(ctx, p, on)
	x.wrong = x.Reason != ""
	return check, err
}
