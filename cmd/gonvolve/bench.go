package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/bench"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/peak"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/verify"
)

func newBenchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench [flags] [PROBLEM…]",
		Short: "Compare the timings of devices on real layers, each result checked",
		Long: `Compare the timings of devices on real layers, each result checked.

Without arguments: every device on a small suite of real layers.
  device ms  kernels alone, by the device's own clock
  wall ms    submit to finish, tensors on the device
  e2e ms     host tensor to host tensor, transfers included
  first ms   plan and first run
  GFLOP/s    the direct algorithm's operations, whatever algorithm ran
  of peak    the algorithm's own operations, transforms included, of the
             multiply-adds that the device does at most (FMA), or GB/s of what it
             copies at most (more than 100 % of that come from caches), whichever
             is more
  × cpu      wall time of the cpu by this one's
Times are medians; json and csv have minimum and 95th percentile too. A result
that fails its check is never timed. With auto among the devices, the one that it
chose for each problem is shown, and its times by those of the best single device
(× best: 1.00 is as fast), measured by runs in turns. --kernels DIR measures with the kernels of the folder, too, and
compares by runs in turns; both without tuned choices. With --alg all a last line
says on how many problems the algorithm that the device takes by itself is within
10 % of the fastest, and names the others; an algorithm that takes over 20 times the
best's time runs once. What a device, or --mem-limit, cannot hold runs in tiles, from
host to host (e2e); the record says so and why. --alg NAME --tile TILE forces one of
an algorithm's tiles. Built-in suites: --suite completes them.`,
		Example: `  gonvolve bench
  gonvolve bench --device cpu,vulkan:0 --suite resnet50
  gonvolve bench --device all,auto --suite field
  gonvolve bench --device opencl:0 --alg all mb1ic64ih56oc64oh56kh3ph1
  gonvolve bench --device cpu --alg all --mode device --suite field
  gonvolve bench --kernels mine/ --device vulkan:0,opencl:0 mb1ic64ih56oc64oh56kh3ph1
  gonvolve bench --device vulkan:0 --mem-limit 256MiB --suite large
  gonvolve bench --format json -o before.json --min-time 1s
  gonvolve bench compare before.json after.json`,
	}
	cmd.AddCommand(newBenchCompareCommand())
	device := deviceFlag(cmd, "all")
	out := outputFlags(cmd)
	problems := addProblemFlags(cmd)
	asked := askedFlags(cmd)
	mode := cmd.Flags().String("mode", "both", "both, device (tensors stay there) or e2e (host to host)")
	kernels := kernelsFlag(cmd, "also with the kernel sources of a `folder` (*.k, preludes, common.inc) instead of the built-in ones, side by side")
	minTime := cmd.Flags().Duration("min-time", 200*time.Millisecond, "measure each for at least so long")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		m, err := bench.ParseMode(*mode)
		if err != nil {
			return err
		}
		how, err := asked()
		if err != nil {
			return err
		}
		options := bench.Options{Mode: m, MinTime: *minTime}
		job := &job{asked: how, fill: verify.Int, budget: verify.DefaultBudget, out: out, columns: report.BenchColumns, kernels: *kernels, bench: options}
		if *kernels != "" {
			job.columns = report.KernelColumns
		}
		job.peaks = map[string]driver.Peaks{}
		job.check = func(ctx context.Context, dev *engine.Device, c *verify.Case, alg string) report.Record {
			options.Algorithm, options.Peaks, options.Best = alg, job.peaks[dev.Spec()], job.best
			r := bench.Measure(ctx, dev, c, options)
			if r.Chosen == "" {
				job.raise(ctx, cmd.ErrOrStderr(), dev, &c.Problem, &r)
			}
			return r
		}
		list, err := problems.problems(cmd, args, bench.DefaultSuite)
		if err != nil {
			return err
		}
		return job.run(cmd, *device, list)
	}
	return cmd
}

