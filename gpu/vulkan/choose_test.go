//go:build cgo && !novulkan

package vulkan

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	vk "github.com/vulkan-go/vulkan"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/gpu/vulkan/vkshim"
)

func TestChooseMemory(t *testing.T) {
	const gib = 1 << 30
	const protected = vk.MemoryPropertyFlags(0x20)
	for _, c := range []struct {
		name            string
		shared          bool
		types           []memoryType
		device, staging uint32
		bytes           int64
		unified         bool
	}{
		{"software", true, []memoryType{{0, deviceLocal | coherent | cached, 20 * gib, 0}}, 0, 0, 20 * gib, true},
		{"discrete", false, []memoryType{
			{0, 0, 16 * gib, 0}, {1, deviceLocal, 8 * gib, 0}, {2, coherent, 16 * gib, 0}, {3, coherent | cached, 16 * gib, 0},
			{4, deviceLocal | coherent, gib / 4, 0},
		}, 1, 3, 8 * gib, false},
		{"discrete, mapped whole", false, []memoryType{
			{0, deviceLocal | coherent, 8 * gib, 0}, {1, deviceLocal, 8 * gib, 0}, {2, coherent | cached, 16 * gib, 0},
		}, 1, 2, 8 * gib, false},
		{"discrete, protected", false, []memoryType{
			{0, deviceLocal | protected, 8 * gib, 0}, {1, deviceLocal, 8 * gib, 0}, {2, coherent, 16 * gib, 0},
		}, 1, 2, 8 * gib, false},
		{"integrated, cached", true, []memoryType{
			{0, deviceLocal, 8 * gib, 0}, {1, deviceLocal | coherent, 8 * gib, 0}, {2, deviceLocal | coherent | cached, 8 * gib, 0},
		}, 2, 2, 8 * gib, true},
		{"integrated, uncached", true, []memoryType{
			{0, deviceLocal, 2 * gib, 0}, {1, coherent, 8 * gib, 0}, {2, deviceLocal | coherent, 2 * gib, 0}, {3, coherent | cached, 8 * gib, 0},
		}, 0, 3, 2 * gib, false},
	} {
		m := chooseMemory(c.types, c.shared)
		if m.device[0] != c.device || m.staging[0] != c.staging || m.deviceBytes != c.bytes || m.unified != c.unified {
			t.Errorf("%s: %+v", c.name, m)
		}
	}
}

func TestComputeFamily(t *testing.T) {
	const graphics, compute, transfer = 1, 2, 4
	for _, c := range []struct {
		name     string
		families []vkshim.QueueFamily
		want     uint32
		ok       bool
	}{
		{"none", []vkshim.QueueFamily{{Flags: graphics, Queues: 1, TimestampBits: 64}}, 0, false},
		{"one", []vkshim.QueueFamily{{Flags: graphics | compute | transfer, Queues: 1, TimestampBits: 64}}, 0, true},
		{"dedicated", []vkshim.QueueFamily{
			{Flags: graphics | compute, Queues: 16, TimestampBits: 64},
			{Flags: transfer, Queues: 2, TimestampBits: 64},
			{Flags: compute | transfer, Queues: 8, TimestampBits: 64},
		}, 2, true},
		{"dedicated without clock", []vkshim.QueueFamily{
			{Flags: graphics | compute, Queues: 1, TimestampBits: 36},
			{Flags: compute, Queues: 1},
		}, 0, true},
		{"no queues", []vkshim.QueueFamily{{Flags: compute}, {Flags: compute | graphics, Queues: 1}}, 1, true},
	} {
		if got, ok := computeFamily(c.families); ok != c.ok || ok && got != c.want {
			t.Errorf("%s: family %d, %v", c.name, got, ok)
		}
	}
}

func TestDurations(t *testing.T) {
	got := durations([]uint64{1<<36 - 10, 5, 105}, 36, 2.5) // the counter wraps
	if want := []time.Duration{37, 250}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := durations([]uint64{^uint64(0), 1}, 64, 1); got[0] != 2 {
		t.Errorf("64 bits: %v", got)
	}
	if got := durations([]uint64{7}, 64, 1); len(got) != 0 {
		t.Errorf("no commands: %v", got)
	}
}

func TestCheck(t *testing.T) {
	for r, want := range map[vkshim.Result]error{
		vkshim.ErrorHostMemory:     driver.ErrOutOfMemory,
		vkshim.ErrorDeviceMemory:   driver.ErrOutOfMemory,
		vkshim.ErrorTooManyObjects: driver.ErrOutOfMemory,
		vkshim.ErrorPoolMemory:     driver.ErrOutOfMemory,
		vkshim.ErrorDeviceLost:     driver.ErrDeviceLost,
		vkshim.ErrorFeature:        driver.ErrUnsupported,
	} {
		if err := check("test", r); !errors.Is(err, want) {
			t.Errorf("%d: %v", r, err)
		}
	}
	if err := check("test", -13); err == nil {
		t.Error("an unknown error is none")
	}
	if err := check("test", vkshim.Timeout); err != nil {
		t.Error(err)
	}
}

func TestOwns(t *testing.T) {
	d := &device{}
	d.a.props.VendorID, d.a.props.DeviceID = 7, 8
	d.a.props.PipelineCacheUUID[3] = 9
	header := func(size, version, vendor, device uint32, id byte) []byte {
		b := make([]byte, 40)
		for i, n := range []uint32{size, version, vendor, device} {
			binary.LittleEndian.PutUint32(b[4*i:], n)
		}
		b[19] = id
		return b
	}
	for _, c := range []struct {
		name string
		data []byte
		want bool
	}{
		{"own", header(32, 1, 7, 8, 9), true},
		{"nothing", nil, false},
		{"truncated", header(32, 1, 7, 8, 9)[:31], false},
		{"header longer than data", header(64, 1, 7, 8, 9), false},
		{"header too short", header(16, 1, 7, 8, 9), false},
		{"version", header(32, 2, 7, 8, 9), false},
		{"vendor", header(32, 1, 6, 8, 9), false},
		{"device", header(32, 1, 7, 9, 9), false},
		{"driver", header(32, 1, 7, 8, 1), false},
	} {
		if got := d.owns(c.data); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// What drivers with VK_EXT_memory_budget say of their memory is no more than there is, and less by what others take.
func TestMemoryBudget(t *testing.T) {
	d := open(t, hal.Options{})
	has := d.a.facts.Extensions&vkshim.MemoryBudget != 0
	budget := d.MemoryBudget()
	t.Logf("%s has the extension: %v; %d bytes of %d", d.info.Name, has, budget, d.info.MemoryBytes)
	if budget < 0 || budget > d.info.MemoryBytes || has != (budget > 0) {
		t.Errorf("%d bytes", budget)
	}
}
