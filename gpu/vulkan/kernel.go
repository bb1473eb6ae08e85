//go:build cgo && !novulkan

package vulkan

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync/atomic"

	vk "github.com/vulkan-go/vulkan"

	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/shaders"
)

// kernel is a compute pipeline with its layouts.
type kernel struct {
	d          *device
	name       string
	buffers    int
	paramBytes int
	set        uint64 // VkDescriptorSetLayout
	layout     uint64 // VkPipelineLayout
	pipeline   uint64 // VkPipeline
	freed      atomic.Bool
}

func (d *device) NewKernel(ctx context.Context, k *shaders.Kernel, tunables []int32) (hal.Kernel, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := d.fits(k, tunables); err != nil {
		return nil, err
	}
	out := &kernel{d: d, name: k.Name, buffers: k.Buffers, paramBytes: k.ParamBytes}
	if err := out.create(k, tunables); err != nil {
		out.release()
		return nil, err
	}
	if d.blobs != nil && !d.Remembers(k, tunables) {
		// A cache that cannot be written costs time, not results.
		_ = d.blobs.Put(d.pipelineKey(k, tunables), []byte{1})
		d.saveSoon()
	}
	return out, nil
}

// pipelineKey is where it is noted that a kernel was compiled. What came of it is in the pipeline cache, or in one that
// the driver has of its own.
func (d *device) pipelineKey(k *shaders.Kernel, tunables []int32) string {
	return fmt.Sprintf("vulkan-pipeline-%s-%x-%v", d.info.ID, sha256.Sum256(k.SPIRV), tunables)
}

// Remembers implements hal.Rememberer.
func (d *device) Remembers(k *shaders.Kernel, tunables []int32) bool {
	return d.blobs != nil && d.blobs.Get(d.pipelineKey(k, tunables)) != nil
}

// fits checks a kernel against the device's limits, which a driver need not do.
func (d *device) fits(k *shaders.Kernel, tunables []int32) error {
	if len(tunables) != len(k.Tunables) || len(tunables) < 3 {
		return invalid("kernel %s has %d tunables, was given %d", k.Name, len(k.Tunables), len(tunables))
	}
	if len(k.SPIRV) == 0 || len(k.SPIRV)%4 != 0 {
		return unsupported("kernel %s has no SPIR-V", k.Name)
	}
	items := 1
	for i, n := range tunables[:3] {
		switch {
		case n <= 0:
			return invalid("kernel %s: work-group size %v", k.Name, tunables[:3])
		case int(n) > d.info.MaxGroupSize[i]:
			return unsupported("kernel %s: work-group size %v is over the device's %v", k.Name, tunables[:3], d.info.MaxGroupSize)
		}
		items *= int(n)
	}
	l := &d.a.props.Limits
	switch {
	case items > d.info.MaxGroupItems:
		return unsupported("kernel %s: a work-group of %d items is over the device's %d", k.Name, items, d.info.MaxGroupItems)
	case k.ParamBytes < 0 || k.ParamBytes%4 != 0:
		return invalid("kernel %s has %d bytes of parameters", k.Name, k.ParamBytes)
	case k.ParamBytes > int(l.MaxPushConstantsSize):
		return unsupported("kernel %s: %d bytes of parameters are over the device's %d", k.Name, k.ParamBytes, l.MaxPushConstantsSize)
	case k.Buffers > int(min(l.MaxPerStageDescriptorStorageBuffers, l.MaxDescriptorSetStorageBuffers, l.MaxPerStageResources)):
		return unsupported("kernel %s: %d buffers are over the device's %d", k.Name, k.Buffers, l.MaxPerStageDescriptorStorageBuffers)
	}
	return nil
}

func (k *kernel) create(src *shaders.Kernel, tunables []int32) error {
	fn := k.d.fn
	doing := "compile kernel " + k.name
	module, r := fn.ShaderModule(src.SPIRV)
	if err := check(doing, r); err != nil {
		return err
	}
	defer vk.DestroyShaderModule(k.d.handle, handle[vk.ShaderModule](module), nil)
	if k.set, r = fn.SetLayout(k.buffers); r < 0 {
		return check(doing, r)
	}
	if k.layout, r = fn.PipelineLayout(k.set, k.paramBytes); r < 0 {
		return check(doing, r)
	}
	ids := make([]uint32, len(src.Tunables))
	for i, t := range src.Tunables {
		ids[i] = uint32(t.ID)
	}
	k.pipeline, r = fn.ComputePipeline(k.d.cache, k.layout, module, src.Matrix, ids, tunables)
	return check(doing, r)
}

func (k *kernel) release() {
	h := k.d.handle
	if k.pipeline != 0 {
		vk.DestroyPipeline(h, handle[vk.Pipeline](k.pipeline), nil)
	}
	if k.layout != 0 {
		vk.DestroyPipelineLayout(h, handle[vk.PipelineLayout](k.layout), nil)
	}
	if k.set != 0 {
		vk.DestroyDescriptorSetLayout(h, handle[vk.DescriptorSetLayout](k.set), nil)
	}
}

func (k *kernel) Free() {
	if !k.freed.Swap(true) {
		k.release()
	}
}
