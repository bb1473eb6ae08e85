package gpu

import (
	"context"
	"math"
	"slices"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// Lowering: kernels compute on words (f32, or s32 for integers) in NCHW with zeros as padding. Other types and layouts
// are converted on the way in and out, other paddings become part of a copy of the source. A problem that needs none of
// it runs on the caller's tensors.

// maxElements is what kernels index with 32-bit ints, with room for the overhang of a grid.
const maxElements = math.MaxInt32 - 4096

// form is how a tensor lies in memory.
type form struct {
	Type   problem.DataType
	Layout problem.Layout
}

// coreOf is the problem that kernels compute.
func coreOf(p *problem.Problem) problem.Problem {
	core := p.Core()
	if core.PadMode != problem.Zeros {
		return core.Padded()
	}
	return core
}

// formOf is the form of a role's tensor, and the one that kernels work on.
func formOf(p *problem.Problem, r problem.Role) (given, words form) {
	given = form{p.TypeOf(r), p.LayoutOf(r)}
	if given.Type == problem.S32 || p.Integer() && given.Type.Size() == 1 {
		words.Type = problem.S32
	}
	return given, words
}

// extents are the sizes of a role's tensor whatever its layout: n, channels, cells of a plane.
func extents(p *problem.Problem, r problem.Role) (n, c, cells int) {
	q := *p
	q.SrcLayout, q.DstLayout = problem.NCHW, problem.NCHW
	n, c, cells = 1, 1, 1
	for i, size := range q.Shape(r) {
		switch i {
		case 0:
			n = size
		case 1:
			c = size
		default:
			cells *= size
		}
	}
	return n, c, cells
}

// bufferBytes is the size of a role's tensor as callers allocate it.
func bufferBytes(p *problem.Problem, r problem.Role) int64 {
	return (problem.Elems(p.Shape(r))*int64(p.TypeOf(r).Size()) + 3) &^ 3
}

// check refuses what the device cannot hold or its kernels not index, naming the limit, and cuts what they cannot bind.
func (d *Device) check(p *problem.Problem) (*cut, error) {
	core := coreOf(p)
	total := int64(0)
	for _, r := range tensors(p) {
		n := bufferBytes(p, r)
		if n > d.info.MaxTensorBytes {
			return nil, unsupported("%s takes %d bytes, the largest buffer of %s has %d", r, n, d.info.Name, d.info.MaxTensorBytes)
		}
		total += n
	}
	if total > d.info.MemoryBytes {
		return nil, unsupported("the tensors take %d bytes, %s has %d", total, d.info.Name, d.info.MemoryBytes)
	}
	for i := range p.Axes {
		for _, a := range []problem.Axis{p.Axes[i], core.Axes[i], p.Then.Axes[i]} {
			reach := int64(a.In) + int64(a.Out) + 2*abs(a.PadL) + 2*abs(a.PadR) + 2*int64(a.Extent()) + int64(a.Stride)
			if reach > math.MaxInt32 {
				return nil, unsupported("positions up to %d do not fit the kernels' 32-bit indices", reach)
			}
		}
	}
	return d.cut(p)
}

func abs(v int) int64 { return max(int64(v), -int64(v)) }

// scratch is a piece of memory of the plan. Written by packing steps and read by running ones it is kept with the packed
// weights; otherwise it is workspace of one list, shared with pieces that are not in use at the same time.
func (pl *plan) scratch(elems int64) operand {
	return pl.add(piece{bytes: 4 * elems})
}

func (pl *plan) add(p piece) operand {
	pl.pieces = append(pl.pieces, p)
	return problem.Roles + operand(len(pl.pieces)-1)
}

// listOf is the list of steps that reads the role's tensor.
func (pl *plan) listOf(r problem.Role) *[]step {
	if slices.Contains(pl.p.Constants(), r) {
		return &pl.pack
	}
	return &pl.run
}

// input is the role's tensor as core has it, ready for the list of steps that reads it: the packing steps for constants.
func (pl *plan) input(ctx context.Context, r problem.Role) (operand, error) {
	if o, ok := pl.inputs[r]; ok {
		return o, nil
	}
	own := pl.tensor(r)
	o := own
	if given, words := formOf(&pl.p, r); given != words {
		n, c, cells := extents(&pl.p, r)
		o = pl.scratch(int64(n) * int64(c) * int64(cells))
		if err := pl.reformat(ctx, pl.listOf(r), n, c, cells, own, given, o, words); err != nil {
			return 0, err
		}
	}
	if r == problem.Src && pl.bordered() {
		var err error
		if o, err = pl.padded(ctx, o); err != nil {
			return 0, err
		}
	}
	pl.inputs[r] = o
	return o, nil
}

// stored is a tensor of channels before their cells, in the type that it has.
type stored struct {
	at  operand
	typ problem.DataType
}

// packed is the role's tensor as kernels take it that read bytes: as core has it, but integers of 8 bits as they are, and a
// source of halves, too.
func (pl *plan) packed(ctx context.Context, r problem.Role) (stored, error) {
	given, words := formOf(&pl.p, r)
	if r != problem.Wei && pl.halves(r) {
		return stored{pl.tensor(r), problem.F16}, nil
	}
	if !pl.p.Integer() {
		at, err := pl.input(ctx, r)
		return stored{at, words.Type}, err
	}
	own := stored{pl.tensor(r), given.Type}
	if given.Layout == problem.NCHW {
		return own, nil
	}
	n, c, cells := extents(&pl.p, r)
	to := stored{pl.scratch(int64(ceilDiv(n*c*cells, 4/given.Type.Size()))), given.Type}
	return to, pl.reformat(ctx, pl.listOf(r), n, c, cells, own.at, given, to.at, form{given.Type, problem.NCHW})
}

// constant is a constant as core has it, for running steps.
func (pl *plan) constant(ctx context.Context, r problem.Role) (operand, error) {
	o, err := pl.input(ctx, r)
	if err != nil || !pl.callers(o) {
		return o, err
	}
	elems := problem.Elems(pl.core.Shape(r))
	kept := pl.scratch(elems)
	pl.copyTo(&pl.pack, o, kept, 0, 4*elems)
	pl.inputs[r] = kept
	return kept, nil
}

// output is where kernels write the role's tensor as core has it. They may read back what they wrote.
func (pl *plan) output(r problem.Role) operand {
	if o, ok := pl.results[r]; ok {
		return o
	}
	o := pl.tensor(r)
	if given, words := formOf(&pl.p, r); (given != words || pl.folds(r)) && (pl.part == nil || pl.partial == none) {
		o = pl.scratch(problem.Elems(pl.core.Shape(r)))
	}
	pl.results[r] = o
	return o
}

// bordered says whether core's source has a border that p's does not have.
func (pl *plan) bordered() bool { return pl.core.Axes != pl.p.Axes }

// folds says whether the role's tensor has a border in core that goes back into the tensor.
func (pl *plan) folds(r problem.Role) bool {
	return r == problem.DiffSrc && pl.bordered()
}

// finish brings the outputs from the form in which kernels wrote them into the caller's.
func (pl *plan) finish(ctx context.Context) error {
	for _, r := range pl.p.Outputs() {
		o, own := pl.output(r), pl.tensor(r)
		if o == own {
			continue
		}
		given, words := formOf(&pl.p, r)
		if pl.folds(r) {
			to := own
			if given != words {
				to = pl.scratch(problem.Elems(pl.p.Shape(r)))
			}
			if err := pl.fold(ctx, o, to); err != nil {
				return err
			}
			o = to
		}
		if given != words {
			n, c, cells := extents(&pl.p, r)
			if err := pl.reformat(ctx, &pl.run, n, c, cells, o, words, own, given); err != nil {
				return err
			}
		}
	}
	pl.run = append(pl.run, pl.landing...)
	pl.landing = nil
	return nil
}

// place decides where the pieces live, and checks that the device can hold them.
func (pl *plan) place() error {
	packs, runs := pl.lifetimes(pl.pack), pl.lifetimes(pl.run)
	for i := range pl.pieces {
		p := &pl.pieces[i]
		if p.bytes > pl.dev.binding {
			return unsupported("a workspace of %d bytes is needed, kernels of %s bind at most %d", p.bytes, pl.dev.info.Name, pl.dev.binding)
		}
		if p.kept = packs[i].used && runs[i].used; p.kept {
			pl.info.WeightsBytes += p.bytes
		}
	}
	pl.packSlots = pl.assign(packs, len(pl.pack))
	pl.runSlots = pl.assign(runs, len(pl.run))
	for _, n := range pl.runSlots {
		pl.info.WorkspaceBytes += n
	}
	return nil
}

// lifetime is the first and the last step that use a piece.
type lifetime struct {
	used        bool
	first, last int
}

// lifetimes are those of the pieces in a list of steps; windows have none.
func (pl *plan) lifetimes(steps []step) []lifetime {
	all := make([]lifetime, len(pl.pieces))
	for at, s := range steps {
		for _, o := range s.uses {
			if o >= problem.Roles && pl.pieces[o-problem.Roles].window {
				o = pl.pieces[o-problem.Roles].of
			}
			if o < problem.Roles {
				continue
			}
			l := &all[o-problem.Roles]
			if !l.used {
				l.used, l.first = true, at
			}
			l.last = at
		}
	}
	return all
}

// assign gives pieces that are not kept slots of the list's workspace, one slot to several pieces one after the other. It
// returns the slots' sizes.
func (pl *plan) assign(lives []lifetime, steps int) (slots []int64) {
	var unused []int
	for at := range steps {
		for i, l := range lives {
			p := &pl.pieces[i]
			if !l.used || p.kept || l.first != at {
				continue
			}
			if len(unused) == 0 {
				unused = append(unused, len(slots))
				slots = append(slots, 0)
			}
			// The slot whose size is nearest.
			best := 0
			for u, s := range unused {
				if abs(int(slots[s]-p.bytes)) < abs(int(slots[unused[best]]-p.bytes)) {
					best = u
				}
			}
			p.slot = unused[best]
			unused = slices.Delete(unused, best, best+1)
			slots[p.slot] = max(slots[p.slot], p.bytes)
		}
		for i, l := range lives {
			if l.used && !pl.pieces[i].kept && l.last == at {
				unused = append(unused, pl.pieces[i].slot)
			}
		}
	}
	return slots
}
