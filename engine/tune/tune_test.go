package tune

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	_ "github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/cache"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tiling"
	"github.com/gonvolve/gonvolve/engine/tuned"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// behaviour of a candidate of the fake: how long it takes, and what goes wrong.
type behaviour struct {
	delay  time.Duration
	wrong  func(run int) bool // whether the run's result is
	refuse error
	fail   error // of Run
}

// fake is the cpu with candidates: algorithm "direct" by tile.
type fake struct {
	own   string // the tile of its own choice
	list  []string
	by    map[string]*behaviour
	plans map[string]int
	onRun func()
}

var current *fake

func TestMain(m *testing.M) {
	engine.Register("fake", registered{})
	os.Exit(m.Run())
}

type registered struct{}

func (registered) Devices() ([]driver.Info, error) {
	return []driver.Info{{Name: "fake", API: "fake", ID: "1"}}, nil
}

func (registered) Open(ctx context.Context, _ int, _ driver.Options) (driver.Device, error) {
	cpu, err := engine.Open(ctx, "cpu")
	if err != nil {
		return nil, err
	}
	return &device{cpu.Driver(), current}, nil
}

type device struct {
	driver.Device
	f *fake
}

func (d *device) Info() driver.Info { return driver.Info{Name: "fake", API: "fake", ID: "1"} }

func (d *device) Runs(kernels string) bool { return kernels == "k" }

func (d *device) Candidates(problem.Problem) []driver.Candidate {
	list := []driver.Candidate{{Algorithm: "direct"}} // its own choice again
	for _, t := range d.f.list {
		list = append(list, driver.Candidate{Algorithm: "direct", Tile: t})
	}
	return list
}

func (d *device) Plan(ctx context.Context, p problem.Problem, o driver.PlanOptions) (driver.Plan, error) {
	tile := o.Tile
	if o.Algorithm == "" {
		tile = d.f.own
	}
	d.f.plans[tile]++
	b := d.f.by[tile]
	if b == nil {
		b = &behaviour{}
	}
	if b.refuse != nil {
		return nil, b.refuse
	}
	pl, err := d.Device.Plan(ctx, p, driver.PlanOptions{Algorithm: "direct"})
	return &plan{Plan: pl, f: d.f, tile: tile, b: b}, err
}

type plan struct {
	driver.Plan
	f    *fake
	tile string
	b    *behaviour
	runs int
}

func (p *plan) Info() driver.PlanInfo {
	i := p.Plan.Info()
	i.Tunables, i.Kernels = p.tile, "k"
	return i
}

func (p *plan) Run(ctx context.Context, s driver.Stream, a driver.Args) (driver.Event, error) {
	if p.f.onRun != nil {
		p.f.onRun()
	}
	if err := errors.Join(ctx.Err(), p.b.fail); err != nil {
		return nil, err
	}
	time.Sleep(p.b.delay)
	ev, err := p.Plan.Run(ctx, s, a)
	if p.runs++; err == nil && p.b.wrong != nil && p.b.wrong(p.runs) {
		err = s.Write(ctx, a.Buffers[problem.Dst], 8, []byte{0, 0, 0x60, 0x41}) // 14
	}
	return ev, err
}

func always(int) bool { return true }

