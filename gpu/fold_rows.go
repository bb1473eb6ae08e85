package gpu

import (
	"context"
	"fmt"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// The adjoint of small windows by rows, the kernel fold_rows: backward pooling, and depthwise convolutions backward to their
// source, with strides or without. Work-items walk down strips of the result and gather from the windows that they pass.

// depthwiseFold is the kernel's number for a depthwise convolution, beside those of poolings.
const depthwiseFold = 4

// mostFolded is how many windows of a row and of all rows stay in registers for a result, and how large strides are.
const mostFolded = 64

// lattice is what results that are a stride apart see of an axis: result stride·v + e of the windows v + first and the next
// ones, seen in all, of window m by tap i where i·dilation = e + base − stride·m.
type lattice struct{ base, first, seen int }

// latticeOf lays the results of an axis' adjoint, of In positions, over its windows.
func latticeOf(a problem.Axis) lattice {
	low, high := 0, 0
	for i := range a.Kernel {
		// The windows of tap i for e = 0 … stride−1: the one whose result is a multiple of the stride away.
		at := a.PadL - i*a.Dilation
		m := at / a.Stride
		if at%a.Stride > 0 {
			m++ // rounded up
		}
		if i == 0 {
			low, high = m, m
		}
		low, high = min(low, m), max(high, m)
	}
	return lattice{base: a.PadL - a.Stride*low, first: low, seen: high - low + 1}
}

// fold is how work-items go down the results of an adjoint.
type fold struct {
	walk
	h, w    problem.Axis
	down    lattice
	along   lattice
	refills int // iterations that fill registers before the first results
}

// newFold covers planes of the adjoint of windows, if the kernel can; with maxima they are compared, too.
func newFold(d *Device, planes int, h, w problem.Axis, maxima bool) (*fold, error) {
	if planes*h.In*w.In == 0 || h.Out*w.Out == 0 {
		return nil, unsupported("there is nothing to gather")
	}
	for _, a := range []*problem.Axis{&h, &w} {
		if a.Out == 1 && a.Dilation == 1 {
			a.Stride = a.Kernel // nothing overlaps: each result is of one tap
		}
	}
	f := &fold{h: h, w: w, down: latticeOf(h), along: latticeOf(w)}
	f.walk = walk{tx: 1, rw: 1, step: 1, move: 1}
	columns := ceilDiv(w.In, w.Stride)
	n := d.quadWidth()
	whole := n > 1 && w.In%n == 0
	switch d.class() {
	case straight:
		f.rw = d.rowWidth(columns)
	case lanes:
		f.tx = max(1, 2*simdLanes/2/w.Stride)
	}
	for whole && f.tx*w.Stride%n != 0 {
		f.tx++
	}
	if whole {
		f.whole = 1
		if cells := (f.tx+f.along.seen-2)*w.Stride + w.Kernel; maxima && w.PadR >= 0 {
			f.offset = ((-f.along.base)%n + n) % n
			f.quads = ceilDiv(f.offset+cells, n)
		}
	}
	f.refills = f.down.seen
	if maxima {
		f.refills += ceilDiv(h.Kernel, min(h.Stride, h.Kernel))
	}
	f.strip(d, planes, problem.Axis{In: h.In, Out: ceilDiv(h.In, h.Stride), Kernel: f.refills, Stride: h.Stride},
		problem.Axis{In: w.In, Out: columns})
	return f, f.fits(planes)
}

// fits says why the kernel cannot take the adjoint of such windows, or nil.
func (f *fold) fits(planes int) error {
	switch {
	case f.down.seen*(f.along.seen+f.tx-1) > 2*mostFolded || max(f.h.Stride, f.w.Stride) > mostWindow || f.along.seen > mostFolded:
		return unsupported("windows that overlap or lie apart by more than stays in registers")
	case max(f.w.In, f.w.Out)+f.w.Stride*f.rw*f.tx > maxDivisor:
		return unsupported("rows of more than %d columns", maxDivisor)
	case f.items(planes) > maxElements:
		return unsupported("too many work-items")
	}
	return nil
}

// foldUses are the tensors of a fold: src is read for maxima alone, wei by convolutions.
type foldUses struct {
	src, diff, wei operand
	post           posts
	dst            stored
}

// add adds it over planes of so many channels.
func (f *fold) add(ctx context.Context, pl *plan, kind, planes, channels, arg int, u foldUses) error {
	half := u.dst.typ == problem.F16
	f.unlessHalf(half)
	k, err := pl.kernelFor(ctx, half, "fold_rows", words(int(pl.dev.walkGroup()), 1, 1, kind, f.h.Kernel, f.w.Kernel,
		f.h.Stride, f.w.Stride, f.h.Dilation, f.w.Dilation, f.down.base, f.along.base, f.down.seen, f.along.seen, f.tx, f.rw,
		int(u.post.chain), f.quads, f.offset, f.whole)...)
	if err != nil {
		return err
	}
	pl.info.Tile = fmt.Sprintf("strips of %d rows × %d×%d windows, group %d", f.rows, f.tx, f.rw, pl.dev.walkGroup())
	pl.info.Why = "small windows: each row is read and written once"
	return pl.each(&pl.run, k, f.items(planes), []operand{u.src, u.src, u.diff, u.wei, u.post.par, u.post.res, u.dst.at, u.dst.at},
		words(channels, f.h.In, f.w.In, f.h.Out, f.w.Out, f.down.first, f.along.first, f.h.PadL, f.w.PadL,
			f.h.In+f.h.PadR, f.w.In+f.w.PadR, f.xt, f.strips, f.rows, arg, planes*f.h.In*f.w.In-1, planes*f.h.Out*f.w.Out-1)...)
}

func canRowsBackward(d *Device, p *problem.Problem) error {
	if err := canPool(d, p); err != nil {
		return err
	}
	depth, h, w := p.Axes[0], p.Axes[1], p.Axes[2]
	switch {
	case p.Dir != problem.BackwardData:
		return unsupported("not a gradient")
	case p.Kind == problem.Lp || p.Adaptive || p.Kind == problem.Max && p.Indices != problem.NoIndices || !dense(p):
		return unsupported("rows are for maxima and averages of windows of one size, without holes and indices")
	case !withoutDepth(depth):
		return unsupported("windows with depth")
	case max(h.Kernel, w.Kernel) > mostWindow:
		return unsupported("windows of more than %d rows or columns", mostWindow)
	}
	_, err := newFold(d, p.N*p.IC, h, w, p.Kind == problem.Max)
	return err
}

// worthRowsBackward says whether the work pays for a compilation.
func worthRowsBackward(_ *Device, p *problem.Problem) bool { return p.FLOPs() >= rowsWorth }

func buildRowsBackward(ctx context.Context, pl *plan) (err error) {
	p := &pl.core
	u := foldUses{wei: none, post: noPosts, dst: pl.outputOf(problem.DiffSrc, problem.DiffDst)}
	half := u.dst.typ == problem.F16
	if u.diff, err = pl.inputAs(ctx, half, problem.DiffDst); err != nil {
		return err
	}
	maxima := p.Kind == problem.Max
	if u.src = u.diff; maxima {
		if u.src, err = pl.inputAs(ctx, half, problem.Src); err != nil {
			return err
		}
	}
	planes := p.N * p.IC
	f, err := newFold(pl.dev, planes, p.Axes[1], p.Axes[2], maxima)
	if err != nil {
		return err
	}
	return f.add(ctx, pl, poolNumbers[p.Kind], planes, 1, p.Divisor, u)
}

// adjointAxes are the axes whose adjoint a transposed convolution is.
func adjointAxes(c *conv) (axes [3]problem.Axis) {
	for i := range axes {
		axes[i] = problem.Axis{In: c.wide[i], Out: c.narrow[i], Kernel: c.k[i], Stride: c.s[i], PadL: c.p[i], Dilation: c.d[i]}
	}
	return axes
}

func canDepthwiseFold(d *Device, p *problem.Problem) error {
	if err := canDirect(d, p); err != nil {
		return err
	}
	c := convOf(p)
	switch {
	case !c.transposed:
		return unsupported("not the adjoint of a convolution")
	case c.wideG != 1 || c.narrowG != 1:
		return unsupported("channels are summed")
	case !withoutDepth(p.Axes[0]):
		return unsupported("a kernel with depth")
	case c.taps() > mostDepthwiseTaps:
		return unsupported("a kernel of %d taps does not stay in registers", c.taps())
	}
	a := adjointAxes(c)
	_, err := newFold(d, c.n*c.groups, a[1], a[2], false)
	return err
}

func buildDepthwiseFold(ctx context.Context, pl *plan) error {
	c := convOf(&pl.core)
	u := foldUses{dst: pl.outputOf(c.dst, c.src)}
	var err error
	if u.diff, u.wei, u.post, err = pl.convInputs(ctx, &pl.core, c.src, u.dst.typ == problem.F16); err != nil {
		return err
	}
	u.src = u.diff
	a := adjointAxes(c)
	planes := c.n * c.groups
	f, err := newFold(pl.dev, planes, a[1], a[2], false)
	if err != nil {
		return err
	}
	return f.add(ctx, pl, depthwiseFold, planes, c.groups, 0, u)
}
