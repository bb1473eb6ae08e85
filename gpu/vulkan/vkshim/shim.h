// shim.h: what the Go side of the shim calls.
#ifndef GONVOLVE_VKSHIM_H
#define GONVOLVE_VKSHIM_H

#include "vkmin.h"

typedef void(VKAPI_PTR *vks_fn)(void);
typedef vks_fn(VKAPI_PTR *vks_gipa)(VkInstance, const char *);

// Loader and instance: instance.c.

// vks_open loads the library and returns its vkGetInstanceProcAddr, or NULL with the reason in why.
void *vks_open(const char *library, char *why, size_t n);
uint32_t vks_instance_version(void *gipa);
int vks_has_layer(void *gipa, const char *name);
int vks_has_instance_extension(void *gipa, const char *layer, const char *name);

// vks_messages collects what a validation layer says, one zero-terminated text after another.
typedef struct vks_messages vks_messages;
vks_messages *vks_messages_new(void);
void vks_messages_free(vks_messages *m);
// vks_messages_take moves the texts to a buffer that the caller frees; NULL if there are none.
char *vks_messages_take(vks_messages *m, size_t *n);
VkResult vks_messenger_create(void *gipa, VkInstance instance, vks_messages *m, VkDebugUtilsMessengerEXT *out);
void vks_messenger_destroy(void *gipa, VkInstance instance, VkDebugUtilsMessengerEXT messenger);

// vks_instance_info returns a VkInstanceCreateInfo, to be freed, of the given API version. With messages it turns the
// validation layer on.
void *vks_instance_info(uint32_t api, int portability, vks_messages *m);

// Physical devices: physical.c.

enum {
	VKS_FLOAT16 = 1 << 0,
	VKS_INT8 = 1 << 1,
	VKS_STORAGE16 = 1 << 2,
	VKS_STORAGE8 = 1 << 3,
	VKS_INT16 = 1 << 4,
	VKS_INT64 = 1 << 5,
	VKS_FLOAT64 = 1 << 6,
	VKS_MATRIX = 1 << 7, // cooperative matrices, with all that kernels with them need
	VKS_DOT = 1 << 8,    // dot products of integers
	VKS_DOT_FAST = 1 << 9, // of packed signed bytes, faster than by other instructions
	VKS_TIMELINE = 1 << 10, // semaphores that count
};

enum {
	VKS_EXT_PORTABILITY_SUBSET = 1 << 0,
	VKS_EXT_8BIT_STORAGE = 1 << 1,
	VKS_EXT_FLOAT16_INT8 = 1 << 2,
	VKS_EXT_DRIVER_PROPERTIES = 1 << 3,
	VKS_EXT_MAINTENANCE4 = 1 << 4,
	VKS_EXT_SM_BUILTINS = 1 << 5,
	VKS_EXT_SHADER_CORE = 1 << 6,
	VKS_EXT_EXTERNAL_MEMORY_HOST = 1 << 7,
	VKS_EXT_COOPERATIVE_MATRIX = 1 << 8,
	VKS_EXT_MEMORY_BUDGET = 1 << 9,
	VKS_EXT_DOT = 1 << 10,
	VKS_EXT_TIMELINE = 1 << 11,
};

enum { VKS_MATRIX_SHAPES = 16 };

// vks_matrix is a product [m][k] of f16 times [k][n] of f16, summed in f32, that a subgroup does.
typedef struct {
	uint32_t m, n, k;
} vks_matrix;

typedef struct {
	uint32_t matrices;
	vks_matrix matrix[VKS_MATRIX_SHAPES];
	uint8_t device_uuid[16];
	uint8_t driver_uuid[16];
	char driver_name[256];
	char driver_info[256];
	uint64_t max_allocation;
	uint64_t max_buffer;
	uint32_t subgroup_size;
	uint32_t subgroup_shuffle; // in compute shaders
	uint32_t compute_units;
	uint32_t features;   // VKS_FLOAT16 ...
	uint32_t extensions; // VKS_EXT_...
} vks_facts;

// vks_device_facts fills what Vulkan 1.0's queries do not tell; whatever the device does not tell stays zero. api is
// the version that instance and device share.
VkResult vks_device_facts(void *gipa, VkInstance instance, VkPhysicalDevice phys, uint32_t api, vks_facts *out);

// vks_memory_budget is how many bytes of a heap this process may have in all as things are (VK_EXT_memory_budget, which the device
// has to have); 0 if that is not known.
uint64_t vks_memory_budget(void *gipa, VkInstance instance, VkPhysicalDevice phys, uint32_t heap);

