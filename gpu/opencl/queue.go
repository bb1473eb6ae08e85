//go:build cgo && !noopencl

package opencl

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/gpu/opencl/clshim"
	"github.com/jgillich/go-opencl/cl"
)

// queue is an in-order command queue.
type queue struct {
	dev     *device
	timed   bool
	q       *cl.CommandQueue
	raw     uintptr
	buffers []uintptr // of the dispatch being enqueued
}

func (d *device) NewQueue(timed bool) (hal.Queue, error) {
	timed = timed && d.info.Timestamps
	var properties cl.CommandQueueProperty
	if timed {
		properties = cl.CommandQueueProfilingEnable
	}
	q, err := d.ctx.CreateCommandQueue(d.dev, properties)
	if err != nil {
		return nil, failed("make a queue", err)
	}
	return &queue{dev: d, timed: timed, q: q, raw: handle(q)}, nil
}

func (q *queue) Free() {
	if q.raw == 0 {
		return
	}
	_ = q.q.Finish() // what failed is what its fence says
	q.q.Release()
	q.raw = 0
}

// Submit enqueues the commands, each with an event, and flushes. If one is refused, those before it are waited for,
// so that nothing of a failed submission is in flight.
func (q *queue) Submit(cmds []hal.Command) (hal.Fence, error) {
	return q.submit(len(cmds), func(i int) (uintptr, error) { return q.enqueue(&cmds[i]) })
}

// submit enqueues n commands.
func (q *queue) submit(n int, enqueue func(i int) (event uintptr, err error)) (hal.Fence, error) {
	defer runtime.KeepAlive(q)
	if q.raw == 0 {
		return nil, fmt.Errorf("opencl: submit: %w", driver.ErrClosed)
	}
	events := make([]uintptr, 0, max(n, 1))
	fail := func(err error) (hal.Fence, error) {
		_ = waitAll(events) // the error at hand came first
		clshim.ReleaseEvents(events)
		return nil, err
	}
	for i := range n {
		event, err := enqueue(i)
		if err != nil {
			return fail(err)
		}
		events = append(events, event)
	}
	if n == 0 {
		event, err := clshim.Marker(q.raw)
		if err != nil {
			return nil, failed("submit", err)
		}
		events = append(events, event)
	}
	if err := clshim.Flush(q.raw); err != nil {
		return fail(failed("submit", err))
	}
	return &fence{queue: q, events: events, commands: n}, nil
}

// enqueue enqueues one command. One with nothing to do is a marker, for the sake of its event.
func (q *queue) enqueue(c *hal.Command) (event uintptr, err error) {
	switch c.Op {
	case hal.Dispatch:
		return q.dispatch(c)
	case hal.Copy:
		return q.copy(c)
	case hal.Fill:
		return q.fill(c)
	}
	return 0, invalid("submit: operation %d", c.Op)
}

