//go:build cgo && !novulkan

package vulkan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/gpu/vulkan/vkshim"
)

// device is a VkDevice with its queues, which everybody shares.
type device struct {
	inst   *instance
	a      adapter
	info   hal.Info
	handle vk.Device
	fn     *vkshim.Device

	work      *lane // for kernels, and for whatever comes after the first of them
	transfers transferLanes

	cache uint64 // the VkPipelineCache
	blobs hal.Blobs

	saving    sync.Mutex
	cacheKept int         // bytes of the cache that are on disk
	saver     *time.Timer // saves the cache, if that is to come
	closed    bool
}

func (inst *instance) open(i int, o hal.Options) (*device, error) {
	list, err := inst.adapters()
	if err != nil {
		return nil, err
	}
	if i < 0 || i >= len(list) {
		return nil, fmt.Errorf("vulkan: device %d of %d: %w", i, len(list), driver.ErrNoDevices)
	}
	d := &device{inst: inst, a: list[i], info: list[i].info, blobs: o.Blob}
	if d.a.api < version11 {
		return nil, unsupported("%s has %s: the kernels need Vulkan 1.1", d.info.Name, d.info.API)
	}
	if o.Staged {
		d.info.Unified = false
	}
	t, features := d.a.transfers, d.a.facts.Features
	if t.queues == 0 && !o.Staged {
		features &^= vkshim.Timelines
	}
	create := vkshim.DeviceInfo(d.a.api, d.a.family, t.family, t.queues, features, d.a.facts.Extensions)
	defer vkshim.Free(create)
	var h vk.Device
	if err := checkVK("open "+d.info.Name, vk.CreateDevice(d.a.phys, vk.NewDeviceCreateInfoRef(create), nil, &h)); err != nil {
		return nil, err
	}
	d.handle = h
	if d.fn, err = inst.loader.Device(unsafe.Pointer(inst.handle), unsafe.Pointer(h)); err != nil {
		vk.DestroyDevice(h, nil)
		return nil, unsupported("open %s: %v", d.info.Name, err)
	}
	if err = d.findLanes(o.Staged); err == nil {
		err = d.loadCache()
	}
	if err != nil {
		d.destroy()
		return nil, err
	}
	d.info.TransferQueues = len(d.transfers.all)
	return d, nil
}

func (d *device) Info() hal.Info { return d.info }

func (d *device) Close() error {
	d.saving.Lock()
	defer d.saving.Unlock()
	d.closed = true
	if d.saver != nil {
		d.saver.Stop()
	}
	// A lost device is destroyed like any other.
	err := checkVK("close "+d.info.Name, vk.DeviceWaitIdle(d.handle))
	if err == nil {
		err = d.saveCache()
	}
	d.destroy()
	return errors.Join(err, d.inst.release())
}

func (d *device) destroy() {
	if d.cache != 0 {
		vk.DestroyPipelineCache(d.handle, handle[vk.PipelineCache](d.cache), nil)
	}
	for _, l := range d.transfers.all {
		vk.DestroySemaphore(d.handle, handle[vk.Semaphore](l.timeline), nil)
	}
	vk.DestroyDevice(d.handle, nil)
	d.fn.Free()
}

func (d *device) cacheKey() string { return "vulkan-pipelines-" + d.info.ID }

// loadCache makes the pipeline cache, from what the last process left if it is this device's.
func (d *device) loadCache() error {
	var data []byte
	if d.blobs != nil {
		data = d.blobs.Get(d.cacheKey())
	}
	if !d.owns(data) {
		data = nil
	}
	cache, r := d.fn.PipelineCache(data)
	if r < 0 && len(data) > 0 { // a driver may refuse its own data, too: a miss
		data = nil
		cache, r = d.fn.PipelineCache(nil)
	}
	d.cache, d.cacheKept = cache, len(data)
	return check("make a pipeline cache", r)
}

// owns says whether data begins with the header that this device and driver put before their pipelines. Drivers are
// meant to check it themselves; not all of them do.
func (d *device) owns(data []byte) bool {
	const header = 16 + vk.UuidSize
	if len(data) < header {
		return false
	}
	size := binary.LittleEndian.Uint32(data)
	p := &d.a.props
	return size >= header && uint64(size) <= uint64(len(data)) &&
		binary.LittleEndian.Uint32(data[4:]) == uint32(vk.PipelineCacheHeaderVersionOne) &&
		binary.LittleEndian.Uint32(data[8:]) == p.VendorID &&
		binary.LittleEndian.Uint32(data[12:]) == p.DeviceID &&
		[vk.UuidSize]byte(data[16:header]) == p.PipelineCacheUUID
}

// saveAfter is how long the pipeline cache waits for more before it is saved: a process may end without Close.
const saveAfter = time.Second

// saveSoon saves the pipeline cache in a moment.
func (d *device) saveSoon() {
	d.saving.Lock()
	defer d.saving.Unlock()
	if d.closed || d.saver != nil {
		return
	}
	d.saver = time.AfterFunc(saveAfter, func() {
		d.saving.Lock()
		defer d.saving.Unlock()
		if d.saver = nil; !d.closed {
			_ = d.saveCache() // Close tries again, and reports
		}
	})
}

// saveCache leaves the pipeline cache to other processes, if there is more in it than there was. The caller holds saving.
func (d *device) saveCache() error {
	if d.blobs == nil {
		return nil
	}
	data, r := d.fn.PipelineCacheData(d.cache)
	if err := check("read the pipeline cache", r); err != nil {
		return err
	}
	if len(data) <= d.cacheKept {
		return nil
	}
	if err := d.blobs.Put(d.cacheKey(), data); err != nil {
		return fmt.Errorf("vulkan: keep the pipeline cache: %w", err)
	}
	d.cacheKept = len(data)
	return nil
}
