//go:build !linux

package enginetest

import "runtime"

// resident is the heap in use: what can be told without the operating system's help.
func resident() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}
