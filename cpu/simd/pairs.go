package simd

import "unsafe"

// A product of integers (Hints.Pairs) has pairs of 16-bit integers as the elements of A and B, K of them, and sums of 32
// bits, which wrap, as those of C:
//
//	C[i, j] = Σ_p A[i, p].lower·B[p, j].lower + A[i, p].upper·B[p, j].upper
//
// That is what a convolution of 8-bit integers needs once its zero points are subtracted, whatever they and the signs are.
// Elements travel as float32, of which only the bits are looked at: see Words.

// Words returns the memory of integers of 32 bits as the elements of a product of pairs.
func Words(v []int32) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(v))), len(v))
}

// Ints is the way back, such as a Post goes.
func Ints(v []float32) []int32 {
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(v))), len(v))
}

// Pair is a pair as an element of A.
func Pair(lower, upper int16) int32 { return int32(uint16(lower)) | int32(upper)<<16 }

// PairRows is a matrix B of pairs whose halves are rows in memory: B[p, x] = (Data[Off[2p] + x], Data[Off[2p+1] + x]).
type PairRows struct {
	Data  []int16
	Off   []int
	isa   ISA
	reach int
}

// NewPairRows returns the pairs of rows of data that start at the offsets, an even number.
func NewPairRows(isa ISA, data []int16, off []int) *PairRows {
	return &PairRows{Data: data, Off: off, isa: isa, reach: max(1, reach(off, 1)) - 1}
}

// Pack implements Source.
func (r *PairRows) Pack(dst []float32, stride, k0, kc, n0, nc int) {
	if kc == 0 || nc == 0 {
		return
	}
	k := pairsOf(r.isa)
	t := tiles.Get().(*tile)
	defer t.release()
	data := r.Data[n0:]
	_ = data[:r.reach+nc]
	t.rows, t.lanes = k.vectors(nc)
	if k.joinsWhole && r.reach+t.rows*k.lanes > len(data) {
		k = &pairsPortable
		t.rows, t.lanes = k.vectors(nc)
	}
	t.b = unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(data))), len(data)/2)
	t.off, t.k = r.Off[2*k0:][:2*kc], kc
	t.c, t.ldc = dst[:(kc-1)*stride+nc], stride
	t.halves = data
	k.join(t)
}
