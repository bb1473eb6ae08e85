//go:build !linux

package machine

import "runtime"

// Memory is the machine's memory in bytes, as far as a process can use it.
func Memory() int64 { return min(assumedMemory, addressSpace) }

// LargestAllocation is what a single allocation cannot exceed, whatever else is in use.
func LargestAllocation() int64 { return addressSpace }

// Processor is the processor's own name.
func Processor() string { return runtime.GOARCH + " processor" }

// Resident is the heap in use: what can be told of resident memory without the operating system's help.
func Resident() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}
