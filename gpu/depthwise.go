package gpu

import (
	"context"
	"fmt"
	"math"

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

// walk is how work-items go down a map: strips of rows, each tx rows (the kernels' word) of rw pixels wide.
type walk struct {
	tx, rw       int
	xt           int // strips side by side
	step, move   int // rows from one iteration to the next, and by how many taps the windows then differ
	strips, rows int // strips below each other for each of step phases, and their iterations
}

// newWalk covers planes of so many rows and columns of windows.
func newWalk(d *Device, planes int, h, w problem.Axis) walk {
	g := gcd(h.Stride, h.Dilation)
	k := walk{tx: 1, rw: 1, step: h.Dilation / g, move: min(h.Stride/g, h.Kernel)}
	if d.class() == straight {
		// The narrowest vector that holds the row; the widest for long ones.
		for k.rw = d.limits.VectorWidth; k.rw > 4 && k.rw/2 >= w.Out; {
			k.rw /= 2
		}
	} else {
		best := math.Inf(1)
		for tx := 1; tx <= 8; tx++ {
			loads := min((tx-1)*w.Stride+(w.Kernel-1)*w.Dilation+1, tx*w.Kernel)
			if cost := float64(ceilDiv(w.Out, tx)) * float64(loads*min(h.Stride, h.Kernel)+tx+2); cost <= best {
				best, k.tx = cost, tx
			}
		}
	}
	k.xt = ceilDiv(w.Out, k.tx*k.rw)
	rows := ceilDiv(h.Out, k.step)
	// Strips start by filling their windows, so they are no shorter than it takes to keep the device busy.
	k.strips = max(1, min(ceilDiv(d.busy(), planes*k.xt*k.step), rows/(4*h.Kernel)))
	k.strips = max(k.strips, ceilDiv(rows, d.proof.LoopLimit-h.Kernel-2))
	k.rows = ceilDiv(rows, k.strips)
	k.strips = ceilDiv(rows, k.rows)
	return k
}

// items is how many work-items cover so many planes.
func (k *walk) items(planes int) int { return planes * k.xt * k.strips * k.step }

// group is the work-group of kernels that walk.
func (d *Device) walkGroup() int32 {
	switch d.class() {
	case straight:
		return 1
	case lanes:
		return simdLanes
	}
	return generalGroup
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

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
	case p.Integer():
		return unsupported("integers")
	case c.transposed && c.s != [3]int{1, 1, 1}:
		return unsupported("the adjoint of a convolution with strides")
	case c.wide[0] != 1 || c.narrow[0] != 1 || c.k[0] != 1:
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
func worthDepthwise(p *problem.Problem) bool { return p.FLOPs() >= depthwiseWorth }

func buildDepthwise(ctx context.Context, pl *plan) error {
	return pl.depthwise(ctx, &pl.core, pl.output(convOf(&pl.core).dst))
}

// depthwise adds a depthwise convolution.
func (pl *plan) depthwise(ctx context.Context, p *problem.Problem, dst operand) error {
	c := convOf(p)
	post, err := pl.posts(ctx, p, true)
	if err != nil {
		return err
	}
	src, err := pl.input(ctx, c.src)
	if err != nil {
		return err
	}
	wei, err := pl.constant(ctx, problem.Wei)
	if err != nil {
		return err
	}
	axes := convAxes(c)
	h, w := axes[1], axes[2]
	channels := c.groups * c.narrowG
	k := newWalk(pl.dev, c.n*channels, h, w)
	kernel, err := pl.kernel(ctx, "conv_depthwise", append([]int32{pl.dev.walkGroup(), 1, 1},
		words(h.Kernel, w.Kernel, h.Stride, w.Stride, h.Dilation, w.Dilation, k.step, k.move, k.tx, k.rw, flag(p.Bias), int(post.chain))...)...)
	if err != nil {
		return err
	}
	first, turn := 0, 1
	if c.transposed {
		first, turn = c.taps()-1, -1
	}
	pl.info.Tile = fmt.Sprintf("strips of %d rows × %d×%d pixels, group %d", k.rows, k.tx, k.rw, pl.dev.walkGroup())
	pl.info.Why = "one source channel a group: its rows stay in registers"
	return pl.each(&pl.run, kernel, k.items(c.n*channels), []operand{src, wei, post.par, post.res, dst},
		words(channels, c.narrowG, h.In, w.In, h.Out, w.Out, h.PadL, w.PadL, k.xt, k.strips, k.rows, first, turn,
			c.n*c.groups*h.In*w.In-1)...)
}
