//go:build cgo && !novulkan

package vulkan

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/shaders"
)

// blobs is a cache in memory, with notes of single pipelines apart.
type blobs struct {
	mu    sync.Mutex
	data  map[string][]byte
	notes map[string]bool
	puts  int
	fail  error
}

func (b *blobs) Get(key string) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.notes[key] {
		return []byte{1}
	}
	return b.data[key]
}

func (b *blobs) Put(key string, data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return b.fail
	}
	if strings.HasPrefix(key, "vulkan-pipeline-") {
		if b.notes == nil {
			b.notes = map[string]bool{}
		}
		b.notes[key] = true
		return nil
	}
	b.puts++
	b.data[key] = bytes.Clone(data)
	return nil
}

// compile opens a device with the blobs, compiles and runs a kernel, and closes it.
func compile(t *testing.T, b *blobs) (loaded int, err error) {
	t.Helper()
	h, err := API().Open(0, hal.Options{Blob: b, Validate: validate()})
	if err != nil {
		missing(t, err)
	}
	d := h.(*device)
	loaded = d.cacheKept
	q, err := d.NewQueue(true)
	if err != nil {
		t.Fatal(err)
	}
	if err := round(t, d, q, 256, 0, 1); err != nil {
		t.Error(err)
	}
	q.Free()
	return loaded, h.Close()
}

func TestPipelineCache(t *testing.T) {
	b := &blobs{data: map[string][]byte{}}
	loaded, err := compile(t, b)
	if err != nil || loaded != 0 || b.puts != 1 || len(b.data) != 1 {
		t.Fatalf("first: loaded %d bytes, kept %d blobs: %v", loaded, b.puts, err)
	}
	key := slices.Collect(maps.Keys(b.data))[0]
	if !strings.HasPrefix(key, "vulkan-pipelines-") {
		t.Errorf("key %q", key)
	}
	good := bytes.Clone(b.data[key])

	if loaded, err = compile(t, b); err != nil || loaded != len(good) {
		t.Errorf("second: loaded %d of %d bytes: %v", loaded, len(good), err)
	}
	if b.puts != 1 && len(b.data[key]) <= len(good) {
		t.Errorf("kept again without being more")
	}

	foreign := bytes.Clone(good)
	foreign[16] ^= 0xff // another driver's UUID
	for name, data := range map[string][]byte{"foreign": foreign, "truncated": good[:20], "noise": bytes.Repeat([]byte{0xa5}, 4096)} {
		b := &blobs{data: map[string][]byte{key: data}}
		if loaded, err := compile(t, b); err != nil || loaded != 0 || b.puts != 1 {
			t.Errorf("%s: loaded %d bytes, kept %d blobs: %v", name, loaded, b.puts, err)
		}
	}

	full := errors.New("disk full")
	if _, err := compile(t, &blobs{data: map[string][]byte{}, fail: full}); !errors.Is(err, full) {
		t.Errorf("a cache that cannot be kept: %v", err)
	}
}

// What a process compiled is on disk soon after, also if it ends without Close.
func TestPipelineCacheIsSavedSoon(t *testing.T) {
	b := &blobs{data: map[string][]byte{}}
	h, err := API().Open(0, hal.Options{Blob: b, Validate: validate()})
	if err != nil {
		missing(t, err)
	}
	src, err := shaders.Get("copy")
	if err != nil {
		t.Fatal(err)
	}
	tunables := []int32{64, 1, 1}
	remembers := h.(hal.Rememberer).Remembers
	if remembers(src, tunables) {
		t.Error("a kernel is remembered before it was compiled")
	}
	k, err := h.NewKernel(t.Context(), src, tunables)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		k.Free()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}()
	if !remembers(src, tunables) || remembers(src, []int32{32, 1, 1}) {
		t.Error("kernels are remembered by their tunables")
	}
	for b.Get("vulkan-pipelines-"+h.(*device).info.ID) == nil {
		select {
		case <-t.Context().Done():
			t.Fatal("the pipeline cache is not saved before Close")
		case <-time.After(saveAfter / 10):
		}
	}
}
