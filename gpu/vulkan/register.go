//go:build cgo && !novulkan

package vulkan

import (
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/gpu"
)

func init() { engine.Register("vulkan", gpu.NewDriver(API())) }
