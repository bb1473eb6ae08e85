package gpu

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
)

const behind = "bias:mb1ic64ih14oc64oh14kh3ph1" // a problem with a kernel of its own

// gate lets compilations of conv_igemm wait until it is opened.
type gate struct {
	open chan struct{}
	fail error
}

func (g *gate) ask(call string) error {
	if call == "NewKernel conv_igemm" {
		<-g.open
		return g.fail
	}
	return nil
}

// inBackground opens a fake whose kernels are compiled when the gate opens, and plans the problem.
func inBackground(t *testing.T, text string) (*fake, *Device, *gate, *job) {
	t.Helper()
	f := newFake()
	g := &gate{open: make(chan struct{})}
	f.fail = g.ask
	d := f.open(t)
	return f, d, g, newJobWith(t, d, text, driver.PlanOptions{Algorithm: "igemm", Background: true})
}

// settled waits for the end of the compilation.
func (j *job) settled(t *testing.T, d *Device) driver.Switch {
	t.Helper()
	for {
		if all := d.Switches(); len(all) > 0 {
			return all[len(all)-1]
		}
		select {
		case <-t.Context().Done():
			t.Fatal("nothing switched")
		case <-time.After(time.Millisecond):
		}
	}
}

// ran says which kernels were dispatched since the last call.
func (f *fake) ran() (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.dispatched {
		names = append(names, c.Kernel.(*fakeKernel).src.Name)
	}
	f.dispatched = nil
	return names
}

// The general kernels run until the others are compiled, which begins with the second run; then those run, with the
// weights packed for them and none of the old ones left.
func TestBackground(t *testing.T) {
	f, d, g, j := inBackground(t, behind)
	if i := j.plan.Info(); i.Algorithm != "direct" || i.Pending != "igemm" || !strings.Contains(i.Kernels, "conv_direct@") {
		t.Errorf("at first: %+v", i)
	}
	f.ran()
	j.run(t)
	if len(f.compiled["conv_igemm"]) != 0 || len(d.Switches()) != 0 {
		t.Error("compiled for one run")
	}
	for range 5 {
		j.run(t)
	}
	if got := f.ran(); slices.Contains(got, "conv_igemm") || !slices.Contains(got, "conv_direct") {
		t.Errorf("before: %v", got)
	}
	general := j.args.Weights.Bytes()
	close(g.open)
	sw := j.settled(t, d)
	if sw.From != "direct" || sw.To != "igemm" || sw.Reason != nil || sw.After <= 0 || sw.Problem != j.plan.(*background).p {
		t.Errorf("%+v", sw)
	}
	if i := j.plan.Info(); i.Algorithm != "igemm" || i.Pending != "" || !strings.Contains(i.Why, "general kernels until it was compiled") {
		t.Errorf("afterwards: %+v", i)
	}
	f.ran()
	j.run(t)
	if got := f.ran(); !slices.Contains(got, "conv_igemm") || slices.Contains(got, "conv_direct") {
		t.Errorf("afterwards: %v", got)
	}
	own := j.plan.(*background).own
	if now := j.args.Weights.Bytes(); now != own.info.WeightsBytes || now == general {
		t.Errorf("weights of %d bytes, then %d; the plan's own have %d", general, now, own.info.WeightsBytes)
	}
	// Weights that are packed now are packed once, for what runs now.
	f.ran()
	w, e, err := j.plan.Pack(t.Context(), j.stream, j.args.Buffers)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := f.ran(); !slices.Equal(got, []string{"pack_weights"}) {
		t.Errorf("packed by %v", got)
	}
	w.Free()
	// What is compiled needs no detour, whatever the plan.
	if i := newJobWith(t, d, behind, driver.PlanOptions{Algorithm: "igemm", Background: true}).plan.Info(); i.Pending != "" || i.Algorithm != "igemm" {
		t.Errorf("once more: %+v", i)
	}
}

// A plan that will compute by Winograd's algorithm says from the first to the last that its sums may be plain ones as well,
// and what stands in for others has plain sums, even where a plan with transforms is compiled.
func TestBackgroundArithmetic(t *testing.T) {
	f, d, g, _ := inBackground(t, behind)
	either := driver.Arithmetic{Winograd: 4, OrPlain: true}
	j := newJobWith(t, d, behind, driver.PlanOptions{Algorithm: "winograd", Background: true})
	if i := j.plan.Info(); i.Pending != "winograd" || i.Arithmetic != either {
		t.Errorf("at first: %+v", i)
	}
	close(g.open)
	j.run(t)
	j.run(t)
	j.settled(t, d)
	if i := j.plan.Info(); i.Algorithm != "winograd" || i.Arithmetic != either {
		t.Errorf("afterwards: %+v", i)
	}
	if i := newJobWith(t, d, behind, driver.PlanOptions{Algorithm: "winograd", Background: true}).plan.Info(); i.Arithmetic != (driver.Arithmetic{Winograd: 4}) {
		t.Errorf("compiled: %+v", i)
	}
	f.ran()
	later := newJobWith(t, d, behind, driver.PlanOptions{Algorithm: "igemm", Background: true})
	if i := later.plan.Info(); i.Pending != "igemm" || i.Algorithm != "direct" || i.Arithmetic != (driver.Arithmetic{}) {
		t.Errorf("before igemm: %+v", i)
	}
}

