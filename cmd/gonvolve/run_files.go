package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tensorio"
)

// file is a file of the command line.
type file struct {
	flag string // that names it: --src, --in wei
	path string // "" if it was not given
}

// files are what a command reads or writes, by role. Roles that it does not know have no flag.
type files [problem.Roles]file

// pictorial says whether a tensor may be a picture.
func pictorial(r problem.Role) bool {
	switch r {
	case problem.Src, problem.Dst, problem.DiffSrc, problem.DiffDst, problem.Residual:
		return true
	}
	return false
}

// onlyNPY refuses pictures where they make no sense.
func onlyNPY(f file) error {
	format, err := tensorio.FormatOf(f.path)
	if err == nil && format.Picture() {
		err = fmt.Errorf("%w: %s is a picture; a .npy file is needed", tensorio.ErrFormat, f.path)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.flag, err)
	}
	return nil
}

// noPicture refuses pictures where the channels come last.
func noPicture(f file, l problem.Layout) error {
	if l == problem.NCHW {
		return nil
	}
	if err := onlyNPY(f); err != nil {
		return fmt.Errorf("%w (pictures are nchw)", err)
	}
	return nil
}

// read reads the tensor of a role.
func (f file) read(r problem.Role, typ problem.DataType, l problem.Layout) (*engine.Tensor, error) {
	if err := noPicture(f, l); err != nil {
		return nil, err
	}
	if !pictorial(r) {
		if err := onlyNPY(f); err != nil {
			return nil, err
		}
	}
	t, err := tensorio.ReadAs(f.path, typ)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.flag, err)
	}
	return t, nil
}

// leading gives a tensor of lower rank sizes of 1 in front.
func leading(t *engine.Tensor, rank int) (*engine.Tensor, error) {
	missing := rank - len(t.Shape())
	if missing <= 0 {
		return t, nil
	}
	return t.Reshape(append(slices.Repeat([]int{1}, missing), t.Shape()...)...)
}

// wanted names a tensor that is to be given.
func wanted(p *problem.Problem, f file, r problem.Role) string {
	return fmt.Sprintf("%s (%v %v)", f.flag, p.TypeOf(r), p.Shape(r))
}

// complete reads the tensors that the problem wants and the job does not have yet. Sizes of 1 in front may be missing.
func (j *runJob) complete(from *files) error {
	p := &j.problem
	want := slices.Concat(p.Inputs(), p.Constants())
	var missing []string
	for _, r := range want {
		if j.in[r] == nil && from[r].path == "" {
			missing = append(missing, wanted(p, from[r], r))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: missing: %s; give a file for each", engine.ErrInvalid, strings.Join(missing, ", "))
	}
	for i, f := range from {
		r := problem.Role(i)
		if f.path == "" {
			continue
		}
		if !slices.Contains(want, r) {
			return fmt.Errorf("%w: %s %s: this problem reads no %v; it reads %v", engine.ErrInvalid, f.flag, f.path, r, want)
		}
		if j.in[r] != nil {
			continue
		}
		t, err := f.read(r, p.TypeOf(r), p.LayoutOf(r))
		if err != nil {
			return err
		}
		shape := p.Shape(r)
		if n := len(shape) - len(t.Shape()); n > 0 && problem.Elems(shape[:n]) == 1 {
			if t, err = leading(t, len(shape)); err != nil {
				return err
			}
		}
		if !slices.Equal(t.Shape(), shape) {
			return fmt.Errorf("%w: %s: %s has shape %v, the problem wants %v", engine.ErrInvalid, f.flag, f.path, t.Shape(), shape)
		}
		j.in[r] = t
	}
	return nil
}
