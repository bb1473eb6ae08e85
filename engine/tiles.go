package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// tiles computes problems that a device cannot hold whole. Cutting stands on this package, so package tiling registers it.
type tiles struct {
	help    func(d *Device, p problem.Problem, why error) bool
	compute func(ctx context.Context, d *Device, p problem.Problem, in Operands, why error) (Operands, error)
}

var tiler *tiles // nil in programs without package tiling

// RegisterTiling is for package tiling, which calls it from init: by compute Compute and its like then run in tiles what a
// device cannot run whole, as why says, where help says that smaller tiles may do. compute notes that, and takes care of
// devices that fail on the way and of the one to fall back to.
func RegisterTiling(help func(d *Device, p problem.Problem, why error) bool,
	compute func(ctx context.Context, d *Device, p problem.Problem, in Operands, why error) (Operands, error)) {
	tiler = &tiles{help, compute}
}

// tooLarge is the error of a problem that is larger than the device, which names the way out.
type tooLarge struct {
	error
	way string
}

func (e *tooLarge) Error() string { return e.error.Error() + e.way }
func (e *tooLarge) Unwrap() error { return e.error }

// hint names the way out in an error about a problem that is larger than the device.
func (d *Device) hint(p *problem.Problem, err error) error {
	known := new(tooLarge)
	if !errors.Is(err, ErrOutOfMemory) && !errors.Is(err, ErrUnsupported) || errors.As(err, &known) || d.holds(p) {
		return err
	}
	if tiler == nil {
		return &tooLarge{err, "; in programs that import engine/tiling, Device.Compute runs it in tiles"}
	}
	return &tooLarge{err, "; Device.Compute and tiling.Prepare run it in tiles"}
}

// holds says whether a problem's tensors are no larger than the device allows, each and all together.
func (d *Device) holds(p *problem.Problem) bool {
	info := d.Info()
	more := func(bytes, limit int64) bool { return limit > 0 && bytes > limit }
	return !more(p.Bytes(), d.o.memory) && !more(p.Bytes(), info.MemoryBytes) && !more(largest(p), info.MaxTensorBytes)
}

// largest is the size of a problem's largest tensor, in bytes.
func largest(p *problem.Problem) (bytes int64) {
	for _, list := range [][]problem.Role{p.Constants(), p.Inputs(), p.Outputs()} {
		for _, r := range list {
			bytes = max(bytes, p.BytesOf(r))
		}
	}
	return bytes
}

// withinLimit is an error if a problem takes more than WithMemLimit allows, with what a plan takes besides.
func (d *Device) withinLimit(p *problem.Problem, i driver.PlanInfo) error {
	if d.o.memory <= 0 {
		return nil
	}
	need := p.Bytes() + i.WeightsBytes + i.WorkspaceBytes
	if m, ok := d.Driver().(driver.MemorySaver); ok {
		need += m.StagingBytes(largest(p))
	}
	if need <= d.o.memory {
		return nil
	}
	err := fmt.Errorf("%w: %d bytes wanted, the memory limit is %d", ErrOutOfMemory, need, d.o.memory)
	return fmt.Errorf("%s: %w", d.spec, d.hint(p, err))
}