// Where the first result does not come sooner there is no detour.
func TestBackgroundDetours(t *testing.T) {
	f := newFake()
	d := f.open(t)
	d.info.MemoryBytes, d.info.MaxTensorBytes = 1<<40, 1<<40
	for _, c := range []struct{ text, algorithm, pending string }{
		{behind, "igemm", "igemm"},
		{"conv:BWD_D:mb1ic64ih14oc64oh14kh3ph1", "igemm", "igemm"},
		{"mb64ic1024ih128oc1024oh128kh3ph1", "igemm", ""},    // too much for general kernels
		{"mb1ic1ih3oc1kh1", "", ""},                          // runs by them anyway
		{"conv:then=max(kh2sh2):mb1ic8ih8oc8oh8kh1", "", ""}, // there is no general kernel
	} {
		text, pending := c.text, c.pending
		pl, err := d.Plan(t.Context(), problemtest.Parse(t, text), driver.PlanOptions{Algorithm: c.algorithm, Background: true})
		if err != nil {
			t.Fatal(err)
		}
		if i := pl.Info(); i.Pending != pending {
			t.Errorf("%s: %+v, want %q", text, i, pending)
		}
		if err := pl.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A kernel that does not compile leaves the general ones, and says why.
func TestBackgroundFails(t *testing.T) {
	_, d, g, j := inBackground(t, behind)
	g.fail = errors.New("no registers")
	close(g.open)
	j.run(t)
	j.run(t)
	if sw := j.settled(t, d); !errors.Is(sw.Reason, g.fail) {
		t.Errorf("%+v", sw)
	}
	j.run(t)
	if i := j.plan.Info(); i.Algorithm != "direct" || i.Pending != "" || !strings.Contains(i.Why, "no registers") {
		t.Errorf("%+v", i)
	}
}

// Plans and weights go at any time; the device's Close waits for the compiler. The fake sees whatever is left.
func TestBackgroundCloses(t *testing.T) {
	for _, when := range []string{"before a run", "while it compiles", "weights first", "after"} {
		f, d, g, j := inBackground(t, behind)
		if when != "before a run" {
			j.run(t)
			j.run(t)
		}
		switch when {
		case "weights first":
			j.args.Weights.Free()
			close(g.open)
			j.settled(t, d)
			if _, err := j.plan.Run(t.Context(), j.stream, j.args); !errors.Is(err, driver.ErrClosed) {
				t.Errorf("freed weights ran: %v", err)
			}
		case "after":
			close(g.open)
			j.settled(t, d)
		}
		if err := j.plan.Close(); err != nil {
			t.Error(err)
		}
		if _, err := j.plan.Run(t.Context(), j.stream, j.args); !errors.Is(err, driver.ErrClosed) {
			t.Errorf("%s: a closed plan ran: %v", when, err)
		}
		if when == "before a run" || when == "while it compiles" {
			close(g.open)
			if len(d.Switches()) != 0 {
				t.Errorf("%s: a switch that nobody waits for", when)
			}
		}
		_ = f
	}
}

// Runs on several streams, packing, freeing and the switch, all at once.
func TestBackgroundConcurrently(t *testing.T) {
	f, d, g, j := inBackground(t, behind)
	var all sync.WaitGroup
	for i := range 4 {
		s, err := d.NewStream()
		if err != nil {
			t.Fatal(err)
		}
		args := j.args
		dst, err := d.Alloc(args.Buffers[problem.Dst].Bytes())
		if err != nil {
			t.Fatal(err)
		}
		args.Buffers[problem.Dst] = dst
		all.Go(func() {
			defer func() { _ = s.Close() }()
			defer dst.Free()
			for n := 0; ; n++ {
				if n == 20 && i == 0 {
					close(g.open)
				}
				own := args
				if i == 1 {
					w, e, err := j.plan.Pack(context.Background(), s, args.Buffers)
					if err != nil {
						t.Error(err)
						return
					}
					own.Weights = w
					defer func() { _ = e.Wait(context.Background()) }()
				}
				e, err := j.plan.Run(context.Background(), s, own)
				if err == nil && n%3 == 0 {
					err = e.Wait(context.Background())
				}
				if i == 1 {
					own.Weights.Free()
				}
				if err != nil {
					t.Error(err)
					return
				}
				if n > 40 && len(d.Switches()) > 0 {
					return
				}
			}
		})
	}
	all.Wait()
	if sw := d.Switches(); len(sw) != 1 || sw[0].Reason != nil {
		t.Errorf("%+v", sw)
	}
	f.ran()
	j.run(t)
	if got := f.ran(); !slices.Contains(got, "conv_igemm") {
		t.Errorf("at the end: %v", got)
	}
}
