package tiling_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/faulty"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

// second is another cpu.
type second struct{ cpu.Driver }

func init() {
	engine.Register("second", second{})
	engine.Register("slow", paced{})
	engine.Register("fragile2", fragile{})
}

// meeting is a source whose second box has to be read before its sink takes the first: a device reads one before it has written
// one, so that by then another one takes part.
type meeting struct {
	mu    sync.Mutex
	reads int
	met   chan struct{}
}

func (m *meeting) read(int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.reads++; m.reads == 2 {
		close(m.met)
	}
	return nil
}

func (m *meeting) write(int) error {
	<-m.met
	return nil
}

// Several devices make the whole's result, bit for bit, and each its share.
func TestTeam(t *testing.T) {
	for _, text := range []string{tiledConv, tiledSums, tiledPool, "conv:BWD_D:mb4ic8ih24oc8oh24kh3ph1", "conv:u8-s8-s32:mb4ic8ih24oc8oh24kh3ph1"} {
		t.Run(text, func(t *testing.T) {
			d := open(t, "cpu+second")
			p, err := problem.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			in := inputs(t, d, &p)
			want, err := open(t, "cpu").Compute(t.Context(), p, in)
			if err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			stages := map[tiling.Stage]int{}
			last := 0
			j, err := tiling.Prepare(t.Context(), d, p, tiling.Options{MemLimit: 100 << 10,
				Stage:    func(s tiling.Stage, _ int, _, _ time.Time) { mu.Lock(); stages[s]++; mu.Unlock() },
				Progress: func(done, total int, bytes int64) { last = done }})
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			if j.Tiles.Results() < 4 && j.Tiles.Len() == j.Tiles.Results() {
				t.Fatal(j.Tiles)
			}
			for range 2 { // again, with all that the first one left
				var from [problem.Roles]tiling.Source
				var to [problem.Roles]tiling.Sink
				m := &meeting{met: make(chan struct{})}
				if j.Tiles.Results() < 4 {
					close(m.met) // there is not enough for two
					m.reads = 2
				}
				for r, v := range in {
					if v != nil {
						from[r] = tiling.Memory{Tensor: v}
					}
				}
				from[p.Inputs()[0]] = &end{tiling.Memory{Tensor: in[p.Inputs()[0]]}, 0, m.read}
				role := p.Outputs()[0]
				out, err := engine.NewTensor(p.TypeOf(role), p.Shape(role)...)
				if err != nil {
					t.Fatal(err)
				}
				to[role] = &end{tiling.Memory{Tensor: out}, 0, m.write}
				if err := j.Run(t.Context(), from, to); err != nil {
					t.Fatal(err)
				}
				if i := differing(out, want[role]); i >= 0 {
					t.Errorf("element %d differs from the whole's", i)
				}
				sum := 0
				for _, s := range j.Shares() {
					if sum += s.Results; s.Results == 0 && j.Tiles.Results() >= 4 {
						t.Errorf("%s did nothing: %v", s.Device, j.Shares())
					}
				}
				if sum != j.Tiles.Results() || last != j.Tiles.Len() {
					t.Errorf("%v of %v, %d", j.Shares(), j.Tiles, last)
				}
			}
			if stages["compute on cpu"]+stages["compute on second:0"] != 2*j.Tiles.Len() {
				t.Errorf("stages %v of %v", stages, j.Tiles)
			}
			if i := j.Info(); !strings.Contains(i.Tile, j.Tiles.String()+" on cpu (") {
				t.Errorf("tile is %q", i.Tile)
			}
		})
	}
}

