package simd

// Patches is the matrix B that a convolution implies, packed from its source without being written: the columns are the
// output positions in row-major order, the rows the taps of all channels,
//
//	B[p, n] = data[off[p] + at(n)],   at(n) = lines[n/width] + n mod width
//
// The data is the source with its padding written out. With stride 1, lines[y] is y times the padded width, and off of tap
// (c, kh, kw) is (c, kh·d, kw·d) in the padded source. With stride 2, rows are parted by Split, so that along a row each
// tap is contiguous again; other strides likewise. There are more lines in 3-D, and they may span the images of a batch.
type Patches struct {
	data  []float32
	off   []int
	lines []int
	width int
	reach int // elements that data has to have
	isa   ISA
}

// NewPatches returns patches of no data yet.
func NewPatches(isa ISA, off, lines []int, width int) Patches {
	p := Patches{off: off, lines: lines, width: width, isa: isa}
	if len(off) > 0 && len(lines) > 0 {
		p.reach = reach(off, 1) - 1 + reach(lines, width)
	}
	return p
}

// On returns the same patches of data, which has to have them all: the kernels don't look.
func (s Patches) On(data []float32) Patches {
	mustHold(data, s.reach)
	s.data = data
	return s
}

// Len is how much data the patches need.
func (s Patches) Len() int { return s.reach }

// Line implements Placed.
func (s *Patches) Line(n0 int) ([]float32, []int) {
	return s.data[s.lines[n0/s.width]+n0%s.width:], s.off
}

// Pack implements Source.
func (s *Patches) Pack(dst []float32, stride, k0, kc, n0, nc int) {
	k := kernelsOf(s.isa)
	t := tiles.Get().(*tile)
	defer t.release()
	off := s.off[k0:][:kc]
	for n := 0; n < nc; {
		line, x := (n0+n)/s.width, (n0+n)%s.width
		run := min(nc-n, s.width-x)
		k.copyRows(t, dst[n:], stride, s.data[s.lines[line]+x:], off, run)
		n += run
	}
}
