package cpu

import (
	"context"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
)

func processors() int { return runtime.GOMAXPROCS(0) }

// parallel calls f for 0 … n−1 on all processors, chunk calls at a time, until done or ctx ends.
func parallel(ctx context.Context, n, chunk int, f func(i int)) error {
	var next atomic.Int64
	work := func() {
		for ctx.Err() == nil {
			end := int(next.Add(int64(chunk)))
			start := end - chunk
			if start >= n {
				return
			}
			for i := start; i < min(end, n); i++ {
				f(i)
			}
		}
	}
	helpers := min(processors(), (n+chunk-1)/chunk) - 1
	var wg sync.WaitGroup
	for range helpers {
		wg.Go(work)
	}
	work()
	wg.Wait()
	return ctx.Err()
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

// arena keeps scratch memory from run to run, by powers of two. Its contents are undefined.
type arena struct{ pools [64]sync.Pool }

func (a *arena) get(n int) []float32 {
	class := bits.Len(uint(max(0, n-1)))
	if b, ok := a.pools[class].Get().(*[]float32); ok {
		return (*b)[:n]
	}
	return make([]float32, n, 1<<class)
}

func (a *arena) put(b []float32) {
	if cap(b) == 0 {
		return
	}
	b = b[:cap(b)]
	a.pools[bits.Len(uint(len(b)-1))].Put(&b)
}