// job runs problems on devices and prints the records: what bench and verify have in common.
type job struct {
	asked
	fill    verify.Fill
	budget  float64 // of the oracle for one problem
	options driver.Options
	out     *output
	columns []report.Column
	kernels string        // of bench: a folder with other kernels to compare with …
	bench   bench.Options // … and how
	explain bool          // of verify: tell of one problem's results in detail if one is wrong …
	verdict bool          // … or anyway
	check   func(ctx context.Context, dev *engine.Device, c *verify.Case, alg string) report.Record
	peaks   map[string]driver.Peaks // by device, measured before the first problem; nil if nobody wants them
	best    time.Duration           // of bench by all algorithms: what the best so far takes for the problem on the device; else 0
}

func (j *job) run(cmd *cobra.Command, specs string, list []problem.Problem) (err error) {
	if err := j.out.check(); err != nil {
		return err
	}
	ctx := cmd.Context()
	opts := j.opening()
	if j.kernels != "" {
		opts = append(opts, engine.WithTuning(nil)) // which knows nothing of changed kernels
	}
	devs, oracle, closeAll, err := devices(ctx, specs, j.options, opts...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	check := func(d *engine.Device, c *verify.Case, alg string) []report.Record {
		return []report.Record{j.check(ctx, d, c, alg)}
	}
	if j.kernels != "" {
		var both *comparison
		if both, err = compare(ctx, j.kernels, devs); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, both.close()) }()
		defer both.tell(cmd.ErrOrStderr())
		check = func(d *engine.Device, c *verify.Case, alg string) []report.Record {
			o := j.bench
			o.Algorithm = alg
			return both.measure(ctx, d, c, o, func(d *engine.Device) report.Record { return j.check(ctx, d, c, alg) })
		}
	}
	if j.kernels == "" && j.peaks != nil && slices.ContainsFunc(devs, several) {
		j.columns = report.ChosenColumns
	}
	bar := newProgress(cmd, len(list)*len(devs))
	if j.peaks != nil {
		for _, d := range devs {
			members, err := d.Members(ctx)
			if err != nil {
				return err
			}
			for _, m := range members {
				bar.start(m.Spec() + " peaks")
				if j.peaks[m.Spec()], err = peak.Of(ctx, m.Driver()); err != nil && ctx.Err() == nil {
					slog.WarnContext(ctx, "no shares of the peak", "reason", err)
				}
			}
		}
	}
	var records []report.Record
	for i := range list {
		if ctx.Err() != nil {
			break
		}
		records = append(records, j.problem(ctx, oracle, devs, &list[i], bar, check)...)
		// Tensors of the last problem are garbage now; the next one's may be large.
		runtime.GC()
	}
	bar.end()
	report.Speedups(records)
	j.shares(records)
	if j.explain = j.verdict || j.explain && slices.ContainsFunc(records, func(r report.Record) bool { return r.Status == report.Failed }); j.explain {
		verdict := verify.Verdict(records)
		for i := range records {
			records[i].Verdict = verdict
		}
	}
	if err := j.print(cmd, records); err != nil {
		return err
	}
	var t tally
	for _, r := range records {
		t.add(r)
	}
	return t.conclude(ctx, len(list)*len(devs))
}

// raise puts a device's peak right that a checked run has beaten.
func (j *job) raise(ctx context.Context, notes io.Writer, dev *engine.Device, p *problem.Problem, r *report.Record) {
	was := j.peaks[dev.Spec()]
	shown := r.Surely(p)
	before := *was.By(r.How())
	if before == 0 || shown <= before {
		return
	}
	now, err := peak.Raise(ctx, dev.Driver(), was, r.How(), shown)
	if err != nil {
		slog.WarnContext(ctx, "the peak is too low", "reason", err)
		return
	}
	j.peaks[dev.Spec()] = now
	fmt.Fprintf(notes, "gonvolve: note: %s did %.4g GFLOP/s, its peak had been measured as %.4g (on a busy machine?); measured again, it is %.4g\n",
		dev.Spec(), shown, before, *now.By(r.How()))
}

