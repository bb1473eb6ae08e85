package cpu

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

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
	helpers := min(runtime.GOMAXPROCS(0), (n+chunk-1)/chunk) - 1
	var wg sync.WaitGroup
	for range helpers {
		wg.Go(work)
	}
	work()
	wg.Wait()
	return ctx.Err()
}
