package gpu

import (
	"math"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// walk is how work-items go down a map: strips of rows, each tx rows (the kernels' word) of rw pixels wide.
type walk struct {
	tx, rw       int
	xt           int // strips side by side
	step, move   int // rows from one iteration to the next, and by how many taps the windows then differ
	strips, rows int // strips below each other for each of step phases, and their iterations
	// The kernels' words: how many QUADs of a source row a row of a work-item sees, the first of them offset floats before
	// the window; 0 where rows do not begin with whole ones. whole says that rows of results are whole ones.
	quads, offset, whole int
}

// quadCost is what loading or storing a QUAD takes, in loads of a float: measured on llvmpipe.
const quadCost = 1.6

// bandBytes is how much of the source's rows a strip crosses where it does not have to cross more: CPUs read along rows
// better than down a column of pages.
const bandBytes = 128 << 10

// newWalk covers planes of so many rows and columns of windows.
func newWalk(d *Device, planes int, h, w problem.Axis) walk {
	g := gcd(h.Stride, h.Dilation)
	k := walk{tx: 1, rw: 1, step: h.Dilation / g, move: min(h.Stride/g, h.Kernel)}
	if d.class() == straight {
		k.rw = d.rowWidth(w.Out)
	} else {
		best := math.Inf(1)
		for tx := 1; tx <= 8; tx++ {
			t := walk{tx: tx, rw: 1}
			t.useQuads(d, w)
			if d.class() == gpuClass && tx > 1 && (t.whole == 0 || tx > d.quadWidth()) {
				continue // the lanes' results would lie apart, each store a transaction of its own
			}
			loads, stores := float64(min((tx-1)*w.Stride+w.Extent(), tx*w.Kernel)), float64(tx)
			if t.quads > 0 {
				loads = quadCost * float64(t.quads)
			}
			if t.whole > 0 {
				stores = quadCost * float64(tx/d.quadWidth())
			}
			if cost := float64(ceilDiv(w.Out, tx)) * (loads*float64(min(h.Stride, h.Kernel)) + stores + 2); cost <= best {
				best, k.tx = cost, tx
			}
		}
		k.useQuads(d, w)
	}
	k.strip(d, planes, h, w)
	return k
}

// strip cuts planes of so many rows and columns of windows into strips.
func (k *walk) strip(d *Device, planes int, h, w problem.Axis) {
	k.xt = ceilDiv(w.Out, k.tx*k.rw)
	rows := ceilDiv(h.Out, k.step)
	// Strips start by filling their windows, so they are no shorter than it takes to keep the device busy.
	k.strips = max(1, min(ceilDiv(d.busy(), planes*k.xt*k.step), rows/(4*h.Kernel)))
	if d.class() != gpuClass {
		band := max(bandBytes/(4*w.In*h.Stride*k.step), 8)
		if k.move < h.Kernel {
			band = max(band, 4*h.Kernel)
		}
		k.strips = max(k.strips, ceilDiv(rows, band))
	}
	k.strips = max(k.strips, ceilDiv(rows, d.proof.LoopLimit-h.Kernel-2))
	k.rows = ceilDiv(rows, k.strips)
	k.strips = ceilDiv(rows, k.rows)
}

// rowWidth is the narrowest vector that holds a row, or the widest for long ones.
func (d *Device) rowWidth(columns int) int {
	rw := d.limits.VectorWidth
	for rw > 4 && rw/2 >= columns {
		rw /= 2
	}
	return rw
}

// quadWidth is how many floats the kernels' QUAD has.
func (d *Device) quadWidth() int {
	if d.limits.GLSL {
		return 4
	}
	return 1
}

// useQuads has rows loaded and stored by QUADs where they consist of whole ones.
func (k *walk) useQuads(d *Device, w problem.Axis) {
	n := d.quadWidth()
	if n == 1 || k.rw != 1 || w.In%n != 0 || k.tx*w.Stride%n != 0 || w.PadR < 0 {
		return
	}
	k.offset = ((-w.PadL)%n + n) % n
	k.quads = ceilDiv(k.offset+(k.tx-1)*w.Stride+w.Extent(), n)
	k.whole = flag(w.Out%n == 0 && k.tx%n == 0)
}

// unlessHalf has kernels that keep halves read and write them one by one.
func (k *walk) unlessHalf(half bool) {
	if half {
		k.quads, k.offset, k.whole = 0, 0, 0
	}
}

// items is how many work-items cover so many planes.
func (k *walk) items(planes int) int { return planes * k.xt * k.strips * k.step }

// walkGroup is the work-group of kernels that walk.
func (d *Device) walkGroup() int32 {
	switch d.class() {
	case straight:
		return 1
	case lanes:
		return 2 * simdLanes // llvmpipe takes 500 cycles for a group
	}
	return generalGroup
}

// withoutDepth says whether planes can be taken one by one: a depth of 1, which the only window has before it.
func withoutDepth(depth problem.Axis) bool {
	return depth.In == 1 && depth.Out == 1 && depth.Kernel == 1 && depth.PadL == 0
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
