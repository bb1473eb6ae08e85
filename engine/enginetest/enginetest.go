// Package enginetest is the test file of every driver: Run puts a device through everything that users rely on, in the
// manner of gonum's testblas. A test is left out by capability (the device says ErrUnsupported), never by name.
package enginetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// Open opens the device under test, without fallback. It may be called any number of times.
type Open func(ctx context.Context) (*engine.Device, error)

// Spec returns the Open of a device spec with driver options.
func Spec(spec string, o driver.Options) Open {
	return func(ctx context.Context) (*engine.Device, error) {
		return engine.Open(ctx, spec, engine.NoFallback(), engine.WithDriverOptions(o))
	}
}

// Require says whether a missing driver fails tests (GONVOLVE_REQUIRE_DRIVERS=1, as CI sets it) rather than skipping them.
func Require() bool { return os.Getenv("GONVOLVE_REQUIRE_DRIVERS") == "1" }

// Run tests the devices that open opens. The cpu driver must be registered: it is the oracle.
func Run(t *testing.T, open Open) {
	ctx := t.Context()
	if d, err := open(ctx); errors.Is(err, engine.ErrNoDevices) && !Require() {
		t.Skip("no device: ", err)
	} else if err != nil {
		t.Fatal(err)
	} else if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	s := &suite{open: open}
	for _, c := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"Exact", func(t *testing.T) { s.cases(t, verify.Int) }},
		{"Bounded", func(t *testing.T) { s.cases(t, verify.Uniform) }},
		{"Random", s.random},
		{"LongReductions", s.longReductions},
		{"SpecialValues", s.specialValues},
		{"ForeignIndices", s.foreignIndices},
		{"IntegerExtremes", s.integerExtremes},
		{"Transfers", s.transfers},
		{"Refusals", s.refusals},
		{"UseAfterFree", s.useAfterFree},
		{"Candidates", s.candidates},
		{"Tiled", s.tiled},
		{"Cut", s.cut},
		{"TiledMemory", s.tiledMemory},
		{"TiledCancelled", s.tiledCancelled},
		{"InPlace", s.inPlace},
		{"Repeated", s.repeated},
		{"Concurrent", s.concurrent},
		{"Cancelled", s.cancelled},
		{"Cache", s.cache},
		{"ComeAndGo", s.comeAndGo},
		{"OpenClose", s.openClose},
	} {
		t.Run(c.name, c.run)
	}
}

type suite struct{ open Open }

// device opens a device for one test. Its Close must succeed: it reports leaks and validation messages.
func (s *suite) device(t *testing.T) *engine.Device {
	t.Helper()
	d, err := s.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return d
}

