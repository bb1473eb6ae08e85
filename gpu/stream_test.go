package gpu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/gpu/hal"
)

func isUnsupported(err error) bool { return errors.Is(err, driver.ErrUnsupported) }

// runOnce plans, packs and runs a problem, and frees everything whatever happens.
func runOnce(ctx context.Context, d *Device, s driver.Stream, p problem.Problem, alg string) error {
	return runTimes(ctx, d, s, p, alg, 1)
}

// runTimes runs so many times.
func runTimes(ctx context.Context, d *Device, s driver.Stream, p problem.Problem, alg string, times int) error {
	pl, err := d.Plan(ctx, p, driver.PlanOptions{Algorithm: alg})
	if err != nil {
		return err
	}
	defer pl.Close()
	var given driver.Buffers
	for _, r := range slices.Concat(p.Constants(), p.Inputs(), p.Outputs()) {
		if given[r], err = d.Alloc(bufferBytes(&p, r)); err != nil {
			return err
		}
		defer given[r].Free()
		if err := s.Fill(ctx, given[r], 0); err != nil {
			return err
		}
	}
	args := driver.Args{Buffers: given}
	if len(p.Constants()) > 0 {
		w, e, err := pl.Pack(ctx, s, given)
		if err != nil {
			return err
		}
		defer w.Free()
		if err := e.Wait(ctx); err != nil {
			return err
		}
		args.Weights = w
	}
	for range times {
		e, err := pl.Run(ctx, s, args)
		if err != nil {
			return err
		}
		if err := e.Wait(ctx); err != nil {
			return err
		}
	}
	for _, r := range p.Outputs() {
		if err := s.Read(ctx, make([]byte, given[r].Bytes()), given[r], 0); err != nil {
			return err
		}
	}
	return nil
}

