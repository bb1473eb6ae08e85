package tiling

import (
	"math"
	"math/rand/v2"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// Shred cuts a problem at random, into however many tiles.
func Shred(r *rand.Rand, p problem.Problem) *Tiles {
	tiles, err := CutRandom(r, p, math.MaxInt)
	if err != nil {
		panic(err)
	}
	return tiles
}

// NewJob is a job of tiles that are cut already.
func NewJob(dev *engine.Device, t *Tiles) *Job {
	j := &Job{Tiles: t, dev: dev}
	j.plans.keep = 3
	return j
}

// Dims are the names of what is cut.
func (c *Tiles) Dims() (names []string) {
	for d, e := range c.grid.of {
		if e.parts() > 1 {
			names = append(names, c.name(dim(d)))
		}
	}
	return names
}

// Part is the axis of a part of an operation's axis, with what of source and destination it has: windows from … to−1 and
// what they reach, or image cells and what touches them.
func Part(op problem.Op, a problem.Axis, windows bool, from, to int) (part problem.Axis, inFrom, outFrom int) {
	w := axisOf(op, a)
	o := span{from, to}
	x := w.reach(o)
	if !windows {
		x = o
		o = w.touching(x)
	}
	if inFrom, outFrom = x.from, o.from; w.swapped {
		inFrom, outFrom = outFrom, inFrom
	}
	return w.part(o, x), inFrom, outFrom
}

// SetLarge has problems of so many bytes be large, until reset is called.
func SetLarge(bytes int64) (reset func()) {
	was := large
	large = bytes
	return func() { large = was }
}

// Tried is what devices try of a problem that is to keep to a memory limit.
func Tried(dev *engine.Device, p problem.Problem, limit int64) problem.Problem {
	return part(p, trial(dev, limit))
}

// SetNear has cells that are so many bytes from each other be read together, until reset is called.
func SetNear(bytes int) (reset func()) {
	was := near
	near = bytes
	return func() { near = was }
}

// Smaller is a cut in tiles of so many bytes, where that costs little.
func (c *Tiles) Smaller(bytes int64) *Tiles { return c.smaller(bytes, Limits{}) }
