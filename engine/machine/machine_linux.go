package machine

import (
	"bufio"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Memory is the machine's memory in bytes, as far as a process can use it.
func Memory() int64 {
	var i unix.Sysinfo_t
	if unix.Sysinfo(&i) != nil {
		return min(assumedMemory, addressSpace)
	}
	return min(int64(i.Totalram)*int64(i.Unit), addressSpace)
}

// LargestAllocation is what a single allocation cannot exceed, whatever else is in use: Go ends the process where the
// system has no more. It is memory and swap, or the limit of the process (ulimit -v) where that is less.
func LargestAllocation() int64 {
	most := int64(addressSpace)
	var i unix.Sysinfo_t
	if unix.Sysinfo(&i) == nil {
		most = min(most, (int64(i.Totalram)+int64(i.Totalswap))*int64(i.Unit))
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_AS, &limit) == nil && limit.Cur < uint64(most) {
		most = int64(limit.Cur)
	}
	return most
}

// Processor is the processor's own name.
func Processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "CPU"
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		if key, value, ok := strings.Cut(in.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "CPU"
}

// Resident is the process's resident memory in bytes.
func Resident() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64) // 0 for what is no number
	return pages * int64(os.Getpagesize())
}
