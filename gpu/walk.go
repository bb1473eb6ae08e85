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
}

// newWalk covers planes of so many rows and columns of windows.
func newWalk(d *Device, planes int, h, w problem.Axis) walk {
	g := gcd(h.Stride, h.Dilation)
	k := walk{tx: 1, rw: 1, step: h.Dilation / g, move: min(h.Stride/g, h.Kernel)}
	if d.class() == straight {
		// The narrowest vector that holds the row; the widest for long ones.
		for k.rw = d.limits.VectorWidth; k.rw > 4 && k.rw/2 >= w.Out; {
			k.rw /= 2
		}
	} else {
		best := math.Inf(1)
		for tx := 1; tx <= 8; tx++ {
			loads := min((tx-1)*w.Stride+(w.Kernel-1)*w.Dilation+1, tx*w.Kernel)
			if cost := float64(ceilDiv(w.Out, tx)) * float64(loads*min(h.Stride, h.Kernel)+tx+2); cost <= best {
				best, k.tx = cost, tx
			}
		}
	}
	k.xt = ceilDiv(w.Out, k.tx*k.rw)
	rows := ceilDiv(h.Out, k.step)
	// Strips start by filling their windows, so they are no shorter than it takes to keep the device busy.
	k.strips = max(1, min(ceilDiv(d.busy(), planes*k.xt*k.step), rows/(4*h.Kernel)))
	k.strips = max(k.strips, ceilDiv(rows, d.proof.LoopLimit-h.Kernel-2))
	k.rows = ceilDiv(rows, k.strips)
	k.strips = ceilDiv(rows, k.rows)
	return k
}

// items is how many work-items cover so many planes.
func (k *walk) items(planes int) int { return planes * k.xt * k.strips * k.step }

// walkGroup is the work-group of kernels that walk.
func (d *Device) walkGroup() int32 {
	switch d.class() {
	case straight:
		return 1
	case lanes:
		return simdLanes
	}
	return generalGroup
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
