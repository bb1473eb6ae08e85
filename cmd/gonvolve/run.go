package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/tensorio"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

func newRunCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run one operation on files: pictures or arrays",
		Long: `Run one operation on files: pictures or arrays.

Files are .npy, .png, .jpg and .jpeg. Numbers of any type are read: as f32,
unless --dt or the problem asks for another type, and then integers must be the
file's own numbers. A picture is a tensor [1, C, H, W] of values 0 to 255 with
one channel if it is grey, else three; transparency is dropped. Writing a picture
clamps to 0 to 255 and rounds (see --map).

With --mem-limit, or where arrays take more than half of the machine's memory,
they are read and written in tiles, whatever their size. Such a run goes on with
what is finished when it was interrupted or killed and the same command comes
again, on any device; see --restart.

--device cpu+vulkan:0 divides the work: each of the devices takes the next tile
when it has room for one, and those of a device that fails go to the others.`,
		Example: `  gonvolve run conv --src photo.png --wei gaussian:5 --dst blurred.png
  gonvolve run pool --src photo.png --kernel 2 --kind avg_np --dst half.png
  gonvolve run conv --src x.npy --wei w.npy --pad 1 --device cpu+vulkan:0 --dst y.npy
  gonvolve run unpool --src y.npy --indices i.npy --kernel 2 --dst x.npy
  gonvolve run problem conv:BWD_D:mb1ic3ih8oc4kh3ph1 --in diff_dst=dy.npy --in wei=w.npy --out diff_src=dx.npy`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRunConvCommand(), newRunPoolCommand(), newRunUnpoolCommand(), newRunProblemCommand())
	return cmd
}

// runFlags are the flags that all commands of run share.
type runFlags struct {
	alg, mapping string
	noFallback   bool
	exact        bool
	memLimit     string
	trace        string
	rates        bool
	restart      bool
	checks       int
	deadline     time.Duration
	device       *string
	out          *output
}

func (f *runFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.mapping, "map", "auto", "how a picture shows values outside of 0 to 255: clamp, abs (absolute values), scale (least "+
		"to greatest becomes 0 to 255); auto is abs for the filters that find edges, else clamp")
	fl.StringVar(&f.alg, "alg", "", "force an `algorithm`; without it the device chooses")
	fl.BoolVar(&f.exact, "exact", false, "rule out algorithms that transform the sums (Winograd, FFT): of small whole numbers the result is "+
		"then the same on every device, bit for bit")
	fl.BoolVar(&f.noFallback, "no-fallback", false, "fail rather than run on the cpu what the device cannot")
	fl.StringVar(&f.memLimit, "mem-limit", "", "most `memory` for tensors, weights, workspace and staging together, such as 512MiB: what "+
		"is larger is computed in tiles, and arrays are read and written as these go; the contents of pictures do not count")
	fl.BoolVar(&f.restart, "restart", false, "forget a run that was interrupted, rather than go on with it")
	fl.StringVar(&f.trace, "trace", "", "write to a `file` when each tile is read, uploaded, computed, downloaded and written, for "+
		"chrome://tracing and ui.perfetto.dev")
	fl.BoolVar(&f.rates, "rates", false, "keep the last ten tiles apart, and say how near the run came to the rate of its slowest stage: of "+
		"reading, computing and writing by themselves, and of a disk that reads and writes, which are one stage where sources and results are on one")
	fl.IntVar(&f.checks, "check", 0, "compute so many `elements` of each result, or tile of it, once more by the reference: a device that "+
		"corrupts results is named")
	fl.DurationVar(&f.deadline, "deadline", 0, "give a device up that does not answer a call for so `long`, such as 30s; without it calls "+
		"take the time that they take")
	f.device = deviceFlag(cmd, "auto")
	fl.Lookup("device").Usage = "`device`: cpu, vulkan:0, opencl:*name*, the first that matches; auto, the fastest; cpu+vulkan:0, both together"
	f.out = outputFlags(cmd)
}

