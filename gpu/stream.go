package gpu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
)

const (
	maxInFlight  = 64      // submissions of a stream; one more waits for the oldest
	stagingBytes = 4 << 20 // of one staging slot, at most
	stagingSlots = 3       // so that one is filled while another is copied
)

// stream is a queue of the API, the submissions in flight on it, its staging memory, and what it keeps for plans.
type stream struct {
	dev   *Device
	timed bool
	kept  kept

	mu       sync.Mutex
	queue    hal.Queue
	inFlight []*event // oldest first
	slots    [stagingSlots]slot
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
	turn    chan struct{} // held while waiting, so that a waiter's context counts also for its turn
	fence   hal.Fence
	holds   []*ref
	kernels []bool // which commands are kernels, on a timed stream

	done  atomic.Bool // when the fields below are set
	err   error
	took  time.Duration
	clock bool
}

// doneEvent is the completion of nothing.
func doneEvent() *event {
	e := &event{clock: true}
	e.done.Store(true)
	return e
}

// Wait implements driver.Event.
func (e *event) Wait(ctx context.Context) error {
	if e.done.Load() {
		return e.err
	}
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if e.done.Load() {
		return e.err
	}
	err := e.fence.Wait(ctx)
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return err // still in flight
	}
	e.err = err
	if err == nil && e.kernels != nil {
		if times := e.fence.Times(); len(times) == len(e.kernels) {
			e.clock = true
			for i, t := range times {
				if e.kernels[i] {
					e.took += t
				}
			}
		}
	}
	e.fence.Free()
	dropAll(e.holds)
	e.fence, e.holds = nil, nil
	e.done.Store(true)
	return e.err
}

// DeviceTime implements driver.Event.
func (e *event) DeviceTime() (time.Duration, bool) {
	if !e.done.Load() {
		return 0, false
	}
	return e.took, e.clock
}

// NewStream implements driver.Device.
func (d *Device) NewStream() (driver.Stream, error) {
	s, err := d.newStream(false)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// NewTimedStream implements driver.Timer.
func (d *Device) NewTimedStream() (driver.Stream, error) {
	s, err := d.newStream(true)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (d *Device) newStream(timed bool) (*stream, error) {
	q, err := d.hal.NewQueue(timed)
	if err != nil {
		return nil, err
	}
	s := &stream{dev: d, timed: timed, kept: kept{lists: map[*plan][]*list{}}, queue: q}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.streams[s] = struct{}{}
	return s, nil
}

// drain gives up what streams keep and waits for everything in flight on them.
func (d *Device) drain() {
	all := d.openStreams()
	for _, s := range all {
		s.kept.clear(false)
	}
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
		if err != nil && !s.inFlight[0].done.Load() {
			return err
		}
		if first == nil {
			first = err
		}
		s.inFlight = slices.Delete(s.inFlight, 0, 1)
	}
	return first
}

// admit makes room for one more submission. The caller holds mu.
func (s *stream) admit(ctx context.Context) error {
	if s.closed {
		return fmt.Errorf("%w: stream", driver.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for len(s.inFlight) > 0 {
		oldest := s.inFlight[0]
		told := oldest.done.Load() // to whoever waited for it
		if !told && len(s.inFlight) < maxInFlight {
			break
		}
		err := oldest.Wait(ctx)
		if oldest.done.Load() {
			s.inFlight = slices.Delete(s.inFlight, 0, 1)
		}
		if err != nil && !told {
			return err // a transfer that nobody else waits for must not fail in silence
		}
	}
	return nil
}

// track makes the event of commands that were submitted, and hands it what they hold. The caller holds mu.
func (s *stream) track(fence hal.Fence, cmds []hal.Command, holds []*ref) *event {
	e := &event{turn: make(chan struct{}, 1), fence: fence, holds: holds}
	if s.timed {
		e.kernels = make([]bool, len(cmds))
		for i := range cmds {
			e.kernels[i] = cmds[i].Op == hal.Dispatch
		}
	}
	s.inFlight = append(s.inFlight, e)
	return e
}

// submit starts commands that use the held resources. The caller holds mu.
func (s *stream) submit(ctx context.Context, cmds []hal.Command, holds ...*ref) (*event, error) {
	if err := s.admit(ctx); err != nil {
		return nil, err
	}
	if !holdAll(holds) {
		return nil, fmt.Errorf("%w: an operand", driver.ErrClosed)
	}
	fence, err := s.queue.Submit(cmds)
	if err != nil {
		dropAll(holds)
		return nil, err
	}
	return s.track(fence, cmds, holds), nil
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
		sl, err := s.slot(ctx, int64(len(src)))
		if err != nil {
			return err
		}
		n := copy(sl.mem.Bytes()[:min(len(src), stagingBytes)], src)
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
		sl, err := s.slot(ctx, int64(len(dst)))
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

// slotBytes is the size of a staging slot for a transfer: a power of two, so that it is seldom made larger.
func slotBytes(transfer int64) int64 {
	size := int64(1 << 12)
	for size < min(transfer, stagingBytes) {
		size *= 2
	}
	return size
}

// slot returns the next staging slot, idle, for a transfer of bytes or the beginning of one.
func (s *stream) slot(ctx context.Context, bytes int64) (*slot, error) {
	sl := &s.slots[s.next]
	s.next = (s.next + 1) % len(s.slots)
	if sl.busy != nil {
		if err := sl.busy.Wait(ctx); err != nil {
			return nil, err
		}
	}
	if size := slotBytes(bytes); sl.mem == nil || sl.mem.Size() < size {
		mem, err := s.dev.hal.Alloc(size, hal.StagingMemory)
		if err != nil {
			return nil, fmt.Errorf("staging memory: %w", err)
		}
		if sl.mem != nil {
			sl.mem.Free()
		}
		sl.mem = mem
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
	s.kept.clear(true)
	err := s.drain(context.Background())
	s.closed = true
	for i := range s.slots {
		if m := s.slots[i].mem; m != nil {
			m.Free()
		}
	}
	s.queue.Free()
	s.dev.mu.Lock()
	delete(s.dev.streams, s)
	s.dev.mu.Unlock()
	return err
}
