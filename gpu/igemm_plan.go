package gpu

import (
	"context"
	"errors"
	"fmt"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// The steps of an implicit GEMM: chunk by chunk the padded copy, and the phases that read it.

// igemmConv adds a convolution by implicit GEMM.
func (pl *plan) igemmConv(ctx context.Context, p *problem.Problem, dst stored) error {
	half := pl.halves(convOf(p).src)
	g, err := newTiledIgemm(pl.dev, p, pl.tile, half)
	if err == nil && (pl.tile != "" || half) {
		err = g.fits(pl.dev, p)
	}
	if err != nil {
		return err
	}
	post, err := pl.posts(ctx, p, dst.typ == problem.F16, true)
	if err != nil {
		return err
	}
	result, quant, err := pl.quant(ctx, p)
	if err != nil {
		return err
	}
	wei, err := pl.packed(ctx, problem.Wei)
	if err != nil {
		return err
	}
	src, err := pl.packed(ctx, g.conv.src)
	if err != nil {
		return err
	}
	kernels := make([]*kernel, len(g.phases))
	weights := make([]operand, len(g.phases))
	for i := range g.phases {
		ph := &g.phases[i]
		if kernels[i], err = g.kernel(ctx, pl, ph, p.Bias && !g.integer, post.chain, result, dst.typ == problem.F16); err != nil {
			return err
		}
		if weights[i], err = g.packWeights(ctx, pl, &pl.pack, ph, g.weights(), wei, quant, g.tn*g.vw, g.icg*ph.taps(), 1, ph.packed); err != nil {
			return err
		}
	}
	padded := none
	var padding *kernel
	if !g.inPlace && g.work > 0 {
		if padding, err = pl.padding(ctx, src.typ); err != nil {
			return err
		}
		padded = pl.scratch(g.work)
	}
	count := 0
	chunks(g.all(), g.chunk, func(first, size [3]int) {
		count++
		at := -1
		for i := range g.phases {
			ph := &g.phases[i]
			from := src.at
			if !g.inPlace && !ph.empty {
				if from = padded; ph.border != at {
					err = errors.Join(err, g.pad(pl, padding, &g.borders[ph.border], first, size, src.at, quant, padded))
					at = ph.border
				}
			}
			uses := []operand{from, weights[i], post.par, post.res, quant, dst.at}
			err = errors.Join(err, g.run(pl, kernels[i], ph, first, size, uses))
		}
	})
	pl.info.Tunables = tileText(g.tunables())
	pl.info.Tile = fmt.Sprintf("%dx%d pixels × %d×%d channels, group %d", g.tx, g.ty, g.tn, g.vw, g.lx)
	pl.info.Why = fmt.Sprintf("%.3g GFLOP are worth a kernel compiled for the shape", p.FLOPs()*1e-9)
	if len(g.phases) > 1 {
		pl.info.Why += fmt.Sprintf("; %d convolutions without strides", len(g.phases))
	}
	if count > 1 {
		pl.info.Why += fmt.Sprintf("; %d parts of %v images, slices and rows, whose padded source stays small", count, g.chunk)
	}
	return err
}

// chunks cuts images, slices and rows into boxes of at most size, and calls f for each.
func chunks(all, size [3]int, f func(first, size [3]int)) {
	var at [3]int
	for at[0] = 0; at[0] < all[0]; at[0] += size[0] {
		for at[1] = 0; at[1] < all[1]; at[1] += size[1] {
			for at[2] = 0; at[2] < all[2]; at[2] += size[2] {
				part := size
				for i := range part {
					part[i] = min(part[i], all[i]-at[i])
				}
				f(at, part)
			}
		}
	}
}

// kernel compiles the kernel of a phase, or its variant that writes halves.
func (g *igemm) kernel(ctx context.Context, pl *plan, ph *phase, bias bool, chain, result int32, half bool) (*kernel, error) {
	icg := g.icg
	if ph.empty {
		icg = 0
	}
	narrow := 0
	if g.vw != pl.dev.limits.VectorWidth {
		narrow = g.vw
	}
	d, h, w := ph.axis[0], ph.axis[1], ph.axis[2]
	tunables := append([]int32{int32(g.lx), 1, 1}, words(icg, g.ocg, h.Out, w.Out, h.Kernel, w.Kernel, h.Stride, w.Stride, h.Dilation, w.Dilation,
		g.pitch, g.rows*g.pitch, g.tx, g.ty, g.tn, g.cu, g.rowsOf(ph), g.share, flag(bias), int(chain), narrow,
		d.Kernel, d.Stride, d.Dilation, g.slices, ph.every[1]*g.out[2], ph.every[2], int(result), g.flush(ph), flag(g.last), g.rowOf)...)
	return pl.kernelFor(ctx, half, "conv_igemm", tunables...)
}

// run adds a phase of a chunk.
func (g *igemm) run(pl *plan, k *kernel, ph *phase, first, size [3]int, uses []operand) error {
	slices, rows := min(size[1], ph.axis[0].Out-first[1]), min(size[2], ph.axis[1].Out-first[2])
	if slices <= 0 || rows <= 0 {
		return nil
	}
	down := ceilDiv(rows, g.ty)
	gx, groups := flat(size[0]*slices*down*ceilDiv(ph.axis[2].Out, g.tx), g.lx)
	groups[2] = g.conv.groups * g.ocb
	oc, plane := g.conv.groups*g.ocg, g.out[1]*g.out[2]
	image, slice, row := oc*g.out[0]*plane, ph.every[0]*plane, ph.every[1]*g.out[2]
	at := ph.at[0]*plane + ph.at[1]*g.out[2] + ph.at[2] + first[0]*image + first[1]*slice + first[2]*row
	return pl.grid(&pl.run, k, groups, uses, words(size[0], oc, gx, ph.base, g.conv.groups*g.icg*g.slices*g.rows*g.pitch,
		at, image, g.out[0]*plane, slice, slices, down, rows)...)
}

// layout is how far apart the weights of neighbouring groups, output channels, input channels and taps are.
type layout struct {
	group, oc, ic int
	tap           [3]int
	bytes         bool // four input channels are packed into a word
}

// weights are laid out as the caller gives them.
func (g *phased) weights() layout {
	taps := g.conv.taps()
	l := layout{group: g.ocg * g.icg * taps, oc: g.icg * taps, ic: taps, tap: [3]int{g.conv.k[1] * g.conv.k[2], g.conv.k[2], 1}}
	if g.conv.transposed { // the channels' parts are exchanged
		l.oc, l.ic = taps, g.ocg*taps
	}
	return l
}

// packWeights adds the packing of a phase's weights, groups of blocks apart, in rows of block output channels: a row for each
// tap and channel, inner channels side by side, and rows of zeros up to `rows`. elems is the size of it all.
func (g *phased) packWeights(
	ctx context.Context, pl *plan, list *[]step, ph *phase, l layout, wei stored, quant operand, block, rows, inner int, elems int64,
) (operand, error) {
	if ph.empty {
		return none, nil
	}
	k, err := pl.kernel(ctx, "pack_weights", 64, 1, 1, int32(reformatTypes[wei.typ]), int32(flag(l.bytes)))
	if err != nil {
		return 0, err
	}
	base, icg := 0, g.icg
	if l.bytes {
		icg = g.conv.wideG
	}
	var kernel [3]int
	for i := range kernel {
		kernel[i] = ph.axis[i].Kernel
		base += ph.first[i] * l.tap[i]
		l.tap[i] *= ph.step[i]
	}
	to := pl.scratch(elems)
	return to, pl.each(list, k, int(elems), []operand{wei.at, quant, to},
		words(g.conv.groups, g.ocg, icg, kernel, block, rows, inner, base, l.group, l.oc, l.ic, l.tap)...)
}

// padItems is the work-group of pad_src.
func (d *Device) padItems() int {
	switch d.class() {
	case straight:
		return 1
	case lanes:
		return simdLanes
	}
	return 64
}

// pad adds the copy of what a chunk reads of the source, with its border.
func (g *igemm) pad(pl *plan, k *kernel, b *border, first, size [3]int, src, quant, to operand) error {
	ic := g.conv.groups * g.icg
	left := b.pad
	left[0] -= first[1] * b.phases[0].axis[0].Stride
	left[1] -= first[2] * b.phases[0].axis[1].Stride
	return pl.padPlanes(k, first[0]*ic, size[0]*ic, g.in, [3]int{g.slices, g.rows, g.pitch}, left, src, quant, to)
}

// padding compiles pad_src for a source of a type.
func (pl *plan) padding(ctx context.Context, from problem.DataType) (*kernel, error) {
	half := from == problem.F16
	if half {
		from = problem.F32 // as which the variant has them
	}
	return pl.kernelFor(ctx, half, "pad_src", int32(pl.dev.padItems()), 1, 1, int32(reformatTypes[from]))
}

// padPlanes adds a copy of channels from the first on with their planes moved by left, integers less their zero point.
func (pl *plan) padPlanes(k *kernel, first, channels int, in, out, left [3]int, src, quant, to operand) error {
	vectors := map[class]int{straight: 64, lanes: 4, gpuClass: 1}[pl.dev.class()] // that a work-item writes
	row := out[2] / pl.dev.limits.VectorWidth
	vectors = min(row, vectors)
	parts := ceilDiv(row, vectors)
	gx, groups := flat(channels*out[0]*out[1]*parts, k.local[0])
	return pl.grid(&pl.run, k, groups, []operand{src, quant, to}, words(gx, channels, first, in, out, left, parts, vectors)...)
}
