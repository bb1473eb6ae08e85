//go:build cgo && !novulkan

package vulkan

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/gpu/vulkan/vkshim"
)

// adapter is a physical device with a compute queue, and what we know about it.
type adapter struct {
	phys  vk.PhysicalDevice
	props vk.PhysicalDeviceProperties
	facts vkshim.Facts
	api   uint32 // the version that the instance and the device share

	family        uint32
	timestampBits uint32
	transfers     transferQueues

	memory memoryTypes
	info   hal.Info
}

// adapters lists the devices in the loader's order.
func (inst *instance) adapters() ([]adapter, error) {
	var n uint32
	if err := checkVK("list devices", vk.EnumeratePhysicalDevices(inst.handle, &n, nil)); err != nil {
		return nil, fmt.Errorf("%w: %w", driver.ErrNoDevices, err)
	}
	phys := make([]vk.PhysicalDevice, n)
	if n > 0 {
		if err := checkVK("list devices", vk.EnumeratePhysicalDevices(inst.handle, &n, phys)); err != nil {
			return nil, fmt.Errorf("%w: %w", driver.ErrNoDevices, err)
		}
	}
	var list []adapter
	for _, p := range phys[:n] {
		a, ok, err := inst.adapter(p)
		if err != nil {
			return nil, err
		}
		if ok {
			list = append(list, a)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("vulkan: %w: the drivers list no device that computes; install a driver such as mesa-vulkan-drivers", driver.ErrNoDevices)
	}
	return list, nil
}

func (inst *instance) adapter(phys vk.PhysicalDevice) (adapter, bool, error) {
	a := adapter{phys: phys}
	var ok bool
	families := inst.loader.QueueFamilies(unsafe.Pointer(inst.handle), unsafe.Pointer(phys))
	if a.family, ok = computeFamily(families); !ok {
		return a, false, nil
	}
	a.timestampBits = families[a.family].TimestampBits

	// The out-structs live in C memory of ours: the binding would make its own and leave it behind.
	mem := vkshim.Zeroed()
	defer vkshim.Free(mem)
	props := vk.NewPhysicalDevicePropertiesRef(mem)
	vk.GetPhysicalDeviceProperties(phys, props)
	props.Deref()
	props.Limits.Deref()
	a.props = vk.PhysicalDeviceProperties{
		ApiVersion: props.ApiVersion, DriverVersion: props.DriverVersion,
		VendorID: props.VendorID, DeviceID: props.DeviceID, DeviceType: props.DeviceType,
		DeviceName: props.DeviceName, PipelineCacheUUID: props.PipelineCacheUUID,
		Limits: props.Limits,
	}
	a.api = min(inst.version, props.ApiVersion)

	var r vkshim.Result
	a.facts, r = inst.loader.Facts(unsafe.Pointer(inst.handle), unsafe.Pointer(phys), a.api)
	if err := check("query "+vk.ToString(a.props.DeviceName[:]), r); err != nil {
		return a, false, err
	}
	a.memory = queryMemory(phys, a.props.DeviceType)
	// The host reads and writes unified memory itself, and where semaphores do not count, queues would wait by way of the host.
	if !a.memory.unified && a.facts.Features&vkshim.Timelines != 0 {
		a.transfers = chooseTransfers(families, a.family)
	}
	a.describe()
	return a, true, nil
}

// computeFamily picks the family to run on: one that computes and does not draw, if there is one, since it is what
// drivers keep for work beside a display; else any that computes.
func computeFamily(families []vkshim.QueueFamily) (uint32, bool) {
	best, found := 0, false
	for i, f := range families {
		if f.Flags&uint32(vk.QueueComputeBit) == 0 || f.Queues == 0 {
			continue
		}
		dedicated := f.Flags&uint32(vk.QueueGraphicsBit) == 0
		better := dedicated && families[best].Flags&uint32(vk.QueueGraphicsBit) != 0
		// A family without a clock is not worth the change.
		if !found || better && f.TimestampBits >= families[best].TimestampBits {
			best, found = i, true
		}
	}
	return uint32(best), found
}

// describe fills the public description.
func (a *adapter) describe() {
	l := &a.props.Limits
	info := &a.info
	info.Name = vk.ToString(a.props.DeviceName[:])
	info.Vendor = vendor(a.props.VendorID)
	info.Type = deviceType(a.props.DeviceType)
	info.API = "Vulkan " + vk.Version(a.props.ApiVersion).String()
	info.Driver = a.driverName()
	info.ID = a.identity()
	info.ComputeUnits = int(a.facts.ComputeUnits)
	info.MemoryBytes = a.memory.deviceBytes

	info.MaxBufferBytes = a.memory.deviceBytes
	for _, limit := range []uint64{a.facts.MaxAllocation, a.facts.MaxBuffer} {
		if limit != 0 && limit < uint64(info.MaxBufferBytes) {
			info.MaxBufferBytes = int64(limit)
		}
	}
	info.MaxBufferBytes &^= 3 // buffers are whole words
	info.MaxTensorBytes = info.MaxBufferBytes
	info.MaxBindingBytes = min(int64(l.MaxStorageBufferRange)&^3, info.MaxBufferBytes)
	info.ViewAlignment = max(int64(l.MinStorageBufferOffsetAlignment), 16)
	for i := range 3 {
		info.MaxGroupSize[i] = int(l.MaxComputeWorkGroupSize[i])
		info.MaxGroupCount[i] = int64(l.MaxComputeWorkGroupCount[i])
	}
	info.MaxGroupItems = int(l.MaxComputeWorkGroupInvocations)
	info.LocalBytes = int64(l.MaxComputeSharedMemorySize)
	info.VectorWidth = 4
	info.GLSL = true
	info.Storage16 = a.facts.Features&vkshim.Storage16 != 0
	info.HalfArithmetic = info.Storage16 && a.facts.Features&vkshim.Float16 != 0
	if a.facts.SubgroupShuffle {
		info.ShuffleLanes = int(a.facts.SubgroupSize)
	}
	for _, m := range a.facts.Matrices {
		info.Matrices = append(info.Matrices, hal.Matrix(m))
	}
	info.Dot = a.facts.Features&vkshim.Dot != 0
	info.DotFast = a.facts.Features&vkshim.DotFast != 0
	info.SubgroupLanes = int(a.facts.SubgroupSize)
	info.Unified = a.memory.unified
	info.Timestamps = a.timestampBits > 0 && l.TimestampPeriod > 0
	info.Limits = a.limits()
}

func (a *adapter) limits() []driver.Fact {
	l := &a.props.Limits
	facts := []driver.Fact{
		{Name: "storage buffer range", Value: fmt.Sprint(l.MaxStorageBufferRange)},
		{Name: "storage buffers per kernel", Value: fmt.Sprint(l.MaxPerStageDescriptorStorageBuffers)},
		{Name: "storage buffer alignment", Value: fmt.Sprint(l.MinStorageBufferOffsetAlignment)},
		{Name: "push constants", Value: fmt.Sprint(l.MaxPushConstantsSize)},
		{Name: "shared memory", Value: fmt.Sprint(l.MaxComputeSharedMemorySize)},
		{Name: "work-group items", Value: fmt.Sprint(l.MaxComputeWorkGroupInvocations)},
		{Name: "work-group size", Value: triple(l.MaxComputeWorkGroupSize)},
		{Name: "work-group count", Value: triple(l.MaxComputeWorkGroupCount)},
		{Name: "allocations", Value: fmt.Sprint(l.MaxMemoryAllocationCount)},
		{Name: "queue family", Value: fmt.Sprint(a.family)},
		{Name: "transfer queues", Value: a.transfers.String()},
	}
	if a.facts.SubgroupSize > 0 {
		facts = append(facts, driver.Fact{Name: "subgroup size", Value: fmt.Sprint(a.facts.SubgroupSize)})
	}
	if a.info.Timestamps {
		facts = append(facts, driver.Fact{Name: "timestamp period", Value: fmt.Sprintf("%g ns", l.TimestampPeriod)})
	}
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"16-bit storage", a.facts.Features&vkshim.Storage16 != 0},
		{"8-bit storage", a.facts.Features&vkshim.Storage8 != 0},
		{"float16 arithmetic", a.facts.Features&vkshim.Float16 != 0},
		{"int8 arithmetic", a.facts.Features&vkshim.Int8 != 0},
		{"int16 arithmetic", a.facts.Features&vkshim.Int16 != 0},
		{"int64 arithmetic", a.facts.Features&vkshim.Int64 != 0},
		{"float64 arithmetic", a.facts.Features&vkshim.Float64 != 0},
		{"integer dot products", a.facts.Features&vkshim.Dot != 0},
		{"accelerated int8 dot products", a.facts.Features&vkshim.DotFast != 0},
		{"external_memory_host", a.facts.Extensions&vkshim.ExternalMemoryHost != 0},
		{"cooperative_matrix", a.facts.Extensions&vkshim.CooperativeMatrix != 0},
		{"memory_budget", a.facts.Extensions&vkshim.MemoryBudget != 0},
	} {
		value := "no"
		if f.has {
			value = "yes"
		}
		facts = append(facts, driver.Fact{Name: f.name, Value: value})
	}
	return facts
}

