package gpu

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
)

// Sizes of the measurement of peaks.
const (
	peakRuns     = 8
	peakTime     = 10 * time.Millisecond // that a submission should take, beside which its overhead does not count
	peakCommands = 64                    // of a submission
	peakRounds   = 1024                  // of peak_fma
	peakItems    = 2048                  // of peak_fma on a compute unit
	peakBytes    = int64(256) << 20      // of a copy
	peakBytesCPU = int64(64) << 20
)

// MeasurePeaks implements driver.Peaker.
func (d *Device) MeasurePeaks(ctx context.Context) (p driver.Peaks, err error) {
	ds, err := d.NewStream()
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, ds.Close()) }()
	s, ok := ds.(*stream)
	if !ok {
		return p, fmt.Errorf("%w: a stream of another driver", driver.ErrInvalid)
	}
	m := &peakMeter{dev: d, stream: s}
	if p.GFLOPS, err = m.multiplyAdds(ctx, "peak_fma"); err != nil {
		return p, err
	}
	if d.proof.HalfArithmetic {
		if p.HalfGFLOPS, err = m.multiplyAdds(ctx, "peak_fma.packed"); err != nil {
			return p, err
		}
	}
	if d.proof.Matrix != (hal.Matrix{}) {
		if p.MatrixGFLOPS, err = m.matrices(ctx, "peak_matrix.matrix", d.proof.Matrix, d.limits.SubgroupLanes); err != nil {
			return p, err
		}
	}
	p.GBPS, err = m.copies(ctx)
	return p, err
}

// peakMeter measures rates of commands.
type peakMeter struct {
	dev    *Device
	stream *stream
}

// rate runs a command, each time so often that the time is worth measuring, and returns work/ns at best.
func (m *peakMeter) rate(ctx context.Context, c hal.Command, work float64, holds ...*ref) (float64, error) {
	cmds := []hal.Command{c}
	best := 0.0
	for run := 0; run <= peakRuns; run++ {
		start := time.Now()
		e, err := m.stream.run(ctx, cmds, holds...)
		if err != nil {
			return 0, err
		}
		if err := e.Wait(ctx); err != nil {
			return 0, err
		}
		took := time.Since(start)
		if run == 0 { // warm; how many of them fill the time
			for n := min(peakCommands, int(peakTime/max(1, took))); len(cmds) < n; {
				cmds = append(cmds, c)
			}
			continue
		}
		best = max(best, work*float64(len(cmds))/float64(took))
	}
	return best, nil
}

// buffers are two of one size, the first filled with a float.
func (m *peakMeter) buffers(ctx context.Context, bytes int64, value float32) (from, to *buffer, err error) {
	if from, err = m.dev.newBuffer(bytes); err != nil {
		return nil, nil, err
	}
	if to, err = m.dev.newBuffer(bytes); err == nil {
		err = errors.Join(m.stream.Fill(ctx, from, math.Float32bits(value)), m.stream.Fill(ctx, to, 0))
	}
	if err != nil {
		from.Free()
		if to != nil {
			to.Free()
		}
		return nil, nil, err
	}
	return from, to, nil
}

// multiplyAdds is the rate of a kernel's fused multiply-adds in registers, by as many chains as suit the device best.
func (m *peakMeter) multiplyAdds(ctx context.Context, kernel string) (float64, error) {
	best := 0.0
	for _, chains := range []int{1, 2, 4, 8, 12, 16} {
		got, err := m.chains(ctx, kernel, chains)
		if err != nil {
			return 0, err
		}
		best = max(best, got)
	}
	return best, nil
}

// chains is the rate of a kernel's multiply-adds in so many chains.
func (m *peakMeter) chains(ctx context.Context, kernel string, chains int) (float64, error) {
	d := m.dev
	local := min(64, d.limits.MaxGroupItems)
	if d.class() == straight {
		local = 1
	}
	items := peakItems * max(1, d.info.ComputeUnits)
	if d.class() != gpuClass {
		items = 64 * max(1, d.info.ComputeUnits)
	}
	items = min(roundUp(items, local), int(d.limits.MaxGroupCount[0])*local)
	// 0.5 and 0.5: all sums approach 1.
	from, to, err := m.buffers(ctx, int64(4*items), 0.5)
	if err != nil {
		return 0, err
	}
	defer from.Free()
	defer to.Free()
	k, err := d.kernel(ctx, kernel, int32(local), 1, 1, int32(chains), 0)
	if err != nil {
		return 0, err
	}
	defer d.release(k)
	rounds := min(peakRounds, d.proof.LoopLimit/4)
	c := hal.Command{
		Op: hal.Dispatch, Kernel: k.handle(), Groups: [3]int{items / local, 1, 1}, Views: []hal.View{from.view, to.view},
		Params: binary.LittleEndian.AppendUint32(nil, uint32(rounds)),
	}
	work := 2 * 8 * float64(rounds) * float64(chains) * float64(d.limits.VectorWidth) * float64(items)
	return m.rate(ctx, c, work, from.ref, to.ref)
}

