package tiling

import (
	"context"
	"math"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// Rates are what a device does in a second at most.
type Rates struct {
	driver.Peaks         // of kernels
	Pace         float64 // at which such tiles were computed before, as Job.Pace has it; 0: that is not known
	TransferGBPS float64 // of copies between host and device, up and down together; +Inf where they share memory
}

// transferred is how much MeasureTransfer moves in either direction, in bytes.
const transferred = 8 << 20

// MeasureTransfer measures copies to a device and back, if there are any. It takes a few milliseconds.
func MeasureTransfer(ctx context.Context, dev *engine.Device) (gbps float64, err error) {
	host, err := engine.NewTensor(problem.U8, transferred)
	if err != nil {
		return 0, err
	}
	t, err := dev.NewTensor(problem.U8, transferred)
	if err != nil {
		return 0, err
	}
	defer t.Free()
	if t.Host() != nil {
		return math.Inf(1), nil
	}
	s, err := dev.NewStream()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	best := time.Duration(math.MaxInt64)
	for range 3 { // the first one touches the memory
		start := time.Now()
		if err := s.Write(ctx, t, host); err != nil {
			return 0, err
		}
		if err := s.Wait(ctx); err != nil {
			return 0, err
		}
		if err := s.Download(ctx, host, t); err != nil {
			return 0, err
		}
		best = min(best, time.Since(start))
	}
	return 2 * transferred / float64(max(best, 1)), nil
}

// Forecast is what a job takes on a device: by the pace at which that computed such tiles before, or else by its peaks at
// least, as kernels are slower. Files that are slower than the device are not foreseen.
type Forecast struct {
	Known             bool          // the pace is
	Compute, Transfer time.Duration // of all tiles
	Total             time.Duration // with what overlaps
	Intensity         float64       // operations for each byte that is moved between host and device
}

// Forecast foretells the job's time. A rate of 0 is not known, and counts as no time.
func (j *Job) Forecast(r Rates) Forecast {
	n, bytes, flops := j.Tiles.Len(), 0.0, 0.0
	step := 1 + n/sampled
	looked := 0
	for i := 0; i < n; i += step {
		p := j.Tiles.Tile(i).Problem
		bytes += transfers(&p)
		flops += p.FLOPs()
		looked++
	}
	scale := float64(n) / float64(looked)
	bytes, flops = bytes*scale, flops*scale
	p := j.Tiles.Problem()
	f := Forecast{Compute: r.compute(&p, flops, bytes), Transfer: duration(bytes, r.TransferGBPS), Intensity: flops / max(1, bytes)}
	if f.Known = r.Pace > 0; f.Known {
		f.Compute = duration(bytes, r.Pace)
		if weighted(&p) {
			f.Compute = duration(flops, r.Pace)
		}
	}
	slow, fast := max(f.Compute, f.Transfer), min(f.Compute, f.Transfer)
	f.Total = slow + fast/time.Duration(n) // the first tile's and the last's
	return f
}

// compute is the least time of kernels: of their operations, if they are products, or of what they read and write.
func (r Rates) compute(p *problem.Problem, flops, bytes float64) time.Duration {
	t := duration(bytes, r.GBPS)
	if weighted(p) {
		t = max(t, duration(flops, r.GFLOPS))
	}
	return t
}

// Together is what several devices take that share a job, of what each takes of all of it.
func Together(each []Forecast) (f Forecast) {
	f.Known = true
	rate := 0.0
	for _, one := range each {
		f.Known = f.Known && one.Known
		rate += 1 / max(one.Total.Seconds(), 1e-9)
	}
	f.Total = time.Duration(1e9 / rate)
	return f
}

// duration is how long n takes at a rate of billions in a second.
func duration(n, rate float64) time.Duration {
	if rate <= 0 {
		return 0
	}
	return time.Duration(n / rate)
}

// BreakEven is the intensity (see Forecast) from which a device is faster than the processor, which has its data at hand: +Inf
// if it never is, because the processor does as many operations in a second.
func BreakEven(device Rates, processor driver.Peaks) float64 {
	if device.GFLOPS <= processor.GFLOPS || device.TransferGBPS <= 0 {
		return math.Inf(1)
	}
	return processor.GFLOPS / device.TransferGBPS
}
