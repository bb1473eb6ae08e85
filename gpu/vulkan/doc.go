// Package vulkan is the gpu package's way to Vulkan devices: it implements hal.API on the vulkan-go binding, which
// loads, enumerates and creates, and on vkshim, which makes the calls the binding lacks or cannot make safely.
//
// The loader is opened at run time: a program that contains this package starts on machines without Vulkan, and is
// told what is missing there. Without cgo, or with the build tag novulkan, the package is empty.
//
// The execution model is the simplest one that is right everywhere: one VkQueue per device for kernels, and up to two for
// transfers where there are more (of a family that only copies, if there is one), each behind a mutex; a full barrier between
// commands, one fence per submission. Work of different streams is ordered by the host, which waits for fences; a stream that
// goes from transfers to kernels, by a timeline semaphore. What a submission needs (command buffer, descriptor pool, query
// pool, fence) is kept and used again, so that a queue in its stride creates nothing.
package vulkan
