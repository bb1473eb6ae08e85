package main

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// poolFlags are the flags of run pool.
type poolFlags struct {
	opFlags
	kind, kernel, adaptive string
	indices, order         string
	divisor                int
	ceil                   bool
}

func newRunPoolCommand() *cobra.Command {
	f := &poolFlags{}
	cmd := &cobra.Command{
		Use:   "pool",
		Short: "Pool a picture or array",
		Long: `Pool a picture or array: the greatest value, the average or a norm of each window.

The source is [N, C, H, W] or [N, C, D, H, W]; [C, H, W] and [H, W] get sizes of
1 in front. (Pool a sequence as [N, C, 1, W] with --kernel 1,3.)

The averages divide by the cells of the window that lie in the source (avg_np),
by all cells of the kernel (avg_p), by those in source or padding but not in what
--ceil lets hang over (avg_ip), or by --divisor. lp2 is the Euclidean norm, lp3
and so on those of other exponents.

--indices writes where each greatest value stands (s32), for run unpool: counted
in its own plane (plane, as PyTorch does), through the whole source (flat, as ONNX
does), or so with the cells of a plane column by column (column).`,
		Example: `  gonvolve run pool --kind max --kernel 3 --stride 2 --pad 1 --src x.npy --dst y.npy
  gonvolve run pool --kernel 2 --src x.npy --dst y.npy --indices i.npy
  gonvolve run pool --kind avg_np --kernel 2 --src photo.png --dst half.png
  gonvolve run pool --kind avg_np --adaptive 7,7 --src features.npy --dst y.npy
  gonvolve run pool --kind lp2 --kernel global --src features.npy --device vulkan:0 --dst norms.npy`,
		Args: cobra.NoArgs,
	}
	f.add(cmd, func() files { return files{problem.Dst: {"--dst", f.dst}, problem.Ind: {"--indices", f.indices}} }, f.job)
	fl := cmd.Flags()
	fl.StringVar(&f.kind, "kind", "max", "max, avg_np, avg_p, avg_ip, or lp2 with its exponent")
	fl.StringVar(&f.kernel, "kernel", "", "window: one `number`, one for each spatial dimension, or global for whole planes")
	fl.StringVar(&f.stride, "stride", "", strideUsage+"the kernel)")
	fl.StringVar(&f.dilation, "dilation", "", dilationUsage)
	fl.StringVar(&f.adaptive, "adaptive", "", "instead of a kernel: the result's `size`, one number or one for each spatial dimension; "+
		"windows follow from it")
	fl.BoolVar(&f.ceil, "ceil", false, "round the result's size up, so that the last windows may hang over")
	fl.IntVar(&f.divisor, "divisor", 0, "averages divide by this `number` whatever the window")
	fl.StringVar(&f.indices, "indices", "", "of max: .npy `file` to write the positions of the greatest values to")
	fl.StringVar(&f.order, "index-order", "", orderUsage)
	fl.StringVar(&f.dt, "dt", "", "element `type`: f32, f16, and of max s8 and u8 (default f32)")
	fl.Lookup("pad").Usage += sameUsage
	return cmd
}

const orderUsage = "what indices count: plane, flat or column (default plane)"

// indexOrder reads --index-order.
func indexOrder(text string) (problem.IndexOrder, error) {
	o, err := problem.Lookup[problem.IndexOrder](cmp.Or(text, problem.Plane.String()))
	if err == nil && o == problem.NoIndices {
		err = fmt.Errorf("%w: there are plane, flat and column", engine.ErrInvalid)
	}
	if err != nil {
		return o, fmt.Errorf("--index-order: %w", err)
	}
	return o, nil
}

// job reads the file and describes the problem.
func (f *poolFlags) job() (j runJob, err error) {
	kind, exponent, err := problem.ParseKind(f.kind)
	if err != nil {
		return j, fmt.Errorf("--kind: %w", err)
	}
	switch {
	case f.kernel == "" && f.adaptive == "":
		return j, fmt.Errorf("%w: --kernel is missing; give the window's size, such as 3 or 3,2, or global, or else --adaptive", engine.ErrInvalid)
	case f.adaptive != "" && (f.kernel+f.stride+f.pad+f.dilation != "" || f.ceil):
		return j, fmt.Errorf("%w: --adaptive makes its own windows; leave --kernel, --stride, --pad, --dilation and --ceil out", engine.ErrInvalid)
	case f.order != "" && f.indices == "":
		return j, fmt.Errorf("%w: --index-order goes with --indices, the file to write them to", engine.ErrInvalid)
	}
	typ, err := f.types()
	if err != nil {
		return j, err
	}
	src, dims, err := f.planes(typ.Src, "pooled")
	if err != nil {
		return j, err
	}
	j.in[problem.Src] = src
	o, err := f.params(dims)
	if err != nil {
		return j, err
	}
	o.Ceil, o.Divisor, o.P = f.ceil, f.divisor, exponent
	if f.indices != "" {
		if o.Indices, err = indexOrder(f.order); err != nil {
			return j, err
		}
	}
	if f.adaptive != "" {
		size, err := numbers("adaptive", f.adaptive, 1, dims)
		if err != nil {
			return j, err
		}
		j.problem, err = problem.NewAdaptivePool(kind, src.shape, size, o)
		return j, err
	}
	var kernel []int
	if f.kernel != "global" {
		if kernel, err = numbers("kernel", f.kernel, 1, dims); err != nil {
			return j, err
		}
	}
	j.problem, err = problem.NewPool(kind, src.shape, kernel, o)
	return j, err
}

// planes is --src as two- or three-dimensional planes.
func (f *opFlags) planes(typ problem.DataType, done string) (*operand, int, error) {
	src, err := f.source(typ, 4)
	if err != nil {
		return nil, 0, err
	}
	if n := len(src.shape); n != 4 && n != 5 {
		return nil, 0, fmt.Errorf("%w: --src has shape %v; [H, W], [C, H, W], [N, C, H, W] and [N, C, D, H, W] (nhwc: [H, W, C] and more) can be %s",
			engine.ErrInvalid, src.shape, done)
	}
	return src, len(src.shape) - 2, nil
}
