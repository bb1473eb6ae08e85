package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/onnx"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// listing makes many checks on devices: rows of files, random problems. Tables show what did not pass and the counts; the
// other formats all results.
type listing struct {
	out    *output
	device string
	asked
	options driver.Options

	shown  []report.Record
	counts map[string]*tally // by device
	total  tally
}

// people says whether the output is for people.
func (l *listing) people() bool { return l.out.format == "table" || l.out.format == "markdown" }

// add takes a result.
func (l *listing) add(r report.Record) {
	if l.options.Kernels != "" {
		withChanges(&r, l.options.Kernels)
	}
	l.total.add(r)
	t := l.counts[r.Device]
	if t == nil {
		t = &tally{}
		l.counts[r.Device] = t
	}
	if t.add(r); !l.people() || r.Status == report.Failed || r.Status == report.Skipped {
		l.shown = append(l.shown, r)
	}
}

// run opens the devices and the oracle, calls check, which adds results, and prints them.
func (l *listing) run(cmd *cobra.Command, check func(ctx context.Context, oracle *engine.Device, devs []*engine.Device) error) (err error) {
	if err := l.out.check(); err != nil {
		return err
	}
	ctx := cmd.Context()
	devs, oracle, closeAll, err := devices(ctx, l.device, l.options, l.opening()...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	l.counts = map[string]*tally{}
	err = check(ctx, oracle, devs)
	printErr := l.out.write(cmd, func(w io.Writer, width int, colour bool) error {
		err := report.Write(w, l.out.format, l.shown, report.Options{Columns: report.VerifyColumns, Colour: colour, Width: width})
		if err == nil && l.people() {
			_, err = fmt.Fprintln(w, l.table(devs).Render(l.out.format))
		}
		return err
	})
	if err := errors.Join(err, printErr); err != nil && ctx.Err() == nil {
		return err
	}
	return l.total.conclude(ctx, l.total.total)
}

// table counts results by device.
func (l *listing) table(devs []*engine.Device) report.Table {
	t := report.Table{Head: []string{"device", "passed", "failed", "unsupported", "skipped"}, Right: []bool{false, true, true, true, true}}
	for _, d := range devs {
		row := []string{d.Name()}
		for _, s := range []report.Status{report.Passed, report.Failed, report.Unsupported, report.Skipped} {
			n := 0
			if c := l.counts[d.Name()]; c != nil {
				n = c.count[s]
			}
			row = append(row, fmt.Sprint(n))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// golden checks the results of a file of checksums. A file whose name has "deconv" in it is of transposed convolutions.
func (l *listing) golden(cmd *cobra.Command, file string, f *problemFlags, some sampling) error {
	var dirs []problem.Dir
	if cmd.Flags().Changed("dir") {
		for name := range strings.SplitSeq(f.dir, ",") {
			d, err := problem.Lookup[problem.Dir](name)
			if err != nil {
				return fmt.Errorf("--dir: %w", err)
			}
			dirs = append(dirs, d)
		}
	}
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	op := problem.Conv
	if strings.Contains(filepath.Base(file), problem.Deconv.String()) {
		op = problem.Deconv
	}
	list, err := verify.ReadGolden(in, op, dirs)
	if err != nil {
		return fmt.Errorf("--golden %s: %w", file, err)
	}
	return l.run(cmd, func(ctx context.Context, oracle *engine.Device, devs []*engine.Device) error {
		list = choose(l.suited(list, devs), some)
		bar := newProgress(cmd, len(list)*len(devs))
		defer bar.end()
		for _, dev := range devs {
			for i := range list {
				g := &list[i]
				bar.start(dev.Name() + " " + g.Problem.String())
				for _, alg := range algorithms(dev, g.Problem, l.alg) {
					if err := ctx.Err(); err != nil {
						return err
					}
					l.add(g.Check(ctx, oracle, dev, alg))
				}
				bar.step()
			}
		}
		return nil
	})
}

// suited are those results of a list that a device computes by the algorithm that --alg names; all where it names none, or one
// that no device has.
func (l *listing) suited(list []verify.Golden, devs []*engine.Device) []verify.Golden {
	var some []verify.Golden
	for _, g := range list {
		if slices.ContainsFunc(devs, func(d *engine.Device) bool { return slices.Contains(d.Algorithms(g.Problem), l.alg) }) {
			some = append(some, g)
		}
	}
	if some == nil {
		return list
	}
	return some
}

func (l *listing) onnx(cmd *cobra.Command, dir string) error {
	return l.run(cmd, func(ctx context.Context, _ *engine.Device, devs []*engine.Device) error {
		for _, dev := range devs {
			if err := l.onnxOn(ctx, dev, dir); err != nil {
				return err
			}
		}
		return nil
	})
}

func (l *listing) onnxOn(ctx context.Context, dev *engine.Device, dir string) error {
	return onnx.RunDir(ctx, dev, dir, onnx.Operators(), func(res onnx.Result) {
		info := dev.Info()
		r := report.Record{
			Problem: res.Problem, Op: res.Operator, Dir: "FWD", Type: res.Type, Device: dev.Name(), DeviceName: info.Name, API: info.API,
			Driver: info.Driver, Algorithm: res.Algorithm, Tiles: res.Tiles, Runs: 1, Check: string(res.Check), Status: report.Status(res.Status),
			Verified: res.Status == onnx.Passed, Reason: res.Reason, Checked: res.Checked, Elements: res.Checked,
			MaxAbsErr: res.MaxAbsErr, BoundUsed: res.MaxRatio,
			Repro: "gonvolve verify --device " + dev.Name() + " --onnx " + filepath.Join(dir, filepath.Dir(res.Name)),
		}
		if r.Problem == "" {
			r.Problem = res.Name
		}
		l.add(r)
	})
}
