//go:build cgo && !novulkan

package vulkan

import (
	"math/bits"

	vk "github.com/vulkan-go/vulkan"

	"github.com/gonvolve/gonvolve/gpu/vulkan/vkshim"
)

// frame is what recorded commands need from the device. It serves one list of commands after the other.
type frame struct {
	d      *device
	family uint32 // of the queues that it can be submitted to
	pool   vk.CommandPool
	cmds   vkshim.Commands

	sets                vk.DescriptorPool
	maxSets, maxBuffers int

	queries    vk.QueryPool
	maxQueries int
	used       int // queries of the commands
}

func (d *device) newFrame(family uint32) (*frame, error) {
	f := &frame{d: d, family: family}
	if err := f.create(); err != nil {
		f.destroy()
		return nil, err
	}
	return f, nil
}

func (f *frame) create() error {
	poolInfo := vk.CommandPoolCreateInfo{
		SType:            vk.StructureTypeCommandPoolCreateInfo,
		QueueFamilyIndex: f.family,
	}
	defer poolInfo.Free()
	var pool vk.CommandPool
	if err := checkVK("make a command pool", vk.CreateCommandPool(f.d.handle, &poolInfo, nil, &pool)); err != nil {
		return err
	}
	f.pool = pool
	cmds, r := f.d.fn.Commands(number(pool))
	if err := check("make a command buffer", r); err != nil {
		return err
	}
	f.cmds = cmds
	return nil
}

// grow makes room for so many descriptor sets, storage buffers in them, and queries, and for some more, so that it
// soon has nothing to do.
func (f *frame) grow(sets, buffers, queries int) error {
	if sets > f.maxSets || buffers > f.maxBuffers {
		s, b := roomFor(sets, 16), roomFor(buffers, 64)
		pool, r := f.d.fn.DescriptorPool(s, b)
		if err := check("make a descriptor pool", r); err != nil {
			return err
		}
		vk.DestroyDescriptorPool(f.d.handle, f.sets, nil)
		f.sets, f.maxSets, f.maxBuffers = handle[vk.DescriptorPool](pool), s, b
	}
	if queries > f.maxQueries {
		n := roomFor(queries, 32)
		info := vk.QueryPoolCreateInfo{
			SType:      vk.StructureTypeQueryPoolCreateInfo,
			QueryType:  vk.QueryTypeTimestamp,
			QueryCount: uint32(n),
		}
		defer info.Free()
		var pool vk.QueryPool
		if err := checkVK("make a query pool", vk.CreateQueryPool(f.d.handle, &info, nil, &pool)); err != nil {
			return err
		}
		vk.DestroyQueryPool(f.d.handle, f.queries, nil)
		f.queries, f.maxQueries = pool, n
	}
	return nil
}

// roomFor is the next power of two.
func roomFor(n, least int) int { return 1 << bits.Len(uint(max(n, least)-1)) }

// destroy takes everything back. Vulkan ignores the null handles of what was never made.
func (f *frame) destroy() {
	h := f.d.handle
	vk.DestroyQueryPool(h, f.queries, nil)
	vk.DestroyDescriptorPool(h, f.sets, nil)
	vk.DestroyCommandPool(h, f.pool, nil)
}