func (q *queue) dispatch(c *hal.Command) (uintptr, error) {
	k, global, err := q.check(c)
	if err != nil {
		return 0, err
	}
	if global == ([3]uintptr{}) {
		return q.marker()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.raw == 0 {
		return 0, fmt.Errorf("opencl: submit: kernel %s: %w", k.name, driver.ErrClosed)
	}
	err = clshim.SetArgs(k.raw, q.buffers, c.Params)
	if err != nil {
		return 0, failed("submit: kernel "+k.name, err)
	}
	return q.launch(k, k.raw, &global)
}

// launch enqueues a kernel whose arguments are set.
func (q *queue) launch(k *kernel, raw uintptr, global *[3]uintptr) (uintptr, error) {
	event, err := clshim.Launch(q.raw, raw, global, &k.local)
	if err != nil {
		return 0, failed("submit: kernel "+k.name, err)
	}
	return event, nil
}

// check finds a dispatch's kernel and its work-items, all 0 when there are none, and leaves its buffers in q.buffers.
func (q *queue) check(c *hal.Command) (k *kernel, global [3]uintptr, err error) {
	k, ok := c.Kernel.(*kernel)
	if !ok {
		return nil, global, invalid("submit: a kernel of another API (%T)", c.Kernel)
	}
	if len(c.Views) != k.buffers || len(c.Params) != k.paramBytes {
		return nil, global, invalid("submit: kernel %s: %d buffers of %d, %d bytes of parameters of %d",
			k.name, len(c.Views), k.buffers, len(c.Params), k.paramBytes)
	}
	q.buffers = q.buffers[:0]
	for _, v := range c.Views {
		v, ok := v.(*view)
		if !ok || v.mem == 0 {
			return nil, global, invalid("submit: kernel %s: a view that was freed or is another API's", k.name)
		}
		q.buffers = append(q.buffers, v.mem)
	}
	empty := false
	global = k.local
	for d, n := range c.Groups {
		if n < 0 || int64(n) > q.dev.info.MaxGroupCount[d] {
			return nil, global, invalid("submit: kernel %s: %v work-groups, the device's limits are %v",
				k.name, c.Groups, q.dev.info.MaxGroupCount)
		}
		global[d] *= uintptr(n)
		empty = empty || n == 0
	}
	if empty {
		global = [3]uintptr{}
	}
	return k, global, nil
}

func (q *queue) copy(c *hal.Command) (uintptr, error) {
	dst, err := ranged("copy to", c.Dst, c.DstOff, c.Bytes)
	if err != nil {
		return 0, err
	}
	src, err := ranged("copy from", c.Src, c.SrcOff, c.Bytes)
	if err != nil {
		return 0, err
	}
	if c.Bytes == 0 {
		return q.marker()
	}
	defer runtime.KeepAlive(c)
	var event uintptr
	switch {
	case src.kind == hal.StagingMemory && dst.kind == hal.StagingMemory:
		return 0, invalid("submit: copy between two staging memories")
	case src.kind == hal.StagingMemory:
		event, err = clshim.Write(q.raw, handle(dst.buf), c.DstOff, c.Bytes, unsafe.Add(src.host, c.SrcOff))
	case dst.kind == hal.StagingMemory:
		event, err = clshim.Read(q.raw, handle(src.buf), c.SrcOff, c.Bytes, unsafe.Add(dst.host, c.DstOff))
	default:
		event, err = clshim.Copy(q.raw, handle(src.buf), handle(dst.buf), c.SrcOff, c.DstOff, c.Bytes)
	}
	if err != nil {
		return 0, failed(fmt.Sprintf("submit: copy %d bytes", c.Bytes), err)
	}
	return event, nil
}

func (q *queue) fill(c *hal.Command) (uintptr, error) {
	dst, err := ranged("fill", c.Dst, c.DstOff, c.Bytes)
	if err != nil {
		return 0, err
	}
	if dst.kind == hal.StagingMemory {
		return 0, invalid("submit: fill staging memory")
	}
	if c.Bytes == 0 {
		return q.marker()
	}
	defer runtime.KeepAlive(c)
	event, err := clshim.Fill(q.raw, handle(dst.buf), c.DstOff, c.Bytes, c.Value)
	if err != nil {
		return 0, failed(fmt.Sprintf("submit: fill %d bytes", c.Bytes), err)
	}
	return event, nil
}

func (q *queue) marker() (uintptr, error) {
	event, err := clshim.Marker(q.raw)
	if err != nil {
		return 0, failed("submit", err)
	}
	return event, nil
}

// ranged checks that a command stays within its memory, because drivers need not.
func ranged(what string, m hal.Memory, off, bytes int64) (*memory, error) {
	mem, ok := m.(*memory)
	if !ok || mem.buf == nil {
		return nil, invalid("submit: %s memory that was freed or is another API's", what)
	}
	if off < 0 || bytes < 0 || off > mem.size || bytes > mem.size-off || (off|bytes)%4 != 0 {
		return nil, invalid("submit: %s bytes %d to %d of %d, in words of 4", what, off, off+bytes, mem.size)
	}
	return mem, nil
}
