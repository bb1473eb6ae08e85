package tensorio

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// reserve gives a file its size, and the disk's space where the file system can. One in memory would clear all pages for it,
// one after another, before the first is written: there it is only asked whether it has as many.
func reserve(f *os.File, size int64) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err == nil && fs.Type == unix.TMPFS_MAGIC {
		if free := int64(fs.Bavail) * int64(fs.Bsize); fs.Blocks > 0 && free < size { // no Blocks: no limit
			return fmt.Errorf("%w: %d bytes wanted, %d are free", unix.ENOSPC, size, free)
		}
		return f.Truncate(size)
	}
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return f.Truncate(size)
	}
	return err
}
