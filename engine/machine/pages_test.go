package machine_test

import (
	"testing"
	"unsafe"

	"github.com/gonvolve/gonvolve/engine/machine"
)

// Memory has the size that was asked for, in whole words and of zeros, and begins with a huge page if it is large.
func TestAlloc(t *testing.T) {
	for _, n := range []int64{0, 1, 7, 4096, machine.Large - 1, machine.Large, machine.Large + 5, 3*machine.HugePage - 1} {
		m := machine.Alloc(n)
		if int64(len(m)) != n || cap(m)%8 != 0 || cap(m) < len(m) {
			t.Fatalf("%d bytes: there are %d, and room for %d", n, len(m), cap(m))
		}
		for i, v := range m[:cap(m)] {
			if v != 0 {
				t.Fatalf("%d bytes: byte %d is %d", n, i, v)
			}
			m[:cap(m)][i] = 1
		}
		p := unsafe.Pointer(unsafe.SliceData(m))
		if off := machine.Unaligned(p); n >= machine.Large && off != 0 {
			t.Errorf("%d bytes begin %d before a huge page", n, off)
		}
		if uintptr(p)%8 != 0 {
			t.Errorf("%d bytes do not begin with a word", n)
		}
	}
}
