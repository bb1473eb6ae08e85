//go:build !linux

package cpu

import "runtime"

func totalMemory() int64 { return assumedMemory }

func processorName() string { return runtime.GOARCH + " processor" }
