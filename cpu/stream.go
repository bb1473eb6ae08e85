package cpu

import (
	"context"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"github.com/gonvolve/gonvolve/engine/driver"
)

// stream runs its jobs one after the other in a goroutine of its own, which lives while there are jobs.
type stream struct {
	mu      sync.Mutex
	queue   []task
	running bool
	closed  bool
	last    *event // the newest task's
}

type task struct {
	ctx  context.Context
	work func(context.Context) error
	done *event
}

// event is the completion of one task.
type event struct {
	done chan struct{}
	err  error
	took time.Duration
}

// NewStream implements driver.Device.
func (d *Device) NewStream() (driver.Stream, error) {
	if err := d.open(); err != nil {
		return nil, err
	}
	return &stream{}, nil
}

func (s *stream) submit(ctx context.Context, work func(context.Context) error) (*event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("%w: stream", driver.ErrClosed)
	}
	e := &event{done: make(chan struct{})}
	s.queue, s.last = append(s.queue, task{ctx, work, e}), e
	if !s.running {
		s.running = true
		go s.run()
	}
	return e, nil
}

func (s *stream) run() {
	for {
		s.mu.Lock()
		if len(s.queue) == 0 {
			s.running = false
			s.mu.Unlock()
			return
		}
		j := s.queue[0]
		s.queue = s.queue[1:]
		s.mu.Unlock()
		start := time.Now()
		j.done.err = j.work(j.ctx)
		j.done.took = time.Since(start)
		close(j.done.done)
	}
}

func (e *event) Wait(ctx context.Context) error {
	select {
	case <-e.done:
		return e.err
	default:
	}
	select {
	case <-e.done:
		return e.err
	case <-ctx.Done():
		return ctx.Err()
	}
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
	e, err := s.submit(ctx, func(context.Context) error { move(mem); return nil })
	if err != nil {
		return err
	}
	// Not ctx: the caller's memory is in use until the task ran, and it will run soon.
	<-e.done
	return e.err
}

func (s *stream) Write(ctx context.Context, dst driver.Buffer, off int64, src []byte) error {
	return s.transfer(ctx, dst, off, len(src), func(mem []byte) { copy(mem, src) })
}

func (s *stream) Read(ctx context.Context, dst []byte, src driver.Buffer, off int64) error {
	return s.transfer(ctx, src, off, len(dst), func(mem []byte) { copy(dst, mem) })
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
	s.closed = true
	e := s.last
	s.mu.Unlock()
	if e != nil {
		<-e.done
	}
	return nil
}
