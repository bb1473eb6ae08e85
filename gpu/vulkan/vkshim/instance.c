//go:build cgo && !novulkan

#include "shim.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#include <windows.h>

void *vks_open(const char *library, char *why, size_t n) {
	HMODULE lib = LoadLibraryA(library);
	if (lib == NULL) {
		snprintf(why, n, "%s: error %lu", library, (unsigned long)GetLastError());
		return NULL;
	}
	void *gipa = (void *)GetProcAddress(lib, "vkGetInstanceProcAddr");
	if (gipa == NULL)
		snprintf(why, n, "%s has no vkGetInstanceProcAddr", library);
	return gipa;
}
#else
#include <dlfcn.h>

void *vks_open(const char *library, char *why, size_t n) {
	// The library stays open for the rest of the process: drivers do not all survive being unloaded.
	void *lib = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	if (lib == NULL) {
		snprintf(why, n, "%s", dlerror());
		return NULL;
	}
	void *gipa = dlsym(lib, "vkGetInstanceProcAddr");
	if (gipa == NULL)
		snprintf(why, n, "%s has no vkGetInstanceProcAddr", library);
	return gipa;
}
#endif

static vks_fn lookup(void *gipa, VkInstance instance, const char *name) {
	return ((vks_gipa)gipa)(instance, name);
}

uint32_t vks_instance_version(void *gipa) {
	VkResult(VKAPI_PTR * version)(uint32_t *) = (void *)lookup(gipa, NULL, "vkEnumerateInstanceVersion");
	uint32_t v = 0;
	if (version == NULL || version(&v) != VK_SUCCESS)
		return 1u << 22; // a loader that cannot tell is a Vulkan 1.0 loader
	return v;
}

int vks_has_layer(void *gipa, const char *name) {
	VkResult(VKAPI_PTR * list)(uint32_t *, VkLayerProperties *) = (void *)lookup(gipa, NULL, "vkEnumerateInstanceLayerProperties");
	uint32_t n = 0;
	if (list == NULL || list(&n, NULL) != VK_SUCCESS || n == 0)
		return 0;
	VkLayerProperties *p = calloc(n, sizeof *p);
	int found = 0;
	if (p != NULL && list(&n, p) >= 0)
		for (uint32_t i = 0; i < n; i++)
			found |= strcmp(p[i].layerName, name) == 0;
	free(p);
	return found;
}

int vks_has_instance_extension(void *gipa, const char *layer, const char *name) {
	VkResult(VKAPI_PTR * list)(const char *, uint32_t *, VkExtensionProperties *) =
		(void *)lookup(gipa, NULL, "vkEnumerateInstanceExtensionProperties");
	uint32_t n = 0;
	if (list == NULL || list(layer, &n, NULL) != VK_SUCCESS || n == 0)
		return 0;
	VkExtensionProperties *p = calloc(n, sizeof *p);
	int found = 0;
	if (p != NULL && list(layer, &n, p) >= 0)
		for (uint32_t i = 0; i < n; i++)
			found |= strcmp(p[i].extensionName, name) == 0;
	free(p);
	return found;
}

// Messages are kept up to this many bytes: a loop that makes the same mistake must not eat the memory.
#define VKS_MESSAGES_MAX (1 << 20)

struct vks_messages {
	pthread_mutex_t lock;
	char *text;
	size_t len, cap;
};

vks_messages *vks_messages_new(void) {
	vks_messages *m = calloc(1, sizeof *m);
	if (m != NULL)
		pthread_mutex_init(&m->lock, NULL);
	return m;
}

void vks_messages_free(vks_messages *m) {
	if (m == NULL)
		return;
	pthread_mutex_destroy(&m->lock);
	free(m->text);
	free(m);
}

char *vks_messages_take(vks_messages *m, size_t *n) {
	pthread_mutex_lock(&m->lock);
	char *text = m->text;
	*n = m->len;
	m->text = NULL;
	m->len = m->cap = 0;
	pthread_mutex_unlock(&m->lock);
	return text;
}

