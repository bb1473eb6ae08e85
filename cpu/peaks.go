package cpu

import (
	"context"
	"time"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/driver"
)

// Sizes of the measurement of peaks.
const (
	peakRuns   = 25      // some of which nothing disturbs
	peakRounds = 500_000 // some milliseconds
	peakWords  = 16 << 20
	copyWords  = 256 << 10 // of a piece
)

// MeasurePeaks implements driver.Peaker: the best of some runs on all processors.
func (d *Device) MeasurePeaks(ctx context.Context) (driver.Peaks, error) {
	var p driver.Peaks
	n := processors()
	src, dst := make([]uint32, peakWords), make([]uint32, peakWords)
	for i := range src {
		src[i] = uint32(i) // so that the system gives it memory of its own
	}
	for range peakRuns {
		operations := make([]float64, n)
		start := time.Now()
		err := parallel(ctx, n, 1, func(i int) { operations[i] = simd.Peak(simd.Best(), peakRounds) })
		took := time.Since(start)
		if err != nil {
			return p, err
		}
		total := 0.0
		for _, o := range operations {
			total += o
		}
		p.GFLOPS = max(p.GFLOPS, total/float64(took))

		start = time.Now()
		err = parallel(ctx, peakWords/copyWords, 1, func(i int) { copy(dst[i*copyWords:][:copyWords], src[i*copyWords:]) })
		if err != nil {
			return p, err
		}
		p.GBPS = max(p.GBPS, 2*4*peakWords/float64(time.Since(start)))
	}
	return p, nil
}
