package gpu

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
)

// Tiles is the grid of the kernel reformat.
var Tiles = tiles

// RunKernel runs a kernel once over a flat grid. Its first two parameters, items and the width of the grid, are put
// before params. The buffers are rounded up to words and hold afterwards what the device left in them.
func RunKernel(
	ctx context.Context, dev driver.Device, name string, tunables []int32, items int, params []int32, buffers ...[]byte,
) error {
	d := dev.(*Device)
	gx, groups := flat(items, 64)
	return runGroups(ctx, d, name, tunables, groups, append([]int32{int32(items), int32(gx)}, params...), buffers...)
}

// RunPeak runs a kernel that measures a peak once, by one work-group of 64, for so many rounds. The buffers are as RunKernel's.
func RunPeak(ctx context.Context, dev driver.Device, name string, tunables []int32, rounds int32, buffers ...[]byte) error {
	return runGroups(ctx, dev.(*Device), name, tunables, [3]int{1, 1, 1}, []int32{rounds}, buffers...)
}

func runGroups(
	ctx context.Context, d *Device, name string, tunables []int32, groups [3]int, params []int32, buffers ...[]byte,
) error {
	k, err := d.kernel(ctx, name, append([]int32{64, 1, 1}, tunables...)...)
	if err != nil {
		return err
	}
	defer d.release(k)
	s, err := d.newStream(false)
	if err != nil {
		return err
	}
	var views []hal.View
	var own []*buffer
	for _, data := range buffers {
		b, err := d.newBuffer(int64(len(data)))
		if err != nil {
			return err
		}
		defer b.Free()
		if err := s.Write(ctx, b, 0, data); err != nil {
			return err
		}
		own, views = append(own, b), append(views, b.view)
	}
	bytes, err := binary.Append(nil, binary.LittleEndian, params)
	if err != nil {
		return err
	}
	e, err := s.run(ctx, []hal.Command{{Op: hal.Dispatch, Kernel: k.handle(), Groups: groups, Views: views, Params: bytes}})
	if err != nil {
		return err
	}
	if err := e.Wait(ctx); err != nil {
		return err
	}
	for i, b := range own {
		if err := s.Read(ctx, buffers[i], b, 0); err != nil {
			return err
		}
	}
	return s.Close()
}

// AsGPU makes a device choose as a GPU with so many compute units would.
func AsGPU(dev driver.Device, units int) {
	d := dev.(*Device)
	d.info.Type, d.info.ComputeUnits = driver.Discrete, units
}

// WithoutDot makes a device do without its dot products of bytes.
func WithoutDot(dev driver.Device) { dev.(*Device).proof.Dot = false }

// AccelerateDot makes a device's dot products fast ones.
func AccelerateDot(dev driver.Device) { dev.(*Device).limits.DotFast = true }

// EmulateMatrices makes igemm_coopmat_emulated an algorithm of the device, with subgroups of so many lanes.
func EmulateMatrices(dev driver.Device, lanes int) { dev.(*Device).emulatedLanes = lanes }

// EmulateHalves makes igemm_half_emulated an algorithm of the device.
func EmulateHalves(dev driver.Device) { dev.(*Device).emulatedHalves = true }

// MatrixProduct is the self-test of cooperative matrices by an algorithm.
func MatrixProduct(ctx context.Context, dev driver.Device, algorithm string) (wrong string, err error) {
	d := dev.(*Device)
	s, err := d.newStream(false)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return d.matrixProduct(ctx, s, algorithm)
}

// InParts says whether a plan cuts its reduction into parts.
func InParts(info driver.PlanInfo) bool {
	return strings.Contains(info.Why, "the reduction is cut into")
}
