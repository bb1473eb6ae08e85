package main

import (
	"errors"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/machine"
	"github.com/gonvolve/gonvolve/engine/outofcore"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/tensorio"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

// outOfCore says whether the job goes from files to files without being in memory as a whole: where that is to be limited,
// or would be too little. Pictures are always in memory.
func (f *runFlags) outOfCore(j *runJob) bool {
	for _, to := range j.out {
		if to.path == "" {
			continue
		}
		if format, err := tensorio.FormatOf(to.path); err != nil || format.Picture() {
			return false
		}
	}
	return f.memLimit != "" || j.problem.Bytes() > machine.Memory()/2
}

// waiting is how many threads there are beside those of kernels, for what mostly waits: the system shares processors better
// than Go does. Reading and writing have eight pieces of a file each on their way (see tensorio), and the stages wait for each other.
const waiting = 20

// stream runs a job from files to files, or goes on with it.
func (f *runFlags) stream(cmd *cobra.Command, dev *engine.Device, j runJob, r report.Record, start time.Time) (_ report.Record, err error) {
	var files outofcore.Files
	for role, o := range j.in {
		if o == nil {
			continue
		}
		source, done, err := o.open()
		if err != nil {
			return r, err
		}
		defer func() { err = errors.Join(err, done()) }()
		files.In[role] = source
	}
	for role, to := range j.out {
		files.Out[role] = to.path
	}
	limit, err := f.limit(&j)
	if err != nil {
		return r, err
	}
	// What is no longer used is not to lie around for long. There is more than the limit counts, but that is little.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(limit + 64<<20))
	c, err := f.cut(cmd, dev, j, func(o tiling.Options) (*cutJob, error) {
		run, err := outofcore.Prepare(cmd.Context(), dev, j.problem, files, outofcore.Options{Tiling: o, Restart: f.restart})
		if err != nil {
			return nil, err
		}
		c := &cutJob{Job: run.Job, run: run.Run, close: run.Close}
		if finished, device := run.Finished(); finished >= 0 {
			c.finished = run.Tiles()
			c.before = device
		}
		return c, nil
	})
	if err != nil {
		return r, err
	}
	// The cpu counts the processors when it is first opened: before there seem to be more.
	host, err := engine.Open(cmd.Context(), "cpu")
	if err != nil {
		return r, errors.Join(err, c.close())
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	c.busy.disk = j.oneDisk()
	// What comes back from the disk is not to wait until kernels are done with the processors.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + waiting))
	c.progress.kept = "; the same command goes on from there"
	return f.tiled(cmd, c, r, start)
}
