//go:build cgo && !noopencl

package clshim

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"encoding/binary"
	"strings"
	"unsafe"
)

// Param names something that a platform, a device or a kernel knows about itself: the constants of cl.h.
type Param uint32

// What platforms, devices and kernels are asked for.
const (
	PlatformName    Param = 0x0902
	PlatformVersion Param = 0x0901

	DeviceMaxComputeUnits     Param = 0x1002
	DeviceMaxWorkGroupSize    Param = 0x1004
	DeviceMaxWorkItemSizes    Param = 0x1005
	DevicePreferredWidthFloat Param = 0x100A
	DeviceMaxMemAllocSize     Param = 0x1010
	DeviceType                Param = 0x1000
	DeviceMemBaseAddrAlign    Param = 0x1019
	DeviceGlobalMemSize       Param = 0x101F
	DeviceLocalMemSize        Param = 0x1023
	DeviceCompilerAvailable   Param = 0x1028
	DeviceQueueProperties     Param = 0x102A
	DeviceName                Param = 0x102B
	DeviceVendor              Param = 0x102C
	DriverVersion             Param = 0x102D
	DeviceVersion             Param = 0x102F
	DeviceExtensions          Param = 0x1030
	DeviceHostUnifiedMemory   Param = 0x1035
	DeviceSVMCapabilities     Param = 0x1053
	DeviceUUID                Param = 0x106A // cl_khr_device_uuid: 16 bytes
	DeviceDotCapabilities     Param = 0x1073 // cl_khr_integer_dot_product
	DeviceDotAcceleration     Param = 0x1075 // of packed bytes, since version 2: six cl_bool, of signed ones first
	DevicePCIBusInfo          Param = 0x410F // cl_khr_pci_bus_info: domain, bus, device, function, 4 bytes each
	KernelWorkGroupSize       Param = 0x11B0
	KernelLocalMemSize        Param = 0x11B2
)

// Bits of some of the answers.
const (
	TypeCPU            = 1 << 1 // of DeviceType
	TypeGPU            = 1 << 2
	TypeAccelerator    = 1 << 3
	QueueProfiling     = 1 << 1 // of DeviceQueueProperties
	SVMFineGrainBuffer = 1 << 1 // of DeviceSVMCapabilities
	DotPacked          = 1 << 0 // of DeviceDotCapabilities
)

// PlatformCount is how many platforms there are; the binding reads past its array when there are more than 32.
func PlatformCount() (int, error) {
	var n C.cl_uint
	err := check(int32(C.clshim_platform_count(&n)))
	return int(n), err
}

// DeviceCount is how many devices of all types the platform has; the binding keeps 64.
func DeviceCount(platform uintptr) (int, error) {
	var n C.cl_uint
	err := check(int32(C.clshim_device_count(C.uintptr_t(platform), &n)))
	return int(n), err
}

// PlatformString asks a platform for a string of any length.
func PlatformString(platform uintptr, p Param) (string, error) {
	b, err := sized(func(size C.size_t, value unsafe.Pointer, need *C.size_t) C.cl_int {
		return C.clshim_platform_info(C.uintptr_t(platform), C.cl_platform_info(p), size, value, need)
	})
	return text(b), err
}

// DeviceBytes asks a device for a value of any length.
func DeviceBytes(device uintptr, p Param) ([]byte, error) {
	return sized(func(size C.size_t, value unsafe.Pointer, need *C.size_t) C.cl_int {
		return C.clshim_device_info(C.uintptr_t(device), C.cl_device_info(p), size, value, need)
	})
}

// DeviceString asks a device for a string of any length.
func DeviceString(device uintptr, p Param) (string, error) {
	b, err := DeviceBytes(device, p)
	return text(b), err
}

// DeviceUint asks a device for a cl_uint, cl_bool, cl_ulong, bit field or size_t.
func DeviceUint(device uintptr, p Param) (uint64, error) {
	b, err := DeviceBytes(device, p)
	if err != nil {
		return 0, err
	}
	if u := Words(b, len(b)); len(u) == 1 {
		return u[0], nil
	}
	return 0, InvalidValue
}

// DeviceSizes asks a device for an array of size_t.
func DeviceSizes(device uintptr, p Param) ([]uint64, error) {
	b, err := DeviceBytes(device, p)
	return Words(b, int(unsafe.Sizeof(C.size_t(0)))), err
}

// Words reads b as integers of 4 or 8 bytes in the byte order of the host. Any other size gives none.
func Words(b []byte, size int) []uint64 {
	var words []uint64
	for ; (size == 4 || size == 8) && len(b) >= size; b = b[size:] {
		if size == 4 {
			words = append(words, uint64(binary.NativeEndian.Uint32(b)))
		} else {
			words = append(words, binary.NativeEndian.Uint64(b))
		}
	}
	return words
}

// sized asks for the size of a value, then for the value.
func sized(get func(size C.size_t, value unsafe.Pointer, need *C.size_t) C.cl_int) ([]byte, error) {
	var need C.size_t
	if err := check(int32(get(0, nil, &need))); err != nil || need == 0 {
		return nil, err
	}
	b := make([]byte, need)
	err := check(int32(get(need, unsafe.Pointer(&b[0]), &need)))
	return b[:min(len(b), int(need))], err
}

// text cuts a C string at its end and trims what drivers pad names with.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return strings.TrimSpace(s)
}
