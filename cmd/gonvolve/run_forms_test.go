package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tensorio"
)

// saveAs writes a tensor of any type.
func saveAs(t *testing.T, dir, file string, typ problem.DataType, data []float32, shape ...int) *engine.Tensor {
	t.Helper()
	x, err := engine.NewTensor(typ, shape...)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Narrow(data); err != nil {
		t.Fatal(err)
	}
	if err := tensorio.Write(filepath.Join(dir, file), x, tensorio.Options{}); err != nil {
		t.Fatal(err)
	}
	return x
}

// isOf checks the type of a file.
func isOf(t *testing.T, dir, file string, want problem.DataType) {
	t.Helper()
	if got, err := tensorio.TypeOf(filepath.Join(dir, file)); err != nil || got != want {
		t.Errorf("%s holds %v, %v; want %v", file, got, err, want)
	}
}

func TestRunTransposed(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, "x.npy", []float32{1, 2, 3, 4}, 2, 2)
	save(t, dir, "w.npy", []float32{1, 10, 100, 1000}, 1, 1, 2, 2)
	save(t, dir, "seq.npy", []float32{1, 2, 3, 5}, 2, 2) // [C, W]
	save(t, dir, "w1.npy", []float32{1, 10, 100, 1000}, 2, 1, 2)
	equal(t, succeed(t, dir, "y.npy", "run conv --transposed --src x.npy --wei w.npy"),
		[]float32{1, 12, 20, 103, 1234, 2040, 300, 3400, 4000}, 1, 1, 3, 3)
	equal(t, succeed(t, dir, "y.npy", "run conv --transposed --src x.npy --wei w.npy --stride 2"),
		[]float32{1, 10, 2, 20, 100, 1000, 200, 2000, 3, 30, 4, 40, 300, 3000, 400, 4000}, 1, 1, 4, 4)
	equal(t, succeed(t, dir, "y.npy", "run conv --transposed --src x.npy --wei w.npy --stride 2,1 --output-pad 1,0 --pad 1,1"),
		[]float32{1200, 34, 3400}, 1, 1, 3, 1)
	equal(t, succeed(t, dir, "y.npy", "run conv --transposed --src seq.npy --wei w1.npy --groups 2"),
		[]float32{1, 12, 20, 300, 3500, 5000}, 1, 2, 3)
}

func TestRunPadModes(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, "x.npy", []float32{1, 2, 3, 4}, 1, 1, 4)
	save(t, dir, "w.npy", []float32{1}, 1, 1, 1)
	for mode, want := range map[string][]float32{
		"zeros": {0, 0, 1, 2, 3, 4, 0}, "reflect": {3, 2, 1, 2, 3, 4, 3}, "replicate": {1, 1, 1, 2, 3, 4, 4}, "circular": {3, 4, 1, 2, 3, 4, 1},
	} {
		equal(t, succeed(t, dir, "y.npy", "run conv --src x.npy --wei w.npy --pad 2,1 --pad-mode "+mode), want, 1, 1, 7)
	}
	// An even picture stays even up to its border.
	save(t, dir, "even.png", slices.Repeat([]float32{201}, 48), 6, 8)
	equal(t, succeed(t, dir, "y.png", "run conv --src even.png --wei gaussian:5 --pad-mode reflect"), slices.Repeat([]float32{201}, 48), 1, 1, 6, 8)
}

