//go:build cgo && !novulkan

package vulkan

import (
	"sync"
	"sync/atomic"

	vk "github.com/vulkan-go/vulkan"

	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/gpu/vulkan/vkshim"
)

// queue records submissions for one of the device's VkQueues. It owns the frames and VkFences that they use.
//
// A queue that is not timed begins on a lane for transfers, where the device has them, and moves to that for kernels, for
// good, with its first kernel, which waits for the transfers.
type queue struct {
	d        *device
	timed    bool
	transfer bool                 // has not moved yet
	lane     *lane                // nil before the first transfer
	reached  vkshim.Point         // by the last transfer of a queue that has not moved, or has and submitted nothing since
	ranges   []vkshim.BufferRange // scratch

	mu      sync.Mutex // guards what follows: fences are freed by whoever holds them
	family  uint32     // that frames have to be for
	idle    []*frame
	signals []uint64 // VkFences, idle too
	running map[*fence]struct{}
	freed   bool
}

func (d *device) NewQueue(timed bool) (hal.Queue, error) {
	q := &queue{d: d, timed: timed && d.info.Timestamps, running: map[*fence]struct{}{}}
	q.lane, q.family = d.work, d.work.family
	if q.transfer = !q.timed && d.transfers.open(); q.transfer {
		q.lane, q.family = nil, d.transfers.all[0].family
	}
	f, err := d.newFrame(q.family) // a queue that cannot submit should not come to be
	if err != nil {
		return nil, err
	}
	q.idle = []*frame{f}
	return q, nil
}

func (q *queue) Submit(cmds []hal.Command) (hal.Fence, error) {
	f, err := q.ready(cmds, true)
	if err != nil {
		return nil, err
	}
	out, err := q.start(f)
	if err != nil {
		q.put(f, 0)
		return nil, err
	}
	out.own = f
	return out, nil
}

// recorded is a frame with commands that are submitted again and again.
type recorded struct {
	q     *queue
	f     *frame
	freed atomic.Bool
}

func (q *queue) Record(cmds []hal.Command) (hal.Recorded, error) {
	if q.timed {
		return nil, invalid("record commands on a timed queue: submissions in flight would share their timestamps")
	}
	f, err := q.ready(cmds, false)
	if err != nil {
		return nil, err
	}
	return &recorded{q: q, f: f}, nil
}

func (r *recorded) Submit() (hal.Fence, error) {
	if r.freed.Load() {
		return nil, closed("submit")
	}
	return r.q.start(r.f)
}

func (r *recorded) Free() {
	if !r.freed.Swap(true) {
		r.q.put(r.f, 0)
	}
}

// ready records commands into a frame, to be submitted once or many times.
func (q *queue) ready(cmds []hal.Command, once bool) (*frame, error) {
	sets, buffers := 0, 0
	for i := range cmds {
		if err := q.d.checkCommand(&cmds[i]); err != nil {
			return nil, err
		}
		if cmds[i].Op == hal.Dispatch {
			sets++
			buffers += len(cmds[i].Views)
		}
	}
	queries := 0
	if q.timed {
		queries = len(cmds) + 1
	}
	if sets > 0 || !once { // recorded commands are submitted before and after whatever else comes
		q.move()
	}
	f, err := q.take()
	if err != nil {
		return nil, err
	}
	if err = f.grow(sets, buffers, queries); err == nil {
		err = q.record(f, cmds, queries, once)
	}
	if err != nil {
		q.put(f, 0)
		return nil, err
	}
	return f, nil
}

// move goes from the lane for transfers to that for kernels.
func (q *queue) move() {
	if !q.transfer {
		return
	}
	q.leave()
	q.transfer, q.lane = false, q.d.work
	var others []*frame
	q.mu.Lock()
	if q.family != q.lane.family {
		q.family = q.lane.family
		q.idle, others = nil, q.idle
	}
	q.mu.Unlock()
	for _, f := range others {
		f.destroy()
	}
}

// leave makes room on the lane for transfers.
func (q *queue) leave() {
	if q.transfer && q.lane != nil {
		q.d.transfers.leave(q.lane)
	}
}

