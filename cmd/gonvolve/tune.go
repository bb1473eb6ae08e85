package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/bench"
	"github.com/gonvolve/gonvolve/engine/cache"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/tune"
	"github.com/gonvolve/gonvolve/engine/tuned"
)

func newTuneCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tune [flags] [PROBLEM…]",
		Short: "Measure which algorithm and tile is fastest, and keep the proven winners",
		Long: `Measure which algorithm and tile is the fastest for each problem on a device, and
keep the winners, which every later plan of the same problem on that device
takes. A winner is proven against the float64 reference before it is kept, in
exact and in bounded mode; a candidate that computes wrong is reported and the
command ends with 1.

Choices hold for one device and version of its driver, as long as the kernels that
they run are the same: a change of others does not touch them.
They are kept in the cache folder (GONVOLVE_CACHE); --export and --merge carry
them between machines: of two for the same key the faster stays. Problems that
were tuned before are skipped, so an interrupted command goes on where it was.

Of a problem that a device, or --mem-limit, cannot hold the largest tile is tuned,
which is what runs with that limit plan.`,
		Example: `  gonvolve tune --device vulkan:0 --suite resnet50
  gonvolve tune --device opencl:0 --budget 30s mb1ic64ih56oc64oh56kh3ph1
  gonvolve tune --list
  gonvolve tune --export tuned.jsonl
  gonvolve tune --merge tuned.jsonl`,
	}
	device := deviceFlag(cmd, "all")
	out := outputFlags(cmd)
	problems := addProblemFlags(cmd)
	t := &tuning{out: out}
	limit := memLimitFlag(cmd)
	fl := cmd.Flags()
	fl.DurationVar(&t.options.Budget, "budget", 10*time.Second, "time for the candidates of each problem, compilation included; two are always measured")
	fl.BoolVar(&t.options.Force, "force", false, "measure again what was tuned before")
	fl.StringVar(&t.export, "export", "", "write all kept choices to a `file`, after what else is to be done")
	fl.StringVar(&t.merge, "merge", "", "take the choices of a `file` first")
	fl.BoolVar(&t.list, "list", false, "list the kept choices, and tune nothing")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := out.check(); err != nil {
			return err
		}
		if t.options.Budget <= 0 {
			return fmt.Errorf("%w: --budget %v; say how long, such as 10s", problem.ErrInvalid, t.options.Budget)
		}
		var err error
		if t.memLimit, err = limit(); err != nil {
			return err
		}
		named := len(args) > 0 || problems.suite != "" || problems.batch != ""
		if named && t.list {
			return fmt.Errorf("%w: --list shows what was tuned; leave it out to tune problems", problem.ErrInvalid)
		}
		var list []problem.Problem
		if named || !t.list && t.export == "" && t.merge == "" {
			var err error
			if list, err = problems.problems(cmd, args, bench.DefaultSuite); err != nil {
				return err
			}
			if cache.Open() == nil && t.export == "" {
				return fmt.Errorf("%w: GONVOLVE_CACHE=off keeps nothing; unset it, or add --export FILE", problem.ErrInvalid)
			}
		}
		return t.run(cmd, *device, list)
	}
	return cmd
}

// tuning is one call of tune.
type tuning struct {
	out           *output
	options       tune.Options
	export, merge string
	list          bool
	memLimit      int64 // of each device, in bytes; 0: none
}