func TestRunPostOps(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, "x.npy", []float32{1, -2, 3, -4}, 1, 1, 4)
	save(t, dir, "w.npy", []float32{1, 2}, 2, 1, 1)
	save(t, dir, "bn.npy", []float32{2, 10, -1, 5}, 2, 2) // a, then b
	save(t, dir, "prelu.npy", []float32{0.5, 0.25}, 2)
	save(t, dir, "r.npy", []float32{0, 0, 0, 9, -20, 0, 0, 0}, 1, 2, 4)
	equal(t, succeed(t, dir, "y.npy", "run conv --src x.npy --wei w.npy --act scale+add+clip(0,30) --post-params bn.npy --residual r.npy"),
		[]float32{1, 0, 5, 0, 5, 0, 30, 0}, 1, 2, 4)
	equal(t, succeed(t, dir, "y.npy", "run conv --src x.npy --wei w.npy --act prelu --post-params prelu.npy"),
		[]float32{1, -1, 3, -2, 2, -1, 6, -2}, 1, 2, 4)
	equal(t, succeed(t, dir, "y.npy", "run conv --src x.npy --wei w.npy --act leaky(0.5) --then max:2"), []float32{1, 3, 2, 6}, 1, 2, 2)
	equal(t, succeed(t, dir, "y.npy", "run conv --src x.npy --wei w.npy --then avg_np:3:1:1"),
		[]float32{-0.5, 2. / 3, -1, -0.5, -1, 4. / 3, -2, -1}, 1, 2, 4)
}

func TestRunLayoutsAndTypes(t *testing.T) {
	dir := t.TempDir()
	// Channels last: the second channel is 10 times the first.
	save(t, dir, "x.npy", []float32{1, 10, 2, 20, 3, 30, 4, 40}, 1, 2, 2, 2)
	save(t, dir, "hwc.npy", []float32{1, 10, 2, 20, 3, 30, 4, 40}, 2, 2, 2)
	save(t, dir, "w.npy", []float32{1, 0, 1, 1, 0, 1}, 3, 2, 1, 1)
	save(t, dir, "vol.npy", iota32(8), 2, 2, 2)
	save(t, dir, "w3.npy", slices.Repeat([]float32{1}, 8), 1, 1, 2, 2, 2)
	want := []float32{1, 11, 10, 2, 22, 20, 3, 33, 30, 4, 44, 40}
	equal(t, succeed(t, dir, "y.npy", "run conv --layout nhwc --src x.npy --wei w.npy"), want, 1, 2, 2, 3)
	equal(t, succeed(t, dir, "y.npy", "run conv --layout nhwc --src hwc.npy --wei w.npy --dt f16"), want, 1, 2, 2, 3)
	isOf(t, dir, "y.npy", problem.F16)
	equal(t, succeed(t, dir, "y.npy", "run pool --layout nhwc --src hwc.npy --kernel 2 --dt s8"), []float32{4, 40}, 1, 1, 1, 2)
	isOf(t, dir, "y.npy", problem.S8)
	equal(t, succeed(t, dir, "y.npy", "run conv --src vol.npy --wei w3.npy --pad 1,0,0,0,0,0"), []float32{6, 28}, 1, 1, 2, 1, 1)
	// A third has no f16 of its own.
	save(t, dir, "third.npy", []float32{1. / 3}, 1, 1)
	equal(t, succeed(t, dir, "y.npy", "run pool --kernel 1 --src third.npy --dt f16"), []float32{0x1.554p-2}, 1, 1, 1, 1)
	// A picture's samples are u8 as they are.
	save(t, dir, "in.png", []float32{0, 10, 200, 255}, 2, 2)
	equal(t, succeed(t, dir, "y.png", "run pool --kernel 2,1 --src in.png --dt u8"), []float32{200, 255}, 1, 1, 1, 2)
}

