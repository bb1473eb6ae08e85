//go:build cgo && !noopencl

package opencl

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/gpu/opencl/clshim"
	"github.com/jgillich/go-opencl/cl"
)

// The binding's arrays: past the first it crashes, past the second it drops devices.
const (
	maxPlatforms = 32
	maxDevices   = 64
)

// API returns the implementation. It opens nothing before it is used.
func API() hal.API { return api{} }

type api struct{}

func (api) Name() string { return "opencl" }

func (api) Adapters() ([]hal.Info, error) {
	found, err := adapters()
	if err != nil {
		return nil, err
	}
	infos := make([]hal.Info, len(found))
	for i, a := range found {
		infos[i] = a.info
	}
	return infos, nil
}

func (api) Open(i int, o hal.Options) (hal.Device, error) {
	found, err := adapters()
	if err != nil {
		return nil, err
	}
	if i < 0 || i >= len(found) {
		return nil, invalid("no device %d, there are %d", i, len(found))
	}
	return open(found[i], o)
}

// adapter is a device before it is opened.
type adapter struct {
	dev  *cl.Device
	info hal.Info
}

// handle is the raw handle in a wrapper of the binding, which keeps it unexported in its first word.
// TestHandles guards the assumption.
func handle[T cl.Platform | cl.Device | cl.Context | cl.CommandQueue | cl.MemObject | cl.Program](wrapper *T) uintptr {
	return *(*uintptr)(unsafe.Pointer(wrapper))
}

// adapters lists every device of every platform in the loader's order. A platform that fails is left out, unless
// nothing else is found.
func adapters() ([]adapter, error) {
	if err := clshim.Load(); err != nil {
		return nil, noDevices("%w; install an OpenCL loader such as ocl-icd-libopencl1 and a driver such as "+
			"pocl-opencl-icd", err)
	}
	n, err := clshim.PlatformCount()
	switch {
	case codeOf(err) == clshim.PlatformNotFound || err == nil && n == 0:
		return nil, noDevices("the loader found no platform; install a driver such as pocl-opencl-icd")
	case err != nil:
		return nil, noDevices("list platforms: %w", err)
	case n > maxPlatforms:
		return nil, noDevices("%d platforms, the limit is %d; remove files from /etc/OpenCL/vendors", n, maxPlatforms)
	}
	platforms, err := cl.GetPlatforms()
	if err != nil {
		return nil, noDevices("list platforms: %w", err)
	}
	var found []adapter
	var errs []error
	for _, p := range platforms {
		of, err := platformAdapters(p)
		found = append(found, of...)
		errs = append(errs, err)
	}
	if len(found) > 0 {
		return found, nil
	}
	if err := errors.Join(errs...); err != nil {
		return nil, noDevices("no platform has a usable device (%w)", err)
	}
	// PoCL hides its devices where it cannot make its cache folder.
	return nil, noDevices("no platform has a device; install a driver such as pocl-opencl-icd, and see that " +
		"POCL_CACHE_DIR or HOME is writable if it is installed")
}

// platformAdapters lists the devices of a platform. One that cannot be asked about itself is left out, with its error.
func platformAdapters(p *cl.Platform) ([]adapter, error) {
	n, err := clshim.DeviceCount(handle(p))
	if codeOf(err) == clshim.DeviceNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, failed("list devices", err)
	}
	if n > maxDevices {
		return nil, fmt.Errorf("opencl: a platform has %d devices, the limit is %d", n, maxDevices)
	}
	devices, err := p.GetDevices(cl.DeviceTypeAll)
	if err != nil {
		return nil, failed("list devices", err)
	}
	var found []adapter
	var errs []error
	for _, d := range devices {
		info, err := describe(handle(p), handle(d))
		if err != nil {
			errs = append(errs, failed("ask a device about itself", err))
			continue
		}
		found = append(found, adapter{d, info})
	}
	return found, errors.Join(errs...)
}

func noDevices(format string, args ...any) error {
	return fmt.Errorf("opencl: "+format+": %w", append(args, driver.ErrNoDevices)...)
}
