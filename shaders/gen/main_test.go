package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/shaders/internal/dialect"
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

// A module of a newer compiler stays while its source does, and is named where it does not.
func TestNewerCompiler(t *testing.T) {
	if _, err := exec.LookPath("glslc"); err != nil {
		if os.Getenv("GONVOLVE_REQUIRE_DRIVERS") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "spirv"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "spirv", "a.spv"), []byte("module"), 0o600); err != nil {
		t.Fatal(err)
	}
	const source = "words that this compiler does not know"
	was := dialect.Entry{Source: dialect.Hash([]byte(source)), SPIRV: dialect.Hash([]byte("module")), Compiler: "newer 7"}
	c := compilers{dir: dir, committed: dialect.Manifest{Kernels: map[string]dialect.Entry{"a": was}}}
	if module, entry, err := c.compile("a", source); err != nil || string(module) != "module" || entry != was {
		t.Errorf("%q, %+v, %v; want what was committed", module, entry, err)
	}
	if _, _, err := c.compile("a", source+" more"); err == nil || !strings.Contains(err.Error(), "newer 7") {
		t.Errorf("a changed source: %v, want the compiler's name", err)
	}
}
