//go:build cgo && !novulkan

package vulkan

import (
	"testing"

	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/gpu/vulkan/vkshim"
)

func TestChooseTransfers(t *testing.T) {
	const graphics, compute, transfer, sparse, video = 1, 2, 4, 8, 0x20
	all := vkshim.QueueFamily{Flags: graphics | compute | transfer | sparse, Queues: 16}
	for _, c := range []struct {
		name     string
		families []vkshim.QueueFamily
		compute  uint32
		want     transferQueues
	}{
		{"one queue", []vkshim.QueueFamily{{Flags: graphics | compute | transfer, Queues: 1}}, 0, transferQueues{}},
		{"more of one family", []vkshim.QueueFamily{all}, 0, transferQueues{0, 1, 2, false}},
		{"two of one family", []vkshim.QueueFamily{{Flags: compute, Queues: 2}}, 0, transferQueues{0, 1, 1, false}},
		{"copy engine", []vkshim.QueueFamily{
			all, {Flags: transfer | sparse, Queues: 2}, {Flags: compute | transfer | sparse, Queues: 8},
			{Flags: transfer | video, Queues: 3},
		}, 2, transferQueues{1, 0, 2, true}},
		{"copy engine of one queue", []vkshim.QueueFamily{all, {Flags: transfer, Queues: 1}}, 0, transferQueues{1, 0, 1, true}},
		{"copy engine without queues", []vkshim.QueueFamily{{Flags: compute, Queues: 1}, {Flags: transfer}}, 0, transferQueues{}},
		{"videos alone", []vkshim.QueueFamily{{Flags: compute, Queues: 1}, {Flags: transfer | video, Queues: 1}}, 0, transferQueues{}},
	} {
		if got := chooseTransfers(c.families, c.compute); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// A lane goes to the queue that begins to transfer, the one that fewest use first, and counts until the queue leaves it.
func TestTransferLanes(t *testing.T) {
	l := transferLanes{all: []*lane{{}, {}}}
	a, b, c := l.take(), l.take(), l.take()
	if a == b || c != a {
		t.Errorf("three queues got the lanes %p, %p, %p", a, b, c)
	}
	l.leave(a)
	l.leave(c)
	if d := l.take(); d != a || a.users != 1 || b.users != 1 {
		t.Errorf("%d and %d use the lanes, and %p came last", a.users, b.users, d)
	}
	if (&transferLanes{}).open() || !l.open() {
		t.Error("lanes are open where there are none, or closed where there are some")
	}
}

// A queue moves with its first kernel, for good, which waits for what it transferred; a timed one never transfers elsewhere.
func TestQueueMoves(t *testing.T) {
	const n = 1 << 16
	d := open(t, hal.Options{Staged: true})
	if d.a.facts.Features&vkshim.Timelines == 0 {
		t.Skip("the device has no semaphores that count")
	}
	k := newKernel(t, d, "copy", groupSize)
	up, a, b := alloc(t, d, 4*n, hal.StagingMemory), alloc(t, d, 4*n, hal.DeviceMemory), alloc(t, d, 4*n, hal.DeviceMemory)
	from, to := newView(t, a, 0, 4*n), newView(t, b, 0, 4*n)
	for i := range words(up.Bytes()) {
		words(up.Bytes())[i] = uint32(i) * 7
	}
	h, err := d.NewQueue(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Free)
	q := h.(*queue)
	submit := func(c hal.Command) {
		t.Helper()
		f, err := q.Submit([]hal.Command{c})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.Free)
	}
	submit(hal.Command{Op: hal.Fill, Dst: b, Bytes: 4 * n, Value: 1})
	submit(hal.Command{Op: hal.Copy, Dst: a, Src: up, Bytes: 4 * n})
	transfers := q.lane
	last := vkshim.Point{Semaphore: transfers.timeline, Value: transfers.count}
	if !q.transfer || transfers == d.work || transfers.users != 1 || q.reached != last {
		t.Fatalf("after two transfers: %+v on a lane of %d users", q, transfers.users)
	}
	// What cannot be submitted leaves the queue to wait for its transfers all the same.
	if _, err := q.Submit([]hal.Command{{Op: hal.Dispatch, Kernel: k}}); err == nil {
		t.Error("a kernel without buffers was submitted")
	}
	if q.reached != last {
		t.Errorf("a kernel that was refused ended the wait for transfers: %+v", q.reached)
	}
	groups := [3]int{n / groupSize, 1, 1}
	submit(hal.Command{Op: hal.Dispatch, Kernel: k, Groups: groups, Views: []hal.View{from, to}, Params: params(n)})
	if q.transfer || q.lane != d.work || transfers.users != 0 || q.reached != (vkshim.Point{}) {
		t.Fatalf("after a kernel: %+v, %d users of the lane for transfers", q, transfers.users)
	}
	for i, got := range reads(t, q, d, b) {
		if got != uint32(i)*7 {
			t.Fatalf("word %d is %d, want %d", i, got, i*7)
		}
	}
	if q.transfer || q.lane != d.work {
		t.Error("a copy brought the queue back to the lane for transfers")
	}
	if timed := newQueue(t, d).(*queue); timed.timed && timed.transfer {
		t.Error("a timed queue begins on a lane for transfers")
	}
	d.DisableTransferQueues()
	h, err = d.NewQueue(false)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Free()
	if h.(*queue).lane != d.work {
		t.Error("a queue for transfers that was turned off is used")
	}
}
