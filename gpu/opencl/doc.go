// Package opencl implements gpu/hal on OpenCL 1.2 and later, with go-opencl for what that binding does well
// (enumeration, contexts, queues, buffers) and package clshim for the rest.
//
// # Building and running
//
// It takes cgo, the OpenCL headers and a libOpenCL to build (Debian: ocl-icd-opencl-dev), but a program needs neither
// to start: the loader is opened when devices are first asked for. Without cgo, or with the build tag noopencl, the
// package is empty.
//
// # Memory
//
// A CPU device that offers fine-grained shared virtual memory (PoCL does) is Unified: device memory is a buffer over
// clSVMAlloc memory. That is the only kind of OpenCL memory that the host may touch in place, with no map and unmap
// around each access, while the same memory is bound to kernels; a mapping kept over a kernel that writes the buffer
// is undefined, though drivers for CPUs let it pass. Any other device, and every device opened with Options.Staged,
// has plain buffers and goes through staging memory.
//
// Staging memory is a CL_MEM_ALLOC_HOST_PTR buffer, mapped from Alloc to Free, which is how OpenCL drivers are asked
// for pinned memory. Kernels never see it; copies use the mapped pointer as host memory.
//
// # Ownership
//
// The binding sets finalizers on its wrappers. Each type here keeps its wrappers as long as the raw handles in them
// are used, so a finalizer never releases what a call is using, and releases them itself in Free and Close.
package opencl
