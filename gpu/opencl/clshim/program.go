//go:build cgo && !noopencl

package clshim

// #include <stdlib.h>
// #include "shim.h"
import "C"

import "unsafe"

// Build compiles a program for a device. On failure log is the compiler's whole log.
func Build(program, device uintptr, options string) (log string, err error) {
	cs := C.CString(options)
	defer C.free(unsafe.Pointer(cs))
	err = check(int32(C.clshim_build(C.uintptr_t(program), C.uintptr_t(device), cs)))
	if err == nil {
		return "", nil
	}
	b, logErr := sized(func(size C.size_t, value unsafe.Pointer, need *C.size_t) C.cl_int {
		return C.clshim_build_log(C.uintptr_t(program), C.uintptr_t(device), size, value, need)
	})
	if logErr != nil {
		return "", err
	}
	return text(b), err
}

// ProgramWithBinary makes a program of what Binary returned for the same device. It must still be built.
func ProgramWithBinary(context, device uintptr, binary []byte) (program uintptr, err error) {
	if len(binary) == 0 {
		return 0, InvalidBinary
	}
	var p C.uintptr_t
	err = check(int32(C.clshim_program_with_binary(C.uintptr_t(context), C.uintptr_t(device),
		unsafe.Pointer(&binary[0]), C.size_t(len(binary)), &p)))
	return uintptr(p), err
}

// Binary is the compiled form of a built program of a context with one device. It is empty where the driver has none.
func Binary(program uintptr) ([]byte, error) {
	var size C.size_t
	if err := check(int32(C.clshim_program_binary_size(C.uintptr_t(program), &size))); err != nil || size == 0 {
		return nil, err
	}
	b := make([]byte, size)
	err := check(int32(C.clshim_program_binary(C.uintptr_t(program), size, unsafe.Pointer(&b[0]))))
	return b, err
}

// ReleaseProgram releases what ProgramWithBinary made.
func ReleaseProgram(program uintptr) { C.clshim_release_program(C.uintptr_t(program)) }

// CreateKernel makes the kernel called name of a built program, which may be released then.
func CreateKernel(program uintptr, name string) (kernel uintptr, err error) {
	cs := C.CString(name)
	defer C.free(unsafe.Pointer(cs))
	var k C.uintptr_t
	err = check(int32(C.clshim_create_kernel(C.uintptr_t(program), cs, &k)))
	return uintptr(k), err
}

// CopyKernel makes another kernel object of the same kernel, with arguments of its own, not yet set.
func CopyKernel(kernel uintptr, name string) (uintptr, error) {
	cs := C.CString(name)
	defer C.free(unsafe.Pointer(cs))
	var k C.uintptr_t
	err := check(int32(C.clshim_copy_kernel(C.uintptr_t(kernel), cs, &k)))
	return uintptr(k), err
}

// KernelArgs is the number of a kernel's arguments.
func KernelArgs(kernel uintptr) (int, error) {
	var n C.cl_uint
	err := check(int32(C.clshim_kernel_args(C.uintptr_t(kernel), &n)))
	return int(n), err
}

// KernelUint asks what a kernel needs on a device: KernelWorkGroupSize, KernelLocalMemSize.
func KernelUint(kernel, device uintptr, p Param) (uint64, error) {
	var v C.cl_ulong
	err := check(int32(C.clshim_kernel_group_info(C.uintptr_t(kernel), C.uintptr_t(device),
		C.cl_kernel_work_group_info(p), &v)))
	return uint64(v), err
}

// ReleaseKernel releases what CreateKernel made.
func ReleaseKernel(kernel uintptr) { C.clshim_release_kernel(C.uintptr_t(kernel)) }
