// Package peak knows what devices can do at most: rates of fused multiply-adds and of copies that small kernels reached,
// measured once and kept in the cache folder, and again when a checked run showed more.
package peak

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/gonvolve/gonvolve/engine/cache"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/tuned"
)

func key(i driver.Info) string { return "peaks of all arithmetics " + tuned.DeviceKey(i) }

// Known returns what was measured before of a device, which need not be open.
func Known(i driver.Info) (p driver.Peaks, ok bool) {
	ok = json.Unmarshal(cache.Open().Get(key(i)), &p) == nil && p.GFLOPS > 0 && p.GBPS > 0
	if !ok {
		return driver.Peaks{}, false
	}
	return p, true
}

// Of returns what is known of a device, or measures it. A device that cannot be measured has none.
func Of(ctx context.Context, dev driver.Device) (driver.Peaks, error) {
	if p, ok := Known(dev.Info()); ok {
		return p, nil
	}
	return Measure(ctx, dev)
}

// Measure measures again. What is known stays where it is more: a machine that does other work beside has no lower peak.
func Measure(ctx context.Context, dev driver.Device) (driver.Peaks, error) {
	d, ok := dev.(driver.Peaker)
	if !ok {
		return driver.Peaks{}, nil
	}
	p, err := d.MeasurePeaks(ctx)
	if err != nil {
		return driver.Peaks{}, fmt.Errorf("measuring the peaks of %s: %w", dev.Info().Name, err)
	}
	return keep(dev, p), nil
}

// keep keeps peaks, the larger of what they are and what is known.
func keep(dev driver.Device, p driver.Peaks) driver.Peaks {
	if known, ok := Known(dev.Info()); ok {
		p = p.Max(known)
	}
	if text, err := json.Marshal(p); err == nil && p.GFLOPS > 0 && p.GBPS > 0 {
		_ = cache.Open().Put(key(dev.Info()), text) // a cache that cannot be written costs time, nothing else
	}
	return p
}

// Raise measures again when a checked run showed more multiply-adds of an arithmetic, in GFLOP/s, than their peak says: that was
// measured while the machine did other work. If it still is less, what the run showed is the peak.
func Raise(ctx context.Context, dev driver.Device, was driver.Peaks, a driver.Arithmetic, shown float64) (driver.Peaks, error) {
	p, err := Measure(ctx, dev)
	if err != nil {
		return was, err
	}
	p = p.Max(was)
	rate := p.By(a)
	*rate = max(*rate, shown)
	return keep(dev, p), nil
}
