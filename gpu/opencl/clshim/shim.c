//go:build cgo && !noopencl

// shim.c: one function for each call that the binding lacks or gets wrong.
#include "shim.h"

cl_int clshim_platform_count(cl_uint *n) { return clGetPlatformIDs(0, NULL, n); }

cl_int clshim_device_count(uintptr_t platform, cl_uint *n) {
  return clGetDeviceIDs((cl_platform_id)platform, CL_DEVICE_TYPE_ALL, 0, NULL, n);
}

cl_int clshim_platform_info(uintptr_t platform, cl_platform_info param, size_t size, void *value, size_t *need) {
  return clGetPlatformInfo((cl_platform_id)platform, param, size, value, need);
}

cl_int clshim_device_info(uintptr_t device, cl_device_info param, size_t size, void *value, size_t *need) {
  return clGetDeviceInfo((cl_device_id)device, param, size, value, need);
}

cl_int clshim_program_with_binary(uintptr_t context, uintptr_t device, const void *data, size_t size,
                                  uintptr_t *program) {
  cl_device_id id = (cl_device_id)device;
  const unsigned char *bytes = data;
  cl_int status = CL_SUCCESS, err = CL_SUCCESS;
  cl_program made = clCreateProgramWithBinary((cl_context)context, 1, &id, &size, &bytes, &status, &err);
  if (err == CL_SUCCESS && status != CL_SUCCESS) {
    clReleaseProgram(made);
    return status;
  }
  *program = (uintptr_t)made;
  return err;
}

cl_int clshim_program_binary_size(uintptr_t program, size_t *size) {
  cl_uint devices = 0;
  cl_int err = clGetProgramInfo((cl_program)program, CL_PROGRAM_NUM_DEVICES, sizeof devices, &devices, NULL);
  if (err != CL_SUCCESS) return err;
  // The answers below are arrays with one entry a device: a context of ours has one.
  if (devices != 1) return CL_INVALID_PROGRAM;
  return clGetProgramInfo((cl_program)program, CL_PROGRAM_BINARY_SIZES, sizeof *size, size, NULL);
}

cl_int clshim_program_binary(uintptr_t program, size_t size, void *data) {
  unsigned char *bytes = data;
  (void)size; // the caller asked for it with clshim_program_binary_size
  return clGetProgramInfo((cl_program)program, CL_PROGRAM_BINARIES, sizeof bytes, &bytes, NULL);
}

cl_int clshim_build(uintptr_t program, uintptr_t device, const char *options) {
  cl_device_id id = (cl_device_id)device;
  return clBuildProgram((cl_program)program, 1, &id, options, NULL, NULL);
}

cl_int clshim_build_log(uintptr_t program, uintptr_t device, size_t size, void *value, size_t *need) {
  return clGetProgramBuildInfo((cl_program)program, (cl_device_id)device, CL_PROGRAM_BUILD_LOG, size, value, need);
}

cl_int clshim_release_program(uintptr_t program) { return clReleaseProgram((cl_program)program); }

cl_int clshim_create_kernel(uintptr_t program, const char *name, uintptr_t *kernel) {
  cl_int err = CL_SUCCESS;
  *kernel = (uintptr_t)clCreateKernel((cl_program)program, name, &err);
  return err;
}

cl_int clshim_copy_kernel(uintptr_t kernel, const char *name, uintptr_t *copy) {
  cl_program program = NULL;
  cl_int err = clGetKernelInfo((cl_kernel)kernel, CL_KERNEL_PROGRAM, sizeof program, &program, NULL);
  return err == CL_SUCCESS ? clshim_create_kernel((uintptr_t)program, name, copy) : err;
}

cl_int clshim_kernel_args(uintptr_t kernel, cl_uint *n) {
  return clGetKernelInfo((cl_kernel)kernel, CL_KERNEL_NUM_ARGS, sizeof *n, n, NULL);
}

cl_int clshim_kernel_group_info(uintptr_t kernel, uintptr_t device, cl_kernel_work_group_info param, cl_ulong *value) {
  // Some of these are size_t, some cl_ulong: let the driver say how much it writes.
  size_t need = 0;
  cl_int err = clGetKernelWorkGroupInfo((cl_kernel)kernel, (cl_device_id)device, param, 0, NULL, &need);
  if (err != CL_SUCCESS) return err;
  if (need == sizeof(cl_uint)) {
    cl_uint small = 0;
    err = clGetKernelWorkGroupInfo((cl_kernel)kernel, (cl_device_id)device, param, need, &small, NULL);
    *value = small;
    return err;
  }
  if (need != sizeof *value) return CL_INVALID_VALUE;
  return clGetKernelWorkGroupInfo((cl_kernel)kernel, (cl_device_id)device, param, need, value, NULL);
}

cl_int clshim_release_kernel(uintptr_t kernel) { return clReleaseKernel((cl_kernel)kernel); }

