//go:build cgo && !noopencl

package opencl

import (
	"fmt"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/gpu/opencl/clshim"
)

// recorded is commands whose kernels have their arguments. OpenCL's command buffers are an extension that few drivers
// have; what costs without them is setting the arguments.
type recorded struct {
	q     *queue
	steps []step
	freed bool
}

// step is a command. A dispatch with work-items has a kernel object of its own, because arguments are state of the object.
type step struct {
	cmd    hal.Command
	kernel *kernel
	raw    uintptr
	global [3]uintptr
}

func (q *queue) Record(cmds []hal.Command) (hal.Recorded, error) {
	if q.timed {
		return nil, invalid("record commands on a timed queue")
	}
	r := &recorded{q: q, steps: make([]step, len(cmds))}
	for i := range cmds {
		if err := q.prepare(&r.steps[i], cmds[i]); err != nil {
			r.Free()
			return nil, err
		}
	}
	return r, nil
}

func (q *queue) prepare(s *step, c hal.Command) (err error) {
	if s.cmd = c; c.Op != hal.Dispatch {
		return nil // it is checked when it is enqueued
	}
	if s.kernel, s.global, err = q.check(&c); err != nil || s.global == ([3]uintptr{}) {
		return err
	}
	s.cmd.Views, s.cmd.Params = nil, nil
	s.kernel.mu.Lock()
	defer s.kernel.mu.Unlock()
	if s.kernel.raw == 0 {
		return fmt.Errorf("opencl: record: kernel %s: %w", s.kernel.name, driver.ErrClosed)
	}
	if s.raw, err = clshim.CopyKernel(s.kernel.raw, s.kernel.entry); err == nil {
		err = clshim.SetArgs(s.raw, q.buffers, c.Params)
	}
	if err != nil {
		return failed("record: kernel "+s.kernel.name, err)
	}
	return nil
}

func (r *recorded) Submit() (hal.Fence, error) {
	if r.freed {
		return nil, fmt.Errorf("opencl: submit: recorded commands: %w", driver.ErrClosed)
	}
	return r.q.submit(len(r.steps), func(i int) (uintptr, error) {
		s := &r.steps[i]
		switch {
		case s.raw != 0:
			return r.q.launch(s.kernel, s.raw, &s.global)
		case s.cmd.Op == hal.Dispatch:
			return r.q.marker()
		}
		return r.q.enqueue(&s.cmd)
	})
}

func (r *recorded) Free() {
	for i := range r.steps {
		if s := &r.steps[i]; s.raw != 0 {
			clshim.ReleaseKernel(s.raw)
			s.raw = 0
		}
	}
	r.freed = true
}
