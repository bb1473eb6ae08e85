package simd

import (
	"testing"
	"unsafe"
)

// The offsets that gen/gemm.go writes into the assembly.
func TestTileLayout(t *testing.T) {
	var x tile
	for name, o := range map[string][2]uintptr{
		"a": {unsafe.Offsetof(x.a), 0}, "b": {unsafe.Offsetof(x.b), 24}, "off": {unsafe.Offsetof(x.off), 48},
		"c": {unsafe.Offsetof(x.c), 72}, "k": {unsafe.Offsetof(x.k), 96}, "ldc": {unsafe.Offsetof(x.ldc), 104},
		"lanes": {unsafe.Offsetof(x.lanes), 112}, "add": {unsafe.Offsetof(x.add), 120},
		"rows": {unsafe.Offsetof(x.rows), 128}, "ldb": {unsafe.Offsetof(x.ldb), 136},
		"next": {unsafe.Offsetof(x.next), 144}, "bias": {unsafe.Offsetof(x.bias), 168},
		"limits": {unsafe.Offsetof(x.limits), 192}, "finish": {unsafe.Offsetof(x.finish), 200},
	} {
		if o[0] != o[1] {
			t.Errorf("tile.%s is at %d, the kernels look at %d", name, o[0], o[1])
		}
	}
}
