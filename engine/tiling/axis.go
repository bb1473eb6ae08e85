package tiling

import (
	"github.com/gonvolve/gonvolve/engine/problem"
)

// span is the cells from … to−1 of a dimension.
type span struct{ from, to int }

func (s span) len() int { return s.to - s.from }

// windows is an axis seen as windows over an image: window o covers image cells o·stride − padL + k·dilation. A
// convolution gathers them from its source; a transposed one, and an unpooling, scatter to their destination.
type windows struct {
	a       problem.Axis
	image   int // cells
	count   int // windows
	swapped bool
	pool    bool // the last window may hang over the right padding, and cells have divisors
}

// axisOf is an axis of the operation as windows.
func axisOf(op problem.Op, a problem.Axis) windows {
	if op == problem.Deconv || op == problem.Unpool {
		return windows{a: a, image: a.Out, count: a.In, swapped: true}
	}
	return windows{a: a, image: a.In, count: a.Out, pool: op == problem.Pool}
}

// start is the first cell of window o, which may lie in the padding.
func (w windows) start(o int) int { return o*w.a.Stride - w.a.PadL }

// end is the cell after window o.
func (w windows) end(o int) int { return w.start(o) + w.a.Extent() }

// reach is the image cells that the windows cover: at least one, even if all lie in the padding.
func (w windows) reach(o span) span {
	from := min(max(0, w.start(o.from)), w.image-1)
	return span{from, max(min(w.end(o.to-1), w.image), from+1)}
}

// touching are the windows that may cover cells of the image's part: at least one, even if none does.
func (w windows) touching(x span) span {
	from := min(max(0, ceilDiv(x.from+w.a.PadL-w.a.Extent()+1, w.a.Stride)), w.count-1)
	return span{from, max(min(floorDiv(x.to-1+w.a.PadL, w.a.Stride)+1, w.count), from+1)}
}

// landing are the windows whose indices may point at cells of the image's part, if each points into its own window: with those that
// no cell's part would have at the ends.
func (w windows) landing(x span) span {
	o := w.touching(x)
	if x.from == 0 {
		o.from = 0
	}
	if x.to == w.image {
		o.to = w.count
	}
	return o
}

// folded are windows and a part of the image such that the gradient by the cells x, of a source whose padding is made of its own
// cells, is in that of the part: with the windows whose padding is made of these cells, and from the first to the last of their
// cells. What else is in the part lacks windows. Around a circle both may lie beyond the ends.
func (w windows) folded(x span, mode problem.PadMode) (o, part span) {
	a := w.a
	if mode == problem.Circular {
		o = span{ceilDiv(x.from+a.PadL-a.Extent()+1, a.Stride), floorDiv(x.to-1+a.PadL, a.Stride) + 1}
		o.from = min(o.from, floorDiv(x.from+a.PadL, a.Stride))
		o.to = max(o.to, ceilDiv(x.to+a.PadL-a.Extent(), a.Stride)+1)
		return o, span{w.start(o.from), w.end(o.to - 1)}
	}
	first, last := x.from <= a.PadL, x.to >= w.image-a.PadR
	if first {
		x = span{0, max(x.to, min(a.PadL+1, w.image))}
	}
	if last {
		x = span{min(x.from, max(0, w.image-1-a.PadR)), w.image}
	}
	if o = w.touching(x); w.start(o.from) > x.from {
		o.from--
	}
	if w.end(o.to-1) < x.to {
		o.to++
	}
	if o = (span{max(0, o.from), min(w.count, o.to)}); first {
		o.from = 0
	}
	if last {
		o.to = w.count
	}
	if part = (span{max(0, w.start(o.from)), min(w.image, w.end(o.to-1))}); o.to == w.count {
		part.to = w.image
	}
	return o, part
}

// round says that the windows go round a circle evenly: the last one is followed by the first.
func (w windows) round() bool { return w.count*w.a.Stride == w.image }

// part is the axis of a problem on the windows o over the image's part x.
func (w windows) part(o, x span) problem.Axis {
	a := w.a
	start, end := w.start(o.from), w.end(o.to-1)
	a.PadL = x.from - start
	if w.pool { // what hangs over the right padding is no part of it: it doesn't count for divisors
		end = min(end, w.image+w.a.PadR)
	}
	a.PadR = end - x.to
	if a.In, a.Out = x.len(), o.len(); w.swapped {
		a.In, a.Out = o.len(), x.len()
	}
	return a
}

func floorDiv(a, b int) int {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func ceilDiv(a, b int) int { return -floorDiv(-a, b) }

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
