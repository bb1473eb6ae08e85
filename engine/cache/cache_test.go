package cache

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	c := At(filepath.Join(t.TempDir(), "new"))
	if got := c.Get("k"); got != nil {
		t.Fatalf("empty cache returned %q", got)
	}
	for _, data := range [][]byte{[]byte("one"), {}, bytes.Repeat([]byte{7}, 1<<20)} {
		if err := c.Put("k", data); err != nil {
			t.Fatal(err)
		}
		if got := c.Get("k"); got == nil || !bytes.Equal(got, data) {
			t.Fatalf("got %d bytes back, want %d", len(got), len(data))
		}
	}
	if got := c.Get("other"); got != nil {
		t.Fatal("another key found the entry")
	}
}

// Every single-byte fault, every truncation and a foreign entry under the right name are misses.
func TestDamageIsAMiss(t *testing.T) {
	c := At(t.TempDir())
	if err := c.Put("key", []byte("payload")); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(c.path("key"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(b []byte) {
		if err := os.WriteFile(c.path("key"), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 0x40
		write(damaged)
		if c.Get("key") != nil {
			t.Fatalf("a fault in byte %d was not noticed", i)
		}
		write(whole[:i])
		if c.Get("key") != nil {
			t.Fatalf("a truncation to %d bytes was not noticed", i)
		}
	}
	write(append(header("foreign", []byte("payload")), "payload"...))
	if c.Get("key") != nil {
		t.Fatal("a foreign entry was taken")
	}
}

func TestOff(t *testing.T) {
	t.Setenv("GONVOLVE_CACHE", "off")
	c := Open()
	if err := c.Put("k", []byte("x")); err != nil || c.Get("k") != nil || c.Dir() != "" {
		t.Fatal("a cache that is off must keep nothing and fail nothing")
	}
	t.Setenv("GONVOLVE_CACHE", "/elsewhere")
	if Open().Dir() != "/elsewhere" {
		t.Fatal("GONVOLVE_CACHE does not move the cache")
	}
}

func TestUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := At(file).Put("k", []byte("x")); err == nil {
		t.Fatal("writing below a file must fail")
	}
}
