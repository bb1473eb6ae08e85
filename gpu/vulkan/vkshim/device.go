//go:build cgo && !novulkan

package vkshim

/*
#cgo noescape vks_begin
#cgo nocallback vks_begin
#cgo noescape vks_storage_set
#cgo nocallback vks_storage_set
#cgo noescape vks_cmd_barrier
#cgo nocallback vks_cmd_barrier
#cgo noescape vks_cmd_timestamp
#cgo nocallback vks_cmd_timestamp
#cgo noescape vks_cmd_dispatch
#cgo nocallback vks_cmd_dispatch
#cgo noescape vks_cmd_copy
#cgo nocallback vks_cmd_copy
#cgo noescape vks_cmd_fill
#cgo nocallback vks_cmd_fill
#cgo noescape vks_end
#cgo nocallback vks_end
#cgo noescape vks_submit
#cgo nocallback vks_submit
#cgo noescape vks_fence_status
#cgo nocallback vks_fence_status
#cgo noescape vks_fence_wait
#cgo nocallback vks_fence_wait
#cgo noescape vks_timestamps
#cgo nocallback vks_timestamps
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"fmt"
	"time"
	"unsafe"
)

// Device makes the calls of one VkDevice. It is as safe for concurrent use as Vulkan's functions are.
type Device struct{ c *C.vks_device }

// Device looks up the functions of a device.
func (l *Loader) Device(instance, device unsafe.Pointer) (*Device, error) {
	var why *C.char
	c := C.vks_device_new(l.gipa, C.VkInstance(instance), C.VkDevice(device), &why)
	if c == nil {
		return nil, fmt.Errorf("the driver lacks %s", C.GoString(why))
	}
	return &Device{c}, nil
}

// Free releases the function table, not the VkDevice.
func (d *Device) Free() { C.free(unsafe.Pointer(d.c)) }

// ShaderModule makes a VkShaderModule of SPIR-V.
func (d *Device) ShaderModule(spirv []byte) (module uint64, r Result) {
	r = Result(C.vks_shader_module(d.c, unsafe.Pointer(unsafe.SliceData(spirv)), C.size_t(len(spirv)), (*C.VkShaderModule)(&module)))
	return module, r
}

// SetLayout makes a layout of storage buffers at bindings 0, 1, ...
func (d *Device) SetLayout(buffers int) (layout uint64, r Result) {
	r = Result(C.vks_set_layout(d.c, C.uint32_t(buffers), (*C.VkDescriptorSetLayout)(&layout)))
	return layout, r
}

// PipelineLayout makes a layout of one set and so many bytes of push constants.
func (d *Device) PipelineLayout(set uint64, pushBytes int) (layout uint64, r Result) {
	r = Result(C.vks_pipeline_layout(d.c, C.VkDescriptorSetLayout(set), C.uint32_t(pushBytes), (*C.VkPipelineLayout)(&layout)))
	return layout, r
}

// ComputePipeline compiles a module's main with specialization constants. With whole, work-groups are whole subgroups.
func (d *Device) ComputePipeline(cache, layout, module uint64, whole bool, ids []uint32, values []int32) (pipeline uint64, r Result) {
	r = Result(C.vks_compute_pipeline(d.c, C.VkPipelineCache(cache), C.VkPipelineLayout(layout), C.VkShaderModule(module),
		flag(whole), C.uint32_t(len(ids)), (*C.uint32_t)(unsafe.SliceData(ids)), (*C.int32_t)(unsafe.SliceData(values)), (*C.VkPipeline)(&pipeline)))
	return pipeline, r
}

func flag(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

// PipelineCache makes a cache that starts with data.
func (d *Device) PipelineCache(data []byte) (cache uint64, r Result) {
	r = Result(C.vks_pipeline_cache(d.c, unsafe.Pointer(unsafe.SliceData(data)), C.size_t(len(data)), (*C.VkPipelineCache)(&cache)))
	return cache, r
}

// PipelineCacheData returns what the cache holds.
func (d *Device) PipelineCacheData(cache uint64) ([]byte, Result) {
	var n C.size_t
	if r := Result(C.vks_pipeline_cache_data(d.c, C.VkPipelineCache(cache), &n, nil)); r != Success || n == 0 {
		return nil, r
	}
	data := make([]byte, n)
	r := Result(C.vks_pipeline_cache_data(d.c, C.VkPipelineCache(cache), &n, unsafe.Pointer(&data[0])))
	return data[:n], r
}

// DescriptorPool makes a pool for so many sets with so many storage buffers together.
func (d *Device) DescriptorPool(sets, descriptors int) (pool uint64, r Result) {
	r = Result(C.vks_descriptor_pool(d.c, C.uint32_t(sets), C.uint32_t(descriptors), (*C.VkDescriptorPool)(&pool)))
	return pool, r
}

// BufferRange is a VkDescriptorBufferInfo.
type BufferRange struct{ Buffer, Offset, Bytes uint64 }

// The shim reads BufferRange as Vulkan's struct.
var _ = [1]struct{}{}[unsafe.Sizeof(BufferRange{})-unsafe.Sizeof(C.VkDescriptorBufferInfo{})]

// StorageSet allocates a descriptor set and points its bindings at the ranges.
func (d *Device) StorageSet(pool, layout uint64, ranges []BufferRange) (set uint64, r Result) {
	r = Result(C.vks_storage_set(d.c, C.VkDescriptorPool(pool), C.VkDescriptorSetLayout(layout), C.uint32_t(len(ranges)),
		(*C.VkDescriptorBufferInfo)(unsafe.Pointer(unsafe.SliceData(ranges))), (*C.VkDescriptorSet)(&set)))
	return set, r
}

// Commands is a command buffer.
type Commands struct {
	d  *C.vks_device
	cb C.VkCommandBuffer
}

// Commands takes a command buffer from a pool, which frees it.
func (d *Device) Commands(pool uint64) (Commands, Result) {
	var cb C.VkCommandBuffer
	r := Result(C.vks_command_buffer(d.c, C.VkCommandPool(pool), &cb))
	return Commands{d.c, cb}, r
}

// Begin resets the descriptor pool (0: none), the command pool and so many queries, and begins to record commands that
// are submitted once, or many times without a wait between.
func (c Commands) Begin(sets, pool, queryPool uint64, queries int, once bool) Result {
	many := C.int(1)
	if once {
		many = 0
	}
	return Result(C.vks_begin(c.d, C.VkDescriptorPool(sets), C.VkCommandPool(pool), c.cb, C.VkQueryPool(queryPool),
		C.uint32_t(queries), many))
}

// Barrier makes everything before it done, and its writes visible to everything after it; transfer says that the queue
// may be one that only copies.
func (c Commands) Barrier(transfer bool) { C.vks_cmd_barrier(c.d, c.cb, flag(transfer), 0) }

// HostBarrier makes the writes before it visible to the host.
func (c Commands) HostBarrier(transfer bool) { C.vks_cmd_barrier(c.d, c.cb, flag(transfer), 1) }

// Timestamp writes the time at which everything before it is done.
func (c Commands) Timestamp(pool uint64, query int) {
	C.vks_cmd_timestamp(c.d, c.cb, C.VkQueryPool(pool), C.uint32_t(query))
}

// Dispatch runs a pipeline.
func (c Commands) Dispatch(pipeline, layout, set uint64, push []byte, groups [3]int) {
	C.vks_cmd_dispatch(c.d, c.cb, C.VkPipeline(pipeline), C.VkPipelineLayout(layout), C.VkDescriptorSet(set),
		C.uint32_t(len(push)), unsafe.Pointer(unsafe.SliceData(push)),
		C.uint32_t(groups[0]), C.uint32_t(groups[1]), C.uint32_t(groups[2]))
}

// Copy copies between buffers.
func (c Commands) Copy(src, dst, srcOff, dstOff, bytes uint64) {
	C.vks_cmd_copy(c.d, c.cb, C.VkBuffer(src), C.VkBuffer(dst), C.uint64_t(srcOff), C.uint64_t(dstOff), C.uint64_t(bytes))
}

// Fill writes a word to each 4 bytes of a range.
func (c Commands) Fill(dst, off, bytes uint64, value uint32) {
	C.vks_cmd_fill(c.d, c.cb, C.VkBuffer(dst), C.uint64_t(off), C.uint64_t(bytes), C.uint32_t(value))
}

// End ends recording.
func (c Commands) End() Result { return Result(C.vks_end(c.d, c.cb)) }

// Timeline makes a VkSemaphore that counts from 0.
func (d *Device) Timeline() (semaphore uint64, r Result) {
	r = Result(C.vks_timeline(d.c, (*C.VkSemaphore)(&semaphore)))
	return semaphore, r
}

// Point is when a Timeline counts Value; without a Semaphore, none.
type Point struct{ Semaphore, Value uint64 }

func (p Point) c() C.vks_point { return C.vks_point{C.VkSemaphore(p.Semaphore), C.uint64_t(p.Value)} }

// Submit resets the fence and starts the commands after one point; they reach another when they are done. The caller holds
// the queue's lock.
func (c Commands) Submit(queue unsafe.Pointer, fence uint64, after, reach Point) Result {
	return Result(C.vks_submit(c.d, C.VkQueue(queue), c.cb, C.VkFence(fence), after.c(), reach.c()))
}

// FenceStatus is Success, NotReady or an error.
func (d *Device) FenceStatus(fence uint64) Result {
	return Result(C.vks_fence_status(d.c, C.VkFence(fence)))
}

// FenceWait is Success, Timeout or an error. A negative limit waits for as long as it takes.
func (d *Device) FenceWait(fence uint64, limit time.Duration) Result {
	ns := uint64(limit)
	if limit < 0 {
		ns = ^uint64(0)
	}
	return Result(C.vks_fence_wait(d.c, C.VkFence(fence), C.uint64_t(ns)))
}

// Timestamps reads the first len(out) queries of a pool.
func (d *Device) Timestamps(pool uint64, out []uint64) Result {
	return Result(C.vks_timestamps(d.c, C.VkQueryPool(pool), C.uint32_t(len(out)), (*C.uint64_t)(unsafe.SliceData(out))))
}
