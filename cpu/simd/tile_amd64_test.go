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
		"step": {unsafe.Offsetof(x.step), 208},
		"lda":  {unsafe.Offsetof(x.lda), 216}, "plane": {unsafe.Offsetof(x.plane), 224},
		"scale": {unsafe.Offsetof(x.scale), 272}, "low": {unsafe.Offsetof(x.low), 296},
		"high": {unsafe.Offsetof(x.high), 320}, "zero": {unsafe.Offsetof(x.zero), 344},
	} {
		if o[0] != o[1] {
			t.Errorf("tile.%s is at %d, the kernels look at %d", name, o[0], o[1])
		}
	}
}

func TestStripLayout(t *testing.T) {
	var x strip
	for name, o := range map[string][2]uintptr{
		"src": {unsafe.Offsetof(x.src), 0}, "dst": {unsafe.Offsetof(x.dst), 8}, "wei": {unsafe.Offsetof(x.wei), 16},
		"div": {unsafe.Offsetof(x.div), 24}, "masks": {unsafe.Offsetof(x.masks), 32}, "start": {unsafe.Offsetof(x.start), 40},
		"row": {unsafe.Offsetof(x.row), 48}, "end": {unsafe.Offsetof(x.end), 56}, "steps": {unsafe.Offsetof(x.steps), 64},
		"skip": {unsafe.Offsetof(x.skip), 72}, "ldSrc": {unsafe.Offsetof(x.ldSrc), 80},
		"ldDst": {unsafe.Offsetof(x.ldDst), 88}, "finish": {unsafe.Offsetof(x.finish), 96},
		"bias": {unsafe.Offsetof(x.bias), 104}, "limits": {unsafe.Offsetof(x.limits), 108},
		"ahead": {unsafe.Offsetof(x.ahead), 120}, "past": {unsafe.Offsetof(x.past), 128},
		"more": {unsafe.Offsetof(x.more), 136}, "from": {unsafe.Offsetof(x.from), 144}, "srcPlane": {unsafe.Offsetof(x.srcPlane), 152},
		"dstPlane": {unsafe.Offsetof(x.dstPlane), 160}, "biases": {unsafe.Offsetof(x.biases), 168},
	} {
		if o[0] != o[1] {
			t.Errorf("strip.%s is at %d, the kernels look at %d", name, o[0], o[1])
		}
	}
}
