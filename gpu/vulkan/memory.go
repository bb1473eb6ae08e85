//go:build cgo && !novulkan

package vulkan

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/machine"
	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/gpu/vulkan/vkshim"
)

const (
	deviceLocal = vk.MemoryPropertyFlags(vk.MemoryPropertyDeviceLocalBit)
	coherent    = vk.MemoryPropertyFlags(vk.MemoryPropertyHostVisibleBit | vk.MemoryPropertyHostCoherentBit)
	cached      = vk.MemoryPropertyFlags(vk.MemoryPropertyHostCachedBit)
	// ordinary is every property that memory may have without being there for something special (protected, lazily
	// allocated, uncached on the device, shared with a network card).
	ordinary = deviceLocal | coherent | cached
)

// memoryTypes says which of a device's memory types serve which kind of memory, best first.
type memoryTypes struct {
	device, staging []uint32
	heap            uint32 // that device memory comes from …
	deviceBytes     int64  // … and its size
	unified         bool   // device memory is mapped
}

type memoryType struct {
	index uint32
	flags vk.MemoryPropertyFlags
	heap  int64  // its size
	at    uint32 // heap
}

func queryMemory(phys vk.PhysicalDevice, t vk.PhysicalDeviceType) memoryTypes {
	mem := vkshim.Zeroed()
	defer vkshim.Free(mem)
	props := vk.NewPhysicalDeviceMemoryPropertiesRef(mem)
	vk.GetPhysicalDeviceMemoryProperties(phys, props)
	props.Deref()
	var all []memoryType
	for i := range props.MemoryTypeCount {
		mt := &props.MemoryTypes[i]
		mt.Deref()
		heap := &props.MemoryHeaps[mt.HeapIndex]
		heap.Deref()
		all = append(all, memoryType{i, mt.PropertyFlags, int64(heap.Size), mt.HeapIndex})
	}
	return chooseMemory(all, t == vk.PhysicalDeviceTypeCpu || t == vk.PhysicalDeviceTypeIntegratedGpu)
}

// chooseMemory sorts out the types. shared says that device and host have the same memory. Device memory is mapped
// then, if the host has it cached: reading back from uncached memory is slower than a copy by the device.
func chooseMemory(all []memoryType, shared bool) memoryTypes {
	all = slices.DeleteFunc(slices.Clone(all), func(t memoryType) bool { return t.flags&^ordinary != 0 })
	pick := func(want vk.MemoryPropertyFlags, better func(a, b memoryType) int) (types []memoryType) {
		for _, t := range all {
			if t.flags&want == want {
				types = append(types, t)
			}
		}
		slices.SortStableFunc(types, better)
		return types
	}
	// rank puts types with the flags first.
	rank := func(a, b memoryType, flags vk.MemoryPropertyFlags) int {
		return cmp.Compare(b.flags&flags, a.flags&flags)
	}
	largest := func(a, b memoryType) int { return cmp.Compare(b.heap, a.heap) }

	var m memoryTypes
	var device []memoryType
	if shared {
		device = pick(deviceLocal|coherent|cached, largest)
		m.unified = len(device) > 0
	}
	if !m.unified {
		device = pick(deviceLocal, func(a, b memoryType) int {
			return cmp.Or(largest(a, b), -rank(a, b, coherent))
		})
	}
	staging := pick(coherent, func(a, b memoryType) int {
		return cmp.Or(rank(a, b, cached), -rank(a, b, deviceLocal), largest(a, b))
	})
	for _, t := range device {
		m.device = append(m.device, t.index)
	}
	for _, t := range staging {
		m.staging = append(m.staging, t.index)
	}
	if len(device) > 0 {
		m.heap, m.deviceBytes = device[0].at, device[0].heap
	}
	return m
}

// MemoryBudget implements hal.Budgeter.
func (d *device) MemoryBudget() int64 {
	if d.a.facts.Extensions&vkshim.MemoryBudget == 0 {
		return 0
	}
	return d.inst.loader.MemoryBudget(unsafe.Pointer(d.inst.handle), unsafe.Pointer(d.a.phys), d.a.memory.heap)
}

// memory is a VkBuffer over the whole of a VkDeviceMemory.
type memory struct {
	d      *device
	kind   hal.MemoryKind
	size   int64
	words  int64 // size, rounded up to whole words
	buffer vk.Buffer
	block  vk.DeviceMemory
	bytes  []byte
	freed  atomic.Bool
}

func (d *device) Alloc(bytes int64, kind hal.MemoryKind) (hal.Memory, error) {
	switch {
	case bytes <= 0:
		return nil, invalid("allocate %d bytes", bytes)
	case bytes > d.info.MaxBufferBytes:
		return nil, unsupported("allocate %d bytes: the largest allocation is %d", bytes, d.info.MaxBufferBytes)
	}
	m := &memory{d: d, kind: kind, size: bytes, words: (bytes + 3) &^ 3}
	types, mapped := d.a.memory.device, d.info.Unified
	if kind == hal.StagingMemory {
		types, mapped = d.a.memory.staging, true
	}
	if err := m.create(types, mapped); err != nil {
		m.release()
		return nil, err
	}
	return m, nil
}

