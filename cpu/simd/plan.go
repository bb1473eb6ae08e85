package simd

import (
	"errors"
	"fmt"
)

// A panel of kcMost steps is to stay in the nearest caches, and a block of the packed operand that is swept again and
// again in the next.
const (
	kcMost     = 512
	blockElems = 128 << 10
	// kcPlaced is the same where the panel is of weights alone: what is multiplied with it is read in place.
	kcPlaced = 1536
)

// NewGemm plans a product.
func NewGemm(isa ISA, m, n, k int, h Hints) (*Gemm, error) {
	switch {
	case m < 0 || n < 0 || k < 0:
		return nil, fmt.Errorf("simd: product of sizes below zero: %d×%d×%d", m, n, k)
	case isa > Best():
		return nil, fmt.Errorf("%w: this machine has no %s", ErrISA, isa)
	}
	h.Workers = max(1, h.Workers)
	kern := kernelsOf(isa)
	switch {
	case h.Pairs:
		kern = pairsOf(isa)
	case h.Quads && !HasQuads(isa):
		return nil, fmt.Errorf("%w: %s multiplies no bytes here", ErrISA, isa)
	case h.Quads && (h.Line == 0 || h.Columns):
		return nil, errors.New("simd: a product of quads reads lines of B in place, and stores rows")
	case h.Quads:
		kern = &quads512
	}
	if h.Line > 0 && n%h.Line != 0 {
		return nil, fmt.Errorf("simd: product of %d columns in lines of %d", n, h.Line)
	}
	var best *Gemm
	for _, g := range candidates(kern, m, n, k, h) {
		if best == nil || g.cycles < best.cycles {
			best = g
		}
	}
	best.setTables()
	return best, nil
}

// setTables sets where the panels of a line and the rows of packed panels are.
func (g *Gemm) setTables() {
	g.setStarts()
	g.steady = offsets(g.blocks.widest(), g.nr)
	g.setTail()
}

// candidates are the plans for a product, with what they are expected to take, and without tables.
func candidates(kern *kernels, m, n, k int, h Hints) (all []*Gemm) {
	if h.Direct && h.Line == 0 {
		h.Line = n
	}
	for way := range 4 {
		swapped, inPlace := way&1 != 0, way&2 != 0
		if h.Direct && (swapped != h.Columns || !inPlace) || inPlace && !h.Direct && h.Line == 0 {
			continue
		}
		if h.Quads && swapped && !inPlace {
			continue // weights are the lanes only of rows in place
		}
		for v := range kern.products(swapped && inPlace) {
			g := &Gemm{M: m, N: n, K: k, kern: kern, columns: h.Columns, pairs: h.Pairs, quads: h.Quads, bytes: h.Bytes,
				swapped: swapped, inPlace: inPlace, direct: h.Direct, lineHint: h.Line}
			g.shape(v+1, h.Workers)
			all = append(all, g)
		}
	}
	return all
}

func (g *Gemm) setStarts() {
	g.starts = make([]int, 1, g.rows.split.parts+1)
	for i := range g.rows.split.parts {
		g.starts = append(g.starts, g.rows.split.start(i+1))
	}
}

// setTail sets where the rows of the last packed panel are.
func (g *Gemm) setTail() {
	g.tail = nil
	if rest := g.laneExt % g.nr; rest != 0 {
		g.tail = offsets(g.blocks.widest(), g.padded(rest))
	}
}

// lines cuts n elements, lines of the given length, into panels of at most so many.
func lines(n, length, most int) grid {
	if n == 0 {
		return grid{}
	}
	return grid{n / length, length, cut(length, most)}
}

// offsets of n rows of a panel.
func offsets(n, width int) []int {
	off := make([]int, n)
	for i := range off {
		off[i] = i * width
	}
	return off
}