func (a *adapter) driverName() string {
	if a.facts.DriverName != "" {
		return strings.TrimSpace(a.facts.DriverName + " " + a.facts.DriverInfo)
	}
	return fmt.Sprintf("driver %s (%#x)", vk.Version(a.props.DriverVersion), a.props.DriverVersion)
}

// identity changes whenever the device or its driver does.
func (a *adapter) identity() string {
	h := sha256.New()
	h.Write(a.facts.DeviceUUID[:])
	h.Write(a.facts.DriverUUID[:])
	h.Write(a.props.PipelineCacheUUID[:])
	for _, n := range []uint32{a.props.VendorID, a.props.DeviceID, a.props.DriverVersion, a.props.ApiVersion} {
		_ = binary.Write(h, binary.LittleEndian, n) // a hash takes everything
	}
	fmt.Fprintf(h, "%s\x00%s\x00%s", a.info.Name, a.facts.DriverName, a.facts.DriverInfo)
	return "vulkan-" + hex.EncodeToString(h.Sum(nil)[:16])
}

func triple(v [3]uint32) string { return fmt.Sprintf("%d×%d×%d", v[0], v[1], v[2]) }

func deviceType(t vk.PhysicalDeviceType) driver.Type {
	switch t {
	case vk.PhysicalDeviceTypeCpu:
		return driver.CPU
	case vk.PhysicalDeviceTypeIntegratedGpu:
		return driver.Integrated
	case vk.PhysicalDeviceTypeDiscreteGpu:
		return driver.Discrete
	case vk.PhysicalDeviceTypeVirtualGpu:
		return driver.Virtual
	}
	return driver.Other
}

func vendor(id uint32) string {
	switch id {
	case 0x1002:
		return "AMD"
	case 0x1010:
		return "Imagination"
	case 0x106b:
		return "Apple"
	case 0x10de:
		return "NVIDIA"
	case 0x13b5:
		return "ARM"
	case 0x14e4:
		return "Broadcom"
	case 0x5143:
		return "Qualcomm"
	case 0x8086:
		return "Intel"
	case 0x10005:
		return "Mesa"
	}
	return fmt.Sprintf("vendor %#x", id)
}
