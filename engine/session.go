package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gonvolve/gonvolve/engine/driver"
)

// session is one opening of a driver's device. Every call of the driver that can fail or block goes through it: so it
// learns that the device is lost, and gives up calls that take longer than the deadline. A session that was replaced is
// closed when the last of what it made is freed.
type session struct {
	spec  string
	d     driver.Device
	limit time.Duration // of a call; 0: none

	mu      sync.Mutex
	lost    error // the first that said so
	hung    bool
	calls   int      // that have not returned
	objects int      // tensors, streams and plans that are not freed
	retired bool     // replaced by another session
	closed  bool     // or about to be
	gone    bool     // closed because it was replaced
	chores  []func() // what a device that hangs has to do when it answers again
	working bool     // on them
}

// failed takes note of errors that say that the device is lost.
func (s *session) failed(err error) error {
	if err != nil && errors.Is(err, ErrDeviceLost) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.lost == nil {
			s.lost = err
		}
	}
	return err
}

// why is nil, or what said that the device is lost.
func (s *session) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

// enter counts a call, unless nothing may be asked of the device any more.
func (s *session) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.hung:
		return s.lost
	case s.gone:
		return fmt.Errorf("%w and was opened again", s.lost)
	}
	s.calls++
	return nil
}

// leave ends a call.
func (s *session) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls--
	s.settle()
}

// call is f, or an error once f took longer than the deadline. What f returns after that goes to undo, if it is not nil.
func call[T any](s *session, what string, f func() (T, error), undo func(T)) (v T, err error) {
	if err := s.enter(); err != nil {
		return v, err
	}
	if s.limit == 0 {
		defer s.leave()
		v, err = f()
		return v, s.failed(err)
	}
	type answer struct {
		v   T
		err error
	}
	answers, late := make(chan answer), make(chan struct{})
	go func() {
		defer s.leave()
		v, err := f()
		select {
		case answers <- answer{v, err}:
		case <-late:
			if err == nil && undo != nil {
				s.chore(func() { undo(v) })
			}
		}
	}()
	timer := time.NewTimer(s.limit)
	defer timer.Stop()
	select {
	case a := <-answers:
		return a.v, s.failed(a.err)
	case <-timer.C:
		err := s.hang(what)
		close(late)
		return v, err
	}
}

// wait is call for what returns nothing and stays no longer than its context.
func (s *session) wait(ctx context.Context, what string, f func(context.Context) error) error {
	if s.limit == 0 {
		return s.failed(f(ctx))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a call that was given up
	_, err := call(s, what, func() (struct{}, error) { return struct{}{}, f(ctx) }, nil)
	return err
}

// hang gives a call up. From here on nothing is asked of the device.
func (s *session) hang(what string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hung = true
	err := fmt.Errorf("%w: %s took longer than %v", ErrDeviceHung, what, s.limit)
	if s.lost == nil || !errors.Is(s.lost, ErrDeviceHung) {
		s.lost = err
	}
	slog.Warn("device hangs", "device", s.spec, "call", what, "deadline", s.limit)
	return err
}

// create is call for something that the device makes, and that is freed by free: until then the session is not closed.
func create[T any](s *session, what string, f func() (T, error), undo func(T) error) (T, error) {
	return call(s, what, func() (T, error) {
		v, err := f()
		if err == nil {
			s.mu.Lock()
			s.objects++
			s.mu.Unlock()
		}
		return v, err
	}, func(late T) { _ = s.free(func() error { return undo(late) }) })
}

// free frees what the device made, now or, if the device hangs, whenever it answers. Of a device that is known to be lost
// no errors are expected but that.
func (s *session) free(f func() error) error {
	known := s.why() != nil
	err := s.do("free", f)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects--
	s.settle()
	if known {
		return nil
	}
	return err
}

// do is call for what must be done in the end, by a device that hangs too.
func (s *session) do(what string, f func() error) error {
	s.mu.Lock()
	hung, lost := s.hung, s.lost
	s.mu.Unlock()
	if hung {
		s.chore(func() { _ = f() }) // that the device is lost is known
		return lost
	}
	_, err := call(s, what, func() (struct{}, error) { return struct{}{}, f() }, nil)
	return err
}

// chore runs f after everything else that waits for the device to answer, in a goroutine that may have to wait forever.
func (s *session) chore(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chores = append(s.chores, f)
	if s.working {
		return
	}
	s.working = true
	go func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for len(s.chores) > 0 {
			next := s.chores[0]
			s.chores = s.chores[1:]
			s.mu.Unlock()
			next()
			s.mu.Lock()
		}
		s.working = false
		s.settle()
	}()
}

// settle closes a session that was replaced once nothing is left of it. The caller holds mu.
func (s *session) settle() {
	if !s.retired || s.closed || s.objects > 0 || s.calls > 0 || s.working {
		return
	}
	s.closed, s.gone = true, true
	shut := func() {
		if err := s.d.Close(); err != nil {
			slog.Debug("closing a lost device", "device", s.spec, "error", err)
		}
	}
	if s.hung {
		go shut()
		return
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	shut()
}

// retire closes the session when nothing is left of it.
func (s *session) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
	s.settle()
}

// close closes the driver's device now, whatever is left of it, or as soon as it answers.
func (s *session) close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	if s.hung {
		defer s.mu.Unlock()
		s.retired, s.objects = true, 0
		s.settle()
		return nil // whoever made it hang was told
	}
	s.closed = true
	lost := s.lost != nil
	s.mu.Unlock()
	err := s.do("close", s.d.Close)
	if lost {
		return nil // and so was whoever lost it
	}
	return err
}
