//go:build cgo && !noopencl

package opencl

// The linker drops a library that nothing is taken from only if this option stands before it. It is repeated here
// because a package's options come before those of its imports, whichever of them is loaded first.

// #cgo linux LDFLAGS: -Wl,--as-needed
import "C"
