// Package vulkan is the gpu package's way to Vulkan devices: it implements hal.API on the vulkan-go binding, which
// loads, enumerates and creates, and on vkshim, which makes the calls the binding lacks or cannot make safely.
//
// The loader is opened at run time: a program that contains this package starts on machines without Vulkan, and is
// told what is missing there. Without cgo, or with the build tag novulkan, the package is empty.
//
// The execution model is the simplest one that is right everywhere: one VkQueue per device behind a mutex, a full
// barrier between commands, one fence per submission. What a submission needs (command buffer, descriptor pool, query
// pool, fence) is kept and used again, so that a queue in its stride creates nothing.
package vulkan
