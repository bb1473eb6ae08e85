//go:build cgo && !novulkan

package vulkan_test

import (
	"testing"

	_ "github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/enginetest"
	_ "github.com/gonvolve/gonvolve/gpu/vulkan"
)

func TestEngine(t *testing.T) { enginetest.Run(t, enginetest.Spec("vulkan:0", driver.Options{})) }

// TestEngineStaged takes the transfer path of devices with memory of their own.
func TestEngineStaged(t *testing.T) {
	enginetest.Run(t, enginetest.Spec("vulkan:0", driver.Options{Staged: true}))
}

// TestEngineValidated runs everything under the Khronos validation layer: a message fails the Close of its device.
func TestEngineValidated(t *testing.T) {
	enginetest.Run(t, enginetest.Spec("vulkan:0", driver.Options{Validate: true, Staged: true}))
}

// TestEngineParts has tensors larger than what kernels bind.
func TestEngineParts(t *testing.T) {
	enginetest.Parts(t, enginetest.Spec("vulkan:0", driver.Options{MaxBinding: enginetest.PartsBinding, Validate: true}))
}

func BenchmarkRun(b *testing.B) { enginetest.Bench(b, enginetest.Spec("vulkan:0", driver.Options{})) }

func TestBackground(t *testing.T) {
	enginetest.Background(t, enginetest.Spec("vulkan:0", driver.Options{NoCache: true}))
}
