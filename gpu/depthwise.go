package gpu

import (
	"context"
	"fmt"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// Depthwise convolution: each result channel reads one source channel, so there is little to compute for what is read.
// Work-items walk down strips of rows, whose source rows stay in registers.

// depthwiseWorth is the number of operations from which compiling for the kernel size and its strides is taken to pay;
// all maps share it.
const depthwiseWorth = 2e5

// mostDepthwiseTaps is how many weights stay in registers; a window of as many source columns goes with them.
const mostDepthwiseTaps = 49

// mostColumns is how many columns a row of a window may span.
const mostColumns = 64

// convAxes are the axes that a convolution, or by a turned kernel the adjoint of one with strides of 1, has for a kernel
// that reads src and writes dst.
func convAxes(c *conv) (axes [3]problem.Axis) {
	for i := range axes {
		a := problem.Axis{In: c.wide[i], Out: c.narrow[i], Kernel: c.k[i], Stride: c.s[i], PadL: c.p[i], Dilation: c.d[i]}
		if c.transposed {
			a.In, a.Out = a.Out, a.In
			a.PadL = a.Extent() - 1 - a.PadL
		}
		axes[i] = a
	}
	return axes
}

func canDepthwise(d *Device, p *problem.Problem) error {
	if err := canDirect(d, p); err != nil {
		return err
	}
	c := convOf(p)
	switch {
	case c.wideG != 1 || c.transposed && c.narrowG != 1:
		return unsupported("channels are summed")
	case c.transposed && c.s != [3]int{1, 1, 1}:
		return unsupported("the adjoint of a convolution with strides")
	case !withoutDepth(p.Axes[0]):
		return unsupported("a kernel with depth")
	case c.taps() > mostDepthwiseTaps:
		return unsupported("a kernel of %d taps does not stay in registers", c.taps())
	case c.results() == 0:
		return unsupported("the result is empty")
	case max(c.wide[2], c.narrow[2]) > maxDivisor:
		return unsupported("rows of more than %d columns", maxDivisor)
	case (c.k[2]-1)*c.d[2] > mostColumns:
		return unsupported("a dilation that keeps more than %d columns", mostColumns)
	}
	a := convAxes(c)
	if k := newWalk(d, c.n*c.groups*c.narrowG, a[1], a[2]); k.items(c.n*c.groups*c.narrowG) > maxElements {
		return unsupported("too many work-items")
	}
	return nil
}

// worthDepthwise says whether the work pays for a compilation.
func worthDepthwise(_ *Device, p *problem.Problem) bool { return p.FLOPs() >= depthwiseWorth }

func buildDepthwise(ctx context.Context, pl *plan) error {
	c := convOf(&pl.core)
	return pl.depthwise(ctx, &pl.core, pl.outputOf(c.dst, c.src))
}

// depthwise adds a depthwise convolution.
func (pl *plan) depthwise(ctx context.Context, p *problem.Problem, dst stored) error {
	c := convOf(p)
	half := dst.typ == problem.F16
	post, err := pl.posts(ctx, p, half, true)
	if err != nil {
		return err
	}
	result, quant, err := pl.quant(ctx, p)
	if err != nil {
		return err
	}
	src, wei, err := pl.floats(ctx, p, c.src, half, quant)
	if err != nil {
		return err
	}
	axes := convAxes(c)
	h, w := axes[1], axes[2]
	channels := c.groups * c.narrowG
	k := newWalk(pl.dev, c.n*channels, h, w)
	k.unlessHalf(half)
	kernel, err := pl.kernelFor(ctx, half, "conv_depthwise", append([]int32{pl.dev.walkGroup(), 1, 1},
		words(h.Kernel, w.Kernel, h.Stride, w.Stride, h.Dilation, w.Dilation, k.step, k.move, k.tx, k.rw, flag(p.Bias && !p.Integer()), int(post.chain), int(result),
			k.quads, k.offset, k.whole)...)...)
	if err != nil {
		return err
	}
	first, turn := 0, 1
	if c.transposed {
		first, turn = c.taps()-1, -1
	}
	pl.info.Tile = fmt.Sprintf("strips of %d rows × %d×%d pixels, group %d", k.rows, k.tx, k.rw, pl.dev.walkGroup())
	pl.info.Why = "one source channel a group: its rows stay in registers"
	return pl.each(&pl.run, kernel, k.items(c.n*channels), []operand{src, wei, post.par, post.res, quant, dst.at, src, dst.at},
		words(channels, c.narrowG, h.In, w.In, h.Out, w.Out, h.PadL, w.PadL, k.xt, k.strips, k.rows, first, turn,
			c.n*c.groups*h.In*w.In-1)...)
}

// floats are the tensor of role from, or half its halves, and the weights as floats in the order in which they are given:
// those of integers less their zero points.
func (pl *plan) floats(
	ctx context.Context, p *problem.Problem, from problem.Role, half bool, quant operand,
) (src, wei operand, err error) {
	if !p.Integer() {
		if src, err = pl.inputAs(ctx, half, from); err != nil {
			return none, none, err
		}
		wei, err = pl.constant(ctx, problem.Wei)
		return src, wei, err
	}
	bytes, err := pl.packed(ctx, from)
	if err != nil {
		return none, none, err
	}
	padding, err := pl.padding(ctx, bytes.typ)
	if err != nil {
		return none, none, err
	}
	elems := int(problem.Elems(p.Shape(from)))
	row := roundUp(elems, pl.dev.limits.VectorWidth)
	src = pl.scratch(int64(row))
	if err := pl.padPlanes(padding, 0, 1, [3]int{1, 1, elems}, [3]int{1, 1, row}, [3]int{}, bytes.at, quant, src); err != nil {
		return none, none, err
	}
	given, err := pl.packed(ctx, problem.Wei)
	if err != nil {
		return none, none, err
	}
	pack, err := pl.kernel(ctx, "pack_weights", 64, 1, 1, int32(reformatTypes[given.typ]), 0)
	if err != nil {
		return none, none, err
	}
	elems = int(problem.Elems(p.Shape(problem.Wei)))
	taps := elems / p.OC
	wei = pl.scratch(int64(elems))
	return src, wei, pl.each(&pl.pack, pack, elems, []operand{given.at, quant, wei}, // each channel a group of one
		words(p.OC, 1, 1, [3]int{1, 1, taps}, 1, taps, 1, 0, taps, 0, 0, [3]int{0, 0, 1})...)
}
