package cpu

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/cpu"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// Driver is the cpu driver: one device, the machine's processors together.
type Driver struct{}

// Devices implements driver.Driver.
func (Driver) Devices() ([]driver.Info, error) { return []driver.Info{info()}, nil }

// Open implements driver.Driver.
func (Driver) Open(_ context.Context, i int, _ driver.Options) (driver.Device, error) {
	if i != 0 {
		return nil, fmt.Errorf("%w: there is one cpu device, cpu:0", driver.ErrNoDevices)
	}
	return &Device{info: info()}, nil
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
	memory := totalMemory()
	return driver.Info{
		Name:           processorName(),
		Type:           driver.CPU,
		API:            "Go",
		Driver:         runtime.Version() + ", gonum",
		ID:             "cpu-" + runtime.GOARCH + "-" + runtime.Version(),
		MemoryBytes:    memory,
		MaxTensorBytes: memory,
		ComputeUnits:   runtime.GOMAXPROCS(0),
		Limits:         []driver.Fact{{Name: "SIMD of the processor", Value: simd}},
	}
}

// Device is the open cpu.
type Device struct {
	info   driver.Info
	used   atomic.Int64 // bytes of buffers
	closed atomic.Bool
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

// buffer is a tensor's memory. Work in flight holds the slice, so Free only lets go of it.
type buffer struct {
	dev   *Device
	data  []float32
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
	// Go cannot recover from running out of memory, so what does not fit the machine is refused.
	if used := d.used.Add(bytes); used > d.info.MemoryBytes {
		d.used.Add(-bytes)
		return nil, fmt.Errorf("%w: %d bytes more than the %d that this machine has", driver.ErrOutOfMemory, used-d.info.MemoryBytes, d.info.MemoryBytes)
	}
	return &buffer{dev: d, data: make([]float32, bytes/4), bytes: bytes}, nil
}

func (b *buffer) Bytes() int64 { return b.bytes }

func (b *buffer) Free() {
	if b.freed.CompareAndSwap(false, true) {
		b.dev.used.Add(-b.bytes)
	}
}

// floats is the memory of one of this driver's buffers that is large enough and was not freed.
func floats(b driver.Buffer, elems int64) ([]float32, error) {
	own, ok := b.(*buffer)
	if !ok || own == nil {
		return nil, fmt.Errorf("%w: not a buffer of the cpu device", driver.ErrInvalid)
	}
	if own.freed.Load() {
		return nil, fmt.Errorf("%w: buffer", driver.ErrClosed)
	}
	if int64(len(own.data)) < elems {
		return nil, fmt.Errorf("%w: buffer of %d elements, %d are needed", driver.ErrInvalid, len(own.data), elems)
	}
	return own.data[:elems], nil
}

// algorithms that can run a problem, best first.
var algorithms = []struct {
	name string
	why  string
	can  func(*problem.Problem) bool
}{
	{"gemm", "im2col and gonum's matrix product", func(p *problem.Problem) bool { return p.Op == problem.Conv && p.Dir == problem.Forward }},
	{"direct", "one pass over each window", func(p *problem.Problem) bool { return p.Op == problem.Pool && p.Dir == problem.Forward }},
	{"reference", "float64 loops, rounded once", func(p *problem.Problem) bool { return p.Dir == problem.Forward }},
}

// plain says whether a problem is all that this driver runs so far.
func plain(p *problem.Problem) bool {
	relu := [problem.MaxPost]problem.PostOp{{Kind: problem.ReLU}}
	return p.Op <= problem.Pool && p.Dir != problem.BackwardBias && *p == p.Core() && p.Kind != problem.Lp && !p.Adaptive &&
		p.Indices == problem.NoIndices && p.PadMode == problem.Zeros && !p.Fused() && p.Divisor == 0 &&
		(len(p.Posts()) == 0 || p.Post == relu)
}

// Algorithms implements driver.Device.
func (d *Device) Algorithms(p problem.Problem) []string {
	var names []string
	if !plain(&p) {
		return nil
	}
	for _, a := range algorithms {
		if a.can(&p) {
			names = append(names, a.name)
		}
	}
	return names
}

// Plan implements driver.Device.
func (d *Device) Plan(_ context.Context, p problem.Problem, o driver.PlanOptions) (driver.Plan, error) {
	if err := d.open(); err != nil {
		return nil, err
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	name := o.Algorithm
	names := d.Algorithms(p)
	if name == "" && len(names) > 0 {
		name = names[0]
	}
	for _, a := range algorithms {
		if a.name == name && plain(&p) && a.can(&p) {
			pl := &plan{dev: d, p: p, info: driver.PlanInfo{Algorithm: a.name, Why: a.why}}
			if a.name == "gemm" {
				pl.gemm = newGemm(&p)
				pl.info.WorkspaceBytes = pl.gemm.workspaceBytes()
				pl.info.Tile = fmt.Sprintf("%d columns", pl.gemm.columns)
			}
			pl.info.WeightsBytes = 4 * (problem.Elems(p.Shape(problem.Wei)) + problem.Elems(p.Shape(problem.Bia)))
			if err := d.checkMemory(&p, pl.info); err != nil {
				return nil, err
			}
			return pl, nil
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: cpu has no %s %s in %s yet", driver.ErrUnsupported, p.Dir, p.Op, p.Type)
	}
	return nil, fmt.Errorf("%w: algorithm %q cannot run this problem on cpu; %v can", driver.ErrUnsupported, name, names)
}

// checkMemory refuses a problem whose tensors together do not fit the machine.
func (d *Device) checkMemory(p *problem.Problem, i driver.PlanInfo) error {
	need := 4*float64(problem.Elems(p.Shape(problem.Src))) + 4*float64(problem.Elems(p.Shape(problem.Dst))) +
		2*float64(i.WeightsBytes) + float64(i.WorkspaceBytes)
	if need > float64(d.info.MemoryBytes) {
		return fmt.Errorf("%w: the tensors take %.4g GiB, the machine has %.4g: use a smaller problem or a machine with more memory",
			driver.ErrUnsupported, need/(1<<30), float64(d.info.MemoryBytes)/(1<<30))
	}
	return nil
}
