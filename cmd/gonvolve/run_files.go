package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tensorio"
	"github.com/gonvolve/gonvolve/engine/tiling"
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

// operand is an input: a tensor in memory, or an array in a file of which no more than the header was read.
type operand struct {
	file   file
	typ    problem.DataType
	shape  []int
	tensor *engine.Tensor // nil: in the file
}

// inMemory is a tensor that is there.
func inMemory(t *engine.Tensor) *operand { return &operand{typ: t.Type(), shape: t.Shape(), tensor: t} }

// read reads the tensor of a role, if it is a picture, or else finds out its shape.
func (f file) read(r problem.Role, typ problem.DataType, l problem.Layout) (*operand, error) {
	if err := noPicture(f, l); err != nil {
		return nil, err
	}
	if !pictorial(r) {
		if err := onlyNPY(f); err != nil {
			return nil, err
		}
	}
	format, err := tensorio.FormatOf(f.path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.flag, err)
	}
	o := &operand{file: f, typ: typ}
	if !format.Picture() {
		o.shape, err = tensorio.ShapeOf(f.path)
	} else if o.tensor, err = tensorio.ReadAs(f.path, typ); err == nil {
		o.shape = o.tensor.Shape()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.flag, err)
	}
	return o, nil
}

// lead gives an operand of lower rank sizes of 1 in front.
func (o *operand) lead(rank int) {
	if n := rank - len(o.shape); n > 0 {
		o.shape = append(slices.Repeat([]int{1}, n), o.shape...)
	}
}

// load is the operand in memory.
func (o *operand) load() (t *engine.Tensor, err error) {
	if t = o.tensor; t == nil {
		if t, err = tensorio.ReadAs(o.file.path, o.typ); err != nil {
			return nil, fmt.Errorf("%s: %w", o.file.flag, err)
		}
	}
	return t.Reshape(o.shape...)
}

// open is the operand as a source of tiles.
func (o *operand) open() (tiling.Source, func() error, error) {
	if o.tensor != nil {
		t, err := o.load()
		return tiling.Memory{Tensor: t}, func() error { return nil }, err
	}
	a, err := tensorio.OpenArray(o.file.path, o.typ)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", o.file.flag, err)
	}
	if a.Lead(len(o.shape)); !slices.Equal(a.Shape(), o.shape) {
		return nil, nil, errors.Join(fmt.Errorf("%w: %s has changed its shape", tensorio.ErrFormat, o.file.path), a.Close())
	}
	return a, a.Close, nil
}

// wanted names a tensor that is to be given.
func wanted(p *problem.Problem, f file, r problem.Role) string {
	return fmt.Sprintf("%s (%v %v)", f.flag, p.TypeOf(r), p.Shape(r))
}

// complete finds the tensors that the problem wants and the job does not have yet. Sizes of 1 in front may be missing.
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
		o, err := f.read(r, p.TypeOf(r), p.LayoutOf(r))
		if err != nil {
			return err
		}
		shape := p.Shape(r)
		if n := len(shape) - len(o.shape); n > 0 && problem.Elems(shape[:n]) == 1 {
			o.lead(len(shape))
		}
		if !slices.Equal(o.shape, shape) {
			return fmt.Errorf("%w: %s: %s has shape %v, the problem wants %v", engine.ErrInvalid, f.flag, f.path, o.shape, shape)
		}
		j.in[r] = o
	}
	return nil
}

// load reads what lies in files.
func (j *runJob) load() (in engine.Operands, err error) {
	for r, o := range j.in {
		if o == nil {
			continue
		}
		if in[r], err = o.load(); err != nil {
			return in, err
		}
	}
	return in, nil
}
