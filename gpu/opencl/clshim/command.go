//go:build cgo && !noopencl

package clshim

// #include "shim.h"
import "C"

import (
	"time"
	"unsafe"
)

// Commands append to a queue and return at once. Each makes an event, which its caller releases.

// SetArgs sets a kernel's arguments: the buffers in order, then params by value. They are part of the kernel: it is used by
// one goroutine at a time.
func SetArgs(kernel uintptr, buffers []uintptr, params []byte) error {
	return check(int32(C.clshim_set_args(C.uintptr_t(kernel),
		(*C.uintptr_t)(unsafe.Pointer(unsafe.SliceData(buffers))), C.cl_uint(len(buffers)),
		unsafe.Pointer(unsafe.SliceData(params)), C.size_t(len(params)))))
}

// Launch enqueues a kernel with the arguments that it has now.
func Launch(queue, kernel uintptr, global, local *[3]uintptr) (uintptr, error) {
	var event C.uintptr_t
	err := check(int32(C.clshim_launch(C.uintptr_t(queue), C.uintptr_t(kernel), (*C.size_t)(unsafe.Pointer(global)), (*C.size_t)(unsafe.Pointer(local)), &event)))
	return uintptr(event), err
}

// Copy copies from buffer to buffer.
func Copy(queue, src, dst uintptr, srcOff, dstOff, size int64) (uintptr, error) {
	var event C.uintptr_t
	err := check(int32(C.clshim_copy(C.uintptr_t(queue), C.uintptr_t(src), C.uintptr_t(dst), C.size_t(srcOff),
		C.size_t(dstOff), C.size_t(size), &event)))
	return uintptr(event), err
}

// Write copies to a buffer from host memory that is not Go's and lives until the event is done.
func Write(queue, dst uintptr, dstOff, size int64, host unsafe.Pointer) (uintptr, error) {
	var event C.uintptr_t
	err := check(int32(C.clshim_write(C.uintptr_t(queue), C.uintptr_t(dst), C.size_t(dstOff), C.size_t(size),
		C.uintptr_t(uintptr(host)), &event)))
	return uintptr(event), err
}

// Read copies from a buffer to host memory that is not Go's and lives until the event is done.
func Read(queue, src uintptr, srcOff, size int64, host unsafe.Pointer) (uintptr, error) {
	var event C.uintptr_t
	err := check(int32(C.clshim_read(C.uintptr_t(queue), C.uintptr_t(src), C.size_t(srcOff), C.size_t(size),
		C.uintptr_t(uintptr(host)), &event)))
	return uintptr(event), err
}

// Fill writes word to each 4 bytes of a range.
func Fill(queue, dst uintptr, dstOff, size int64, word uint32) (uintptr, error) {
	var event C.uintptr_t
	err := check(int32(C.clshim_fill(C.uintptr_t(queue), C.uintptr_t(dst), C.size_t(dstOff), C.size_t(size),
		C.cl_uint(word), &event)))
	return uintptr(event), err
}

// Marker does nothing but complete after all commands before it.
func Marker(queue uintptr) (uintptr, error) {
	var event C.uintptr_t
	err := check(int32(C.clshim_marker(C.uintptr_t(queue), &event)))
	return uintptr(event), err
}

// Flush hands the queue's commands to the device without waiting, which the binding's Flush does not: it finishes.
func Flush(queue uintptr) error { return check(int32(C.clshim_flush(C.uintptr_t(queue)))) }

// Wait waits for all events, without spinning where the driver does not. A failed command is an error.
func Wait(events []uintptr) error {
	if len(events) == 0 {
		return nil
	}
	return check(int32(C.clshim_wait((*C.uintptr_t)(unsafe.Pointer(&events[0])), C.cl_uint(len(events)))))
}

// Status is an event's state: 0 complete, positive not yet, negative the code of what failed.
func Status(event uintptr) (int32, error) {
	var status C.cl_int
	err := check(int32(C.clshim_status(C.uintptr_t(event), &status)))
	return int32(status), err
}

// Elapsed is the time from start to end of a completed command on a queue with profiling.
func Elapsed(event uintptr) (time.Duration, error) {
	var start, end C.cl_ulong
	if err := check(int32(C.clshim_times(C.uintptr_t(event), &start, &end))); err != nil {
		return 0, err
	}
	return time.Duration(end - start), nil
}

// ReleaseEvents releases all events, which need not be complete.
func ReleaseEvents(events []uintptr) {
	if len(events) > 0 {
		C.clshim_release_events((*C.uintptr_t)(unsafe.Pointer(&events[0])), C.cl_uint(len(events)))
	}
}
