package gpu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/gonvolve/gonvolve/engine/cache"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/shaders"
)

// leastBinding is what every device is taken to bind.
const leastBinding = 1 << 10

// Driver is a driver on one GPU API.
type Driver struct{ api hal.API }

// NewDriver makes a driver of an API.
func NewDriver(api hal.API) *Driver { return &Driver{api} }

// Devices implements driver.Driver.
func (d *Driver) Devices() ([]driver.Info, error) {
	adapters, err := d.api.Adapters()
	if err != nil {
		return nil, err
	}
	infos := make([]driver.Info, len(adapters))
	for i := range adapters {
		infos[i] = describe(&adapters[i])
	}
	return infos, nil
}

// describe completes what an adapter says of itself with what follows for tensors.
func describe(a *hal.Info) driver.Info {
	info := a.Info
	info.MaxTensorBytes = min(a.MaxBufferBytes, a.MemoryBytes) &^ 3
	return info
}

// Open implements driver.Driver. The device proves itself first: a device that fails what every kernel relies on is
// refused.
func (d *Driver) Open(ctx context.Context, i int, o driver.Options) (driver.Device, error) {
	dev, err := d.open(ctx, i, o, nil)
	if errors.Is(err, errTransfers) && ctx.Err() == nil {
		dev, err = d.open(ctx, i, o, err) // with the device's other queues
	}
	if err != nil {
		return nil, err
	}
	return dev, nil
}

// open opens a device; without its queues for transfers, where lost says how it was lost by them.
func (d *Driver) open(ctx context.Context, i int, o driver.Options, lost error) (*Device, error) {
	var kept *cache.Cache
	if !o.NoCache {
		kept = cache.Open()
	}
	source := shaders.BuiltIn()
	if o.Kernels != "" {
		adapters, err := d.api.Adapters()
		if err != nil {
			return nil, err
		}
		if i >= 0 && i < len(adapters) {
			if source, err = shaders.Overlay(os.DirFS(o.Kernels), o.Kernels, adapters[i].GLSL); err != nil {
				return nil, fmt.Errorf("%w: %w", driver.ErrInvalid, err)
			}
		}
	}
	h, err := d.api.Open(i, hal.Options{Blob: kept, Validate: o.Validate, Staged: o.Staged})
	if err != nil {
		return nil, err
	}
	limits := h.Info()
	dev := &Device{
		hal:     h,
		api:     d.api.Name(),
		limits:  limits,
		info:    describe(&limits),
		binding: min(limits.MaxBindingBytes, limits.MaxBufferBytes, 4*maxElements) &^ 3,
		pool:    newPool(h),
		streams: map[*stream]struct{}{},
		source:  source,
		kernels: map[kernelKey]*compiled{},
		turns:   make(chan struct{}, compilations),
	}
	dev.open, dev.shut = context.WithCancel(context.WithoutCancel(ctx))
	if err := dev.prove(ctx, kept, lost); err != nil {
		return nil, errors.Join(err, dev.Close())
	}
	if o.MaxBinding > 0 {
		dev.binding = min(dev.binding, max(o.MaxBinding, leastBinding)) &^ 3
	}
	return dev, nil
}

// Device is an open GPU.
type Device struct {
	hal    hal.Device
	api    string
	limits hal.Info
	info   driver.Info
	pool   *pool
	proof  proof
	source *shaders.Set
	// binding is how many bytes of a buffer kernels see at most.
	binding int64

	emulatedHalves bool // igemm_half_emulated is an algorithm: for tests
	emulatedLanes  int  // of a subgroup of igemm_coopmat_emulated, for tests; 0: it is no algorithm

	mu      sync.Mutex
	streams map[*stream]struct{}
	kernels map[kernelKey]*compiled
	clock   int64 // counts uses of kernels

	// Of compilation in the background.
	open     context.Context // until Close
	shut     context.CancelFunc
	tasks    sync.WaitGroup
	turns    chan struct{}
	switches []driver.Switch // guarded by mu
}

// Info implements driver.Device.
func (d *Device) Info() driver.Info { return d.info }

// SelfTest implements driver.SelfTester.
func (d *Device) SelfTest() []driver.Check { return d.proof.Checks }

// MemoryInUse implements driver.MemoryReporter.
func (d *Device) MemoryInUse() (used, held int64) { return d.pool.usage() }

// MemoryBudget implements driver.MemoryBudgeter.
func (d *Device) MemoryBudget() int64 {
	if b, ok := d.hal.(hal.Budgeter); ok {
		return b.MemoryBudget()
	}
	return 0
}

// SaveMemory implements driver.MemorySaver.
func (d *Device) SaveMemory() (stop func()) { return d.pool.save() }

// StagingBytes implements driver.MemorySaver.
func (d *Device) StagingBytes(transfer int64) int64 {
	if d.limits.Unified {
		return 0
	}
	return stagingSlots * slotBytes(transfer)
}

func (d *Device) openStreams() []*stream {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]*stream, 0, len(d.streams))
	for s := range d.streams {
		all = append(all, s)
	}
	return all
}

// Close implements driver.Device. Streams that are still open are closed; buffers that were not freed are reported.
func (d *Device) Close() error {
	d.mu.Lock()
	d.shut() // under mu: no task begins after it
	d.mu.Unlock()
	d.tasks.Wait()
	var errs []error
	for _, s := range d.openStreams() {
		errs = append(errs, s.Close())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range d.kernels {
		k.hal.Free()
	}
	clear(d.kernels)
	if used, _ := d.pool.usage(); used > 0 {
		errs = append(errs, fmt.Errorf("%d bytes of buffers or weights were not freed before Close", used))
	}
	d.pool.close()
	return errors.Join(append(errs, d.hal.Close())...)
}
