//go:build cgo && !noopencl

package opencl

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/gpu/opencl/clshim"
	"github.com/gonvolve/gonvolve/shaders"
)

// kernel is a compiled kernel. Its arguments are state of the OpenCL object, so mu spans setting them and enqueuing.
type kernel struct {
	name       string
	entry      string // its function
	buffers    int
	paramBytes int
	local      [3]uintptr

	mu  sync.Mutex
	raw uintptr
}

func (d *device) NewKernel(ctx context.Context, k *shaders.Kernel, tunables []int32) (hal.Kernel, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(tunables) != len(k.Tunables) {
		return nil, invalid("kernel %s: %d values for %d tunables", k.Name, len(tunables), len(k.Tunables))
	}
	if k.CL == "" {
		return nil, fmt.Errorf("opencl: kernel %s has no OpenCL C source: %w", k.Name, driver.ErrUnsupported)
	}
	made := &kernel{name: k.Name, entry: k.Entry, buffers: k.Buffers, paramBytes: k.ParamBytes, local: groupSize(k, tunables)}
	items := uint64(1)
	for i, n := range made.local {
		items *= uint64(n)
		if n < 1 || n > uintptr(d.info.MaxGroupSize[i]) || items > uint64(d.info.MaxGroupItems) {
			return nil, fmt.Errorf("opencl: kernel %s: work-group of %v, the device's limits are %v and %d in all: %w",
				k.Name, made.local, d.info.MaxGroupSize, d.info.MaxGroupItems, driver.ErrUnsupported)
		}
	}
	raw, err := d.compile(k, buildOptions(k, tunables, d.info.VectorWidth))
	if err != nil {
		return nil, err
	}
	made.raw = raw
	if err := d.fits(made, items); err != nil {
		made.Free()
		return nil, err
	}
	return made, nil
}

func (k *kernel) Free() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.raw != 0 {
		clshim.ReleaseKernel(k.raw)
		k.raw = 0
	}
}

// groupSize is the work-group size among the tunables.
func groupSize(k *shaders.Kernel, tunables []int32) [3]uintptr {
	size := [3]uintptr{1, 1, 1}
	for i, t := range k.Tunables {
		if d := slices.Index([]string{"LX", "LY", "LZ"}, t.Name); d >= 0 {
			size[d] = uintptr(max(tunables[i], 0))
		}
	}
	return size
}

// buildOptions spells the tunables. Options that let the compiler change results (-cl-fast-relaxed-math and its
// parts) have no place here: results are checked bit by bit.
func buildOptions(k *shaders.Kernel, tunables []int32, vectorWidth int) string {
	var b strings.Builder
	b.WriteString("-cl-std=CL1.2 -w") // some drivers print warnings to the terminal
	width := int32(vectorWidth)
	for i, t := range k.Tunables {
		if t.Name == "VW" {
			width = tunables[i]
			continue
		}
		fmt.Fprintf(&b, " -D %s=%d", t.Name, tunables[i])
	}
	fmt.Fprintf(&b, " -D VW=%d", width)
	return b.String()
}

// cacheKey is where a kernel's binary is kept.
func (d *device) cacheKey(k *shaders.Kernel, options string) string {
	return "opencl-" + hash(k.CL, options, k.Name, d.info.ID)
}

// Remembers implements hal.Rememberer.
func (d *device) Remembers(k *shaders.Kernel, tunables []int32) bool {
	return d.blobs != nil && len(tunables) == len(k.Tunables) &&
		d.blobs.Get(d.cacheKey(k, buildOptions(k, tunables, d.info.VectorWidth))) != nil
}

// compile makes a kernel from the cached binary if there is one that works, else from source.
func (d *device) compile(k *shaders.Kernel, options string) (uintptr, error) {
	key := d.cacheKey(k, options)
	if raw, ok := d.fromBinary(k.Entry, key, options); ok {
		return raw, nil
	}
	program, err := d.ctx.CreateProgramWithSource([]string{k.CL})
	if err != nil {
		return 0, failed("kernel "+k.Name, err)
	}
	defer program.Release()
	if log, err := clshim.Build(handle(program), handle(d.dev), options); err != nil {
		return 0, failed(fmt.Sprint("compile ", k.Explain(log)), err)
	}
	raw, err := clshim.CreateKernel(handle(program), k.Entry)
	if err != nil {
		return 0, failed("kernel "+k.Name, err)
	}
	if d.blobs != nil {
		if binary, err := clshim.Binary(handle(program)); err == nil && len(binary) > 0 {
			// A cache that cannot be written costs time, not results.
			_ = d.blobs.Put(key, sealed(binary))
		}
	}
	return raw, nil
}

// fromBinary makes a kernel from the cache. Whatever goes wrong is a miss.
func (d *device) fromBinary(name, key, options string) (uintptr, bool) {
	if d.blobs == nil {
		return 0, false
	}
	binary, ok := unsealed(d.blobs.Get(key))
	if !ok {
		return 0, false
	}
	program, err := clshim.ProgramWithBinary(handle(d.ctx), handle(d.dev), binary)
	if err != nil {
		return 0, false
	}
	defer clshim.ReleaseProgram(program)
	if _, err := clshim.Build(program, handle(d.dev), options); err != nil {
		return 0, false
	}
	raw, err := clshim.CreateKernel(program, name)
	return raw, err == nil
}

// sealed puts a checksum before a binary: drivers trust the binaries they are given and crash on damaged ones.
func sealed(binary []byte) []byte {
	sum := sha256.Sum256(binary)
	return append(sum[:], binary...)
}

func unsealed(blob []byte) ([]byte, bool) {
	if len(blob) <= sha256.Size {
		return nil, false
	}
	sum := sha256.Sum256(blob[sha256.Size:])
	return blob[sha256.Size:], bytes.Equal(sum[:], blob[:sha256.Size])
}

// fits checks what only the compiled kernel knows, so that a kernel that cannot run is refused before it is enqueued.
func (d *device) fits(k *kernel, items uint64) error {
	want := k.buffers
	if k.paramBytes > 0 {
		want++
	}
	n, err := clshim.KernelArgs(k.raw)
	if err != nil {
		return failed("kernel "+k.name, err)
	}
	if n != want {
		return invalid("kernel %s: has %d arguments, want %d", k.name, n, want)
	}
	most, err := clshim.KernelUint(k.raw, handle(d.dev), clshim.KernelWorkGroupSize)
	if err != nil {
		return failed("kernel "+k.name, err)
	}
	local, err := clshim.KernelUint(k.raw, handle(d.dev), clshim.KernelLocalMemSize)
	if err != nil {
		return failed("kernel "+k.name, err)
	}
	if items > most || local > uint64(d.info.LocalBytes) {
		return fmt.Errorf("opencl: kernel %s: %d work-items of at most %d, %d bytes of local memory of at most %d: %w",
			k.name, items, most, local, d.info.LocalBytes, driver.ErrUnsupported)
	}
	return nil
}
