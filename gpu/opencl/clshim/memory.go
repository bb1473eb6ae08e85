//go:build cgo && !noopencl

package clshim

// #include "shim.h"
import "C"

import "unsafe"

// SubBuffer makes a buffer of a range of another.
func SubBuffer(mem uintptr, origin, size int64) (uintptr, error) {
	var sub C.uintptr_t
	err := check(int32(C.clshim_sub_buffer(C.uintptr_t(mem), C.size_t(origin), C.size_t(size), &sub)))
	return uintptr(sub), err
}

// RetainMem adds a reference to a buffer.
func RetainMem(mem uintptr) error { return check(int32(C.clshim_retain_mem(C.uintptr_t(mem)))) }

// ReleaseMem drops a reference to a buffer.
func ReleaseMem(mem uintptr) { C.clshim_release_mem(C.uintptr_t(mem)) }

// SVMAlloc takes memory that host and device share without mapping (SVM, fine-grained buffer). nil: there is none.
func SVMAlloc(context uintptr, size int64, alignment uint32) unsafe.Pointer {
	p := C.clshim_svm_alloc(C.uintptr_t(context), C.size_t(size), C.cl_uint(alignment))
	return *(*unsafe.Pointer)(unsafe.Pointer(&p))
}

// SVMFree gives it back.
func SVMFree(context uintptr, p unsafe.Pointer) {
	C.clshim_svm_free(C.uintptr_t(context), C.uintptr_t(uintptr(p)))
}
