// Package peak knows what devices can do at most: rates of fused multiply-adds and of copies that small kernels reached,
// measured once and kept in the cache folder.
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
	if known, ok := Known(dev); ok {
		p.GFLOPS, p.GBPS = max(p.GFLOPS, known.GFLOPS), max(p.GBPS, known.GBPS)
	}
	if text, err := json.Marshal(p); err == nil && p.GFLOPS > 0 && p.GBPS > 0 {
		_ = cache.Open().Put(key(dev), text) // a cache that cannot be written costs time, nothing else
	}
	return p, nil
}
