//go:build unix

package machine

import (
	"os"
	"syscall"
)

// Disk is a number of the file system that a file or folder is in, which says nothing but whether two are in the same one.
func Disk(path string) (n uint64, known bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return uint64(st.Dev), true
}