cl_int clshim_sub_buffer(uintptr_t mem, size_t origin, size_t size, uintptr_t *sub) {
  cl_buffer_region region = {origin, size};
  cl_int err = CL_SUCCESS;
  *sub = (uintptr_t)clCreateSubBuffer((cl_mem)mem, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &err);
  return err;
}

cl_int clshim_retain_mem(uintptr_t mem) { return clRetainMemObject((cl_mem)mem); }

cl_int clshim_release_mem(uintptr_t mem) { return clReleaseMemObject((cl_mem)mem); }

uintptr_t clshim_svm_alloc(uintptr_t context, size_t size, cl_uint alignment) {
#ifdef CL_VERSION_2_0
  return (uintptr_t)clSVMAlloc((cl_context)context, CL_MEM_READ_WRITE | CL_MEM_SVM_FINE_GRAIN_BUFFER, size, alignment);
#else
  (void)context, (void)size, (void)alignment;
  return 0;
#endif
}

void clshim_svm_free(uintptr_t context, uintptr_t ptr) {
#ifdef CL_VERSION_2_0
  clSVMFree((cl_context)context, (void *)ptr);
#else
  (void)context, (void)ptr;
#endif
}

cl_int clshim_set_args(uintptr_t kernel, const uintptr_t *buffers, cl_uint nbuffers, const void *params,
                       size_t nparams) {
  cl_kernel k = (cl_kernel)kernel;
  for (cl_uint i = 0; i < nbuffers; i++) {
    cl_mem mem = (cl_mem)buffers[i];
    cl_int err = clSetKernelArg(k, i, sizeof mem, &mem);
    if (err != CL_SUCCESS) return err;
  }
  return nparams ? clSetKernelArg(k, nbuffers, nparams, params) : CL_SUCCESS;
}

cl_int clshim_launch(uintptr_t queue, uintptr_t kernel, const size_t *global, const size_t *local, uintptr_t *event) {
  return clEnqueueNDRangeKernel((cl_command_queue)queue, (cl_kernel)kernel, 3, NULL, global, local, 0, NULL,
                                (cl_event *)event);
}

cl_int clshim_copy(uintptr_t queue, uintptr_t src, uintptr_t dst, size_t src_off, size_t dst_off, size_t size,
                   uintptr_t *event) {
  return clEnqueueCopyBuffer((cl_command_queue)queue, (cl_mem)src, (cl_mem)dst, src_off, dst_off, size, 0, NULL,
                             (cl_event *)event);
}

cl_int clshim_write(uintptr_t queue, uintptr_t dst, size_t dst_off, size_t size, uintptr_t host, uintptr_t *event) {
  return clEnqueueWriteBuffer((cl_command_queue)queue, (cl_mem)dst, CL_FALSE, dst_off, size, (const void *)host, 0,
                              NULL, (cl_event *)event);
}

cl_int clshim_read(uintptr_t queue, uintptr_t src, size_t src_off, size_t size, uintptr_t host, uintptr_t *event) {
  return clEnqueueReadBuffer((cl_command_queue)queue, (cl_mem)src, CL_FALSE, src_off, size, (void *)host, 0, NULL,
                             (cl_event *)event);
}

cl_int clshim_fill(uintptr_t queue, uintptr_t dst, size_t dst_off, size_t size, cl_uint word, uintptr_t *event) {
  return clEnqueueFillBuffer((cl_command_queue)queue, (cl_mem)dst, &word, sizeof word, dst_off, size, 0, NULL,
                             (cl_event *)event);
}

cl_int clshim_marker(uintptr_t queue, uintptr_t *event) {
  return clEnqueueMarkerWithWaitList((cl_command_queue)queue, 0, NULL, (cl_event *)event);
}

cl_int clshim_flush(uintptr_t queue) { return clFlush((cl_command_queue)queue); }

cl_int clshim_wait(const uintptr_t *events, cl_uint n) { return clWaitForEvents(n, (const cl_event *)events); }

cl_int clshim_status(uintptr_t event, cl_int *status) {
  return clGetEventInfo((cl_event)event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof *status, status, NULL);
}

cl_int clshim_times(uintptr_t event, cl_ulong *start, cl_ulong *end) {
  cl_int err = clGetEventProfilingInfo((cl_event)event, CL_PROFILING_COMMAND_START, sizeof *start, start, NULL);
  if (err != CL_SUCCESS) return err;
  return clGetEventProfilingInfo((cl_event)event, CL_PROFILING_COMMAND_END, sizeof *end, end, NULL);
}

cl_int clshim_release_events(const uintptr_t *events, cl_uint n) {
  cl_int first = CL_SUCCESS;
  for (cl_uint i = 0; i < n; i++) {
    cl_int err = clReleaseEvent((cl_event)events[i]);
    if (first == CL_SUCCESS) first = err;
  }
  return first;
}
