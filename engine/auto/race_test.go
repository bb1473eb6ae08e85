package auto

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/engine/cache"
)

// runner takes the times that it is told; the last one again and again.
type runner struct {
	times  []time.Duration
	runs   int
	closed int
	fails  int // run that fails, from 1
}

var errBroken = errors.New("broken")

func (r *runner) Run(ctx context.Context) (time.Duration, error) {
	if r.runs++; r.runs == r.fails {
		return 0, errBroken
	}
	return r.times[min(r.runs, len(r.times))-1], ctx.Err()
}

func (r *runner) Close() error { r.closed++; return nil }

func contender(name string, r *runner, least time.Duration) Contender {
	return Contender{
		Name:  name,
		Least: func(context.Context, time.Duration) time.Duration { return least },
		Start: func(context.Context) (Entrant, error) { return r, nil },
	}
}

const ms = time.Millisecond

func TestRace(t *testing.T) {
	for _, c := range []struct {
		name   string
		list   []*runner
		least  []time.Duration
		winner int
		most   []int    // runs of each
		out    []string // of each
	}{
		{"the fastest, with a slow first run", []*runner{{times: []time.Duration{10 * ms}}, {times: []time.Duration{400 * ms, 9 * ms}}},
			nil, 1, []int{18, 18}, []string{"", ""}},
		{"one that is slow runs twice", []*runner{{times: []time.Duration{30 * ms}}, {times: []time.Duration{70 * ms}}},
			nil, 0, []int{3, 2}, []string{"", "over 2 times"}},
		{"one that is slow where runs are brief, too", []*runner{{times: []time.Duration{10 * ms}}, {times: []time.Duration{50 * ms}}},
			nil, 0, []int{3, 2}, []string{"", "over 4 times"}},
		{"one that other work came between for a while", []*runner{{times: []time.Duration{10 * ms}},
			{times: []time.Duration{24 * ms, 24 * ms, 24 * ms, 24 * ms, 8 * ms}}}, nil, 1, []int{18, 18}, []string{"", ""}},
		{"one that is very slow runs once", []*runner{{times: []time.Duration{10 * ms}}, {times: []time.Duration{5000 * ms}}},
			nil, 0, []int{3, 1}, []string{"", "a first run of 5s"}},
		{"one that cannot win does not run", []*runner{{times: []time.Duration{10 * ms}}, {times: []time.Duration{ms}}},
			[]time.Duration{ms, 11 * ms}, 0, []int{3, 0}, []string{"", "no less than 11ms"}},
		{"what promises most runs first", []*runner{{times: []time.Duration{5000 * ms}}, {times: []time.Duration{10 * ms}}},
			[]time.Duration{2 * ms, ms}, 1, []int{1, 3}, []string{"a first run", ""}},
		{"what promises nothing runs last", []*runner{{times: []time.Duration{5000 * ms}}, {times: []time.Duration{10 * ms}}},
			[]time.Duration{0, ms}, 1, []int{1, 3}, []string{"a first run", ""}},
		{"behind", []*runner{{times: []time.Duration{10 * ms}}, {times: []time.Duration{16 * ms}}},
			nil, 0, []int{6, 6}, []string{"", "behind"}},
		{"one that fails", []*runner{{times: []time.Duration{ms}, fails: 1}, {times: []time.Duration{10 * ms}}},
			nil, 1, []int{1, 3}, []string{"broken", ""}},
		{"one that fails late", []*runner{{times: []time.Duration{8 * ms}, fails: 5}, {times: []time.Duration{9 * ms}}},
			nil, 1, []int{5, 18}, []string{"broken", ""}},
		{"a run that other work came between", []*runner{{times: []time.Duration{20 * ms}}, {times: []time.Duration{90 * ms, 10 * ms, 90 * ms, 10 * ms}}},
			nil, 1, []int{6, 18}, []string{"behind", ""}},
		{"a first time that other work came between", []*runner{{times: []time.Duration{10 * ms, 90 * ms, 10 * ms}}, {times: []time.Duration{14 * ms}}},
			nil, 0, []int{18, 18}, []string{"", ""}},
		{"none that runs", []*runner{{times: []time.Duration{ms}, fails: 1}}, nil, -1, []int{1}, []string{"broken"}},
		{"a clock that stands still", []*runner{{times: []time.Duration{0}}, {times: []time.Duration{0}}},
			nil, 0, []int{1200, 1200}, []string{"", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var list []Contender
			for i, r := range c.list {
				least := time.Duration(0)
				if c.least != nil {
					least = c.least[i]
				}
				list = append(list, contender(string(rune('a'+i)), r, least))
			}
			winner, results, err := Race(t.Context(), list)
			if winner != c.winner || err != nil {
				t.Fatalf("%d wins: %+v, %v", winner, results, err)
			}
			for i, r := range c.list {
				if r.runs > c.most[i] || r.closed != min(r.runs, 1) {
					t.Errorf("%d ran %d times and was closed %d times", i, r.runs, r.closed)
				}
				if (results[i].Out == "") != (c.out[i] == "") || !strings.Contains(results[i].Out, c.out[i]) {
					t.Errorf("%d: out is %q, not %q", i, results[i].Out, c.out[i])
				}
			}
		})
	}
}

