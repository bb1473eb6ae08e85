package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// opFlags are the flags that conv, pool and unpool share.
type opFlags struct {
	runFlags
	src, dst, layout string
	stride, pad      string
	dilation         string // of conv and pool
	dt               string
}

// add adds the flags that these operations have, and runs the job that the operation's own make of them. in and out are
// the files of the command line, once it is parsed.
func (f *opFlags) add(cmd *cobra.Command, out func() files, job func() (runJob, error)) {
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, c := range []struct{ flag, value, use string }{
			{"src", f.src, "the picture or .npy file to read"}, {"dst", f.dst, "the picture or .npy file to write"},
		} {
			if c.value == "" {
				return fmt.Errorf("%w: --%s is missing; give %s", engine.ErrInvalid, c.flag, c.use)
			}
		}
		to := out()
		if err := f.check(&to); err != nil {
			return err
		}
		j, err := job()
		if err != nil {
			return err
		}
		j.out = to
		return f.finish(cmd, j)
	}
	fl := cmd.Flags()
	fl.StringVar(&f.src, "src", "", "`file` to read: .npy, .png, .jpg or .jpeg")
	fl.StringVar(&f.dst, "dst", "", "`file` to write: .npy, .png, .jpg or .jpeg; the shape written is that of --layout")
	fl.StringVar(&f.layout, "layout", "nchw", "shape of source and result: nchw is [N, C, spatial…], nhwc is [N, spatial…, C]")
	fl.StringVar(&f.pad, "pad", "", "padding: one `number` for all sides, one for each spatial dimension, or all "+
		"beginnings and then all ends (top,left,bottom,right); negative numbers crop")
	f.runFlags.add(cmd)
}

const strideUsage = "one `number` or one for each spatial dimension (default "

const dilationUsage = "distance of a kernel's cells, 1 = dense: one `number` or one for each spatial dimension"

const sameUsage = "; same: the result has the source's size divided by the stride, an odd cell goes to the end"

// params turns the shared flags into parameters for so many spatial dimensions.
func (f *opFlags) params(dims int) (o problem.Params, err error) {
	if o.SrcLayout, err = problem.Lookup[problem.Layout](f.layout); err != nil {
		return o, fmt.Errorf("--layout: %w", err)
	}
	o.DstLayout = o.SrcLayout
	if o.Type, err = f.types(); err != nil {
		return o, err
	}
	if o.Stride, err = numbers("stride", f.stride, 1, dims); err != nil {
		return o, err
	}
	if o.Dilation, err = numbers("dilation", f.dilation, 1, dims); err != nil {
		return o, err
	}
	if f.pad == "same" {
		o.SameUpper = true
		return o, nil
	}
	if o.PadL, err = numbers("pad", f.pad, 1, dims, 2*dims); err != nil {
		return o, err
	}
	if dims < len(o.PadL) {
		o.PadL, o.PadR = o.PadL[:dims], o.PadL[dims:]
	}
	return o, nil
}

// types are the element types of --dt; f32 without.
func (f *opFlags) types() (problem.Types, error) {
	if f.dt == "" {
		return problem.Types{}, nil
	}
	t, err := problem.ParseTypes(f.dt)
	if err != nil {
		return t, fmt.Errorf("--dt: %w", err)
	}
	return t, nil
}

// source is --src as a tensor of the type. Sizes of 1 may be missing in front: of the batch, and of the channels where
// they come first.
func (f *opFlags) source(typ problem.DataType, rank int) (*operand, error) {
	l, err := problem.Lookup[problem.Layout](f.layout)
	if err != nil {
		return nil, fmt.Errorf("--layout: %w", err)
	}
	o, err := file{"--src", f.src}.read(problem.Src, typ, l)
	if err != nil {
		return nil, err
	}
	if missing := rank - len(o.shape); missing == 1 || missing == 2 && l == problem.NCHW {
		o.lead(rank)
	}
	return o, nil
}

// numbers reads a list such as "2" or "2,1" of one of the lengths; nil for an empty text.
func numbers(flag, text string, lengths ...int) ([]int, error) {
	if text == "" {
		return nil, nil
	}
	var list []int
	for part := range strings.SplitSeq(text, ",") {
		v, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || v > problem.MaxDim || v < -problem.MaxDim {
			return nil, fmt.Errorf("%w: --%s %.60q: %.20q is not a whole number of up to %d", engine.ErrInvalid, flag, text, part, problem.MaxDim)
		}
		list = append(list, v)
	}
	if !slices.Contains(lengths, len(list)) {
		slices.Sort(lengths)
		var possible []string
		for _, n := range slices.Compact(lengths) {
			possible = append(possible, strconv.Itoa(n))
		}
		return nil, fmt.Errorf("%w: --%s %.60q has %d numbers; %s are possible here", engine.ErrInvalid, flag, text, len(list), strings.Join(possible, " or "))
	}
	return list, nil
}
