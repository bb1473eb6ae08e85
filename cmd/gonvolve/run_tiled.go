package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/machine"
	"github.com/gonvolve/gonvolve/engine/outofcore"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

// cutJob is a job in tiles that is ready to run.
type cutJob struct {
	*tiling.Job
	run      func(context.Context) error
	close    func() error
	finished int    // tiles that were computed before …
	before   string // … on this device; empty: there was no run before
	limit    int64
	progress tileProgress
	busy     *busy
	trace    *tiling.Trace
	traced   *os.File
}

// cut prepares a job in as many tiles as the memory limit or the device makes it take.
func (f *runFlags) cut(cmd *cobra.Command, dev *engine.Device, j runJob, prepare func(tiling.Options) (*cutJob, error)) (c *cutJob, err error) {
	if err := f.known(dev, j); err != nil {
		return nil, err
	}
	limit, err := f.limit(&j)
	if err != nil {
		return nil, err
	}
	bar := tileProgress{flops: j.problem.FLOPs()}
	o := tiling.Options{Algorithm: f.alg, Exact: j.exact && f.alg == "", MemLimit: limit,
		Progress: func(done, total int, bytes int64) { c.progress.at(done, total, bytes) }}
	times := &busy{}
	o.Stage, o.Alone, o.InStep = times.stage, times.isAlone, times.isInStep
	var trace *tiling.Trace
	var traced *os.File
	if f.trace != "" {
		if traced, err = os.Create(f.trace); err != nil {
			return nil, fmt.Errorf("--trace: %w", err)
		}
		trace = tiling.NewTrace(traced)
		o.Stage = func(s tiling.Stage, tile int, from, to time.Time) {
			times.stage(s, tile, from, to)
			trace.Stage(s, tile, from, to)
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, traced.Close())
			}
		}()
	}
	if c, err = prepare(o); err != nil {
		return nil, err
	}
	if f.rates {
		if err := times.choose(c); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	c.limit, c.progress, c.busy, c.trace, c.traced = limit, bar, times, trace, traced
	return c, nil
}

// limit is --mem-limit in bytes; 0 without, unless the job does not fit in memory.
func (f *runFlags) limit(j *runJob) (int64, error) {
	limit, err := parseBytes(f.memLimit)
	if err != nil {
		return 0, fmt.Errorf("--mem-limit: %w", err)
	}
	if limit == 0 && f.outOfCore(j) {
		limit = machine.Memory() / 4
	}
	return limit, nil
}

// tiled runs a job that is cut, and says so.
func (f *runFlags) tiled(cmd *cobra.Command, c *cutJob, r report.Record, start time.Time) (_ report.Record, err error) {
	defer func() {
		if c.trace != nil {
			if e := errors.Join(c.trace.Close(), c.traced.Close()); e != nil {
				err = errors.Join(err, fmt.Errorf("--trace: %w", e))
			}
		}
		err = errors.Join(err, c.close())
	}()
	n := c.Tiles.Len()
	if c.before != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "gonvolve: note: going on where a run on %s was interrupted: %d of %d tiles are there\n", c.before, c.finished, n)
	}
	if n > 1 {
		why := r.On() + " cannot hold it whole"
		switch {
		case c.Shares() != nil && c.limit == 0:
			why = "for " + c.On() + " to share"
		case c.limit > 0:
			why = "to keep to " + cmp.Or(f.memLimit, "a quarter of the machine's memory")
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "gonvolve: note: cut into %v, %s\n", c.Tiles, why)
		if err := forecast(cmd, c.Job); err != nil {
			return r, err
		}
	}
	run := time.Now()
	c.progress.start(cmd, c.finished, n)
	err = c.run(cmd.Context())
	c.progress.bar.end()
	if err != nil {
		switch {
		case cmd.Context().Err() != nil:
			err = fmt.Errorf("%w: interrupted after %d of %d tiles%s", errNothingRan, c.progress.done, n, c.progress.kept)
		case c.progress.kept != "" && !errors.Is(err, outofcore.ErrInterrupted):
			err = fmt.Errorf("%w (after %d of %d tiles%s)", err, c.progress.done, n, c.progress.kept)
		}
		return r, err
	}
	end := time.Now()
	if shares := c.Shares(); shares != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "gonvolve: note: shared by %v\n", shares)
	}
	if n > 1 && end.Sub(run) >= worthTelling {
		fmt.Fprintf(cmd.ErrOrStderr(), "gonvolve: note: of %v %v\n", end.Sub(run).Round(time.Millisecond), c.busy.shares(end.Sub(run)))
	}
	if f.rates {
		for _, line := range c.busy.rates(end.Sub(run), n-c.finished) {
			fmt.Fprintln(cmd.ErrOrStderr(), "gonvolve: note:", line)
		}
	}
	r.InTiles(c.Job, nil)
	r.Runs, r.Status = 1, report.Passed
	r.FirstMS = report.Milliseconds(end.Sub(start))
	r.E2EMS = report.Summarise([]time.Duration{end.Sub(run)})
	return r, nil
}

// tileProgress shows how fast tiles go.
type tileProgress struct {
	bar    *progress
	began  time.Time
	flops  float64 // of all tiles
	before int     // tiles of an earlier run
	done   int
	first  time.Time // that tiles of this run were done …
	firsts int       // … and how many
	told   bool      // what all will take
	notes  io.Writer
	kept   string // what becomes of the tiles when the run is interrupted
}

func (p *tileProgress) start(cmd *cobra.Command, before, total int) {
	p.before, p.done, p.began = before, before, time.Now()
	p.bar = newProgress(cmd, total-before)
	p.notes = cmd.ErrOrStderr()
}

// foretell says once, when a few tiles of a run are done, how long it will take by their pace. A bar says so all the time.
func (p *tileProgress) foretell(done, total int) {
	now := time.Now()
	if p.firsts == 0 {
		p.first, p.firsts = now, done // which may have waited for kernels to be compiled
		return
	}
	run, pace := now.Sub(p.began), now.Sub(p.first)/time.Duration(done-p.firsts)
	left := pace * time.Duration(total-done)
	if p.told || p.bar.bar != nil || done < enoughTiles || run < enoughTime || left < worthTelling {
		return
	}
	p.told = true
	fmt.Fprintf(p.notes, "gonvolve: note: %d tiles took %v: all take about %v\n", done, brief(run), brief(run+left))
}

// A forecast by tiles that are done takes some of them, and some time.
const (
	enoughTiles = 4
	enoughTime  = 300 * time.Millisecond
)

func (p *tileProgress) at(done, total int, bytes int64) {
	p.done = done
	p.foretell(done-p.before, total-p.before)
	seconds := time.Since(p.began).Seconds()
	p.bar.start(fmt.Sprintf("%.0f MB/s  %.1f GFLOP/s", float64(bytes)/seconds/1e6, p.flops*float64(done-p.before)/float64(total)/seconds/1e9))
	p.bar.at(done - p.before)
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
