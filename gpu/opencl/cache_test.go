//go:build cgo && !noopencl

package opencl

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/gonvolve/gonvolve/gpu/hal"
)

// blobs is a cache in memory that counts.
type blobs struct {
	mu         sync.Mutex
	m          map[string][]byte
	gets, puts int
}

func (b *blobs) Get(key string) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gets++
	return slices.Clone(b.m[key])
}

func (b *blobs) Put(key string, data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.puts++
	b.m[key] = slices.Clone(data)
	return nil
}

// works runs scale once.
func works(t *testing.T, d hal.Device, tunables []int32) {
	t.Helper()
	k := must(d.NewKernel(context.Background(), scale, tunables))(t)
	defer k.Free()
	q := must(d.NewQueue(true))(t)
	defer q.Free()
	m := alloc(t, d, 512, hal.DeviceMemory)
	defer m.Free()
	upload(t, d, q, m, ramp(128, 0))
	v := must(m.View(0, 256))(t)
	defer v.Free()
	w := must(m.View(256, 256))(t)
	defer w.Free()
	submit(t, q, hal.Command{Op: hal.Dispatch, Kernel: k, Groups: [3]int{1, 1, 1}, Views: []hal.View{v, w}, Params: params(64, 2)})
	if got, want := float(download(t, d, q, m), 64+5), float32(10+tunables[3]); got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestBinaryCache(t *testing.T) {
	cache := &blobs{m: map[string][]byte{}}
	forEach(t, hal.Options{Blob: cache}, func(t *testing.T, d hal.Device) {
		if d.Info().ViewAlignment > 256 {
			t.Skip("the test's views are 256 bytes apart")
		}
		clear(cache.m)
		cache.puts = 0
		remembers := d.(hal.Rememberer).Remembers
		if remembers(scale, scaleTunables) {
			t.Error("a kernel is remembered before it was compiled")
		}
		works(t, d, scaleTunables)
		if cache.puts == 0 {
			t.Skip("the driver has no binaries")
		}
		works(t, d, scaleTunables)
		if !remembers(scale, scaleTunables) || remembers(scale, []int32{64, 1, 1, 2}) {
			t.Error("kernels are remembered by their tunables")
		}
		if cache.puts != 1 {
			t.Errorf("%d binaries were stored, want 1: the second kernel came from the cache", cache.puts)
		}
		works(t, d, []int32{64, 1, 1, 2})
		if cache.puts != 2 || len(cache.m) != 2 {
			t.Errorf("%d binaries under %d keys, want 2: a tunable is a part of the key", cache.puts, len(cache.m))
		}

		// Whatever is not a whole binary is a miss, and is replaced.
		keys := slices.Sorted(maps.Keys(cache.m))
		good := cache.m[keys[0]]
		damaged := slices.Clone(good)
		damaged[len(damaged)/2] ^= 1
		for what, blob := range map[string][]byte{
			"damaged": damaged, "truncated": good[:len(good)/2], "foreign": sealed([]byte("not a binary")),
			"empty": {}, "short": {1, 2, 3},
		} {
			cache.m[keys[0]], cache.m[keys[1]] = blob, blob
			cache.puts = 0
			works(t, d, scaleTunables)
			if cache.puts != 1 {
				t.Errorf("%s: %d binaries were stored, want 1", what, cache.puts)
			}
		}
	})
}

// TestConcurrentCompile compiles several kernels at once through one cache.
func TestConcurrentCompile(t *testing.T) {
	cache := &blobs{m: map[string][]byte{}}
	forEach(t, hal.Options{Blob: cache}, func(t *testing.T, d hal.Device) {
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				k, err := d.NewKernel(context.Background(), scale, []int32{64, 1, 1, int32(i / 2)})
				if err != nil {
					t.Error(err)
					return
				}
				k.Free()
			})
		}
		wg.Wait()
	})
}
