// Package faultyhal makes GPU APIs fail as package faulty makes drivers fail, one level lower: so package gpu's own ways out
// of errors run, its memory pool, its streams and the lists that they keep.
//
//	f := faulty.New(faulty.Options{Seed: 7, Lost: 0.01})
//	d := gpu.NewDriver(faultyhal.API(f, vulkan.API()))
package faultyhal

import (
	"context"
	"slices"
	"time"

	"github.com/gonvolve/gonvolve/engine/faulty"
	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/shaders"
)

// API makes an API fail.
func API(f *faulty.Faults, a hal.API) hal.API { return &api{f, a} }

type api struct {
	f *faulty.Faults
	hal.API
}

func (a *api) Open(i int, o hal.Options) (hal.Device, error) {
	faults := a.f.Device()
	if err := faults.Call(context.Background(), "hal.Open", faulty.Takes); err != nil {
		return nil, err
	}
	d, err := a.API.Open(i, o)
	if err != nil {
		return nil, err
	}
	a.f.Count("hal devices", 1)
	return &device{faults, a.f, d}, nil
}

type device struct {
	*faulty.Device
	f *faulty.Faults
	d hal.Device
}

func (d *device) Info() hal.Info { return d.d.Info() }

func (d *device) DisableTransferQueues() {
	if q, ok := d.d.(hal.TransferQueuer); ok {
		q.DisableTransferQueues()
	}
}

func (d *device) Close() error {
	fault := d.Call(context.Background(), "hal.Device.Close", faulty.Plain)
	d.f.Count("hal devices", -1)
	if err := d.d.Close(); err != nil {
		return err
	}
	return fault
}

// takes decides over a call that makes something.
func (d *device) takes(method string) error {
	return d.Call(context.Background(), method, faulty.Takes)
}

func (d *device) Alloc(bytes int64, kind hal.MemoryKind) (hal.Memory, error) {
	if err := d.takes("hal.Alloc"); err != nil {
		return nil, err
	}
	m, err := d.d.Alloc(bytes, kind)
	if err != nil {
		return nil, err
	}
	d.f.Count("blocks of memory", 1)
	return &memory{d, m, kind == hal.DeviceMemory && d.Unshared("hal.Alloc")}, nil
}

func (d *device) NewKernel(ctx context.Context, k *shaders.Kernel, tunables []int32) (hal.Kernel, error) {
	if err := d.Call(ctx, "hal.NewKernel", faulty.Takes); err != nil {
		return nil, err
	}
	c, err := d.d.NewKernel(ctx, k, tunables)
	if err != nil {
		return nil, err
	}
	d.f.Count("kernels", 1)
	return &kernel{d, c}, nil
}

func (d *device) NewQueue(timed bool) (hal.Queue, error) {
	if err := d.takes("hal.NewQueue"); err != nil {
		return nil, err
	}
	q, err := d.d.NewQueue(timed)
	if err != nil {
		return nil, err
	}
	d.f.Count("queues", 1)
	return &queue{d, q}, nil
}

type memory struct {
	d *device
	hal.Memory
	unshared bool
}

func (m *memory) Bytes() []byte {
	if m.unshared {
		return nil
	}
	return m.Memory.Bytes()
}

func (m *memory) View(off, bytes int64) (hal.View, error) {
	if err := m.d.takes("hal.View"); err != nil {
		return nil, err
	}
	v, err := m.Memory.View(off, bytes)
	if err != nil {
		return nil, err
	}
	m.d.f.Count("views", 1)
	return &view{m.d, v}, nil
}

func (m *memory) Free() {
	m.d.f.Count("blocks of memory", -1)
	m.Memory.Free()
}

type view struct {
	d *device
	v hal.View
}

func (v *view) Free() {
	v.d.f.Count("views", -1)
	v.v.Free()
}

type kernel struct {
	d *device
	k hal.Kernel
}

func (k *kernel) Free() {
	k.d.f.Count("kernels", -1)
	k.k.Free()
}

type queue struct {
	d *device
	q hal.Queue
}

// inner is commands on the API's own objects.
func inner(cmds []hal.Command) []hal.Command {
	cmds = slices.Clone(cmds)
	for i := range cmds {
		c := &cmds[i]
		if k, ok := c.Kernel.(*kernel); ok {
			c.Kernel = k.k
		}
		c.Views = slices.Clone(c.Views)
		for k, w := range c.Views {
			if w, ok := w.(*view); ok {
				c.Views[k] = w.v
			}
		}
		if m, ok := c.Dst.(*memory); ok {
			c.Dst = m.Memory
		}
		if m, ok := c.Src.(*memory); ok {
			c.Src = m.Memory
		}
	}
	return cmds
}

func (q *queue) Submit(cmds []hal.Command) (hal.Fence, error) {
	if err := q.d.takes("hal.Submit"); err != nil {
		return nil, err
	}
	return q.d.fence(q.q.Submit(inner(cmds)))
}

func (q *queue) Record(cmds []hal.Command) (hal.Recorded, error) {
	if err := q.d.takes("hal.Record"); err != nil {
		return nil, err
	}
	r, err := q.q.Record(inner(cmds))
	if err != nil {
		return nil, err
	}
	q.d.f.Count("recorded lists", 1)
	return &recorded{q.d, r}, nil
}

func (q *queue) Free() {
	q.d.f.Count("queues", -1)
	q.q.Free()
}

type recorded struct {
	d *device
	r hal.Recorded
}

func (r *recorded) Submit() (hal.Fence, error) {
	if err := r.d.takes("hal.Recorded.Submit"); err != nil {
		return nil, err
	}
	return r.d.fence(r.r.Submit())
}

func (r *recorded) Free() {
	r.d.f.Count("recorded lists", -1)
	r.r.Free()
}

// fence counts what a submission returned.
func (d *device) fence(f hal.Fence, err error) (hal.Fence, error) {
	if err != nil {
		return nil, err
	}
	d.f.Count("fences", 1)
	return &fence{d, f}, nil
}

type fence struct {
	d *device
	f hal.Fence
}

func (f *fence) Wait(ctx context.Context) error {
	if err := f.d.Call(ctx, "hal.Fence.Wait", faulty.Plain); err != nil {
		return err
	}
	return f.f.Wait(ctx)
}

func (f *fence) Times() []time.Duration { return f.f.Times() }

func (f *fence) Free() {
	f.d.f.Count("fences", -1)
	f.f.Free()
}