// check refuses what cannot be written before anything is read.
func (f *runFlags) check(out *files) error {
	pictures := 0
	var paths []string
	for role, to := range out {
		if to.path == "" {
			continue
		}
		format, err := tensorio.FormatOf(to.path)
		if err != nil {
			return fmt.Errorf("%s: %w", to.flag, err)
		}
		if format.Picture() {
			if !pictorial(problem.Role(role)) {
				return onlyNPY(to)
			}
			pictures++
		}
		if slices.Contains(paths, to.path) {
			return fmt.Errorf("%w: %s %s: another result is written to this file", engine.ErrInvalid, to.flag, to.path)
		}
		paths = append(paths, to.path)
	}
	if f.mapping != "auto" {
		if _, err := tensorio.ParseMapping(f.mapping); err != nil {
			return fmt.Errorf("--map: %w, auto", err)
		}
		if pictures == 0 {
			return fmt.Errorf("%w: --map is for pictures and %s is none; leave it out", engine.ErrInvalid, strings.Join(paths, ", "))
		}
	}
	if f.checks < 0 || f.deadline < 0 {
		return fmt.Errorf("%w: --check %d, --deadline %v: neither can be negative", engine.ErrInvalid, f.checks, f.deadline)
	}
	if _, err := parseBytes(f.memLimit); err != nil {
		return fmt.Errorf("--mem-limit: %w", err)
	}
	return f.out.check()
}

// runJob is what is to be run.
type runJob struct {
	problem problem.Problem
	in      [problem.Roles]*operand // inputs and constants
	out     files
	exact   bool             // keep to algorithms that only multiply and add: see package filter
	mapping tensorio.Mapping // unless --map says otherwise
}

// finish runs the job, writes the results and prints the record.
func (f *runFlags) finish(cmd *cobra.Command, j runJob) error {
	j.exact = j.exact || f.exact
	p := &j.problem
	written := ""
	for role, to := range j.out {
		if to.path == "" {
			continue
		}
		if err := noPicture(to, p.LayoutOf(problem.Role(role))); err != nil {
			return err
		}
		if err := tensorio.Check(to.path, p.Shape(problem.Role(role))); err != nil {
			return fmt.Errorf("%s: %w", to.flag, err)
		}
		written = strings.TrimSpace(written + " " + to.path)
	}
	if f.mapping != "auto" {
		m, err := tensorio.ParseMapping(f.mapping)
		if err != nil {
			return fmt.Errorf("--map: %w", err)
		}
		j.mapping = m
	}
	record, err := f.compute(cmd, j)
	if err != nil {
		return err
	}
	return f.out.records(cmd, []report.Record{record}, []report.Column{
		{Title: "problem", Value: func(r *report.Record) string { return r.Problem }},
		{Title: "device", Value: (*report.Record).Where},
		{Title: "algorithm", Value: func(r *report.Record) string { return r.Algorithm }},
		{Title: "first run ms", Right: true, Value: func(r *report.Record) string { return fmt.Sprintf("%.3g", r.FirstMS) }},
		{Title: "written", Value: func(*report.Record) string { return written }},
	})
}

// compute runs the job once on the device asked for, and writes the results.
func (f *runFlags) compute(cmd *cobra.Command, j runJob) (r report.Record, err error) {
	ctx := cmd.Context()
	options := []engine.Option{engine.WithCheck(f.checks), engine.WithDeadline(f.deadline)}
	if f.noFallback {
		options = append(options, engine.NoFallback())
	}
	dev, err := engine.Open(ctx, *f.device, options...)
	if err != nil {
		return r, err
	}
	defer func() {
		for _, fb := range dev.Fallbacks() {
			fmt.Fprintln(cmd.ErrOrStderr(), "gonvolve: note:", fb.String())
		}
		if r.Checked = dev.Checked(); r.Checked > 0 {
			r.Verified, r.Check = err == nil, "bounded"
		}
		err = errors.Join(err, dev.Close())
	}()
	r = report.New(&j.problem, dev)
	start := time.Now()
	limit, err := f.limit(&j)
	if err != nil {
		return r, err
	}
	on, why, err := forRun(ctx, dev, &j.problem, limit)
	if err != nil {
		return r, err
	}
	if several(dev) && !several(on) {
		r.Chosen, r.Why = on.Spec(), why
		slog.InfoContext(ctx, "device", "of", dev.Name(), "device", on.Spec(), "why", why)
	}
	if f.outOfCore(&j) {
		return f.stream(cmd, on, j, r, start)
	}
	in, err := j.load()
	if err != nil {
		return r, err
	}
	if f.memLimit != "" || f.trace != "" || f.rates || several(on) || tiling.TooLarge(on, j.problem) {
		var results engine.Operands
		job, err := f.cut(cmd, on, j, func(o tiling.Options) (*cutJob, error) {
			job, err := tiling.Prepare(ctx, on, j.problem, o)
			if err != nil {
				return nil, err
			}
			return &cutJob{Job: job, close: job.Close, run: func(ctx context.Context) (err error) {
				results, err = job.RunHost(ctx, in)
				return err
			}}, nil
		})
		if err == nil {
			if r, err = f.tiled(cmd, job, r, start); err == nil {
				err = j.save(results)
			}
			return r, err
		}
		if f.memLimit != "" || f.trace != "" || f.rates || several(on) || !errors.Is(err, engine.ErrUnsupported) {
			return r, err
		} // else the whole may do elsewhere
	}
	plan, err := f.plan(ctx, on, j)
	run := time.Now()
	var results engine.Operands
	if err == nil {
		r.Planned(plan)
		results, err = whole(ctx, plan, j.problem, in)
		if cerr := plan.Close(); err == nil {
			err = cerr
		}
	}
	if errors.Is(err, engine.ErrDeviceLost) || errors.Is(err, engine.ErrOutOfMemory) {
		results, err = f.rescue(ctx, on, j, in, &r)
	}
	if err != nil {
		return r, err
	}
	end := time.Now()
	r.Runs, r.Status = 1, report.Passed
	r.FirstMS = report.Milliseconds(end.Sub(start))
	r.E2EMS = report.Summarise([]time.Duration{end.Sub(run)})
	return r, j.save(results)
}

