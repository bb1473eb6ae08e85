package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/onnx"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/verify"
)

func newVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify [flags] [PROBLEM…]",
		Short: "Prove results against the float64 reference, checksums or ONNX tests",
		Long: `Prove results against the float64 reference, checksums or ONNX tests.

--fill int      exact mode: small whole numbers, every sum exact, so the result
                must be the reference's bit for bit
--fill uniform  bounded mode: reals, judged by the a-priori bound of float32
                arithmetic, γ_n · Σ|src·wei|
--golden FILE   rows of checksums of convolutions (exact mode)
--onnx DIR      ONNX backend tests: model.onnx with test_data_set_*
Outputs are filled with NaN before each run, so that elements nobody writes fail.
A problem too large to check whole is checked on a sample, as the record says.
Without problems the suite smoke is run. Exit status 1: a check failed.`,
		Example: `  gonvolve verify --device all mb1ic64ih56oc64oh56kh3ph1
  gonvolve verify --fill uniform --suite resnet50 --alg all
  gonvolve verify --golden conv.csv --device vulkan:0
  gonvolve verify --onnx node-tests/ --device cpu`,
	}
	device := deviceFlag(cmd, "all")
	out := outputFlags(cmd)
	problems := addProblemFlags(cmd)
	fill := cmd.Flags().String("fill", "int", "inputs: int (exact mode) or uniform (bounded mode)")
	alg := cmd.Flags().String("alg", "auto", "algorithm: auto, all, or a name")
	golden := cmd.Flags().String("golden", "", "a `file` of checksums")
	onnxDir := cmd.Flags().String("onnx", "", "a `folder` with ONNX backend tests")
	validate := cmd.Flags().Bool("validate", false, "run under the API's validation layer (Vulkan); its messages fail the check")
	staged := cmd.Flags().Bool("staged", false, "move data through staging memory also where device and host share memory")
	cmd.MarkFlagsMutuallyExclusive("golden", "onnx", "batch")
	cmd.MarkFlagsMutuallyExclusive("golden", "onnx", "suite")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := verify.ParseFill(*fill)
		if err != nil {
			return err
		}
		options := driver.Options{Validate: *validate, Staged: *staged}
		if *golden != "" || *onnxDir != "" {
			if len(args) > 0 {
				return fmt.Errorf("%w: --golden and --onnx take no problems", problem.ErrInvalid)
			}
			l := &listing{out: out, device: *device, alg: *alg, options: options}
			if *golden != "" {
				return l.golden(cmd, *golden)
			}
			return l.onnx(cmd, *onnxDir)
		}
		job := &job{alg: *alg, fill: f, options: options, out: out, columns: report.VerifyColumns}
		job.check = func(ctx context.Context, dev *engine.Device, c *verify.Case, alg string) report.Record {
			return c.Check(ctx, dev, alg)
		}
		list, err := problems.problems(cmd, args, "smoke")
		if err != nil {
			return err
		}
		return job.run(cmd, *device, list)
	}
	return cmd
}

// listing checks the rows of files on devices. Tables show what did not pass and the counts; the other formats all rows.
type listing struct {
	out     *output
	device  string
	alg     string
	options driver.Options
}

func (l *listing) algorithm() string {
	if l.alg == "auto" {
		return ""
	}
	return l.alg
}

// run opens the devices and the oracle and calls check for each device.
func (l *listing) run(cmd *cobra.Command, check func(ctx context.Context, oracle, dev *engine.Device, each func(report.Record)) error) (err error) {
	if err := l.out.check(); err != nil {
		return err
	}
	ctx := cmd.Context()
	devs, closeAll, err := devices(ctx, l.device, l.options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	oracle, err := verify.Oracle(ctx)
	if err != nil {
		return err
	}
	defer oracle.Close()
	var records, shown []report.Record
	table := report.Table{Head: []string{"device", "passed", "failed", "unsupported", "skipped"}, Right: []bool{false, true, true, true, true}}
	for _, d := range devs {
		count := map[report.Status]int{}
		err = check(ctx, oracle, d, func(r report.Record) {
			count[r.Status]++
			records = append(records, r)
			if r.Status == report.Failed {
				shown = append(shown, r)
			}
		})
		row := []string{d.Spec()}
		for _, s := range []report.Status{report.Passed, report.Failed, report.Unsupported, report.Skipped} {
			row = append(row, fmt.Sprint(count[s]))
		}
		table.Rows = append(table.Rows, row)
		if err != nil {
			break
		}
	}
	people := l.out.format == "table" || l.out.format == "markdown"
	if !people {
		shown = records
	}
	printErr := l.out.write(cmd, func(w io.Writer, width int, colour bool) error {
		err := report.Write(w, l.out.format, shown, report.Options{Columns: report.VerifyColumns, Colour: colour, Width: width})
		if err == nil && people {
			_, err = fmt.Fprintln(w, table.Render(l.out.format))
		}
		return err
	})
	if err := errors.Join(err, printErr); err != nil && ctx.Err() == nil {
		return err
	}
	return conclude(ctx, records, len(records))
}

func (l *listing) golden(cmd *cobra.Command, file string) error {
	if _, err := os.Stat(file); err != nil {
		return err
	}
	return l.run(cmd, func(ctx context.Context, oracle, dev *engine.Device, each func(report.Record)) error {
		in, err := os.Open(file)
		if err != nil {
			return err
		}
		defer in.Close()
		bar := newProgress(cmd, lines(file))
		defer bar.end()
		bar.start(dev.Spec() + " " + filepath.Base(file))
		return verify.Golden(ctx, oracle, dev, l.algorithm(), in, func(r report.Record) { each(r); bar.step() })
	})
}

// lines counts the lines of a file, for the progress bar.
func lines(file string) int {
	f, err := os.Open(file)
	if err != nil {
		return 0
	}
	defer f.Close()
	n := 0
	for in := bufio.NewReader(f); ; n++ {
		if _, err := in.ReadSlice('\n'); err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return n
		}
	}
}

func (l *listing) onnx(cmd *cobra.Command, dir string) error {
	return l.run(cmd, func(ctx context.Context, _, dev *engine.Device, each func(report.Record)) error {
		return onnx.RunDir(ctx, dev, dir, onnx.Operators(), func(res onnx.Result) {
			info := dev.Info()
			r := report.Record{
				Problem: res.Problem, Op: res.Operator, Dir: "FWD", Type: "f32", Device: dev.Spec(), DeviceName: info.Name, API: info.API,
				Driver: info.Driver, Algorithm: res.Algorithm, Runs: 1, Check: "bounded", Status: report.Status(res.Status),
				Verified: res.Status == onnx.Passed, Reason: res.Reason, MaxAbsErr: res.MaxAbsErr, BoundUsed: res.MaxRatio,
				Repro: "gonvolve verify --device " + dev.Spec() + " --onnx " + filepath.Join(dir, filepath.Dir(res.Name)),
			}
			if r.Problem == "" {
				r.Problem = res.Name
			}
			each(r)
		})
	})
}