// What a device had taken that is lost, out of memory or hangs goes to the other. One that was lost, or hung, is opened again.
func TestTeamLost(t *testing.T) {
	for _, c := range []struct {
		name string
		o    faulty.Options
		opts []engine.Option
		want error
		step engine.Step
	}{
		{"lost", faulty.Options{Lost: 1, Methods: []string{"Run"}, After: 1, Most: 1}, nil, engine.ErrDeviceLost, engine.Reopened},
		{"lost at once", faulty.Options{Lost: 1, Methods: []string{"NewStream"}, Most: 1}, nil, engine.ErrDeviceLost, engine.Reopened},
		{"lost while it is prepared", faulty.Options{Lost: 1, Methods: []string{"Plan"}, Most: 1}, nil, engine.ErrDeviceLost, engine.Reopened},
		{"out of memory", faulty.Options{OutOfMemory: 1, Methods: []string{"Alloc"}, After: 1}, nil, engine.ErrOutOfMemory, engine.Moved},
		{"hung", faulty.Options{Hang: 1, Methods: []string{"Run"}, After: 1, Most: 1},
			[]engine.Option{engine.WithDeadline(2 * time.Second)}, engine.ErrDeviceHung, engine.Reopened},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, text := range []string{tiledConv, tiledSums} {
				d := failsIn(t, "cpu+fragile", faulty.New(c.o), c.opts...)
				j, err := compute(t, d, text, tiling.Options{MemLimit: 90 << 10})
				if err != nil {
					t.Fatal(err)
				}
				all := d.Fallbacks()
				if len(all) == 0 && j.Shares()[1].Results <= 1 {
					continue // the other was done with it before
				}
				if len(all) != 1 || all[0].Step != c.step || all[0].From != "fragile:0" || !errors.Is(all[0].Reason, c.want) {
					t.Errorf("%v", all)
				}
			}
		})
	}
}

// A device that was lost is opened again and takes tiles again, as often as it makes some in between; one that is lost over and
// over stays out.
func TestTeamReopens(t *testing.T) {
	r, m := engine.Reopened, engine.Moved
	for _, c := range []struct {
		o     faulty.Options
		steps []engine.Step
		least int // results of the device
	}{
		{faulty.Options{Lost: 1, Methods: []string{"Run"}, After: 1, Most: 1}, []engine.Step{r}, 2},
		{faulty.Options{Lost: 1, Methods: []string{"Run"}, After: 1, Most: 3}, []engine.Step{r, r, r}, 2},
		{faulty.Options{Lost: 1, Methods: []string{"Run"}, After: 1}, []engine.Step{r, r, r, m}, 1},
		{faulty.Options{Lost: 1, Methods: []string{"Run", "Open"}, After: 1}, []engine.Step{m}, 1}, // it does not open again
	} {
		d := failsIn(t, "slow+fragile", faulty.New(c.o))
		j, err := compute(t, d, tiledConv, tiling.Options{MemLimit: 90 << 10})
		if err != nil {
			t.Fatal(err)
		}
		if s := j.Shares()[1]; !slices.Equal(steps(d), c.steps) || s.Results < c.least || !strings.Contains(j.Info().Tile, fmt.Sprintf("fragile:0 (%d)", s.Results)) {
			t.Errorf("%v: steps are %v, shares %v", c.o, steps(d), j.Shares())
		}
	}
}

