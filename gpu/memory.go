package gpu

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
)

const (
	blockBytes = 32 << 20  // taken from the API at a time, for small buffers
	idleBytes  = 256 << 20 // of unused blocks kept for reuse
)

// pool sub-allocates device memory from large blocks.
type pool struct {
	dev   hal.Device
	align int64
	limit int64 // bytes that may be held

	mu     sync.Mutex
	blocks []*block
	used   int64 // bytes of live buffers, rounded up
	held   int64 // bytes taken from the API
	savers int   // who asked that nothing be held beside what is used
}

// block is one piece of memory of the API with its unused spans, by offset, never adjacent to each other.
type block struct {
	mem  hal.Memory
	size int64
	free []span
}

type span struct{ off, size int64 }

func newPool(dev hal.Device) *pool {
	info := dev.Info()
	return &pool{dev: dev, align: max(info.ViewAlignment, 256), limit: info.MemoryBytes}
}

// region is a part of a block.
type region struct {
	block *block
	span
}

// alloc takes bytes of memory, rounded up to the alignment.
func (p *pool) alloc(bytes int64) (region, error) {
	size := max(1, (bytes+p.align-1)/p.align) * p.align
	p.mu.Lock()
	defer p.mu.Unlock()
	if r, ok := p.find(size); ok {
		return r, nil
	}
	want := size
	if info := p.dev.Info(); size <= blockBytes/2 && p.savers == 0 {
		want = min(blockBytes, max(size, info.MaxBufferBytes/p.align*p.align))
	}
	if p.held+want > p.limit {
		p.trim(0)
		want = size
	}
	if p.held+want > p.limit {
		return region{}, fmt.Errorf("%w: %d bytes wanted, %d of the device's %d in use", driver.ErrOutOfMemory, size, p.used, p.limit)
	}
	mem, err := p.dev.Alloc(want, hal.DeviceMemory)
	if err != nil && (p.trim(0) || want > size) {
		want = size
		mem, err = p.dev.Alloc(want, hal.DeviceMemory)
	}
	if err != nil {
		return region{}, err
	}
	p.held += want
	p.blocks = append(p.blocks, &block{mem: mem, size: want, free: []span{{0, want}}})
	r, _ := p.find(size)
	return r, nil
}

// find takes the tightest unused span that is large enough.
func (p *pool) find(size int64) (region, bool) {
	var best *block
	at := 0
	for _, b := range p.blocks {
		for i, s := range b.free {
			if s.size >= size && (best == nil || s.size < best.free[at].size) {
				best, at = b, i
			}
		}
	}
	if best == nil {
		return region{}, false
	}
	s := &best.free[at]
	r := region{best, span{s.off, size}}
	s.off, s.size = s.off+size, s.size-size
	if s.size == 0 {
		best.free = slices.Delete(best.free, at, at+1)
	}
	p.used += size
	return r, true
}

// release gives a region back, joined with its unused neighbours.
func (p *pool) release(r region) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := r.block
	i, _ := slices.BinarySearchFunc(b.free, r.off, func(s span, off int64) int { return cmp.Compare(s.off, off) })
	b.free = slices.Insert(b.free, i, r.span)
	if i+1 < len(b.free) && b.free[i].off+b.free[i].size == b.free[i+1].off {
		b.free[i].size += b.free[i+1].size
		b.free = slices.Delete(b.free, i+1, i+2)
	}
	if i > 0 && b.free[i-1].off+b.free[i-1].size == b.free[i].off {
		b.free[i-1].size += b.free[i].size
		b.free = slices.Delete(b.free, i, i+1)
	}
	p.used -= r.size
	p.trim(p.idle())
}

// idle is how much may be held that is not used. The caller holds mu.
func (p *pool) idle() int64 {
	if p.savers > 0 {
		return 0
	}
	return idleBytes
}

// save holds nothing that is not used, until stop is called.
func (p *pool) save() (stop func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.savers++
	p.trim(0)
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.savers--
	})
}