func (m *memory) create(types []uint32, mapped bool) error {
	info := vk.BufferCreateInfo{
		SType:       vk.StructureTypeBufferCreateInfo,
		Size:        vk.DeviceSize(m.words),
		Usage:       vk.BufferUsageFlags(vk.BufferUsageStorageBufferBit | vk.BufferUsageTransferSrcBit | vk.BufferUsageTransferDstBit),
		SharingMode: vk.SharingModeExclusive,
	}
	if families := m.d.families(); len(families) > 1 {
		info.SharingMode = vk.SharingModeConcurrent
		info.QueueFamilyIndexCount, info.PQueueFamilyIndices = uint32(len(families)), families
		var pin runtime.Pinner // the binding leaves the pointer in C memory
		defer pin.Unpin()
		pin.Pin(&families[0])
	}
	defer info.Free()
	doing := fmt.Sprintf("allocate %d bytes", m.size)
	var buffer vk.Buffer
	if err := checkVK(doing, vk.CreateBuffer(m.d.handle, &info, nil, &buffer)); err != nil {
		return err
	}
	m.buffer = buffer

	mem := vkshim.Zeroed()
	defer vkshim.Free(mem)
	need := vk.NewMemoryRequirementsRef(mem)
	vk.GetBufferMemoryRequirements(m.d.handle, buffer, need)
	need.Deref()
	i := slices.IndexFunc(types, func(t uint32) bool { return need.MemoryTypeBits&(1<<t) != 0 })
	if i < 0 {
		return fmt.Errorf("vulkan: %s: no memory type serves: %w", doing, driver.ErrOutOfMemory)
	}
	huge := mapped && m.d.info.Type == driver.CPU && m.size >= machine.Large && m.size <= m.d.info.MaxBufferBytes-2*machine.HugePage
	if huge {
		need.Size += 2 * machine.HugePage
	}
	alloc := vk.MemoryAllocateInfo{
		SType:           vk.StructureTypeMemoryAllocateInfo,
		AllocationSize:  need.Size,
		MemoryTypeIndex: types[i],
	}
	defer alloc.Free()
	var block vk.DeviceMemory
	if err := checkVK(doing, vk.AllocateMemory(m.d.handle, &alloc, nil, &block)); err != nil {
		return err
	}
	m.block = block
	first := 0
	if mapped {
		var p unsafe.Pointer
		if err := checkVK("map memory", vk.MapMemory(m.d.handle, block, 0, vk.DeviceSize(vk.WholeSize), 0, &p)); err != nil {
			return err
		}
		if off := machine.Unaligned(p); huge && off%int(need.Alignment) == 0 {
			first = off
			machine.Huge(unsafe.Slice((*byte)(unsafe.Add(p, first)), m.size+machine.HugePage)) // the last one has to be whole
		}
		m.bytes = unsafe.Slice((*byte)(unsafe.Add(p, first)), m.size)
	}
	return checkVK(doing, vk.BindBufferMemory(m.d.handle, buffer, block, vk.DeviceSize(first)))
}

func (m *memory) release() {
	if m.buffer != vk.NullBuffer {
		vk.DestroyBuffer(m.d.handle, m.buffer, nil)
	}
	if m.block != vk.NullDeviceMemory {
		vk.FreeMemory(m.d.handle, m.block, nil) // unmaps it, too
	}
	m.bytes = nil
}

func (m *memory) Size() int64   { return m.size }
func (m *memory) Bytes() []byte { return m.bytes }

func (m *memory) Free() {
	if !m.freed.Swap(true) {
		m.release()
	}
}

// view is a range of a buffer. Vulkan has no object for it.
type view struct {
	m     *memory
	off   int64
	bytes int64
}

func (m *memory) View(off, bytes int64) (hal.View, error) {
	switch {
	case m.freed.Load():
		return nil, closed("view memory")
	case m.kind != hal.DeviceMemory:
		return nil, invalid("view staging memory")
	case off < 0 || bytes <= 0 || off > m.words-bytes:
		return nil, invalid("view of %d bytes at %d in a block of %d", bytes, off, m.size)
	case off%m.d.info.ViewAlignment != 0:
		return nil, invalid("view at %d, which is no multiple of %d", off, m.d.info.ViewAlignment)
	case bytes > m.d.info.MaxBindingBytes:
		return nil, unsupported("view of %d bytes: the largest binding is %d", bytes, m.d.info.MaxBindingBytes)
	}
	return &view{m, off, bytes}, nil
}

func (v *view) Free() {}
