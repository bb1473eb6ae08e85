// Package auto chooses one of several ways to do the same, such as devices that could run a problem, by a race: each way
// runs a few times, and those that lose are not run again. A [Choice] is kept in the cache folder, so that later processes
// choose at once. Package engine's device "auto" is made of it.
package auto

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Contender is one of the ways.
type Contender struct {
	Name string
	// Least is what a run takes at the very least by measured rates, where the best so far takes best (0: none has run); 0 if
	// that is not known. A contender that cannot win by it is not started. nil: nothing is known.
	Least func(ctx context.Context, best time.Duration) time.Duration
	// Start makes it ready.
	Start func(ctx context.Context) (Entrant, error)
}

// Entrant is a contender that is ready.
type Entrant interface {
	// Run is one run, with how long it took.
	Run(ctx context.Context) (time.Duration, error)
	Close() error
}

// What a race costs: an entrant runs once to warm up and once for a time. It is out if both took more than beaten times the
// best's, or, where that is brief, doubtful times: another process that starts meanwhile doubles what a run takes. After a
// first run that takes so much and firstRun more, it does not run again. The others run once more, and then in turns: those
// whose best is not within near of the best after some looks, time apart, are out.
const (
	beaten   = 2
	doubtful = 4
	brief    = 20 * time.Millisecond
	near     = 1.5
	looks    = 3
	firstRun = 500 * time.Millisecond // what a driver may do late
	turns    = 15
	turn     = 4 * time.Millisecond // of runs, at least one …
	mostRuns = 64                   // … at most so many
	enough   = 2 * time.Second      // no further turn after so much time in turns
)

// Result is how a contender fared.
type Result struct {
	Name string  `json:"name"`
	MS   float64 `json:"ms,omitempty"`   // what it took or less in a quarter of its runs; 0 if there was none
	Runs int     `json:"runs,omitempty"` // that were timed
	Out  string  `json:"out,omitempty"`  // why it was given up; empty: it ran to the end

	err error
}

// Err is nil, or the error that the contender was given up for.
func (r *Result) Err() error { return r.err }

// entry is a contender that runs.
type entry struct {
	*Result
	e    Entrant
	took []time.Duration
}

// quartile is the lower one: what else the machine does, or a host with its processors, may last for more than half of the turns.
func (e *entry) quartile() time.Duration {
	s := slices.Sorted(slices.Values(e.took))
	return s[len(s)/4]
}

func (e *entry) least() time.Duration { return slices.Min(e.took) }

// run runs for a turn. Where runs are short one comes first that does not count: it finds the caches as others left them.
func (e *entry) run(ctx context.Context, warm bool) error {
	for sum, n := time.Duration(0), 0; n < mostRuns && (n == 0 || sum < turn); n++ {
		d, err := e.e.Run(ctx)
		if err != nil {
			return err
		}
		if n == 0 && warm && d < turn {
			warm = false
			n--
			sum++ // whatever the clock says, this ends
			continue
		}
		sum += max(d, 1)
		e.took = append(e.took, d)
	}
	e.MS, e.Runs = float64(e.quartile())/1e6, len(e.took)
	return nil
}

// Race finds the fastest. Results are in the contenders' order; winner is -1 if none of them runs. The error is ctx's.
func Race(ctx context.Context, list []Contender) (winner int, results []Result, err error) {
	results = make([]Result, len(list))
	for i, c := range list {
		results[i].Name = c.Name
	}
	var field []*entry
	defer func() {
		for _, e := range field {
			if cerr := e.e.Close(); cerr != nil && e.err == nil {
				e.err = cerr
			}
		}
	}()
	best := time.Duration(0)
	for _, i := range byLeast(ctx, list) {
		r := &results[i]
		e, err := heat(ctx, &list[i], r, best)
		if e != nil {
			field = append(field, e) // which is closed, whatever comes
		}
		if ctx.Err() != nil {
			return -1, results, ctx.Err()
		}
		if err != nil {
			r.err, r.Out = err, err.Error()
		}
		if e == nil {
			continue
		}
		if best == 0 || e.least() < best {
			best = e.least()
		}
	}
	if err := inTurns(ctx, field); err != nil {
		return -1, results, err
	}
	winner = -1
	for i, r := range results {
		if r.Out == "" && (winner < 0 || r.MS < results[winner].MS) {
			winner = i
		}
	}
	return winner, results, nil
}

