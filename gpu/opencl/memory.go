//go:build cgo && !noopencl

package opencl

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/machine"
	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/gpu/opencl/clshim"
	"github.com/jgillich/go-opencl/cl"
)

// memory is a buffer. host is where the host sees it: SVM of unified devices, the mapping of staging memory, else nil.
type memory struct {
	dev    *device
	buf    *cl.MemObject
	size   int64
	kind   hal.MemoryKind
	host   unsafe.Pointer
	svm    unsafe.Pointer // of which host is a part
	mapped *cl.MappedMemObject

	reserved bool // counted in dev.used
}

func (d *device) Alloc(bytes int64, kind hal.MemoryKind) (hal.Memory, error) {
	if bytes <= 0 {
		return nil, invalid("allocate %d bytes", bytes)
	}
	if bytes > d.info.MaxBufferBytes {
		return nil, fmt.Errorf("opencl: allocate %d bytes: the device's limit for a buffer is %d: %w",
			bytes, d.info.MaxBufferBytes, driver.ErrOutOfMemory)
	}
	m := &memory{dev: d, size: bytes, kind: kind}
	if err := m.reserve(); err != nil {
		return nil, err
	}
	var err error
	switch {
	case kind == hal.StagingMemory:
		err = m.allocStaging()
	case d.info.Unified:
		err = m.allocShared()
	default:
		err = m.allocDevice()
	}
	if err != nil {
		m.Free()
		return nil, failed(fmt.Sprintf("allocate %d bytes", bytes), err)
	}
	return m, nil
}

// reserve counts the memory against what the device says it has. Drivers for CPUs hand out more, and the system kills
// the process once it is written. Staging memory counts where it is the device's memory too.
func (m *memory) reserve() error {
	if m.kind == hal.StagingMemory && m.dev.info.Type != driver.CPU {
		return nil
	}
	used := m.dev.used.Add(m.size)
	if used > m.dev.info.MemoryBytes {
		m.dev.used.Add(-m.size)
		return fmt.Errorf("opencl: allocate %d bytes: %d of the device's %d are in use: %w",
			m.size, used-m.size, m.dev.info.MemoryBytes, driver.ErrOutOfMemory)
	}
	m.reserved = true
	return nil
}

// allocStaging maps the buffer for its whole life.
func (m *memory) allocStaging() (err error) {
	m.buf, err = m.dev.ctx.CreateEmptyBuffer(cl.MemReadWrite|cl.MemAllocHostPtr, int(m.size))
	if err != nil {
		return err
	}
	mapped, event, err := m.dev.setup.EnqueueMapBuffer(m.buf, true, cl.MapFlagRead|cl.MapFlagWrite, 0, int(m.size), nil)
	if event != nil {
		event.Release()
	}
	if err != nil {
		return err
	}
	m.mapped, m.host = mapped, mapped.Ptr()
	return nil
}

// allocShared makes a buffer over memory that host and device share in place: on CPUs, whose memory is the host's own, of huge
// pages if it is large.
func (m *memory) allocShared() (err error) {
	huge := m.dev.info.Type == driver.CPU && m.size >= machine.Large && m.size <= m.dev.info.MaxBufferBytes-2*machine.HugePage
	room := m.size
	if huge {
		room += 2 * machine.HugePage
	}
	m.svm = clshim.SVMAlloc(handle(m.dev.ctx), room, 0)
	if m.svm == nil {
		return clshim.MemAllocationFailure
	}
	if m.host = m.svm; huge {
		m.host = unsafe.Add(m.svm, machine.Unaligned(m.svm))
		machine.Huge(unsafe.Slice((*byte)(m.host), m.size+machine.HugePage)) // the last one has to be whole
	}
	m.buf, err = m.dev.ctx.CreateBufferUnsafe(cl.MemReadWrite|cl.MemUseHostPtr, int(m.size), m.host)
	return err
}

// allocDevice makes a plain buffer and has the device write its first word: drivers put off taking the memory until a
// command uses it, and would report its lack only then.
func (m *memory) allocDevice() (err error) {
	m.buf, err = m.dev.ctx.CreateEmptyBuffer(cl.MemReadWrite, int(m.size))
	if err != nil || m.size < 4 {
		return err
	}
	event, err := clshim.Fill(handle(m.dev.setup), handle(m.buf), 0, 4, 0)
	if err != nil {
		return err
	}
	events := []uintptr{event}
	defer clshim.ReleaseEvents(events)
	return waitAll(events)
}

func (m *memory) Size() int64 { return m.size }

func (m *memory) Bytes() []byte {
	if m.host == nil {
		return nil
	}
	return unsafe.Slice((*byte)(m.host), m.size)
}

// Free gives up what Alloc took, and what a failed Alloc had taken so far.
func (m *memory) Free() {
	if m.mapped != nil {
		// Nothing can be done about a failure here: the buffer goes anyway.
		if event, err := m.dev.setup.EnqueueUnmapMemObject(m.buf, m.mapped, nil); err == nil {
			event.Release()
			_ = m.dev.setup.Finish()
		}
		m.mapped = nil
	}
	if m.buf != nil {
		m.buf.Release()
		m.buf = nil
	}
	if m.svm != nil {
		clshim.SVMFree(handle(m.dev.ctx), m.svm)
	}
	m.host, m.svm = nil, nil
	if m.reserved {
		m.dev.used.Add(-m.size)
		m.reserved = false
	}
	runtime.KeepAlive(m)
}

// view is a buffer of its own over a range, or another reference to the whole.
type view struct{ mem uintptr }

func (m *memory) View(off, bytes int64) (hal.View, error) {
	switch {
	case m.buf == nil:
		return nil, fmt.Errorf("opencl: view of freed memory: %w", driver.ErrClosed)
	case m.kind != hal.DeviceMemory:
		return nil, invalid("view of staging memory, which kernels cannot use")
	case off < 0 || bytes <= 0 || off > m.size || bytes > m.size-off:
		return nil, invalid("view of bytes %d to %d of %d", off, off+bytes, m.size)
	case off%m.dev.info.ViewAlignment != 0:
		return nil, invalid("view at %d, not a multiple of %d", off, m.dev.info.ViewAlignment)
	}
	defer runtime.KeepAlive(m)
	if off == 0 && bytes == m.size {
		if err := clshim.RetainMem(handle(m.buf)); err != nil {
			return nil, failed("view", err)
		}
		return &view{handle(m.buf)}, nil
	}
	sub, err := clshim.SubBuffer(handle(m.buf), off, bytes)
	if err != nil {
		return nil, failed(fmt.Sprintf("view of %d bytes at %d", bytes, off), err)
	}
	return &view{sub}, nil
}

func (v *view) Free() {
	if v.mem != 0 {
		clshim.ReleaseMem(v.mem)
		v.mem = 0
	}
}
