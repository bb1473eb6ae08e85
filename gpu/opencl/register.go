//go:build cgo && !noopencl

package opencl

import (
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/gpu"
)

func init() { engine.Register("opencl", gpu.NewDriver(API())) }
