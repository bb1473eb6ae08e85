package gpu

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/shaders"
)

// idleKernels is how many compiled kernels that no plan uses are kept.
const idleKernels = 64

// kernelKey tells compiled kernels apart: the body and its tunables.
type kernelKey struct{ name, tunables string }

// kernel is a compiled kernel of the device, shared by plans.
type kernel struct {
	hal   hal.Kernel
	name  string
	local [3]int // work-group size
	users int    // plans that hold it
	used  int64  // device clock of the last use
}

// kernel compiles a kernel, or shares one that is compiled. tunables are in the kernel's order, work-group size first.
// The caller gives it back by release.
func (d *Device) kernel(ctx context.Context, name string, tunables ...int32) (*kernel, error) {
	src, err := shaders.Get(name)
	if err != nil {
		return nil, err
	}
	if len(tunables) != len(src.Tunables) {
		return nil, fmt.Errorf("kernel %s takes %d tunables, not %d", name, len(src.Tunables), len(tunables))
	}
	key := kernelKey{name, fmt.Sprint(tunables)}
	d.mu.Lock()
	if k := d.kernels[key]; k != nil {
		k.users++
		d.mu.Unlock()
		return k, nil
	}
	d.mu.Unlock()
	compiled, err := d.hal.NewKernel(ctx, src, tunables)
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if k := d.kernels[key]; k != nil { // another goroutine was faster
		compiled.Free()
		k.users++
		return k, nil
	}
	k := &kernel{hal: compiled, name: name, local: [3]int{int(tunables[0]), int(tunables[1]), int(tunables[2])}, users: 1}
	d.kernels[key] = k
	return k, nil
}

// release gives a kernel back, and lets the longest unused ones go.
func (d *Device) release(k *kernel) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clock++
	k.users--
	k.used = d.clock
	idle := 0
	var oldest kernelKey
	for key, k := range d.kernels {
		if k.users > 0 {
			continue
		}
		if idle == 0 || k.used < d.kernels[oldest].used {
			oldest = key
		}
		idle++
	}
	if idle > idleKernels {
		d.kernels[oldest].hal.Free()
		delete(d.kernels, oldest)
	}
}

// dispatches covers items of work with groups of the kernel, in as few dispatches as the device's group counts allow.
// params makes the parameters of a dispatch from the item that it starts at.
func (d *Device) dispatches(k *kernel, items [3]int, params func(base [3]int) any) ([]hal.Command, error) {
	var step [3]int // items of a dispatch
	for i := range step {
		groups := (items[i] + k.local[i] - 1) / k.local[i]
		step[i] = int(min(int64(groups), d.limits.MaxGroupCount[i])) * k.local[i]
		if step[i] == 0 {
			return nil, nil
		}
	}
	var cmds []hal.Command
	var base [3]int
	for base[2] = 0; base[2] < items[2]; base[2] += step[2] {
		for base[1] = 0; base[1] < items[1]; base[1] += step[1] {
			for base[0] = 0; base[0] < items[0]; base[0] += step[0] {
				p, err := binary.Append(nil, binary.LittleEndian, params(base))
				if err != nil {
					return nil, fmt.Errorf("parameters of %s: %w", k.name, err)
				}
				c := hal.Command{Op: hal.Dispatch, Kernel: k.hal, Params: p}
				for i := range c.Groups {
					c.Groups[i] = (min(step[i], items[i]-base[i]) + k.local[i] - 1) / k.local[i]
				}
				cmds = append(cmds, c)
			}
		}
	}
	return cmds, nil
}
