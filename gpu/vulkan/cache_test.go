//go:build cgo && !novulkan

package vulkan

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/gpu/hal"
)

// blobs is a cache in memory.
type blobs struct {
	data map[string][]byte
	puts int
	fail error
}

func (b *blobs) Get(key string) []byte { return b.data[key] }

func (b *blobs) Put(key string, data []byte) error {
	if b.fail != nil {
		return b.fail
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
	q, err := d.NewQueue(true)
	if err != nil {
		t.Fatal(err)
	}
	if err := round(t, d, q, 256, 0, 1); err != nil {
		t.Error(err)
	}
	q.Free()
	return d.cacheLoaded, h.Close()
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
