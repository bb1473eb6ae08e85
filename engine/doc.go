// Package engine runs convolution and pooling on any device: GPUs through Vulkan or OpenCL, or the CPU.
//
// Import the drivers that a program should have for their side effect, open a device by its spec, and run:
//
//	import (
//		"github.com/gonvolve/gonvolve/engine"
//		_ "github.com/gonvolve/gonvolve/cpu"
//		_ "github.com/gonvolve/gonvolve/gpu/vulkan"
//	)
//
// [Device.Conv] and [Device.Pool] go from host tensors to a host tensor in one call. For more than one run of the same
// problem make a [Plan], which holds compiled kernels and packed weights, keep tensors on the device, and order the
// work with a [Stream].
//
// A device that cannot run a problem falls back to the cpu visibly: the plan says so ([Plan.Fallback]), the device
// counts it ([Device.Fallbacks]) and the default slog logger gets a warning. [NoFallback] makes it an error.
package engine
