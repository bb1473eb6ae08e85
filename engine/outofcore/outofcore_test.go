package outofcore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/devicetest"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/engine/tensorio"
	"github.com/gonvolve/gonvolve/engine/tiling"
	"github.com/gonvolve/gonvolve/engine/verify"
)

func init() { engine.Register("second", cpu.Driver{}) } // one more device

func open(t testing.TB) *engine.Device {
	t.Helper()
	return devicetest.Open(t, "cpu", engine.NoFallback(), engine.WithTuning(nil))
}

// bench is a problem with its inputs in files, and the results that it should have.
type bench struct {
	t    *testing.T
	dev  *engine.Device
	p    problem.Problem
	dir  string
	in   engine.Operands
	want engine.Operands
	over bool // the destination is the source's file
}

func newBench(t *testing.T, dev *engine.Device, p problem.Problem) *bench {
	t.Helper()
	b := &bench{t: t, dev: dev, p: p, dir: t.TempDir()}
	for _, r := range slices.Concat(p.Constants(), p.Inputs()) {
		var err error
		if b.in[r], err = verify.Input(t.Context(), dev.Driver().(driver.Oracle), &p, r, verify.Int); err != nil {
			t.Fatal(err)
		}
		b.write(r)
	}
	want, err := dev.Compute(t.Context(), p, b.in)
	if err != nil {
		t.Fatal(err)
	}
	b.want = want
	return b
}

func (b *bench) path(r problem.Role) string {
	if b.over && r == problem.Dst {
		r = problem.Src
	}
	return filepath.Join(b.dir, r.String()+".npy")
}

func (b *bench) write(r problem.Role) {
	b.t.Helper()
	if err := tensorio.Write(b.path(r), b.in[r], tensorio.Options{}); err != nil {
		b.t.Fatal(err)
	}
}

// prepare prepares the problem from files to files. The files of what it reads are open until close is called.
func (b *bench) prepare(ctx context.Context, o Options) (r *Run, close func(), err error) {
	b.t.Helper()
	var f Files
	var arrays []*tensorio.Array
	close = func() {
		for _, a := range arrays {
			a.Close()
		}
	}
	for _, r := range slices.Concat(b.p.Constants(), b.p.Inputs()) {
		a, err := tensorio.OpenArray(b.path(r), b.p.TypeOf(r))
		if err != nil {
			b.t.Fatal(err)
		}
		arrays = append(arrays, a)
		f.In[r] = a
	}
	for _, r := range b.p.Outputs() {
		f.Out[r] = b.path(r)
	}
	r, err = Prepare(ctx, b.dev, b.p, f, o)
	return r, close, err
}

// run runs the problem once.
func (b *bench) run(ctx context.Context, o Options) (finished int, tiles *tiling.Tiles, err error) {
	b.t.Helper()
	r, done, err := b.prepare(ctx, o)
	defer done()
	if err != nil {
		return -1, nil, err
	}
	finished, _ = r.Finished()
	err = errors.Join(r.Run(ctx), r.Close())
	return finished, r.Job.Tiles, err
}

// there is how many tiles a run would find done.
func (b *bench) there(o Options) int {
	b.t.Helper()
	r, done, err := b.prepare(b.t.Context(), o)
	defer done()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		b.t.Fatal(err)
	}
	return r.Tiles()
}

// tear cuts the last sum that a run kept short, as if it had been killed while it wrote it.
func (b *bench) tear(path string) {
	b.t.Helper()
	last, most := "", []byte(nil)
	for _, name := range []string{path + ".sum0", path + ".sum1"} {
		text, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			b.t.Fatal(err)
		}
		count := text[32:48] // of result and parts, little-endian and small
		if last == "" || count[0] > most[0] || count[0] == most[0] && count[8] > most[8] {
			last, most = name, count
		}
	}
	if err := os.Truncate(last, 70); err != nil {
		b.t.Fatal(err)
	}
}

