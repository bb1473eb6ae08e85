package gpu

import (
	"context"
	"fmt"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// The general kernels: one output element per work-item, shapes as parameters, compiled once for all problems. A device
// that cannot run long loops gets the reduction in boxes, one dispatch each.

// box is a part of a reduction: taps [kh0, kh1) × [kw0, kw1) of channels [c0, c1).
type box struct{ c0, c1, kh0, kh1, kw0, kw1 int }

// loopCost is how many loop iterations and exits a work-item runs over so many taps and channels, counted so that it is
// never less than any driver counts.
func loopCost(kh, kw, c int) int64 { return 1 + int64(kh)*(2+int64(kw)*(2+int64(c))) }

// boxes cuts a reduction into parts of at most limit loop iterations: channels first, then columns, then rows.
func boxes(channels, kh, kw, limit int) []box {
	c, h, w := channels, kh, kw
	for loopCost(h, w, c) > int64(limit) {
		switch {
		case c > 1:
			c = (c + 1) / 2
		case w > 1:
			w = (w + 1) / 2
		case h > 1:
			h = (h + 1) / 2
		default: // a single step, and the limit is not below 1024
			limit = 1 << 30
		}
	}
	var out []box
	for h0 := 0; h0 < kh; h0 += h {
		for w0 := 0; w0 < kw; w0 += w {
			for c0 := 0; c0 < channels; c0 += c {
				out = append(out, box{c0, min(c0+c, channels), h0, min(h0+h, kh), w0, min(w0+w, kw)})
			}
		}
	}
	return out
}

func flag(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

// groupFor is the work-group of the general kernels for planes of so many pixels.
func groupFor(pixels int) (x, y int32) {
	switch {
	case pixels >= 64:
		return 64, 1
	case pixels >= 16:
		return 16, 4
	}
	return 8, 8
}

// convParams are the PARAMS of conv_direct, in its order.
type convParams struct {
	N, IC, IH, IW, OC, OH, OW, ICG, OCG, KH, KW, SH, SW, PH, PW, DH, DW int32
	C0, C1, KH0, KH1, KW0, KW1                                          int32
	First, Last, Bias, Relu, X0, Y0, Z0                                 int32
}

func canDirect(_ *Device, p *problem.Problem) error {
	if p.Op != problem.Conv {
		return fmt.Errorf("%w: not a convolution", driver.ErrUnsupported)
	}
	return nil
}

func buildDirect(ctx context.Context, pl *plan) error {
	p := &pl.p
	h, w := p.Axes[1], p.Axes[2]
	pixels := h.Out * w.Out
	lx, ly := groupFor(pixels)
	k, err := pl.kernel(ctx, "conv_direct", lx, ly, 1)
	if err != nil {
		return err
	}
	icg, ocg := p.IC/p.Groups, p.OC/p.Groups
	parts := boxes(icg, h.Kernel, w.Kernel, pl.dev.proof.LoopLimit)
	for i, b := range parts {
		err := pl.dispatch(&pl.run, k, [3]int{pixels, p.OC, p.N}, []operand{opSrc, opPack, opPBia, opDst}, func(base [3]int) any {
			return convParams{
				N: int32(p.N), IC: int32(p.IC), IH: int32(h.In), IW: int32(w.In), OC: int32(p.OC), OH: int32(h.Out), OW: int32(w.Out),
				ICG: int32(icg), OCG: int32(ocg), KH: int32(h.Kernel), KW: int32(w.Kernel), SH: int32(h.Stride), SW: int32(w.Stride),
				PH: int32(h.PadL), PW: int32(w.PadL), DH: int32(h.Dilation), DW: int32(w.Dilation),
				C0: int32(b.c0), C1: int32(b.c1), KH0: int32(b.kh0), KH1: int32(b.kh1), KW0: int32(b.kw0), KW1: int32(b.kw1),
				First: flag(i == 0), Last: flag(i == len(parts)-1), Bias: flag(p.Bias), Relu: flag(len(p.Posts()) > 0),
				X0: int32(base[0]), Y0: int32(base[1]), Z0: int32(base[2]),
			}
		})
		if err != nil {
			return err
		}
	}
	pl.keep(opWei, opPack, p.Shape(problem.Wei))
	pl.keep(opBia, opPBia, p.Shape(problem.Bia))
	pl.info.Tile = fmt.Sprintf("1 pixel, group %dx%d", lx, ly)
	pl.info.Why = "general kernel: any shape, compiled once"
	if len(parts) > 1 {
		pl.info.Why += fmt.Sprintf("; the reduction is cut into %d parts for this driver's loop limit", len(parts))
	}
	return nil
}

// poolParams are the PARAMS of pool, in its order.
type poolParams struct {
	N, IH, IW, OH, OW, KH, KW, SH, SW, PH, PW, PHR, PWR, DH, DW int32
	KH0, KH1, KW0, KW1                                          int32
	First, Last, Kind, Divisor, X0, Y0                          int32
}

// poolKinds are the kernel's numbers of the kinds.
var poolKinds = map[problem.PoolKind]int32{problem.Max: 0, problem.AvgExclude: 1, problem.AvgInclude: 2, problem.AvgFull: 3}

func canPool(_ *Device, p *problem.Problem) error {
	if p.Op != problem.Pool {
		return fmt.Errorf("%w: not a pooling", driver.ErrUnsupported)
	}
	if p.Taps() > 1<<31-1 {
		return fmt.Errorf("%w: windows of %d cells", driver.ErrUnsupported, p.Taps())
	}
	return nil
}

func buildPool(ctx context.Context, pl *plan) error {
	p := &pl.p
	h, w := p.Axes[1], p.Axes[2]
	pixels, planes := h.Out*w.Out, p.N*p.IC
	lx, ly := groupFor(pixels)
	k, err := pl.kernel(ctx, "pool", lx, ly, 1)
	if err != nil {
		return err
	}
	parts := boxes(1, h.Kernel, w.Kernel, pl.dev.proof.LoopLimit)
	for i, b := range parts {
		err := pl.dispatch(&pl.run, k, [3]int{pixels, planes, 1}, []operand{opSrc, opDst}, func(base [3]int) any {
			return poolParams{
				N: int32(planes), IH: int32(h.In), IW: int32(w.In), OH: int32(h.Out), OW: int32(w.Out),
				KH: int32(h.Kernel), KW: int32(w.Kernel), SH: int32(h.Stride), SW: int32(w.Stride),
				PH: int32(h.PadL), PW: int32(w.PadL), PHR: int32(h.PadR), PWR: int32(w.PadR), DH: int32(h.Dilation), DW: int32(w.Dilation),
				KH0: int32(b.kh0), KH1: int32(b.kh1), KW0: int32(b.kw0), KW1: int32(b.kw1),
				First: flag(i == 0), Last: flag(i == len(parts)-1), Kind: poolKinds[p.Kind],
				X0: int32(base[0]), Y0: int32(base[1]),
			}
		})
		if err != nil {
			return err
		}
	}
	pl.info.Tile = fmt.Sprintf("1 pixel, group %dx%d", lx, ly)
	pl.info.Why = "general kernel: any shape, compiled once"
	if len(parts) > 1 {
		pl.info.Why += fmt.Sprintf("; the window is cut into %d parts for this driver's loop limit", len(parts))
	}
	return nil
}
