//go:build cgo && !novulkan

#include "shim.h"

#include <stdlib.h>
#include <string.h>

#define VERSION(major, minor) ((uint32_t)(major) << 22 | (uint32_t)(minor) << 12)

static const struct {
	const char *name;
	uint32_t bit;
} known[] = {
	{"VK_KHR_portability_subset", VKS_EXT_PORTABILITY_SUBSET},
	{"VK_KHR_8bit_storage", VKS_EXT_8BIT_STORAGE},
	{"VK_KHR_shader_float16_int8", VKS_EXT_FLOAT16_INT8},
	{"VK_KHR_driver_properties", VKS_EXT_DRIVER_PROPERTIES},
	{"VK_KHR_maintenance4", VKS_EXT_MAINTENANCE4},
	{"VK_NV_shader_sm_builtins", VKS_EXT_SM_BUILTINS},
	{"VK_AMD_shader_core_properties", VKS_EXT_SHADER_CORE},
	{"VK_EXT_external_memory_host", VKS_EXT_EXTERNAL_MEMORY_HOST},
	{"VK_KHR_cooperative_matrix", VKS_EXT_COOPERATIVE_MATRIX},
	{"VK_EXT_memory_budget", VKS_EXT_MEMORY_BUDGET},
	{"VK_KHR_shader_integer_dot_product", VKS_EXT_DOT},
	{"VK_KHR_timeline_semaphore", VKS_EXT_TIMELINE},
};

static VkResult device_extensions(void *gipa, VkInstance instance, VkPhysicalDevice phys, uint32_t *bits) {
	VkResult(VKAPI_PTR * list)(VkPhysicalDevice, const char *, uint32_t *, VkExtensionProperties *) =
		(void *)((vks_gipa)gipa)(instance, "vkEnumerateDeviceExtensionProperties");
	uint32_t n = 0;
	VkResult r = list(phys, NULL, &n, NULL);
	if (r != VK_SUCCESS || n == 0)
		return r;
	VkExtensionProperties *p = calloc(n, sizeof *p);
	if (p == NULL)
		return VK_ERROR_OUT_OF_HOST_MEMORY;
	r = list(phys, NULL, &n, p);
	if (r == VK_INCOMPLETE)
		r = VK_SUCCESS;
	for (uint32_t i = 0; r == VK_SUCCESS && i < n; i++)
		for (size_t j = 0; j < sizeof known / sizeof known[0]; j++)
			if (strcmp(p[i].extensionName, known[j].name) == 0)
				*bits |= known[j].bit;
	free(p);
	return r;
}

