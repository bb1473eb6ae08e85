//go:build cgo && !novulkan

#include "shim.h"

#include <stdlib.h>

// The device's own functions, past the loader's trampolines.
#define FUNCTIONS(X) \
	X(VkResult, CreateShaderModule, (VkDevice, const VkShaderModuleCreateInfo *, const void *, VkShaderModule *)) \
	X(VkResult, CreateDescriptorSetLayout, (VkDevice, const VkDescriptorSetLayoutCreateInfo *, const void *, VkDescriptorSetLayout *)) \
	X(VkResult, CreatePipelineLayout, (VkDevice, const VkPipelineLayoutCreateInfo *, const void *, VkPipelineLayout *)) \
	X(VkResult, CreateComputePipelines, (VkDevice, VkPipelineCache, uint32_t, const VkComputePipelineCreateInfo *, const void *, VkPipeline *)) \
	X(VkResult, CreatePipelineCache, (VkDevice, const VkPipelineCacheCreateInfo *, const void *, VkPipelineCache *)) \
	X(VkResult, GetPipelineCacheData, (VkDevice, VkPipelineCache, size_t *, void *)) \
	X(VkResult, CreateDescriptorPool, (VkDevice, const VkDescriptorPoolCreateInfo *, const void *, VkDescriptorPool *)) \
	X(VkResult, ResetDescriptorPool, (VkDevice, VkDescriptorPool, VkFlags)) \
	X(VkResult, AllocateDescriptorSets, (VkDevice, const VkDescriptorSetAllocateInfo *, VkDescriptorSet *)) \
	X(void, UpdateDescriptorSets, (VkDevice, uint32_t, const VkWriteDescriptorSet *, uint32_t, const void *)) \
	X(VkResult, AllocateCommandBuffers, (VkDevice, const VkCommandBufferAllocateInfo *, VkCommandBuffer *)) \
	X(VkResult, ResetCommandPool, (VkDevice, VkCommandPool, VkFlags)) \
	X(VkResult, BeginCommandBuffer, (VkCommandBuffer, const VkCommandBufferBeginInfo *)) \
	X(VkResult, EndCommandBuffer, (VkCommandBuffer)) \
	X(void, CmdResetQueryPool, (VkCommandBuffer, VkQueryPool, uint32_t, uint32_t)) \
	X(void, CmdWriteTimestamp, (VkCommandBuffer, int32_t, VkQueryPool, uint32_t)) \
	X(void, CmdPipelineBarrier, (VkCommandBuffer, VkFlags, VkFlags, VkFlags, uint32_t, const VkMemoryBarrier *, uint32_t, const void *, uint32_t, const void *)) \
	X(void, CmdBindPipeline, (VkCommandBuffer, int32_t, VkPipeline)) \
	X(void, CmdBindDescriptorSets, (VkCommandBuffer, int32_t, VkPipelineLayout, uint32_t, uint32_t, const VkDescriptorSet *, uint32_t, const uint32_t *)) \
	X(void, CmdPushConstants, (VkCommandBuffer, VkPipelineLayout, VkFlags, uint32_t, uint32_t, const void *)) \
	X(void, CmdDispatch, (VkCommandBuffer, uint32_t, uint32_t, uint32_t)) \
	X(void, CmdCopyBuffer, (VkCommandBuffer, VkBuffer, VkBuffer, uint32_t, const VkBufferCopy *)) \
	X(void, CmdFillBuffer, (VkCommandBuffer, VkBuffer, VkDeviceSize, VkDeviceSize, uint32_t)) \
	X(VkResult, CreateSemaphore, (VkDevice, const VkSemaphoreCreateInfo *, const void *, VkSemaphore *)) \
	X(VkResult, QueueSubmit, (VkQueue, uint32_t, const VkSubmitInfo *, VkFence)) \
	X(VkResult, ResetFences, (VkDevice, uint32_t, const VkFence *)) \
	X(VkResult, GetFenceStatus, (VkDevice, VkFence)) \
	X(VkResult, WaitForFences, (VkDevice, uint32_t, const VkFence *, VkBool32, uint64_t)) \
	X(VkResult, GetQueryPoolResults, (VkDevice, VkQueryPool, uint32_t, uint32_t, size_t, void *, VkDeviceSize, VkFlags))

struct vks_device {
	VkDevice device;
#define DECLARE(type, name, args) type(VKAPI_PTR *name) args;
	FUNCTIONS(DECLARE)
};

vks_device *vks_device_new(void *gipa, VkInstance instance, VkDevice device, const char **why) {
	vks_fn(VKAPI_PTR * get)(VkDevice, const char *) = (void *)((vks_gipa)gipa)(instance, "vkGetDeviceProcAddr");
	if (get == NULL) {
		*why = "vkGetDeviceProcAddr";
		return NULL;
	}
	vks_device *d = calloc(1, sizeof *d);
	if (d == NULL) {
		*why = "memory";
		return NULL;
	}
	d->device = device;
#define LOOKUP(type, name, args) \
	d->name = (void *)get(device, "vk" #name); \
	if (d->name == NULL) { \
		*why = "vk" #name; \
		free(d); \
		return NULL; \
	}
	FUNCTIONS(LOOKUP)
	return d;
}

VkResult vks_shader_module(vks_device *d, const void *code, size_t bytes, VkShaderModule *out) {
	VkShaderModuleCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
		.codeSize = bytes,
		.pCode = code,
	};
	return d->CreateShaderModule(d->device, &info, NULL, out);
}