// laboratory runs the tuner on a fake.
func laboratory(t *testing.T, f *fake, db *tuned.DB, o Options) Result {
	t.Helper()
	ctx := t.Context()
	f.plans = map[string]int{}
	current = f
	oracle, err := verify.Oracle(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer oracle.Close()
	dev, err := engine.Open(ctx, "fake", engine.NoFallback(), engine.WithTuning(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if used, _ := dev.Driver().(*device).Device.(driver.MemoryReporter).MemoryInUse(); used != 0 {
			t.Errorf("%d bytes are left", used)
		}
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	}()
	p, err := problem.Parse(small)
	if err != nil {
		t.Fatal(err)
	}
	return Problem(ctx, oracle, dev, p, db, o)
}

const small = `mb1ic4ih8oc6oh8kh3ph1n"small"`

func after(ms int) *behaviour { return &behaviour{delay: time.Duration(ms) * time.Millisecond} }

func TestWinner(t *testing.T) {
	c := cache.At(t.TempDir())
	db := tuned.Load(c)
	f := &fake{own: "a", list: []string{"a", "b", "c", "slow", "refused"}, by: map[string]*behaviour{
		"a": after(16), "b": after(2), "c": after(12), "slow": after(200),
		"refused": {refuse: fmt.Errorf("%w: no", driver.ErrUnsupported)},
	}}
	r := laboratory(t, f, db, Options{Budget: 2 * time.Second})
	if r.Status != Tuned || r.Winner.Tile != "b" || r.Default.Tile != "a" || r.Tried != 5 || r.Total != 5 || len(r.Wrong) != 0 {
		t.Fatalf("%+v", r)
	}
	if s := r.Speedup(); s <= 1 {
		t.Errorf("%v times faster", s)
	}
	if r.Check != "int exact, uniform bounded" {
		t.Error(r.Check)
	}
	list := tuned.Load(c).Entries()
	if len(list) != 1 || list[0].Tile != "b" || list[0].DefaultTile != "a" || list[0].Kernels != "k" || strings.Contains(list[0].Problem, "small") ||
		list[0].DefaultMS <= list[0].MS || list[0].Tried != 5 || list[0].Check != r.Check {
		t.Errorf("kept %+v", list)
	}
	// Once is enough, unless forced.
	again := laboratory(t, f, db, Options{})
	if again.Status != Known || again.Winner.Tile != "b" || again.Winner.MS != r.Winner.MS || len(f.plans) != 0 {
		t.Errorf("again: %+v, planned %v", again, f.plans)
	}
	if r := laboratory(t, f, db, Options{Force: true, Budget: time.Second}); r.Status != Tuned || len(f.plans) == 0 {
		t.Errorf("forced: %+v", r)
	}
}

// A hopeless candidate runs once for the check and once for the clock.
func TestHopeless(t *testing.T) {
	runs := 0
	f := &fake{own: "a", list: []string{"slow"}, by: map[string]*behaviour{"a": after(1)}}
	f.by["slow"] = &behaviour{delay: 50 * time.Millisecond, wrong: func(int) bool { runs++; return false }}
	if r := laboratory(t, f, tuned.Load(nil), Options{Budget: time.Second}); r.Winner.Tile != "a" || runs != 2 {
		t.Errorf("%d runs, %+v", runs, r)
	}
}

// Wrong results never win: neither those that are wrong at once nor those that turn out wrong when they are to be proven.
func TestWrong(t *testing.T) {
	late := func() *behaviour {
		b := after(2)
		plans := 0
		b.wrong = func(run int) bool {
			if run == 1 {
				plans++
			}
			return plans >= 3 // the heat and the final go well
		}
		return b
	}
	f := &fake{own: "a", list: []string{"wrong", "late", "b"}, by: map[string]*behaviour{
		"a": after(18), "wrong": {wrong: always}, "late": late(), "b": after(3),
	}}
	db := tuned.Load(nil)
	r := laboratory(t, f, db, Options{Budget: time.Second})
	if r.Status != Tuned || r.Winner.Tile != "b" || len(r.Wrong) != 2 || r.Wrong[0].Tile != "wrong" || r.Wrong[1].Tile != "late" || r.Wrong[1].Reason == "" {
		t.Errorf("%+v", r)
	}
	// All wrong: nothing is stored.
	db = tuned.Load(nil)
	r = laboratory(t, &fake{own: "a", list: []string{"b"}, by: map[string]*behaviour{"a": {wrong: always}, "b": {wrong: always}}}, db, Options{})
	if r.Status != Failed || !strings.Contains(r.Reason, "direct a") || len(r.Wrong) != 2 || len(db.Entries()) != 0 {
		t.Errorf("%+v, kept %v", r, db.Entries())
	}
	// The device's own choice is wrong: another one wins.
	r = laboratory(t, &fake{own: "a", list: []string{"b"}, by: map[string]*behaviour{"a": {wrong: always}}}, db, Options{Budget: time.Second})
	if r.Status != Tuned || r.Winner.Tile != "b" || len(r.Wrong) != 1 {
		t.Errorf("%+v", r)
	}
}

// What is hardly faster does not replace the device's own choice.
func TestOwnChoiceStays(t *testing.T) {
	f := &fake{own: "a", list: []string{"b"}, by: map[string]*behaviour{"a": after(60), "b": after(60)}}
	if r := laboratory(t, f, tuned.Load(nil), Options{Budget: 2 * time.Second}); r.Status != Tuned || r.Winner.Tile != "a" {
		t.Errorf("%+v", r)
	}
}

func TestBeats(t *testing.T) {
	ms := func(v ...int) (d []time.Duration) {
		for _, x := range v {
			d = append(d, time.Duration(x)*time.Millisecond)
		}
		return d
	}
	own := ms(10, 10, 10, 10)
	for _, c := range []struct {
		took []time.Duration
		ms   float64
		want bool
	}{{ms(5, 5, 5, 5), 5, true}, {ms(5, 5, 5, 50), 5, true}, {ms(5, 5, 20, 20), 9, false}, {ms(9, 9, 9, 9), 9.8, false}} {
		if got := beats(&Candidate{MS: c.ms}, &Candidate{MS: 10}, c.took, own); got != c.want {
			t.Errorf("%v: %v", c.took, got)
		}
	}
}

func TestBudget(t *testing.T) {
	f := &fake{own: "a", by: map[string]*behaviour{}}
	for i := range 50 {
		f.list = append(f.list, fmt.Sprint(i))
		f.by[fmt.Sprint(i)] = after(20)
	}
	f.by["a"] = after(20)
	r := laboratory(t, f, tuned.Load(nil), Options{Budget: 400 * time.Millisecond})
	if r.Status != Tuned || r.Tried < 2 || r.Tried > 10 || r.Total != 51 {
		t.Errorf("%+v", r)
	}
}

func TestErrors(t *testing.T) {
	db := tuned.Load(nil)
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		own, other *behaviour
		want       Status
		tile       string
	}{
		"own unsupported": {&behaviour{refuse: driver.ErrUnsupported}, nil, Unsupported, ""},
		"other breaks":    {after(1), &behaviour{fail: broken}, Tuned, "a"},
		"own breaks":      {&behaviour{fail: broken}, nil, Tuned, "b"},
		"device lost":     {after(1), &behaviour{fail: driver.ErrDeviceLost}, Failed, ""},
		"both break":      {&behaviour{fail: broken}, &behaviour{fail: broken}, Failed, ""},
	} {
		r := laboratory(t, &fake{own: "a", list: []string{"b"}, by: map[string]*behaviour{"a": c.own, "b": c.other}}, db, Options{Force: true, Budget: 200 * time.Millisecond})
		if r.Status != c.want || r.Winner.Tile != c.tile || (c.want == Tuned) != (r.Reason == "") {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestInterrupted(t *testing.T) {
	for _, at := range []int{1, 3, 12, 20} {
		ctx, cancel := context.WithCancel(t.Context())
		db, runs := tuned.Load(nil), 0
		f := &fake{own: "a", list: []string{"b"}, plans: map[string]int{}, onRun: func() {
			if runs++; runs == at {
				cancel()
			}
		}, by: map[string]*behaviour{"a": after(1), "b": after(1)}}
		current = f
		oracle, err := verify.Oracle(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		dev, err := engine.Open(t.Context(), "fake", engine.NoFallback(), engine.WithTuning(nil))
		if err != nil {
			t.Fatal(err)
		}
		p, err := problem.Parse(small)
		if err != nil {
			t.Fatal(err)
		}
		if r := Problem(ctx, oracle, dev, p, db, Options{Budget: time.Minute}); r.Status != Interrupted || len(db.Entries()) != 0 {
			t.Errorf("at run %d: %+v", at, r)
		}
		if err := errors.Join(dev.Close(), oracle.Close()); err != nil {
			t.Error(err)
		}
	}
}

// The cpu, which has no tiles, is tuned over its algorithms.
func TestCPU(t *testing.T) {
	oracle, err := verify.Oracle(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer oracle.Close()
	dev, err := engine.Open(t.Context(), "cpu", engine.WithTuning(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	p, err := problem.Parse(small)
	if err != nil {
		t.Fatal(err)
	}
	r := Problem(t.Context(), oracle, dev, p, tuned.Load(nil), Options{Budget: 300 * time.Millisecond})
	if r.Status != Tuned || r.Total < 2 || r.Default.Algorithm == "" || r.Winner.MS <= 0 {
		t.Errorf("%+v", r)
	}
}

// Of a problem that a memory limit cuts the largest tile is tuned, and runs with that limit take what was found.
func TestLargestTile(t *testing.T) {
	ctx := t.Context()
	limit := engine.WithMemLimit(160 << 10)
	open := func(db *tuned.DB) *engine.Device {
		dev, err := engine.Open(ctx, "cpu", engine.NoFallback(), engine.WithTuning(db), limit)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := dev.Close(); err != nil {
				t.Error(err)
			}
		})
		return dev
	}
	p, err := problem.Parse("pool:max:mb1ic8ih128kh3sh2ph1") // whose algorithms take no workspace, which would change the cut
	if err != nil {
		t.Fatal(err)
	}
	db := tuned.Load(cache.At(t.TempDir()))
	dev := open(nil)
	r := Problem(ctx, dev, dev, p, db, Options{Budget: 100 * time.Millisecond})
	if r.Status != Tuned || r.Whole != p.String() || r.Problem == r.Whole || r.Winner.MS == 0 {
		t.Fatalf("%+v", r)
	}
	if again := Problem(ctx, dev, dev, p, db, Options{}); again.Status != Known || again.Problem != r.Problem || again.Whole != r.Whole {
		t.Errorf("again: %+v", again)
	}
	j, err := tiling.Prepare(ctx, open(db), p, tiling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if tile := j.Largest(); tile.String() != r.Problem || j.Tiles.Len() < 2 || !strings.HasPrefix(j.Info().Why, "tuned") {
		t.Errorf("a run has %v of %s, %s", j.Tiles, tile.String(), j.Info().Why)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if p, err = problem.Parse("mb1ic1048576ih1024oc1oh1024kh1"); err != nil {
		t.Fatal(err)
	}
	whole, err := engine.Open(ctx, "cpu", engine.NoFallback(), engine.WithTuning(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Close()
	if r := Problem(ctx, whole, whole, p, db, Options{}); r.Status != Unsupported || !strings.Contains(r.Reason, "--mem-limit") {
		t.Errorf("of 4 TiB: %+v", r)
	}
}
