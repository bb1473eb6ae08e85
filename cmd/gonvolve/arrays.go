package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/tensorio"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// madeElements is how many elements of an array are made at a time.
const madeElements = 4 << 20

func newMakeCommand() *cobra.Command {
	var shape, dt, fill string
	var seed uint64
	cmd := &cobra.Command{
		Use:   "make FILE.npy --shape SIZES",
		Short: "Make an array of any size to try things with",
		Long: `Make an array of any size to try things with, in little memory.

Its elements are whole numbers from -3 to 3 (u8: 0 to 6), with which f32 sums are
exact in any order, so that results of all devices are the same bit for bit by
algorithms that sum up products (run --exact); or
with --fill uniform reals from -1 to 1. They depend on --seed alone.`,
		Example: `  gonvolve make x.npy --shape 1,16,8192,8192
  gonvolve make w.npy --shape 16,16,3,3 --seed 2
  gonvolve make u8.npy --shape 1,32,16384,16384 --dt u8`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			sizes, err := numbers("shape", shape, 1, 2, 3, 4, 5)
			if err != nil {
				return err
			}
			if sizes == nil {
				return fmt.Errorf("%w: --shape is missing; give the array's sizes, such as 1,16,8192,8192", engine.ErrInvalid)
			}
			types, err := problem.ParseTypes(dt)
			if err == nil && types != problem.All(types.Src) {
				err = fmt.Errorf("%w: %q are several types", engine.ErrInvalid, dt)
			}
			if err != nil {
				return fmt.Errorf("--dt: %w", err)
			}
			f, err := verify.ParseFill(fill)
			if err != nil {
				return fmt.Errorf("--fill: %w", err)
			}
			if err := onlyNPY(file{"FILE", args[0]}); err != nil {
				return err
			}
			return makeArray(cmd, args[0], types.Src, sizes, f, seed)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&shape, "shape", "", "the array's `sizes`, outermost first")
	fl.StringVar(&dt, "dt", "f32", "element `type`: f32, f16, s8, u8 or s32")
	fl.StringVar(&fill, "fill", string(verify.Int), "int (whole numbers) or uniform (reals)")
	fl.Uint64Var(&seed, "seed", 1, "of the elements")
	return cmd
}

// makeArray makes an array part by part. One that is not finished says so.
func makeArray(cmd *cobra.Command, path string, typ problem.DataType, shape []int, fill verify.Fill, seed uint64) (err error) {
	a, err := tensorio.CreateArray(path, typ, shape...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	total := problem.Elems(shape)
	all, err := engine.NewTensor(typ, int(min(total, madeElements)))
	if err != nil {
		return err
	}
	bar := newProgress(cmd, int(total))
	defer bar.end()
	first, at := int64(0), make([]int, len(shape))
	for box := range tensorio.Slabs(shape, madeElements) {
		part, err := all.Within(typ, box.Size...)
		if err != nil {
			return err
		}
		if err := fill.Elements(part, seed, first); err != nil {
			return err
		}
		if err := a.WriteBox(cmd.Context(), box, part, at); err != nil {
			return err
		}
		first += problem.Elems(box.Size)
		bar.at(int(first))
	}
	return a.Complete()
}

func newCompareCommand() *cobra.Command {
	var out *output
	cmd := &cobra.Command{
		Use:   "compare A.npy B.npy",
		Short: "Compare two arrays of any size, bit for bit",
		Long: `Compare two arrays of any size, bit for bit, in little memory: whether they are
equal, else how many elements differ, where the first one stands, and by how much
at most. All NaN are the same. The exit status is 1 if they differ.`,
		Example: `  gonvolve compare y-cpu.npy y-gpu.npy`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			d, err := compareArrays(cmd, args)
			if err != nil {
				return err
			}
			if err := out.write(cmd, func(w io.Writer, width int, _ bool) error { return printDifference(w, out.format, args, d, width) }); err != nil {
				return err
			}
			if d.Differing > 0 {
				return fmt.Errorf("%w: %d of %d elements differ, first at %v: %v and %v", errFailed, d.Differing, d.Elements, d.First, d.A, d.B)
			}
			return nil
		},
	}
	out = outputFlags(cmd)
	return cmd
}

func compareArrays(cmd *cobra.Command, paths []string) (d tensorio.Difference, err error) {
	var arrays [2]*tensorio.Array
	for i, path := range paths {
		if err := onlyNPY(file{"FILE", path}); err != nil {
			return d, err
		}
		typ, err := tensorio.TypeOf(path)
		if err != nil {
			return d, err
		}
		if arrays[i], err = tensorio.OpenArray(path, typ); err != nil {
			return d, err
		}
		defer func() { err = errors.Join(err, arrays[i].Close()) }()
	}
	bar := newProgress(cmd, int(problem.Elems(arrays[0].Shape())))
	defer bar.end()
	return tensorio.Compare(cmd.Context(), arrays[0], arrays[1], func(done, _ int64) { bar.at(int(done)) })
}

// difference is the result of a comparison for machines. Numbers that differ are text, for NaN and infinities.
type difference struct {
	Files     []string `json:"files"`
	Equal     bool     `json:"equal"`
	Elements  int64    `json:"elements"`
	Differing int64    `json:"differing"`
	First     []int    `json:"first"` // null if they are equal
	Values    []string `json:"values"`
	MaxAbs    string   `json:"max_abs"`
}

func printDifference(w io.Writer, format string, paths []string, d tensorio.Difference, width int) error {
	r := difference{Files: paths, Equal: d.Differing == 0, Elements: d.Elements, Differing: d.Differing, First: d.First}
	first := "equal"
	if !r.Equal {
		r.Values = []string{fmt.Sprint(d.A), fmt.Sprint(d.B)}
		first = strings.Trim(fmt.Sprint(d.First), "[]")
	}
	r.MaxAbs = fmt.Sprint(d.MaxAbs)
	if format == "json" {
		return report.JSONLines(w, []difference{r})
	}
	t := report.Table{
		Head:  []string{"a", "b", "elements", "differing", "first at", "values", "greatest difference"},
		Right: []bool{false, false, true, true, false, false, true}, Width: width,
		Rows: [][]string{{paths[0], paths[1], fmt.Sprint(r.Elements), fmt.Sprint(r.Differing), first, strings.Join(r.Values, " and "), r.MaxAbs}},
	}
	return t.Write(w, format)
}
