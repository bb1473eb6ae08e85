package gpu

import (
	"context"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// poolParams are the PARAMS of pool, in its order.
type poolParams struct {
	N, IH, IW, OH, OW, KH, KW, SH, SW, PH, PW, PHR, PWR, DH, DW int32
	KH0, KH1, KW0, KW1                                          int32
	First, Last, Kind, Divisor, X0, Y0                          int32
}

func canPool(_ *Device, p *problem.Problem) error {
	if p.Op != problem.Pool || p.Dir != problem.Forward || p.Kind == problem.Lp || p.Adaptive || p.Indices != problem.NoIndices || p.Rank > 2 {
		return unsupported("not a plain forward pooling")
	}
	if p.Taps() > 1<<31-1 {
		return unsupported("windows of %d cells", p.Taps())
	}
	return nil
}

func buildPool(ctx context.Context, pl *plan) error {
	src, err := pl.input(ctx, problem.Src)
	if err != nil {
		return err
	}
	return pl.addPool(ctx, &pl.core, src, pl.output(problem.Dst))
}

// addPool adds a forward pooling without indices.
func (pl *plan) addPool(ctx context.Context, p *problem.Problem, src, dst operand) error {
	if err := canPool(pl.dev, p); err != nil {
		return err
	}
	h, w := p.Axes[1], p.Axes[2]
	pixels, planes := h.Out*w.Out, p.N*p.IC
	k, err := pl.kernel(ctx, "pool", 64, 1, 1)
	if err != nil {
		return err
	}
	parts := boxes(1, [3]int{1, h.Kernel, w.Kernel}, pl.dev.proof.LoopLimit)
	for i, b := range parts {
		err := pl.dispatch(&pl.run, k, [3]int{pixels, planes, 1}, []operand{src, dst}, func(base [3]int) any {
			return poolParams{
				N: int32(planes), IH: int32(h.In), IW: int32(w.In), OH: int32(h.Out), OW: int32(w.Out),
				KH: int32(h.Kernel), KW: int32(w.Kernel), SH: int32(h.Stride), SW: int32(w.Stride),
				PH: int32(h.PadL), PW: int32(w.PadL), PHR: int32(h.PadR), PWR: int32(w.PadR), DH: int32(h.Dilation), DW: int32(w.Dilation),
				KH0: b[4], KH1: b[5], KW0: b[6], KW1: b[7],
				First: int32(flag(i == 0)), Last: int32(flag(i == len(parts)-1)), Kind: int32(poolNumbers[p.Kind]), Divisor: int32(p.Divisor),
				X0: int32(base[0]), Y0: int32(base[1]),
			}
		})
		if err != nil {
			return err
		}
	}
	pl.general(len(parts))
	return nil
}

// reformat adds the conversion of a tensor [n, c, cells] from one form to another.
func (pl *plan) reformat(_ context.Context, _ *[]step, _, _, _ int, _ operand, from form, _ operand, to form) error {
	return unsupported("%v to %v: the GPU drivers run f32 in NCHW", from, to)
}
