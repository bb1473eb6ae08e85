package gpu

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
)

// keptLists is how many lists a stream keeps for a plan: enough for tensors that take turns.
const keptLists = 4

// list is a plan's run with its buffers filled in, for one stream. It keeps nothing alive but what it recorded: when one
// of its buffers was freed it fits no run any more, and goes when others take its place or its plan or stream is closed.
type list struct {
	*ref // of what it recorded: its stream's, and each submission's in flight

	plan    *plan
	weights *weights // nil for a plan without constants
	given   []*buffer
	cmds    []hal.Command
	holds   []*ref // what a submission needs, the list among it

	// Guarded by the stream's mu.
	submitted bool
	recorded  hal.Recorded
}

// fits says whether the list is that of a run with these operands, and they are live.
func (l *list) fits(a *driver.Args) bool {
	if l.plan.constants {
		if w, ok := a.Weights.(*weights); !ok || w != l.weights || w.freed.Load() {
			return false
		}
	}
	for i, r := range l.plan.roles {
		if b, ok := a.Buffers[r].(*buffer); !ok || b != l.given[i] || b.freed.Load() {
			return false
		}
	}
	return true
}

// submit starts the list. What runs once is not recorded: that pays from the second time on.
func (l *list) submit(s *stream) (hal.Fence, error) {
	if s.timed || !l.submitted {
		l.submitted = true
		return s.queue.Submit(l.cmds)
	}
	if l.recorded == nil {
		r, err := s.queue.Record(l.cmds)
		if err != nil {
			return nil, err
		}
		l.recorded = r
	}
	return l.recorded.Submit()
}

// kept is what a stream keeps from run to run: lists, and workspace, which all plans share, as they run one after the
// other. It goes with the last list that uses it, and when memory is short.
type kept struct {
	mu     sync.Mutex        // never held while waiting
	lists  map[*plan][]*list // by last use, latest first
	work   []*buffer
	closed bool
}

// find returns the list of a run, held for its submission, or nil.
func (k *kept) find(pl *plan, a *driver.Args) *list {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := k.lists[pl]
	for i, l := range all {
		if l.fits(a) && holdAll(l.holds) {
			copy(all[1:], all[:i])
			all[0] = l
			return l
		}
	}
	return nil
}

// list makes the list of a run, keeps it, and returns it held for its submission.
func (s *stream) list(pl *plan, a *driver.Args) (*list, error) {
	if pl.closed.Load() {
		return nil, fmt.Errorf("%w: plan", driver.ErrClosed)
	}
	use, err := pl.operands(a)
	if err != nil {
		return nil, err
	}
	l := &list{plan: pl}
	l.ref = newRef(func() {
		if l.recorded != nil {
			l.recorded.Free()
		}
	})
	l.weights, _ = a.Weights.(*weights)
	for _, r := range pl.roles {
		l.given = append(l.given, use[operand(r)])
	}
	// Memory is taken without mu: when it is short, what streams keep is given up. Hence the loop.
	fresh := make([]*buffer, len(pl.runSlots))
	defer func() {
		for _, b := range fresh {
			if b != nil {
				b.Free()
			}
		}
	}()
	for {
		lack, err := s.kept.add(l, use, fresh)
		if err != nil {
			return nil, err
		}
		if lack < 0 {
			return l, nil
		}
		if fresh[lack], err = pl.dev.newBuffer(pl.runSlots[lack]); err != nil {
			return nil, fmt.Errorf("workspace: %w", err)
		}
	}
}

// add fills a list in with workspace, held for its submission, and keeps it. What it takes of fresh it sets to nil there.
// When workspace is missing it does nothing but to return which.
func (k *kept) add(l *list, use map[operand]*buffer, fresh []*buffer) (lack int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return 0, fmt.Errorf("%w: stream", driver.ErrClosed)
	}
	slots := l.plan.runSlots
	fit := 0
	for fit < min(len(slots), len(k.work)) && k.work[fit].bytes >= slots[fit] {
		fit++
	}
	if fit < len(slots) {
		k.release(fit)
		if lack := slices.Index(fresh[fit:], nil); lack >= 0 {
			return fit + lack, nil
		}
		k.work = append(k.work, fresh[fit:]...)
		clear(fresh[fit:])
	}
	for i := range slots {
		use[workspace(i)] = k.work[i]
	}
	if l.cmds, l.holds, err = l.plan.resolve(l.plan.run, use); err != nil {
		k.tidy()
		return 0, err
	}
	l.holds = append(l.holds, l.ref)
	if !holdAll(l.holds) {
		k.tidy()
		return 0, fmt.Errorf("%w: an operand or the plan", driver.ErrClosed)
	}
	if l.plan.closed.Load() { // the submission alone has it
		l.drop()
		k.tidy()
		return -1, nil
	}
	all := k.lists[l.plan]
	if len(all) == keptLists {
		all[keptLists-1].drop()
		all = all[:keptLists-1]
	}
	k.lists[l.plan] = slices.Insert(all, 0, l)
	return -1, nil
}

// release frees slots of workspace from the i-th on, with the lists that use them.
func (k *kept) release(i int) {
	if i >= len(k.work) {
		return
	}
	for pl := range k.lists {
		if len(pl.runSlots) > i {
			k.remove(pl)
		}
	}
	for _, b := range k.work[i:] {
		b.Free()
	}
	k.work = slices.Delete(k.work, i, len(k.work))
}

// tidy frees the workspace that no list uses.
func (k *kept) tidy() {
	slots := 0
	for pl := range k.lists {
		slots = max(slots, len(pl.runSlots))
	}
	k.release(slots)
}

// remove drops a plan's lists.
func (k *kept) remove(pl *plan) {
	for _, l := range k.lists[pl] {
		l.drop()
	}
	delete(k.lists, pl)
}

// forget gives up what was kept for a plan.
func (k *kept) forget(pl *plan) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.remove(pl)
	k.tidy()
}

// clear gives up everything, if need be for good.
func (k *kept) clear(closed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for pl := range k.lists {
		k.remove(pl)
	}
	k.tidy()
	k.closed = k.closed || closed
}

// start submits a list that is held for it.
func (s *stream) start(ctx context.Context, l *list) (*event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.admit(ctx); err != nil {
		dropAll(l.holds)
		return nil, err
	}
	if len(l.cmds) == 0 {
		dropAll(l.holds)
		return doneEvent(), nil
	}
	fence, err := l.submit(s)
	if err != nil {
		dropAll(l.holds)
		return nil, err
	}
	return s.track(fence, l.cmds, l.holds), nil
}
