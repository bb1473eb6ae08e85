package cpu

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/gonvolve/gonvolve/engine/driver"
)

// stream runs its tasks one after the other. Who waits for one runs it, with those before it, unless somebody does so
// already: that spares two changes of goroutines. What nobody waits for is left to a goroutine of the stream's own, which
// lives from the first task until Close.
type stream struct {
	mu          sync.Mutex
	first, last *event        // tasks that nobody began, linked; last may be done
	running     bool          // somebody runs tasks
	called      bool          // the stream's goroutine is to look for tasks
	call        chan struct{} // what it waits at; nil before the first task
	closed      bool
	slab        []event // to be used
}

// task is what a stream does.
type task interface {
	do(ctx context.Context) error
}

// work is a function as a task.
type work func(context.Context) error

func (w work) do(ctx context.Context) error { return w(ctx) }

// event is a task and its completion.
type event struct {
	s    *stream
	ctx  context.Context
	task task
	next *event
	done atomic.Bool
	err  error
	took time.Duration
	wake chan struct{} // closed when done; nil if nobody sleeps
}

// slabSize is how many events are made at a time. Each lives as long as its slab does, as long as somebody holds one.
const slabSize = 64

// NewStream implements driver.Device.
func (d *Device) NewStream() (driver.Stream, error) {
	if err := d.open(); err != nil {
		return nil, err
	}
	return &stream{}, nil
}

func (s *stream) submit(ctx context.Context, t task) (*event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("%w: stream", driver.ErrClosed)
	}
	if len(s.slab) == 0 {
		s.slab = make([]event, slabSize)
	}
	e := &s.slab[0]
	s.slab = s.slab[1:]
	e.s, e.ctx, e.task = s, ctx, t
	if s.first == nil {
		s.first = e
	} else {
		s.last.next = e
	}
	s.last = e
	s.wakeUp()
	return e, nil
}

// wakeUp has the stream's goroutine look for tasks, unless somebody is at them. The caller holds mu.
func (s *stream) wakeUp() {
	if s.running || s.called {
		return
	}
	s.called = true
	if s.call == nil {
		s.call = make(chan struct{}, 1)
		go s.serve(s.call)
	}
	s.call <- struct{}{} // there is room: nothing is sent between called and its answer
}

func (s *stream) serve(call <-chan struct{}) {
	for range call {
		s.mu.Lock()
		s.called = false
		if !s.running {
			s.run(nil)
		}
		s.mu.Unlock()
	}
}

// run runs tasks until e is done, or all of them. The caller holds mu, which is not held meanwhile.
func (s *stream) run(e *event) {
	s.running = true
	for s.first != nil && (e == nil || !e.done.Load()) {
		t := s.first
		s.first, t.next = t.next, nil
		s.mu.Unlock()
		start := time.Now()
		t.err = t.task.do(t.ctx)
		t.took = time.Since(start)
		t.ctx, t.task = nil, nil
		s.mu.Lock()
		t.done.Store(true)
		if t.wake != nil {
			close(t.wake)
		}
	}
	s.running = false
	if s.first != nil {
		s.wakeUp()
	}
}

func (e *event) Wait(ctx context.Context) error {
	if e.done.Load() {
		return e.err
	}
	s := e.s
	s.mu.Lock()
	if !e.done.Load() && !s.running && s.endsWith(ctx, e) {
		s.run(e)
	}
	if e.done.Load() {
		s.mu.Unlock()
		return e.err
	}
	if e.wake == nil {
		e.wake = make(chan struct{})
	}
	s.mu.Unlock()
	select {
	case <-e.wake:
		return e.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// endsWith says that a context does not end before the tasks up to e end with it. The caller holds mu.
func (s *stream) endsWith(ctx context.Context, e *event) bool {
	end := ctx.Done()
	for t := s.first; end != nil && t != nil; t = t.next {
		if t.ctx.Done() != end {
			return false
		}
		if t == e {
			break
		}
	}
	return true
}

// DeviceTime is the task's own time, without its time in the queue.
func (e *event) DeviceTime() (time.Duration, bool) { return e.took, true }

// bytesOf checks a range of a buffer and returns it.
func bytesOf(b driver.Buffer, off int64, n int) ([]byte, error) {
	own, err := ownBuffer(b, 0)
	if err != nil {
		return nil, err
	}
	size := own.bytes
	if off < 0 || off > size || int64(n) > size-off {
		return nil, fmt.Errorf("%w: %d bytes at %d of a buffer of %d", driver.ErrInvalid, n, off, size)
	}
	if n == 0 {
		return nil, nil
	}
	return view[byte](own, int(size))[off:][:n], nil
}

func (s *stream) transfer(ctx context.Context, b driver.Buffer, off int64, n int, move func([]byte)) error {
	mem, err := bytesOf(b, off, n)
	if err != nil {
		return err
	}
	e, err := s.submit(ctx, work(func(context.Context) error { move(mem); return nil }))
	if err != nil {
		return err
	}
	// Not ctx: the caller's memory is in use until the task ran, and it will run soon.
	return e.Wait(context.Background())
}

// copyPart is the bytes that one processor copies at a time: far more than it copies while another wakes.
const copyPart = 256 << 10

// copyAll is copy by all processors.
func copyAll(dst, src []byte) {
	if len(src) <= 2*copyPart {
		copy(dst, src)
		return
	}
	_ = parallel(context.Background(), (len(src)+copyPart-1)/copyPart, 1, func(i int) {
		copy(dst[i*copyPart:min(len(src), (i+1)*copyPart)], src[i*copyPart:])
	})
}

func (s *stream) Write(ctx context.Context, dst driver.Buffer, off int64, src []byte) error {
	return s.transfer(ctx, dst, off, len(src), func(mem []byte) { copyAll(mem, src) })
}

func (s *stream) Read(ctx context.Context, dst []byte, src driver.Buffer, off int64) error {
	return s.transfer(ctx, src, off, len(dst), func(mem []byte) { copyAll(dst, mem) })
}

func (s *stream) Fill(ctx context.Context, dst driver.Buffer, word uint32) error {
	return s.transfer(ctx, dst, 0, int(dst.Bytes()), func(mem []byte) {
		if len(mem) > 0 {
			words := unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(mem))), len(mem)/4)
			for i := range words {
				words[i] = word
			}
		}
	})
}

func (s *stream) Wait(ctx context.Context) error {
	s.mu.Lock()
	e := s.last
	s.mu.Unlock()
	if e == nil {
		return nil
	}
	return e.Wait(ctx)
}

func (s *stream) Close() error {
	s.mu.Lock()
	closed, e := s.closed, s.last
	s.closed = true
	s.mu.Unlock()
	if e != nil {
		_ = e.Wait(context.Background()) // who submitted the task is told of its error
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !closed && s.call != nil {
		close(s.call)
	}
	return nil
}
