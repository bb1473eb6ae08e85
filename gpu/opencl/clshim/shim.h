// shim.h: what package clshim calls. Handles travel as uintptr_t, so that Go's garbage collector never takes an
// opaque driver value for a pointer of its own.
#ifndef CLSHIM_H
#define CLSHIM_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#endif
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#ifdef __APPLE__
#include <OpenCL/cl.h>
#include <OpenCL/cl_ext.h>
#else
#include <CL/cl.h>
#include <CL/cl_ext.h>
#endif
#include <stddef.h>
#include <stdint.h>

// CLSHIM_MISSING is the result of a function that the loaded library does not have. No OpenCL error has this number.
#define CLSHIM_MISSING (-99999)

// clshim_open opens the library called name. It returns NULL or why it could not.
const char *clshim_open(const char *name);
// clshim_open_preloaded uses the OpenCL that the process began with, if it did: tools such as oclgrind are preloaded.
int clshim_open_preloaded(void);
// clshim_has tells whether the opened library has the function.
int clshim_has(const char *name);
// clshim_symbol looks name up in the opened library and keeps the answer in *slot.
void *clshim_symbol(void **slot, const char *name);

cl_int clshim_platform_count(cl_uint *n);
cl_int clshim_device_count(uintptr_t platform, cl_uint *n);
cl_int clshim_platform_info(uintptr_t platform, cl_platform_info param, size_t size, void *value, size_t *need);
cl_int clshim_device_info(uintptr_t device, cl_device_info param, size_t size, void *value, size_t *need);

cl_int clshim_program_with_binary(uintptr_t context, uintptr_t device, const void *data, size_t size,
                                  uintptr_t *program);
cl_int clshim_program_binary_size(uintptr_t program, size_t *size);
cl_int clshim_program_binary(uintptr_t program, size_t size, void *data);
cl_int clshim_build(uintptr_t program, uintptr_t device, const char *options);
cl_int clshim_build_log(uintptr_t program, uintptr_t device, size_t size, void *value, size_t *need);
cl_int clshim_release_program(uintptr_t program);

cl_int clshim_create_kernel(uintptr_t program, const char *name, uintptr_t *kernel);
cl_int clshim_copy_kernel(uintptr_t kernel, const char *name, uintptr_t *copy);
cl_int clshim_kernel_args(uintptr_t kernel, cl_uint *n);
cl_int clshim_kernel_group_info(uintptr_t kernel, uintptr_t device, cl_kernel_work_group_info param, cl_ulong *value);
cl_int clshim_release_kernel(uintptr_t kernel);

cl_int clshim_sub_buffer(uintptr_t mem, size_t origin, size_t size, uintptr_t *sub);
cl_int clshim_retain_mem(uintptr_t mem);
cl_int clshim_release_mem(uintptr_t mem);
uintptr_t clshim_svm_alloc(uintptr_t context, size_t size, cl_uint alignment);
void clshim_svm_free(uintptr_t context, uintptr_t ptr);

cl_int clshim_set_args(uintptr_t kernel, const uintptr_t *buffers, cl_uint nbuffers, const void *params,
                       size_t nparams);
cl_int clshim_launch(uintptr_t queue, uintptr_t kernel, const size_t *global, const size_t *local, uintptr_t *event);
cl_int clshim_copy(uintptr_t queue, uintptr_t src, uintptr_t dst, size_t src_off, size_t dst_off, size_t size,
                   uintptr_t *event);
cl_int clshim_write(uintptr_t queue, uintptr_t dst, size_t dst_off, size_t size, uintptr_t host, uintptr_t *event);
cl_int clshim_read(uintptr_t queue, uintptr_t src, size_t src_off, size_t size, uintptr_t host, uintptr_t *event);
cl_int clshim_fill(uintptr_t queue, uintptr_t dst, size_t dst_off, size_t size, cl_uint word, uintptr_t *event);
cl_int clshim_marker(uintptr_t queue, uintptr_t *event);
cl_int clshim_flush(uintptr_t queue);

cl_int clshim_wait(const uintptr_t *events, cl_uint n);
cl_int clshim_status(uintptr_t event, cl_int *status);
cl_int clshim_times(uintptr_t event, cl_ulong *start, cl_ulong *end);
cl_int clshim_release_events(const uintptr_t *events, cl_uint n);

#endif
