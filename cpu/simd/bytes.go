package simd

import (
	"math"
	"unsafe"
)

// Byte is a type of 8-bit integers.
type Byte interface{ int8 | uint8 }

// byteKernels convert k whole vectors of 8-bit integers: b to floats or to integers of 32 bits in c, and floats to them,
// within limits.
type byteKernels struct{ floats, ints, bytes kernel }

func bytesOf[B Byte](k *kernels) *byteKernels {
	var zero B
	if zero-1 < 0 {
		return &k.signed
	}
	return &k.unsigned
}

// words is the memory of bytes as a tile has it.
func words[B Byte](v []B) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(v))), len(v)/4)
}

// wholes is a tile of the whole vectors of n elements, and how many elements they have; nil if there are none, or no
// kernel for them.
func (k *kernels) wholes(kernel kernel, n int) (*tile, int) {
	if n < k.lanes || kernel == nil {
		return nil, 0
	}
	t := tiles.Get().(*tile)
	t.k = n / k.lanes
	return t, t.k * k.lanes
}

// Floats converts 8-bit integers to floats.
func Floats[B Byte](isa ISA, dst []float32, src []B) {
	k := kernelsOf(isa)
	src = src[:len(dst)]
	kernel := bytesOf[B](k).floats
	t, n := k.wholes(kernel, len(dst))
	if t != nil {
		t.b, t.c = words(src[:n]), dst[:n]
		kernel(t)
		t.release()
		dst, src = dst[n:], src[n:]
	}
	for i, v := range src {
		dst[i] = float32(v)
	}
}

// Integers converts 8-bit integers to integers of 32 bits.
func Integers[B Byte](isa ISA, dst []int32, src []B) {
	k := kernelsOf(isa)
	src = src[:len(dst)]
	kernel := bytesOf[B](k).ints
	t, n := k.wholes(kernel, len(dst))
	if t != nil {
		t.b, t.c = words(src[:n]), Words(dst[:n])
		kernel(t)
		t.release()
		dst, src = dst[n:], src[n:]
	}
	for i, v := range src {
		dst[i] = int32(v)
	}
}

// Saturate rounds floats to the nearest 8-bit integers, to even between two, of those from lo to hi; NaN is 0.
func Saturate[B Byte](isa ISA, dst []B, src []float32, lo, hi float32) {
	k := kernelsOf(isa)
	dst = dst[:len(src)]
	kernel := bytesOf[B](k).bytes
	t, n := k.wholes(kernel, len(src))
	if t != nil {
		t.b, t.c, t.limits = src[:n], words(dst[:n]), [2]float32{lo, hi}
		kernel(t)
		t.release()
		dst, src = dst[n:], src[n:]
	}
	// In a sum with whole, the lowest bits are those of the integer.
	const whole = 3 << 22
	for i, v := range src {
		if v != v {
			v = 0
		}
		dst[i] = B(math.Float32bits(limit(v, lo, hi) + whole))
	}
}

// Shorts sets dst to differences that fit in 16 bits.
func Shorts(isa ISA, dst []int16, src []int32, less int32) {
	k := kernelsOf(isa)
	src = src[:len(dst)]
	t, n := k.wholes(k.shorts, len(dst))
	if t != nil {
		t.b, t.limits[0] = Words(src[:n]), math.Float32frombits(uint32(less))
		t.c = unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(dst))), n/2)
		k.shorts(t)
		t.release()
		dst, src = dst[n:], src[n:]
	}
	for i, v := range src {
		dst[i] = int16(v - less)
	}
}
