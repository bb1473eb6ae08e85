package machine

import "unsafe"

// HugePage is what large memory begins with a multiple of. Where the system has pages of that size, the processor finds its way
// in them faster, and a disk that reads or writes them is told of one instead of 512.
const HugePage = 2 << 20

// Large is the least memory, in bytes, that is worth being aligned to huge pages.
const Large = 2 * HugePage

// Alloc makes memory of zeros, in whole words of 8 bytes: its capacity. What is Large is aligned to huge pages, and comes in them
// where the system has them.
func Alloc(bytes int64) []byte {
	room := bytes
	if bytes >= Large {
		room = (bytes+HugePage-1)/HugePage*HugePage + HugePage
	}
	words := make([]uint64, (room+7)/8)
	m := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 8*len(words))
	if bytes >= Large {
		m = m[Unaligned(unsafe.Pointer(unsafe.SliceData(m))):]
		m = m[: room-HugePage : room-HugePage]
		Huge(m)
	}
	return m[:bytes]
}

// Unaligned is how far the next huge page is from p.
func Unaligned(p unsafe.Pointer) int { return int(-uintptr(p) % HugePage) }