func TestRunQuantized(t *testing.T) {
	dir := t.TempDir()
	saveAs(t, dir, "x.npy", problem.U8, []float32{128, 130, 120, 255}, 1, 1, 4)
	saveAs(t, dir, "w.npy", problem.S8, []float32{1, -1, 2, 3}, 2, 1, 2)
	saveAs(t, dir, "b.npy", problem.S32, []float32{100, -7}, 2)
	save(t, dir, "q.npy", []float32{128, 128, 0, 1, 0.5, 0.25, 3, 3}, 4, 2)
	// (x−128)∗w, with weights (1, −1) and (2−1, 3−1).
	sums := []float32{-2 + 100, 10 + 100, -8 - 127 + 100, 4 - 7, 2 - 16 - 7, -8 + 254 - 7}
	equal(t, succeed(t, dir, "y.npy", "run conv --src x.npy --wei w.npy --bia b.npy --quant q.npy --dt u8-s8-s32"), sums, 1, 2, 3)
	isOf(t, dir, "y.npy", problem.S32)
	equal(t, succeed(t, dir, "y.npy", "run conv --src x.npy --wei w.npy --bia b.npy --quant q.npy"),
		[]float32{52, 58, 0, 2, 0, 63}, 1, 2, 3) // ties to even: −17.5 + 3 is cut off at 0, −0.75 → −1, −5.25 → −5, 59.75 → 60
	isOf(t, dir, "y.npy", problem.U8)
	equal(t, succeed(t, dir, "y.npy", "run conv --src x.npy --wei w.npy --bia b.npy --quant q.npy --dt u8-s8-f32 --act relu"),
		[]float32{49, 55, 0, 0, 0, 59.75}, 1, 2, 3)
}

func TestRunPoolForms(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, "x.npy", []float32{3, 4, 0, 0, 5, 12, 8, 6}, 2, 4)
	save(t, dir, "two.npy", []float32{3, 4, 0, 0, 5, 12, 8, 6, 9, 0, 0, 0, 0, 0, 0, 1}, 2, 1, 2, 4)
	equal(t, succeed(t, dir, "y.npy", "run pool --kind lp2 --src x.npy --kernel 1,2"), []float32{5, 0, 13, 10}, 1, 1, 2, 2)
	equal(t, succeed(t, dir, "y.npy", "run pool --kind lp1 --src x.npy --kernel global"), []float32{38}, 1, 1, 1, 1)
	equal(t, succeed(t, dir, "y.npy", "run pool --src x.npy --kernel 1,2 --dilation 1,2 --stride 1"), []float32{3, 4, 8, 12}, 1, 1, 2, 2)
	equal(t, succeed(t, dir, "y.npy", "run pool --kind avg_np --src x.npy --kernel 2 --divisor 8"), []float32{3, 1.75}, 1, 1, 1, 2)
	equal(t, succeed(t, dir, "y.npy", "run pool --kind avg_np --src x.npy --adaptive 1,3"), []float32{6, 6, 3.5}, 1, 1, 1, 3)
	for order, want := range map[string][]float32{"plane": {5, 6, 0, 7}, "flat": {5, 6, 8, 15}, "column": {3, 5, 8, 15}} {
		args := "run pool --src two.npy --kernel 2 --indices i.npy --index-order " + order
		equal(t, succeed(t, dir, "y.npy", args), []float32{12, 8, 9, 1}, 2, 1, 1, 2)
		isOf(t, dir, "i.npy", problem.S32)
		ind, err := tensorio.Read(filepath.Join(dir, "i.npy"))
		if err != nil {
			t.Fatal(err)
		}
		equal(t, ind, want, 2, 1, 1, 2)
		equal(t, succeed(t, dir, "z.npy", "run unpool --src y.npy --kernel 2 --indices i.npy --index-order "+order),
			[]float32{0, 0, 0, 0, 0, 12, 8, 0, 9, 0, 0, 0, 0, 0, 0, 1}, 2, 1, 2, 4)
	}
	equal(t, succeed(t, dir, "y.npy", "run pool --src x.npy --kernel 2 --indices i.npy"), []float32{12, 8}, 1, 1, 1, 2)
	equal(t, succeed(t, dir, "z.npy", "run unpool --src y.npy --kernel 2 --indices i.npy --size 3,4"),
		[]float32{0, 0, 0, 0, 0, 12, 8, 0, 0, 0, 0, 0}, 1, 1, 3, 4)
}

