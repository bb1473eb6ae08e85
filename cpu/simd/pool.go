package simd

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
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
	asleep  atomic.Int32  // workers that wait for calls without looking
	usher   chan struct{} // see wake
	close   sync.Once
}

const (
	// spins is how often a worker looks for work before it sleeps: near a tenth of a millisecond, which is what the work
	// between two layers takes, and less than waking takes on a busy machine.
	spins = 20_000
	// glances is how often of these until other goroutines get a chance to run where it looks.
	glances = 500
	// patience is for how long at most who waits for the last parts looks for the end before it sleeps, if it has worked as
	// long. To wake would take longer than most parts do, and delay the next run, whose workers would have gone to sleep.
	patience = time.Millisecond
)

// NewPool returns a pool of as many workers, the caller of Run being one of them.
func NewPool(workers int) *Pool {
	p := &Pool{workers: max(1, workers)}
	p.calls = make(chan *team, 8*p.workers)
	p.usher = make(chan struct{}, 1)
	for range p.workers - 1 {
		go p.serve()
	}
	if p.workers > 1 {
		go func() {
			for range p.usher {
			}
		}()
	}
	return p
}

// Workers returns how many work at most on one Run.
func (p *Pool) Workers() int { return p.workers }

// Close ends the goroutines when they have done their work. There is no Run after it.
func (p *Pool) Close() { p.close.Do(func() { close(p.calls); close(p.usher) }) }

func (p *Pool) serve() {
	for {
		t, ok := p.call()
		if !ok {
			return
		}
		t.work()
		t.drop()
	}
}

// call is the next call for work. It is slept for only after a while.
func (p *Pool) call() (*team, bool) {
	for i := range spins {
		select {
		case t, ok := <-p.calls:
			return t, ok
		default:
		}
		if i%glances == glances-1 {
			runtime.Gosched()
		}
	}
	p.asleep.Add(1)
	t, ok := <-p.calls
	p.asleep.Add(-1)
	return t, ok
}

// wake has sleeping workers that were called begin at once. The goroutine that was made ready last is the one that the
// caller's processor would run next, and others hesitate to take that one from it: 75 µs and more, three times what it takes
// to wake a processor. So that it isn't a worker, another one that has nothing to do is made ready.
func (p *Pool) wake() {
	if p.asleep.Load() > 0 {
		select {
		case p.usher <- struct{}{}:
		default:
		}
	}
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
	p.wake()
	start := time.Now()
	t.work()
	t.wait(min(patience, time.Since(start)))
	t.drop()
}

// wait returns when all parts are done. It sleeps only after a while.
func (t *team) wait(patience time.Duration) {
	for start := time.Now(); ; {
		for range glances {
			select {
			case <-t.done:
				return
			default:
			}
		}
		if time.Since(start) > patience {
			break
		}
		runtime.Gosched()
	}
	<-t.done
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
