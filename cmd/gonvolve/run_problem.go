package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// problemJob are the flags of run problem.
type problemJob struct {
	runFlags
	in, out []string
}

func newRunProblemCommand() *cobra.Command {
	f := &problemJob{}
	cmd := &cobra.Command{
		Use:   "problem PROBLEM",
		Short: "Run any problem: every operation, direction, type and layout",
		Long: `Run any problem: every operation, direction, type and layout that there is.

` + problemHelp + `

Tensors are given by role: ` + roleNames(0, 8) + `
` + roleNames(8, problem.Roles) + `. A problem says itself which
ones it reads and writes, with their types and shapes, when one is missing; in an
array sizes of 1 in front may be missing. Numbers are converted to the problem's
types; integers must be the file's own. A role that is written may be left out if
another one is not.`,
		Example: `  gonvolve run problem conv:BWD_W:mb1ic3ih8oc4kh3ph1 --in src=x.npy --in diff_dst=dy.npy --out diff_wei=dw.npy
  gonvolve run problem pool:max:indices=flat:mb1ic3ih8kh2sh2 --in src=x.npy --out dst=y.npy --out ind=i.npy
  gonvolve run problem conv:u8-s8-s32:mb1ic3ih8oc4kh3 --in src=x.npy --in wei=w.npy --in quant=q.npy --out dst=y.npy
  gonvolve run problem deform:mask:mb1ic4ih9oc4kh3ph1 --in src=x.npy --in wei=w.npy --in offset=o.npy --in mask=m.npy --out dst=y.npy
  gonvolve run problem im2col:nhwc:mb1ic3ih8kh3 --in src=x.npy --out dst=columns.npy --device opencl:0`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			j, err := f.job(args[0])
			if err != nil {
				return err
			}
			return f.finish(cmd, j)
		},
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&f.in, "in", nil, "`ROLE=FILE` to read, once for each tensor")
	fl.StringArrayVar(&f.out, "out", nil, "`ROLE=FILE` to write, once for each tensor")
	f.add(cmd)
	return cmd
}

// roleNames lists roles for people.
func roleNames(from, to problem.Role) string {
	var names []string
	for r := from; r < to; r++ {
		names = append(names, r.String())
	}
	return strings.Join(names, " ")
}

// job reads the files of a problem.
func (f *problemJob) job(text string) (j runJob, err error) {
	if j.problem, err = problem.Parse(text); err != nil {
		return j, err
	}
	in, err := byRole("--in", f.in)
	if err != nil {
		return j, err
	}
	if j.out, err = byRole("--out", f.out); err != nil {
		return j, err
	}
	outputs, given := j.problem.Outputs(), false
	for r, to := range j.out {
		if to.path == "" {
			continue
		}
		if given = true; !slices.Contains(outputs, problem.Role(r)) {
			return j, fmt.Errorf("%w: %s=%s: this problem writes no %v; it writes %v", engine.ErrInvalid, to.flag, to.path, problem.Role(r), outputs)
		}
	}
	if err := f.check(&j.out); err != nil {
		return j, err
	}
	if err := j.complete(&in); err != nil {
		return j, err
	}
	if !given {
		return j, fmt.Errorf("%w: missing: %s; give a file for it", engine.ErrInvalid, wanted(&j.problem, j.out[outputs[0]], outputs[0]))
	}
	return j, nil
}

// byRole sorts a list of ROLE=FILE.
func byRole(flag string, list []string) (f files, err error) {
	for r := range f {
		f[r].flag = flag + " " + problem.Role(r).String()
	}
	for _, text := range list {
		name, path, ok := strings.Cut(text, "=")
		if !ok || path == "" {
			return f, fmt.Errorf("%w: %s %.60q is not ROLE=FILE", engine.ErrInvalid, flag, text)
		}
		r, err := problem.Lookup[problem.Role](name)
		if err != nil {
			return f, fmt.Errorf("%s: %w", flag, err)
		}
		if f[r].path != "" {
			return f, fmt.Errorf("%w: %s %s is given twice", engine.ErrInvalid, flag, name)
		}
		f[r].path = path
	}
	return f, nil
}
