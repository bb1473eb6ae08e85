package tiling

import (
	"context"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// tried is what the tensors of a problem take at most that devices try whole, in bytes; of a larger one they try a tile.
const tried = 64 << 20

// For is the device for a problem of any size from host to host, and why, in words: engine.Device.For, by a tile of what is too
// large to be tried whole.
func For(ctx context.Context, dev *engine.Device, p problem.Problem) (on *engine.Device, why string, err error) {
	p = part(p, tried)
	if on, err = dev.For(ctx, p, engine.OnHost); err != nil {
		return nil, "", err
	}
	return on, dev.Why(p, engine.OnHost), nil
}

// part is a problem, or a tile of it whose tensors take no more than so many bytes, if there is one.
func part(p problem.Problem, most int64) problem.Problem {
	if p.Bytes() <= most {
		return p
	}
	tiles, err := Cut(p, Limits{MemoryBytes: 2 * holders * most})
	if err != nil {
		return p
	}
	return tiles.Tile(tiles.Len() / 2).Problem
}
