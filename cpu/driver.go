package cpu

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/cpu"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/machine"
)

// Driver is the cpu driver: one device, the machine's processors together.
type Driver struct{}

// Devices implements driver.Driver.
func (Driver) Devices() ([]driver.Info, error) { return []driver.Info{info()}, nil }

// Open implements driver.Driver.
func (Driver) Open(_ context.Context, i int, o driver.Options) (driver.Device, error) {
	if o.Kernels != "" {
		return nil, fmt.Errorf("%w: the cpu's kernels are Go and assembly, not those of folder %s", driver.ErrUnsupported, o.Kernels)
	}
	if i != 0 {
		return nil, fmt.Errorf("%w: there is one cpu device, cpu:0", driver.ErrNoDevices)
	}
	isa := simd.Best()
	if name := os.Getenv("GONVOLVE_CPU"); name != "" {
		var err error
		if isa, err = simd.ParseISA(name); err != nil {
			return nil, fmt.Errorf("%w: GONVOLVE_CPU: %w", driver.ErrInvalid, err)
		}
	}
	return &Device{info: info(), isa: isa}, nil
}

func info() driver.Info {
	simd := "portable"
	switch {
	case cpu.X86.HasAVX512F:
		simd = "AVX-512"
	case cpu.X86.HasAVX2:
		simd = "AVX2"
	case cpu.ARM64.HasASIMD:
		simd = "NEON"
	}
	memory := machine.Memory()
	return driver.Info{
		Name:           machine.Processor(),
		Type:           driver.CPU,
		API:            "Go",
		Driver:         runtime.Version() + ", gonum",
		ID:             "cpu-" + runtime.GOARCH + "-" + runtime.Version(),
		MemoryBytes:    memory,
		MaxTensorBytes: memory,
		ComputeUnits:   processors(),
		Limits:         []driver.Fact{{Name: "SIMD of the processor", Value: simd}},
	}
}

// Device is the open cpu.
type Device struct {
	info   driver.Info
	isa    simd.ISA
	used   atomic.Int64 // bytes of buffers
	closed atomic.Bool
	arena  arena // scratch memory of runs
}

// Info implements driver.Device.
func (d *Device) Info() driver.Info { return d.info }

// Close implements driver.Device.
func (d *Device) Close() error { d.closed.Store(true); return nil }

// open returns an error once the device was closed.
func (d *Device) open() error {
	if d.closed.Load() {
		return fmt.Errorf("%w: device", driver.ErrClosed)
	}
	return nil
}

// MemoryInUse implements driver.MemoryReporter.
func (d *Device) MemoryInUse() (used, held int64) { u := d.used.Load(); return u, u }

// buffer is a tensor's memory, in whole words. Work in flight holds the slice, so Free only lets go of it.
type buffer struct {
	dev   *Device
	data  []uint32
	bytes int64
	freed atomic.Bool
}

// Alloc implements driver.Device.
func (d *Device) Alloc(bytes int64) (driver.Buffer, error) {
	if err := d.open(); err != nil {
		return nil, err
	}
	if bytes < 0 || bytes%4 != 0 {
		return nil, fmt.Errorf("%w: buffer of %d bytes", driver.ErrInvalid, bytes)
	}
	if err := d.take(bytes); err != nil {
		return nil, err
	}
	memory := machine.Alloc(bytes)
	return &buffer{dev: d, data: unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(memory))), bytes/4), bytes: bytes}, nil
}

// Shared implements driver.Sharer.
func (d *Device) Shared(b driver.Buffer) []byte {
	own, err := ownBuffer(b, 0)
	if err != nil {
		return nil
	}
	return view[byte](own, int(own.bytes))
}

// take counts memory. Go cannot recover from running out of it, so what does not fit the machine is refused.
func (d *Device) take(bytes int64) error {
	if used := d.used.Add(bytes); used > d.info.MemoryBytes {
		d.used.Add(-bytes)
		return fmt.Errorf("%w: %d bytes more than the %d that this machine has", driver.ErrOutOfMemory,
			used-d.info.MemoryBytes, d.info.MemoryBytes)
	}
	return nil
}

func (b *buffer) Bytes() int64 { return b.bytes }

func (b *buffer) Free() {
	if b.freed.CompareAndSwap(false, true) {
		b.dev.used.Add(-b.bytes)
	}
}

// ownBuffer is one of this driver's buffers that has so many bytes and was not freed.
func ownBuffer(b driver.Buffer, bytes int64) (*buffer, error) {
	own, ok := b.(*buffer)
	if !ok || own == nil {
		return nil, fmt.Errorf("%w: not a buffer of the cpu device", driver.ErrInvalid)
	}
	if own.freed.Load() {
		return nil, fmt.Errorf("%w: buffer", driver.ErrClosed)
	}
	if own.bytes < bytes {
		return nil, fmt.Errorf("%w: buffer of %d bytes, %d are needed", driver.ErrInvalid, own.bytes, bytes)
	}
	return own, nil
}
