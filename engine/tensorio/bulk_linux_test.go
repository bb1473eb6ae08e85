package tensorio

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// forget has the system's cache forget a file.
func forget(t *testing.T, f *os.File) {
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
}
