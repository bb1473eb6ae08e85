// A Vulkan layer for tests, over a software device with one family of queues: it makes it a discrete one that has a copy
// engine, too, a second family with two queues that only copy.
//
// The queues are as lazy as Vulkan allows: what is submitted runs when the host waits for its fence, after what is before it on
// its queue and what it waits for itself, and nothing else. Whoever relies on an order that was not asked for gets another.
// On top of it, the validation layer judges calls by the copy engine's family.

#include "vkmin.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

// The part of the ABI that only layers need.

typedef void(VKAPI_PTR *function)(void);
typedef function(VKAPI_PTR *instance_lookup)(VkInstance, const char *);
typedef function(VKAPI_PTR *device_lookup)(VkDevice, const char *);

enum {
	LOADER_INSTANCE_CREATE_INFO = 47,
	LOADER_DEVICE_CREATE_INFO = 48,
	LINK_INFO = 0,
	DISCRETE_GPU = 2,
	QUEUE_TRANSFER = 4,
	QUEUE_SPARSE_BINDING = 8,
	CONCURRENT = 1,
};

typedef struct instance_link {
	struct instance_link *next;
	instance_lookup lookup;
	function physical;
} instance_link;

typedef struct device_link {
	struct device_link *next;
	instance_lookup instance;
	device_lookup lookup;
} device_link;

typedef struct link_info {
	VkStructureType sType;
	const struct link_info *pNext;
	int32_t function;
	union {
		instance_link *instance;
		device_link *device;
	} link;
} link_info;

typedef struct {
	int32_t sType;
	void *pNext;
	uint32_t version;
	instance_lookup instance;
	device_lookup device;
	function physical;
} negotiation;

typedef struct {
	VkStructureType sType;
	void *pNext;
	VkQueueFamilyProperties properties;
} VkQueueFamilyProperties2;

typedef struct {
	VkStructureType sType;
	const void *pNext;
	VkFlags flags;
	uint32_t queueFamilyIndex;
} VkCommandPoolCreateInfo;

typedef struct {
	VkStructureType sType;
	const void *pNext;
	VkFlags flags;
	VkDeviceSize size;
	VkFlags usage;
	int32_t sharingMode;
	uint32_t queueFamilyIndexCount;
	const uint32_t *pQueueFamilyIndices;
} VkBufferCreateInfo;

typedef VkResult(VKAPI_PTR *create_pool)(VkDevice, const VkCommandPoolCreateInfo *, const void *, VkCommandPool *);
typedef VkResult(VKAPI_PTR *create_buffer)(VkDevice, const VkBufferCreateInfo *, const void *, VkBuffer *);
typedef VkResult(VKAPI_PTR *create_instance)(const VkInstanceCreateInfo *, const void *, VkInstance *);
typedef VkResult(VKAPI_PTR *create_device)(VkPhysicalDevice, const VkDeviceCreateInfo *, const void *, VkDevice *);

// Instances and devices, found by what their handles and those of all that is theirs begin with: the loader's table.

#define TABLE(handle) (*(void **)(handle))

typedef struct {
	void *table;
	VkInstance handle;
	instance_lookup lookup;
	// Looked up while the instance is made: later the loader may answer with the top of its chain.
	void(VKAPI_PTR *destroy)(VkInstance, const void *);
	void(VKAPI_PTR *properties)(VkPhysicalDevice, VkPhysicalDeviceProperties *);
	void(VKAPI_PTR *families)(VkPhysicalDevice, uint32_t *, VkQueueFamilyProperties *);
	void(VKAPI_PTR *families2)(VkPhysicalDevice, uint32_t *, VkQueueFamilyProperties2 *);
} instance;

// pending is a submission that has not begun.
typedef struct pending {
	struct pending *next;
	VkCommandBuffer commands;
	VkFence fence;
	VkSemaphore after, reach; // 0: none
	uint64_t after_value, reach_value;
} pending;

// queue is what a VkQueue of ours points to.
typedef struct {
	void *table;
	pending *first, *last;
} queue;

enum { QUEUES = 3 }; // one that computes, two that copy

typedef struct {
	void *table;
	VkDevice handle;
	device_lookup lookup;
	VkQueue real;
	queue queues[QUEUES];
	VkResult(VKAPI_PTR *submit)(VkQueue, uint32_t, const VkSubmitInfo *, VkFence);
} device;