VkResult vks_set_layout(vks_device *d, uint32_t buffers, VkDescriptorSetLayout *out) {
	VkDescriptorSetLayoutBinding *b = calloc(buffers + 1, sizeof *b);
	if (b == NULL)
		return VK_ERROR_OUT_OF_HOST_MEMORY;
	for (uint32_t i = 0; i < buffers; i++) {
		b[i].binding = i;
		b[i].descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
		b[i].descriptorCount = 1;
		b[i].stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
	}
	VkDescriptorSetLayoutCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
		.bindingCount = buffers,
		.pBindings = b,
	};
	VkResult r = d->CreateDescriptorSetLayout(d->device, &info, NULL, out);
	free(b);
	return r;
}

VkResult vks_pipeline_layout(vks_device *d, VkDescriptorSetLayout set, uint32_t push_bytes, VkPipelineLayout *out) {
	VkPushConstantRange push = {VK_SHADER_STAGE_COMPUTE_BIT, 0, push_bytes};
	VkPipelineLayoutCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
		.setLayoutCount = 1,
		.pSetLayouts = &set,
		.pushConstantRangeCount = push_bytes > 0,
		.pPushConstantRanges = &push,
	};
	return d->CreatePipelineLayout(d->device, &info, NULL, out);
}

VkResult vks_compute_pipeline(vks_device *d, VkPipelineCache cache, VkPipelineLayout layout, VkShaderModule module, int whole,
	uint32_t constants, const uint32_t *ids, const int32_t *values, VkPipeline *out) {
	VkSpecializationMapEntry *entries = calloc(constants + 1, sizeof *entries);
	if (entries == NULL)
		return VK_ERROR_OUT_OF_HOST_MEMORY;
	for (uint32_t i = 0; i < constants; i++)
		entries[i] = (VkSpecializationMapEntry){ids[i], i * sizeof *values, sizeof *values};
	VkSpecializationInfo special = {constants, entries, constants * sizeof *values, values};
	VkComputePipelineCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
		.stage = {
			.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
			.flags = whole ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0,
			.stage = VK_SHADER_STAGE_COMPUTE_BIT,
			.module = module,
			.pName = "main",
			.pSpecializationInfo = &special,
		},
		.layout = layout,
		.basePipelineIndex = -1,
	};
	VkResult r = d->CreateComputePipelines(d->device, cache, 1, &info, NULL, out);
	free(entries);
	return r;
}

VkResult vks_pipeline_cache(vks_device *d, const void *data, size_t bytes, VkPipelineCache *out) {
	VkPipelineCacheCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
		.initialDataSize = bytes,
		.pInitialData = data,
	};
	return d->CreatePipelineCache(d->device, &info, NULL, out);
}

VkResult vks_pipeline_cache_data(vks_device *d, VkPipelineCache cache, size_t *bytes, void *data) {
	return d->GetPipelineCacheData(d->device, cache, bytes, data);
}

VkResult vks_descriptor_pool(vks_device *d, uint32_t sets, uint32_t descriptors, VkDescriptorPool *out) {
	VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, descriptors};
	VkDescriptorPoolCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
		.maxSets = sets,
		.poolSizeCount = 1,
		.pPoolSizes = &size,
	};
	return d->CreateDescriptorPool(d->device, &info, NULL, out);
}

VkResult vks_storage_set(vks_device *d, VkDescriptorPool pool, VkDescriptorSetLayout layout, uint32_t n,
	const VkDescriptorBufferInfo *ranges, VkDescriptorSet *out) {
	VkDescriptorSetAllocateInfo info = {
		.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
		.descriptorPool = pool,
		.descriptorSetCount = 1,
		.pSetLayouts = &layout,
	};
	VkResult r = d->AllocateDescriptorSets(d->device, &info, out);
	if (r != VK_SUCCESS)
		return r;
	// One write a binding: a write that runs over into the next binding is legal and not every driver's strength.
	for (uint32_t i = 0; i < n;) {
		VkWriteDescriptorSet w[16];
		uint32_t k = 0;
		for (; k < 16 && i < n; k++, i++)
			w[k] = (VkWriteDescriptorSet){
				.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
				.dstSet = *out,
				.dstBinding = i,
				.descriptorCount = 1,
				.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
				.pBufferInfo = &ranges[i],
			};
		d->UpdateDescriptorSets(d->device, k, w, 0, NULL);
	}
	return VK_SUCCESS;
}

VkResult vks_command_buffer(vks_device *d, VkCommandPool pool, VkCommandBuffer *out) {
	VkCommandBufferAllocateInfo info = {
		.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
		.commandPool = pool,
		.commandBufferCount = 1,
	};
	return d->AllocateCommandBuffers(d->device, &info, out);
}