// matrices lists the shapes of products of f16 summed in f32.
static void matrices(void *gipa, VkInstance instance, VkPhysicalDevice phys, vks_facts *out) {
	VkResult(VKAPI_PTR * list)(VkPhysicalDevice, uint32_t *, VkCooperativeMatrixPropertiesKHR *) =
		(void *)((vks_gipa)gipa)(instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
	uint32_t n = 0;
	if (list == NULL || list(phys, &n, NULL) != VK_SUCCESS || n == 0)
		return;
	VkCooperativeMatrixPropertiesKHR *p = calloc(n, sizeof *p);
	if (p == NULL)
		return;
	for (uint32_t i = 0; i < n; i++)
		p[i].sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
	if (list(phys, &n, p) >= VK_SUCCESS)
		for (uint32_t i = 0; i < n && out->matrices < VKS_MATRIX_SHAPES; i++)
			if (p[i].AType == VK_COMPONENT_TYPE_FLOAT16_KHR && p[i].BType == VK_COMPONENT_TYPE_FLOAT16_KHR &&
				p[i].CType == VK_COMPONENT_TYPE_FLOAT32_KHR && p[i].ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR &&
				!p[i].saturatingAccumulation && p[i].scope == VK_SCOPE_SUBGROUP_KHR)
				out->matrix[out->matrices++] = (vks_matrix){p[i].MSize, p[i].NSize, p[i].KSize};
	free(p);
}

VkResult vks_device_facts(void *gipa, VkInstance instance, VkPhysicalDevice phys, uint32_t api, vks_facts *out) {
	memset(out, 0, sizeof *out);
	VkResult r = device_extensions(gipa, instance, phys, &out->extensions);
	if (r != VK_SUCCESS || api < VERSION(1, 1))
		return r;
	void(VKAPI_PTR * properties2)(VkPhysicalDevice, VkPhysicalDeviceProperties2 *) =
		(void *)((vks_gipa)gipa)(instance, "vkGetPhysicalDeviceProperties2");
	void(VKAPI_PTR * features2)(VkPhysicalDevice, VkPhysicalDeviceFeatures2 *) =
		(void *)((vks_gipa)gipa)(instance, "vkGetPhysicalDeviceFeatures2");
	if (properties2 == NULL || features2 == NULL)
		return VK_SUCCESS;
	uint32_t ext = out->extensions;

	VkPhysicalDeviceIDProperties id = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES, NULL};
	VkPhysicalDeviceSubgroupProperties subgroup = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES, &id};
	VkPhysicalDeviceMaintenance3Properties m3 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES, &subgroup};
	VkPhysicalDeviceDriverProperties driver = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES, NULL};
	VkPhysicalDeviceMaintenance4Properties m4 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES, NULL};
	VkPhysicalDeviceShaderSMBuiltinsPropertiesNV nv = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_SM_BUILTINS_PROPERTIES_NV, NULL};
	VkPhysicalDeviceShaderCorePropertiesAMD amd = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_PROPERTIES_AMD, NULL};
	VkPhysicalDeviceShaderIntegerDotProductProperties fast = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_PROPERTIES, NULL};
	VkPhysicalDeviceProperties2 p = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &m3};
#define CHAIN(head, s) (s.pNext = head.pNext, head.pNext = &s)
	if (api >= VERSION(1, 2) || ext & VKS_EXT_DRIVER_PROPERTIES)
		CHAIN(p, driver);
	if (api >= VERSION(1, 3) || ext & VKS_EXT_MAINTENANCE4)
		CHAIN(p, m4);
	if (api >= VERSION(1, 3) || ext & VKS_EXT_DOT)
		CHAIN(p, fast);
	if (ext & VKS_EXT_SM_BUILTINS)
		CHAIN(p, nv);
	if (ext & VKS_EXT_SHADER_CORE)
		CHAIN(p, amd);
	properties2(phys, &p);

	VkPhysicalDevice16BitStorageFeatures s16 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES, NULL};
	VkPhysicalDevice8BitStorageFeatures s8 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_8BIT_STORAGE_FEATURES, NULL};
	VkPhysicalDeviceShaderFloat16Int8Features f16 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES, NULL};
	VkPhysicalDeviceFeatures2 f = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, &s16};
	if (api >= VERSION(1, 2) || ext & VKS_EXT_8BIT_STORAGE)
		CHAIN(f, s8);
	if (api >= VERSION(1, 2) || ext & VKS_EXT_FLOAT16_INT8)
		CHAIN(f, f16);
	VkPhysicalDeviceShaderIntegerDotProductFeatures dot = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES, NULL};
	if (api >= VERSION(1, 3) || ext & VKS_EXT_DOT)
		CHAIN(f, dot);
	VkPhysicalDeviceTimelineSemaphoreFeatures timeline = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES, NULL};
	if (api >= VERSION(1, 2) || ext & VKS_EXT_TIMELINE)
		CHAIN(f, timeline);
	VkPhysicalDeviceVulkanMemoryModelFeatures model = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES, NULL};
	VkPhysicalDeviceSubgroupSizeControlFeatures sizes = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES, NULL};
	VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrix = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR, NULL};
	if (api >= VERSION(1, 3) && ext & VKS_EXT_COOPERATIVE_MATRIX) {
		CHAIN(f, model);
		CHAIN(f, sizes);
		CHAIN(f, matrix);
	}
	features2(phys, &f);
	int with_matrices = matrix.cooperativeMatrix && model.vulkanMemoryModel && sizes.computeFullSubgroups &&
		f16.shaderFloat16 && s16.storageBuffer16BitAccess;
	if (with_matrices)
		matrices(gipa, instance, phys, out);

	memcpy(out->device_uuid, id.deviceUUID, sizeof id.deviceUUID);
	memcpy(out->driver_uuid, id.driverUUID, sizeof id.driverUUID);
	memcpy(out->driver_name, driver.driverName, sizeof driver.driverName);
	memcpy(out->driver_info, driver.driverInfo, sizeof driver.driverInfo);
	out->max_allocation = m3.maxMemoryAllocationSize;
	out->max_buffer = m4.maxBufferSize;
	out->subgroup_size = subgroup.subgroupSize;
	out->subgroup_shuffle = (subgroup.supportedStages & 0x20 /* compute */) && (subgroup.supportedOperations & 0x10 /* shuffle */);
	out->compute_units = nv.shaderSMCount;
	if (ext & VKS_EXT_SHADER_CORE)
		out->compute_units = amd.shaderEngineCount * amd.shaderArraysPerEngineCount * amd.computeUnitsPerShaderArray;
	out->features = (f16.shaderFloat16 ? VKS_FLOAT16 : 0) | (f16.shaderInt8 ? VKS_INT8 : 0) |
		(s16.storageBuffer16BitAccess ? VKS_STORAGE16 : 0) | (s8.storageBuffer8BitAccess ? VKS_STORAGE8 : 0) |
		(f.features.shaderInt16 ? VKS_INT16 : 0) | (f.features.shaderInt64 ? VKS_INT64 : 0) |
		(f.features.shaderFloat64 ? VKS_FLOAT64 : 0) | (out->matrices > 0 ? VKS_MATRIX : 0) |
		(timeline.timelineSemaphore ? VKS_TIMELINE : 0) | (dot.shaderIntegerDotProduct ? VKS_DOT : 0) |
		(dot.shaderIntegerDotProduct && fast.accelerated[VK_DOT_4X8_PACKED_SIGNED] ? VKS_DOT_FAST : 0);
	return VK_SUCCESS;
}