// Staging memory is as large as transfers need it, and as StagingBytes says.
func TestStagingGrowsWithTransfers(t *testing.T) {
	f := newFake()
	f.info.Unified = true
	if n := f.open(t).StagingBytes(1 << 30); n != 0 {
		t.Errorf("%d bytes where host and device share memory", n)
	}
	f = newFake()
	f.info.Unified = false
	d := f.open(t)
	s, err := d.newStream(false)
	if err != nil {
		t.Fatal(err)
	}
	const most = 2*stagingSlots*stagingBytes + 40
	b, err := d.newBuffer(most)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int64{4, 4 << 10, 4<<10 + 4, 1 << 20, 8, most} {
		for range stagingSlots {
			if err := s.Write(t.Context(), b, 0, make([]byte, n)); err != nil {
				t.Fatal(err)
			}
		}
		took := int64(0)
		for _, sl := range s.slots {
			took += sl.mem.Size()
		}
		if n > 8 && took != d.StagingBytes(n) || took > stagingSlots*stagingBytes {
			t.Errorf("a transfer of %d bytes takes %d, StagingBytes is %d", n, took, d.StagingBytes(n))
		}
	}
	b.Free()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// What goes up comes down, in place and through the staging ring, whose slots are used many times.
func TestTransfers(t *testing.T) {
	for _, unified := range []bool{true, false} {
		f := newFake()
		f.info.Unified = unified
		d := f.open(t)
		s, err := d.NewStream()
		if err != nil {
			t.Fatal(err)
		}
		const size = 2*stagingSlots*stagingBytes + 40
		b, err := d.Alloc(size)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Free()
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i * 7 >> 3)
		}
		f.copied = nil
		for _, r := range [][2]int{{0, size}, {4, size - 8}, {stagingBytes - 4, 8}, {size - 4, 4}, {size, 0}} {
			if err := s.Fill(t.Context(), b, 0x5a5a5a5a); err != nil {
				t.Fatal(err)
			}
			if err := s.Write(t.Context(), b, int64(r[0]), data[:r[1]]); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, size)
			if err := s.Read(t.Context(), got, b, 0); err != nil {
				t.Fatal(err)
			}
			want := bytes.Repeat([]byte{0x5a}, size)
			copy(want[r[0]:], data[:r[1]])
			if !bytes.Equal(got, want) {
				t.Errorf("unified %t: %d bytes at %d come back otherwise", unified, r[1], r[0])
			}
			part := make([]byte, r[1])
			if err := s.Read(t.Context(), part, b, int64(r[0])); err != nil || !bytes.Equal(part, data[:r[1]]) {
				t.Errorf("unified %t: part of %d bytes at %d comes back otherwise: %v", unified, r[1], r[0], err)
			}
		}
		if unified != (len(f.copied) == 0) {
			t.Errorf("unified %t: %d copies", unified, len(f.copied))
		}
		for _, r := range [][2]int64{{-4, 8}, {2, 4}, {0, 3}, {size, 4}, {1 << 62, 4}} {
			if err := s.Write(t.Context(), b, r[0], make([]byte, r[1])); !errors.Is(err, driver.ErrInvalid) {
				t.Errorf("write of %d at %d: %v", r[1], r[0], err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := errors.Join(s.Close(), s.Wait(t.Context())); err != nil { // nothing is left to close or wait for
			t.Error(err)
		}
		if err := s.Fill(t.Context(), b, 1); !errors.Is(err, driver.ErrClosed) {
			t.Errorf("closed stream: %v", err)
		}
	}
}

// Memory that a submission uses is not given to others before it is done, though its owner let go of it.
func TestFreeInFlight(t *testing.T) {
	f := newFake()
	d := f.open(t)
	s, err := d.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.Alloc(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	at := a.(*buffer).at
	if err := s.Fill(t.Context(), a, 1); err != nil {
		t.Fatal(err)
	}
	a.Free()
	b, err := d.Alloc(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	overlap(t, []region{at, b.(*buffer).at}, 64)
	if used, _ := d.MemoryInUse(); used != 2<<20 {
		t.Errorf("%d bytes in use", used)
	}
	if err := s.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if used, _ := d.MemoryInUse(); used != 1<<20 {
		t.Errorf("%d bytes in use after the wait", used)
	}
	b.Free()
	// More submissions than are kept in flight, of memory that is all taken: what is done is given back when needed.
	f.info.MemoryBytes = 64 << 20
	for i := range 2*maxInFlight + 3 {
		b, err := d.Alloc(16 << 20)
		if err != nil {
			t.Fatalf("buffer %d: %v", i, err)
		}
		if err := s.Fill(t.Context(), b, uint32(i)); err != nil {
			t.Fatal(err)
		}
		b.Free()
	}
}

func TestRef(t *testing.T) {
	freed := 0
	r := newRef(func() { freed++ })
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				if !r.hold() {
					t.Error("a live resource cannot be held")
				}
				r.drop()
			}
		})
	}
	all.Wait()
	if freed != 0 {
		t.Error("freed while its owner holds it")
	}
	if r.drop(); freed != 1 || r.hold() {
		t.Errorf("freed %d times, and held after that", freed)
	}
}

// A context that ended stops waiting, not the work.
func TestCancelledWait(t *testing.T) {
	d := newFake().open(t)
	s, err := d.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	b, err := d.Alloc(64)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Free()
	if err := s.Fill(t.Context(), b, 3); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Wait(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("wait: %v", err)
	}
	if err := s.Fill(ended, b, 4); !errors.Is(err, context.Canceled) {
		t.Errorf("submit: %v", err)
	}
	got := make([]byte, 4)
	if err := s.Read(t.Context(), got, b, 0); err != nil || got[0] != 3 {
		t.Errorf("%v, %v", got, err)
	}
}

