// Package cache keeps what may be kept between runs (compiled kernels, self-test results) in the user's cache folder.
// GONVOLVE_CACHE moves the folder, GONVOLVE_CACHE=off does without. Every entry carries its key and a checksum, and is
// written to a temporary file and renamed: whatever is absent, torn, corrupt or somebody else's is simply a miss.
package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const (
	magic    = "gonvolve-cache-1\n"
	maxEntry = 64 << 20 // bytes; larger entries are neither written nor read
	maxKey   = 4096
)

// Cache is a folder of entries. A nil *Cache is a cache that is off. It is safe for concurrent use, also by several
// processes.
type Cache struct{ dir string }

// Open returns the user's cache, or nil if GONVOLVE_CACHE=off or there is no folder to put it in. It creates nothing.
func Open() *Cache {
	dir := os.Getenv("GONVOLVE_CACHE")
	if dir == "off" {
		return nil
	}
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil
		}
		dir = filepath.Join(user, "gonvolve")
	}
	return &Cache{dir: dir}
}

// At returns a cache in the folder.
func At(dir string) *Cache { return &Cache{dir: dir} }

// Dir is the folder, or "" when the cache is off.
func (c *Cache) Dir() string {
	if c == nil {
		return ""
	}
	return c.dir
}

func (c *Cache) path(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(c.dir, hex.EncodeToString(sum[:16]))
}

// header is what stands before the data: magic, checksum of key and data, key length, key.
func header(key string, data []byte) []byte {
	sum := sha256.New()
	sum.Write([]byte(key))
	sum.Write([]byte{0})
	sum.Write(data)
	h := append([]byte(magic), sum.Sum(nil)...)
	h = binary.LittleEndian.AppendUint32(h, uint32(len(key)))
	return append(h, key...)
}

// Get returns what was Put under the key, or nil.
func (c *Cache) Get(key string) []byte {
	if c == nil || len(key) > maxKey {
		return nil
	}
	f, err := os.Open(c.path(key))
	if err != nil {
		return nil
	}
	defer f.Close()
	all, err := io.ReadAll(io.LimitReader(f, maxEntry+1))
	if err != nil || len(all) > maxEntry {
		return nil
	}
	n := len(header(key, nil))
	if len(all) < n || !bytes.Equal(all[:n], header(key, all[n:])) {
		return nil
	}
	return all[n:]
}

// Put stores data under the key.
func (c *Cache) Put(key string, data []byte) error {
	if c == nil {
		return nil
	}
	h := header(key, data)
	if len(key) > maxKey || len(h)+len(data) > maxEntry {
		return fmt.Errorf("cache: entry of %d bytes is larger than %d", len(data), maxEntry)
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return fmt.Errorf("cache: %w (GONVOLVE_CACHE=off does without)", err)
	}
	f, err := os.CreateTemp(c.dir, ".new-*")
	if err != nil {
		return fmt.Errorf("cache: %w (GONVOLVE_CACHE=off does without)", err)
	}
	defer os.Remove(f.Name()) // fails once the file was renamed
	_, err = f.Write(append(h, data...))
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), c.path(key))
	}
	if err != nil {
		return fmt.Errorf("cache: %w (GONVOLVE_CACHE=off does without)", err)
	}
	return nil
}