// shape sets the tile, the blocks and the tasks for panels of v vectors, and the time to expect.
func (g *Gemm) shape(v, workers int) {
	g.rowExt, g.laneExt = g.M, g.N
	if g.swapped {
		g.rowExt, g.laneExt = g.N, g.M
	}
	g.nr = v * g.kern.lanes
	rowLine := g.rowExt
	g.line = g.laneExt
	steps := kcMost
	if g.inPlace {
		if g.swapped {
			rowLine, steps = g.lineHint, kcPlaced
		} else {
			g.line = g.lineHint
		}
	}
	g.rows = lines(g.rowExt, rowLine, len(g.kern.products(g.swapped && g.inPlace)[v-1]))
	if g.bytes && g.swapped == g.columns {
		steps = max(1, g.K) // C has no room for sums
	}
	g.blocks = cut(g.K, steps)
	lanePanels := g.lanePanels()
	// Tasks: the fewest with which the workers end together. A task sweeps its row panels for each lane panel, so that
	// these are bounded by the cache.
	most := max(1, blockElems/max(1, g.blocks.widest()*g.rows.split.widest()))
	if g.swapped && g.inPlace {
		most = max(1, g.rows.parts())
	}
	least := -1.0
	var rowJobs, laneJobs split
	for rp := (g.rows.parts() + most - 1) / most; rp <= g.rows.parts(); rp = next(rp, g.rows.parts()) {
		for lp := 1; lp <= lanePanels; lp = next(lp, lanePanels) {
			g.rowJobs, g.laneJobs = split{g.rows.parts(), rp}, split{lanePanels, lp}
			if g.scratchSize() > blockElems && lp < lanePanels {
				continue
			}
			rounds := (rp*lp + workers - 1) / workers
			// Workers that are held up leave the rest to others, which takes a few tasks each.
			slack := 1 + 0.06/float64(rounds)
			if workers == 1 {
				slack = 1
			}
			if cost := float64(rounds) * g.taskCost(v) * slack; least < 0 || cost < least {
				least, rowJobs, laneJobs = cost, g.rowJobs, g.laneJobs
			}
		}
	}
	g.rowJobs, g.laneJobs, g.cycles = rowJobs, laneJobs, least
}

// next is the following number of parts to try: all of the small ones, few of the large ones.
func next(parts, most int) int {
	if parts == most {
		return most + 1
	}
	return min(most, parts+1+parts/4)
}

// taskCost estimates the cycles of the largest task.
func (g *Gemm) taskCost(v int) float64 {
	rows := float64(g.rowJobs.widest())
	panels := g.laneJobs.widest()
	mr := g.rows.split.widest()
	k, blocks := float64(g.K), float64(max(1, g.blocks.parts))
	fetch := fetchLine
	if g.M*g.K > blockElems {
		fetch = fetchFar
	}
	panel := func(v int) float64 {
		cycles := rows * (k*g.stepCost(v) + blocks*tileCost(mr, v))
		switch {
		case g.swapped:
			cycles += k * float64(v) * fetch
		case !g.inPlace:
			cycles += k * g.packRow(float64(v*g.kern.lanes))
		}
		if g.inPlace {
			cycles += rows * k * float64(v) * streamLine
		}
		if g.swapped != g.columns {
			cycles += rows * float64(mr*v) * turnVector
		}
		return cycles
	}
	cycles := 2000.0
	switch {
	case !g.swapped:
		cycles += k * rows * float64(mr) / float64(g.kern.lanes) * fetch
	case !g.inPlace:
		cycles += k * rows * g.packRow(float64(mr))
	}
	each := panel(v)
	if rest := g.line % g.nr; rest != 0 && (g.laneJobs.parts == 1 || g.line < g.laneExt) {
		w, _ := g.kern.vectors(rest) // the narrower last panel of a line
		n := float64(cut(g.line, g.nr).parts)
		each = (each*(n-1) + panel(w)) / n
	}
	return cycles + float64(panels)*each
}

// packRow is what packing n columns of a row takes: in pieces, where these are lines.
func (g *Gemm) packRow(n float64) float64 {
	if g.lineHint == 0 {
		return packPiece
	}
	return packPiece * (1 + n/float64(g.lineHint))
}

// fetchLine is the cycles that a vector of weights takes to come from the second cache while the tiles compute, and
// fetchFar from a farther one, streamLine what remains of it where each tile has to fetch them again; packPiece those of
// packing a piece of one row of a panel, however short, and turnVector those of a vector of results that is to be transposed.
const (
	fetchLine  = 1.5
	fetchFar   = 6
	streamLine = 0.25
	packPiece  = 9
	turnVector = 8
)

// stepCost is the cycles of a step of a tile of v vectors, on average over the row panels of a line.
func (g *Gemm) stepCost(v int) float64 {
	s := g.rows.split
	wide := float64(s.n-(s.widest()-1)*s.parts) / float64(s.parts)
	return wide*stepCost(s.widest(), v) + (1-wide)*stepCost(s.widest()-1, v)
}

// stepCost is the cycles of a step of a tile of mr rows and v vectors: two fused multiply-adds and two loads each, the
// chain of one sum's additions 4 long.
func stepCost(mr, v int) float64 {
	return max(float64(mr*v)/2, float64(mr+v+1)/2, 4)
}

// tileCost is what starting a tile and storing it takes beside the steps.
func tileCost(mr, v int) float64 { return 30 + 2*float64(mr*v) }
