//go:build !linux

package machine

import "runtime"

// Memory is the machine's memory in bytes.
func Memory() int64 { return assumedMemory }

// LargestAllocation is what a single allocation cannot exceed, whatever else is in use.
func LargestAllocation() int64 { return addressSpace }

// Processor is the processor's own name.
func Processor() string { return runtime.GOARCH + " processor" }
