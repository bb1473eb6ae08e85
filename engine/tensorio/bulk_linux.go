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

// takePages takes memory in pages that are as large as can be. freePages gives it back.
func takePages(bytes int) []byte {
	m, err := unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]byte, bytes)
	}
	_ = unix.Madvise(m, unix.MADV_HUGEPAGE) // some kernels have none
	return m
}

func freePages(m []byte) { _ = unix.Munmap(m) } // nothing, if it isn't of Mmap