// start submits a frame's commands.
func (q *queue) start(f *frame) (*fence, error) {
	signal, err := q.signal()
	if err != nil {
		return nil, err
	}
	if q.lane == nil {
		q.lane = q.d.transfers.take()
	}
	var after vkshim.Point
	if !q.transfer {
		after = q.reached
	}
	reach, err := q.lane.submit(f.cmds, signal, after)
	if err != nil {
		q.put(nil, signal)
		return nil, err
	}
	q.reached = vkshim.Point{}
	if q.transfer {
		q.reached = reach
	}
	out := &fence{q: q, number: signal}
	q.mu.Lock()
	q.running[out] = struct{}{}
	q.mu.Unlock()
	return out, nil
}

// record puts the commands into the frame's command buffer. Timestamp i is written when command i-1 is done and
// command i has not begun, which the barrier between them sees to. They are not free everywhere: llvmpipe draws an
// empty scene for each (20 µs, measured with Mesa 22.3), where a command without takes 1 µs.
func (q *queue) record(f *frame, cmds []hal.Command, queries int, once bool) error {
	c := f.cmds
	f.used = queries
	stamp := func(i int) {
		if queries > 0 {
			c.Timestamp(number(f.queries), i)
		}
	}
	if err := check("begin a command buffer", c.Begin(number(f.sets), number(f.pool), number(f.queries), queries, once)); err != nil {
		return err
	}
	c.Barrier(q.transfer) // for what was submitted before
	stamp(0)
	for i := range cmds {
		if i > 0 {
			c.Barrier(q.transfer)
		}
		if err := q.command(f, &cmds[i]); err != nil {
			return err
		}
		stamp(i + 1)
	}
	c.HostBarrier(q.transfer)
	return check("end a command buffer", c.End())
}

func (q *queue) command(f *frame, cmd *hal.Command) error {
	switch cmd.Op {
	case hal.Dispatch:
		k := cmd.Kernel.(*kernel)
		q.ranges = q.ranges[:0]
		for _, v := range cmd.Views {
			v := v.(*view)
			q.ranges = append(q.ranges, vkshim.BufferRange{Buffer: number(v.m.buffer), Offset: uint64(v.off), Bytes: uint64(v.bytes)})
		}
		set, r := q.d.fn.StorageSet(number(f.sets), k.set, q.ranges)
		if err := check("make a descriptor set", r); err != nil {
			return err
		}
		f.cmds.Dispatch(k.pipeline, k.layout, set, cmd.Params, cmd.Groups)
	case hal.Copy:
		if cmd.Bytes > 0 {
			dst, src := cmd.Dst.(*memory), cmd.Src.(*memory)
			f.cmds.Copy(number(src.buffer), number(dst.buffer), uint64(cmd.SrcOff), uint64(cmd.DstOff), uint64(cmd.Bytes))
		}
	case hal.Fill:
		if cmd.Bytes > 0 {
			f.cmds.Fill(number(cmd.Dst.(*memory).buffer), uint64(cmd.DstOff), uint64(cmd.Bytes), cmd.Value)
		}
	}
	return nil
}

// take returns an idle frame, or a new one when all are at work.
func (q *queue) take() (*frame, error) {
	q.mu.Lock()
	if q.freed {
		q.mu.Unlock()
		return nil, closed("submit")
	}
	if n := len(q.idle); n > 0 {
		f := q.idle[n-1]
		q.idle = q.idle[:n-1]
		q.mu.Unlock()
		return f, nil
	}
	family := q.family
	q.mu.Unlock()
	return q.d.newFrame(family)
}

// signal returns an idle VkFence, or a new one when all are at work.
func (q *queue) signal() (uint64, error) {
	q.mu.Lock()
	if q.freed {
		q.mu.Unlock()
		return 0, closed("submit")
	}
	if n := len(q.signals); n > 0 {
		s := q.signals[n-1]
		q.signals = q.signals[:n-1]
		q.mu.Unlock()
		return s, nil
	}
	q.mu.Unlock()
	info := vk.FenceCreateInfo{SType: vk.StructureTypeFenceCreateInfo}
	defer info.Free()
	var s vk.Fence
	err := checkVK("make a fence", vk.CreateFence(q.d.handle, &info, nil, &s))
	return number(s), err
}