// vks_queue_families writes up to n families and returns how many there are.
uint32_t vks_queue_families(void *gipa, VkInstance instance, VkPhysicalDevice phys, uint32_t n, VkQueueFamilyProperties *out);

// VKS_TRANSFER_QUEUES is how many queues for transfers a device is asked for at most.
#define VKS_TRANSFER_QUEUES 2

// vks_device_info returns a VkDeviceCreateInfo, to be freed: one queue of the family and so many of another (or more of the
// same), and the features.
void *vks_device_info(uint32_t api, uint32_t family, uint32_t transfer_family, uint32_t transfer_queues,
	uint32_t features, uint32_t extensions);

// Devices: device.c.

typedef struct vks_device vks_device;
// vks_device_new looks up the functions below; NULL with the missing function's name in why.
vks_device *vks_device_new(void *gipa, VkInstance instance, VkDevice device, const char **why);

VkResult vks_shader_module(vks_device *d, const void *code, size_t bytes, VkShaderModule *out);
VkResult vks_set_layout(vks_device *d, uint32_t buffers, VkDescriptorSetLayout *out);
VkResult vks_pipeline_layout(vks_device *d, VkDescriptorSetLayout set, uint32_t push_bytes, VkPipelineLayout *out);
// vks_compute_pipeline: with whole, work-groups are whole subgroups.
VkResult vks_compute_pipeline(vks_device *d, VkPipelineCache cache, VkPipelineLayout layout, VkShaderModule module, int whole,
	uint32_t constants, const uint32_t *ids, const int32_t *values, VkPipeline *out);
VkResult vks_pipeline_cache(vks_device *d, const void *data, size_t bytes, VkPipelineCache *out);
VkResult vks_pipeline_cache_data(vks_device *d, VkPipelineCache cache, size_t *bytes, void *data);

VkResult vks_descriptor_pool(vks_device *d, uint32_t sets, uint32_t descriptors, VkDescriptorPool *out);
// vks_storage_set allocates a set and points its bindings 0, 1, ... at the n ranges.
VkResult vks_storage_set(vks_device *d, VkDescriptorPool pool, VkDescriptorSetLayout layout, uint32_t n,
	const VkDescriptorBufferInfo *ranges, VkDescriptorSet *out);
VkResult vks_command_buffer(vks_device *d, VkCommandPool pool, VkCommandBuffer *out);

// vks_begin resets what commands use and begins their buffer, which is submitted once, or many times at once; sets and
// queries may be 0.
VkResult vks_begin(vks_device *d, VkDescriptorPool sets, VkCommandPool pool, VkCommandBuffer cb, VkQueryPool query_pool,
	uint32_t queries, int many);
// vks_cmd_barrier: with transfer, in terms that a family of queues that only copies knows.
void vks_cmd_barrier(vks_device *d, VkCommandBuffer cb, int transfer, int to_host);
void vks_cmd_timestamp(vks_device *d, VkCommandBuffer cb, VkQueryPool pool, uint32_t query);
void vks_cmd_dispatch(vks_device *d, VkCommandBuffer cb, VkPipeline pipeline, VkPipelineLayout layout,
	VkDescriptorSet set, uint32_t push_bytes, const void *push, uint32_t x, uint32_t y, uint32_t z);
void vks_cmd_copy(vks_device *d, VkCommandBuffer cb, VkBuffer src, VkBuffer dst, uint64_t src_off, uint64_t dst_off,
	uint64_t bytes);
void vks_cmd_fill(vks_device *d, VkCommandBuffer cb, VkBuffer dst, uint64_t off, uint64_t bytes, uint32_t value);
VkResult vks_end(vks_device *d, VkCommandBuffer cb);

// vks_timeline makes a semaphore that counts from 0.
VkResult vks_timeline(vks_device *d, VkSemaphore *out);

// vks_point is when a timeline semaphore counts value.
typedef struct {
	VkSemaphore semaphore;
	uint64_t value;
} vks_point;

// vks_submit resets the fence before. The commands wait for one point and reach another when they are done; a point without a
// semaphore is none.
VkResult vks_submit(vks_device *d, VkQueue queue, VkCommandBuffer cb, VkFence fence, vks_point after, vks_point reach);
VkResult vks_fence_status(vks_device *d, VkFence fence);
VkResult vks_fence_wait(vks_device *d, VkFence fence, uint64_t timeout_ns);
VkResult vks_timestamps(vks_device *d, VkQueryPool pool, uint32_t n, uint64_t *out);

#endif
