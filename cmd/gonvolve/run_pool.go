package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// poolFlags are the flags of run pool.
type poolFlags struct {
	runFlags
	kind, kernel string
	ceil         bool
}

func newRunPoolCommand() *cobra.Command {
	f := &poolFlags{}
	cmd := &cobra.Command{
		Use:   "pool",
		Short: "Pool a picture or array",
		Long: `Pool a picture or array: the greatest value or the average of each window.

The source is [N, C, H, W] or [N, C, D, H, W]; [C, H, W] and [H, W] get sizes of
1 in front. (Pool a sequence as [N, C, 1, W] with --kernel 1,3.)

The averages divide by the cells of the window that lie in the source (avg_np),
by all cells of the kernel (avg_p), or by those in source or padding but not
in what --ceil lets hang over (avg_ip).`,
		Example: `  gonvolve run pool --kind max --kernel 3 --stride 2 --pad 1 --src x.npy --dst y.npy
  gonvolve run pool --kind avg_np --kernel 2 --src photo.png --dst half.png
  gonvolve run pool --kind avg_np --kernel global --src features.npy --device vulkan:0 --dst means.npy`,
		Args: cobra.NoArgs,
	}
	f.add(cmd, f.job)
	fl := cmd.Flags()
	fl.StringVar(&f.kind, "kind", "max", "max, avg_np, avg_p or avg_ip")
	fl.StringVar(&f.kernel, "kernel", "", "window: one `number`, one for each spatial dimension, or global for whole planes")
	fl.StringVar(&f.stride, "stride", "", "one `number` or one for each spatial dimension (default the kernel)")
	fl.BoolVar(&f.ceil, "ceil", false, "round the result's size up, so that the last windows may hang over")
	return cmd
}

// job reads the file and describes the problem.
func (f *poolFlags) job() (j runJob, err error) {
	kind, err := problem.Lookup[problem.PoolKind](f.kind)
	if err != nil {
		return j, fmt.Errorf("--kind: %w", err)
	}
	if f.kernel == "" {
		return j, fmt.Errorf("%w: --kernel is missing; give the window's size, such as 3 or 3,2, or global", engine.ErrInvalid)
	}
	if j.src, err = read("src", f.src); err != nil {
		return j, err
	}
	if n := len(j.src.Shape()); n < 2 || n > 5 {
		return j, fmt.Errorf("%w: --src has shape %v; [H, W], [C, H, W], [N, C, H, W] and [N, C, D, H, W] can be pooled", engine.ErrInvalid, j.src.Shape())
	}
	if j.src, err = leading(j.src, 4); err != nil {
		return j, err
	}
	dims := len(j.src.Shape()) - 2
	o, err := f.params(dims)
	if err != nil {
		return j, err
	}
	o.Ceil = f.ceil
	var kernel []int
	if f.kernel != "global" {
		if kernel, err = numbers("kernel", f.kernel, 1, dims); err != nil {
			return j, err
		}
	}
	j.problem, err = problem.NewPool(kind, j.src.Shape(), kernel, o)
	return j, err
}