func oracle(t *testing.T) *engine.Device {
	t.Helper()
	o, err := verify.Oracle(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

// plain says whether an algorithm is exact on small integers.
func plain(t *testing.T, d *engine.Device, p problem.Problem, alg string) bool {
	pl, err := d.Plan(t.Context(), p, driver.PlanOptions{Algorithm: alg, Exact: true})
	if err != nil {
		return !errors.Is(err, driver.ErrUnsupported)
	}
	return pl.Close() == nil
}

// check runs a problem by every algorithm of the device that can.
func check(t *testing.T, o, d *engine.Device, p problem.Problem, fill verify.Fill) (ran int) {
	t.Helper()
	c, err := verify.NewCase(t.Context(), o, p, fill, verify.DefaultBudget)
	if err != nil {
		t.Fatalf("%s: %v", p.String(), err)
	}
	for _, alg := range d.Algorithms(p) {
		r := c.Check(t.Context(), d, alg)
		if r.Status != report.Passed || !r.Verified {
			t.Errorf("%s: %s\n\t%s", r.Status, r.Reason, r.Repro)
		}
		if fill == verify.Int && r.Check != "exact" && exactly(&p) && plain(t, d, p, alg) {
			t.Errorf("%s was judged in %s mode, not exactly", p.String(), r.Check)
		}
		ran++
	}
	return ran
}

// exactly says whether whole numbers must come out right to the last bit: nothing on the way is a transcendental function
// or a root, and no algorithm transforms its input.
func exactly(p *problem.Problem) bool {
	for _, o := range p.Posts() {
		switch o.Kind {
		case problem.Sigmoid, problem.Tanh, problem.SiLU, problem.GELU, problem.GELUTanh, problem.HardSwish, problem.Leaky, problem.Scale,
			problem.PReLU: // products of parameters may leave the range of exact sums
			return false
		}
	}
	shares := p.Kind.Average() && p.Dir == problem.BackwardData                       // sums of rounded quotients
	twice := (p.Kind.Average() || p.Then.Kind.Average()) && p.Type.Dst == problem.F16 // a quotient in f32, then in f16
	return p.Kind != problem.Lp && p.Op != problem.Deform && !shares && !twice
}

func (s *suite) cases(t *testing.T, fill verify.Fill) {
	d, o := s.device(t), oracle(t)
	for i, text := range problems {
		p := problemtest.Parse(t, text)
		if p.Op == problem.Conv && p.Dir == problem.Forward && p.Post == [problem.MaxPost]problem.PostOp{} && p.Type == (problem.Types{}) {
			// Bias and ReLU in all four combinations over the list.
			p.Bias = p.Bias || i%2 == 0
			if i/2%2 == 1 {
				p.Post[0].Kind = problem.ReLU
			}
		}
		if check(t, o, d, p, fill) == 0 {
			t.Errorf("%s: no algorithm can run it", p.String())
		}
	}
}

// random problems over everything that problems can be: what nobody thought of.
func (s *suite) random(t *testing.T) {
	d, o := s.device(t), oracle(t)
	count := 200
	if testing.Short() {
		count = 50
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range count {
		p := problem.Random(r, 12)
		fill := verify.Int
		if i%4 == 0 {
			fill = verify.Uniform
		}
		if check(t, o, d, p, fill) == 0 {
			t.Errorf("%s: no algorithm can run it", p.String())
		}
	}
}

// longReductions are longer than the loops that some drivers can run.
func (s *suite) longReductions(t *testing.T) {
	d, o := s.device(t), oracle(t)
	for _, text := range []string{
		"mb1ic120000ih2oc3oh2kh1",
		"mb1ic3ih200oc2oh1kh200",
		"mb1ic1200ih12oc2oh3kh10",
		"pool:avg_np:mb1ic2ih512oh1kh512",
		"pool:max:mb1ic2ih512oh1kh512",
		"pool:max:indices=plane:mb1ic2ih512oh1kh512", // the first of equals, whatever part it is in
		"pool:lp2:mb1ic1iw200000ow1kw200000",
		"pool:max:adaptive:indices=flat:mb1ic1iw200000ow70001", // sizes whose products pass 32 bits
		"pool:avg_np:BWD_D:adaptive:mb1ic2iw2ow200000",
	} {
		if check(t, o, d, problemtest.Parse(t, text), verify.Int) == 0 {
			t.Errorf("%s: no algorithm can run it", text)
		}
	}
}

// cache: damaged entries of the on-disk cache are misses.
func (s *suite) cache(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("GONVOLVE_CACHE", dir)
	o := oracle(t)
	p := problemtest.Parse(t, "mb1ic8ih9oc16oh9kh3ph1")
	damage := []func([]byte) []byte{
		func(b []byte) []byte { return b },
		func(b []byte) []byte { return b[:len(b)/2] },
		func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		func([]byte) []byte { return []byte("gonvolve-cache-1\nnonsense") },
		func([]byte) []byte { return nil },
	}
	for _, f := range damage {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range files {
			name := filepath.Join(dir, e.Name())
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, f(b), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		d, err := s.open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		check(t, o, d, p, verify.Int)
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// openClose: nothing grows with devices opened, used and closed.
func (s *suite) openClose(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	src, err := engine.FromFloat32([]float32{1, 2, 3, 4}, 1, 1, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	var before int64
	for i := range rounds {
		d, err := s.open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			dst, err := d.Pool(t.Context(), problem.Max, src, nil, problem.Params{})
			if err != nil {
				t.Fatal(err)
			}
			if dst.Float32s()[0] != 4 {
				t.Fatalf("maximum is %v", dst.Float32s()[0])
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if i == rounds/5 {
			before = resident()
		}
	}
	grown := resident() - before
	t.Logf("resident memory grew by %d KiB in %d rounds", grown>>10, rounds-rounds/5)
	// A leak of one buffer, context or thread a round would be tens of megabytes.
	if grown > 32<<20 {
		t.Errorf("resident memory grew by %d MiB", grown>>20)
	}
}

// concurrent: plans, streams and devices from many goroutines, while the garbage collector runs all the time.
func (s *suite) concurrent(t *testing.T) {
	d, o := s.device(t), oracle(t)
	var stop atomic.Bool
	var gc sync.WaitGroup
	gc.Go(func() {
		for !stop.Load() {
			runtime.GC()
		}
	})
	defer func() { stop.Store(true); gc.Wait() }()
	var cases []*verify.Case
	for _, text := range []string{"mb1ic8ih12oc16oh12kh3ph1", "g4mb1ic8ih9oc12oh9kh3ph1", "pool:max:mb1ic4ih12oh6kh2sh2", "mb1ic16ih7oc8oh7kh1"} {
		c, err := verify.NewCase(t.Context(), o, problemtest.Parse(t, text), verify.Int, verify.DefaultBudget)
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, c)
	}
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			for k := range rounds {
				if r := cases[(i+k)%len(cases)].Check(t.Context(), d, ""); r.Status != report.Passed {
					t.Errorf("%s: %s", r.Repro, r.Reason)
				}
			}
		})
	}
	wg.Wait()
	// One plan run from many goroutines, its weights replaced by equal ones meanwhile.
	c := cases[0]
	pl, err := d.Plan(t.Context(), c.Problem, driver.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer pl.Close()
	constants := engine.Operands{problem.Wei: c.In[problem.Wei]}
	if err := pl.SetWeights(t.Context(), constants); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		wg.Go(func() {
			for range rounds {
				if i == 0 {
					if err := pl.SetWeights(t.Context(), constants); err != nil {
						t.Error(err)
					}
					continue
				}
				dst, err := pl.RunHost(t.Context(), c.In)
				if err != nil {
					t.Error(err)
					return
				}
				var r report.Record
				if err := c.Judge(t.Context(), &r, pl.Info().Arithmetic, dst); err != nil || r.Status != report.Passed {
					t.Error(r.Reason, err)
				}
			}
		})
	}
	wg.Wait()
}
