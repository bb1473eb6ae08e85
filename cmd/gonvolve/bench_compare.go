package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
)

func newBenchCompareCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "compare [flags] BEFORE.json AFTER.json",
		Short: "Compare two benchmarks: what changed beyond the noise",
		Long: `Compare two benchmarks that were written with --format json: medians of device
time where both have it, else of wall time, else end to end, for each problem,
device and algorithm, and the geometric mean for each device.

Faster or slower is what changed beyond the noise: the ranges from minimum to
95th percentile do not overlap, and the medians differ by 2 % or more. Several
results of the same in one file (cat run1.json run2.json) are taken together.
Files without a common device, such as another library's times and ours, are
compared by problem alone, with the fastest of the first file.

The command ends with 0 whatever it finds, unless --fail-over says how much
slower is too much; results that were right before and are not now are, too.`,
		Example: `  gonvolve bench --format json -o before.json
  gonvolve bench --format json -o after.json
  gonvolve bench compare before.json after.json
  gonvolve bench compare --fail-over 10% before.json after.json`,
		Args: cobra.ExactArgs(2),
	}
	out := outputFlags(cmd)
	failOver := cmd.Flags().String("fail-over", "", "end with 1 if something is slower beyond the noise by more than so many `percent`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := out.check(); err != nil {
			return err
		}
		limit := 0.0
		if *failOver != "" {
			var err error
			limit, err = strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(*failOver), "%"), 64)
			if err != nil || !(limit >= 0) {
				return fmt.Errorf("%w: --fail-over %q; say percent, such as 10%%", problem.ErrInvalid, *failOver)
			}
		}
		var lists [2][]report.Record
		for i, file := range args {
			var err error
			if lists[i], err = readRecords(file); err != nil {
				return err
			}
		}
		changes := report.Compare(lists[0], lists[1])
		err := out.write(cmd, func(w io.Writer, width int, _ bool) error { return report.WriteChanges(w, out.format, changes, width) })
		if err != nil || *failOver == "" {
			return err
		}
		return tooSlow(changes, limit)
	}
	return cmd
}

func readRecords(file string) (list []report.Record, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if list, err = report.Read(f); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return list, nil
}

// tooSlow is an error if something is broken or slower by more than limit percent.
func tooSlow(changes []report.Change, limit float64) error {
	count, worst := 0, (*report.Change)(nil)
	for i := range changes {
		c := &changes[i]
		if c.Verdict == report.Broken {
			return fmt.Errorf("%w: %s on %s is broken: %s", errFailed, c.Problem, c.Device, c.Reason)
		}
		if c.Verdict == report.Slower && 100*(1/c.Ratio-1) > limit {
			count++
			if worst == nil || c.Ratio < worst.Ratio {
				worst = c
			}
		}
	}
	if worst == nil {
		return nil
	}
	return fmt.Errorf("%w: %d are slower by more than %v %%, most of all %s on %s: %.4g ms instead of %.4g",
		errFailed, count, limit, worst.Problem, worst.Device, worst.After.Median, worst.Before.Median)
}
