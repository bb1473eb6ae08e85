//go:build unix

package tensorio

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A pipe to which nobody writes is refused, not waited for.
func TestReadRefusesPipes(t *testing.T) {
	for _, name := range []string{"pipe.npy", "pipe.png"} {
		path := filepath.Join(t.TempDir(), name)
		if err := unix.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Read(path)
		oneLine(t, err, ErrFormat)
		_, err = TypeOf(path)
		oneLine(t, err, ErrFormat)
	}
}
