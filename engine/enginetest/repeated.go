package enginetest

import (
	"slices"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// repeated: a plan runs many times on tensors that take turns, on two streams, many runs in flight at a time, while
// sources and weights are freed and replaced.
func (s *suite) repeated(t *testing.T) {
	for _, text := range []string{"mb1ic8ih12oc16oh12kh3ph1", "nhwc:mb2ic4ih9oc8oh9kh3ph1", "pool:avg_np:nhwc:mb1ic4ih8oh4kh2sh2",
		"f16:mb1ic8ih12oc16oh12kh3ph1"} {
		d, o := s.device(t), oracle(t)
		p := problemtest.Parse(t, text)
		c, err := verify.NewCase(t.Context(), o, p, verify.Int, verify.DefaultBudget)
		if err != nil {
			t.Fatal(err)
		}
		pl, err := d.Plan(t.Context(), p, driver.PlanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		r := &repeater{t: t, d: d, o: o, pl: pl, in: c.In}
		for i := range r.streams {
			if r.streams[i], err = d.NewStream(); err != nil {
				t.Fatal(err)
			}
		}
		for i := range r.dst {
			if r.dst[i], err = d.NewTensor(p.TypeOf(problem.Dst), p.Shape(problem.Dst)...); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			r.next()
			for range 4 {
				r.round()
			}
		}
		for _, x := range append(r.src[:], r.dst[:]...) {
			x.Free()
		}
		for _, st := range r.streams {
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := pl.Close(); err != nil {
			t.Error(err)
		}
	}
}

type repeater struct {
	t       *testing.T
	d, o    *engine.Device
	pl      *engine.Plan
	in      engine.Operands // of now
	streams [2]*engine.Stream
	src     [2]*engine.DeviceTensor
	want    [2][]float32
	dst     [4]*engine.DeviceTensor
}

// rolled is a tensor with its elements moved by n.
func (r *repeater) rolled(x *engine.Tensor, n int) *engine.Tensor {
	y, err := engine.NewTensor(x.Type(), x.Shape()...)
	if err != nil {
		r.t.Fatal(err)
	}
	v := x.Widen()
	if err := y.Narrow(slices.Concat(v[n:], v[:n])); err != nil {
		r.t.Fatal(err)
	}
	return y
}

// next takes other weights and other sources, and asks the oracle for the results. What it replaces may be in flight.
func (r *repeater) next() {
	ctx := r.t.Context()
	for i, x := range r.src {
		if x == nil {
			continue
		}
		if _, err := r.pl.Run(ctx, r.streams[i], engine.Args{problem.Src: x, problem.Dst: r.dst[i]}); err != nil {
			r.t.Fatal(err)
		}
		x.Free()
	}
	if w := r.in[problem.Wei]; w != nil {
		r.in[problem.Wei] = r.rolled(w, 7)
		if err := r.pl.SetWeights(ctx, engine.Operands{problem.Wei: r.in[problem.Wei]}); err != nil {
			r.t.Fatal(err)
		}
	}
	for i := range r.src {
		r.in[problem.Src] = r.rolled(r.in[problem.Src], 5)
		out, err := r.o.Compute(ctx, r.pl.Problem(), r.in)
		if err != nil {
			r.t.Fatal(err)
		}
		r.want[i] = out[problem.Dst].Widen()
		if r.src[i], err = r.streams[i].Upload(ctx, r.in[problem.Src]); err != nil {
			r.t.Fatal(err)
		}
	}
	for _, st := range r.streams { // both streams read both sources
		if err := st.Wait(ctx); err != nil {
			r.t.Fatal(err)
		}
	}
}

// round has each stream write two of the results some times, then checks them.
func (r *repeater) round() {
	ctx, p := r.t.Context(), r.pl.Problem()
	for i, y := range r.dst {
		if err := r.streams[i%2].Poison(ctx, y); err != nil {
			r.t.Fatal(err)
		}
	}
	for n := range 20 {
		i := n % len(r.dst)
		if _, err := r.pl.Run(ctx, r.streams[i%2], engine.Args{problem.Src: r.src[i/2], problem.Dst: r.dst[i]}); err != nil {
			r.t.Fatal(err)
		}
	}
	for i, y := range r.dst {
		got, err := engine.NewTensor(p.TypeOf(problem.Dst), p.Shape(problem.Dst)...)
		if err != nil {
			r.t.Fatal(err)
		}
		if err := r.streams[i%2].Download(ctx, got, y); err != nil {
			r.t.Fatal(err)
		}
		if !slices.Equal(got.Widen(), r.want[i/2]) {
			r.t.Errorf("%s: repeated runs end in another result", p.String())
		}
	}
}

// comeAndGo: streams, plans and weights that were used again and again leave nothing behind.
func (s *suite) comeAndGo(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	d, o := s.device(t), oracle(t)
	c, err := verify.NewCase(t.Context(), o, problemtest.Parse(t, "nhwc:mb1ic4ih3oc4oh3kh1"), verify.Int, verify.DefaultBudget)
	if err != nil {
		t.Fatal(err)
	}
	var before int64
	for i := range rounds {
		pl, err := d.Plan(t.Context(), c.Problem, driver.PlanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		job, err := c.Prepare(t.Context(), pl)
		if err != nil {
			t.Fatal(err)
		}
		for range 4 {
			if _, err := pl.Run(t.Context(), job.Stream, job.Args); err != nil {
				t.Fatal(err)
			}
		}
		closes := []func() error{job.Close, pl.Close}
		if i%2 == 0 {
			slices.Reverse(closes)
		}
		for _, stop := range closes {
			if err := stop(); err != nil {
				t.Fatal(err)
			}
		}
		if m, ok := d.Driver().(driver.MemoryReporter); ok {
			if used, _ := m.MemoryInUse(); used != 0 {
				t.Fatalf("%d bytes are in use after round %d", used, i)
			}
		}
		if i == rounds/5 {
			before = resident()
		}
	}
	grown := resident() - before
	t.Logf("resident memory grew by %d KiB in %d rounds", grown>>10, rounds-rounds/5)
	// The validation layer itself takes 20 KiB a round until its device is closed.
	if grown > 32<<20 {
		t.Errorf("resident memory grew by %d MiB", grown>>20)
	}
}