// In turns the lower quartile decides: neither a stray run, nor what disturbs more than half of them.
func TestRaceQuartile(t *testing.T) {
	disturbed := &runner{}
	for i := range 100 {
		disturbed.times = append(disturbed.times, []time.Duration{8 * ms, 16 * ms, 16 * ms}[i%3])
	}
	if winner, results, err := Race(t.Context(), []Contender{
		contender("a", &runner{times: []time.Duration{10 * ms}}, 0), contender("b", disturbed, 0),
	}); winner != 1 || err != nil {
		t.Errorf("disturbed: %d wins: %+v, %v", winner, results, err)
	}
	steady := &runner{times: []time.Duration{10 * ms}}
	lucky := &runner{times: []time.Duration{10 * ms, 8 * ms, 8 * ms, 12 * ms}}
	if winner, results, err := Race(t.Context(), []Contender{contender("a", lucky, 0), contender("b", steady, 0)}); winner != 1 || err != nil {
		t.Errorf("%d wins: %+v, %v", winner, results, err)
	}
}

func TestRaceCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a, b := &runner{times: []time.Duration{ms}}, &runner{times: []time.Duration{ms}}
	list := []Contender{contender("a", a, 0), contender("b", b, 0)}
	list[1].Start = func(context.Context) (Entrant, error) { cancel(); return b, nil }
	if winner, _, err := Race(ctx, list); winner != -1 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d wins, %v", winner, err)
	}
	if a.closed != 1 || b.closed != 1 {
		t.Errorf("closed %d and %d times", a.closed, b.closed)
	}
}

// late is done with a run before it learns that nobody waits for it.
type late struct {
	*runner
	cancel func()
	at     int // run
}

func (l late) Run(context.Context) (time.Duration, error) {
	d, err := l.runner.Run(context.Background())
	if l.runs == l.at {
		l.cancel()
	}
	return d, err
}

// Whenever the context ends, whoever has started is closed.
func TestRaceCancelledLate(t *testing.T) {
	for at := 1; at < 10; at++ {
		ctx, cancel := context.WithCancel(t.Context())
		a, b := &runner{times: []time.Duration{ms}}, &runner{times: []time.Duration{ms}}
		list := []Contender{contender("a", a, 0), contender("b", b, 0)}
		list[0].Start = func(context.Context) (Entrant, error) { return late{a, cancel, at}, nil }
		if _, _, err := Race(ctx, list); !errors.Is(err, context.Canceled) || a.closed != 1 || b.closed != min(b.runs, 1) {
			t.Errorf("cancelled in run %d: %v, closed %d and %d times", at, err, a.closed, b.closed)
		}
	}
}

func TestKeep(t *testing.T) {
	c := cache.At(t.TempDir())
	if got := Load(c, "k"); got != nil {
		t.Errorf("%+v of an empty cache", got)
	}
	made := New(1, []Result{{Name: "a", MS: 2, Runs: 3, Out: "behind"}, {Name: "b", MS: 1, Runs: 9}, {Name: "c", Out: "broken", err: errBroken}}, "code")
	made.Keep(c, "k")
	got := Load(c, "k")
	if got == nil || got.Name != "b" || got.Code != "code" || got.MS("a") != 2 || got.Why() != made.Why() {
		t.Fatalf("%+v", got)
	}
	if want := "b 1 ms, a 2 ms, c not: broken, measured on "; !strings.HasPrefix(got.Why(), want) {
		t.Errorf("%q", got.Why())
	}
	if Load(c, "other") != nil || Load(nil, "k") != nil {
		t.Error("a choice of nothing")
	}
	if made.Complete(func(error) bool { return false }) || !made.Complete(func(err error) bool { return err == errBroken }) {
		t.Error("complete with an error that may pass, or not with one that stays")
	}
}
