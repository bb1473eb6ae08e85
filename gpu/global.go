package gpu

import (
	"context"
	"fmt"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// Pooling of whole planes by the kernel pool_global.

// mostGlobal is how many cells of a plane are unrolled.
const mostGlobal = 64

// unrolledGlobal says whether planes are taken by the QUAD and unrolled.
func unrolledGlobal(d *Device, p *problem.Problem) bool {
	return d.quadWidth() > 1 && sourceCells(p) <= mostGlobal && p.N*p.IC%d.quadWidth() == 0
}

func canGlobal(d *Device, p *problem.Problem) error {
	if err := canPool(d, p); err != nil {
		return err
	}
	if p.Dir != problem.Forward || p.Indices != problem.NoIndices || p.Kind == problem.Lp {
		return unsupported("whole planes are for averages and maxima forward, without indices")
	}
	for _, a := range p.Axes {
		if a.Out != 1 || a.Kernel != a.In || a.PadL != 0 || a.PadR != 0 || a.Dilation != 1 {
			return unsupported("windows of less or more than a plane")
		}
	}
	switch {
	case p.N*p.IC == 0:
		return unsupported("the result is empty")
	case p.Kind == problem.Max && !unrolledGlobal(d, p):
		return unsupported("maxima of more than %d cells, or of planes that are not taken by the four", mostGlobal)
	case sourceCells(p)+64 > d.proof.LoopLimit:
		return unsupported("planes of %d cells are too long for this driver's loops", sourceCells(p))
	}
	return nil
}

// worthGlobal says whether the work pays for a compilation.
func worthGlobal(_ *Device, p *problem.Problem) bool { return p.FLOPs() >= rowsWorth }

func buildGlobal(ctx context.Context, pl *plan) error {
	src, err := pl.input(ctx, problem.Src)
	if err != nil {
		return err
	}
	p, d := &pl.core, pl.dev
	cells, planes, quad := sourceCells(p), p.N*p.IC, d.quadWidth()
	items, unrolled, quads, rw := planes, 0, 0, 1
	switch {
	case unrolledGlobal(d, p):
		items, unrolled = planes/quad, cells
	case quad > 1 && cells%quad == 0:
		quads = 1
	case d.class() == straight:
		rw = d.limits.VectorWidth
	}
	group := map[class]int{straight: 4, lanes: simdLanes, gpuClass: generalGroup}[d.class()]
	k, err := pl.kernel(ctx, "pool_global", words(group, 1, 1, poolNumbers[p.Kind], unrolled, quads, rw)...)
	if err != nil {
		return err
	}
	count := cells
	if p.Divisor > 0 {
		count = p.Divisor
	}
	pl.info.Tile = fmt.Sprintf("%d planes, group %d", planes/items, group)
	pl.info.Why = "whole planes: each element is read once, in order"
	return pl.each(&pl.run, k, items, []operand{src, src, pl.output(problem.Dst)}, words(cells, count, planes*cells-1)...)
}
