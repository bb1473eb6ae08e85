package tiling

import (
	"math/rand/v2"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// CutRandom cuts a problem at random along everything that it can be cut along, into so many tiles at most.
func CutRandom(r *rand.Rand, p problem.Problem, most int) (*Tiles, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	steps := make([]int, dims)
	for d, e := range newGrid(p).of {
		if steps[d] = e.size; r.IntN(2) == 0 {
			steps[d] = 1 + r.IntN(e.size)
		}
	}
	tiles, err := CutNear(p, steps)
	for _, d := range r.Perm(int(dims)) {
		if err != nil || tiles.Len() <= most {
			break
		}
		steps[d] = tiles.grid.of[d].size
		tiles, err = CutNear(p, steps)
	}
	return tiles, err
}

// CutNear is CutBy, but that steps which the problem cannot be cut by are replaced by the next larger ones that it can.
func CutNear(p problem.Problem, steps []int) (*Tiles, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	g := newGrid(p)
	near := make([]int, dims)
	for d, e := range g.of {
		near[d] = e.size
		inGroups := (dim(d) == outs || dim(d) == ins) && near[groups] > 1
		if e.cut && !inGroups && d < len(steps) && steps[d] < e.size {
			near[d] = min(e.size, (max(steps[d], 1)+e.unit-1)/e.unit*e.unit)
		}
	}
	return CutBy(p, near)
}
