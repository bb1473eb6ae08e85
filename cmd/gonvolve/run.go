package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/tensorio"
)

func newRunCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Convolve or pool a file: a picture or an array",
		Long: `Convolve or pool a file: a picture or an array.

Files are .npy (any numbers, read as float32), .png, .jpg and .jpeg. A picture
is a tensor [1, C, H, W] of values 0 to 255 with one channel if it is grey, else
three; transparency is dropped. Writing a picture clamps to 0 to 255 and rounds
(see --map).`,
		Example: `  gonvolve run conv --src photo.png --wei gaussian:5 --dst blurred.png
  gonvolve run pool --src photo.png --kernel 2 --kind avg_np --dst half.png`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRunConvCommand(), newRunPoolCommand())
	return cmd
}

// runFlags are the flags that conv and pool share.
type runFlags struct {
	src, dst, alg, mapping string
	stride, pad, dilation  string
	noFallback             bool
	device                 *string
	out                    *output
}

// add adds the flags that both operations have, and runs the job that the operation's own make of them.
func (f *runFlags) add(cmd *cobra.Command, job func() (runJob, error)) {
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.check(); err != nil {
			return err
		}
		j, err := job()
		if err != nil {
			return err
		}
		return f.finish(cmd, j)
	}
	fl := cmd.Flags()
	fl.StringVar(&f.src, "src", "", "`file` to read: .npy, .png, .jpg or .jpeg")
	fl.StringVar(&f.dst, "dst", "", "`file` to write: .npy, .png, .jpg or .jpeg; the shape written is [N, C, spatial…]")
	fl.StringVar(&f.pad, "pad", "", "padding with zeros: one `number` for all sides, one for each spatial dimension, or all "+
		"beginnings and then all ends (top,left,bottom,right); negative numbers crop; same: the result has the source's size "+
		"divided by the stride, an odd cell goes to the end")
	fl.StringVar(&f.dilation, "dilation", "", "distance of a kernel's cells, 1 = dense: one `number` or one for each spatial dimension")
	fl.StringVar(&f.mapping, "map", "auto", "how a picture shows values outside of 0 to 255: clamp, abs (absolute values), scale (least "+
		"to greatest becomes 0 to 255); auto is abs for the filters that find edges, else clamp")
	fl.StringVar(&f.alg, "alg", "", "force an `algorithm`; without it the device chooses")
	fl.BoolVar(&f.noFallback, "no-fallback", false, "fail rather than run on the cpu what the device cannot")
	f.device = deviceFlag(cmd, "auto")
	fl.Lookup("device").Usage = "`device`: cpu, vulkan:0, opencl:*name*, auto; the first that matches"
	f.out = outputFlags(cmd)
}

// runJob is what is to be run.
type runJob struct {
	problem       problem.Problem
	src, wei, bia *engine.Tensor
	exact         bool             // keep to algorithms that only multiply and add: see package filter
	mapping       tensorio.Mapping // unless --map says otherwise
}

// check refuses what cannot be written before anything is read.
func (f *runFlags) check() error {
	for _, c := range []struct{ flag, value, use string }{
		{"src", f.src, "the picture or .npy file to read"}, {"dst", f.dst, "the picture or .npy file to write"},
	} {
		if c.value == "" {
			return fmt.Errorf("%w: --%s is missing; give %s", engine.ErrInvalid, c.flag, c.use)
		}
	}
	format, err := tensorio.FormatOf(f.dst)
	if err != nil {
		return fmt.Errorf("--dst: %w", err)
	}
	if f.mapping != "auto" {
		if _, err := tensorio.ParseMapping(f.mapping); err != nil {
			return fmt.Errorf("--map: %w, auto", err)
		}
		if !format.Picture() {
			return fmt.Errorf("%w: --map is for pictures and --dst %s is none; leave it out", engine.ErrInvalid, f.dst)
		}
	}
	return f.out.check()
}

// read reads the file of a flag.
func read(flag, path string) (*engine.Tensor, error) {
	t, err := tensorio.Read(path)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	return t, nil
}

// leading gives a tensor of lower rank sizes of 1 in front.
func leading(t *engine.Tensor, rank int) (*engine.Tensor, error) {
	missing := rank - len(t.Shape())
	if missing <= 0 {
		return t, nil
	}
	return engine.FromFloat32(t.Float32s(), append(slices.Repeat([]int{1}, missing), t.Shape()...)...)
}