// byLeast is the order in which contenders start: what promises most first, and what promises nothing after that.
func byLeast(ctx context.Context, list []Contender) []int {
	order, least := make([]int, len(list)), make([]time.Duration, len(list))
	for i, c := range list {
		if order[i] = i; c.Least != nil {
			least[i] = c.Least(ctx, 0)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		if known := cmp.Compare(min(least[b], 1), min(least[a], 1)); known != 0 {
			return known
		}
		return cmp.Compare(least[a], least[b])
	})
	return order
}

// heat runs a contender for a first time. It is nil if the contender is out.
func heat(ctx context.Context, c *Contender, r *Result, best time.Duration) (e *entry, err error) {
	if c.Least != nil && best > 0 {
		if least := c.Least(ctx, best); least > best {
			r.Out = fmt.Sprintf("its peaks allow no less than %v", round(least))
			return nil, nil
		}
	}
	started, err := c.Start(ctx)
	if err != nil {
		return nil, err
	}
	e = &entry{Result: r, e: started}
	out := func(why string) (*entry, error) {
		r.Out = why
		return nil, e.e.Close()
	}
	first, err := e.e.Run(ctx)
	if err != nil {
		_ = e.e.Close() // the run's error says more
		return nil, err
	}
	factor := time.Duration(beaten)
	if best < brief {
		factor = doubtful
	}
	if best > 0 && first > factor*best+firstRun {
		r.MS, r.Runs = float64(first)/1e6, 1
		return out(fmt.Sprintf("a first run of %v", round(first)))
	}
	for range 2 {
		if err := e.run(ctx, false); err != nil {
			_ = e.e.Close()
			return nil, err
		}
		if best > 0 && min(first, e.least()) > factor*best {
			return out(fmt.Sprintf("over %d times the best", factor))
		}
	}
	return e, nil
}

// inTurns runs all again, there and back, so that what else the machine does falls on all alike, and goes on with those near
// the best.
func inTurns(ctx context.Context, field []*entry) error {
	last := slices.Clone(field)
	for _, e := range last {
		e.took = nil // of the turns alone
	}
	for n, sum := 0, time.Duration(0); len(last) > 1 && n < turns && sum < enough; n++ {
		for _, e := range last {
			before := len(e.took)
			if err := e.run(ctx, true); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				e.err, e.Out = err, err.Error()
			}
			for _, d := range e.took[before:] {
				sum += d
			}
		}
		last = slices.DeleteFunc(last, func(e *entry) bool { return e.Out != "" })
		if n+1 == looks {
			last = leaders(last)
		}
		slices.Reverse(last)
	}
	return nil
}

// leaders are those near the best; the others are out.
func leaders(field []*entry) []*entry {
	best := time.Duration(math.MaxInt64)
	for _, e := range field {
		best = min(best, e.least())
	}
	return slices.DeleteFunc(field, func(e *entry) bool {
		if float64(e.least()) <= near*float64(best) {
			return false
		}
		e.Out = "behind in its first turns"
		return true
	})
}

// round is d with three digits or so.
func round(d time.Duration) time.Duration {
	for unit := time.Duration(1); ; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit)
		}
	}
}

// times is what contenders took, in words, the winner first.
func times(winner string, results []Result) string {
	list := slices.Clone(results)
	slices.SortStableFunc(list, func(a, b Result) int {
		rank := func(r Result) int {
			switch {
			case r.Name == winner:
				return 0
			case r.MS > 0:
				return 1
			}
			return 2
		}
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.MS, b.MS))
	})
	var words []string
	for _, r := range list {
		if r.MS > 0 {
			words = append(words, fmt.Sprintf("%s %.4g ms", r.Name, r.MS))
		} else {
			words = append(words, fmt.Sprintf("%s not: %s", r.Name, r.Out))
		}
	}
	return strings.Join(words, ", ")
}
