package gpu

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// The general kernels: one output element per work-item, shapes as parameters, compiled once for all problems. A device
// that cannot run long loops gets the reduction in boxes, one dispatch each.

// generalGroup is the work-group of the general kernels.
const generalGroup = 64

// box is a part of a reduction, as the kernels' parameters have it: channels c0, c1 and taps kd0, kd1, kh0, kh1, kw0, kw1.
type box [8]int32

// loopCost is how many loop iterations and exits a work-item runs over so many taps and channels, counted so that it is
// never less than any driver counts.
func loopCost(k [3]int, c int) int64 {
	return 1 + int64(k[0])*(2+int64(k[1])*(2+int64(k[2])*(2+int64(c))))
}

// boxes cuts a reduction into parts of at most limit loop iterations: channels first, then columns, rows, planes.
func boxes(channels int, k [3]int, limit int) []box {
	c, part := channels, k
	for loopCost(part, c) > int64(limit) {
		halve := &c
		for _, axis := range []*int{&part[2], &part[1], &part[0]} {
			if *halve == 1 {
				halve = axis
			}
		}
		if *halve == 1 { // a single step, and the limit is not below 1024
			break
		}
		*halve = (*halve + 1) / 2
	}
	var out []box
	for d := 0; d < k[0]; d += part[0] {
		for h := 0; h < k[1]; h += part[1] {
			for w := 0; w < k[2]; w += part[2] {
				for c0 := 0; c0 < channels; c0 += c {
					out = append(out, box(words(c0, min(c0+c, channels), d, min(d+part[0], k[0]),
						h, min(h+part[1], k[1]), w, min(w+part[2], k[2]))))
				}
			}
		}
	}
	return out
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// firstLast are the flags of dispatch i of n that sum up one result: 1 the first, 2 the last.
func firstLast(i, n int) int { return flag(i == 0) + 2*flag(i == n-1) }

// general notes on the plan what its general kernel is, cut into so many dispatches.
func (pl *plan) general(parts int) {
	pl.info.Tile = fmt.Sprintf("1 element, group %d", generalGroup)
	pl.info.Why = "general kernel: any shape, compiled once"
	if parts > 1 {
		pl.info.Why += fmt.Sprintf("; the reduction is cut into %d parts for this driver's loop limit", parts)
	}
}

func canDirect(_ *Device, p *problem.Problem) error {
	if p.Op != problem.Conv && p.Op != problem.Deconv || p.Dir > problem.BackwardData || p.Fused() {
		return fmt.Errorf("%w: not a convolution forward or backward to its source", driver.ErrUnsupported)
	}
	return nil
}

func buildDirect(ctx context.Context, pl *plan) error {
	c := convOf(&pl.core)
	dst := inWords(pl.output(c.dst))
	if len(boxes(c.reduced(), c.k, pl.dev.proof.LoopLimit)) == 1 { // no partial sums in dst, which halves would round
		dst = pl.outputOf(c.dst, c.src)
	}
	return pl.directConv(ctx, &pl.core, dst)
}

// directConv adds a convolution or a transposed one by the general kernels.
func (pl *plan) directConv(ctx context.Context, p *problem.Problem, dst stored) error {
	c := convOf(p)
	half := dst.typ == problem.F16
	src, wei, post, err := pl.convInputs(ctx, p, c.src, half)
	if err != nil {
		return err
	}
	name, tunables := "conv_direct", []int32{generalGroup, 1, 1, post.chain}
	uses := []operand{src, wei, post.par, post.res}
	if c.transposed {
		name = "conv_transposed"
	} else {
		result, quant, err := pl.quant(ctx, p)
		if err != nil {
			return err
		}
		tunables = append(tunables, result)
		uses = append(uses, quant)
	}
	k, err := pl.kernelFor(ctx, half, name, tunables...)
	if err != nil {
		return err
	}
	uses = append(uses, dst.at)
	parts := boxes(c.reduced(), c.k, pl.dev.proof.LoopLimit)
	for i, b := range parts {
		err := pl.each(&pl.run, k, c.results(), uses,
			words(c.groups, c.wideG, c.narrowG, c.wide, c.narrow, c.k, c.s, c.p, c.d, b, firstLast(i, len(parts)))...)
		if err != nil {
			return err
		}
	}
	pl.general(len(parts))
	return nil
}

// quant is how conv_direct finishes the sums of p, and what an integer convolution needs for it: its parameters and
// bias, a row each.
func (pl *plan) quant(ctx context.Context, p *problem.Problem) (result int32, rows operand, err error) {
	if !p.Integer() {
		return 0, none, nil
	}
	given, err := pl.input(ctx, problem.Quant)
	if err != nil {
		return 0, none, err
	}
	row := 4 * int64(p.OC)
	rows = pl.scratch(5 * int64(p.OC))
	pl.copyTo(&pl.pack, given, rows, 0, 4*row)
	if p.Bias {
		pl.copyTo(&pl.pack, pl.tensor(problem.Bia), rows, 4*row, row)
	} else {
		pl.fill(&pl.pack, rows, 4*row, row, 0)
	}
	types := []problem.DataType{problem.S32, problem.F32, problem.S8, problem.U8}
	return 1 + int32(slices.Index(types, pl.p.Type.Dst)), rows, nil
}

// postScalars is how many scalars of post-operations come before the channels' rows: two for each of common.inc's
// POST_SLOTS, which are the bias and problem.MaxPost.
const postScalars = 2 * (1 + problem.MaxPost)

// posts is what becomes of finished sums, as kernels take it: a chain of post-operations, and for sums of integers what quant
// says of them.
type posts struct {
	chain, result   int32
	par, res, quant operand
}

// noPosts leaves sums of floats as they are.
var noPosts = posts{par: none, res: none, quant: none}

// convInputs are what a convolution's kernels, or their variants half, read: the tensor of role from, the weights, and what
// posts packs.
func (pl *plan) convInputs(
	ctx context.Context, p *problem.Problem, from problem.Role, half bool,
) (src, wei operand, post posts, err error) {
	if post, err = pl.posts(ctx, p, half, false); err != nil {
		return none, none, post, err
	}
	if src, err = pl.inputAs(ctx, half, from); err != nil {
		return none, none, post, err
	}
	wei, err = pl.constant(ctx, problem.Wei)
	return src, wei, post, err
}

// posts packs bias and post-operations. The bias of a float convolution is the first of them, or, apart, a row before
// theirs. What is added is halves if the kernel is a variant half.
func (pl *plan) posts(ctx context.Context, p *problem.Problem, half, apart bool) (posts, error) {
	out := noPosts
	var chain []problem.PostOp
	bias := p.Bias && !p.Integer()
	if bias && !apart {
		chain = append(chain, problem.PostOp{Kind: problem.AddBias})
	}
	chain = append(chain, p.Posts()...)
	if !bias && len(chain) == 0 {
		return out, nil
	}
	rows, row := int64(p.PostRows()), int64(p.OC)
	out.par = pl.scratch(postScalars + int64(flag(bias))*row + rows*row)
	for i, o := range chain {
		out.chain |= int32(o.Kind) << (4 * i)
		if o.Kind == problem.Leaky || o.Kind == problem.Clip {
			pl.fill(&pl.pack, out.par, int64(8*i), 4, math.Float32bits(o.Alpha))
			pl.fill(&pl.pack, out.par, int64(8*i+4), 4, math.Float32bits(o.Beta))
		}
	}
	at := int64(4 * postScalars)
	if bias {
		b, err := pl.input(ctx, problem.Bia)
		if err != nil {
			return out, err
		}
		pl.copyTo(&pl.pack, b, out.par, at, 4*row)
		at += 4 * row
	}
	if rows > 0 {
		given, err := pl.input(ctx, problem.PostParams)
		if err != nil {
			return out, err
		}
		pl.copyTo(&pl.pack, given, out.par, at, 4*rows*row)
	}
	for _, o := range chain {
		if o.Kind != problem.Add {
			continue
		}
		var err error
		if out.res, err = pl.inputAs(ctx, half, problem.Residual); err != nil {
			return out, err
		}
	}
	return out, nil
}
