package gpu

import (
	"context"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// Backward by weights and by bias: few results of long sums. The sums are cut into parts, so that all of a device has
// work, and the parts are added by a second kernel, in order: the bits do not depend on what runs when.

// reduction is how a sum over rows of columns is cut: rows into segments of chunk columns, segments into parts of per,
// parts into dispatches of step segments.
type reduction struct{ chunk, chunks, segments, parts, per, step int }

const (
	longestChunk = 1024
	mostParts    = 512 // which sum_parts adds in one loop
)

// reduce cuts the sums of so many results over rows × columns for a device that keeps items work-items busy and runs
// loops of limit iterations.
func reduce(results, rows, columns, items, limit int) reduction {
	r := reduction{chunk: max(1, min(columns, longestChunk, limit/2))}
	r.chunks = ceilDiv(columns, r.chunk)
	r.segments = rows * r.chunks
	wanted := min(ceilDiv(items, max(1, results)), mostParts)
	r.per = max(1, ceilDiv(r.segments, wanted))
	r.parts = max(1, ceilDiv(r.segments, r.per))
	r.step = min(r.per, max(1, (limit-1)/(2+r.chunk)))
	return r
}

// busy is how many work-items keep the device busy: on a GPU enough to hide the latency of its memory.
func (d *Device) busy() int {
	if d.class() == gpuClass {
		return 1024 * d.units()
	}
	return 256
}

// sums adds a kernel that computes parts of sums, and the kernel that adds the parts. params makes the parameters of the
// segments s0 to s1 of each part; the flags follow them.
func (pl *plan) sums(ctx context.Context, name string, results int, r reduction, uses []operand, dst operand, params func(s0, s1 int) []int32) error {
	k, err := pl.kernel(ctx, name, generalGroup, 1, 1)
	if err != nil {
		return err
	}
	to := dst
	if r.parts > 1 {
		to = pl.scratch(int64(results) * int64(r.parts))
	}
	uses = append(uses, to)
	for s0 := 0; s0 < r.per; s0 += r.step {
		err := pl.each(&pl.run, k, results*r.parts, uses, append(params(s0, min(s0+r.step, r.per)), int32(flag(s0 == 0)))...)
		if err != nil {
			return err
		}
	}
	pl.general(ceilDiv(r.per, r.step))
	if r.parts == 1 {
		return nil
	}
	return pl.sumParts(ctx, to, dst, results, r.parts, noPosts, 1, 1, false)
}

// sumParts adds the sum of parts of results. Post-operations need to know the results' channels, of plane elements each. half says that they and what is added to them are halves.
func (pl *plan) sumParts(ctx context.Context, from, to operand, results, parts int, post posts, channels, plane int, half bool) error {
	k, err := pl.kernelFor(ctx, half, "sum_parts", generalGroup, 1, 1, post.chain, post.result)
	if err != nil {
		return err
	}
	return pl.each(&pl.run, k, results, []operand{from, post.par, post.res, post.quant, to}, words(parts, channels, plane)...)
}

func canWeights(_ *Device, p *problem.Problem) error {
	if p.Dir != problem.BackwardWeights {
		return unsupported("not a gradient by weights")
	}
	return nil
}

// canSumWeights is canWeights for what sums by kernels of its own, which need something to sum.
func canSumWeights(d *Device, p *problem.Problem) error {
	if err := canWeights(d, p); err != nil {
		return err
	}
	if c := convOf(p); c.weights() == 0 || c.n == 0 || volume(c.narrow) == 0 {
		return unsupported("there is nothing to sum")
	}
	return nil
}

// sides are the two tensors that a gradient by weights is the product of, as conv has them.
func (pl *plan) sides(ctx context.Context) (wide, narrow operand, err error) {
	if wide, err = pl.input(ctx, problem.Src); err != nil {
		return none, none, err
	}
	if narrow, err = pl.input(ctx, problem.DiffDst); err != nil {
		return none, none, err
	}
	if pl.core.Op == problem.Deconv {
		wide, narrow = narrow, wide
	}
	return wide, narrow, nil
}

func buildWeights(ctx context.Context, pl *plan) error {
	c := convOf(&pl.core)
	wide, narrow, err := pl.sides(ctx)
	if err != nil {
		return err
	}
	count := c.weights()
	r := reduce(count, c.n*c.narrow[0]*c.narrow[1], c.narrow[2], pl.dev.busy(), pl.dev.proof.LoopLimit)
	return pl.sums(ctx, "conv_weights", count, r, []operand{wide, narrow}, pl.output(problem.DiffWei), func(s0, s1 int) []int32 {
		return words(count, r.per, r.segments, s0, s1, r.chunk, r.chunks, c.wideG, c.narrowG, c.groups, c.wide, c.narrow,
			c.k[1], c.k[2], c.taps(), c.s, c.p, c.d)
	})
}

func canBias(_ *Device, p *problem.Problem) error {
	if p.Dir != problem.BackwardBias {
		return unsupported("not a gradient by the bias")
	}
	return nil
}

func buildBias(ctx context.Context, pl *plan) error {
	diff, err := pl.input(ctx, problem.DiffDst)
	if err != nil {
		return err
	}
	n, channels, plane := extents(&pl.core, problem.DiffDst)
	r := reduce(channels, n, plane, pl.dev.busy(), pl.dev.proof.LoopLimit)
	return pl.sums(ctx, "sum_channel", channels, r, []operand{diff}, pl.output(problem.DiffBia), func(s0, s1 int) []int32 {
		return words(channels, r.per, r.segments, s0, s1, r.chunk, r.chunks, plane)
	})
}
