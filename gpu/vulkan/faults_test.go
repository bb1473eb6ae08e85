//go:build cgo && !novulkan

package vulkan_test

import (
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/enginetest"
	"github.com/gonvolve/gonvolve/engine/faulty"
	"github.com/gonvolve/gonvolve/gpu"
	"github.com/gonvolve/gonvolve/gpu/hal/faultyhal"
	"github.com/gonvolve/gonvolve/gpu/vulkan"
)

// TestRandomFaults has the API below package gpu fail; the cpu to fall back to is sound.
func TestRandomFaults(t *testing.T) {
	enginetest.Faults(t, "vulkan:0", func(f *faulty.Faults, d driver.Driver) driver.Driver {
		if _, ok := d.(*gpu.Driver); ok {
			return gpu.NewDriver(faultyhal.API(f, vulkan.API()))
		}
		return d
	})
}
