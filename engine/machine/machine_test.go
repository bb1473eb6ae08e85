package machine_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/gonvolve/gonvolve/engine/machine"
)

func TestMachine(t *testing.T) {
	memory, most := machine.Memory(), machine.LargestAllocation()
	if memory < 1<<20 || memory > 1<<47 || most < 1<<20 || most > 1<<47 {
		t.Errorf("a machine of %d bytes that gives %d at most", memory, most)
	}
	if machine.Processor() == "" {
		t.Error("a processor without a name")
	}
}

// A file is in the file system of its folder, what is not there in none.
func TestDisk(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a, known := machine.Disk(path)
	b, too := machine.Disk(dir)
	if a != b || known != too || !known && runtime.GOOS == "linux" {
		t.Errorf("a file in %d (known: %v), its folder in %d (%v)", a, known, b, too)
	}
	if _, known := machine.Disk(path + ".other"); known {
		t.Error("a file that is not there has a disk")
	}
}