// When all devices fail for good the run goes on as one of the first, and so on the device that it falls back to.
func TestTeamAllLost(t *testing.T) {
	f := faulty.New(faulty.Options{Lost: 1, Methods: []string{"Run"}, After: 1})
	d := failsIn(t, "fragile+fragile2", f)
	j, err := compute(t, d, tiledConv, tiling.Options{MemLimit: 90 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if s := steps(d); len(s) < 4 || s[0] != engine.Reopened || !slices.Contains(s, engine.Moved) || j.Device().Spec() != "cpu" {
		t.Errorf("on %s: %v", j.Device().Spec(), s)
	}
}

// What is wrong with sources, sinks or the context ends all devices' work.
func TestTeamEnds(t *testing.T) {
	d := open(t, "cpu+second")
	broken := errors.New("broken")
	at := func(k int) func(int) error {
		return func(n int) error {
			if n == k {
				return broken
			}
			return nil
		}
	}
	ok := func(int) error { return nil }
	for k := 1; k < 6; k++ {
		p, err := problem.Parse(tiledPool)
		if err != nil {
			t.Fatal(err)
		}
		in := inputs(t, d, &p)
		j, err := tiling.Prepare(t.Context(), d, p, tiling.Options{MemLimit: 80 << 10})
		if err != nil {
			t.Fatal(err)
		}
		run := func(ctx context.Context, read, write func(int) error) error {
			out, err := engine.NewTensor(problem.F32, p.Shape(problem.Dst)...)
			if err != nil {
				t.Fatal(err)
			}
			return j.Run(ctx, [problem.Roles]tiling.Source{problem.Src: &end{tiling.Memory{Tensor: in[problem.Src]}, 0, read}},
				[problem.Roles]tiling.Sink{problem.Dst: &end{tiling.Memory{Tensor: out}, 0, write}})
		}
		if err := run(t.Context(), at(k), ok); !errors.Is(err, broken) {
			t.Errorf("box %d is not read: %v", k, err)
		}
		if err := run(t.Context(), ok, at(k)); !errors.Is(err, broken) {
			t.Errorf("box %d is not written: %v", k, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if err := run(ctx, ok, func(n int) error {
			if n == k {
				cancel()
			}
			return nil
		}); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled at box %d: %v", k, err)
		}
		if err := run(t.Context(), ok, ok); err != nil {
			t.Error(err)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := len(d.Fallbacks()); n != 0 {
		t.Errorf("%d fallbacks", n)
	}
}

// Runs of a team whose devices fail at random end in the right result or a clear error, and nothing is left of them.
func TestTeamRandomFaults(t *testing.T) {
	seeds := 40
	if testing.Short() {
		seeds = 8
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			f := faulty.New(faulty.Options{Seed: seed, Unshared: r.Float64() / 4, Lost: r.Float64() / 100, OutOfMemory: r.Float64() / 50, Broken: r.Float64() / 300, Delay: 0.05})
			d := failsIn(t, "fragile+second", f)
			text := []string{tiledConv, tiledSums, tiledPool}[seed%3]
			_, err := compute(t, d, text, tiling.Options{MemLimit: 90 << 10})
			if err != nil && !injected(err) {
				t.Error(err)
			}
		})
	}
}

// paced is a cpu that takes its time over a problem, as a device apart from the processor does.
type paced struct{ cpu.Driver }

func (d paced) Open(ctx context.Context, i int, o driver.Options) (driver.Device, error) {
	dev, err := d.Driver.Open(ctx, i, o)
	return pacedDevice{dev}, err
}

type pacedDevice struct{ driver.Device }

// pace is how many operations paced does in a second: so few that what a busy machine adds is little beside.
const pace = 40e6

func (d pacedDevice) Plan(ctx context.Context, p problem.Problem, o driver.PlanOptions) (driver.Plan, error) {
	pl, err := d.Device.Plan(ctx, p, o)
	return pacedPlan{pl, time.Duration(p.FLOPs() / pace * float64(time.Second))}, err
}

type pacedPlan struct {
	driver.Plan
	takes time.Duration
}

func (p pacedPlan) Run(ctx context.Context, s driver.Stream, a driver.Args) (driver.Event, error) {
	time.Sleep(p.takes)
	return p.Plan.Run(ctx, s, a)
}

// Of a large problem auto tries whether all devices are faster together: two that wait are.
func TestAutoDivides(t *testing.T) {
	t.Setenv("GONVOLVE_CACHE", "off")
	engine.Register("paced", paced{})
	engine.Register("paced2", paced{})
	for _, name := range engine.Drivers() {
		if !strings.HasPrefix(name, "paced") {
			engine.LeaveOut(name, errors.New("another test's"))
			defer engine.LeaveOut(name, nil)
		}
	}
	d, err := engine.Open(t.Context(), "auto", engine.NoFallback(), engine.WithTuning(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	p, err := problem.Parse("mb4ic8ih64oc8oh64kh3ph1")
	if err != nil {
		t.Fatal(err)
	}
	for _, large := range []bool{false, true} {
		o := tiling.Options{MemLimit: 1 << 20}
		if large {
			defer tiling.SetLarge(1 << 20)()
		}
		j, err := tiling.Prepare(t.Context(), d, p, o)
		if err != nil {
			t.Fatal(err)
		}
		if (j.Shares() != nil) != large || j.Choice() == "" || large && !strings.HasPrefix(j.Choice(), "paced:0+paced2:0 ") {
			t.Errorf("large %v: %v, %s", large, j.Shares(), j.Choice())
		}
		if q := tiling.Tried(d, p, o.MemLimit); q.Bytes() > o.MemLimit/4 || d.Why(q, engine.OnHost) == "" {
			t.Errorf("large %v: no choice by %s, which the limit makes of it", large, q.String())
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
}
