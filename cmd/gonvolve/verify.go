package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

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
--fuzz 60s      random problems of every operation, by all algorithms with both
                fills; the first failure is shrunk to the smallest problem that
                still fails. The same --seed makes the same problems; --alg NAME
                draws those that a device can run by it, and runs no other
--cut random    in tiles instead of whole, cut at random along all dimensions by
                --seed: the result has to be the same. With --fuzz, too; a list
                of steps (--cut 1,1,4,4,1,3,8: batch, groups, output and input
                channels, depth, height, width of a tile) repeats one
--alg NAME      by an algorithm; --tile m=4 forces one of its tiles (those of the cpu's
                winograd are m=2, m=4 and m=6), --alg all runs all algorithms
--batch FILE    a list of problems in benchdnn's form; --sample 1000 checks so
                many of them, chosen by --seed
--verdict       one problem in detail, which a failure of a single problem
                shows too: how large the errors are, the worst element and the
                sum behind it, and which device or algorithm is wrong
--kernels DIR   with changed kernel sources, compiled on the spot
--faults N      random problems on devices whose drivers fail at random: they run
                out of memory, are lost, hang or return errors. Each run has to
                end in the right result or a clear error, with nothing left of
                it; --seed and --first choose them
--onnx DIR      ONNX backend tests: model.onnx with test_data_set_*
Outputs are filled with NaN before each run, so that elements nobody writes fail.
A problem too large to check whole is checked on a sample, as the record says.
What a device, or --mem-limit, cannot hold runs in tiles; the record says so and why.
Without problems the suite smoke is run. Exit status 1: a check failed.`,
		Example: `  gonvolve verify --device all mb1ic64ih56oc64oh56kh3ph1
  gonvolve verify --fill uniform --suite resnet50 --alg all
  gonvolve verify --golden conv.csv --device vulkan:0
  gonvolve verify --golden conv.csv --alg all --sample 400
  gonvolve verify --fuzz 60s --seed 7 --device vulkan:0
  gonvolve verify --fuzz 60s --cut random --device cpu,vulkan:0,cpu+vulkan:0
  gonvolve verify --fuzz 60s --mem-limit 64KiB --device all
  gonvolve verify --batch conv/shapes_resnet_50 --mb 1 --sample 100
  gonvolve verify --verdict --fill uniform mb1ic64ih56oc64oh56kh3ph1
  gonvolve verify --faults 10000 --seed 7 --device all
  gonvolve verify --onnx node-tests/ --device cpu`,
	}
	device := deviceFlag(cmd, "all")
	out := outputFlags(cmd)
	problems := addProblemFlags(cmd)
	fill := cmd.Flags().String("fill", "int", "inputs: int (exact mode) or uniform (bounded mode)")
	asked := askedFlags(cmd)
	golden := cmd.Flags().String("golden", "", "a `file` of checksums")
	onnxDir := cmd.Flags().String("onnx", "", "a `folder` with ONNX backend tests")
	verdict := cmd.Flags().Bool("verdict", false, "one problem on every device by all algorithms in detail: errors, the worst elements, who is wrong")
	fuzz := cmd.Flags().Duration("fuzz", 0, "check random problems for so `long`, by all algorithms with both fills")
	faults := cmd.Flags().Uint64("faults", 0, "so many `runs` with random faults")
	first := cmd.Flags().Uint64("first", 0, "`run` that --faults begins with")
	seed := cmd.Flags().Uint64("seed", 1, "of --fuzz: the same seed gives the same problems; of --sample and --faults likewise")
	budget := cmd.Flags().Float64("budget", verify.DefaultBudget, "products that the reference computes for a problem; a sample is compared if all would be more")
	sample := cmd.Flags().Int("sample", 0, "only so many of the problems, at random")
	validate := cmd.Flags().Bool("validate", false, "run under the API's validation layer (Vulkan); its messages fail the check")
	kernels := kernelsFlag(cmd, "the kernel sources of a `folder` (*.k, preludes, common.inc) instead of the built-in ones")
	staged := cmd.Flags().Bool("staged", false, "move data through staging memory also where device and host share memory")
	binding := cmd.Flags().String("max-binding", "", "kernels of GPUs see no more than so much `memory` of a tensor at a time, such as 4KiB, so that small ones are cut as large ones are")
	for _, list := range []string{"batch", "suite"} {
		cmd.MarkFlagsMutuallyExclusive("golden", "onnx", "fuzz", "faults", list)
	}
	cut := cmd.Flags().String("cut", "", "in tiles: random, or `steps` of batch, groups, output and input channels, depth, height and width")
	cmd.MarkFlagsMutuallyExclusive("onnx", "fuzz", "faults", "sample")
	for _, other := range []string{"golden", "onnx", "faults", "verdict"} {
		cmd.MarkFlagsMutuallyExclusive("cut", other)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := verify.ParseFill(*fill)
		if err != nil {
			return err
		}
		most, err := parseBytes(*binding)
		if err != nil {
			return fmt.Errorf("--max-binding: %w", err)
		}
		how, err := asked()
		if err != nil {
			return err
		}
		options := driver.Options{Validate: *validate, Staged: *staged, MaxBinding: most, Kernels: *kernels}
		if cmd.Flags().Changed("faults") {
			if len(args) > 0 {
				return fmt.Errorf("%w: --faults takes no problems", problem.ErrInvalid)
			}
			return runFaults(cmd, out, *device, options, *seed, *first, *faults)
		}
		some := sampling{all: !cmd.Flags().Changed("sample"), n: *sample, seed: *seed}
		if *golden != "" || *onnxDir != "" || cmd.Flags().Changed("fuzz") {
			if len(args) > 0 {
				return fmt.Errorf("%w: --golden, --onnx and --fuzz take no problems", problem.ErrInvalid)
			}
			l := &listing{out: out, device: *device, asked: how, options: options}
			if *golden != "" {
				return l.golden(cmd, *golden, problems, some)
			}
			if *onnxDir != "" {
				return l.onnx(cmd, *onnxDir)
			}
			var fills []verify.Fill
			if cmd.Flags().Changed("fill") {
				fills = []verify.Fill{f}
			}
			if !cmd.Flags().Changed("alg") {
				l.alg = "all"
			}
			if *cut != "" && *cut != randomCut {
				return fmt.Errorf("%w: --fuzz with --cut %s; write --cut %s", problem.ErrInvalid, *cut, randomCut)
			}
			return l.fuzz(cmd, *fuzz, *seed, fills, *cut != "")
		}
		job := &job{asked: how, fill: f, budget: *budget, options: options, out: out, columns: report.VerifyColumns}
		steps, err := parseCut(*cut, *seed)
		if err != nil {
			return err
		}
		job.check = func(ctx context.Context, dev *engine.Device, c *verify.Case, alg string) report.Record {
			var r report.Record
			if steps == nil {
				r = c.Check(ctx, dev, alg)
			} else {
				r = c.CheckCut(ctx, dev, alg, steps(c.Problem))
			}
			if *kernels != "" {
				withChanges(&r, *kernels)
			}
			return r
		}
		list, err := problems.problems(cmd, args, "smoke")
		if err != nil {
			return err
		}
		list = choose(list, some)
		if *verdict {
			if len(list) != 1 {
				return fmt.Errorf("%w: --verdict takes one problem, not %d", problem.ErrInvalid, len(list))
			}
			if !cmd.Flags().Changed("alg") {
				job.alg = "all"
			}
		}
		job.explain, job.verdict = len(list) == 1, *verdict
		return job.run(cmd, *device, list)
	}
	return cmd
}

// sampling says how many of a list are to be checked: all, or n, but one at least.
type sampling struct {
	all  bool
	n    int
	seed uint64
}

// choose picks at random, in the list's order.
func choose[T any](list []T, s sampling) []T {
	if s.all || len(list) == 0 {
		return list
	}
	at := rand.New(rand.NewPCG(s.seed, 0)).Perm(len(list))
	at = at[:min(len(at), max(1, s.n))]
	slices.Sort(at)
	chosen := make([]T, len(at))
	for i, k := range at {
		chosen[i] = list[k]
	}
	return chosen
}

const randomCut = "random"

// parseCut reads --cut: nil for none, or how to cut a problem.
func parseCut(text string, seed uint64) (func(problem.Problem) []int, error) {
	switch text {
	case "":
		return nil, nil
	case randomCut:
		return func(p problem.Problem) []int {
			steps, err := verify.RandomCut(p, seed, 0)
			if err != nil {
				return nil // the check says so
			}
			return steps
		}, nil
	}
	var steps []int
	for number := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("--cut: %w: %.60q is neither %s nor steps, such as 1,1,4,4,1,3,8", problem.ErrInvalid, text, randomCut)
		}
		steps = append(steps, n)
	}
	return func(problem.Problem) []int { return steps }, nil
}
