package gpu

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
)

const (
	maxInFlight  = 64      // submissions of a stream; one more waits for the oldest
	stagingBytes = 4 << 20 // of one staging slot
	stagingSlots = 3       // so that one is filled while another is copied
)

// stream is a queue of the API, the submissions in flight on it, and its staging memory.
type stream struct {
	dev *Device

	mu       sync.Mutex
	queue    hal.Queue
	inFlight []*event // oldest first
	slots    []slot
	next     int
	closed   bool
}

// slot is a piece of staging memory and the last submission that used it.
type slot struct {
	mem  hal.Memory
	busy *event
}

// event is the completion of one submission. It keeps what the submission uses alive until then.
type event struct {
	lock  chan struct{} // held while waiting, so that a waiter's context counts also for its turn
	done  chan struct{} // closed when the fields below are set
	fence hal.Fence
	holds []*ref
	timed []bool // which commands are kernels

	err   error
	took  time.Duration
	clock bool
}

// doneEvent is the completion of nothing.
func doneEvent() *event {
	e := &event{done: make(chan struct{}), clock: true}
	close(e.done)
	return e
}

func (e *event) finished() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// Wait implements driver.Event.
func (e *event) Wait(ctx context.Context) error {
	if e.finished() {
		return e.err
	}
	select {
	case e.lock <- struct{}{}:
		defer func() { <-e.lock }()
	case <-e.done:
		return e.err
	case <-ctx.Done():
		return ctx.Err()
	}
	if e.finished() {
		return e.err
	}
	err := e.fence.Wait(ctx)
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return err // still in flight
	}
	e.err = err
	if times := e.fence.Times(); err == nil && len(times) == len(e.timed) {
		e.clock = true
		for i, t := range times {
			if e.timed[i] {
				e.took += t
			}
		}
	}
	e.fence.Free()
	for _, r := range e.holds {
		r.drop()
	}
	e.holds = nil
	close(e.done)
	return e.err
}

// DeviceTime implements driver.Event.
func (e *event) DeviceTime() (time.Duration, bool) {
	if !e.finished() {
		return 0, false
	}
	return e.took, e.clock
}

