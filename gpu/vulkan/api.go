//go:build cgo && !novulkan

package vulkan

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/gpu/vulkan/vkshim"
)

// Versions of Vulkan, as Vulkan packs them.
const (
	version10 uint32 = 1 << 22
	version11 uint32 = 1<<22 | 1<<12
	version13 uint32 = 1<<22 | 3<<12
)

var theAPI = &api{libraries: libraries()}

// API is Vulkan.
func API() hal.API { return theAPI }

// libraries are the names that the Vulkan loader goes by.
func libraries() []string {
	switch runtime.GOOS {
	case "windows":
		return []string{"vulkan-1.dll"}
	case "darwin":
		return []string{"libvulkan.1.dylib", "libvulkan.dylib", "libMoltenVK.dylib"}
	case "android", "openbsd":
		return []string{"libvulkan.so"}
	}
	return []string{"libvulkan.so.1", "libvulkan.so"}
}

type api struct {
	libraries []string

	mu     sync.Mutex
	loader *vkshim.Loader
	shared *instance // made on first use and kept
}

func (a *api) Name() string { return "vulkan" }

func (a *api) Adapters() ([]hal.Info, error) {
	inst, err := a.instance()
	if err != nil {
		return nil, err
	}
	list, err := inst.adapters()
	if err != nil {
		return nil, err
	}
	infos := make([]hal.Info, len(list))
	for i := range list {
		infos[i] = list[i].info
	}
	return infos, nil
}

func (a *api) Open(i int, o hal.Options) (hal.Device, error) {
	inst, err := a.instance()
	if err != nil {
		return nil, err
	}
	if o.Validate {
		if inst, err = a.validated(); err != nil {
			return nil, err
		}
	}
	d, err := inst.open(i, o)
	if err != nil {
		return nil, errors.Join(err, inst.release())
	}
	return d, nil
}

// instance returns the instance that all devices without validation share. It is kept for the rest of the process,
// because making one loads every driver of the machine and not all of them survive being unloaded.
func (a *api) instance() (*instance, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.shared != nil {
		return a.shared, nil
	}
	if a.loader == nil {
		loader, err := vkshim.Open(a.libraries)
		if err != nil {
			return nil, fmt.Errorf("vulkan: %w (%w); install the Vulkan loader (libvulkan1) and a driver such as mesa-vulkan-drivers", driver.ErrNoDevices, err)
		}
		a.loader = loader
	}
	inst, err := newInstance(a.loader, nil)
	if err != nil {
		return nil, err
	}
	a.shared = inst
	return inst, nil
}

// validated makes an instance with the validation layer, for one device.
func (a *api) validated() (*instance, error) {
	if !a.loader.HasLayer(vkshim.ValidationLayer) {
		return nil, unsupported("%s is not installed (Debian's package is vulkan-validationlayers)", vkshim.ValidationLayer)
	}
	messages := vkshim.NewMessages()
	inst, err := newInstance(a.loader, messages)
	if err != nil {
		messages.Free()
		return nil, err
	}
	return inst, nil
}

// The binding's function pointers are global and belong to no instance. The loader's functions are the same for every
// instance, so looking them up once is enough, and later would be a race with whoever is calling them.
var bindLoader, bindInstance once

// once is a sync.Once that remembers how it went.
type once struct {
	sync.Once
	err error
}

func (o *once) do(f func() error) error {
	o.Do(func() { o.err = f() })
	return o.err
}

// instance is a VkInstance, with messages if it validates.
type instance struct {
	loader    *vkshim.Loader
	handle    vk.Instance
	version   uint32
	messages  *vkshim.Messages
	messenger uint64
}

func newInstance(loader *vkshim.Loader, m *vkshim.Messages) (*instance, error) {
	err := bindLoader.do(func() error {
		vk.SetGetInstanceProcAddr(loader.GetInstanceProcAddr())
		return vk.Init()
	})
	if err != nil {
		return nil, fmt.Errorf("vulkan: %w: %w", driver.ErrNoDevices, err)
	}
	inst := &instance{loader: loader, version: version10, messages: m}
	if loader.Version() >= version11 {
		inst.version = version13 // what a loader after 1.0 may be asked for, whatever it has itself
	}
	create := vkshim.InstanceInfo(inst.version, loader.HasExtension("VK_KHR_portability_enumeration"), m)
	defer vkshim.Free(create)
	var h vk.Instance // a local: cgo lets C write to no field of a struct that has Go pointers
	r := vk.CreateInstance(vk.NewInstanceCreateInfoRef(create), nil, &h)
	inst.handle = h
	switch {
	case r == vk.ErrorIncompatibleDriver:
		return nil, fmt.Errorf("vulkan: %w: the loader found no driver; install one such as mesa-vulkan-drivers, or look at VK_DRIVER_FILES and VK_ICD_FILENAMES", driver.ErrNoDevices)
	case r == vk.ErrorOutOfHostMemory || r == vk.ErrorOutOfDeviceMemory:
		return nil, checkVK("create an instance", r)
	case r != vk.Success:
		return nil, fmt.Errorf("vulkan: %w: %w", driver.ErrNoDevices, checkVK("create an instance", r))
	}
	if err := bindInstance.do(func() error { return vk.InitInstance(h) }); err != nil {
		vk.DestroyInstance(inst.handle, nil)
		return nil, fmt.Errorf("vulkan: %w: %w", driver.ErrNoDevices, err)
	}
	if m != nil {
		messenger, r := loader.Attach(unsafe.Pointer(inst.handle), m)
		if err := check("listen to the validation layer", r); err != nil {
			vk.DestroyInstance(inst.handle, nil)
			return nil, err
		}
		inst.messenger = messenger
	}
	return inst, nil
}

// release destroys an instance that belongs to one device and returns what its validation layer said, as errors. The
// shared instance stays.
func (inst *instance) release() error {
	if inst.messages == nil {
		return nil
	}
	inst.loader.Detach(unsafe.Pointer(inst.handle), inst.messenger)
	vk.DestroyInstance(inst.handle, nil)
	var errs []error
	times := map[string]int{}
	said := inst.messages.Take()
	inst.messages.Free()
	for _, m := range said {
		times[m]++
	}
	for _, m := range said {
		if n := times[m]; n > 0 {
			errs = append(errs, fmt.Errorf("vulkan: validation (%d times): %s", n, m))
			times[m] = 0
		}
	}
	return errors.Join(errs...)
}
