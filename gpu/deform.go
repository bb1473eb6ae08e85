package gpu

import (
	"context"

	"github.com/gonvolve/gonvolve/engine/problem"
)

func canDeform(_ *Device, p *problem.Problem) error {
	if p.Op != problem.Deform {
		return unsupported("not a deformable convolution")
	}
	return nil
}

// buildDeform is the general kernel of deformable convolution.
func buildDeform(ctx context.Context, pl *plan) error {
	p := &pl.core
	c := convOf(p)
	src, wei, post, err := pl.convInputs(ctx, p, c.src, false)
	if err != nil {
		return err
	}
	offset, err := pl.input(ctx, problem.Offset)
	if err != nil {
		return err
	}
	mask := none
	if p.Mask {
		if mask, err = pl.input(ctx, problem.Mask); err != nil {
			return err
		}
	}
	k, err := pl.kernel(ctx, "deform", generalGroup, 1, 1, post.chain)
	if err != nil {
		return err
	}
	uses := []operand{src, wei, offset, mask, post.par, post.res, pl.output(problem.Dst)}
	parts := boxes(c.wideG, c.k, pl.dev.proof.LoopLimit)
	for i, b := range parts {
		params := words(c.groups, c.wideG, c.narrowG)
		for _, hw := range [][3]int{c.wide, c.narrow, c.k, c.s, c.p, c.d} {
			params = append(params, int32(hw[1]), int32(hw[2]))
		}
		params = append(params, words(p.IC/p.OffsetGroups, p.OffsetGroups, flag(p.Mask))...)
		params = append(params, b[0], b[1], b[4], b[5], b[6], b[7], int32(firstLast(i, len(parts))))
		if err := pl.each(&pl.run, k, c.results(), uses, params...); err != nil {
			return err
		}
	}
	pl.general(len(parts))
	return nil
}
