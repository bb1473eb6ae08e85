package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

// cut prepares a job in as many tiles as the memory limit or the device makes it take.
func (f *runFlags) cut(cmd *cobra.Command, dev *engine.Device, j runJob) (*tiling.Job, error) {
	if err := f.known(dev, j); err != nil {
		return nil, err
	}
	limit, err := parseBytes(f.memLimit)
	if err != nil {
		return nil, fmt.Errorf("--mem-limit: %w", err)
	}
	var bar *progress
	o := tiling.Options{Algorithm: f.alg, MemLimit: limit, Progress: func(done, total int, _ int64) {
		if done == 1 {
			bar = newProgress(cmd, total)
		}
		if bar.at(done); done == total {
			bar.end()
		}
	}}
	job, err := tiling.Prepare(cmd.Context(), dev, j.problem, o)
	if err != nil || !j.exact || f.alg != "" || !rounds(job.Info().Algorithm) {
		return job, err
	}
	for _, name := range dev.Algorithms(j.problem) {
		if !rounds(name) {
			o.Algorithm = name
			exact, err := tiling.Prepare(cmd.Context(), dev, j.problem, o)
			return exact, errors.Join(err, job.Close())
		}
	}
	return job, nil
}

// tiled runs a job that is cut, and says so.
func (f *runFlags) tiled(cmd *cobra.Command, job *tiling.Job, j runJob, r report.Record, start time.Time) (
	results engine.Operands, _ report.Record, err error) {
	defer func() { err = errors.Join(err, job.Close()) }()
	if fb := job.Fallback(); fb != nil {
		text := fb.String()
		r.Fallback = &text
		fmt.Fprintln(cmd.ErrOrStderr(), "gonvolve: note:", text)
	}
	if job.Tiles.Len() > 1 {
		why := r.Device + " cannot hold it whole"
		if f.memLimit != "" {
			why = "to keep to " + f.memLimit
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "gonvolve: note: cut into %v, %s\n", job.Tiles, why)
	}
	run := time.Now()
	if results, err = job.RunHost(cmd.Context(), j.in); err != nil {
		return results, r, err
	}
	end := time.Now()
	i := job.Info()
	r.Algorithm, r.Tile, r.WorkspaceBytes = i.Algorithm, i.Tile, i.WorkspaceBytes
	r.Runs, r.Status = 1, report.Passed
	r.FirstMS = report.Milliseconds(end.Sub(start))
	r.E2EMS = report.Summarise([]time.Duration{end.Sub(run)})
	return results, r, nil
}

// parseBytes reads an amount of memory, such as 512MiB, 2GB or 1000000; 0 for an empty text.
func parseBytes(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	number, unit := strings.TrimSpace(text), 1.0
	for _, u := range []struct {
		suffix string
		bytes  float64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}} {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if v *= unit; err != nil || !(v >= 1 && v < math.MaxInt64) {
		return 0, fmt.Errorf("%w: %.60q is no amount of memory; write 512MiB, 2GB or a number of bytes", engine.ErrInvalid, text)
	}
	return int64(v), nil
}
