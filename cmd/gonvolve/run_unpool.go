package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// unpoolFlags are the flags of run unpool.
type unpoolFlags struct {
	opFlags
	kernel, size   string
	indices, order string
}

func newRunUnpoolCommand() *cobra.Command {
	f := &unpoolFlags{}
	cmd := &cobra.Command{
		Use:   "unpool",
		Short: "Put values back to where max pooling found them",
		Long: `Put the values of a max pooling back to where its indices say that they stood.
All else is 0.

Source and indices are [N, C, H, W] or [N, C, D, H, W]; sizes of 1 in front may be
missing. The result is as large as the kernel, stride and padding of the pooling
make it, (size − 1)·stride − padding + kernel, or --size.`,
		Example: `  gonvolve run pool --kernel 2 --src x.npy --dst y.npy --indices i.npy
  gonvolve run unpool --kernel 2 --src y.npy --indices i.npy --dst sparse.npy
  gonvolve run unpool --kernel 2 --size 5,7 --index-order flat --src y.npy --indices i.npy --dst sparse.npy`,
		Args: cobra.NoArgs,
	}
	f.add(cmd, func() files { return files{problem.Dst: {"--dst", f.dst}} }, f.job)
	fl := cmd.Flags()
	fl.StringVar(&f.indices, "indices", "", ".npy `file` of indices, of the source's shape")
	fl.StringVar(&f.order, "index-order", "", orderUsage)
	fl.StringVar(&f.kernel, "kernel", "", "the pooling's window: one `number` or one for each spatial dimension")
	fl.StringVar(&f.stride, "stride", "", strideUsage+"the kernel)")
	fl.StringVar(&f.size, "size", "", "the result's `size`, one number or one for each spatial dimension, where the kernel does not tell it")
	fl.StringVar(&f.dt, "dt", "", "element `type`: f32, f16, s8 or u8 (default f32)")
	return cmd
}

// job reads the files and describes the problem.
func (f *unpoolFlags) job() (j runJob, err error) {
	if f.kernel == "" {
		return j, fmt.Errorf("%w: --kernel is missing; give the window's size of the pooling, such as 3 or 3,2", engine.ErrInvalid)
	}
	typ, err := f.types()
	if err != nil {
		return j, err
	}
	src, dims, err := f.planes(typ.Src, "unpooled")
	if err != nil {
		return j, err
	}
	j.in[problem.Src] = src
	o, err := f.params(dims)
	if err != nil {
		return j, err
	}
	if o.SameUpper {
		return j, fmt.Errorf("%w: --pad same does not tell what the pooling's padding was; give numbers, or --size", engine.ErrInvalid)
	}
	if o.Indices, err = indexOrder(f.order); err != nil {
		return j, err
	}
	if o.OutputSize, err = numbers("size", f.size, 1, dims); err != nil {
		return j, err
	}
	for _, v := range o.OutputSize {
		if v < 1 {
			return j, fmt.Errorf("%w: --size %s; sizes are 1 or more", engine.ErrInvalid, f.size)
		}
	}
	kernel, err := numbers("kernel", f.kernel, 1, dims)
	if err != nil {
		return j, err
	}
	if j.problem, err = problem.NewUnpool(src.shape, kernel, o); err != nil {
		return j, err
	}
	return j, j.complete(&files{problem.Src: {flag: "--src"}, problem.Ind: {"--indices", f.indices}})
}
