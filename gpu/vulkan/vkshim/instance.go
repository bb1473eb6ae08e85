//go:build cgo && !novulkan

package vkshim

/*
#cgo linux LDFLAGS: -ldl
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"errors"
	"strings"
	"unsafe"
)

// Result is a VkResult.
type Result int32

// The results that callers tell apart.
const (
	Success             Result = 0
	NotReady            Result = 1
	Timeout             Result = 2
	ErrorHostMemory     Result = -1
	ErrorDeviceMemory   Result = -2
	ErrorDeviceLost     Result = -4
	ErrorMemoryMap      Result = -5
	ErrorFeature        Result = -8
	ErrorTooManyObjects Result = -10
	ErrorPoolMemory     Result = -1000069000
)

// ValidationLayer is the name of the Khronos validation layer.
const ValidationLayer = "VK_LAYER_KHRONOS_validation"

// Loader is an opened Vulkan library.
type Loader struct{ gipa unsafe.Pointer }

// Open opens the first of the libraries that can be opened. It stays open for the rest of the process.
func Open(libraries []string) (*Loader, error) {
	var why []string
	for _, library := range libraries {
		name := C.CString(library)
		var reason [512]C.char
		gipa := C.vks_open(name, &reason[0], C.size_t(len(reason)))
		C.free(unsafe.Pointer(name))
		if gipa != nil {
			return &Loader{gipa}, nil
		}
		why = append(why, C.GoString(&reason[0]))
	}
	return nil, errors.New(strings.Join(why, "; "))
}

// GetInstanceProcAddr is the library's vkGetInstanceProcAddr.
func (l *Loader) GetInstanceProcAddr() unsafe.Pointer { return l.gipa }

// Version is the highest version of Vulkan that an instance may ask for.
func (l *Loader) Version() uint32 { return uint32(C.vks_instance_version(l.gipa)) }

// HasLayer says whether a layer is installed.
func (l *Loader) HasLayer(name string) bool {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	return C.vks_has_layer(l.gipa, c) != 0
}

// HasExtension says whether instances offer an extension.
func (l *Loader) HasExtension(name string) bool {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	return C.vks_has_instance_extension(l.gipa, nil, c) != 0
}

// Messages collects what the validation layer says, in C memory: nothing calls back into Go.
type Messages struct{ c *C.vks_messages }

// NewMessages makes an empty collection.
func NewMessages() *Messages { return &Messages{C.vks_messages_new()} }

// Take returns the messages so far and forgets them.
func (m *Messages) Take() []string {
	var n C.size_t
	text := C.vks_messages_take(m.c, &n)
	if text == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(text))
	all := C.GoStringN(text, C.int(n))
	return strings.Split(strings.TrimSuffix(all, "\x00"), "\x00")
}

// Free releases the collection; no instance may use it any more.
func (m *Messages) Free() { C.vks_messages_free(m.c) }

// Attach makes the instance report to m until Detach, beside what it reports while it is created and destroyed.
func (l *Loader) Attach(instance unsafe.Pointer, m *Messages) (messenger uint64, r Result) {
	var out C.VkDebugUtilsMessengerEXT
	r = Result(C.vks_messenger_create(l.gipa, C.VkInstance(instance), m.c, &out))
	return uint64(out), r
}

// Detach undoes Attach.
func (l *Loader) Detach(instance unsafe.Pointer, messenger uint64) {
	C.vks_messenger_destroy(l.gipa, C.VkInstance(instance), C.VkDebugUtilsMessengerEXT(messenger))
}

// InstanceInfo makes a VkInstanceCreateInfo in C memory, for the binding to pass on and for Free to release. With
// messages it turns the validation layer on, synchronization validation included.
func InstanceInfo(api uint32, portability bool, m *Messages) unsafe.Pointer {
	var messages *C.vks_messages
	if m != nil {
		messages = m.c
	}
	var p C.int
	if portability {
		p = 1
	}
	return C.vks_instance_info(C.uint32_t(api), p, messages)
}

// Zeroed is zeroed C memory of a few kilobytes, for the binding's out-structs.
func Zeroed() unsafe.Pointer { return C.calloc(1, 4096) }

// Free releases what InstanceInfo, DeviceInfo and Zeroed made.
func Free(p unsafe.Pointer) { C.free(p) }