static instance instances[64];
static device devices[1024];
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER; // guards both, and what is pending

// FIND returns a list's element of a handle, or with NULL a free one.
#define FIND(list, handle) \
	void *table = (handle) == NULL ? NULL : TABLE(handle); \
	for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) \
		if (list[i].table == table) \
			return &list[i]; \
	abort();

static instance *instance_of(void *handle) { FIND(instances, handle) }
static device *device_of(void *handle) { FIND(devices, handle) }

#define NEXT(d, type, name) ((type)(d)->lookup((d)->handle, name))

static link_info *link_of(const void *chain, VkStructureType type) {
	const link_info *l = chain;
	while (l->sType != type || l->function != LINK_INFO)
		l = l->pNext;
	return (link_info *)l;
}

static VkResult VKAPI_PTR CreateInstance(const VkInstanceCreateInfo *info, const void *a, VkInstance *out) {
	link_info *l = link_of(info->pNext, LOADER_INSTANCE_CREATE_INFO);
	instance_lookup lookup = l->link.instance->lookup;
	l->link.instance = l->link.instance->next;
	VkResult r = ((create_instance)lookup(NULL, "vkCreateInstance"))(info, a, out);
	if (r != VK_SUCCESS)
		return r;
	pthread_mutex_lock(&mu);
	*instance_of(NULL) = (instance){
		.table = TABLE(*out),
		.handle = *out,
		.lookup = lookup,
		.destroy = (void *)lookup(*out, "vkDestroyInstance"),
		.properties = (void *)lookup(*out, "vkGetPhysicalDeviceProperties"),
		.families = (void *)lookup(*out, "vkGetPhysicalDeviceQueueFamilyProperties"),
		.families2 = (void *)lookup(*out, "vkGetPhysicalDeviceQueueFamilyProperties2"),
	};
	pthread_mutex_unlock(&mu);
	return r;
}

static void VKAPI_PTR DestroyInstance(VkInstance handle, const void *a) {
	if (handle == NULL)
		return;
	instance *i = instance_of(handle);
	i->destroy(handle, a);
	i->table = NULL;
}

static void VKAPI_PTR GetPhysicalDeviceProperties(VkPhysicalDevice p, VkPhysicalDeviceProperties *out) {
	instance_of(p)->properties(p, out);
	((uint32_t *)out)[4] = DISCRETE_GPU; // deviceType
}

static const VkQueueFamilyProperties copies = {QUEUE_TRANSFER | QUEUE_SPARSE_BINDING, QUEUES - 1, 64, {1, 1, 1}};

static void VKAPI_PTR GetPhysicalDeviceQueueFamilyProperties(VkPhysicalDevice p, uint32_t *n, VkQueueFamilyProperties *out) {
	uint32_t real = 1;
	if (out != NULL) {
		instance_of(p)->families(p, &real, out);
		if (*n > 1)
			out[1] = copies;
	}
	*n = out == NULL || *n > 2 ? 2 : *n;
}

static void VKAPI_PTR GetPhysicalDeviceQueueFamilyProperties2(VkPhysicalDevice p, uint32_t *n, VkQueueFamilyProperties2 *out) {
	uint32_t real = 1;
	if (out != NULL) {
		instance_of(p)->families2(p, &real, out);
		if (*n > 1)
			out[1].properties = copies;
	}
	*n = out == NULL || *n > 2 ? 2 : *n;
}

static VkResult VKAPI_PTR CreateDevice(VkPhysicalDevice p, const VkDeviceCreateInfo *info, const void *a, VkDevice *out) {
	link_info *l = link_of(info->pNext, LOADER_DEVICE_CREATE_INFO);
	instance_lookup above = l->link.device->instance;
	device_lookup lookup = l->link.device->lookup;
	l->link.device = l->link.device->next;
	VkDeviceCreateInfo real = *info;
	real.queueCreateInfoCount = 1; // the first is that of the family that there is
	if (info->pQueueCreateInfos[0].queueFamilyIndex != 0)
		abort();
	VkResult r = ((create_device)above(instance_of(p)->handle, "vkCreateDevice"))(p, &real, a, out);
	if (r != VK_SUCCESS)
		return r;
	pthread_mutex_lock(&mu);
	device *d = device_of(NULL);
	*d = (device){.table = TABLE(*out), .handle = *out, .lookup = lookup, .submit = (void *)lookup(*out, "vkQueueSubmit")};
	NEXT(d, void(VKAPI_PTR *)(VkDevice, uint32_t, uint32_t, VkQueue *), "vkGetDeviceQueue")(*out, 0, 0, &d->real);
	TABLE(d->real) = d->table;
	for (int i = 0; i < QUEUES; i++)
		d->queues[i].table = d->table;
	pthread_mutex_unlock(&mu);
	return r;
}

