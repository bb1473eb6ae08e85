package gpu

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/shaders"
)

// idleKernels is how many compiled kernels that no plan uses are kept.
const idleKernels = 64

// kernelKey tells compiled kernels apart: the body and its tunables.
type kernelKey struct{ name, tunables string }

// kernel is a kernel with its tunables, for one user. It is compiled when its user says so.
type kernel struct {
	key      kernelKey
	src      *shaders.Kernel
	tunables []int32
	local    [3]int    // work-group size
	shared   *compiled // nil before
}

// compiled is a compiled kernel of the device, shared by those who use it.
type compiled struct {
	hal   hal.Kernel
	users int
	used  int64 // device clock of the last use
}

// handle is the compiled kernel, or nil.
func (k *kernel) handle() hal.Kernel {
	if k.shared == nil {
		return nil
	}
	return k.shared.hal
}

// named is a kernel that is not compiled yet. tunables are in the kernel's order, work-group size first; what a variant half
// has beside its body's is the device's.
func (d *Device) named(name string, tunables ...int32) (*kernel, error) {
	src, err := d.source.Get(name)
	if err != nil {
		return nil, err
	}
	if last := src.Tunables[len(src.Tunables)-1]; last.Name == shaders.NativeHalf {
		tunables = append(slices.Clip(tunables), d.proof.NativeHalf)
	}
	if len(tunables) != len(src.Tunables) {
		return nil, fmt.Errorf("kernel %s takes %d tunables, not %d", name, len(src.Tunables), len(tunables))
	}
	return &kernel{
		key: kernelKey{name, fmt.Sprint(tunables)}, src: src, tunables: tunables,
		local: [3]int{int(tunables[0]), int(tunables[1]), int(tunables[2])},
	}, nil
}

// compile compiles a kernel, or shares one that is compiled. The user gives it back by release.
func (d *Device) compile(ctx context.Context, k *kernel) error {
	if k.shared != nil || d.share(k, nil) {
		return nil
	}
	made, err := d.hal.NewKernel(ctx, k.src, k.tunables)
	if err != nil {
		return fmt.Errorf("kernel %s: %w", k.key.name, err)
	}
	if !d.share(k, made) { // another goroutine was faster
		made.Free()
	}
	return nil
}

// share gives a kernel what is compiled already, else what was made, if that is not nil. It says whether that was of use:
// whether the kernel has become one of those that are there.
func (d *Device) share(k *kernel, made hal.Kernel) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	have := d.kernels[k.key]
	found := have != nil
	if !found && made != nil {
		have = &compiled{hal: made}
		d.kernels[k.key] = have
	}
	if have == nil {
		return false
	}
	have.users++
	k.shared = have
	return found == (made == nil)
}

// kernel is named and compile in one.
func (d *Device) kernel(ctx context.Context, name string, tunables ...int32) (*kernel, error) {
	k, err := d.named(name, tunables...)
	if err == nil {
		err = d.compile(ctx, k)
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

// release gives a kernel back, and lets the longest unused ones go.
func (d *Device) release(k *kernel) {
	if k.shared == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clock++
	k.shared.users--
	k.shared.used = d.clock
	idle := 0
	var oldest kernelKey
	for key, c := range d.kernels {
		if c.users > 0 {
			continue
		}
		if idle == 0 || c.used < d.kernels[oldest].used {
			oldest = key
		}
		idle++
	}
	if idle > idleKernels {
		d.kernels[oldest].hal.Free()
		delete(d.kernels, oldest)
	}
}

// version is a kernel's name and what changes with its code, as this device's API gets it.
func (d *Device) version(k *shaders.Kernel) string {
	code := []byte(k.CL)
	if d.limits.GLSL {
		code = k.SPIRV
	}
	sum := sha256.Sum256(code)
	return k.Name + "@" + hex.EncodeToString(sum[:6])
}

// versions are those of all kernels of the names, as driver.PlanInfo.Kernels has them.
func (d *Device) versions(names ...string) string {
	slices.Sort(names)
	var list []string
	for _, name := range slices.Compact(names) {
		if k, err := d.source.Get(name); err == nil {
			list = append(list, d.version(k))
		}
	}
	return strings.Join(list, " ")
}

// Runs implements driver.Tuner.
func (d *Device) Runs(kernels string) bool {
	var names []string
	for v := range strings.FieldsSeq(kernels) {
		name, _, _ := strings.Cut(v, "@")
		names = append(names, name)
	}
	return len(names) > 0 && d.versions(names...) == kernels
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
					return nil, fmt.Errorf("parameters of %s: %w", k.key.name, err)
				}
				c := hal.Command{Op: hal.Dispatch, Kernel: k.handle(), Params: p}
				for i := range c.Groups {
					c.Groups[i] = (min(step[i], items[i]-base[i]) + k.local[i] - 1) / k.local[i]
				}
				cmds = append(cmds, c)
			}
		}
	}
	return cmds, nil
}