// Everything that the library computes can be had from the command, with the same result: each tensor by its role, of
// its type, in its layout.
func TestRunProblem(t *testing.T) {
	dir := t.TempDir()
	dev, err := engine.Open(t.Context(), "cpu")
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	seen := map[problem.Role]bool{}
	for _, text := range []string{
		"g2mb2ic4ih5oc2kh3ph1", "conv:bias:nhwc:post=scale+prelu+add:then=max(kh2sh2):mb1ic3ih6oc4kh3", "conv:BWD_D:f16:mb1ic3iw8oc2ow4kw3sw2",
		"conv:BWD_W:src=nhwc:mb2ic3ih5oc2kh3ph1", "conv:BWD_B:mb2ic3ih5oc2kh3ph1", "conv:u8-s8-s32:bias:mb1ic4ih5oc2kh3",
		"conv:pad=circular:mb1ic1id3oc2kd3pd1", "deconv:bias:mb1ic2ih3oc3kh3sh2", "deconv:BWD_D:mb1ic2ih3oc3kh3sh2", "deconv:BWD_W:mb1ic2ih3oc3kh3sh2",
		"pool:max:indices=flat:nhwc:mb2ic3ih6kh2sh2", "pool:max:BWD_D:mb1ic2ih6kh2sh2", "pool:max:BWD_D:indices=plane:mb1ic2ih6kh2sh2",
		"pool:lp3:BWD_D:mb1ic2ih6kh2sh2", "pool:avg_p:BWD_D:adaptive:mb1ic2ih5oh3", "pool:max:u8:mb1ic3iw9kw3sw2", "unpool:indices=flat:s8:mb2ic3ih2kh2sh2",
		"unpool:BWD_D:indices=plane:mb1ic2ih2kh2sh2", "deform:mask:bias:mb1ic2ih4oc3kh3ph1", "im2col:f16:mb1ic2ih4kh3", "im2col:BWD_D:mb1ic2ih4kh3",
		"col2im:mb1ic2ih4kh3sh1",
	} {
		p, err := problem.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		var in engine.Operands
		args := "run problem " + text
		for _, r := range slices.Concat(p.Inputs(), p.Constants()) {
			data := make([]float32, problem.Elems(p.Shape(r)))
			for i := range data {
				data[i] = float32((i*7 + 3*int(r)) % 4) // small enough for an index, whole for every type
				if r == problem.Quant {
					data[i] = float32(1 + i/p.OC) // a row each; the source has one zero point
				}
			}
			name := r.String() + ".npy"
			in[r] = saveAs(t, dir, name, p.TypeOf(r), data, p.Shape(r)...)
			args += fmt.Sprintf(" --in %v=%s", r, name)
			seen[r] = true
		}
		want, err := dev.Compute(t.Context(), p, in)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		for _, r := range p.Outputs() {
			args += fmt.Sprintf(" --out %v=out_%v.npy", r, r)
			seen[r] = true
		}
		if code, _, stderr := gonvolve(t, dir, strings.Fields(args)...); code != exitDone || stderr != "" {
			t.Errorf("%s: exit %d, %s", args, code, stderr)
			continue
		}
		for _, r := range p.Outputs() {
			got, err := tensorio.ReadAs(filepath.Join(dir, "out_"+r.String()+".npy"), p.TypeOf(r))
			if err != nil {
				t.Fatal(err)
			}
			isOf(t, dir, "out_"+r.String()+".npy", p.TypeOf(r))
			if !slices.Equal(got.Shape(), p.Shape(r)) || !slices.Equal(got.Bytes(), want[r].Bytes()) {
				t.Errorf("%s: %v is %v %v; want %v %v", text, r, got.Shape(), got.Widen(), want[r].Shape(), want[r].Widen())
			}
		}
	}
	for r := range problem.Role(problem.Roles) {
		if !seen[r] {
			t.Errorf("no problem has %v", r)
		}
	}
}