// worthTrying is how many operations or bytes a problem has to have for a single run of it to be worth other devices being
// opened and tried: a core does them in a tenth of a second.
const (
	worthTryingFLOPs = 2e9
	worthTryingBytes = 256 << 20
)

// forRun is the device for a problem that runs once within a memory limit (0: none), and why.
func forRun(ctx context.Context, dev *engine.Device, p *problem.Problem, limit int64) (*engine.Device, string, error) {
	switch {
	case !several(dev) || dev.Divides() || tiling.Large(p): // the tiles' devices are chosen with them
		return dev, "", nil
	case p.FLOPs() < worthTryingFLOPs && p.Bytes() < worthTryingBytes:
		return dev.First(), "one run of so little is not worth to try others", nil
	}
	return tiling.For(ctx, dev, *p, limit)
}

// save writes the results that have files.
func (j *runJob) save(results engine.Operands) error {
	for role, to := range j.out {
		if to.path == "" {
			continue
		}
		if err := tensorio.Write(to.path, results[role], tensorio.Options{Mapping: j.mapping}); err != nil {
			return fmt.Errorf("%s: %w", to.flag, err)
		}
	}
	return nil
}

// whole runs a plan from host to host.
func whole(ctx context.Context, plan *engine.Plan, p problem.Problem, in engine.Operands) (out engine.Operands, err error) {
	if roles := p.Constants(); len(roles) > 0 {
		var constants engine.Operands
		for _, role := range roles {
			constants[role] = in[role]
		}
		if err := plan.SetWeights(ctx, constants); err != nil {
			return out, err
		}
	}
	return plan.RunHost(ctx, in)
}

// rescue runs a job whose device was lost or ran out of memory: on the device opened again, in parts, or elsewhere.
func (f *runFlags) rescue(ctx context.Context, dev *engine.Device, j runJob, in engine.Operands, r *report.Record) (out engine.Operands, err error) {
	job, err := tiling.Prepare(ctx, dev, j.problem, tiling.Options{Algorithm: f.alg, Exact: j.exact && f.alg == ""})
	if err != nil {
		return out, err
	}
	if out, err = job.RunHost(ctx, in); err == nil {
		r.InTiles(job, nil)
	}
	return out, errors.Join(err, job.Close())
}

// plan compiles the job by the algorithm asked for.
func (f *runFlags) plan(ctx context.Context, dev *engine.Device, j runJob) (*engine.Plan, error) {
	if f.alg != "" {
		if err := f.known(dev, j); err != nil {
			return nil, err
		}
		return dev.Plan(ctx, j.problem, driver.PlanOptions{Algorithm: f.alg})
	}
	// It runs once: kernels for all shapes may be done before one for this shape is compiled.
	return dev.Plan(ctx, j.problem, driver.PlanOptions{Exact: j.exact, Background: !j.exact})
}

// known refuses an algorithm that the device does not have for the job.
func (f *runFlags) known(dev *engine.Device, j runJob) error {
	known := dev.Algorithms(j.problem)
	// A device that can run nothing of the kind says why itself.
	if f.alg != "" && len(known) > 0 && !slices.Contains(known, f.alg) {
		return fmt.Errorf("%w: --alg %q cannot run this on %s; there are %s", engine.ErrInvalid, f.alg, dev.Spec(), strings.Join(known, ", "))
	}
	return nil
}
