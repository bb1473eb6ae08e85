//go:build cgo && !noopencl

package opencl

import (
	"testing"

	"github.com/gonvolve/gonvolve/gpu/internal/mathtest"
)

func TestMath(t *testing.T) { mathtest.Run(t, API()) }