// NewStream implements driver.Device.
func (d *Device) NewStream() (driver.Stream, error) {
	s, err := d.newStream()
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (d *Device) newStream() (*stream, error) {
	q, err := d.hal.NewQueue()
	if err != nil {
		return nil, err
	}
	s := &stream{dev: d, queue: q}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.streams[s] = struct{}{}
	return s, nil
}

// drain waits for everything in flight on all streams.
func (d *Device) drain() {
	d.mu.Lock()
	all := make([]*stream, 0, len(d.streams))
	for s := range d.streams {
		all = append(all, s)
	}
	d.mu.Unlock()
	for _, s := range all {
		s.mu.Lock()
		s.drain(context.Background())
		s.mu.Unlock()
	}
}

// drain waits for everything in flight. The caller holds mu.
func (s *stream) drain(ctx context.Context) error {
	var first error
	for len(s.inFlight) > 0 {
		err := s.inFlight[0].Wait(ctx)
		if err != nil && !s.inFlight[0].finished() {
			return err
		}
		if first == nil {
			first = err
		}
		s.inFlight = s.inFlight[1:]
	}
	return first
}

// submit starts commands that use the held resources. The caller holds mu.
func (s *stream) submit(ctx context.Context, cmds []hal.Command, holds ...*ref) (*event, error) {
	if s.closed {
		return nil, fmt.Errorf("%w: stream", driver.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for len(s.inFlight) > 0 {
		oldest := s.inFlight[0]
		told := oldest.finished() // to whoever waited for it
		if !told && len(s.inFlight) < maxInFlight {
			break
		}
		err := oldest.Wait(ctx)
		if oldest.finished() {
			s.inFlight = s.inFlight[1:]
		}
		if err != nil && !told {
			return nil, err // a transfer that nobody else waits for must not fail in silence
		}
	}
	for i, r := range holds {
		if !r.hold() {
			for _, taken := range holds[:i] {
				taken.drop()
			}
			return nil, fmt.Errorf("%w: an operand", driver.ErrClosed)
		}
	}
	fence, err := s.queue.Submit(cmds)
	if err != nil {
		for _, r := range holds {
			r.drop()
		}
		return nil, err
	}
	e := &event{lock: make(chan struct{}, 1), done: make(chan struct{}), fence: fence, holds: holds, timed: make([]bool, len(cmds))}
	for i := range cmds {
		e.timed[i] = cmds[i].Op == hal.Dispatch
	}
	s.inFlight = append(s.inFlight, e)
	return e, nil
}

// run is submit for callers that do not hold mu.
func (s *stream) run(ctx context.Context, cmds []hal.Command, holds ...*ref) (*event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(cmds) == 0 {
		return doneEvent(), nil
	}
	return s.submit(ctx, cmds, holds...)
}

// rangeOf checks a transfer.
func (s *stream) rangeOf(b driver.Buffer, off int64, n int) (*buffer, error) {
	own, err := s.dev.own("buffer", b, 0)
	if err != nil {
		return nil, err
	}
	if off < 0 || off > own.bytes || int64(n) > own.bytes-off || off%4 != 0 || n%4 != 0 {
		return nil, fmt.Errorf("%w: %d bytes at %d of a buffer of %d (whole words only)", driver.ErrInvalid, n, off, own.bytes)
	}
	if s.closed {
		return nil, fmt.Errorf("%w: stream", driver.ErrClosed)
	}
	return own, nil
}

// Write implements driver.Stream.
func (s *stream) Write(ctx context.Context, dst driver.Buffer, off int64, src []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.rangeOf(dst, off, len(src))
	if err != nil {
		return err
	}
	if mem := b.at.block.mem.Bytes(); mem != nil {
		if err := s.drain(ctx); err != nil {
			return err
		}
		copy(mem[b.at.off+off:][:len(src)], src)
		return nil
	}
	for len(src) > 0 {
		sl, err := s.slot(ctx)
		if err != nil {
			return err
		}
		n := copy(sl.mem.Bytes(), src)
		sl.busy, err = s.submit(ctx, []hal.Command{{
			Op: hal.Copy, Dst: b.at.block.mem, DstOff: b.at.off + off, Src: sl.mem, Bytes: int64(n),
		}}, b.ref)
		if err != nil {
			return err
		}
		src, off = src[n:], off+int64(n)
	}
	return nil
}

// Read implements driver.Stream.
func (s *stream) Read(ctx context.Context, dst []byte, src driver.Buffer, off int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.rangeOf(src, off, len(dst))
	if err != nil {
		return err
	}
	if mem := b.at.block.mem.Bytes(); mem != nil {
		if err := s.drain(ctx); err != nil {
			return err
		}
		copy(dst, mem[b.at.off+off:])
		return nil
	}
	// As many copies are in flight as there are slots; each is emptied in its turn.
	type part struct {
		slot *slot
		to   []byte
	}
	var waiting []part
	empty := func() error {
		p := waiting[0]
		waiting = waiting[1:]
		if err := p.slot.busy.Wait(ctx); err != nil {
			return err
		}
		copy(p.to, p.slot.mem.Bytes())
		return nil
	}
	for len(dst) > 0 {
		if len(waiting) == stagingSlots {
			if err := empty(); err != nil {
				return err
			}
		}
		sl, err := s.slot(ctx)
		if err != nil {
			return err
		}
		n := min(len(dst), stagingBytes)
		sl.busy, err = s.submit(ctx, []hal.Command{{
			Op: hal.Copy, Dst: sl.mem, Src: b.at.block.mem, SrcOff: b.at.off + off, Bytes: int64(n),
		}}, b.ref)
		if err != nil {
			return err
		}
		waiting = append(waiting, part{sl, dst[:n]})
		dst, off = dst[n:], off+int64(n)
	}
	for len(waiting) > 0 {
		if err := empty(); err != nil {
			return err
		}
	}
	return nil
}

// slot returns the next staging slot, idle.
func (s *stream) slot(ctx context.Context) (*slot, error) {
	if s.slots == nil {
		slots := make([]slot, stagingSlots)
		for i := range slots {
			mem, err := s.dev.hal.Alloc(stagingBytes, hal.StagingMemory)
			if err != nil {
				for _, sl := range slots[:i] {
					sl.mem.Free()
				}
				return nil, fmt.Errorf("staging memory: %w", err)
			}
			slots[i].mem = mem
		}
		s.slots = slots
	}
	sl := &s.slots[s.next]
	s.next = (s.next + 1) % len(s.slots)
	if sl.busy != nil {
		if err := sl.busy.Wait(ctx); err != nil {
			return nil, err
		}
	}
	return sl, nil
}

// Fill implements driver.Stream.
func (s *stream) Fill(ctx context.Context, dst driver.Buffer, word uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.rangeOf(dst, 0, 0)
	if err != nil || b.bytes == 0 {
		return err
	}
	_, err = s.submit(ctx, []hal.Command{{Op: hal.Fill, Dst: b.at.block.mem, DstOff: b.at.off, Bytes: b.bytes, Value: word}}, b.ref)
	return err
}

// Wait implements driver.Stream.
func (s *stream) Wait(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drain(ctx)
}

// Close implements driver.Stream.
func (s *stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	err := s.drain(context.Background())
	s.closed = true
	for _, sl := range s.slots {
		sl.mem.Free()
	}
	s.queue.Free()
	s.dev.mu.Lock()
	delete(s.dev.streams, s)
	s.dev.mu.Unlock()
	return err
}
