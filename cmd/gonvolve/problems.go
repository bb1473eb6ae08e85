package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/bench"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// problemFlags say which problems a command works on.
type problemFlags struct {
	suite, batch, dir, dt, layout, act string
	mb                                 int
	bias                               bool
}

func addProblemFlags(cmd *cobra.Command) *problemFlags {
	f := &problemFlags{}
	fl := cmd.Flags()
	fl.StringVar(&f.suite, "suite", "", "a built-in list of problems")
	fl.StringVar(&f.batch, "batch", "", "a `file` with a list of problems, or a folder with lists shapes_*")
	fl.StringVar(&f.dir, "dir", "FWD", "direction of every problem: FWD, BWD_D, BWD_W or BWD_B")
	fl.StringVar(&f.dt, "dt", "f32", "types of every problem: f32, f16, or of src-wei-dst, such as u8-s8-s32")
	fl.StringVar(&f.layout, "layout", "nchw", "memory order of every problem: nchw or nhwc")
	fl.StringVar(&f.act, "act", "none", postUsage)
	fl.IntVar(&f.mb, "mb", 0, "batch of every problem instead of its own")
	fl.BoolVar(&f.bias, "bias", false, "convolutions add a bias")
	_ = cmd.RegisterFlagCompletionFunc("suite", cobra.FixedCompletions(bench.Suites(), cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	return f
}

// problems reads the problems of arguments, --suite and --batch; without any, those of the fallback suite. Flags change
// all of them; what a list has that cannot be so changed, as pooling to BWD_W, is left out with a note.
func (f *problemFlags) problems(cmd *cobra.Command, args []string, fallback string) ([]problem.Problem, error) {
	var list []problem.Problem
	for _, a := range args {
		p, err := problem.Parse(a)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	if f.suite == "" && f.batch == "" && len(args) == 0 {
		f.suite = fallback
	}
	if f.suite != "" {
		more, err := bench.Suite(f.suite)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	if f.batch != "" {
		more, err := readBatch(f.batch)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	dir, err := problem.Lookup[problem.Dir](f.dir)
	if err != nil {
		return nil, fmt.Errorf("--dir: %w", err)
	}
	dt, err := problem.ParseTypes(f.dt)
	if err != nil {
		return nil, fmt.Errorf("--dt: %w", err)
	}
	layout, err := problem.Lookup[problem.Layout](f.layout)
	if err != nil {
		return nil, fmt.Errorf("--layout: %w", err)
	}
	post, err := parsePost(f.act)
	if err != nil {
		return nil, fmt.Errorf("--act: %w", err)
	}
	kept := list[:0]
	var leftOut error
	for i, given := range list {
		p := &list[i]
		changed := cmd.Flags().Changed
		if changed("dir") {
			p.Dir = dir
		}
		if changed("dt") {
			p.Type = dt
		}
		if changed("mb") {
			p.N = f.mb
		}
		if changed("layout") {
			p.SrcLayout, p.DstLayout = layout, layout
		}
		if p.Dir == problem.Forward && (p.Op == problem.Conv || p.Op == problem.Deconv || p.Op == problem.Deform) {
			p.Bias = p.Bias || f.bias
			if changed("act") {
				clear(p.Post[:])
				copy(p.Post[:], post)
			}
		}
		switch err := p.Validate(); {
		case err == nil:
			kept = append(kept, *p)
		case i >= len(args) && given.Validate() == nil:
			leftOut = cmp.Or(leftOut, fmt.Errorf("%s: %w", p.String(), err))
		default:
			return nil, fmt.Errorf("%s: %w", p.String(), err)
		}
	}
	if leftOut == nil {
		return kept, nil
	}
	if len(kept) == 0 {
		return nil, leftOut
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "gonvolve: note: %d of %d problems left out, such as %v\n", len(list)-len(kept), len(list), leftOut)
	return kept, nil
}

// problemHelp explains the text of problems.
const problemHelp = `A PROBLEM is words and sizes in one line, the words in any order, all with colons:
  conv deconv pool unpool deform im2col col2im   operation (conv without one)
  max avg_np avg_p avg_ip lp2                    after pool: its kind
  FWD BWD_D BWD_W BWD_B                          direction: forward, or the gradient of
                                                 source, weights or bias
  f16, u8-s8-s32                                 types of all, or of src-wei-dst
  nhwc, src=nhwc, dst=nhwc                       channels last
  bias, post=scale+relu, then=max(kh2sh2)        forward: bias, post-ops, fused pooling
  pad=reflect                                    padding mode
  adaptive, div=5, indices=plane                 of pooling
  dg=2, mask                                     of deform: offset groups, mask
and sizes in the grammar of oneDNN's benchdnn: mb batch, g groups, ic and oc
channels, then i input, o output, k kernel, s stride, p padding (r at the end),
d dilation (0 is dense), each with d, h or w: mb1ic64ih56oc64oh56kh3ph1. What is
not given follows: w from h, o from the rest; without mb the batch is 2.`

const postUsage = "`post-ops` of convolutions, such as relu or leaky(0.1)+clip(0,6), or none"

// parsePost reads post-ops; none is the empty list.
func parsePost(text string) ([]problem.PostOp, error) {
	if text == "none" {
		return nil, nil
	}
	return problem.ParsePost(text)
}

// readBatch reads a problem list, or all lists shapes_* in a folder and those below it.
func readBatch(name string) ([]problem.Problem, error) {
	info, err := os.Stat(name)
	if err != nil || !info.IsDir() {
		return readBatchFile(name)
	}
	var list []problem.Problem
	err = filepath.WalkDir(name, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasPrefix(d.Name(), "shapes_") {
			return err
		}
		more, err := readBatchFile(file)
		list = append(list, more...)
		return err
	})
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("--batch %s: %w: the folder holds no lists shapes_*", name, problem.ErrInvalid)
	}
	return list, err
}

// readBatchFile reads a list. Lists in a folder named pool or deconv, as oneDNN's are, mean that operation.
func readBatchFile(file string) ([]problem.Problem, error) {
	prefix := ""
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	switch filepath.Base(filepath.Dir(abs)) {
	case "pool":
		prefix = "pool:max:"
	case "deconv":
		prefix = "deconv:"
	}
	// Includes may name files of other folders, so the whole file system is in reach, as for any program's arguments.
	root := filepath.VolumeName(abs) + string(filepath.Separator)
	rel, err := filepath.Rel(root, abs)
	if err != nil {
		return nil, err
	}
	list, err := problem.ReadList(os.DirFS(root), filepath.ToSlash(rel), prefix)
	if err != nil {
		return nil, fmt.Errorf("--batch %s: %w", file, err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("--batch %s: %w: the file holds no problems", file, problem.ErrInvalid)
	}
	return list, nil
}

// devices opens the devices of a list of specs, without fallback: what a device cannot run is reported, not run
// elsewhere. With them comes the oracle that judges their results. The returned function closes all.
func devices(ctx context.Context, specs string, o driver.Options, more ...engine.Option) (open []*engine.Device, oracle *engine.Device,
	closeAll func() error, err error) {
	found, err := engine.Resolve(specs)
	if err != nil {
		return nil, nil, nil, err
	}
	closeDevices := func() error {
		var errs []error
		for _, d := range open {
			if err := d.Close(); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", d.Name(), err))
			}
		}
		return errors.Join(errs...)
	}
	other := o.Kernels == ""
	for _, s := range found {
		if o.Kernels != "" && (s == "auto" || strings.Contains(s, "+")) {
			return nil, nil, nil, errors.Join(fmt.Errorf("%w: %s with kernels of a folder; name single devices", engine.ErrInvalid, s), closeDevices())
		}
		d, changed, err := openWith(ctx, s, o, more...)
		if other = other || changed; err != nil {
			return nil, nil, nil, errors.Join(err, closeDevices())
		}
		open = append(open, d)
	}
	if !other {
		return nil, nil, nil, errors.Join(fmt.Errorf("%w: %s: none of them runs kernels of a folder", engine.ErrUnsupported, specs), closeDevices())
	}
	if oracle, err = verify.Oracle(ctx); err != nil {
		return nil, nil, nil, errors.Join(err, closeDevices())
	}
	return open, oracle, func() error { return errors.Join(oracle.Close(), closeDevices()) }, nil
}

// asked is what a command that proves or measures asks of all devices alike.
type asked struct {
	alg      string // auto, all or a name
	tile     string // of the algorithm of that name; empty: its own
	memLimit int64  // bytes; 0: none
}

// askedFlags adds the flags for it, and returns what reads them.
func askedFlags(cmd *cobra.Command) func() (asked, error) {
	fl := cmd.Flags()
	alg := fl.String("alg", "auto", "algorithm: auto, all, or a name")
	tile := fl.String("tile", "", "`tile` of the algorithm that --alg names, such as m=4 of the cpu's winograd, instead of its own choice; "+
		"one that there is not is refused with those there are")
	limit := memLimitFlag(cmd)
	return func() (asked, error) {
		bytes, err := limit()
		if err != nil {
			return asked{}, err
		}
		if *tile != "" && (*alg == "auto" || *alg == "all" || *alg == "") {
			return asked{}, fmt.Errorf("%w: --tile %s: name the algorithm whose tile it is by --alg", problem.ErrInvalid, *tile)
		}
		return asked{alg: *alg, tile: *tile, memLimit: bytes}, nil
	}
}

// memLimitFlag adds --mem-limit, and returns what reads it: bytes, or 0.
func memLimitFlag(cmd *cobra.Command) func() (int64, error) {
	text := cmd.Flags().String("mem-limit", "", "most device `memory` for a problem's tensors, weights, workspace and staging, such as "+
		"512MiB: what is larger runs in tiles")
	return func() (int64, error) {
		n, err := parseBytes(*text)
		if err != nil {
			err = fmt.Errorf("--mem-limit: %w", err)
		}
		return n, err
	}
}

// opening are the options that devices are opened by for it.
func (a *asked) opening() []engine.Option {
	return []engine.Option{engine.WithMemLimit(a.memLimit), engine.WithTile(a.tile)}
}

// algorithms lists what --alg asks of a device: auto (one empty name), all, or a name.
func algorithms(dev *engine.Device, p problem.Problem, alg string) []string {
	switch alg {
	case "auto", "":
		return []string{""}
	case "all":
		if several(dev) { // it chooses that, too
			return []string{""}
		}
		if names := dev.Algorithms(p); len(names) > 0 {
			return names
		}
		return []string{""}
	}
	return []string{alg}
}
