//go:build cgo && !noopencl

package opencl

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/opencl/clshim"
)

// fence is the events of a submission: one for each command, or a marker's if there are none.
type fence struct {
	queue    *queue // kept alive with the events
	events   []uintptr
	commands int

	once sync.Once
	done chan struct{} // closed when the waiting goroutine, if one was started, is through
	err  error         // what it found
}

// Wait blocks in the driver when ctx cannot end, which is cheapest; otherwise a goroutine does, and Wait watches both.
func (f *fence) Wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(f.events) == 0 {
		return fmt.Errorf("opencl: wait: %w", driver.ErrClosed)
	}
	if ctx.Done() == nil || complete(f.events[len(f.events)-1]) {
		defer runtime.KeepAlive(f)
		return f.failed(waitAll(f.events))
	}
	f.once.Do(func() {
		f.done = make(chan struct{})
		go func() {
			defer close(f.done)
			f.err = f.failed(waitAll(f.events))
		}()
	})
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fence) failed(err error) error {
	if err == nil {
		return nil
	}
	return failed("run", err)
}

func (f *fence) Times() []time.Duration {
	if !f.queue.timed || len(f.events) == 0 {
		return nil
	}
	times := make([]time.Duration, f.commands)
	for i := range times {
		d, err := clshim.Elapsed(f.events[i])
		if err != nil {
			return nil
		}
		times[i] = d
	}
	return times
}

func (f *fence) Free() {
	if len(f.events) == 0 {
		return
	}
	if f.done != nil {
		<-f.done
	} else {
		_ = waitAll(f.events) // whoever wants to know calls Wait
	}
	clshim.ReleaseEvents(f.events)
	f.events = nil
}

// complete tells whether an event is done, well or not. The queue is in order: its last event stands for all.
func complete(event uintptr) bool {
	status, err := clshim.Status(event)
	return err == nil && status <= 0
}

// waitAll waits for the events and returns the code of the first command that failed.
func waitAll(events []uintptr) error {
	err := clshim.Wait(events)
	if err == nil {
		return nil
	}
	for _, e := range events {
		if status, statusErr := clshim.Status(e); statusErr == nil && status < 0 {
			return clshim.Code(status)
		}
	}
	return err
}
