//go:build cgo && !noopencl

package opencl_test

import (
	"testing"

	_ "github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/enginetest"
	_ "github.com/gonvolve/gonvolve/gpu/opencl"
)

func TestEngine(t *testing.T) { enginetest.Run(t, enginetest.Spec("opencl:0", driver.Options{})) }

// TestEngineStaged takes the transfer path of devices with memory of their own.
func TestEngineStaged(t *testing.T) {
	enginetest.Run(t, enginetest.Spec("opencl:0", driver.Options{Staged: true}))
}

// TestEngineParts has tensors larger than what kernels bind.
func TestEngineParts(t *testing.T) {
	enginetest.Parts(t, enginetest.Spec("opencl:0", driver.Options{MaxBinding: enginetest.PartsBinding}))
}

func BenchmarkRun(b *testing.B) { enginetest.Bench(b, enginetest.Spec("opencl:0", driver.Options{})) }

func TestBackground(t *testing.T) {
	enginetest.Background(t, enginetest.Spec("opencl:0", driver.Options{NoCache: true}))
}
