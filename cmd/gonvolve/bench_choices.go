package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
)

// compareAlgorithms notes, of a benchmark by all algorithms, which one the device takes by itself, and what the best so far
// takes.
func (j *job) compareAlgorithms(ctx context.Context, d *engine.Device, p *problem.Problem, r *report.Record) {
	if j.alg != "all" || j.peaks == nil || j.kernels != "" || several(d) || r.Status != report.Passed {
		return
	}
	if pl, err := d.Plan(ctx, *p, driver.PlanOptions{}); err == nil {
		r.Own = pl.Info().Algorithm == r.Algorithm
		_ = pl.Close() // nothing ran
	}
	if t := r.WallMS; t != nil {
		if took := time.Duration(t.Median * 1e6); j.best == 0 || took < j.best {
			j.best = took
		}
	}
}

// printOwn says how good the devices' own choices of algorithms are, if all were timed.
func printOwn(w io.Writer, format string, records []report.Record) error {
	list := report.ChoicesOf(records)
	if len(list) > 0 && format == "markdown" {
		fmt.Fprintln(w)
	}
	return report.WriteChoices(w, list)
}
