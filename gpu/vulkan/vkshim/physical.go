//go:build cgo && !novulkan

package vkshim

// #include "shim.h"
import "C"

import "unsafe"

// Features of a device that are used, as bits.
const (
	Float16   uint32 = C.VKS_FLOAT16
	Int8      uint32 = C.VKS_INT8
	Storage16 uint32 = C.VKS_STORAGE16
	Storage8  uint32 = C.VKS_STORAGE8
	Int16     uint32 = C.VKS_INT16
	Int64     uint32 = C.VKS_INT64
	Float64   uint32 = C.VKS_FLOAT64
	Dot       uint32 = C.VKS_DOT      // dot products of integers
	DotFast   uint32 = C.VKS_DOT_FAST // of packed signed bytes, by an instruction of the hardware
	Timelines uint32 = C.VKS_TIMELINE // semaphores that count, for several queues
)

// Extensions of a device that are worth reporting, as bits.
const (
	ExternalMemoryHost uint32 = C.VKS_EXT_EXTERNAL_MEMORY_HOST
	CooperativeMatrix  uint32 = C.VKS_EXT_COOPERATIVE_MATRIX
	MemoryBudget       uint32 = C.VKS_EXT_MEMORY_BUDGET
)

// Matrix is the shape of a product of f16 matrices, [M][K] times [K][N], that a subgroup sums in f32.
type Matrix struct{ M, N, K int }

// Facts is what Vulkan 1.0's queries do not tell about a device; zero where the device does not tell.
type Facts struct {
	DeviceUUID, DriverUUID [16]byte
	DriverName, DriverInfo string
	MaxAllocation          uint64
	MaxBuffer              uint64
	SubgroupSize           uint32
	SubgroupShuffle        bool // in compute shaders
	ComputeUnits           uint32
	Features               uint32
	Extensions             uint32
	Matrices               []Matrix // if kernels can have them
}

// Facts queries a physical device; api is the version that the instance and the device share.
func (l *Loader) Facts(instance, phys unsafe.Pointer, api uint32) (Facts, Result) {
	var c C.vks_facts
	r := Result(C.vks_device_facts(l.gipa, C.VkInstance(instance), C.VkPhysicalDevice(phys), C.uint32_t(api), &c))
	f := Facts{
		DriverName:      C.GoString(&c.driver_name[0]),
		DriverInfo:      C.GoString(&c.driver_info[0]),
		MaxAllocation:   uint64(c.max_allocation),
		MaxBuffer:       uint64(c.max_buffer),
		SubgroupSize:    uint32(c.subgroup_size),
		SubgroupShuffle: c.subgroup_shuffle != 0,
		ComputeUnits:    uint32(c.compute_units),
		Features:        uint32(c.features),
		Extensions:      uint32(c.extensions),
	}
	for i := range f.DeviceUUID {
		f.DeviceUUID[i] = byte(c.device_uuid[i])
		f.DriverUUID[i] = byte(c.driver_uuid[i])
	}
	for _, m := range c.matrix[:c.matrices] {
		f.Matrices = append(f.Matrices, Matrix{int(m.m), int(m.n), int(m.k)})
	}
	return f, r
}

// QueueFamily is one family of a device's queues.
type QueueFamily struct {
	Flags         uint32
	Queues        uint32
	TimestampBits uint32
}

// MemoryBudget is how many bytes of a heap this process may have in all, as things are; 0 if that is not known. The device has to
// have the extension.
func (l *Loader) MemoryBudget(instance, phys unsafe.Pointer, heap uint32) int64 {
	n := uint64(C.vks_memory_budget(l.gipa, C.VkInstance(instance), C.VkPhysicalDevice(phys), C.uint32_t(heap)))
	return int64(min(n, 1<<62))
}

// QueueFamilies lists the families, in their order.
func (l *Loader) QueueFamilies(instance, phys unsafe.Pointer) []QueueFamily {
	var c [32]C.VkQueueFamilyProperties
	n := C.vks_queue_families(l.gipa, C.VkInstance(instance), C.VkPhysicalDevice(phys), C.uint32_t(len(c)), &c[0])
	out := make([]QueueFamily, min(int(n), len(c)))
	for i := range out {
		out[i] = QueueFamily{uint32(c[i].queueFlags), uint32(c[i].queueCount), uint32(c[i].timestampValidBits)}
	}
	return out
}

// TransferQueues is how many queues for transfers a device is asked for at most: one for each direction.
const TransferQueues = C.VKS_TRANSFER_QUEUES

// DeviceInfo makes a VkDeviceCreateInfo in C memory, for the binding to pass on and for Free to release: one queue of
// the family, some for transfers of another (or more of the same), and the features (bits of Facts.Features that the
// device has).
func DeviceInfo(api, family, transferFamily, transferQueues, features, extensions uint32) unsafe.Pointer {
	return C.vks_device_info(C.uint32_t(api), C.uint32_t(family), C.uint32_t(transferFamily), C.uint32_t(transferQueues),
		C.uint32_t(features), C.uint32_t(extensions))
}