uint64_t vks_memory_budget(void *gipa, VkInstance instance, VkPhysicalDevice phys, uint32_t heap) {
	void(VKAPI_PTR * memory2)(VkPhysicalDevice, VkPhysicalDeviceMemoryProperties2 *) =
		(void *)((vks_gipa)gipa)(instance, "vkGetPhysicalDeviceMemoryProperties2");
	VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT, NULL};
	VkPhysicalDeviceMemoryProperties2 p = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2, &budget};
	if (memory2 == NULL)
		return 0;
	memory2(phys, &p);
	return heap < p.memoryHeapCount ? budget.heapBudget[heap] : 0;
}

uint32_t vks_queue_families(void *gipa, VkInstance instance, VkPhysicalDevice phys, uint32_t n, VkQueueFamilyProperties *out) {
	void(VKAPI_PTR * list)(VkPhysicalDevice, uint32_t *, VkQueueFamilyProperties *) =
		(void *)((vks_gipa)gipa)(instance, "vkGetPhysicalDeviceQueueFamilyProperties");
	uint32_t all = 0;
	list(phys, &all, NULL);
	list(phys, &n, out);
	return all;
}

struct device_info {
	VkDeviceCreateInfo info; // first: the address of the whole is the address of this
	VkDeviceQueueCreateInfo queues[2];
	float priorities[1 + VKS_TRANSFER_QUEUES];
	VkPhysicalDeviceFeatures2 features;
	VkPhysicalDevice16BitStorageFeatures s16;
	VkPhysicalDevice8BitStorageFeatures s8;
	VkPhysicalDeviceShaderFloat16Int8Features f16;
	VkPhysicalDeviceShaderIntegerDotProductFeatures dot;
	VkPhysicalDeviceTimelineSemaphoreFeatures timeline;
	VkPhysicalDeviceVulkanMemoryModelFeatures model;
	VkPhysicalDeviceSubgroupSizeControlFeatures sizes;
	VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrix;
	const char *extensions[6];
};

