//go:build cgo && !novulkan

package vulkan

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gonvolve/gonvolve/gpu/vulkan/vkshim"
)

// waitSlice is how long a wait that may be cancelled stays in the driver before it looks at its context again.
const waitSlice = 20 * time.Millisecond

// fence is a submission in flight, or done and not yet freed: it has its VkFence, and the frame that was recorded for it,
// until Free.
type fence struct {
	q      *queue
	own    *frame // nil for recorded commands
	number uint64 // the VkFence
	done   atomic.Bool
	freed  atomic.Bool

	mu    sync.Mutex
	times []time.Duration
}

func (f *fence) Wait(ctx context.Context) error {
	if f.freed.Load() {
		return closed("wait for commands")
	}
	if f.done.Load() {
		return nil
	}
	r := f.q.d.fn.FenceStatus(f.number)
	for r == vkshim.NotReady || r == vkshim.Timeout {
		limit := time.Duration(-1)
		if ctx.Done() != nil {
			if err := ctx.Err(); err != nil {
				return err
			}
			limit = waitSlice
		}
		r = f.q.d.fn.FenceWait(f.number, limit)
	}
	if err := check("wait for commands", r); err != nil {
		return err
	}
	f.done.Store(true)
	return nil
}

// finish waits for the end, good or bad.
func (f *fence) finish() { _ = f.Wait(context.Background()) }

func (f *fence) Times() []time.Duration {
	if f.own == nil || f.own.used == 0 || !f.done.Load() {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.times != nil || f.freed.Load() {
		return f.times
	}
	stamps := make([]uint64, f.own.used)
	if f.q.d.fn.Timestamps(number(f.own.queries), stamps) != vkshim.Success {
		return nil
	}
	f.times = durations(stamps, f.q.d.a.timestampBits, float64(f.q.d.a.props.Limits.TimestampPeriod))
	return f.times
}

// durations are the differences between stamps of so many valid bits, a tick being period nanoseconds.
func durations(stamps []uint64, bits uint32, period float64) []time.Duration {
	mask := uint64(math.MaxUint64)
	if bits < 64 {
		mask = 1<<bits - 1
	}
	out := make([]time.Duration, len(stamps)-1)
	for i := range out {
		out[i] = time.Duration(float64((stamps[i+1]-stamps[i])&mask) * period)
	}
	return out
}

func (f *fence) Free() {
	f.finish()
	f.mu.Lock()
	freed := f.freed.Swap(true)
	f.mu.Unlock()
	if freed {
		return
	}
	f.q.mu.Lock()
	delete(f.q.running, f)
	f.q.mu.Unlock()
	f.q.put(f.own, f.number)
}
