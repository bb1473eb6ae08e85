//go:build cgo && !noopencl

package clshim

import (
	"errors"
	"slices"
	"testing"
)

// TestBeforeLoad: whatever is called without an OpenCL library reports that, and nothing crashes.
func TestBeforeLoad(t *testing.T) {
	if Has("clGetPlatformIDs") {
		t.Skip("OpenCL is preloaded or linked")
	}
	if _, err := PlatformCount(); !errors.Is(err, Missing) {
		t.Errorf("PlatformCount: %v", err)
	}
	if err := Flush(0); !errors.Is(err, Missing) {
		t.Errorf("Flush: %v", err)
	}
	if _, err := SubBuffer(0, 0, 4); !errors.Is(err, Missing) {
		t.Errorf("SubBuffer: %v", err)
	}
	if p := SVMAlloc(0, 4, 0); p != nil {
		t.Errorf("SVMAlloc: %v", p)
	}
	if err := SetArgs(0, []uintptr{0}, nil); !errors.Is(err, Missing) {
		t.Errorf("SetArgs: %v", err)
	}
	if _, err := Launch(0, 0, &[3]uintptr{}, &[3]uintptr{}); !errors.Is(err, Missing) {
		t.Errorf("Launch: %v", err)
	}
	if _, err := DeviceString(0, DeviceName); !errors.Is(err, Missing) {
		t.Errorf("DeviceString: %v", err)
	}
}

func TestLoadAgain(t *testing.T) {
	defer func(names []string) { Libraries, loaded.done = names, false }(Libraries)
	if len(Libraries) == 0 || Has("clGetPlatformIDs") {
		t.Skip("OpenCL is preloaded or linked")
	}
	Libraries = []string{"libOpenCL-of-nobody.so.9", "libOpenCL-of-no-one.so"}
	if err := Load(); err == nil {
		t.Error("loaded a library that does not exist")
	}
	// A failure is not final.
	Libraries = append(Libraries, "libc.so.6")
	if err := Load(); err != nil {
		t.Error(err)
	}
	if Has("clGetPlatformIDs") || !Has("malloc") {
		t.Error("Has does not look in the library")
	}
}

func TestCodes(t *testing.T) {
	for code, want := range map[Code]string{
		OutOfResources:   "CL_OUT_OF_RESOURCES",
		InvalidValue:     "CL_INVALID_VALUE",
		PlatformNotFound: "CL_PLATFORM_NOT_FOUND_KHR",
		-72:              "CL_MAX_SIZE_RESTRICTION_EXCEEDED",
		-20:              "OpenCL error -20",
		-73:              "OpenCL error -73",
		7:                "OpenCL error 7",
	} {
		if got := code.Error(); got != want {
			t.Errorf("%d: %s, want %s", int32(code), got, want)
		}
	}
	if check(0) != nil || check(-5) != OutOfResources {
		t.Error("check")
	}
}

func TestWords(t *testing.T) {
	b := []byte{7, 7, 7, 7, 7, 7, 7, 7, 7}
	for size, want := range map[int][]uint64{4: {0x07070707, 0x07070707}, 8: {0x0707070707070707}, 0: nil, 3: nil} {
		if got := Words(b, size); !slices.Equal(got, want) {
			t.Errorf("words of %d: %x, want %x", size, got, want)
		}
	}
	if text([]byte("  name \x00junk")) != "name" || text(nil) != "" {
		t.Error("text")
	}
}
