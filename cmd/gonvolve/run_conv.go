package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/filter"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tensorio"
)

// convFlags are the flags of run conv.
type convFlags struct {
	runFlags
	wei, bia, act string
	groups        int
}

func newRunConvCommand() *cobra.Command {
	f := &convFlags{}
	cmd := &cobra.Command{
		Use:   "conv",
		Short: "Convolve a picture or array with a built-in filter or weights from a file",
		Long: `Convolve a picture or array with a built-in filter or weights from a file.

--wei is a .npy file of weights [OC, C/groups, kernel…], or one of the filters
  ` + strings.Join(filter.Names()[:3], ", ") + `,
  ` + strings.Join(filter.Names()[3:], ", ") + `
which treat each channel by itself and, unless --pad says otherwise, keep the
size (the outside counts as zeros). SIZE is odd, 1 to 31. Filters give an 8-bit
picture the same result on every device, bit for bit.

The source is [N, C, spatial…] with as many spatial dimensions as the weights
have. A source of one rank less is taken as [C, spatial…], of two less as one
channel of one picture. The result is [N, OC, spatial…].`,
		Example: `  gonvolve run conv --src photo.png --wei gaussian:5 --device vulkan:0 --dst blurred.png
  gonvolve run conv --src photo.jpg --wei sobel-x --dst edges.png
  gonvolve run conv --src photo.jpg --wei sobel-x --map scale --dst relief.png
  gonvolve run conv --src x.npy --wei w.npy --bia b.npy --stride 2 --pad 3 --act relu --dst y.npy
  gonvolve run conv --src x.npy --wei w.npy --pad 0,0,1,1 --dilation 2,1 --groups 4 --device cpu --dst y.npy`,
		Args: cobra.NoArgs,
	}
	f.add(cmd, f.job)
	fl := cmd.Flags()
	fl.StringVar(&f.wei, "wei", "", "`weights`: a .npy file or a filter, such as gaussian:5")
	fl.StringVar(&f.bia, "bia", "", ".npy `file` of biases [OC]")
	fl.StringVar(&f.stride, "stride", "", "one `number` or one for each spatial dimension (default 1)")
	fl.IntVar(&f.groups, "groups", 1, "groups of channels; a filter has its own")
	fl.StringVar(&f.act, "act", "none", postUsage)
	return cmd
}

// job reads the files and describes the problem.
func (f *convFlags) job() (j runJob, err error) {
	o := problem.Params{}
	if o.Post, err = parsePost(f.act); err != nil {
		return j, fmt.Errorf("--act: %w", err)
	}
	if f.groups < 1 {
		return j, fmt.Errorf("%w: --groups %d; it is 1 or more", engine.ErrInvalid, f.groups)
	}
	named, isFilter, err := f.weights()
	if err != nil {
		return j, err
	}
	if j.src, err = read("src", f.src); err != nil {
		return j, err
	}
	if isFilter {
		if err := f.filtered(&j, named); err != nil {
			return j, err
		}
	} else if j.wei, err = read("wei", f.wei); err != nil {
		return j, err
	}
	rank := len(j.wei.Shape())
	if len(j.src.Shape()) >= rank-2 {
		if j.src, err = leading(j.src, rank); err != nil {
			return j, err
		}
	}
	if rank < 3 || rank > 5 || len(j.src.Shape()) != rank {
		return j, fmt.Errorf("%w: --src of shape %v does not go with --wei of shape %v: weights are [OC, C/groups, 1 to 3 kernel sizes], "+
			"the source has the same rank or up to two less", engine.ErrInvalid, j.src.Shape(), j.wei.Shape())
	}
	if f.bia != "" {
		if err := onlyNPY("bia", f.bia); err != nil {
			return j, err
		}
		if j.bia, err = read("bia", f.bia); err != nil {
			return j, err
		}
	}
	p, err := f.params(rank - 2)
	if err != nil {
		return j, err
	}
	p.Post, p.Groups, p.Bias = o.Post, f.groups, j.bia != nil
	j.problem, err = problem.NewConv(j.src.Shape(), j.wei.Shape(), p)
	return j, err
}

// weights tells a filter from a file by the extension.
func (f *convFlags) weights() (named filter.Filter, isFilter bool, err error) {
	if f.wei == "" {
		return named, false, fmt.Errorf("%w: --wei is missing; give a .npy file or a filter: %s", engine.ErrInvalid, strings.Join(filter.Names(), ", "))
	}
	if _, err := tensorio.FormatOf(f.wei); err == nil {
		return named, false, onlyNPY("wei", f.wei)
	}
	if named, err = filter.Parse(f.wei); err != nil {
		return named, false, fmt.Errorf("--wei is neither a .npy file nor a filter: %w", err)
	}
	if f.groups != 1 {
		return named, false, fmt.Errorf("%w: --groups does not go with a filter, which treats each channel by itself; leave it out", engine.ErrInvalid)
	}
	return named, true, nil
}

// filtered fills in the weights of a filter and what follows from it.
func (f *convFlags) filtered(j *runJob, named filter.Filter) (err error) {
	if n := len(j.src.Shape()); n < 2 || n > 4 {
		return fmt.Errorf("%w: --src has shape %v; filters are for [N, C, H, W], [C, H, W] and [H, W]", engine.ErrInvalid, j.src.Shape())
	}
	if j.src, err = leading(j.src, 4); err != nil {
		return err
	}
	f.groups = j.src.Shape()[1]
	if j.wei, err = named.Weights(f.groups); err != nil {
		return err
	}
	if f.pad == "" {
		f.pad = "same"
	}
	if named.Sum() == 0 {
		j.mapping = tensorio.Abs
	}
	j.exact = true
	return nil
}

// onlyNPY refuses pictures where they make no sense.
func onlyNPY(flag, path string) error {
	format, err := tensorio.FormatOf(path)
	if err == nil && format.Picture() {
		err = fmt.Errorf("%w: %s is a picture; a .npy file is needed", tensorio.ErrFormat, path)
	}
	if err != nil {
		return fmt.Errorf("--%s: %w", flag, err)
	}
	return nil
}
