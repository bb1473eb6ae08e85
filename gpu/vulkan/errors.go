//go:build cgo && !novulkan

package vulkan

import (
	"fmt"
	"strings"

	vk "github.com/vulkan-go/vulkan"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/vulkan/vkshim"
)

// check turns a result into an error that says what was being done and wraps the driver's sentinel, if there is one
// for it. Positive results are no errors.
func check(doing string, r vkshim.Result) error {
	if r >= 0 {
		return nil
	}
	reason := vk.Error(vk.Result(r)).Error()
	reason = strings.TrimPrefix(reason, "vulkan error: ")
	switch r {
	case vkshim.ErrorHostMemory, vkshim.ErrorDeviceMemory, vkshim.ErrorMemoryMap, vkshim.ErrorTooManyObjects, vkshim.ErrorPoolMemory:
		return fmt.Errorf("vulkan: %s: %s: %w", doing, reason, driver.ErrOutOfMemory)
	case vkshim.ErrorDeviceLost:
		return fmt.Errorf("vulkan: %s: %w", doing, driver.ErrDeviceLost)
	case vkshim.ErrorFeature:
		return fmt.Errorf("vulkan: %s: %s: %w", doing, reason, driver.ErrUnsupported)
	}
	return fmt.Errorf("vulkan: %s: %s", doing, reason)
}

// checkVK is check for the binding's results.
func checkVK(doing string, r vk.Result) error { return check(doing, vkshim.Result(r)) }

func unsupported(format string, args ...any) error {
	return fmt.Errorf("vulkan: "+format+": %w", append(args, driver.ErrUnsupported)...)
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("vulkan: "+format+": %w", append(args, driver.ErrInvalid)...)
}

func closed(what string) error { return fmt.Errorf("vulkan: %s: %w", what, driver.ErrClosed) }
