package cpu

import (
	"context"
	"math/bits"
	"runtime"
	"sync"
	"unsafe"

	"github.com/gonvolve/gonvolve/cpu/simd"
)

// processors is how many there are to compute on: what is planned for so many must not meet more.
var processors = sync.OnceValue(func() int { return runtime.GOMAXPROCS(0) })

// workers is those of all devices and plans, which never end: a Run of theirs may be the last thing that happens.
var workers = sync.OnceValue(func() *simd.Pool { return simd.NewPool(processors()) })

// parallel calls f for 0 … n−1 on all processors, chunk calls at a time, until done or ctx ends.
func parallel(ctx context.Context, n, chunk int, f func(i int)) error {
	c := called.Get().(*calls)
	*c = calls{ctx, n, chunk, f}
	workers().Run((n+chunk-1)/chunk, c)
	*c = calls{}
	called.Put(c)
	return ctx.Err()
}

// calls is those of a function as a simd.Task.
type calls struct {
	ctx      context.Context
	n, chunk int
	f        func(i int)
}

var called = sync.Pool{New: func() any { return new(calls) }}

func (c *calls) Do(_, part int) {
	if c.ctx.Err() != nil {
		return
	}
	for i := part * c.chunk; i < min(c.n, (part+1)*c.chunk); i++ {
		c.f(i)
	}
}

// repeated is what runs do in parallel again and again: a function of what it works on, of type T, and of a number. Its runs
// take no memory, as those of functions that capture what they work on do.
type repeated[T any] struct {
	do    func(*T, int)
	turns sync.Pool
}

// turn is a run as a simd.Task.
type turn[T any] struct {
	*repeated[T]
	ctx      context.Context
	n, chunk int
	on       T
}

// parallel is the function parallel on a copy of on, which is copied back.
func (k *repeated[T]) parallel(ctx context.Context, n, chunk int, on *T) error {
	t, _ := k.turns.Get().(*turn[T])
	if t == nil {
		t = new(turn[T])
	}
	*t = turn[T]{k, ctx, n, chunk, *on}
	workers().Run((n+chunk-1)/chunk, t)
	*on = t.on
	*t = turn[T]{}
	k.turns.Put(t)
	return ctx.Err()
}

func (t *turn[T]) Do(_, part int) {
	if t.ctx.Err() != nil {
		return
	}
	for i := part * t.chunk; i < min(t.n, (part+1)*t.chunk); i++ {
		t.do(&t.on, i)
		if t.chunk == t.n && t.ctx.Err() != nil { // one part is all there is
			return
		}
	}
}

// parallelErr calls f for 0 … n−1 on all processors and stops at the first error, which it returns.
func parallelErr(ctx context.Context, n int, f func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := parallel(ctx, n, 1, func(i int) {
		if err := f(i); err != nil {
			cancel(err)
		}
	}); err != nil {
		return context.Cause(ctx)
	}
	return nil
}

// arena keeps scratch memory from run to run, by powers of two: pools[c] has arrays of 1<<c elements, whose contents are
// undefined. Pointers to their first elements need no memory of their own to be kept.
type arena struct{ pools [64]sync.Pool }

func (a *arena) get(n int) []float32 {
	class := bits.Len(uint(max(0, n-1)))
	if first, ok := a.pools[class].Get().(*float32); ok {
		return unsafe.Slice(first, 1<<class)[:n]
	}
	return make([]float32, n, 1<<class)
}

// put takes back what get returned.
func (a *arena) put(b []float32) {
	if cap(b) > 0 {
		a.pools[bits.Len(uint(cap(b)-1))].Put(unsafe.SliceData(b))
	}
}

// runs keep the states of runs that are over, of type T, for others.
type runs[T any, P interface {
	*T
	simd.Task
}] struct{ states sync.Pool }

// do runs so many parts on a copy of a state.
func (r *runs[T, P]) do(pool *simd.Pool, parts int, state T) {
	s, _ := r.states.Get().(*T)
	if s == nil {
		s = new(T)
	}
	*s = state
	pool.Run(parts, P(s))
	var none T
	*s = none
	r.states.Put(s)
}

// lines are whole cache lines of n floats or more.
func lines(n int) int { return (n + 15) &^ 15 }

// scratch is what is left of memory that a run shares out.
type scratch []float32

// take is the next n elements.
func (s *scratch) take(n int) []float32 {
	v := (*s)[:n:n]
	*s = (*s)[n:]
	return v
}