// shares works the shares out again: peaks may have been raised since.
func (j *job) shares(records []report.Record) {
	for i := range records {
		r := &records[i]
		if p, err := problem.Parse(r.Problem); err == nil && r.Verified && j.peaks != nil {
			r.Shares(&p, j.peaks[r.On()])
		}
	}
}

func (j *job) print(cmd *cobra.Command, records []report.Record) error {
	return j.out.write(cmd, func(w io.Writer, width int, colour bool) error {
		err := report.Write(w, j.out.format, records, report.Options{Columns: j.columns, Colour: colour, Width: width})
		if err == nil && j.explain && len(records) > 0 && (j.out.format == "table" || j.out.format == "markdown") {
			err = printVerdict(w, j.out.format, records)
		}
		if err == nil && (j.out.format == "table" || j.out.format == "markdown") {
			err = printOwn(w, j.out.format, records)
		}
		return err
	})
}

// problem runs one problem on all devices.
func (j *job) problem(ctx context.Context, oracle *engine.Device, devs []*engine.Device, p *problem.Problem, bar *progress,
	check func(*engine.Device, *verify.Case, string) []report.Record) []report.Record {
	var records []report.Record
	var ran []*engine.Device // a record each
	c, caseErr := verify.NewCase(ctx, oracle, *p, j.fill, j.budget)
	if caseErr == nil {
		c.Explain = j.explain
	}
	for _, d := range devs {
		bar.start(d.Name() + " " + p.String())
		j.best = 0
		for _, alg := range algorithms(d, *p, j.alg) {
			if ctx.Err() != nil {
				return records
			}
			if caseErr == nil {
				for _, r := range check(d, c, alg) {
					j.compareAlgorithms(ctx, d, p, &r)
					records = append(records, r)
					ran = append(ran, d)
				}
				continue
			}
			// Without inputs the device's own reason to refuse says more, if it has one.
			r := report.New(p, d)
			r.Repro = verify.Repro(p, d.Name(), alg, j.fill, verify.Flags(d)...)
			pl, err := d.Plan(ctx, *p, driver.PlanOptions{Algorithm: alg})
			if err == nil {
				err = errors.Join(caseErr, pl.Close())
			}
			r.Fail(err)
			records = append(records, r)
		}
		bar.step()
	}
	if c != nil && len(ran) == len(records) {
		j.compareChosen(ctx, c, ran, records)
	}
	return records
}

// several says whether a device stands for several, from which it chooses.
func several(d *engine.Device) bool { return d.Name() != d.Spec() }

// compareChosen times devices that chose again, in turns with those that were best by themselves.
func (j *job) compareChosen(ctx context.Context, c *verify.Case, ran []*engine.Device, records []report.Record) {
	if j.columns == nil || j.peaks == nil || j.kernels != "" || !slices.ContainsFunc(ran, several) || j.alg != "auto" {
		return
	}
	best := func(of func(*report.Record) *report.Times) (at int) {
		at = -1
		for i := range records {
			r := &records[i]
			if several(ran[i]) || r.Status != report.Passed || of(r) == nil {
				continue
			}
			if at < 0 || of(r).Median < of(&records[at]).Median {
				at = i
			}
		}
		return at
	}
	for i, d := range ran {
		if !several(d) || records[i].Status != report.Passed {
			continue
		}
		devs, turns, seen := []*engine.Device{d}, []*report.Record{&records[i]}, []int{-1}
		for _, of := range []func(*report.Record) *report.Times{
			func(r *report.Record) *report.Times { return r.WallMS }, func(r *report.Record) *report.Times { return r.E2EMS },
		} {
			if at := best(of); !slices.Contains(seen, at) {
				devs, turns, seen = append(devs, ran[at]), append(turns, &records[at]), append(seen, at)
			}
		}
		if len(devs) > 1 {
			bench.InTurns(ctx, c, j.bench, devs, turns)
			records[i].AgainstBest(turns[1:])
		}
	}
}
