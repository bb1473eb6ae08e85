package simd

import (
	"sync"
	"sync/atomic"
)

// Task is work in independent parts.
type Task interface {
	// Do does part i as the given worker, a number below the pool's Workers that no two goroutines have at a time within
	// one Run: each worker may have a workspace of its own.
	Do(worker, i int)
}

// Pool is goroutines that wait for work, so that a run neither starts any nor allocates. Several may use it at once.
type Pool struct {
	workers int
	calls   chan *team
	close   sync.Once
}

// spins is how often a worker looks for work, and who waits looks for the end, before it sleeps: near a tenth of a
// millisecond, which is what the work between two layers takes, and less than waking takes on a busy machine.
const spins = 20_000

// NewPool returns a pool of as many workers, the caller of Run being one of them.
func NewPool(workers int) *Pool {
	p := &Pool{workers: max(1, workers)}
	p.calls = make(chan *team, 8*p.workers)
	for range p.workers - 1 {
		go p.serve()
	}
	return p
}

// Workers returns how many work at most on one Run.
func (p *Pool) Workers() int { return p.workers }

// Close ends the goroutines when they have done their work. There is no Run after it.
func (p *Pool) Close() { p.close.Do(func() { close(p.calls) }) }

func (p *Pool) serve() {
	for {
		t, ok := receive(p.calls)
		if !ok {
			return
		}
		t.work()
		t.drop()
	}
}

// receive is <-c, but sleeps only after a while.
func receive[T any](c <-chan T) (T, bool) {
	for range spins {
		select {
		case v, ok := <-c:
			return v, ok
		default:
		}
	}
	v, ok := <-c
	return v, ok
}

// team is those who work on one Run.
type team struct {
	task    Task
	parts   int64
	next    atomic.Int64 // part to begin
	left    atomic.Int64 // parts not done
	workers atomic.Int64 // who came so far
	holders atomic.Int64 // who may still look at this
	done    chan struct{}
}

var teams = sync.Pool{New: func() any { return &team{done: make(chan struct{}, 1)} }}

// Run does parts 0 … parts−1 and returns when all are done. A worker that is busy elsewhere isn't waited for.
func (p *Pool) Run(parts int, task Task) {
	helpers := min(p.workers, parts) - 1
	if helpers < 1 {
		for i := range parts {
			task.Do(0, i)
		}
		return
	}
	t := teams.Get().(*team)
	t.task, t.parts = task, int64(parts)
	t.next.Store(0)
	t.left.Store(int64(parts))
	t.workers.Store(0)
	t.holders.Store(1)
	for range helpers {
		t.holders.Add(1)
		select {
		case p.calls <- t:
		default: // all have enough to do
			t.holders.Add(-1)
		}
	}
	t.work()
	receive(t.done)
	t.drop()
}

// work does parts until none is left to begin.
func (t *team) work() {
	if t.next.Load() >= t.parts {
		return
	}
	worker := int(t.workers.Add(1) - 1)
	for {
		i := t.next.Add(1) - 1
		if i >= t.parts {
			return
		}
		t.task.Do(worker, int(i))
		if t.left.Add(-1) == 0 {
			t.done <- struct{}{}
		}
	}
}

// drop lets go of the team; the last one makes it available again.
func (t *team) drop() {
	if t.holders.Add(-1) == 0 {
		t.task = nil
		teams.Put(t)
	}
}

// Multiply runs all tasks of a call on the pool. The workspace has g.Workspace() elements for each of its workers.
func (g *Gemm) Multiply(p *Pool, ws []float32, c *Call) {
	m := multiplications.Get().(*multiplication)
	*m = multiplication{g, ws, c}
	p.Run(g.Tasks(), m)
	*m = multiplication{}
	multiplications.Put(m)
}

// multiplication is a call as a Task.
type multiplication struct {
	g  *Gemm
	ws []float32
	c  *Call
}

var multiplications = sync.Pool{New: func() any { return new(multiplication) }}

func (m *multiplication) Do(worker, i int) {
	n := m.g.Workspace()
	m.g.Run(i, m.ws[worker*n:][:n], m.c)
}
