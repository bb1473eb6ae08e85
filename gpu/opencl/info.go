//go:build cgo && !noopencl

package opencl

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/gpu/opencl/clshim"
)

const (
	// minAlignment is the least alignment of views: a cache line, whatever the device says it could do.
	minAlignment = 64
	// maxGroups is what every kernel's int ids can count.
	maxGroups = math.MaxInt32
	// maxGroupsYZ is what GPUs are sure to take in y and z: OpenCL has no query for it, and hardware counts the
	// groups of these dimensions in 16 bits.
	maxGroupsYZ = 65535
)

// asker asks a device about itself and keeps the first error.
type asker struct {
	device uintptr
	err    error
}

func (a *asker) text(p clshim.Param) string {
	s, err := clshim.DeviceString(a.device, p)
	a.keep(err)
	return s
}

func (a *asker) number(p clshim.Param) int64 {
	u, err := clshim.DeviceUint(a.device, p)
	a.keep(err)
	return int64(min(u, math.MaxInt64))
}

func (a *asker) keep(err error) {
	if a.err == nil {
		a.err = err
	}
}

// describe fills an Info.
func describe(platform, device uintptr) (hal.Info, error) {
	a := &asker{device: device}
	platformName, err := clshim.PlatformString(platform, clshim.PlatformName)
	a.keep(err)
	platformVersion, err := clshim.PlatformString(platform, clshim.PlatformVersion)
	a.keep(err)
	version, driverVersion := a.text(clshim.DeviceVersion), a.text(clshim.DriverVersion)
	extensions := strings.Fields(a.text(clshim.DeviceExtensions))
	unified := a.number(clshim.DeviceHostUnifiedMemory) != 0
	alloc := a.number(clshim.DeviceMaxMemAllocSize)

	info := hal.Info{
		Info: driver.Info{
			Name:           a.text(clshim.DeviceName),
			Vendor:         a.text(clshim.DeviceVendor),
			Type:           deviceType(a.number(clshim.DeviceType), unified),
			API:            apiVersion(version),
			Driver:         platformName + " " + driverVersion,
			MemoryBytes:    a.number(clshim.DeviceGlobalMemSize),
			MaxTensorBytes: alloc,
			ComputeUnits:   int(a.number(clshim.DeviceMaxComputeUnits)),
		},
		MaxBindingBytes: alloc,
		MaxBufferBytes:  alloc,
		ViewAlignment:   max(a.number(clshim.DeviceMemBaseAddrAlign)/8, minAlignment), // the device counts bits
		MaxGroupItems:   int(a.number(clshim.DeviceMaxWorkGroupSize)),
		LocalBytes:      a.number(clshim.DeviceLocalMemSize),
		Storage16:       true, // vload_half and vstore_half are in the core, and so are shorts
		HalfArithmetic:  slices.Contains(extensions, "cl_khr_fp16"),
		Timestamps:      a.number(clshim.DeviceQueueProperties)&clshim.QueueProfiling != 0,
	}
	sizes, err := clshim.DeviceSizes(device, clshim.DeviceMaxWorkItemSizes)
	a.keep(err)
	for d := range info.MaxGroupSize {
		info.MaxGroupSize[d] = 1
		if d < len(sizes) {
			info.MaxGroupSize[d] = int(min(sizes[d], math.MaxInt32))
		}
	}
	info.MaxGroupCount = [3]int64{maxGroups, maxGroupsYZ, maxGroupsYZ}
	info.VectorWidth = 4
	if info.Type == driver.CPU {
		info.MaxGroupCount = [3]int64{maxGroups, maxGroups, maxGroups}
		info.VectorWidth = vectorWidth(a.number(clshim.DevicePreferredWidthFloat))
		info.Unified = unified && finegrained(device)
	}
	info.Dot, info.DotFast = dots(device, extensions)
	uuid, pci := identity(device, extensions)
	info.ID = hash(platformName, platformVersion, info.Name, version, driverVersion, uuid)
	info.Limits = facts(info, platformName+", "+platformVersion, uuid, pci)
	return info, a.err
}