// Close closes streams and tells of buffers that nobody freed.
func TestCloseTells(t *testing.T) {
	f := newFake()
	d, err := NewDriver(f).Open(t.Context(), 0, driver.Options{NoCache: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.NewStream(); err != nil {
		t.Fatal(err)
	}
	b, err := d.Alloc(100)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err == nil {
		t.Errorf("a buffer of %d bytes is not missed", b.Bytes())
	}
	if f.live["queues"] != 0 || f.live["blocks"] != 0 || f.live["devices"] != 0 {
		t.Errorf("left: %v", f.live)
	}
}

// Foreign and missing operands are refused.
func TestForeignOperands(t *testing.T) {
	d, other := newFake().open(t), newFake().open(t)
	s, err := d.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	p, err := problem.Parse("pool:max:mb1ic1ih4oh2kh2sh2")
	if err != nil {
		t.Fatal(err)
	}
	pl, err := d.Plan(t.Context(), p, driver.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer pl.Close()
	own, err := d.Alloc(64)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Free()
	foreign, err := other.Alloc(64)
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Free()
	otherStream, err := other.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	args := func(src, dst driver.Buffer) driver.Args {
		return driver.Args{Buffers: driver.Buffers{problem.Src: src, problem.Dst: dst}}
	}
	for name, run := range map[string]func() error{
		"foreign source": func() error { _, err := pl.Run(t.Context(), s, args(foreign, own)); return err },
		"no result":      func() error { _, err := pl.Run(t.Context(), s, args(own, nil)); return err },
		"foreign stream": func() error { _, err := pl.Run(t.Context(), otherStream, args(own, own)); return err },
		"weights":        func() error { _, _, err := pl.Pack(t.Context(), s, driver.Buffers{problem.Wei: own}); return err },
		"transfer":       func() error { return s.Fill(t.Context(), foreign, 1) },
	} {
		if err := run(); !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whichever call of the API fails, once or from then on: the error reaches the caller, nothing leaks, Close works.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		why     error
		unified bool
		sticky  bool
	}{
		{driver.ErrOutOfMemory, true, false}, {driver.ErrOutOfMemory, false, true},
		{driver.ErrDeviceLost, true, true}, {driver.ErrDeviceLost, false, false}, {driver.ErrDeviceLost, false, true},
	} {
		for _, text := range []string{"mb1ic3ih9oc5oh9kh3ph1", "pool:max:mb2ic3ih7oh4kh3sh2ph1"} {
			p, err := problem.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			p.Bias = p.Op == problem.Conv
			for at := 1; ; at++ {
				name := fmt.Sprintf("%s, call %d %v (%+v)", text, at, c.why, c)
				calls, failed := 0, ""
				f := newFake()
				f.info.GLSL, f.info.ShuffleLanes, f.info.Unified = true, 32, c.unified
				f.fail = func(call string) error {
					if calls++; calls == at || c.sticky && calls > at {
						if failed == "" {
							failed = call
						}
						return c.why
					}
					return nil
				}
				err := func() (err error) {
					d, err := NewDriver(f).Open(t.Context(), 0, driver.Options{NoCache: true})
					if err != nil {
						return err
					}
					defer func() { err = errors.Join(err, d.Close()) }()
					s, err := d.NewStream()
					if err != nil {
						return err
					}
					for _, alg := range d.Algorithms(p) {
						if err := runTimes(t.Context(), d.(*Device), s, p, alg, 2); err != nil { // the second is recorded
							return err
						}
					}
					return nil
				}()
				// A block that cannot be had now is asked for again, smaller.
				retried := failed == "Alloc" && !c.sticky && c.why != nil
				if failed != "" && !errors.Is(err, c.why) && !retried {
					t.Errorf("%s failed: %v", name+" "+failed, err)
				}
				if f.finished(t); t.Failed() {
					t.Fatalf("%s, %s: %v", name, failed, err)
				}
				if failed == "" {
					if err != nil || at < 20 {
						t.Errorf("%s: after %d calls: %v", name, calls, err)
					}
					break
				}
			}
		}
	}
}

var _ hal.API = (*fake)(nil)
