package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// fuzz checks random problems for a while, or until one fails. The problems depend on the seed alone; how many there are
// is a matter of time.
func (l *listing) fuzz(cmd *cobra.Command, limit time.Duration, seed uint64, fills []verify.Fill, cut bool) error {
	if limit <= 0 {
		return fmt.Errorf("%w: --fuzz %v; say how long, such as 60s", problem.ErrInvalid, limit)
	}
	return l.run(cmd, func(ctx context.Context, oracle *engine.Device, devs []*engine.Device) error {
		f := verify.Fuzzer{Oracle: oracle, Devices: devs, Seed: seed, Fills: fills, Cut: cut}
		switch l.alg {
		case "", "all":
		case "auto":
			f.Algorithms = func(d *engine.Device, p problem.Problem) []string { return algorithms(d, p, l.alg) }
		default:
			f.Algorithm = l.alg
		}
		bar := newProgress(cmd, int(limit.Seconds()))
		defer bar.end()
		start := time.Now()
		failed := false
		for i := uint64(0); !failed && ctx.Err() == nil && time.Since(start) < limit; i++ {
			f.Check(ctx, i, func(r report.Record) bool {
				l.add(r)
				elapsed := time.Since(start)
				bar.at(int(elapsed.Seconds()))
				bar.start(fmt.Sprintf("s  problem %d, %d checks, %.1f a second", i, l.total.total, float64(l.total.total)/elapsed.Seconds()))
				failed = r.Status == report.Failed
				return !failed
			})
		}
		return nil
	})
}