// params turns the shared flags into parameters for so many spatial dimensions.
func (f *runFlags) params(dims int) (o problem.Params, err error) {
	if o.Stride, err = numbers("stride", f.stride, 1, dims); err != nil {
		return o, err
	}
	if o.Dilation, err = numbers("dilation", f.dilation, 1, dims); err != nil {
		return o, err
	}
	if f.pad == "same" {
		o.SameUpper = true
		return o, nil
	}
	if o.PadL, err = numbers("pad", f.pad, 1, dims, 2*dims); err != nil {
		return o, err
	}
	if dims < len(o.PadL) {
		o.PadL, o.PadR = o.PadL[:dims], o.PadL[dims:]
	}
	return o, nil
}

// finish runs the job, writes the result and prints the record.
func (f *runFlags) finish(cmd *cobra.Command, j runJob) error {
	if err := tensorio.Check(f.dst, j.problem.Shape(problem.Dst)); err != nil {
		return fmt.Errorf("--dst: %w", err)
	}
	if f.mapping != "auto" {
		m, err := tensorio.ParseMapping(f.mapping)
		if err != nil {
			return fmt.Errorf("--map: %w", err)
		}
		j.mapping = m
	}
	dst, record, err := f.compute(cmd, j)
	if err != nil {
		return err
	}
	if err := tensorio.Write(f.dst, dst, tensorio.Options{Mapping: j.mapping}); err != nil {
		return fmt.Errorf("--dst: %w", err)
	}
	return f.out.records(cmd, []report.Record{record}, []report.Column{
		{Title: "problem", Value: func(r *report.Record) string { return r.Problem }},
		{Title: "device", Value: func(r *report.Record) string { return r.Device }},
		{Title: "algorithm", Value: func(r *report.Record) string { return r.Algorithm }},
		{Title: "first run ms", Right: true, Value: func(r *report.Record) string { return fmt.Sprintf("%.3g", r.FirstMS) }},
		{Title: "written", Value: func(*report.Record) string { return f.dst }},
	})
}

// compute runs the job once on the device asked for.
func (f *runFlags) compute(cmd *cobra.Command, j runJob) (dst *engine.Tensor, r report.Record, err error) {
	ctx := cmd.Context()
	var options []engine.Option
	if f.noFallback {
		options = append(options, engine.NoFallback())
	}
	dev, err := engine.Open(ctx, *f.device, options...)
	if err != nil {
		return nil, r, err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	r = report.New(&j.problem, dev)
	start := time.Now()
	plan, err := f.plan(ctx, dev, j)
	if err != nil {
		return nil, r, err
	}
	defer func() { err = errors.Join(err, plan.Close()) }()
	if fb := plan.Fallback(); fb != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "gonvolve: note:", fb)
	}
	if j.wei != nil {
		if err := plan.SetWeights(ctx, engine.Operands{problem.Wei: j.wei, problem.Bia: j.bia}); err != nil {
			return nil, r, err
		}
	}
	run := time.Now()
	out, err := plan.RunHost(ctx, engine.Operands{problem.Src: j.src})
	if err != nil {
		return nil, r, err
	}
	end := time.Now()
	r.Planned(plan)
	r.Runs, r.Status = 1, report.Passed
	r.FirstMS = report.Milliseconds(end.Sub(start))
	r.E2EMS = report.Summarise([]time.Duration{end.Sub(run)})
	return out[problem.Dst], r, nil
}

// plan compiles the job by the algorithm asked for.
func (f *runFlags) plan(ctx context.Context, dev *engine.Device, j runJob) (*engine.Plan, error) {
	known := dev.Algorithms(j.problem)
	if f.alg != "" {
		// A device that can run nothing of the kind says why itself.
		if len(known) > 0 && !slices.Contains(known, f.alg) {
			return nil, fmt.Errorf("%w: --alg %q cannot run this on %s; there are %s", engine.ErrInvalid, f.alg, dev.Spec(), strings.Join(known, ", "))
		}
		return dev.Plan(ctx, j.problem, driver.PlanOptions{Algorithm: f.alg})
	}
	plan, err := dev.Plan(ctx, j.problem, driver.PlanOptions{})
	if err != nil || !j.exact || !rounds(plan.Info().Algorithm) {
		return plan, err
	}
	for _, name := range plan.Device().Algorithms(j.problem) {
		if !rounds(name) {
			exact, err := plan.Device().Plan(ctx, j.problem, driver.PlanOptions{Algorithm: name})
			return exact, errors.Join(err, plan.Close())
		}
	}
	return plan, nil
}

// rounds says whether an algorithm rounds where plain products and sums would be exact.
func rounds(algorithm string) bool {
	return strings.HasPrefix(algorithm, "winograd") || strings.HasPrefix(algorithm, "fft")
}
