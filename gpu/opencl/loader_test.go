//go:build cgo && !noopencl && linux

package opencl

import (
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/jgillich/go-opencl/cl"
)

// libraryVar has a child of the test look for another loader: the one that is loaded belongs to the whole process.
const libraryVar = "GONVOLVE_TEST_OPENCL_LIBRARY"

// child runs one test of this binary with a different environment.
func child(t *testing.T, test string, env ...string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+test) {
		t.Errorf("%s with %v: %v\n%s", test, env, err, out)
	}
}

func TestMissingLoader(t *testing.T) {
	if os.Getenv(libraryVar) == "" {
		child(t, t.Name(), libraryVar+"=libOpenCL-of-nobody.so.9")
		return
	}
	_, err := API().Adapters()
	if !errors.Is(err, driver.ErrNoDevices) || !strings.Contains(err.Error(), "libOpenCL-of-nobody.so.9 not found") ||
		!strings.Contains(err.Error(), "install") {
		t.Error(err)
	}
	// The binding, called all the same, gets an error and not a crash.
	if _, err := cl.GetPlatforms(); err == nil {
		t.Error("the binding found platforms without a loader")
	}
}

// TestNotALoader loads a library that has none of the functions.
func TestNotALoader(t *testing.T) {
	if os.Getenv(libraryVar) == "" {
		child(t, t.Name(), libraryVar+"=libc.so.6")
		return
	}
	if _, err := API().Adapters(); !errors.Is(err, driver.ErrNoDevices) || !strings.Contains(err.Error(), "update it") {
		t.Error(err)
	}
}

func TestNoPlatform(t *testing.T) {
	const vendors = "OCL_ICD_VENDORS"
	if os.Getenv(vendors) == "" {
		_, err := API().Adapters()
		need(t, err)
		child(t, t.Name(), vendors+"="+t.TempDir())
		return
	}
	if _, err := API().Adapters(); !errors.Is(err, driver.ErrNoDevices) || !strings.Contains(err.Error(), "install") {
		t.Error(err)
	}
}

// TestNotLinked: a program with this package must start on a machine without OpenCL.
func TestNotLinked(t *testing.T) {
	f := must(elf.Open(os.Args[0]))(t)
	defer f.Close()
	libs := must(f.ImportedLibraries())(t)
	if slices.ContainsFunc(libs, func(l string) bool { return strings.Contains(l, "OpenCL") }) {
		t.Errorf("the binary needs %v", libs)
	}
}

// TestHandles guards what handle assumes: each wrapper begins with its handle, a pointer.
func TestHandles(t *testing.T) {
	for _, w := range []any{cl.Platform{}, cl.Device{}, cl.Context{}, cl.CommandQueue{}, cl.MemObject{}, cl.Program{}} {
		typ := reflect.TypeOf(w)
		f := typ.Field(0)
		if f.Offset != 0 || f.Type.Size() != unsafe.Sizeof(uintptr(0)) ||
			f.Type.Kind() != reflect.Pointer && f.Type.Kind() != reflect.UnsafePointer {
			t.Errorf("%v begins with %s %v", typ, f.Name, f.Type)
		}
	}
	if n := unsafe.Sizeof(cl.Platform{}) + unsafe.Sizeof(cl.Device{}); n != 2*unsafe.Sizeof(uintptr(0)) {
		t.Errorf("platform and device are more than their handles: %d bytes", n)
	}
}