func (t *tuning) run(cmd *cobra.Command, specs string, list []problem.Problem) (err error) {
	db := tuned.User()
	if t.merge != "" {
		f, err := os.Open(t.merge)
		if err != nil {
			return err
		}
		taken, total, err := db.Merge(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("--merge %s: %w", t.merge, err)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%d of %d choices are new or faster\n", taken, total)
	}
	var rows []tuneRow
	if len(list) > 0 {
		if rows, err = t.measure(cmd, specs, list, db); err != nil {
			return err
		}
		if err := t.out.write(cmd, func(w io.Writer, width int, _ bool) error { return printTuned(w, t.out.format, rows, width) }); err != nil {
			return err
		}
	}
	if t.list {
		if err := t.out.write(cmd, func(w io.Writer, width int, _ bool) error { return printChoices(w, t.out.format, db, width) }); err != nil {
			return err
		}
	}
	if t.export != "" {
		if err := exportTo(t.export, db); err != nil {
			return fmt.Errorf("--export: %w", err)
		}
	}
	return conclude(cmd.Context(), rows, len(list))
}

// exportTo writes to a temporary file beside the wanted one and renames it: what was there stays whole if that fails.
func exportTo(file string, db *tuned.DB) error {
	f, err := os.Create(file + ".new")
	if err != nil {
		return err
	}
	if err = errors.Join(db.Export(f), f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// measure tunes problems on devices; an interruption keeps what is done.
func (t *tuning) measure(cmd *cobra.Command, specs string, list []problem.Problem, db *tuned.DB) (rows []tuneRow, err error) {
	ctx := cmd.Context()
	devs, oracle, closeAll, err := devices(ctx, specs, driver.Options{}, engine.WithTuning(nil), engine.WithMemLimit(t.memLimit))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	if devs, err = single(ctx, devs); err != nil {
		return nil, err
	}
	bar := newProgress(cmd, len(list)*len(devs))
	defer bar.end()
	for _, p := range list {
		for _, d := range devs {
			if ctx.Err() != nil {
				return rows, nil
			}
			bar.start(d.Spec() + " " + p.String())
			rows = append(rows, newTuneRow(tune.Problem(ctx, oracle, d, p, db, t.options)))
			bar.step()
			runtime.GC() // the next problem's tensors may be large
		}
	}
	return rows, nil
}

// single lists devices one by one, where they stand for several.
func single(ctx context.Context, devs []*engine.Device) (list []*engine.Device, err error) {
	for _, d := range devs {
		members, err := d.Members(ctx)
		if err != nil {
			return nil, err
		}
		list = append(list, members...)
	}
	return list, nil
}

// tuneRow is one result of `gonvolve tune`.
type tuneRow struct {
	Problem   string      `json:"problem"`
	Whole     string      `json:"whole,omitempty"` // of which the problem is the largest tile
	Device    string      `json:"device"`
	Default   string      `json:"default"`
	DefaultMS float64     `json:"default_ms"`
	Algorithm string      `json:"algorithm"`
	Tile      string      `json:"tile"`
	MS        float64     `json:"ms"`
	Speedup   float64     `json:"speedup"`
	Tried     int         `json:"tried"`
	Of        int         `json:"candidates"`
	Proven    string      `json:"proven"`
	Status    tune.Status `json:"status"`
	Reason    string      `json:"reason"`
	Wrong     []string    `json:"wrong"` // candidates that computed wrong, and how
}

func newTuneRow(r tune.Result) tuneRow {
	row := tuneRow{
		Problem: r.Problem, Whole: r.Whole, Device: r.Device, Default: r.Default.Name(), DefaultMS: r.Default.MS,
		Algorithm: r.Winner.Algorithm, Tile: r.Winner.Tile, MS: r.Winner.MS, Speedup: r.Speedup(),
		Tried: r.Tried, Of: r.Total, Proven: r.Check, Status: r.Status, Reason: r.Reason, Wrong: []string{},
	}
	for _, w := range r.Wrong {
		row.Wrong = append(row.Wrong, w.Name()+": "+w.Reason)
	}
	return row
}

// conclude is the command's end.
func conclude(ctx context.Context, rows []tuneRow, wanted int) error {
	ran := 0
	for _, r := range rows {
		if len(r.Wrong) > 0 {
			return fmt.Errorf("%w: %s on %s: %s; it was not kept", errFailed, r.Problem, r.Device, r.Wrong[0])
		}
		if r.Status == tune.Failed {
			return fmt.Errorf("%w: %s on %s: %s", errFailed, r.Problem, r.Device, r.Reason)
		}
		if r.Status == tune.Tuned || r.Status == tune.Known {
			ran++
		}
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%w after %d; the same command goes on from there", errInterrupted, ran)
	case wanted > 0 && ran == 0:
		return fmt.Errorf("%w: %s", errNothingRan, rows[0].Reason)
	}
	return nil
}

func milliseconds(v float64) string {
	if v == 0 {
		return "–"
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func speedup(v float64) string {
	if v == 0 {
		return "–"
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// shown is a problem's name if it has one.
func shown(text string) string {
	if _, name, ok := strings.Cut(text, `n"`); ok {
		return strings.TrimSuffix(name, `"`)
	}
	return text
}

func printTuned(w io.Writer, format string, rows []tuneRow, width int) error {
	if format == "json" {
		return report.JSONLines(w, rows)
	}
	t := report.Table{
		Head:  []string{"problem", "device", "default", "ms", "winner", "ms", "× faster", "tried", "proven"},
		Right: []bool{false, false, false, true, false, true, true, true, false}, Width: width,
	}
	for _, r := range rows {
		state := r.Proven
		switch r.Status {
		case tune.Known:
			state += " (before)"
		case tune.Tuned:
		case tune.Interrupted:
			state = "interrupted"
		default:
			state = string(r.Status) + ": " + r.Reason
		}
		if r.Whole != "" {
			state += "; a tile of " + shown(r.Whole)
		}
		for _, wrong := range r.Wrong {
			state += "; wrong, not kept: " + wrong
		}
		t.Rows = append(t.Rows, []string{shown(r.Problem), r.Device, r.Default, milliseconds(r.DefaultMS),
			strings.TrimSpace(r.Algorithm + " " + r.Tile), milliseconds(r.MS), speedup(r.Speedup),
			fmt.Sprintf("%d/%d", r.Tried, r.Of), state})
	}
	return t.Write(w, format)
}

// kernelVersion is what follows a kernel's name in tuned.Entry.Kernels.
var kernelVersion = regexp.MustCompile(`@\w+`)

// printChoices prints what is kept.
func printChoices(w io.Writer, format string, db *tuned.DB, width int) error {
	if format == "json" {
		return db.Export(w)
	}
	t := report.Table{
		Head:  []string{"device", "problem", "winner", "ms", "default", "ms", "proven", "date", "kernels"},
		Right: []bool{false, false, false, true, false, true, false, false, false}, Width: width,
	}
	for _, e := range db.Entries() {
		t.Rows = append(t.Rows, []string{e.DeviceName, e.Problem, strings.TrimSpace(e.Algorithm + " " + e.Tile), milliseconds(e.MS),
			strings.TrimSpace(e.Default + " " + e.DefaultTile), milliseconds(e.DefaultMS), e.Check, e.Date, kernelVersion.ReplaceAllString(e.Kernels, "")})
	}
	return t.Write(w, format)
}
