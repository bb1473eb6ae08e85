package machine

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Huge asks for huge pages where memory is written for the first time. Some systems have none: it is as it was then.
func Huge(m []byte) {
	page := os.Getpagesize()
	first := int(-uintptr(unsafe.Pointer(unsafe.SliceData(m))) % uintptr(page))
	if pages := (len(m) - first) / page * page; pages > 0 {
		_ = unix.Madvise(m[first:][:pages], unix.MADV_HUGEPAGE)
	}
}
