package cpu

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/engine/driver"
)

func TestStreamOrder(t *testing.T) {
	ctx := t.Context()
	s := &stream{}
	var got []int // written by the stream's jobs alone
	var want []int
	for i := range 200 {
		want = append(want, i)
		if _, err := s.submit(ctx, work(func(context.Context) error { got = append(got, i); return nil })); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("jobs ran in the order %v", got)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestStreamConcurrent submits from many goroutines; jobs never overlap.
func TestStreamConcurrent(t *testing.T) {
	ctx := t.Context()
	s := &stream{}
	total := 0 // unguarded: the race detector sees jobs that overlap
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				e, err := s.submit(ctx, work(func(context.Context) error { total++; return nil }))
				if err != nil {
					t.Error(err)
					return
				}
				if err := e.Wait(ctx); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil || total != 400 {
		t.Errorf("%d jobs ran, %v", total, err)
	}
}

func TestStreamCancel(t *testing.T) {
	s := &stream{}
	started, release := make(chan struct{}), make(chan struct{})
	job, cancelJob := context.WithCancel(t.Context())
	e, err := s.submit(job, work(func(ctx context.Context) error {
		close(started)
		<-release
		return ctx.Err()
	}))
	if err != nil {
		t.Fatal(err)
	}
	<-started
	// Waiting can be given up; the job goes on.
	waiting, cancelWait := context.WithCancel(t.Context())
	cancelWait()
	if err := e.Wait(waiting); !errors.Is(err, context.Canceled) {
		t.Errorf("wait with a cancelled context: %v", err)
	}
	if err := s.Wait(waiting); !errors.Is(err, context.Canceled) {
		t.Errorf("wait for the stream with a cancelled context: %v", err)
	}
	// Nothing is submitted with a cancelled context.
	if _, err := s.submit(waiting, work(func(context.Context) error { t.Error("ran"); return nil })); !errors.Is(err, context.Canceled) {
		t.Errorf("submit with a cancelled context: %v", err)
	}
	cancelJob()
	close(release)
	if err := e.Wait(t.Context()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled job: %v", err)
	}
	// One job's failure does not stop the next.
	next, err := s.submit(t.Context(), work(func(context.Context) error { return nil }))
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Wait(t.Context()); err != nil {
		t.Errorf("the job after: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestStreamClose(t *testing.T) {
	ctx := t.Context()
	d := open(t)
	s, err := d.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(ctx); err != nil {
		t.Errorf("wait for nothing: %v", err)
	}
	done := false
	if _, err := s.(*stream).submit(ctx, work(func(context.Context) error { done = true; return nil })); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil || !done {
		t.Errorf("close returned before the work was done, %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	b, err := d.Alloc(8)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Free()
	for name, err := range map[string]error{
		"write": s.Write(ctx, b, 0, make([]byte, 8)),
		"read":  s.Read(ctx, make([]byte, 8), b, 0),
		"fill":  s.Fill(ctx, b, 1),
	} {
		if !errors.Is(err, driver.ErrClosed) {
			t.Errorf("%s after close: %v", name, err)
		}
	}
}

// TestStreamWaits: who waits for a task runs it, unless its context can end before the task does, and a task that nobody
// waits for is run too.
func TestStreamWaits(t *testing.T) {
	s := &stream{}
	ran := make(chan struct{}, 1)
	if _, err := s.submit(t.Context(), work(func(context.Context) error { ran <- struct{}{}; return nil })); err != nil {
		t.Fatal(err)
	}
	<-ran
	// While a task runs, waiting can be given up, also for those behind it.
	release := make(chan struct{})
	first, err := s.submit(t.Context(), work(func(context.Context) error { ran <- struct{}{}; <-release; return nil }))
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.submit(t.Context(), work(func(context.Context) error { return errors.New("told") }))
	if err != nil {
		t.Fatal(err)
	}
	<-ran
	short, cancel := context.WithCancel(t.Context())
	cancel()
	for i, e := range []*event{first, second} {
		if err := e.Wait(short); !errors.Is(err, context.Canceled) {
			t.Errorf("waiting for task %d: %v", i, err)
		}
	}
	close(release)
	if err := second.Wait(context.Background()); err == nil || err.Error() != "told" {
		t.Errorf("the second task: %v", err)
	}
	if !first.done.Load() {
		t.Error("tasks ran out of order")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestStreamsLeaveNothing: a closed stream's goroutine ends.
func TestStreamsLeaveNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	d := open(t)
	for range 20 {
		s, err := d.NewStream()
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := s.(*stream).submit(t.Context(), work(func(context.Context) error { return nil })); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	for wait := 0; runtime.NumGoroutine() > before && wait < 1000; wait++ {
		time.Sleep(time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines before, %d after", before, n)
	}
}

// TestCopiesOfAnySize writes and reads what is copied in parts: whole ones, with a rest, and less than one.
func TestCopiesOfAnySize(t *testing.T) {
	d := open(t)
	s, err := d.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const room, off = 4 * copyPart, 12
	b, err := d.Alloc(room)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Free()
	for _, n := range []int{0, 1, copyPart, 2 * copyPart, 2*copyPart + 1, 3 * copyPart, 3*copyPart + 5, room - off} {
		if err := s.Fill(t.Context(), b, 0xabababab); err != nil {
			t.Fatal(err)
		}
		want := make([]byte, n)
		for i := range want {
			want[i] = byte(i*7 + i>>8 + i>>16)
		}
		if err := s.Write(t.Context(), b, off, want); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, room)
		if err := s.Read(t.Context(), got, b, 0); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[off:off+n], want) {
			t.Errorf("%d bytes at %d came back as others", n, off)
		}
		rest := append(got[:off:off], got[off+n:]...)
		if len(bytes.Trim(rest, "\xab")) > 0 {
			t.Errorf("%d bytes at %d: others were written, too", n, off)
		}
	}
}