// put takes a frame and a VkFence back; either may be null. Fences and recorded commands may outlive their queue: what is
// theirs goes with them then.
func (q *queue) put(f *frame, s uint64) {
	q.mu.Lock()
	if !q.freed && f != nil && f.family == q.family {
		q.idle, f = append(q.idle, f), nil
	}
	if !q.freed && s != 0 {
		q.signals, s = append(q.signals, s), 0
	}
	q.mu.Unlock()
	if f != nil {
		f.destroy()
	}
	vk.DestroyFence(q.d.handle, handle[vk.Fence](s), nil)
}

func (q *queue) Free() {
	q.mu.Lock()
	idle, signals, freed := q.idle, q.signals, q.freed
	q.idle, q.signals, q.freed = nil, nil, true
	running := make([]*fence, 0, len(q.running))
	for f := range q.running {
		running = append(running, f)
	}
	q.mu.Unlock()
	if freed {
		return
	}
	q.leave()
	for _, f := range running {
		f.finish()
	}
	for _, f := range idle {
		f.destroy()
	}
	for _, s := range signals {
		vk.DestroyFence(q.d.handle, handle[vk.Fence](s), nil)
	}
}

// checkCommand finds what Vulkan would take for undefined behaviour.
func (d *device) checkCommand(c *hal.Command) error {
	switch c.Op {
	case hal.Dispatch:
		return d.checkDispatch(c)
	case hal.Copy:
		dst, err := d.checkRange("copy to", c.Dst, c.DstOff, c.Bytes)
		if err != nil {
			return err
		}
		src, err := d.checkRange("copy from", c.Src, c.SrcOff, c.Bytes)
		if err != nil {
			return err
		}
		if dst == src && c.DstOff < c.SrcOff+c.Bytes && c.SrcOff < c.DstOff+c.Bytes && c.Bytes > 0 {
			return invalid("copy %d bytes from %d to %d of the same memory: they overlap", c.Bytes, c.SrcOff, c.DstOff)
		}
		return nil
	case hal.Fill:
		_, err := d.checkRange("fill", c.Dst, c.DstOff, c.Bytes)
		return err
	}
	return invalid("command %d", c.Op)
}

func (d *device) checkDispatch(c *hal.Command) error {
	k, ok := c.Kernel.(*kernel)
	switch {
	case !ok || k.d != d:
		return invalid("dispatch of another device's kernel")
	case k.freed.Load():
		return closed("dispatch " + k.name)
	case len(c.Views) != k.buffers:
		return invalid("dispatch %s with %d buffers, not %d", k.name, len(c.Views), k.buffers)
	case len(c.Params) != k.paramBytes:
		return invalid("dispatch %s with %d bytes of parameters, not %d", k.name, len(c.Params), k.paramBytes)
	}
	for i, n := range c.Groups {
		if n < 0 {
			return invalid("dispatch %s over %v work-groups", k.name, c.Groups)
		}
		if int64(n) > d.info.MaxGroupCount[i] {
			return unsupported("dispatch %s over %v work-groups: the device's limit is %v", k.name, c.Groups, d.info.MaxGroupCount)
		}
	}
	for i, v := range c.Views {
		v, ok := v.(*view)
		if !ok || v.m.d != d {
			return invalid("dispatch %s: buffer %d is another device's", k.name, i)
		}
		if v.m.freed.Load() {
			return closed("dispatch " + k.name)
		}
	}
	return nil
}

func (d *device) checkRange(doing string, m hal.Memory, off, bytes int64) (*memory, error) {
	mem, ok := m.(*memory)
	switch {
	case !ok || mem.d != d:
		return nil, invalid("%s another device's memory", doing)
	case mem.freed.Load():
		return nil, closed(doing + " memory")
	case off < 0 || bytes < 0 || off > mem.words-bytes:
		return nil, invalid("%s %d bytes at %d of a block of %d", doing, bytes, off, mem.size)
	case off%4 != 0 || bytes%4 != 0:
		return nil, invalid("%s %d bytes at %d: not whole words", doing, bytes, off)
	}
	return mem, nil
}
