package enginetest

import (
	"os"
	"runtime"
	"strconv"
	"strings"
)

// resident is the process's resident memory in bytes.
func resident() int64 {
	runtime.GC()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, _ := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	return pages * int64(os.Getpagesize())
}