void *vks_device_info(uint32_t api, uint32_t family, uint32_t transfer_family, uint32_t transfer_queues,
	uint32_t features, uint32_t extensions) {
	struct device_info *c = calloc(1, sizeof *c);
	if (c == NULL)
		return NULL;
	if (transfer_queues > VKS_TRANSFER_QUEUES)
		transfer_queues = VKS_TRANSFER_QUEUES;
	for (uint32_t i = 0; i <= transfer_queues; i++)
		c->priorities[i] = 1;
	for (int i = 0; i < 2; i++)
		c->queues[i] = (VkDeviceQueueCreateInfo){
			.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
			.queueFamilyIndex = i == 0 ? family : transfer_family,
			.queueCount = i == 0 ? 1 : transfer_queues,
			.pQueuePriorities = c->priorities,
		};
	int apart = transfer_queues > 0 && transfer_family != family; // Vulkan wants a family named once
	if (!apart)
		c->queues[0].queueCount += transfer_queues;
	c->features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
	c->features.features.shaderInt16 = (features & VKS_INT16) != 0;
	c->features.features.shaderInt64 = (features & VKS_INT64) != 0;
	c->features.features.shaderFloat64 = (features & VKS_FLOAT64) != 0;
	c->info = (VkDeviceCreateInfo){
		.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
		.pNext = &c->features,
		.queueCreateInfoCount = apart ? 2 : 1,
		.pQueueCreateInfos = c->queues,
		.ppEnabledExtensionNames = c->extensions,
	};
	if (features & VKS_STORAGE16) {
		c->s16.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES;
		c->s16.storageBuffer16BitAccess = 1;
		CHAIN(c->features, c->s16);
	}
	if (features & VKS_STORAGE8) {
		c->s8.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_8BIT_STORAGE_FEATURES;
		c->s8.storageBuffer8BitAccess = 1;
		CHAIN(c->features, c->s8);
		if (api < VERSION(1, 2))
			c->extensions[c->info.enabledExtensionCount++] = "VK_KHR_8bit_storage";
	}
	if (features & (VKS_FLOAT16 | VKS_INT8)) {
		c->f16.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES;
		c->f16.shaderFloat16 = (features & VKS_FLOAT16) != 0;
		c->f16.shaderInt8 = (features & VKS_INT8) != 0;
		CHAIN(c->features, c->f16);
		if (api < VERSION(1, 2))
			c->extensions[c->info.enabledExtensionCount++] = "VK_KHR_shader_float16_int8";
	}
	if (features & VKS_DOT) {
		c->dot.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES;
		c->dot.shaderIntegerDotProduct = 1;
		CHAIN(c->features, c->dot);
		if (api < VERSION(1, 3))
			c->extensions[c->info.enabledExtensionCount++] = "VK_KHR_shader_integer_dot_product";
	}
	if (features & VKS_TIMELINE) {
		c->timeline.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES;
		c->timeline.timelineSemaphore = 1;
		CHAIN(c->features, c->timeline);
		if (api < VERSION(1, 2))
			c->extensions[c->info.enabledExtensionCount++] = "VK_KHR_timeline_semaphore";
	}
	if (features & VKS_MATRIX) {
		c->model.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES;
		c->model.vulkanMemoryModel = 1;
		c->sizes.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES;
		c->sizes.computeFullSubgroups = 1;
		c->matrix.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR;
		c->matrix.cooperativeMatrix = 1;
		CHAIN(c->features, c->model);
		CHAIN(c->features, c->sizes);
		CHAIN(c->features, c->matrix);
		c->extensions[c->info.enabledExtensionCount++] = "VK_KHR_cooperative_matrix";
	}
	if (extensions & VKS_EXT_PORTABILITY_SUBSET) // Vulkan wants it enabled wherever it is offered
		c->extensions[c->info.enabledExtensionCount++] = "VK_KHR_portability_subset";
	return c;
}