// check compares the files with what they should hold, and sees that nothing else is left.
func (b *bench) check(what string) {
	b.t.Helper()
	for _, r := range b.p.Outputs() {
		got, err := tensorio.ReadAs(b.path(r), b.p.TypeOf(r))
		if err != nil {
			b.t.Fatalf("%s, %s: %v", b.p.String(), what, err)
		}
		if !slices.Equal(got.Bytes(), b.want[r].Bytes()) || !slices.Equal(got.Shape(), b.want[r].Shape()) {
			b.t.Errorf("%s, %s: %v differs", b.p.String(), what, r)
		}
	}
	for _, f := range b.files() {
		if strings.HasSuffix(f, partialSuffix) || strings.HasSuffix(f, journalSuffix) {
			b.t.Errorf("%s, %s: %s is left", b.p.String(), what, f)
		}
	}
}

// clear removes the results.
func (b *bench) clear() {
	b.t.Helper()
	for _, r := range b.p.Outputs() {
		if err := os.Remove(b.path(r)); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bench) files() (names []string) {
	list, err := os.ReadDir(b.dir)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

var errBroken = errors.New("broken")

// failing is a sink that fails from the n-th box on.
type failing struct {
	tiling.Sink
	n *int
}

func (f failing) WriteBox(ctx context.Context, b tiling.Box, from *engine.Tensor, at []int) error {
	if *f.n--; *f.n < 0 {
		return errBroken
	}
	return f.Sink.WriteBox(ctx, b, from, at)
}

// Every type, layout and operation that files can hold, interrupted at each boundary of tiles and taken up again.
func TestResumedAtEveryTile(t *testing.T) {
	dev := open(t)
	for _, c := range []struct {
		text  string
		limit int64
	}{
		{"conv:mb1ic3ih40oc4kh3ph1", 30 << 10},
		{"conv:bias:post=relu+add:g2mb2ic4ih16oc6kh3ph1", 14 << 10},
		{"conv:f16:nhwc:mb1ic4ih40oc4kh3ph1", 16 << 10},
		{"conv:u8-s8-s32:mb2ic4ih24oc8kh3ph1", 20 << 10},
		{"conv:pad=reflect:mb1ic2ih40oc2kh5ph2", 16 << 10},
		{"conv:BWD_D:mb2ic4ih20oc4kh3sh2ph1", 16 << 10},
		{"conv:BWD_W:mb6ic3ih20oc4kh3ph1", 24 << 10},
		{"pool:max:indices=flat:mb2ic6ih20kh2sh2", 12 << 10},
		{"pool:max:u8:nhwc:mb1ic8ih40kh3sh2", 8 << 10},
		{"pool:avg_np:BWD_D:mb2ic4ih20kh3sh2ph1", 12 << 10},
		{"unpool:indices=plane:mb2ic6ih8kh2sh2", 8 << 10},
		{"unpool:indices=plane:mb1ic1ih20oh60kh3sh3", 6 << 10},
		{"conv:BWD_D:pad=reflect:mb1ic2ih40oc2kh5ph2", 16 << 10},
	} {
		b := newBench(t, dev, problemtest.Parse(t, c.text))
		o := Options{Tiling: tiling.Options{MemLimit: c.limit}}
		_, tiles, err := b.run(t.Context(), o)
		if err != nil {
			t.Fatalf("%s: %v", c.text, err)
		}
		b.check("whole")
		if tiles.Len() < 4 {
			t.Fatalf("%s: %v", c.text, tiles)
		}
		boxes, step := tiles.Results()*len(b.p.Outputs()), 1
		if testing.Short() {
			step = 5
		}
		for n := 0; n < boxes; n += step {
			b.clear()
			broken := o
			left := n
			broken.faults.sink = func(s tiling.Sink) tiling.Sink { return failing{s, &left} }
			broken.faults.die = n%3 == 2
			if _, _, err := b.run(t.Context(), broken); !errors.Is(err, errBroken) {
				t.Fatalf("%s: box %d fails: %v", c.text, n, err)
			}
			for _, r := range b.p.Outputs() {
				if _, err := os.Stat(b.path(r)); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s: %v is there though it is not complete: %v", c.text, r, err)
				}
			}
			finished, again, err := b.run(t.Context(), o)
			if err != nil {
				t.Fatalf("%s: after box %d: %v", c.text, n, err)
			}
			want := n / len(b.p.Outputs())
			if finished > want || finished < want && !broken.faults.die || again.String() != tiles.String() {
				t.Errorf("%s, %v: %d results were finished after %d boxes, then %v", c.text, tiles, finished, n, again)
			}
			b.check(fmt.Sprintf("after %d boxes", n))
		}
	}
}

// Results that are sums of many tiles go on from the last sum that was kept, whatever became of the one after it.
func TestResumedAtEverySum(t *testing.T) {
	dev := open(t)
	for _, c := range []struct {
		text  string
		limit int64
	}{
		{"conv:BWD_W:mb6ic3ih20oc4kh3ph1", 40 << 10},
		{"conv:BWD_W:mb8ic4ih16oc4kh3ph1", 36 << 10},
	} {
		b := newBench(t, dev, problemtest.Parse(t, c.text))
		o := Options{Tiling: tiling.Options{MemLimit: c.limit}}
		o.faults.everySum = true
		_, tiles, err := b.run(t.Context(), o)
		if err != nil {
			t.Fatalf("%s: %v", c.text, err)
		}
		b.check("whole")
		parts := tiles.Len() / tiles.Results()
		if parts < 4 {
			t.Fatalf("%s: %v", c.text, tiles)
		}
		path := b.path(b.p.Outputs()[0])
		for n := 1; n < tiles.Len(); n += 1 + tiles.Len()/5 {
			for _, torn := range []bool{false, true} {
				b.clear()
				ctx, cancel := context.WithCancel(t.Context())
				broken := o
				broken.Tiling.Progress = func(done, _ int, _ int64) {
					if done >= n {
						cancel()
					}
				}
				if _, _, err := b.run(ctx, broken); !errors.Is(err, context.Canceled) {
					t.Fatalf("%s: cancelled after %d tiles: %v", c.text, n, err)
				}
				want := n
				if n%parts != 0 && torn {
					b.tear(path)
					want--
				}
				if got := b.there(o); got != want {
					t.Errorf("%s, %v: %d tiles are there after %d (torn: %v)", c.text, tiles, got, n, torn)
				}
				if _, _, err := b.run(t.Context(), o); err != nil {
					t.Fatalf("%s: after %d tiles: %v", c.text, n, err)
				}
				b.check(fmt.Sprintf("after %d tiles (torn: %v)", n, torn))
			}
		}
	}
}

// The sums of several devices, which add up several results at a time, are kept, too: whoever goes on does so from there.
func TestSumsOfSeveralDevices(t *testing.T) {
	dev, list := open(t), devicetest.Open(t, "cpu+second:0", engine.NoFallback(), engine.WithTuning(nil))
	b := newBench(t, dev, problemtest.Parse(t, "conv:BWD_W:mb12ic16ih20oc16kh3ph1"))
	o := Options{Tiling: tiling.Options{MemLimit: 160 << 10}}
	o.faults.everySum = true
	b.dev = list
	_, tiles, err := b.run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	b.check("whole")
	parts := tiles.Len() / tiles.Results()
	if parts < 3 || tiles.Results() < 4 {
		t.Fatalf("%v", tiles)
	}
	between := false // that one was taken up with sums of several results
	for n := 1; n < tiles.Len(); n += 1 + tiles.Len()/24 {
		for _, next := range []*engine.Device{dev, list} {
			b.clear()
			b.dev = list
			ctx, cancel := context.WithCancel(t.Context())
			broken := o
			broken.Tiling.Progress = func(done, _ int, _ int64) {
				if done >= n {
					cancel()
				}
			}
			if _, _, err := b.run(ctx, broken); !errors.Is(err, context.Canceled) {
				t.Fatalf("cancelled after %d tiles: %v", n, err)
			}
			r, done, err := b.prepare(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			results, _ := r.Finished()
			between = between || r.Tiles()-results*parts >= parts
			if got := r.Tiles(); got < n {
				t.Errorf("%v: %d tiles are there after %d", tiles, got, n)
			}
			done()
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			b.dev = next
			most := 0
			going := o
			going.Tiling.Progress = func(done, _ int, _ int64) { most = max(most, done) }
			if _, _, err := b.run(t.Context(), going); err != nil || most != tiles.Len() {
				t.Fatalf("after %d tiles: %d of %d, %v", n, most, tiles.Len(), err)
			}
			b.check(fmt.Sprintf("after %d tiles", n))
		}
	}
	if !between {
		t.Error("no run was taken up with the sums of several results")
	}
}

// A run that is interrupted again and again comes to its end, on problems of all kinds.
func TestRandomProblems(t *testing.T) {
	dev := open(t)
	for i, ran := uint64(0), 0; ran < 12; i++ {
		r := rand.New(rand.NewPCG(7, i))
		p := problem.Random(r, 10)
		limit := 64 + int64(float64(3*p.Bytes())*(0.1+r.Float64()))
		if c, err := tiling.Cut(p, tiling.Limits{MemoryBytes: limit}); err != nil || c.Results() < 2 || c.Len() > 60 {
			continue
		}
		b := newBench(t, dev, p)
		o := Options{Tiling: tiling.Options{MemLimit: limit}}
		for try := 0; ; try++ {
			broken := o
			left := 1 + r.IntN(6)
			broken.faults.sink = func(s tiling.Sink) tiling.Sink { return failing{s, &left} }
			broken.faults.die = r.IntN(4) == 0
			_, _, err := b.run(t.Context(), broken)
			if errors.Is(err, driver.ErrUnsupported) { // with the workspace there is no room
				break
			}
			if err == nil {
				b.check(fmt.Sprintf("after %d interruptions", try))
				ran++
				break
			}
			if !errors.Is(err, errBroken) || try > 1000 {
				t.Fatalf("%s: %v", p.String(), err)
			}
		}
	}
}

// interrupt runs until three tiles are written.
func interrupt(t *testing.T, b *bench, o Options) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Tiling.Progress = func(done, _ int, _ int64) {
		if done == 3 {
			cancel()
		}
	}
	if _, _, err := b.run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
}

// What is not the same run is refused, in words that say what differs and what to do.
func TestRefused(t *testing.T) {
	dev := open(t)
	limit := Options{Tiling: tiling.Options{MemLimit: 30 << 10}}
	for _, c := range []struct {
		what, says string
		change     func(b *bench)
		o          Options
	}{
		{"nothing", "", func(*bench) {}, limit},
		{"time of a small file", "", func(b *bench) { b.write(problem.Wei) }, limit},
		{"weights", "wei has changed", func(b *bench) { b.in[problem.Wei].Float32s()[5]++; b.write(problem.Wei) }, limit},
		{"source", "src has changed", func(b *bench) { b.in[problem.Src].Float32s()[9]++; b.write(problem.Src) }, limit},
		{"problem", "another problem", func(b *bench) { b.p.Post[0] = problem.PostOp{Kind: problem.ReLU} }, limit},
		{"memory", "cut for another memory limit", func(*bench) {}, Options{Tiling: tiling.Options{MemLimit: 5 << 10}}},
		{"partial result", "partial", func(b *bench) { remove(t, b.path(problem.Dst)+partialSuffix) }, limit},
		{"journal", "not a journal", func(b *bench) { put(t, b.path(problem.Dst)+journalSuffix, "what is this\n") }, limit},
		{"journal's version", "not a journal of this version", func(b *bench) {
			put(t, b.path(problem.Dst)+journalSuffix, `{"gonvolve_journal":1}`+"\n")
		}, limit},
	} {
		b := newBench(t, dev, problemtest.Parse(t, "conv:mb1ic3ih40oc4kh3ph1"))
		interrupt(t, b, limit)
		c.change(b)
		finished, _, err := b.run(t.Context(), c.o)
		if c.says == "" {
			if b.check(c.what); err != nil || finished < 3 {
				t.Errorf("%s changed: %d results were finished: %v", c.what, finished, err)
			}
			continue
		}
		if !errors.Is(err, ErrInterrupted) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "--restart") ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%s changed: %v", c.what, err)
		}
		if b.want, err = dev.Compute(t.Context(), b.p, b.in); err != nil {
			t.Fatal(err)
		}
		again := limit
		again.Restart = true
		if _, _, err := b.run(t.Context(), again); err != nil {
			t.Errorf("%s changed, started over: %v", c.what, err)
		}
		b.check(c.what)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