// deviceType maps the type's bits. A device that claims several types at once, as simulators do, is Other.
func deviceType(bits int64, unified bool) driver.Type {
	switch bits & (clshim.TypeCPU | clshim.TypeGPU | clshim.TypeAccelerator) {
	case clshim.TypeCPU:
		return driver.CPU
	case clshim.TypeGPU:
		if unified {
			return driver.Integrated
		}
		return driver.Discrete
	}
	return driver.Other
}

// apiVersion is the part of a device version that the standard defines: "OpenCL 3.0" of "OpenCL 3.0 PoCL ...".
func apiVersion(version string) string {
	words := strings.Fields(version)
	return strings.Join(words[:min(2, len(words))], " ")
}

// vectorWidth picks what kernels are compiled with from what a CPU device prefers. A driver that prefers 1 vectorizes
// across work-items by itself and gets the smallest vector that the kernels have.
func vectorWidth(preferred int64) int {
	switch {
	case preferred >= 16:
		return 16
	case preferred >= 8:
		return 8
	}
	return 4
}

// finegrained tells whether the host may touch shared virtual memory without mapping it. Devices of OpenCL 1.2 do not
// know the question.
func finegrained(device uintptr) bool {
	caps, err := clshim.DeviceUint(device, clshim.DeviceSVMCapabilities)
	return err == nil && caps&clshim.SVMFineGrainBuffer != 0 && clshim.Has("clSVMAlloc")
}

// dots tells whether the device has dot products of packed bytes, and whether those of signed ones are accelerated, which
// the extension's first version does not say.
func dots(device uintptr, extensions []string) (has, fast bool) {
	if !slices.Contains(extensions, "cl_khr_integer_dot_product") {
		return false, false
	}
	caps, err := clshim.DeviceUint(device, clshim.DeviceDotCapabilities)
	has = err == nil && caps&clshim.DotPacked != 0
	b, err := clshim.DeviceBytes(device, clshim.DeviceDotAcceleration)
	of := clshim.Words(b, 4)
	return has, has && err == nil && len(of) > 0 && of[0] != 0
}

// identity is what tells this device from another of its model, and that a device of another API is the same one.
func identity(device uintptr, extensions []string) (uuid, pci string) {
	if slices.Contains(extensions, "cl_khr_device_uuid") {
		if b, err := clshim.DeviceBytes(device, clshim.DeviceUUID); err == nil {
			uuid = hex.EncodeToString(b)
		}
	}
	if slices.Contains(extensions, "cl_khr_pci_bus_info") {
		if b, err := clshim.DeviceBytes(device, clshim.DevicePCIBusInfo); err == nil {
			if w := clshim.Words(b, 4); len(w) == 4 {
				pci = fmt.Sprintf("%04x:%02x:%02x.%x", w[0], w[1], w[2], w[3])
			}
		}
	}
	return uuid, pci
}

// facts are the limits for people.
func facts(info hal.Info, platform, uuid, pci string) []driver.Fact {
	list := []driver.Fact{
		{Name: "platform", Value: platform},
		{Name: "largest buffer", Value: fmt.Sprint(info.MaxBufferBytes)},
		{Name: "view alignment", Value: fmt.Sprint(info.ViewAlignment)},
		{Name: "work-group items", Value: fmt.Sprint(info.MaxGroupItems)},
		{Name: "work-group size", Value: fmt.Sprintf("%dx%dx%d", info.MaxGroupSize[0], info.MaxGroupSize[1],
			info.MaxGroupSize[2])},
		{Name: "local memory", Value: fmt.Sprint(info.LocalBytes)},
		{Name: "vector width", Value: fmt.Sprint(info.VectorWidth)},
		{Name: "shares host memory", Value: fmt.Sprint(info.Unified)},
		{Name: "integer dot products", Value: fmt.Sprint(info.Dot)},
		{Name: "accelerated int8 dot products", Value: fmt.Sprint(info.DotFast)},
	}
	if uuid != "" {
		list = append(list, driver.Fact{Name: "uuid", Value: uuid})
	}
	if pci != "" {
		list = append(list, driver.Fact{Name: "pci", Value: pci})
	}
	return list
}

// hash is a key of its parts, whose borders count.
func hash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
