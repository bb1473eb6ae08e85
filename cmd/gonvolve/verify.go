package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
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
--golden FILE   checksums of results (exact mode): of convolutions forward and
                backward, of pooling, or, if the file's name says deconv, of
                transposed convolutions; --dir FWD,BWD_W restricts them
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
				return l.golden(cmd, *golden, problems)
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
