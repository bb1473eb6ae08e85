//go:build cgo && !noopencl

// forward.c: the cl* functions that the binding and shim.c call, each forwarded to the library that Go's Load opened.
// They are hidden, so that they never stand in for the real ones inside the loader or a driver.
#include "shim.h"

#ifndef __APPLE__

#define HIDDEN __attribute__((visibility("hidden")))

// STATUS defines a function that returns an error code.
#define STATUS(name, params, args)                              \
  HIDDEN cl_int CL_API_CALL name params {                       \
    static void *slot;                                          \
    typedef cl_int(CL_API_CALL * fn_type) params;               \
    fn_type fn = (fn_type)clshim_symbol(&slot, #name);          \
    return fn ? fn args : CLSHIM_MISSING;                       \
  }

// OBJECT defines a function that returns a handle, and an error code through its last parameter err.
#define OBJECT(type, name, params, args)                        \
  HIDDEN type CL_API_CALL name params {                         \
    static void *slot;                                          \
    typedef type(CL_API_CALL * fn_type) params;                 \
    fn_type fn = (fn_type)clshim_symbol(&slot, #name);          \
    if (fn) return fn args;                                     \
    if (err) *err = CLSHIM_MISSING;                             \
    return NULL;                                                \
  }

// Ctrl+C goes to all processes of a terminal's group: also to compilers and linkers that drivers start, and a driver whose linker
// dies may abort. Whoever starts one, and threads of drivers that may, therefore leave these signals to other threads, and what
// is started inherits that.
#ifdef _WIN32
#define SHIELDED(type, result, call) type result = call;
#else
#include <pthread.h>
#include <signal.h>

static void shield(sigset_t *before) {
  sigset_t those;
  sigemptyset(&those);
  sigaddset(&those, SIGINT);
  sigaddset(&those, SIGTERM);
  sigaddset(&those, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &those, before);
}

#define SHIELDED(type, result, call)                            \
  sigset_t before;                                              \
  shield(&before);                                              \
  type result = call;                                           \
  pthread_sigmask(SIG_SETMASK, &before, NULL);
#endif

// SHIELDED_STATUS is STATUS of a function that starts threads or processes.
#define SHIELDED_STATUS(name, params, args)                     \
  HIDDEN cl_int CL_API_CALL name params {                       \
    static void *slot;                                          \
    typedef cl_int(CL_API_CALL * fn_type) params;               \
    fn_type fn = (fn_type)clshim_symbol(&slot, #name);          \
    if (!fn) return CLSHIM_MISSING;                             \
    SHIELDED(cl_int, result, fn args)                           \
    return result;                                              \
  }

// SHIELDED_OBJECT is OBJECT of a function that starts threads or processes.
#define SHIELDED_OBJECT(type, name, params, args)               \
  HIDDEN type CL_API_CALL name params {                         \
    static void *slot;                                          \
    typedef type(CL_API_CALL * fn_type) params;                 \
    fn_type fn = (fn_type)clshim_symbol(&slot, #name);          \
    if (!fn) {                                                  \
      if (err) *err = CLSHIM_MISSING;                           \
      return NULL;                                              \
    }                                                           \
    SHIELDED(type, result, fn args)                             \
    return result;                                              \
  }

typedef void(CL_CALLBACK *context_notify)(const char *, const void *, size_t, void *);
typedef void(CL_CALLBACK *build_notify)(cl_program, void *);

// Platforms and devices.
SHIELDED_STATUS(clGetPlatformIDs, (cl_uint n, cl_platform_id *ids, cl_uint *count), (n, ids, count))
STATUS(clGetPlatformInfo, (cl_platform_id p, cl_platform_info q, size_t size, void *value, size_t *need),
       (p, q, size, value, need))
SHIELDED_STATUS(clGetDeviceIDs, (cl_platform_id p, cl_device_type t, cl_uint n, cl_device_id *ids, cl_uint *count),
       (p, t, n, ids, count))
STATUS(clGetDeviceInfo, (cl_device_id d, cl_device_info q, size_t size, void *value, size_t *need),
       (d, q, size, value, need))

// Contexts and queues.
SHIELDED_OBJECT(cl_context, clCreateContext,
       (const cl_context_properties *props, cl_uint n, const cl_device_id *ids, context_notify notify, void *user,
        cl_int *err),
       (props, n, ids, notify, user, err))
STATUS(clReleaseContext, (cl_context c), (c))
SHIELDED_OBJECT(cl_command_queue, clCreateCommandQueue,
       (cl_context c, cl_device_id d, cl_command_queue_properties props, cl_int *err), (c, d, props, err))
STATUS(clReleaseCommandQueue, (cl_command_queue q), (q))
STATUS(clFlush, (cl_command_queue q), (q))
STATUS(clFinish, (cl_command_queue q), (q))

// Memory.
OBJECT(cl_mem, clCreateBuffer, (cl_context c, cl_mem_flags flags, size_t size, void *host, cl_int *err),
       (c, flags, size, host, err))
OBJECT(cl_mem, clCreateSubBuffer,
       (cl_mem m, cl_mem_flags flags, cl_buffer_create_type t, const void *info, cl_int *err),
       (m, flags, t, info, err))
OBJECT(cl_mem, clCreateImage,
       (cl_context c, cl_mem_flags flags, const cl_image_format *format, const cl_image_desc *desc, void *host,
        cl_int *err),
       (c, flags, format, desc, host, err))
STATUS(clGetSupportedImageFormats,
       (cl_context c, cl_mem_flags flags, cl_mem_object_type t, cl_uint n, cl_image_format *formats, cl_uint *count),
       (c, flags, t, n, formats, count))
STATUS(clRetainMemObject, (cl_mem m), (m))
STATUS(clReleaseMemObject, (cl_mem m), (m))

HIDDEN void *CL_API_CALL clSVMAlloc(cl_context c, cl_svm_mem_flags flags, size_t size, cl_uint alignment) {
  static void *slot;
  typedef void *(CL_API_CALL * fn_type)(cl_context, cl_svm_mem_flags, size_t, cl_uint);
  fn_type fn = (fn_type)clshim_symbol(&slot, "clSVMAlloc");
  return fn ? fn(c, flags, size, alignment) : NULL;
}

HIDDEN void CL_API_CALL clSVMFree(cl_context c, void *ptr) {
  static void *slot;
  typedef void(CL_API_CALL * fn_type)(cl_context, void *);
  fn_type fn = (fn_type)clshim_symbol(&slot, "clSVMFree");
  if (fn) fn(c, ptr);
}

// Programs and kernels.
OBJECT(cl_program, clCreateProgramWithSource,
       (cl_context c, cl_uint n, const char **text, const size_t *sizes, cl_int *err), (c, n, text, sizes, err))
OBJECT(cl_program, clCreateProgramWithBinary,
       (cl_context c, cl_uint n, const cl_device_id *ids, const size_t *sizes, const unsigned char **data,
        cl_int *status, cl_int *err),
       (c, n, ids, sizes, data, status, err))
SHIELDED_STATUS(clBuildProgram,
       (cl_program p, cl_uint n, const cl_device_id *ids, const char *options, build_notify notify, void *user),
       (p, n, ids, options, notify, user))
SHIELDED_STATUS(clGetProgramInfo, (cl_program p, cl_program_info q, size_t size, void *value, size_t *need),
       (p, q, size, value, need))
STATUS(clGetProgramBuildInfo,
       (cl_program p, cl_device_id d, cl_program_build_info q, size_t size, void *value, size_t *need),
       (p, d, q, size, value, need))
STATUS(clReleaseProgram, (cl_program p), (p))
OBJECT(cl_kernel, clCreateKernel, (cl_program p, const char *name, cl_int *err), (p, name, err))
STATUS(clReleaseKernel, (cl_kernel k), (k))
STATUS(clSetKernelArg, (cl_kernel k, cl_uint i, size_t size, const void *value), (k, i, size, value))
STATUS(clGetKernelInfo, (cl_kernel k, cl_kernel_info q, size_t size, void *value, size_t *need),
       (k, q, size, value, need))
STATUS(clGetKernelArgInfo, (cl_kernel k, cl_uint i, cl_kernel_arg_info q, size_t size, void *value, size_t *need),
       (k, i, q, size, value, need))
STATUS(clGetKernelWorkGroupInfo,
       (cl_kernel k, cl_device_id d, cl_kernel_work_group_info q, size_t size, void *value, size_t *need),
       (k, d, q, size, value, need))

// Events.
OBJECT(cl_event, clCreateUserEvent, (cl_context c, cl_int *err), (c, err))
STATUS(clSetUserEventStatus, (cl_event e, cl_int status), (e, status))
STATUS(clWaitForEvents, (cl_uint n, const cl_event *events), (n, events))
STATUS(clGetEventInfo, (cl_event e, cl_event_info q, size_t size, void *value, size_t *need),
       (e, q, size, value, need))
STATUS(clGetEventProfilingInfo, (cl_event e, cl_profiling_info q, size_t size, void *value, size_t *need),
       (e, q, size, value, need))
STATUS(clReleaseEvent, (cl_event e), (e))

// Commands. Each ends in a wait list and the event it makes.
#define WAITS cl_uint nwaits, const cl_event *waits, cl_event *event

STATUS(clEnqueueNDRangeKernel,
       (cl_command_queue q, cl_kernel k, cl_uint dims, const size_t *offset, const size_t *global,
        const size_t *local, WAITS),
       (q, k, dims, offset, global, local, nwaits, waits, event))
STATUS(clEnqueueTask, (cl_command_queue q, cl_kernel k, WAITS), (q, k, nwaits, waits, event))
STATUS(clEnqueueReadBuffer, (cl_command_queue q, cl_mem m, cl_bool block, size_t off, size_t size, void *host, WAITS),
       (q, m, block, off, size, host, nwaits, waits, event))
STATUS(clEnqueueWriteBuffer,
       (cl_command_queue q, cl_mem m, cl_bool block, size_t off, size_t size, const void *host, WAITS),
       (q, m, block, off, size, host, nwaits, waits, event))
STATUS(clEnqueueCopyBuffer,
       (cl_command_queue q, cl_mem src, cl_mem dst, size_t src_off, size_t dst_off, size_t size, WAITS),
       (q, src, dst, src_off, dst_off, size, nwaits, waits, event))
STATUS(clEnqueueFillBuffer,
       (cl_command_queue q, cl_mem m, const void *pattern, size_t pattern_size, size_t off, size_t size, WAITS),
       (q, m, pattern, pattern_size, off, size, nwaits, waits, event))
STATUS(clEnqueueReadImage,
       (cl_command_queue q, cl_mem m, cl_bool block, const size_t *origin, const size_t *region, size_t row,
        size_t slice, void *host, WAITS),
       (q, m, block, origin, region, row, slice, host, nwaits, waits, event))
STATUS(clEnqueueWriteImage,
       (cl_command_queue q, cl_mem m, cl_bool block, const size_t *origin, const size_t *region, size_t row,
        size_t slice, const void *host, WAITS),
       (q, m, block, origin, region, row, slice, host, nwaits, waits, event))
OBJECT(void *, clEnqueueMapBuffer,
       (cl_command_queue q, cl_mem m, cl_bool block, cl_map_flags flags, size_t off, size_t size, WAITS, cl_int *err),
       (q, m, block, flags, off, size, nwaits, waits, event, err))
OBJECT(void *, clEnqueueMapImage,
       (cl_command_queue q, cl_mem m, cl_bool block, cl_map_flags flags, const size_t *origin, const size_t *region,
        size_t *row, size_t *slice, WAITS, cl_int *err),
       (q, m, block, flags, origin, region, row, slice, nwaits, waits, event, err))
STATUS(clEnqueueUnmapMemObject, (cl_command_queue q, cl_mem m, void *ptr, WAITS), (q, m, ptr, nwaits, waits, event))
STATUS(clEnqueueMarkerWithWaitList, (cl_command_queue q, WAITS), (q, nwaits, waits, event))
STATUS(clEnqueueBarrierWithWaitList, (cl_command_queue q, WAITS), (q, nwaits, waits, event))

#endif // __APPLE__
