package tensorio

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// openDirect opens a file past the cache.
func openDirect(path string, flag int) (*os.File, error) {
	return os.OpenFile(path, flag|unix.O_DIRECT, 0)
}

// inCache says whether the cache has all of a part of the file, and whether that can be known.
func inCache(f *os.File, off, bytes int64) (all, known bool) {
	defer runtime.KeepAlive(f)
	first := off / page
	pages := (off+bytes+page-1)/page - first
	var got unix.Cachestat_t
	err := unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{Off: uint64(first * page), Len: uint64(pages * page)}, &got, 0)
	return got.Cache*uint64(os.Getpagesize()) >= uint64(pages*page), err == nil
}

// directAlign is what memory has to be a multiple of for a file that is opened past the cache.
func directAlign(f *os.File) uintptr {
	defer runtime.KeepAlive(f)
	var st unix.Statx_t
	err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	if err != nil || st.Mask&unix.STATX_DIOALIGN == 0 || st.Dio_mem_align == 0 {
		return page
	}
	return uintptr(st.Dio_mem_align)
}
