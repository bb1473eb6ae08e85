package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWriteCompare: what write left, compare accepts; anything else it names.
func TestWriteCompare(t *testing.T) {
	dir := t.TempDir()
	spirv := filepath.Join(dir, "spirv")
	put := func(name, data string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(spirv, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string][]byte{"a.spv": []byte("a"), "manifest.json": []byte("{}\n")}
	if err := os.Mkdir(spirv, 0o700); err != nil {
		t.Fatal(err)
	}
	put("gone.spv", "the body of this one was deleted")
	if err := write(dir, files); err != nil {
		t.Fatal(err)
	}
	if err := compare(dir, files); err != nil {
		t.Errorf("compare after write: %v", err)
	}

	put("a.spv", "other")
	put("extra.spv", "")
	err := compare(dir, files)
	if err == nil || !strings.Contains(err.Error(), "a.spv") || !strings.Contains(err.Error(), "extra.spv") {
		t.Errorf("compare = %v, want both names", err)
	}
	if err := os.Remove(filepath.Join(spirv, "a.spv")); err != nil {
		t.Fatal(err)
	}
	if err := compare(dir, files); err == nil {
		t.Error("compare accepts a missing file")
	}
}