// trim returns wholly unused blocks to the API while more than keep bytes are unused; it tells whether any was.
func (p *pool) trim(keep int64) bool {
	before := len(p.blocks)
	p.blocks = slices.DeleteFunc(p.blocks, func(b *block) bool {
		if len(b.free) != 1 || b.free[0].size != b.size || p.held-p.used <= keep {
			return false
		}
		b.mem.Free()
		p.held -= b.size
		return true
	})
	return len(p.blocks) < before
}

func (p *pool) usage() (used, held int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used, p.held
}

// buffer is a region of the pool that kernels can see.
type buffer struct {
	*ref
	dev   *Device
	bytes int64
	at    region
	view  hal.View // of as much as kernels can bind, from the first byte on
	freed atomic.Bool

	mu    sync.Mutex
	views map[span]hal.View // of ranges
}

func (d *Device) newBuffer(bytes int64) (*buffer, error) {
	if bytes < 0 || bytes%4 != 0 {
		return nil, fmt.Errorf("%w: buffer of %d bytes", driver.ErrInvalid, bytes)
	}
	if bytes > d.info.MaxTensorBytes {
		return nil, fmt.Errorf("%w: buffer of %d bytes, the device's largest is %d", driver.ErrUnsupported, bytes, d.info.MaxTensorBytes)
	}
	at, err := d.pool.alloc(bytes)
	if err != nil {
		// What streams keep, and memory of finished work that nobody waited for yet, may be all that is missing.
		d.drain()
		if at, err = d.pool.alloc(bytes); err != nil {
			return nil, err
		}
	}
	view, err := at.block.mem.View(at.off, min(at.size, d.binding))
	if err != nil {
		d.pool.release(at)
		return nil, err
	}
	b := &buffer{dev: d, bytes: bytes, at: at, view: view}
	b.ref = newRef(func() {
		for _, v := range b.views {
			v.Free()
		}
		view.Free()
		d.pool.release(at)
	})
	return b, nil
}

// viewOf makes a range of the buffer visible to kernels, for as long as there is the buffer.
func (b *buffer) viewOf(r span) (hal.View, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if v := b.views[r]; v != nil {
		return v, nil
	}
	v, err := b.at.block.mem.View(b.at.off+r.off, r.size)
	if err != nil {
		return nil, err
	}
	if b.views == nil {
		b.views = map[span]hal.View{}
	}
	b.views[r] = v
	return v, nil
}

// Shared implements driver.Sharer.
func (d *Device) Shared(b driver.Buffer) []byte {
	own, err := d.own("buffer", b, 0)
	if err != nil || own.at.block.mem.Bytes() == nil {
		return nil
	}
	return own.at.block.mem.Bytes()[own.at.off:][:own.bytes:own.bytes]
}

// Alloc implements driver.Device.
func (d *Device) Alloc(bytes int64) (driver.Buffer, error) {
	b, err := d.newBuffer(bytes)
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (b *buffer) Bytes() int64 { return b.bytes }

func (b *buffer) Free() {
	if !b.freed.Swap(true) {
		b.drop()
	}
}

// own checks that a buffer is live, of this device, and of at least so many bytes.
func (d *Device) own(what string, b driver.Buffer, bytes int64) (*buffer, error) {
	own, ok := b.(*buffer)
	if !ok || own == nil || own.dev != d {
		return nil, fmt.Errorf("%w: %s is not a buffer of this device", driver.ErrInvalid, what)
	}
	if own.freed.Load() {
		return nil, fmt.Errorf("%w: %s", driver.ErrClosed, what)
	}
	if own.bytes < bytes {
		return nil, fmt.Errorf("%w: %s has %d bytes, %d are needed", driver.ErrInvalid, what, own.bytes, bytes)
	}
	return own, nil
}

// close returns everything to the API.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.blocks {
		b.mem.Free()
	}
	p.blocks, p.held, p.used = nil, 0, 0
}
