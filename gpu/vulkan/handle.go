//go:build cgo && !novulkan

package vulkan

import (
	"unsafe"

	vk "github.com/vulkan-go/vulkan"
)

// The binding has non-dispatchable handles as pointers to C structs that do not exist, the shim has them as the
// 64-bit numbers they are. They are never turned into unsafe.Pointer, which the collector would look into.

func number[H any](h H) uint64 { return *(*uint64)(unsafe.Pointer(&h)) }

func handle[H any](n uint64) H { return *(*H)(unsafe.Pointer(&n)) }

// Both are 8 bytes, or this does not compile.
var _ = [1]struct{}{}[unsafe.Sizeof(vk.NullBuffer)-8]