// matrices is the rate of multiply-adds by cooperative matrices, by as many chains and subgroups as suit the device best.
func (m *peakMeter) matrices(ctx context.Context, kernel string, shape hal.Matrix, lanes int) (float64, error) {
	d := m.dev
	groups := int(min(int64(16*d.units()), d.limits.MaxGroupCount[0]))
	from, to, err := m.buffers(ctx, int64(4*groups*max(lanes, d.limits.MaxGroupItems)), 1)
	if err != nil {
		return 0, err
	}
	defer from.Free()
	defer to.Free()
	best := 0.0
	for _, chains := range []int{1, 2, 4, 8} {
		for _, subgroups := range []int{4, 8} {
			items := subgroups * lanes
			right := (shape.K + chains) * shape.N
			elems := shape.M*shape.K + right
			local := 2*elems + 4*subgroups*shape.M*shape.N
			if items > d.limits.MaxGroupItems || items > d.limits.MaxGroupSize[0] || int64(local) > d.limits.LocalBytes ||
				int64(2*elems) > from.Bytes() {
				continue
			}
			k, err := d.kernel(ctx, kernel, words(items, 1, 1, chains, shape.M, shape.N, shape.K, lanes)...)
			if err != nil {
				return 0, err
			}
			rounds := min(peakRounds/4, d.proof.LoopLimit/4)
			c := hal.Command{
				Op: hal.Dispatch, Kernel: k.handle(), Groups: [3]int{groups, 1, 1}, Views: []hal.View{from.view, to.view},
				Params: binary.LittleEndian.AppendUint32(nil, uint32(rounds)),
			}
			work := 2 * 8 * float64(rounds) * float64(chains*shape.M*shape.N*shape.K) * float64(subgroups*groups)
			got, err := m.rate(ctx, c, work, from.ref, to.ref)
			d.release(k)
			if err != nil {
				return 0, err
			}
			best = max(best, got)
		}
	}
	return best, nil
}

// copies is the rate of a copy in the device's memory, by a kernel or by the API's own, whichever is faster.
func (m *peakMeter) copies(ctx context.Context) (float64, error) {
	d := m.dev
	local := min(256, d.limits.MaxGroupItems, d.limits.MaxGroupSize[0])
	bytes := peakBytes
	if d.class() != gpuClass {
		bytes = peakBytesCPU
	}
	bytes = min(bytes, d.binding, d.info.MemoryBytes/8, 4*int64(local)*d.limits.MaxGroupCount[0])
	bytes -= bytes % int64(4*local)
	from, to, err := m.buffers(ctx, bytes, 1)
	if err != nil {
		return 0, err
	}
	defer from.Free()
	defer to.Free()
	k, err := d.kernel(ctx, "copy", int32(local), 1, 1)
	if err != nil {
		return 0, err
	}
	defer d.release(k)
	n := bytes / 4
	byKernel := hal.Command{
		Op: hal.Dispatch, Kernel: k.handle(), Groups: [3]int{int(n) / local, 1, 1}, Views: []hal.View{from.view, to.view},
		Params: binary.LittleEndian.AppendUint32(nil, uint32(n)),
	}
	best, err := m.rate(ctx, byKernel, 2*float64(bytes), from.ref, to.ref)
	if err != nil {
		return 0, err
	}
	byAPI, err := m.rate(ctx, hal.Command{
		Op: hal.Copy, Src: from.at.block.mem, SrcOff: from.at.off, Dst: to.at.block.mem, DstOff: to.at.off, Bytes: bytes,
	}, 2*float64(bytes), from.ref, to.ref)
	return max(best, byAPI), err
}
