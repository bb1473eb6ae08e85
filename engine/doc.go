// Package engine runs convolution, pooling and their relatives, forward and backward, on any device: GPUs through Vulkan
// or OpenCL, or the CPU.
//
// Import the drivers that a program should have for their side effect, open a device by its spec, and run:
//
//	import (
//		"github.com/gonvolve/gonvolve/engine"
//		_ "github.com/gonvolve/gonvolve/cpu"
//		_ "github.com/gonvolve/gonvolve/gpu/vulkan"
//	)
//
// [Device.Conv], [Device.Deconv] and [Device.Pool] go from host tensors to a host tensor in one call. For more than one run
// of the same problem make a [Plan], which holds compiled kernels and packed weights, keep tensors on the device, and order
// the work with a [Stream].
//
// # Roles
//
// Everything else that there is (gradients, indices, post-operations, integers, layouts) is a problem.Problem, made by
// problem.Parse or problem.NewConv and its like, whose tensors go by their roles: [Operands] are host tensors by role,
// [Args] those on a device, as in
//
//	out, err := dev.Compute(ctx, p, engine.Operands{problem.DiffDst: gradient, problem.Wei: weights})
//	dx := out[problem.DiffSrc]
//
// The problem says which roles it has, in three groups. Its Constants (weights, bias, parameters of post-operations and of
// quantization) are what [Plan.SetWeights] takes once; its Inputs are what each [Plan.Run] reads; its Outputs are what it
// writes. [Device.Compute] takes constants and inputs together. Shape and TypeOf of the problem say what each tensor must
// be, in the order of its memory: [N, C, spatial…], or [N, spatial…, C] where the problem has channels last.
//
// # The fastest device
//
// The device "auto" stands for all: Plan, Compute and their like run on the one that is measured to be fastest for the
// problem ([Device.For], [Device.Why], [Plan.Choice]), and what is made for a plan is made by [Plan.Device].
//
// # Fallback
//
// A device that cannot run a problem falls back to the cpu visibly: the plan says so ([Plan.Fallback]), the device
// counts it ([Device.Fallbacks]) and the default slog logger gets a warning. [NoFallback] makes it an error.
//
// # Larger than the device
//
// A problem that the device, or its memory limit ([WithMemLimit]), cannot hold runs on it in tiles, by [Device.Compute] and its
// like, in programs that import package tiling; a [Plan] of it is an error that says so.
//
// # When devices fail
//
// [Device.Compute] and its like open a device again that was lost on the way, up to three times for a run, and fall back to
// the cpu after that, or when memory runs out; each step is in Fallbacks and in the log. Whoever keeps tensors on a device
// sees [ErrDeviceLost], calls [Device.Reopen], and makes them anew. [WithDeadline] gives a device up that does not answer
// ([ErrDeviceHung]); [WithCheck] computes a sample of each result once more by the reference, and names a device that
// computes something else ([ErrWrongResult]). Package tiling goes on from the last finished tile, and takes smaller tiles
// before another device. Package faulty makes any driver fail, to see all of this.
package engine
