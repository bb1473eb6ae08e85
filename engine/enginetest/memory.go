package enginetest

import (
	"runtime"

	"github.com/gonvolve/gonvolve/engine/machine"
)

// resident is the process's resident memory in bytes, without garbage.
func resident() int64 {
	runtime.GC()
	return machine.Resident()
}
