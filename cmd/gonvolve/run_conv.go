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
	opFlags
	wei, act, then, padMode, outputPad string
	bia, postParams, residual, quant   string
	groups                             int
	transposed                         bool
}

func newRunConvCommand() *cobra.Command {
	f := &convFlags{}
	cmd := &cobra.Command{
		Use:   "conv",
		Short: "Convolve a picture or array with a built-in filter or weights from a file",
		Long: `Convolve a picture or array with a built-in filter or weights from a file.

--wei is a .npy file of weights [OC, C/groups, kernel…] (with --transposed
[C, OC/groups, kernel…]), or one of the filters
  ` + strings.Join(filter.Names()[:3], ", ") + `,
  ` + strings.Join(filter.Names()[3:], ", ") + `
which treat each channel by itself and, unless --pad says otherwise, keep the
size (see --pad-mode for what lies outside). SIZE is odd, 1 to 31. Filters give an
8-bit picture the same result on every device, bit for bit.

The source is [N, C, spatial…] with as many spatial dimensions as the weights
have, 1 to 3. A source of one rank less is taken as [C, spatial…], of two less as
one channel of one picture. The result is [N, OC, spatial…].

--act is a chain of up to four post-ops, in order: relu leaky(α) clip(lo,hi)
sigmoid tanh silu gelu gelu_tanh hardswish; prelu, scale (a·x + b) and bias take
rows of --post-params per channel (1, 2 and 1 of them); add adds --residual.
Shells want quotes around parentheses: --act 'clip(0,6)'.

--quant makes it an integer convolution: source and weights are u8 or s8, sums are
exact, and the rows of the file are the source's zero point, the weights' zero
points, multipliers, the result's zero point. --dt u8-s8-s32 gives the plain sums;
without --dt the result has the source's type.`,
		Example: `  gonvolve run conv --src photo.png --wei gaussian:5 --pad-mode reflect --dst blurred.png
  gonvolve run conv --src photo.jpg --wei sobel-x --map scale --dst relief.png
  gonvolve run conv --src x.npy --wei w.npy --bia b.npy --stride 2 --pad 3 --act relu --dst y.npy
  gonvolve run conv --src x.npy --wei w.npy --pad 1 --act scale+add+relu --post-params bn.npy --residual r.npy --dst y.npy
  gonvolve run conv --transposed --src y.npy --wei w.npy --stride 2 --output-pad 1 --dst x.npy
  gonvolve run conv --src u8.npy --wei s8.npy --bia s32.npy --quant q.npy --dst u8out.npy
  gonvolve run conv --dt f16 --layout nhwc --src x.npy --wei w.npy --then max:2 --device vulkan:0 --dst y.npy`,
		Args: cobra.NoArgs,
	}
	f.add(cmd, func() files { return files{problem.Dst: {"--dst", f.dst}} }, f.job)
	fl := cmd.Flags()
	fl.StringVar(&f.wei, "wei", "", "`weights`: a .npy file or a filter, such as gaussian:5")
	fl.StringVar(&f.bia, "bia", "", ".npy `file` of biases [OC]")
	fl.StringVar(&f.stride, "stride", "", strideUsage+"1)")
	fl.StringVar(&f.dilation, "dilation", "", dilationUsage)
	fl.StringVar(&f.padMode, "pad-mode", "zeros", "what lies outside of the source: zeros, reflect, replicate or circular")
	fl.IntVar(&f.groups, "groups", 1, "groups of channels; a filter has its own")
	fl.BoolVar(&f.transposed, "transposed", false, "the transposed convolution (deconvolution), which makes sizes larger")
	fl.StringVar(&f.outputPad, "output-pad", "", "with --transposed: what the result is larger by, one `number` or one for each spatial dimension")
	fl.StringVar(&f.act, "act", "none", postUsage)
	fl.StringVar(&f.postParams, "post-params", "", ".npy `file` [rows, OC] of what the post-ops take per channel")
	fl.StringVar(&f.residual, "residual", "", "`file` of what post-op add adds, of the result's shape")
	fl.StringVar(&f.then, "then", "", "a `pooling` of the result in the same pass, KIND:KERNEL[:STRIDE[:PAD]], such as max:2 or avg_np:3:2:1")
	fl.StringVar(&f.dt, "dt", "", "element `types`: f32, f16, or of source, weights and result, such as u8-s8-f32 "+
		"(default f32, with --quant those of the files)")
	fl.StringVar(&f.quant, "quant", "", ".npy `file` [4, OC] of zero points and multipliers of an integer convolution")
	fl.Lookup("pad").Usage += sameUsage
	return cmd
}

// job reads the files and describes the problem.
func (f *convFlags) job() (j runJob, err error) {
	post, err := parsePost(f.act)
	if err != nil {
		return j, fmt.Errorf("--act: %w", err)
	}
	if f.groups < 1 {
		return j, fmt.Errorf("%w: --groups %d; it is 1 or more", engine.ErrInvalid, f.groups)
	}
	if f.outputPad != "" && !f.transposed {
		return j, fmt.Errorf("%w: --output-pad goes with --transposed; leave it out", engine.ErrInvalid)
	}
	named, isFilter, err := f.weights()
	if err != nil {
		return j, err
	}
	typ, err := f.types()
	if err != nil {
		return j, err
	}
	if isFilter {
		err = f.filtered(&j, named)
	} else {
		err = f.arrays(&j, typ)
	}
	if err != nil {
		return j, err
	}
	o, err := f.params(len(j.in[problem.Wei].shape) - 2)
	if err != nil {
		return j, err
	}
	if j.problem, err = f.describe(&j, o, typ, post); err != nil {
		return j, err
	}
	return j, j.complete(&files{problem.Src: {flag: "--src"}, problem.Wei: {flag: "--wei"}, problem.Bia: {"--bia", f.bia},
		problem.PostParams: {"--post-params", f.postParams}, problem.Residual: {"--residual", f.residual}, problem.Quant: {"--quant", f.quant}})
}

