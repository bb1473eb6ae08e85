package gpu

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/gpu/hal"
)

// weights are a plan's kept pieces.
type weights struct {
	plan   *plan
	pieces map[operand]*buffer
	freed  atomic.Bool
}

// Bytes implements driver.Weights.
func (w *weights) Bytes() int64 {
	n := int64(0)
	for _, b := range w.pieces {
		n += b.bytes
	}
	return n
}

// Free implements driver.Weights.
func (w *weights) Free() {
	w.freed.Store(true)
	for _, b := range w.pieces {
		b.Free()
	}
}

func (d *Device) ownStream(s driver.Stream) (*stream, error) {
	st, ok := s.(*stream)
	if !ok || st.dev != d {
		return nil, fmt.Errorf("%w: not a stream of this device", driver.ErrInvalid)
	}
	return st, nil
}

// bind finds the buffers of roles.
func (pl *plan) bind(use map[operand]*buffer, given *driver.Buffers, roles []problem.Role) error {
	for _, r := range roles {
		b, err := pl.dev.own(r.String(), given[r], bufferBytes(&pl.p, r))
		if err != nil {
			return err
		}
		use[operand(r)] = b
	}
	return nil
}

// resolve gives steps their buffers. It returns what a submission must hold, too.
func (pl *plan) resolve(steps []step, use map[operand]*buffer) (cmds []hal.Command, holds []*ref, err error) {
	find := func(s *step, o operand) (b *buffer, off int64, window *piece) {
		if o == none {
			o = s.uses[0]
		}
		if o >= problem.Roles && pl.pieces[o-problem.Roles].window {
			window = &pl.pieces[o-problem.Roles]
			o, off = window.of, window.off
		}
		if o >= problem.Roles && !pl.pieces[o-problem.Roles].kept {
			o = workspace(pl.pieces[o-problem.Roles].slot)
		}
		return use[o], off, window
	}
	cmds = make([]hal.Command, len(steps))
	for i := range steps {
		s := &steps[i]
		c := s.cmd
		to, off, _ := find(s, s.uses[len(s.uses)-1])
		switch c.Op {
		case hal.Dispatch:
			c.Kernel = s.kernel.handle()
			c.Views = make([]hal.View, len(s.uses))
			for v, o := range s.uses {
				b, off, window := find(s, o)
				if c.Views[v] = b.view; window == nil {
					continue
				}
				if c.Views[v], err = b.viewOf(span{off, window.bytes}); err != nil {
					return nil, nil, err
				}
			}
		case hal.Copy:
			from, off, _ := find(s, s.uses[0])
			c.Src, c.SrcOff = from.at.block.mem, from.at.off+off+c.SrcOff
			fallthrough
		case hal.Fill:
			c.Dst, c.DstOff = to.at.block.mem, to.at.off+off+c.DstOff
		}
		cmds[i] = c
	}
	holds = append(make([]*ref, 0, len(use)+2), pl.ref)
	for _, b := range use {
		holds = append(holds, b.ref)
	}
	return cmds, holds, nil
}

// workspace is how resolve names the i-th slot of a list's workspace.
func workspace(i int) operand { return none - 1 - operand(i) }

// Pack implements driver.Plan.
func (pl *plan) Pack(ctx context.Context, s driver.Stream, given driver.Buffers) (driver.Weights, driver.Event, error) {
	constants := pl.p.Constants()
	if len(constants) == 0 {
		return nil, nil, fmt.Errorf("%w: %s %s has no weights", driver.ErrInvalid, pl.p.Op, pl.p.Dir)
	}
	st, err := pl.dev.ownStream(s)
	if err != nil {
		return nil, nil, err
	}
	use := map[operand]*buffer{}
	if err := pl.bind(use, &given, constants); err != nil {
		return nil, nil, err
	}
	for i, n := range pl.packSlots {
		b, err := pl.dev.newBuffer(n)
		if err != nil {
			return nil, nil, fmt.Errorf("workspace: %w", err)
		}
		defer b.Free() // the submission holds it on
		use[workspace(i)] = b
	}
	w := &weights{plan: pl, pieces: map[operand]*buffer{}}
	for i, piece := range pl.pieces {
		if !piece.kept {
			continue
		}
		b, err := pl.dev.newBuffer(piece.bytes)
		if err != nil {
			w.Free()
			return nil, nil, fmt.Errorf("packed weights: %w", err)
		}
		o := problem.Roles + operand(i)
		w.pieces[o], use[o] = b, b
	}
	var e *event
	cmds, holds, err := pl.resolve(pl.pack, use)
	if err == nil {
		e, err = st.run(ctx, cmds, holds...)
	}
	if err != nil {
		w.Free()
		return nil, nil, err
	}
	return w, e, nil
}

// Run implements driver.Plan.
func (pl *plan) Run(ctx context.Context, s driver.Stream, a driver.Args) (driver.Event, error) {
	st, err := pl.dev.ownStream(s)
	if err != nil {
		return nil, err
	}
	l := st.kept.find(pl, &a)
	if l == nil {
		if l, err = st.list(pl, &a); err != nil {
			return nil, err
		}
	}
	e, err := st.start(ctx, l)
	if err != nil {
		return nil, err
	}
	return e, nil
}

// operands finds the buffers of a run that the caller brings.
func (pl *plan) operands(a *driver.Args) (map[operand]*buffer, error) {
	use := map[operand]*buffer{}
	if err := pl.bind(use, &a.Buffers, pl.roles); err != nil {
		return nil, err
	}
	if !pl.constants {
		return use, nil
	}
	w, ok := a.Weights.(*weights)
	if !ok || w.plan != pl {
		return nil, fmt.Errorf("%w: weights that this plan packed are needed", driver.ErrInvalid)
	}
	if w.freed.Load() {
		return nil, fmt.Errorf("%w: weights", driver.ErrClosed)
	}
	for o, b := range w.pieces {
		use[o] = b
	}
	return use, nil
}