static void VKAPI_PTR GetDeviceQueue(VkDevice handle, uint32_t family, uint32_t i, VkQueue *out) {
	*out = (VkQueue)&device_of(handle)->queues[family + i];
}

// run runs what is pending on a queue up to last, NULL: all. The caller holds mu.
static VkResult run(device *d, queue *q, const pending *last) {
	VkResult r = VK_SUCCESS;
	for (int more = q->first != NULL; more && r == VK_SUCCESS;) {
		pending *p = q->first;
		q->first = p->next;
		more = p != last && q->first != NULL;
		for (int i = 0; i < QUEUES && p->after != 0; i++)
			for (const pending *o = d->queues[i].first; o != NULL; o = o->next)
				if (o->reach == p->after && o->reach_value == p->after_value) {
					r = run(d, &d->queues[i], o);
					break;
				}
		const VkFlags stages = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
		VkTimelineSemaphoreSubmitInfo values = {
			VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO, NULL, p->after != 0, &p->after_value, p->reach != 0, &p->reach_value,
		};
		VkSubmitInfo info = {
			VK_STRUCTURE_TYPE_SUBMIT_INFO, p->after != 0 || p->reach != 0 ? &values : NULL,
			p->after != 0, &p->after, &stages, 1, &p->commands, p->reach != 0, &p->reach,
		};
		if (r == VK_SUCCESS)
			r = d->submit(d->real, 1, &info, p->fence);
		free(p);
	}
	return r;
}

// run_all runs what is pending on all queues. The caller holds mu.
static VkResult run_all(device *d) {
	VkResult r = VK_SUCCESS;
	for (int i = 0; i < QUEUES && r == VK_SUCCESS; i++)
		r = run(d, &d->queues[i], NULL);
	return r;
}

static VkResult VKAPI_PTR QueueSubmit(VkQueue handle, uint32_t n, const VkSubmitInfo *s, VkFence fence) {
	if (n != 1 || s->commandBufferCount != 1 || s->waitSemaphoreCount > 1 || s->signalSemaphoreCount > 1)
		abort(); // the driver under test does not submit such
	pending *p = calloc(1, sizeof *p);
	if (p == NULL)
		return VK_ERROR_OUT_OF_HOST_MEMORY;
	p->commands = s->pCommandBuffers[0];
	p->fence = fence;
	const VkTimelineSemaphoreSubmitInfo *values = s->pNext;
	if (s->waitSemaphoreCount > 0) {
		p->after = s->pWaitSemaphores[0];
		p->after_value = values->pWaitSemaphoreValues[0];
	}
	if (s->signalSemaphoreCount > 0) {
		p->reach = s->pSignalSemaphores[0];
		p->reach_value = values->pSignalSemaphoreValues[0];
	}
	queue *q = (queue *)handle;
	pthread_mutex_lock(&mu);
	if (q->first != NULL)
		q->last->next = p;
	else
		q->first = p;
	q->last = p;
	pthread_mutex_unlock(&mu);
	return VK_SUCCESS;
}

// find_fence finds the submission of a fence. The caller holds mu.
static pending *find_fence(device *d, VkFence fence, queue **q) {
	for (*q = d->queues; *q < d->queues + QUEUES; ++*q)
		for (pending *p = (*q)->first; p != NULL; p = p->next)
			if (p->fence == fence)
				return p;
	return NULL;
}

static VkResult VKAPI_PTR GetFenceStatus(VkDevice handle, VkFence fence) {
	device *d = device_of(handle);
	queue *q;
	pthread_mutex_lock(&mu);
	pending *p = find_fence(d, fence, &q);
	pthread_mutex_unlock(&mu);
	if (p != NULL)
		return VK_NOT_READY;
	return NEXT(d, VkResult(VKAPI_PTR *)(VkDevice, VkFence), "vkGetFenceStatus")(handle, fence);
}

