package simd

import "slices"

// Patches is the matrix B that a convolution implies, packed from its source without being written: the columns are the
// output positions in row-major order, the rows the taps of all channels,
//
//	B[p, n] = Data[Off[p] + at(n)],   at(n) = Lines[n/Width] + n mod Width
//
// Data is the source with its padding written out. With stride 1, Lines[y] is y times the padded width, and Off of tap
// (c, kh, kw) is (c, kh·d, kw·d) in the padded source. With stride 2, rows are parted by Split, so that along a row each
// tap is contiguous again; other strides likewise. Lines has more entries in 3-D and may span images of a batch.
type Patches struct {
	Data  []float32
	Off   []int
	Lines []int
	Width int
	ISA   ISA
}

// Pack implements Source.
func (s *Patches) Pack(dst []float32, stride, k0, kc, n0, nc int) {
	k := kernelsOf(s.ISA)
	t := tiles.Get().(*tile)
	defer t.release()
	off := s.Off[k0:][:kc]
	for n := 0; n < nc; {
		line, x := (n0+n)/s.Width, (n0+n)%s.Width
		run := min(nc-n, s.Width-x)
		k.copyRows(t, dst[n:], stride, s.Data[s.Lines[line]+x:], off, run)
		n += run
	}
}

// Valid says whether all that the kernels will read is there, which they don't look at.
func (s *Patches) Valid() bool {
	if len(s.Off) == 0 || len(s.Lines) == 0 {
		return true
	}
	return min(slices.Min(s.Off), slices.Min(s.Lines)) >= 0 &&
		slices.Max(s.Off)+slices.Max(s.Lines)+s.Width <= len(s.Data)
}
