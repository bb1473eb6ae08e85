//go:build cgo && !noopencl

package opencl

import (
	"fmt"
	"sync/atomic"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/gpu/opencl/clshim"
	"github.com/jgillich/go-opencl/cl"
)

// device is an open adapter: a context of its own with one device.
type device struct {
	adapter
	ctx   *cl.Context
	setup *cl.CommandQueue // maps staging memory and commits device memory; nobody else's work waits in it
	blobs hal.Blobs
	used  atomic.Int64 // bytes allocated of info.MemoryBytes
}

func open(a adapter, o hal.Options) (hal.Device, error) {
	if ok, err := clshim.DeviceUint(handle(a.dev), clshim.DeviceCompilerAvailable); err == nil && ok == 0 {
		return nil, fmt.Errorf("opencl: %s has no compiler: %w", a.info.Name, driver.ErrUnsupported)
	}
	ctx, err := cl.CreateContext([]*cl.Device{a.dev})
	if err != nil {
		return nil, failed("open "+a.info.Name, err)
	}
	setup, err := ctx.CreateCommandQueue(a.dev, 0)
	if err != nil {
		ctx.Release()
		return nil, failed("open "+a.info.Name, err)
	}
	if o.Staged {
		a.info.Unified = false
	}
	return &device{adapter: a, ctx: ctx, setup: setup, blobs: o.Blob}, nil
}

func (d *device) Info() hal.Info { return d.info }

func (d *device) Close() error {
	err := d.setup.Finish()
	d.setup.Release()
	d.ctx.Release()
	if err != nil {
		return failed("close "+d.info.Name, err)
	}
	return nil
}
