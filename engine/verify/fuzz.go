package verify

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
)

const (
	fuzzBudget  = 2e7              // products of the oracle for one problem: some 50 ms
	shrinkTries = 3000             // runs that shrinking a failure may take
	shrinkTime  = 20 * time.Second // after which steps are no longer taken two at once
	drawTries   = 10000            // problems to draw for one that an algorithm can run
)

// Fuzzer checks random problems: by all algorithms of all devices, with both fills, against the oracle.
type Fuzzer struct {
	Oracle     *engine.Device
	Devices    []*engine.Device
	Seed       uint64
	Fills      []Fill // nil is all
	Algorithms func(*engine.Device, problem.Problem) []string
	// Algorithm is the only one that runs if it is not empty, and problems are such that a device can run them by it: where
	// each problem takes a compilation, faults of one algorithm are found many times sooner.
	Algorithm string
	// Cut has problems run in tiles, cut at random: by the devices' choice of algorithm, or by Algorithm.
	Cut bool
}

// Problem is random problem i: it depends on Seed and i alone, with an Algorithm also on what the devices can run by it.
func (f *Fuzzer) Problem(i uint64) problem.Problem {
	r := rand.New(rand.NewPCG(f.Seed, i))
	p := draw(r, i)
	for tries := 0; f.Algorithm != "" && tries < drawTries && !f.suits(&p); tries++ {
		p = draw(r, i)
	}
	return p
}

// suits says whether a device can run the problem by the Algorithm.
func (f *Fuzzer) suits(p *problem.Problem) bool {
	return slices.ContainsFunc(f.Devices, func(d *engine.Device) bool { return slices.Contains(d.Algorithms(*p), f.Algorithm) })
}

// draw makes problem i of a source of random numbers.
func draw(r *rand.Rand, i uint64) problem.Problem {
	switch i % 8 {
	case 3:
		for {
			if p := problem.Random(r, 32); p.FLOPs() < 1e7 && p.Bytes() < 8<<20 {
				return p
			}
		}
	case 7:
		return problem.RandomLarge(r)
	}
	return problem.Random(r, 12)
}

// Check runs problem i on all devices. A failure is shrunk: the record is of the smallest problem that still fails on that
// device by that algorithm with that fill, and its reason names problem i. each gets every record until it returns false.
func (f *Fuzzer) Check(ctx context.Context, i uint64, each func(report.Record) bool) {
	p := f.Problem(i)
	fills := f.Fills
	if fills == nil {
		fills = []Fill{Int, Uniform}
	}
	var steps []int
	if f.Cut {
		var err error
		if steps, err = RandomCut(p, f.Seed, i); err != nil {
			panic(err) // it is no random problem, then
		}
	}
	for _, fill := range fills {
		c, err := NewCase(ctx, f.Oracle, p, fill, fuzzBudget)
		if err != nil {
			r := report.New(&p, f.Oracle)
			r.Repro = Repro(&p, f.Oracle.Spec(), "", fill)
			if r.Fail(fmt.Errorf("oracle: %w", err)); ctx.Err() == nil && !each(r) {
				return
			}
			continue
		}
		for _, dev := range f.Devices {
			algorithms := f.algorithms(dev, p)
			if len(algorithms) == 0 {
				algorithms = []string{""} // the device says why
			}
			for _, alg := range algorithms {
				check := func(c *Case) report.Record {
					if f.Cut {
						return c.CheckCut(ctx, dev, alg, near(&c.Problem, steps))
					}
					return c.Check(ctx, dev, alg)
				}
				r := check(c)
				if ctx.Err() != nil {
					return
				}
				if r.Status == report.Failed {
					from := p.String()
					small, simpler := shrink(ctx, f.Oracle, dev, alg, c, r, check)
					if r = simpler; f.Cut {
						r = small.simplerCut(ctx, dev, alg, slices.Clone(steps), r)
					}
					r.Reason += fmt.Sprintf("; shrunk from problem %d of seed %d, %s", i, f.Seed, from)
				}
				if !each(r) {
					return
				}
			}
		}
	}
}

func (f *Fuzzer) algorithms(dev *engine.Device, p problem.Problem) []string {
	switch {
	case f.Algorithm != "":
		return []string{f.Algorithm}
	case f.Cut:
		return nil
	}
	if f.Algorithms != nil {
		return f.Algorithms(dev, p)
	}
	return dev.Algorithms(p)
}

// Shrink looks for a smaller problem that fails on a device by an algorithm as the case did, whose record is given, and
// returns the smallest and its record. It is greedy: of the problems one step simpler it takes the first that fails, and
// goes on from there. Where none does, the values may just happen to hide the fault, and it takes two steps at once, unless
// runs are slow. It ends when that does not help either, after some thousand runs, or with ctx.
func Shrink(ctx context.Context, oracle, dev *engine.Device, algorithm string, c *Case, failed report.Record) (problem.Problem, report.Record) {
	small, r := shrink(ctx, oracle, dev, algorithm, c, failed, func(c *Case) report.Record { return c.Check(ctx, dev, algorithm) })
	return small.Problem, r
}

// shrink is Shrink by any check, and returns the smallest case.
func shrink(ctx context.Context, oracle, dev *engine.Device, algorithm string, smallest *Case, failed report.Record,
	check func(*Case) report.Record) (*Case, report.Record) {
	best, tries, start := smallest.Problem, 0, time.Now()
	over := func() bool { return tries > shrinkTries || ctx.Err() != nil }
	fails := func(p problem.Problem) bool {
		if tries++; over() || algorithm == "" && len(dev.Algorithms(p)) == 0 {
			return false
		}
		small, err := NewCase(ctx, oracle, p, smallest.Fill, fuzzBudget)
		if err != nil {
			return false
		}
		r := check(small)
		if r.Status != report.Failed {
			return false
		}
		best, smallest, failed = p, small, r
		return true
	}
	single := func() {
		list := best.Simpler()
		for at, refused := 0, 0; refused < len(list); {
			at %= len(list)
			if fails(list[at]) { // the same step again, for it may have more to take
				list, refused = best.Simpler(), 0
				continue
			}
			at++
			refused++
		}
	}
	double := func() bool {
		for _, p := range best.Simpler() {
			for _, p := range p.Simpler() {
				if time.Since(start) > shrinkTime {
					return false
				}
				if fails(p) {
					return true
				}
			}
		}
		return false
	}
	for more := true; more && !over(); {
		single()
		more = double()
	}
	return smallest, failed
}
