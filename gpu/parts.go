package gpu

import (
	"context"
	"fmt"
	"slices"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// Parts: a tensor may be larger than what a kernel binds. A problem with such tensors runs in parts, smaller problems on
// ranges of them, cut where a part of each tensor is one run of memory: between images, or between channels of one image.
// Each range is a view; where a view cannot begin, it is copied.

// mostCuts limits the number of parts.
const mostCuts = 4096

// part is a problem whose tensors are ranges of the whole's.
type part struct {
	p  problem.Problem
	at [problem.Roles]int64 // bytes before the range of what is cut; of a gradient, in the partial sums
}

// cut is a problem in parts; one part is the problem itself.
type cut struct {
	p                problem.Problem
	parts            []part
	images, channels int                 // of a part; channels as channelUnits counts them
	sums             int                 // partial sums of a gradient by weights or bias, or 0
	copied           [problem.Roles]bool // some range does not begin where a view can
}

// batched says whether the role's tensor has images.
func batched(r problem.Role) bool {
	switch r {
	case problem.Wei, problem.Bia, problem.DiffWei, problem.DiffBia, problem.PostParams, problem.Quant:
		return false
	}
	return true
}

// matrix says whether the role's tensor has rows of all output channels.
func matrix(r problem.Role) bool { return r == problem.PostParams || r == problem.Quant }

// tensors are all that a problem reads and writes.
func tensors(p *problem.Problem) []problem.Role {
	return slices.Concat(p.Constants(), p.Inputs(), p.Outputs())
}

// countsAll says whether indices count through all images and channels, so that nothing can be cut.
func countsAll(p *problem.Problem) bool {
	return p.Indices != problem.NoIndices && p.Indices != problem.Plane
}

// channelUnits is between how many channels a problem can be cut: groups, output channels of a single group, or, without
// weights, any.
func channelUnits(p *problem.Problem) int {
	weighted := p.Op == problem.Conv || p.Op == problem.Deconv || p.Op == problem.Deform
	switch {
	case p.SrcLayout != problem.NCHW || p.DstLayout != problem.NCHW || p.Op == problem.Deform || countsAll(p):
		return 1
	case !weighted:
		return p.IC
	case p.Groups > 1:
		return p.Groups
	case p.Op == problem.Conv && p.Dir != problem.BackwardData: // whose weights lie by output channels
		return p.OC
	}
	return 1
}

// within is the problem on so many images and, unless that is all, units of channels.
func within(p *problem.Problem, images, channels int) problem.Problem {
	q := *p
	q.N = images
	units := channelUnits(p)
	if channels == units {
		return q
	}
	switch {
	case p.Groups > 1:
		q.Groups, q.IC, q.OC = channels, p.IC/p.Groups*channels, p.OC/p.Groups*channels
	case p.Op == problem.Conv:
		q.OC = channels
	default:
		q.IC, q.OC = channels, channels
	}
	return q
}

// bindable says why kernels cannot bind a tensor of the problem, or nil.
func (d *Device) bindable(p *problem.Problem) error {
	core, unfused := coreOf(p), *p
	unfused.Then = problem.Fusion{}
	for _, r := range tensors(p) {
		elems := max(problem.Elems(p.Shape(r)), problem.Elems(core.Shape(r)), problem.Elems(unfused.Shape(r)))
		if elems > d.binding/4 {
			return unsupported("%s has %d elements, kernels of %s bind at most %d words", r, elems, d.info.Name, d.binding/4)
		}
	}
	return nil
}

// most is the largest n up to limit for which fits holds, as it does for all less; 0 if for none.
func most(limit int, fits func(n int) bool) int {
	low, high := 0, limit
	for low < high {
		if mid := low + (high-low+1)/2; fits(mid) {
			low = mid
		} else {
			high = mid - 1
		}
	}
	return low
}

// cut makes parts of a problem that are as large as kernels bind.
func (d *Device) cut(p *problem.Problem) (*cut, error) {
	units := channelUnits(p)
	c := &cut{p: *p, images: p.N, channels: units}
	why := d.bindable(p)
	if why == nil {
		c.parts = []part{{p: *p}}
		return c, nil
	}
	whole := *p
	fits := func(images, channels int) bool {
		q := within(&whole, images, channels)
		return d.bindable(&q) == nil
	}
	if p.N == 0 {
		return nil, why
	}
	if countsAll(p) {
		return nil, fmt.Errorf("%w, and indices through all images cannot be cut", why)
	}
	if n := most(p.N, func(n int) bool { return fits(n, units) }); n > 0 {
		c.images = c.even(p.N, n, d.limits.ViewAlignment, c.imageBytes)
	} else {
		c.images = 1
		n := most(units-1, func(n int) bool { return fits(1, n) })
		if n == 0 {
			q := within(p, 1, 1)
			return nil, fmt.Errorf("%w, and cannot be cut further", d.bindable(&q))
		}
		c.channels = c.even(units, n, d.limits.ViewAlignment, c.channelBytes)
	}
	if n := ceilDiv(p.N, c.images) * ceilDiv(units, c.channels); n > mostCuts {
		return nil, fmt.Errorf("%w: %d parts would be", why, n)
	}
	return c, c.list(d.limits.ViewAlignment)
}

// imageBytes is the size of an image of the role's tensor, 0 if it has none.
func (c *cut) imageBytes(r problem.Role) int64 {
	if !batched(r) {
		return 0
	}
	return problem.Elems(c.p.Shape(r)) / int64(c.p.N) * int64(c.p.TypeOf(r).Size())
}

// channelBytes is the size of a unit of channels of one image, or row, of the role's tensor, 0 if it is not cut by them.
func (c *cut) channelBytes(r problem.Role) int64 {
	one, two := within(&c.p, 1, 1), within(&c.p, 1, 2)
	n := problem.Elems(two.Shape(r)) - problem.Elems(one.Shape(r))
	if matrix(r) {
		n /= int64(c.p.Shape(r)[0])
	}
	return n * int64(c.p.TypeOf(r).Size())
}

// even cuts units into about equal parts of at most limit, which begin where views can if they can, or else at words.
func (c *cut) even(units, limit int, align int64, bytes func(problem.Role) int64) int {
	for _, unit := range []int64{align, 4} {
		step := 1
		for _, r := range tensors(&c.p) {
			for bytes(r)*int64(step)%unit != 0 && step <= limit {
				step *= 2
			}
		}
		if step <= limit {
			limit = limit / step * step
			return min(limit, roundUp(ceilDiv(units, ceilDiv(units, limit)), step))
		}
	}
	return limit
}

// list makes the parts.
func (c *cut) list(align int64) error {
	p := &c.p
	units := channelUnits(p)
	summed := p.Dir == problem.BackwardWeights || p.Dir == problem.BackwardBias
	for n := 0; n < p.N; n += c.images {
		for ch := 0; ch < units; ch += c.channels {
			q := part{p: within(p, min(c.images, p.N-n), min(c.channels, units-ch))}
			for _, r := range tensors(p) {
				if c.images < p.N {
					q.at[r] = int64(n) * c.imageBytes(r)
				}
				if c.channels < units {
					q.at[r] += int64(ch) * c.channelBytes(r)
				}
				if summed && !batched(r) { // sums are of words
					q.at[r] = q.at[r]/int64(p.TypeOf(r).Size())*4 + int64(n/c.images)*4*problem.Elems(p.Shape(r))
				}
				if q.at[r]%4 != 0 {
					return unsupported("parts of %s do not begin at whole words", r)
				}
				c.copied[r] = c.copied[r] || q.at[r]%align != 0
			}
			c.parts = append(c.parts, q)
		}
	}
	if summed {
		c.sums = ceilDiv(p.N, c.images)
	}
	return nil
}

// whole says that nothing is cut.
func (c *cut) whole() bool { return len(c.parts) == 1 }

// cores are the problems that kernels compute: one of each size.
func (c *cut) cores() (list []problem.Problem) {
	for i := range c.parts {
		if core := coreOf(&c.parts[i].p); !slices.Contains(list, core) {
			list = append(list, core)
		}
	}
	return list
}

// can says why the algorithm cannot compute the parts, or nil.
func (c *cut) can(d *Device, a *algorithm) error {
	if of := asGiven[a.name]; of != nil {
		for i := range c.parts {
			if err := of(d, &c.parts[i].p); err != nil {
				return err
			}
		}
	}
	for _, core := range c.cores() {
		if err := a.can(d, &core); err != nil {
			return err
		}
	}
	return nil
}

// String says how a problem is cut.
func (c *cut) String() string {
	if c.channels < channelUnits(&c.p) {
		return fmt.Sprintf("%d parts of %d channels, which kernels can bind", len(c.parts), c.channels)
	}
	return fmt.Sprintf("%d parts of %d images, which kernels can bind", len(c.parts), c.images)
}

// built is what a part has added to a plan.
type built struct{ pieces, pack, run [2]int }

func (pl *plan) sizes() [3]int { return [3]int{len(pl.pieces), len(pl.pack), len(pl.run)} }

// buildParts adds the steps of all parts, then of what their partial sums take.
func (pl *plan) buildParts(ctx context.Context, a *algorithm, c *cut) error {
	whole, core := pl.p, pl.core
	pl.cut = c
	if c.sums > 0 {
		result := whole.Outputs()[0]
		pl.partial = pl.scratch(int64(c.sums) * problem.Elems(core.Shape(result)))
	}
	first := map[problem.Problem]int{}
	all := make([]built, len(c.parts))
	for i := range c.parts {
		pt := &c.parts[i]
		if j, ok := first[pt.p]; ok {
			pl.again(all[j], &c.parts[j], pt)
			continue
		}
		first[pt.p] = i
		before := pl.sizes()
		pl.p, pl.core, pl.part = pt.p, coreOf(&pt.p), pt
		pl.forget()
		if err := a.build(ctx, pl); err != nil {
			return err
		}
		if err := pl.finish(ctx); err != nil {
			return err
		}
		after := pl.sizes()
		all[i] = built{[2]int{before[0], after[0]}, [2]int{before[1], after[1]}, [2]int{before[2], after[2]}}
	}
	pl.p, pl.core, pl.part = whole, core, nil
	pl.forget()
	pl.info.Why += "; " + c.String()
	if c.sums == 0 {
		return nil
	}
	result := whole.Outputs()[0]
	count := int(problem.Elems(core.Shape(result)))
	if err := pl.sumParts(ctx, pl.partial, pl.output(result), count, c.sums, noPosts, 1, 1, false); err != nil {
		return err
	}
	return pl.finish(ctx)
}

// forget has inputs and results made anew.
func (pl *plan) forget() {
	pl.given = map[problem.Role]operand{}
	pl.inputs, pl.results = map[problem.Role]operand{}, map[problem.Role]operand{}
}

// again adds the steps of a part once more, for another part that is the same problem elsewhere.
func (pl *plan) again(b built, from, to *part) {
	same := true // constants, and so what they are packed to
	for _, r := range to.p.Constants() {
		same = same && from.at[r] == to.at[r]
	}
	packed := map[operand]bool{}
	for _, s := range pl.pack[b.pack[0]:b.pack[1]] {
		for _, o := range s.uses {
			packed[o] = true
		}
	}
	copies := map[operand]operand{}
	place := func(o operand) operand {
		i := int(o - problem.Roles)
		if i < b.pieces[0] || i >= b.pieces[1] || same && packed[o] {
			return o
		}
		c, ok := copies[o]
		if !ok {
			piece := pl.pieces[i]
			if piece.window {
				piece.off += to.at[piece.role] - from.at[piece.role]
			}
			c = pl.add(piece)
			copies[o] = c
		}
		return c
	}
	repeat := func(list *[]step, of [2]int) {
		for _, s := range (*list)[of[0]:of[1]] {
			uses := make([]operand, len(s.uses))
			for i, o := range s.uses {
				uses[i] = place(o)
			}
			s.uses = uses
			*list = append(*list, s)
		}
	}
	if !same {
		repeat(&pl.pack, b.pack)
	}
	repeat(&pl.run, b.run)
}

// window is a range of an operand; role says by which of a part's offsets it moves.
func (pl *plan) window(of operand, r problem.Role, off, bytes int64) operand {
	return pl.add(piece{window: true, of: of, role: r, off: off, bytes: (bytes + 3) &^ 3})
}

// callers says whether an operand is a tensor of the caller's, or a range of one.
func (pl *plan) callers(o operand) bool {
	return o < problem.Roles || pl.pieces[o-problem.Roles].window
}

// tensor is the role's tensor in the caller's form: the caller's, the range of it that belongs to the part that is being
// built, or a copy of that range where it does not begin where a view can. finish copies outputs back.
func (pl *plan) tensor(r problem.Role) operand {
	if pl.part == nil {
		return operand(r)
	}
	if o, ok := pl.given[r]; ok {
		return o
	}
	o := pl.rangeOf(r)
	pl.given[r] = o
	return o
}

func (pl *plan) rangeOf(r problem.Role) operand {
	c, at := pl.cut, pl.part.at[r]
	elems, size := problem.Elems(pl.p.Shape(r)), int64(pl.p.TypeOf(r).Size())
	output := slices.Contains(pl.p.Outputs(), r)
	of := operand(r)
	switch {
	case output && pl.partial != none:
		of, size = pl.partial, 4
	case elems == problem.Elems(c.p.Shape(r)):
		return of
	case matrix(r): // its rows lie apart
		rows := int64(c.p.Shape(r)[0])
		row, pitch := elems/rows*size, problem.Elems(c.p.Shape(r))/rows*size
		to := pl.scratch(elems)
		for i := range rows {
			pl.copyTo(pl.listOf(r), pl.window(of, r, at+i*pitch, row), to, i*row, row)
		}
		return to
	}
	w := pl.window(of, r, at, elems*size)
	if !c.copied[r] {
		return w
	}
	bytes := (elems*size + 3) &^ 3
	to := pl.scratch(bytes / 4)
	if output {
		pl.copyTo(&pl.landing, to, w, 0, bytes)
	} else {
		pl.copyTo(pl.listOf(r), w, to, 0, bytes)
	}
	return to
}
