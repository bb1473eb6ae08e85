// Package peak knows what devices can do at most: rates of fused multiply-adds and of copies that small kernels reached,
// measured once and kept in the cache folder, and again when a checked run showed more.
package peak

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/cache"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/tuned"
)

func key(dev *engine.Device) string {
	return "peaks " + tuned.DeviceKey(dev.Info())
}

// Known returns what was measured before.
func Known(dev *engine.Device) (p driver.Peaks, ok bool) {
	ok = json.Unmarshal(cache.Open().Get(key(dev)), &p) == nil && p.GFLOPS > 0 && p.GBPS > 0
	if !ok {
		return driver.Peaks{}, false
	}
	return p, true
}

// Of returns what is known of a device, or measures it. A device that cannot be measured has none.
func Of(ctx context.Context, dev *engine.Device) (driver.Peaks, error) {
	if p, ok := Known(dev); ok {
		return p, nil
	}
	return Measure(ctx, dev)
}

// Measure measures again. What is known stays where it is more: a machine that does other work beside has no lower peak.
func Measure(ctx context.Context, dev *engine.Device) (driver.Peaks, error) {
	d, ok := dev.Driver().(driver.Peaker)
	if !ok {
		return driver.Peaks{}, nil
	}
	p, err := d.MeasurePeaks(ctx)
	if err != nil {
		return driver.Peaks{}, fmt.Errorf("%s: measuring its peaks: %w", dev.Spec(), err)
	}
	return keep(dev, p), nil
}

// keep keeps peaks, the larger of what they are and what is known.
func keep(dev *engine.Device, p driver.Peaks) driver.Peaks {
	if known, ok := Known(dev); ok {
		p.GFLOPS, p.GBPS = max(p.GFLOPS, known.GFLOPS), max(p.GBPS, known.GBPS)
	}
	if text, err := json.Marshal(p); err == nil && p.GFLOPS > 0 && p.GBPS > 0 {
		_ = cache.Open().Put(key(dev), text) // a cache that cannot be written costs time, nothing else
	}
	return p
}

// Raise measures again when a checked run showed more multiply-adds, in GFLOP/s, than the peak says: that was measured
// while the machine did other work. If it still is less, what the run showed is the peak.
func Raise(ctx context.Context, dev *engine.Device, was driver.Peaks, shown float64) (driver.Peaks, error) {
	p, err := Measure(ctx, dev)
	if err != nil {
		return was, err
	}
	p.GFLOPS, p.GBPS = max(p.GFLOPS, was.GFLOPS, shown), max(p.GBPS, was.GBPS)
	return keep(dev, p), nil
}