VkResult vks_begin(vks_device *d, VkDescriptorPool sets, VkCommandPool pool, VkCommandBuffer cb, VkQueryPool query_pool,
	uint32_t queries, int many) {
	VkResult r = VK_SUCCESS;
	if (sets != 0)
		r = d->ResetDescriptorPool(d->device, sets, 0);
	if (r == VK_SUCCESS)
		r = d->ResetCommandPool(d->device, pool, 0);
	if (r != VK_SUCCESS)
		return r;
	VkCommandBufferBeginInfo info = {
		.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
		.flags = many ? VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT : VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
	};
	r = d->BeginCommandBuffer(cb, &info);
	if (r == VK_SUCCESS && queries > 0)
		d->CmdResetQueryPool(cb, query_pool, 0, queries);
	return r;
}

void vks_cmd_barrier(vks_device *d, VkCommandBuffer cb, int transfer, int to_host) {
	VkFlags stages = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
	VkMemoryBarrier b = {
		.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
		.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
		.dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
	};
	if (transfer) { // a barrier may name no stage that its queue lacks, and kernels may have written what is copied
		stages = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
		b.srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT;
		b.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT;
	}
	if (to_host)
		b.dstAccessMask = VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT;
	d->CmdPipelineBarrier(cb, stages, to_host ? VK_PIPELINE_STAGE_HOST_BIT : stages, 0, 1, &b, 0, NULL, 0, NULL);
}

void vks_cmd_timestamp(vks_device *d, VkCommandBuffer cb, VkQueryPool pool, uint32_t query) {
	d->CmdWriteTimestamp(cb, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, pool, query);
}

void vks_cmd_dispatch(vks_device *d, VkCommandBuffer cb, VkPipeline pipeline, VkPipelineLayout layout,
	VkDescriptorSet set, uint32_t push_bytes, const void *push, uint32_t x, uint32_t y, uint32_t z) {
	d->CmdBindPipeline(cb, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
	d->CmdBindDescriptorSets(cb, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &set, 0, NULL);
	if (push_bytes > 0)
		d->CmdPushConstants(cb, layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, push_bytes, push);
	d->CmdDispatch(cb, x, y, z);
}

void vks_cmd_copy(vks_device *d, VkCommandBuffer cb, VkBuffer src, VkBuffer dst, uint64_t src_off, uint64_t dst_off,
	uint64_t bytes) {
	VkBufferCopy region = {src_off, dst_off, bytes};
	d->CmdCopyBuffer(cb, src, dst, 1, &region);
}

void vks_cmd_fill(vks_device *d, VkCommandBuffer cb, VkBuffer dst, uint64_t off, uint64_t bytes, uint32_t value) {
	d->CmdFillBuffer(cb, dst, off, bytes, value);
}

VkResult vks_end(vks_device *d, VkCommandBuffer cb) {
	return d->EndCommandBuffer(cb);
}

VkResult vks_timeline(vks_device *d, VkSemaphore *out) {
	VkSemaphoreTypeCreateInfo type = {
		.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
		.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE,
	};
	VkSemaphoreCreateInfo info = {VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, &type, 0};
	return d->CreateSemaphore(d->device, &info, NULL, out);
}

VkResult vks_submit(vks_device *d, VkQueue queue, VkCommandBuffer cb, VkFence fence, vks_point after, vks_point reach) {
	const VkFlags stages = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
	VkTimelineSemaphoreSubmitInfo values = {
		.sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
		.waitSemaphoreValueCount = after.semaphore != 0,
		.pWaitSemaphoreValues = &after.value,
		.signalSemaphoreValueCount = reach.semaphore != 0,
		.pSignalSemaphoreValues = &reach.value,
	};
	VkSubmitInfo info = {
		.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
		.pNext = after.semaphore != 0 || reach.semaphore != 0 ? &values : NULL,
		.waitSemaphoreCount = values.waitSemaphoreValueCount,
		.pWaitSemaphores = &after.semaphore,
		.pWaitDstStageMask = &stages,
		.commandBufferCount = 1,
		.pCommandBuffers = &cb,
		.signalSemaphoreCount = values.signalSemaphoreValueCount,
		.pSignalSemaphores = &reach.semaphore,
	};
	VkResult r = d->ResetFences(d->device, 1, &fence);
	return r == VK_SUCCESS ? d->QueueSubmit(queue, 1, &info, fence) : r;
}

VkResult vks_fence_status(vks_device *d, VkFence fence) {
	return d->GetFenceStatus(d->device, fence);
}

VkResult vks_fence_wait(vks_device *d, VkFence fence, uint64_t timeout_ns) {
	return d->WaitForFences(d->device, 1, &fence, 1, timeout_ns);
}

VkResult vks_timestamps(vks_device *d, VkQueryPool pool, uint32_t n, uint64_t *out) {
	return d->GetQueryPoolResults(d->device, pool, 0, n, n * sizeof *out, out, sizeof *out, VK_QUERY_RESULT_64_BIT);
}
