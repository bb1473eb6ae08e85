//go:build cgo && !novulkan

package vulkan

import (
	"fmt"
	"sync"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"github.com/gonvolve/gonvolve/gpu/vulkan/vkshim"
)

// transferQueues are the queues of a device that copy while another computes.
type transferQueues struct {
	family uint32
	first  uint32 // index of the first of them in the family
	queues uint32
	copies bool // the family does nothing else: it is a copy engine
}

func (t transferQueues) String() string {
	switch {
	case t.queues == 0:
		return "none"
	case t.copies:
		return fmt.Sprintf("%d of family %d, which only copies", t.queues, t.family)
	}
	return fmt.Sprintf("%d more of family %d, which computes", t.queues, t.family)
}

// chooseTransfers picks the queues for transfers: those of a copy engine, if there is one, else more of the family that
// computes. Families that decode videos or compute optical flow copy, too; they are not asked.
func chooseTransfers(families []vkshim.QueueFamily, compute uint32) transferQueues {
	const besides = uint32(vk.QueueTransferBit | vk.QueueSparseBindingBit | vk.QueueProtectedBit)
	for i, f := range families {
		if f.Flags&uint32(vk.QueueTransferBit) != 0 && f.Flags&^besides == 0 && f.Queues > 0 {
			return transferQueues{uint32(i), 0, min(f.Queues, vkshim.TransferQueues), true}
		}
	}
	if more := families[compute].Queues - 1; more > 0 {
		return transferQueues{compute, 1, min(more, vkshim.TransferQueues), false}
	}
	return transferQueues{}
}

// lane is a way for submissions: one of the device's VkQueues, and a semaphore that counts those that are done, if there are
// other lanes to wait for them.
type lane struct {
	*vkQueue
	family   uint32
	timeline uint64 // the VkSemaphore
	count    uint64 // of submissions, guarded by mu
	users    int    // queues that have submitted here and may again, guarded by transferLanes
}

// vkQueue is a VkQueue and the lock for submissions to it.
type vkQueue struct {
	mu    sync.Mutex
	queue vk.Queue
}

// submit starts commands after a point of another lane, and returns the point of this one that they reach.
func (l *lane) submit(cmds vkshim.Commands, fence uint64, after vkshim.Point) (reach vkshim.Point, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	reach = vkshim.Point{Semaphore: l.timeline, Value: l.count + 1}
	if err := check("submit", cmds.Submit(unsafe.Pointer(l.queue), fence, after, reach)); err != nil {
		return reach, err
	}
	l.count++
	return reach, nil
}

// transferLanes are the device's lanes for transfers.
type transferLanes struct {
	all []*lane

	mu  sync.Mutex
	off bool // they were found not to work
}

// findLanes gets the device's VkQueues. Staged without any for transfers, a second lane shares the one that there is, so that
// tests go the way of devices that have them.
func (d *device) findLanes(staged bool) error {
	t := d.a.transfers
	d.work = d.newLane(d.a.family, 0)
	for i := range t.queues {
		d.transfers.all = append(d.transfers.all, d.newLane(t.family, t.first+i))
	}
	if staged && t.queues == 0 && d.a.facts.Features&vkshim.Timelines != 0 {
		d.transfers.all = []*lane{{vkQueue: d.work.vkQueue, family: d.work.family}}
	}
	for _, l := range d.transfers.all {
		timeline, r := d.fn.Timeline()
		if err := check("make a semaphore", r); err != nil {
			return err
		}
		l.timeline = timeline
	}
	return nil
}

func (d *device) newLane(family, i uint32) *lane {
	l := &lane{vkQueue: &vkQueue{}, family: family}
	var queue vk.Queue
	vk.GetDeviceQueue(d.handle, family, i, &queue)
	l.queue = queue
	return l
}

// DisableTransferQueues implements hal.TransferQueuer.
func (d *device) DisableTransferQueues() {
	d.transfers.mu.Lock()
	defer d.transfers.mu.Unlock()
	d.transfers.off = true
}

// open says whether new queues begin with one of the lanes.
func (t *transferLanes) open() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all) > 0 && !t.off
}

// take returns the lane that the fewest queues use.
func (t *transferLanes) take() *lane {
	t.mu.Lock()
	defer t.mu.Unlock()
	best := t.all[0]
	for _, other := range t.all[1:] {
		if other.users < best.users {
			best = other
		}
	}
	best.users++
	return best
}

// leave says that a queue will not submit to the lane any more.
func (t *transferLanes) leave(was *lane) {
	t.mu.Lock()
	defer t.mu.Unlock()
	was.users--
}

// families are those whose queues use the device's buffers.
func (d *device) families() []uint32 {
	if t := d.a.transfers; t.queues > 0 && t.family != d.a.family {
		return []uint32{d.a.family, t.family}
	}
	return []uint32{d.a.family}
}
