package gpu

import (
	"errors"
	"sync"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

const (
	withWorkspace = "nhwc:mb1ic4ih9oc4oh9kh3ph1"
	noWorkspace   = "pool:max:mb1ic4ih8oh4kh2sh2"
)

// fresh gives the job another buffer in a role, and returns the one it had.
func (j *job) fresh(t testing.TB, d *Device, r problem.Role) driver.Buffer {
	t.Helper()
	old := j.args.Buffers[r]
	b, err := d.Alloc(old.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Free)
	j.args.Buffers[r] = b
	return old
}

// A run is recorded when it comes back, once; few are kept; the plan's Close leaves nothing of it on the stream.
func TestListsAreKept(t *testing.T) {
	for _, text := range []string{withWorkspace, noWorkspace} {
		f := newFake()
		d := f.open(t)
		records := 0
		f.fail = func(call string) error {
			if call == "Record" {
				records++
			}
			return nil
		}
		j := newJob(t, d, text, "")
		own, _ := d.MemoryInUse()
		j.run(t)
		if records != 0 {
			t.Errorf("%s: a first run is recorded", text)
		}
		for range 5 {
			j.run(t)
		}
		if records != 1 {
			t.Errorf("%s: recorded %d times for one set of buffers", text, records)
		}
		first := j.args
		j.fresh(t, d, problem.Dst)
		second := j.args
		for range 3 {
			j.args = first
			j.run(t)
			j.args = second
			j.run(t)
		}
		if records != 2 {
			t.Errorf("%s: recorded %d times for two sets of buffers", text, records)
		}
		for range 2 * keptLists {
			j.fresh(t, d, problem.Src)
			j.run(t)
			j.run(t)
		}
		if n := f.live["recorded lists"]; n != keptLists {
			t.Errorf("%s: %d lists are kept", text, n)
		}
		for _, b := range j.args.Buffers {
			if b != nil {
				b.Free()
			}
		}
		for _, b := range first.Buffers {
			if b != nil {
				b.Free()
			}
		}
		if err := j.plan.Close(); err != nil {
			t.Error(err)
		}
		if n := f.live["recorded lists"]; n != 0 {
			t.Errorf("%s: %d lists are kept for a closed plan", text, n)
		}
		if kept := j.stream.(*stream).kept.work; len(kept) != 0 {
			t.Errorf("%s: workspace is kept for a closed plan; %d bytes were in use", text, own)
		}
		if _, err := j.plan.Run(t.Context(), j.stream, second); !errors.Is(err, driver.ErrClosed) {
			t.Errorf("%s: a closed plan ran: %v", text, err)
		}
	}
}

// Buffers and weights that were freed are refused, though the stream knows the run and it is in flight; others in their
// place are what runs then.
func TestListsOfFreedOperands(t *testing.T) {
	f := newFake()
	d := f.open(t)
	j := newJob(t, d, withWorkspace, "")
	for range 3 {
		if _, err := j.plan.Run(t.Context(), j.stream, j.args); err != nil { // stays in flight
			t.Fatal(err)
		}
	}
	before := j.args
	j.fresh(t, d, problem.Src).Free()
	if _, err := j.plan.Run(t.Context(), j.stream, before); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("a freed source: %v", err)
	}
	j.run(t)
	w, e, err := j.plan.Pack(t.Context(), j.stream, j.args.Buffers)
	if err != nil {
		t.Fatal(err)
	}
	old := j.args
	j.args.Weights = w
	for range 3 {
		j.run(t)
	}
	w.Free()
	if _, err := j.plan.Run(t.Context(), j.stream, j.args); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("freed weights: %v", err)
	}
	if err := e.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	j.args = old
	j.run(t)
}

// Plans of a stream share workspace; it is given up when memory is short, in flight or not, and taken again.
func TestWorkspaceIsShared(t *testing.T) {
	f := newFake()
	f.info.MemoryBytes = 64 << 20
	d := f.open(t)
	small, large := newJob(t, d, withWorkspace, "direct"), newJob(t, d, "nhwc:mb1ic4ih300oc4oh300kh3ph1", "direct")
	small.stream = large.stream
	own, _ := d.MemoryInUse()
	for range 3 {
		small.run(t)
		large.run(t)
	}
	used, _ := d.MemoryInUse()
	want := int64(0)
	for _, n := range large.plan.(*plan).runSlots {
		want += n
	}
	if want == 0 || used-own < want || used-own > want+4096 {
		t.Errorf("workspace of %d bytes for two plans, the larger takes %d", used-own, want)
	}
	if _, err := large.plan.Run(t.Context(), large.stream, large.args); err != nil { // stays in flight
		t.Fatal(err)
	}
	var all []driver.Buffer
	for size := int64(8 << 20); size >= 4<<10; {
		if b, err := d.Alloc(size); err == nil {
			all = append(all, b)
		} else {
			size /= 2
		}
	}
	if used, _ := d.MemoryInUse(); used < 60<<20-own {
		t.Errorf("memory ran out at %d bytes", used)
	}
	if n := len(large.stream.(*stream).kept.work); n != 0 {
		t.Error("workspace is kept while memory is short")
	}
	if _, err := large.plan.Run(t.Context(), large.stream, large.args); !errors.Is(err, driver.ErrOutOfMemory) {
		t.Errorf("run without memory: %v", err)
	}
	for _, b := range all {
		b.Free()
	}
	small.run(t)
	large.run(t)
}

// Runs, lists that take others' places, memory that is given up, and closes, all at once.
func TestListsConcurrently(t *testing.T) {
	f := newFake()
	d := f.open(t)
	shared := newJob(t, d, withWorkspace, "direct")
	var all sync.WaitGroup
	for g := range 6 {
		j := newJob(t, d, []string{withWorkspace, noWorkspace, "nhwc:mb1ic4ih20oc4oh20kh3ph1"}[g%3], "direct")
		if g%2 == 0 {
			j.stream = shared.stream
		}
		all.Go(func() {
			for i := range 200 {
				e, err := j.plan.Run(t.Context(), j.stream, j.args)
				if err == nil && i%3 == 0 {
					err = e.Wait(t.Context())
				}
				if _, failed := shared.plan.Run(t.Context(), j.stream, shared.args); err == nil {
					err = failed
				}
				if err != nil {
					t.Error(err)
					return
				}
				if i%50 == 7 {
					d.drain()
				}
			}
			if err := j.plan.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// Device times are measured where they were asked for.
func TestTimedStreams(t *testing.T) {
	d := newFake().open(t)
	j := newJob(t, d, withWorkspace, "")
	timed, err := d.NewTimedStream()
	if err != nil {
		t.Fatal(err)
	}
	defer timed.Close()
	for _, s := range []driver.Stream{j.stream, timed, j.stream, timed, timed} {
		e, err := j.plan.Run(t.Context(), s, j.args)
		if err != nil {
			t.Fatal(err)
		}
		if took, ok := e.DeviceTime(); ok {
			t.Errorf("%v before the wait", took)
		}
		if err := e.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took, ok := e.DeviceTime(); ok != (s == timed) || ok != (took > 0) {
			t.Errorf("timed %t: device time %v, %t", s == timed, took, ok)
		}
	}
}

// A run that comes back allocates its event and nothing else.
func TestRunAllocates(t *testing.T) {
	for _, text := range []string{withWorkspace, noWorkspace} {
		j := newJob(t, openIdle(t), text, "")
		j.run(t)
		if n := testing.AllocsPerRun(1000, func() { j.run(t) }); n > 2 {
			t.Errorf("%s: %v allocations a run", text, n)
		}
	}
}