// types are those of --dt, or without it those of the files of an integer convolution, or f32.
func (f *convFlags) types() (t problem.Types, err error) {
	if f.dt != "" || f.quant == "" {
		return f.opFlags.types()
	}
	if t.Src, err = tensorio.TypeOf(f.src); err != nil {
		return t, fmt.Errorf("--src: %w", err)
	}
	if t.Wei, err = tensorio.TypeOf(f.wei); err != nil {
		return t, fmt.Errorf("--wei: %w", err)
	}
	if t.Dst = t.Src; max(t.Src, t.Wei) > problem.U8 || min(t.Src, t.Wei) < problem.S8 {
		return t, fmt.Errorf("%w: --quant goes with s8 or u8, but --src holds %v and --wei %v; --dt u8-s8-s32 and the like convert them",
			engine.ErrInvalid, t.Src, t.Wei)
	}
	return t, nil
}

// arrays finds source and weights.
func (f *convFlags) arrays(j *runJob, typ problem.Types) (err error) {
	wei, err := file{"--wei", f.wei}.read(problem.Wei, typ.Wei, problem.NCHW)
	if err != nil {
		return err
	}
	rank := len(wei.shape)
	src, err := f.source(typ.Src, rank)
	if err != nil {
		return err
	}
	if rank < 3 || rank > 5 || len(src.shape) != rank {
		return fmt.Errorf("%w: --src of shape %v does not go with --wei of shape %v: weights have two sizes for channels and 1 to 3 kernel sizes, "+
			"the source has the same rank or, without batch or channels, less", engine.ErrInvalid, src.shape, wei.shape)
	}
	j.in[problem.Src], j.in[problem.Wei] = src, wei
	return nil
}

// describe makes the problem of source, weights and flags.
func (f *convFlags) describe(j *runJob, o problem.Params, typ problem.Types, post []problem.PostOp) (p problem.Problem, err error) {
	src, wei := j.in[problem.Src].shape, j.in[problem.Wei].shape
	if o.PadMode, err = problem.Lookup[problem.PadMode](f.padMode); err != nil {
		return p, fmt.Errorf("--pad-mode: %w", err)
	}
	if o.OutputPad, err = numbers("output-pad", f.outputPad, 1, len(src)-2); err != nil {
		return p, err
	}
	o.Type, o.Post, o.Groups, o.Bias = typ, post, f.groups, f.bia != ""
	if f.transposed {
		p, err = problem.NewDeconv(src, wei, o)
	} else {
		p, err = problem.NewConv(src, wei, o)
	}
	if err != nil || f.then == "" {
		return p, err
	}
	kind, sizes, _ := strings.Cut(f.then, ":")
	k, err := problem.Lookup[problem.PoolKind](kind)
	if err != nil {
		return p, fmt.Errorf("--then: %w", err)
	}
	pool, err := numbers("then", strings.ReplaceAll(sizes, ":", ","), 1, 2, 3)
	if err != nil || pool == nil {
		return p, fmt.Errorf("%w: --then %.60q; write max:2, or avg_np:3:2:1 for kernel, stride and padding", engine.ErrInvalid, f.then)
	}
	var more problem.Params
	if len(pool) > 1 {
		more.Stride = pool[1:2]
	}
	if len(pool) > 2 {
		more.PadL = pool[2:]
	}
	return p.FusePool(k, pool[:1], more)
}

// weights tells a filter from a file by the extension.
func (f *convFlags) weights() (named filter.Filter, isFilter bool, err error) {
	if f.wei == "" {
		return named, false, fmt.Errorf("%w: --wei is missing; give a .npy file or a filter: %s", engine.ErrInvalid, strings.Join(filter.Names(), ", "))
	}
	if _, err := tensorio.FormatOf(f.wei); err == nil {
		return named, false, onlyNPY(file{"--wei", f.wei})
	}
	if named, err = filter.Parse(f.wei); err != nil {
		return named, false, fmt.Errorf("--wei is neither a .npy file nor a filter: %w", err)
	}
	if f.groups != 1 {
		return named, false, fmt.Errorf("%w: --groups does not go with a filter, which treats each channel by itself; leave it out", engine.ErrInvalid)
	}
	return named, true, nil
}

// filtered reads the source and fills in the weights of a filter and what follows from it.
func (f *convFlags) filtered(j *runJob, named filter.Filter) (err error) {
	if f.transposed || f.dt != "" || f.quant != "" {
		return fmt.Errorf("%w: --transposed, --dt and --quant do not go with a filter; leave them out", engine.ErrInvalid)
	}
	src, err := f.source(problem.F32, 4)
	if err != nil {
		return err
	}
	shape := src.shape
	if len(shape) != 4 {
		return fmt.Errorf("%w: --src has shape %v; filters are for [N, C, H, W], [C, H, W] and [H, W]", engine.ErrInvalid, shape)
	}
	f.groups = shape[1]
	if f.layout == problem.NHWC.String() {
		f.groups = shape[3]
	}
	wei, err := named.Weights(f.groups)
	if err != nil {
		return err
	}
	if f.pad == "" {
		f.pad = "same"
	}
	if named.Sum() == 0 {
		j.mapping = tensorio.Abs
	}
	j.in[problem.Src], j.in[problem.Wei], j.exact = src, inMemory(wei), true
	return nil
}
