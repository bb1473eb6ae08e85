//go:build cgo && !noopencl

package opencl

import (
	"errors"
	"fmt"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/opencl/clshim"
	"github.com/jgillich/go-opencl/cl"
)

// bindingCodes are the binding's errors that callers treat apart. The others print well enough as they are.
var bindingCodes = map[error]clshim.Code{
	cl.ErrDeviceNotFound:             clshim.DeviceNotFound,
	cl.ErrDeviceNotAvailable:         clshim.DeviceNotAvailable,
	cl.ErrMemObjectAllocationFailure: clshim.MemAllocationFailure,
	cl.ErrOutOfResources:             clshim.OutOfResources,
	cl.ErrOutOfHostMemory:            clshim.OutOfHostMemory,
	cl.ErrInvalidBufferSize:          clshim.InvalidBufferSize,
}

// codeOf finds the OpenCL code of an error of the binding or of clshim; 0 if there is none.
func codeOf(err error) clshim.Code {
	var code clshim.Code
	if errors.As(err, &code) {
		return code
	}
	var other cl.ErrOther
	if errors.As(err, &other) {
		return clshim.Code(other)
	}
	return bindingCodes[err]
}

// failed says what failed with OpenCL's name for it, and wraps the sentinel that it amounts to.
func failed(what string, err error) error {
	code := codeOf(err)
	if code != 0 {
		err = code
	}
	switch code {
	case clshim.MemAllocationFailure, clshim.OutOfResources, clshim.OutOfHostMemory, clshim.InvalidBufferSize:
		return fmt.Errorf("opencl: %s: %w: %w", what, err, driver.ErrOutOfMemory)
	case clshim.DeviceNotAvailable, clshim.InvalidContext, clshim.InvalidCommandQueue, clshim.IllegalAccess:
		// Contexts and queues are this package's own and live: one that the driver calls invalid is one that it gave up.
		return fmt.Errorf("opencl: %s: %w: %w", what, err, driver.ErrDeviceLost)
	case clshim.Missing:
		return fmt.Errorf("opencl: %s: %w: %w", what, err, driver.ErrUnsupported)
	}
	return fmt.Errorf("opencl: %s: %w", what, err)
}

// invalid is an error about the caller's arguments.
func invalid(format string, args ...any) error {
	return fmt.Errorf("opencl: "+format+": %w", append(args, driver.ErrInvalid)...)
}
