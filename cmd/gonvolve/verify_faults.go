package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/machine"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// faultRow is a run of verify --faults, or a part of the counts.
type faultRow struct {
	Device  string `json:"device"`
	Outcome string `json:"outcome"`
	Count   int    `json:"count"`
}

// faultSums are the counts of verify --faults.
type faultSums struct {
	outcomes map[faultRow]int // Count is 0
	injected map[string]int
	steps    map[engine.Step]int
}

// runFaults does runs with random faults and prints how they ended. The first that ended as none may stops them.
func runFaults(cmd *cobra.Command, out *output, devices string, o driver.Options, seed, first, count uint64) (err error) {
	if err := out.check(); err != nil {
		return err
	}
	specs, err := engine.Resolve(devices)
	if err != nil {
		return err
	}
	// Thousands of devices are about to be lost on purpose.
	before := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	defer slog.SetDefault(before)
	ctx := cmd.Context()
	f := &verify.Faults{Seed: seed, Specs: specs, Options: o}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Prepare(ctx); err != nil {
		return err
	}
	s := faultSums{map[faultRow]int{}, map[string]int{}, map[engine.Step]int{}}
	bar := newProgress(cmd, int(min(count, 1<<30)))
	defer bar.end()
	var tenth, half int64 // resident memory then
	bad := ""
	for i := range count {
		if ctx.Err() != nil {
			break
		}
		switch i {
		case count / 10:
			tenth = resident()
		case count / 2:
			half = resident()
		}
		run := f.Run(ctx, first+i)
		s.add(run)
		bar.step()
		if run.Bad != "" {
			bad = fmt.Sprintf("run %d, %s of %s on %s with faults %v: %s\nrun it again: %s", run.Index, run.Mode,
				run.Problem.String(), run.Device, run.Faults, run.Bad, f.Repro(run.Index, devices))
			break
		}
	}
	if err := s.print(cmd, out); err != nil {
		return err
	}
	if out.format == "table" || out.format == "markdown" {
		fmt.Fprintf(cmd.OutOrStdout(), "faults: %s\nsteps: %s\n", sums(s.injected), sums(s.steps))
		fmt.Fprintf(cmd.OutOrStdout(), "resident memory: %s after a tenth of the runs, %s after half, %s at the end; goroutines: %d\n",
			bytes(tenth), bytes(half), bytes(resident()), runtime.NumGoroutine())
	}
	if bad != "" {
		return fmt.Errorf("%w: %s", errFailed, bad)
	}
	return ctx.Err()
}

func (s *faultSums) add(run *verify.FaultyRun) {
	s.outcomes[faultRow{Device: run.Device, Outcome: run.Outcome()}]++
	for kind, n := range run.Injected {
		s.injected[kind] += n
	}
	for _, step := range run.Steps {
		s.steps[step]++
	}
}

func (s *faultSums) print(cmd *cobra.Command, out *output) error {
	var rows []faultRow
	for r, n := range s.outcomes {
		r.Count = n
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b faultRow) int {
		return strings.Compare(a.Device+" "+a.Outcome, b.Device+" "+b.Outcome)
	})
	return out.write(cmd, func(w io.Writer, width int, _ bool) error {
		if out.format == "json" {
			return report.JSONLines(w, rows)
		}
		t := report.Table{Head: []string{"device", "outcome", "runs"}, Right: []bool{false, false, true}, Width: width}
		for _, r := range rows {
			t.Rows = append(t.Rows, []string{r.Device, r.Outcome, fmt.Sprint(r.Count)})
		}
		if out.format == "csv" {
			return t.CSV(w)
		}
		_, err := fmt.Fprintln(w, t.Render(out.format))
		return err
	})
}

// sums writes counts in the order of their names.
func sums[K ~string](counts map[K]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[k], string(k)))
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// resident is the memory of the process after a collection.
func resident() int64 {
	runtime.GC()
	return machine.Resident()
}