static VkBool32 VKAPI_PTR collect(int32_t severity, VkFlags types, const VkDebugUtilsMessengerCallbackDataEXT *data, void *user) {
	vks_messages *m = user;
	const char *s = data->pMessage != NULL ? data->pMessage : "a message without text";
	size_t n = strlen(s) + 1;
	pthread_mutex_lock(&m->lock);
	if (m->len + n <= VKS_MESSAGES_MAX) {
		if (m->len + n > m->cap) {
			size_t cap = 2 * (m->len + n);
			char *text = realloc(m->text, cap);
			if (text != NULL) {
				m->text = text;
				m->cap = cap;
			}
		}
		if (m->len + n <= m->cap) {
			memcpy(m->text + m->len, s, n);
			m->len += n;
		}
	}
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static VkDebugUtilsMessengerCreateInfoEXT messenger_info(vks_messages *m) {
	// Only what concerns our own calls: the loader reports about other people's drivers under "general".
	return (VkDebugUtilsMessengerCreateInfoEXT){
		.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
		.messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
		.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
		.pfnUserCallback = collect,
		.pUserData = m,
	};
}

VkResult vks_messenger_create(void *gipa, VkInstance instance, vks_messages *m, VkDebugUtilsMessengerEXT *out) {
	VkResult(VKAPI_PTR * create)(VkInstance, const VkDebugUtilsMessengerCreateInfoEXT *, const void *, VkDebugUtilsMessengerEXT *) =
		(void *)lookup(gipa, instance, "vkCreateDebugUtilsMessengerEXT");
	if (create == NULL)
		return VK_ERROR_EXTENSION_NOT_PRESENT;
	VkDebugUtilsMessengerCreateInfoEXT info = messenger_info(m);
	return create(instance, &info, NULL, out);
}

void vks_messenger_destroy(void *gipa, VkInstance instance, VkDebugUtilsMessengerEXT messenger) {
	void(VKAPI_PTR * destroy)(VkInstance, VkDebugUtilsMessengerEXT, const void *) =
		(void *)lookup(gipa, instance, "vkDestroyDebugUtilsMessengerEXT");
	if (destroy != NULL)
		destroy(instance, messenger, NULL);
}

struct instance_info {
	VkInstanceCreateInfo info; // first: the address of the whole is the address of this
	VkApplicationInfo app;
	VkDebugUtilsMessengerCreateInfoEXT messenger;
	VkValidationFeaturesEXT validation;
	int32_t enables[1];
	const char *layers[1];
	const char *extensions[3];
};

void *vks_instance_info(uint32_t api, int portability, vks_messages *m) {
	struct instance_info *c = calloc(1, sizeof *c);
	if (c == NULL)
		return NULL;
	c->app = (VkApplicationInfo){
		.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
		.pApplicationName = "gonvolve",
		.pEngineName = "gonvolve",
		.apiVersion = api,
	};
	c->info = (VkInstanceCreateInfo){
		.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
		.pApplicationInfo = &c->app,
		.ppEnabledLayerNames = c->layers,
		.ppEnabledExtensionNames = c->extensions,
	};
	if (portability) {
		c->info.flags |= VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR;
		c->extensions[c->info.enabledExtensionCount++] = "VK_KHR_portability_enumeration";
	}
	if (m != NULL) {
		c->layers[c->info.enabledLayerCount++] = "VK_LAYER_KHRONOS_validation";
		c->extensions[c->info.enabledExtensionCount++] = "VK_EXT_debug_utils";
		c->extensions[c->info.enabledExtensionCount++] = "VK_EXT_validation_features";
		c->enables[0] = VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT;
		c->validation = (VkValidationFeaturesEXT){
			.sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
			.enabledValidationFeatureCount = 1,
			.pEnabledValidationFeatures = c->enables,
		};
		c->messenger = messenger_info(m);
		c->messenger.pNext = &c->validation;
		c->info.pNext = &c->messenger;
	}
	return c;
}