static VkResult VKAPI_PTR WaitForFences(VkDevice handle, uint32_t n, const VkFence *fences, VkBool32 all, uint64_t timeout) {
	device *d = device_of(handle);
	VkResult r = VK_SUCCESS;
	pthread_mutex_lock(&mu);
	for (uint32_t i = 0; i < n && r == VK_SUCCESS; i++) {
		queue *q;
		pending *p = find_fence(d, fences[i], &q);
		if (p != NULL)
			r = run(d, q, p);
	}
	pthread_mutex_unlock(&mu);
	if (r != VK_SUCCESS)
		return r;
	return NEXT(d, VkResult(VKAPI_PTR *)(VkDevice, uint32_t, const VkFence *, VkBool32, uint64_t), "vkWaitForFences")(
		handle, n, fences, all, timeout);
}

static VkResult VKAPI_PTR DeviceWaitIdle(VkDevice handle) {
	device *d = device_of(handle);
	pthread_mutex_lock(&mu);
	VkResult r = run_all(d);
	pthread_mutex_unlock(&mu);
	return r != VK_SUCCESS ? r : NEXT(d, VkResult(VKAPI_PTR *)(VkDevice), "vkDeviceWaitIdle")(handle);
}

static void VKAPI_PTR DestroyDevice(VkDevice handle, const void *a) {
	if (handle == NULL)
		return;
	device *d = device_of(handle);
	void(VKAPI_PTR * destroy)(VkDevice, const void *) = (void *)d->lookup(handle, "vkDestroyDevice");
	pthread_mutex_lock(&mu);
	run_all(d);
	d->table = NULL;
	pthread_mutex_unlock(&mu);
	destroy(handle, a);
}

static VkResult VKAPI_PTR CreateCommandPool(VkDevice handle, const VkCommandPoolCreateInfo *info, const void *a, VkCommandPool *out) {
	VkCommandPoolCreateInfo real = *info;
	real.queueFamilyIndex = 0;
	return NEXT(device_of(handle), create_pool, "vkCreateCommandPool")(handle, &real, a, out);
}

static VkResult VKAPI_PTR CreateBuffer(VkDevice handle, const VkBufferCreateInfo *info, const void *a, VkBuffer *out) {
	// Validation does not follow which family owns a buffer: two families may use it only if it says so.
	const uint32_t *families = info->pQueueFamilyIndices;
	if (info->sharingMode != CONCURRENT || info->queueFamilyIndexCount != 2 || families[0] + families[1] != 1)
		return VK_ERROR_OUT_OF_HOST_MEMORY;
	VkBufferCreateInfo real = *info;
	real.sharingMode = 0;
	real.queueFamilyIndexCount = 0;
	return NEXT(device_of(handle), create_buffer, "vkCreateBuffer")(handle, &real, a, out);
}

static function VKAPI_PTR GetInstanceProcAddr(VkInstance handle, const char *name);
static function VKAPI_PTR GetDeviceProcAddr(VkDevice handle, const char *name);

#define OURS(f) \
	if (strcmp(name, "vk" #f) == 0) \
		return (function)f;

static function of_device(const char *name) {
	OURS(GetDeviceProcAddr)
	OURS(GetDeviceQueue)
	OURS(QueueSubmit)
	OURS(GetFenceStatus)
	OURS(WaitForFences)
	OURS(DeviceWaitIdle)
	OURS(DestroyDevice)
	OURS(CreateCommandPool)
	OURS(CreateBuffer)
	return NULL;
}

static function VKAPI_PTR GetDeviceProcAddr(VkDevice handle, const char *name) {
	function f = of_device(name);
	return f != NULL ? f : device_of(handle)->lookup(handle, name);
}

static function VKAPI_PTR GetInstanceProcAddr(VkInstance handle, const char *name) {
	OURS(GetInstanceProcAddr)
	OURS(CreateInstance)
	OURS(DestroyInstance)
	OURS(CreateDevice)
	OURS(GetPhysicalDeviceProperties)
	OURS(GetPhysicalDeviceQueueFamilyProperties)
	OURS(GetPhysicalDeviceQueueFamilyProperties2)
	function f = of_device(name);
	return f != NULL || handle == NULL ? f : instance_of(handle)->lookup(handle, name);
}

__attribute__((visibility("default"))) VkResult VKAPI_PTR vkNegotiateLoaderLayerInterfaceVersion(negotiation *n) {
	n->version = 2;
	n->instance = GetInstanceProcAddr;
	n->device = GetDeviceProcAddr;
	n->physical = NULL;
	return VK_SUCCESS;
}
