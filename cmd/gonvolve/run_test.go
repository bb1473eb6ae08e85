package main

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/tensorio"
)

// gonvolve runs the command on the cpu in the folder.
func gonvolve(t *testing.T, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Chdir(dir)
	t.Setenv("GONVOLVE_DEVICE", "cpu")
	var out, errs strings.Builder
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// succeed runs the command and reads the file that it wrote.
func succeed(t *testing.T, dir, dst, args string) *engine.Tensor {
	t.Helper()
	code, _, stderr := gonvolve(t, dir, append(strings.Fields(args), "--dst", dst)...)
	if code != exitDone || stderr != "" {
		t.Fatalf("%s: exit %d, %s", args, code, stderr)
	}
	got, err := tensorio.Read(filepath.Join(dir, dst))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// build builds the command as users do.
func build(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gonvolve")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", file, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return file
}

// save writes a tensor for the command to read.
func save(t *testing.T, dir, file string, data []float32, shape ...int) {
	t.Helper()
	x, err := engine.FromFloat32(data, shape...)
	if err != nil {
		t.Fatal(err)
	}
	if err := tensorio.Write(filepath.Join(dir, file), x, tensorio.Options{}); err != nil {
		t.Fatal(err)
	}
}

func equal(t *testing.T, got *engine.Tensor, want []float32, shape ...int) {
	t.Helper()
	if !slices.Equal(got.Shape(), shape) || !slices.Equal(got.Float32s(), want) {
		t.Errorf("%v of shape %v; want %v of shape %v", got.Float32s(), got.Shape(), want, shape)
	}
}

// scene is a colour picture: a bright disc on a ramp, a dark bar, each channel a little different.
func scene(w, h int) []float32 {
	data := make([]float32, 3*w*h)
	for c := range 3 {
		for y := range h {
			for x := range w {
				v := float32(40 + x*120/w + 20*c)
				if math.Hypot(float64(x-w/3), float64(y-h/2)) < float64(h)/4 {
					v = float32(250 - 60*c)
				}
				if x > 3*w/4 && x < 7*w/8 {
					v = float32(10 * c)
				}
				data[(c*h+y)*w+x] = v
			}
		}
	}
	return data
}

func iota32(n int) []float32 {
	data := make([]float32, n)
	for i := range data {
		data[i] = float32(i)
	}
	return data
}

func TestRunIdentityIsTheSamePicture(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, "in.png", scene(40, 30), 1, 3, 30, 40)
	equal(t, succeed(t, dir, "out.png", "run conv --src in.png --wei identity"), scene(40, 30), 1, 3, 30, 40)
	equal(t, succeed(t, dir, "grey.png", "run conv --src out.png --wei identity --pad -10,-12"),
		func() []float32 {
			var cut []float32
			all := scene(40, 30)
			for c := range 3 {
				for y := 10; y < 20; y++ {
					cut = append(cut, all[(c*30+y)*40+12:][:16]...)
				}
			}
			return cut
		}(), 1, 3, 10, 16)
}

// Each filter agrees with its formula, summed here in another order, to the last bit.
func TestRunFiltersAreExact(t *testing.T) {
	const w, h = 32, 24
	dir := t.TempDir()
	in := scene(w, h)
	save(t, dir, "in.png", in, 1, 3, h, w)
	for _, c := range []struct {
		name string
		taps []float64 // nil: only what follows from them is checked
		size int
		abs  bool
	}{
		{"sobel-x", []float64{-1, 0, 1, -2, 0, 2, -1, 0, 1}, 3, true},
		{"sobel-y", []float64{-1, -2, -1, 0, 0, 0, 1, 2, 1}, 3, true},
		{"laplacian", []float64{0, 1, 0, 1, -4, 1, 0, 1, 0}, 3, true},
		{"sharpen", []float64{0, -1, 0, -1, 5, -1, 0, -1, 0}, 3, false},
		{"emboss", []float64{-2, -1, 0, -1, 1, 1, 0, 1, 2}, 3, false},
	} {
		var want, raw []float32
		for i := range in {
			plane, y, x := in[i/(w*h)*w*h:], i/w%h, i%w
			sum := 0.0
			for k := len(c.taps) - 1; k >= 0; k-- {
				if sy, sx := y+k/3-1, x+k%3-1; sy >= 0 && sy < h && sx >= 0 && sx < w {
					sum += c.taps[k] * float64(plane[sy*w+sx])
				}
			}
			raw = append(raw, float32(sum))
			if c.abs {
				sum = math.Abs(sum)
			}
			want = append(want, float32(min(255, max(0, sum))))
		}
		equal(t, succeed(t, dir, c.name+".png", "run conv --src in.png --wei "+c.name), want, 1, 3, h, w)
		equal(t, succeed(t, dir, c.name+".npy", "run conv --src in.png --wei "+c.name), raw, 1, 3, h, w)
	}
	// An even area stays as it is under a blur, to the bit; only the border, next to nothing, gets darker.
	save(t, dir, "even.png", slices.Repeat([]float32{201}, w*h), h, w)
	for _, name := range []string{"gaussian:5", "box:3", "gaussian:7,1.3"} {
		got := succeed(t, dir, "even.npy", "run conv --src even.png --wei "+name)
		if v := got.Float32s()[h/2*w+w/2]; v != 201 {
			t.Errorf("%s: an even area of 201 becomes %g", name, v)
		}
		if v := got.Float32s()[0]; !(v > 0 && v < 201) {
			t.Errorf("%s: the corner is %g", name, v)
		}
		reference := succeed(t, dir, "ref.npy", "run conv --alg reference --src even.png --wei "+name)
		equal(t, got, reference.Float32s(), reference.Shape()...)
	}
}

// Filters give the same file on every device, as package filter promises.
func TestRunFiltersAgreeOnAllDevices(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, "in.png", scene(67, 45), 1, 3, 45, 67)
	save(t, dir, "grey.png", scene(67, 45)[:67*45], 1, 1, 45, 67)
	others := 0
	for _, l := range engine.Devices() {
		if l.Err != nil || l.Spec == "cpu" {
			continue
		}
		others++
		for _, src := range []string{"in.png", "grey.png"} {
			for _, name := range []string{"gaussian:3", "gaussian:7,1.4", "box:3", "box:9", "sobel-y", "sharpen", "emboss", "laplacian"} {
				args := "run conv --no-fallback --src " + src + " --wei " + name + " --device "
				want := succeed(t, dir, "cpu.npy", args+"cpu")
				equal(t, succeed(t, dir, "other.npy", args+l.Spec), want.Float32s(), want.Shape()...)
			}
		}
	}
	if others == 0 {
		if os.Getenv("GONVOLVE_REQUIRE_DRIVERS") == "1" {
			t.Fatal("GONVOLVE_REQUIRE_DRIVERS=1, but there is no device beside the cpu")
		}
		t.Skip("there is no device beside the cpu to compare with")
	}
}

func TestRunMap(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, "x.npy", []float32{-100, 0, 300}, 1, 3)
	equal(t, succeed(t, dir, "a.png", "run conv --src x.npy --wei identity"), []float32{0, 0, 255}, 1, 1, 1, 3)
	equal(t, succeed(t, dir, "a.png", "run conv --src x.npy --wei identity --map abs"), []float32{100, 0, 255}, 1, 1, 1, 3)
	equal(t, succeed(t, dir, "a.png", "run conv --src x.npy --wei identity --map scale"), []float32{0, 64, 255}, 1, 1, 1, 3)
	equal(t, succeed(t, dir, "a.png", "run conv --src x.npy --wei laplacian --map clamp --pad 1"), []float32{255, 200, 0}, 1, 1, 1, 3)
}

func TestRunConvArrays(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, "x.npy", iota32(2*4*5), 1, 2, 4, 5)
	save(t, dir, "chw.npy", iota32(2*4*5), 2, 4, 5)
	save(t, dir, "hw.npy", iota32(9), 3, 3)
	save(t, dir, "w.npy", []float32{1, 0, 0, -1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 1}, 2, 2, 2, 2)
	save(t, dir, "w1.npy", []float32{1, 2, 3, 4}, 1, 1, 2, 2)
	save(t, dir, "dw.npy", []float32{1, 2}, 2, 1, 1, 1)
	save(t, dir, "b.npy", []float32{0.5, -80}, 2)
	save(t, dir, "seq.npy", iota32(6), 1, 1, 6)
	save(t, dir, "k.npy", []float32{1, 0, 1}, 1, 1, 3)
	save(t, dir, "empty.npy", nil, 0, 1, 3, 3)

	sums := []float32{-5.5, -5.5, -5.5, -5.5, 12 + 26 - 80, 20 + 28 - 80, 52 + 36 - 80, 60 + 38 - 80}
	equal(t, succeed(t, dir, "y.npy", "run conv --src x.npy --wei w.npy --bia b.npy --stride 2 --device cpu"), sums, 1, 2, 2, 2)
	equal(t, succeed(t, dir, "y.npy", "run conv --src chw.npy --wei w.npy --bia b.npy --stride 2,2 --pad 0"), sums, 1, 2, 2, 2)
	equal(t, succeed(t, dir, "y.npy", "run conv --src x.npy --wei w.npy --bia b.npy --stride 2 --act relu"), []float32{0, 0, 0, 0, 0, 0, 8, 18}, 1, 2, 2, 2)
	equal(t, succeed(t, dir, "y.npy", "run conv --src hw.npy --wei w1.npy --pad 0,0,1,0"), []float32{27, 37, 57, 67, 20, 23}, 1, 1, 3, 2)
	equal(t, succeed(t, dir, "y.npy", "run conv --src hw.npy --wei w1.npy --dilation 2 --pad 0"), []float32{6*3 + 8*4 + 2*2}, 1, 1, 1, 1)
	equal(t, succeed(t, dir, "y.npy", "run conv --src hw.npy --wei w1.npy --pad same --stride 2"), []float32{27, 2 + 3*5, 6 + 2*7, 8}, 1, 1, 2, 2)
	equal(t, succeed(t, dir, "y.npy", "run conv --src seq.npy --wei k.npy --pad 2,0"), []float32{0, 1, 2, 4, 6, 8}, 1, 1, 6)
	equal(t, succeed(t, dir, "y.npy", "run conv --src empty.npy --wei w1.npy"), nil, 0, 1, 2, 2)
	want := iota32(40)
	for i := 20; i < 40; i++ {
		want[i] *= 2
	}
	equal(t, succeed(t, dir, "y.npy", "run conv --src x.npy --wei dw.npy --groups 2"), want, 1, 2, 4, 5)
}

func TestRunPool(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, "x.npy", iota32(12), 3, 4)
	save(t, dir, "vol.npy", iota32(8), 1, 1, 2, 2, 2)
	save(t, dir, "in.png", []float32{0, 10, 20, 31}, 2, 2)
	equal(t, succeed(t, dir, "y.npy", "run pool --src x.npy --kernel 2"), []float32{5, 7}, 1, 1, 1, 2)
	equal(t, succeed(t, dir, "y.npy", "run pool --src x.npy --kernel 2 --ceil"), []float32{5, 7, 9, 11}, 1, 1, 2, 2)
	equal(t, succeed(t, dir, "y.npy", "run pool --src x.npy --kernel 3,1 --stride 1,2 --kind avg_np"), []float32{4, 6}, 1, 1, 1, 2)
	equal(t, succeed(t, dir, "y.npy", "run pool --src x.npy --kernel 2 --pad 1 --kind avg_p"), []float32{0, 0.75, 0.75, 3, 7.5, 4.5}, 1, 1, 2, 3)
	equal(t, succeed(t, dir, "y.npy", "run pool --src x.npy --kernel global --kind avg_np"), []float32{5.5}, 1, 1, 1, 1)
	equal(t, succeed(t, dir, "y.npy", "run pool --src vol.npy --kernel 2,1,2"), []float32{5, 7}, 1, 1, 1, 2, 1)
	equal(t, succeed(t, dir, "y.png", "run pool --src in.png --kernel 2 --kind avg_np"), []float32{15}, 1, 1, 1, 1)
}

func TestRunPrintsTheRecord(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, "x.npy", iota32(12), 3, 4)
	code, stdout, stderr := gonvolve(t, dir, "run", "pool", "--src", "x.npy", "--kernel", "2", "--dst", "y.npy", "--format", "json")
	var r report.Record
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != exitDone {
		t.Fatalf("exit %d, %q, %q: %v", code, stdout, stderr, err)
	}
	if !strings.HasPrefix(r.Problem, "pool:max:mb1ic1ih3oh1kh2sh2") || r.Device != "cpu" || r.Algorithm != "direct" || r.Status != report.Passed ||
		r.Verified || r.Runs != 1 || r.FirstMS <= 0 || r.E2EMS == nil || r.Fallback != nil {
		t.Errorf("record %+v", r)
	}
	code, stdout, _ = gonvolve(t, dir, "run", "pool", "--src", "x.npy", "--kernel", "2", "--dst", "y.npy")
	if code != exitDone || !strings.Contains(stdout, "y.npy") || !strings.Contains(stdout, "direct") {
		t.Errorf("exit %d, table %q", code, stdout)
	}
}

func TestRunRefuses(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, "x.npy", iota32(16), 1, 1, 4, 4)
	save(t, dir, "two.npy", iota32(32), 1, 2, 4, 4)
	save(t, dir, "flat.npy", iota32(16), 16)
	save(t, dir, "deep.npy", iota32(1), 1, 1, 1, 1, 1, 1)
	save(t, dir, "w.npy", iota32(4), 1, 1, 2, 2)
	save(t, dir, "b.npy", iota32(3), 3)
	save(t, dir, "in.png", iota32(16), 4, 4)
	save(t, dir, "nhwc.npy", iota32(16), 1, 4, 4, 1)
	save(t, dir, "far.npy", append(iota32(15), 64), 1, 1, 4, 4)
	save(t, dir, "half.npy", slices.Repeat([]float32{0.5}, 16), 1, 1, 4, 4)
	if err := os.WriteFile(filepath.Join(dir, "bad.npy"), []byte("\x93NUMPY\x01\x00\xff\xff"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bad.png"), []byte("\x89PNG\r\n\x1a\n and\nmore\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"conv", exitUsage, "--src is missing"},
		{"conv --src x.npy --wei w.npy", exitUsage, "--dst is missing"},
		{"conv --src x.npy --dst y.npy", exitUsage, "--wei is missing"},
		{"conv --src none.npy --wei w.npy --dst y.npy", exitUsage, "none.npy"},
		{"conv --src x.npy --wei none.npy --dst y.npy", exitUsage, "none.npy"},
		{"conv --src x.npy --wei w.npy --bia none.npy --dst y.npy", exitUsage, "none.npy"},
		{"conv --src bad.npy --wei w.npy --dst y.npy", exitUsage, "numpy.save"},
		{"conv --src bad.png --wei box --dst y.png", exitUsage, "bad.png"},
		{"conv --src x.tiff --wei w.npy --dst y.npy", exitUsage, ".npy, .png, .jpg or .jpeg"},
		{"conv --src x.npy --wei w.npy --dst y.tiff", exitUsage, ".npy, .png, .jpg or .jpeg"},
		{"conv --src x.npy --wei w.npy --dst y", exitUsage, "no extension"},
		{"conv --src x.npy --wei blur --dst y.npy", exitUsage, "gaussian[:SIZE[,SIGMA]]"},
		{"conv --src x.npy --wei gaussian:4 --dst y.npy", exitUsage, "odd"},
		{"conv --src x.npy --wei in.png --dst y.npy", exitUsage, ".npy file is needed"},
		{"conv --src x.npy --wei w.npy --bia in.png --dst y.npy", exitUsage, ".npy file is needed"},
		{"conv --src x.npy --wei w.npy --bia b.npy --dst y.npy", exitUsage, "b.npy has shape [3], the problem wants [1]"},
		{"conv --src two.npy --wei w.npy --dst y.npy", exitUsage, "channels"},
		{"conv --src two.npy --wei identity --dst y.png", exitUsage, "2 channels"},
		{"conv --src flat.npy --wei w.npy --dst y.npy", exitUsage, "without batch or channels"},
		{"conv --src flat.npy --wei box --dst y.npy", exitUsage, "[N, C, H, W]"},
		{"conv --src x.npy --wei deep.npy --dst y.npy", exitUsage, "does not go with"},
		{"conv --src x.npy --wei b.npy --dst y.npy", exitUsage, "does not go with"},
		{"conv --src x.npy --wei w.npy --groups 0 --dst y.npy", exitUsage, "--groups"},
		{"conv --src x.npy --wei w.npy --groups 3 --dst y.npy", exitUsage, "groups"},
		{"conv --src x.npy --wei box --groups 2 --dst y.npy", exitUsage, "leave it out"},
		{"conv --src x.npy --wei w.npy --stride 0 --dst y.npy", exitUsage, "strides"},
		{"conv --src x.npy --wei w.npy --stride x --dst y.npy", exitUsage, "--stride"},
		{"conv --src x.npy --wei w.npy --stride 1,1,1 --dst y.npy", exitUsage, "1 or 2 are possible"},
		{"conv --src x.npy --wei w.npy --pad 1,2,3 --dst y.npy", exitUsage, "1 or 2 or 4 are possible"},
		{"conv --src x.npy --wei w.npy --pad -2 --dst y.npy", exitUsage, "kernel"},
		{"conv --src x.npy --wei w.npy --pad 99999999999999999999 --dst y.npy", exitUsage, "--pad"},
		{"conv --src x.npy --wei w.npy --dilation 9 --dst y.npy", exitUsage, "kernel spans"},
		{"conv --src x.npy --wei w.npy --act cosine --dst y.npy", exitUsage, "relu"},
		{"conv --src x.npy --wei w.npy --map abs --dst y.npy", exitUsage, "--map is for pictures"},
		{"conv --src x.npy --wei w.npy --map loud --dst y.png", exitUsage, "clamp, abs, scale, auto"},
		{"conv --src x.npy --wei w.npy --alg magic --dst y.npy", exitUsage, "reference"},
		{"conv --src x.npy --wei w.npy --device abacus --dst y.npy", exitUsage, "abacus"},
		{"conv --src x.npy --wei w.npy --format xml --dst y.npy", exitUsage, "json"},
		{"conv --src x.npy --wei w.npy --dst none/y.npy", exitUsage, "none"},
		{"conv x.npy", exitUsage, "x.npy"},
		{"conv --sauce x.npy", exitUsage, "--sauce"},
		{"swirl", exitUsage, "swirl"},
		{"conv --src x.npy --wei w.npy --output-pad 1 --dst y.npy", exitUsage, "--transposed"},
		{"conv --src x.npy --wei w.npy --transposed --stride 2 --output-pad 2 --dst y.npy", exitUsage, "makes 8 to 9"},
		{"conv --src x.npy --wei w.npy --transposed --pad-mode reflect --pad 1 --dst y.npy", exitUsage, "for convolutions"},
		{"conv --src x.npy --wei box --transposed --dst y.npy", exitUsage, "filter"},
		{"conv --src x.npy --wei box --dt f16 --dst y.npy", exitUsage, "filter"},
		{"conv --src x.npy --wei w.npy --pad-mode mirror --dst y.npy", exitUsage, "reflect"},
		{"conv --src x.npy --wei w.npy --pad-mode reflect --pad 4 --dst y.npy", exitUsage, "at most 3"},
		{"conv --src x.npy --wei w.npy --layout chwn --dst y.npy", exitUsage, "nhwc"},
		{"conv --src in.png --wei w.npy --layout nhwc --dst y.npy", exitUsage, "pictures are nchw"},
		{"conv --src nhwc.npy --wei w.npy --layout nhwc --dst y.png", exitUsage, "pictures are nchw"},
		{"conv --src x.npy --wei w.npy --dt f64 --dst y.npy", exitUsage, "--dt"},
		{"conv --src x.npy --wei w.npy --dt s32 --dst y.npy", exitUsage, "types"},
		{"conv --src x.npy --wei w.npy --dt u8-s8-s32 --dst y.npy", exitUsage, "missing: --quant (f32 [4 1])"},
		{"conv --src x.npy --wei w.npy --quant q.npy --dst y.npy", exitUsage, "--src holds f32"},
		{"conv --src x.npy --wei w.npy --quant none.npy --dt u8-s8-s32 --dst y.npy", exitUsage, "none.npy"},
		{"conv --src x.npy --wei w.npy --quant w.npy --dt u8-s8-s32 --dst y.npy", exitUsage, "shape [1 1 2 2], the problem wants [4 1]"},
		{"conv --src x.npy --wei w.npy --quant w.npy --dt f32 --dst y.npy", exitUsage, "reads no quant"},
		{"conv --src x.npy --wei w.npy --act scale+add --dst y.npy", exitUsage, "missing: --residual (f32 [1 1 3 3]), --post-params (f32 [2 1])"},
		{"conv --src x.npy --wei w.npy --act relu --residual x.npy --dst y.npy", exitUsage, "reads no residual"},
		{"conv --src x.npy --wei w.npy --act relu --post-params b.npy --dst y.npy", exitUsage, "reads no post"},
		{"conv --src x.npy --wei w.npy --act relu+relu+relu+relu+relu --dst y.npy", exitUsage, "more than 4"},
		{"conv --src x.npy --wei w.npy --then max --dst y.npy", exitUsage, "--then"},
		{"conv --src x.npy --wei w.npy --then max:2:1:0:0 --dst y.npy", exitUsage, "--then"},
		{"conv --src x.npy --wei w.npy --then max:two --dst y.npy", exitUsage, "--then"},
		{"conv --src x.npy --wei w.npy --then median:2 --dst y.npy", exitUsage, "avg_np"},
		{"conv --src x.npy --wei w.npy --then max:9 --dst y.npy", exitUsage, "kernel spans"},
		{"conv --src x.npy --wei w.npy --then lp:2 --dst y.npy", exitUsage, "fuse"},
		{"conv --src x.npy --wei w.npy --transposed --then max:2 --dst y.npy", exitUsage, "fuse"},
		{"pool --src x.npy --kernel 2 --kind lp0 --dst y.npy", exitUsage, "exponent"},
		{"pool --src x.npy --kernel 2 --kind lpx --dst y.npy", exitUsage, "--kind"},
		{"pool --src x.npy --kernel 2 --adaptive 2 --dst y.npy", exitUsage, "--adaptive"},
		{"pool --src x.npy --adaptive 0 --dst y.npy", exitUsage, "0"},
		{"pool --src x.npy --adaptive 1,2,3 --dst y.npy", exitUsage, "--adaptive"},
		{"pool --src x.npy --kernel 2 --divisor 3 --dst y.npy", exitUsage, "averages"},
		{"pool --src x.npy --kernel 2 --kind avg_p --divisor -3 --dst y.npy", exitUsage, "divisor"},
		{"pool --src x.npy --kernel 2 --kind avg_p --indices i.npy --dst y.npy", exitUsage, "max pooling"},
		{"pool --src x.npy --kernel 2 --indices i.png --dst y.npy", exitUsage, ".npy file is needed"},
		{"pool --src x.npy --kernel 2 --indices y.npy --dst y.npy", exitUsage, "another result"},
		{"pool --src x.npy --kernel 2 --index-order flat --dst y.npy", exitUsage, "--indices"},
		{"pool --src x.npy --kernel 2 --indices i.npy --index-order none --dst y.npy", exitUsage, "column"},
		{"pool --src x.npy --kernel 2 --kind avg_p --dt u8 --dst y.npy", exitUsage, "max pooling"},
		{"pool --src x.npy --kernel 2 --dt s8-u8-f32 --dst y.npy", exitUsage, "types"},
		{"pool --src x.npy --kernel 2 --quant q.npy --dst y.npy", exitUsage, "--quant"},
		{"unpool --src x.npy --kernel 2 --dst y.npy", exitUsage, "missing: --indices (s32 [1 1 4 4])"},
		{"unpool --src x.npy --indices x.npy --dst y.npy", exitUsage, "--kernel is missing"},
		{"unpool --src x.npy --indices w.npy --kernel 2 --dst y.npy", exitUsage, "the problem wants [1 1 4 4]"},
		{"unpool --src x.npy --indices far.npy --kernel 2 --dst y.npy", exitUsage, "index 64"},
		{"unpool --src x.npy --indices half.npy --kernel 2 --dst y.npy", exitUsage, "element 0 is 0.5"},
		{"unpool --src x.npy --indices x.npy --kernel 2 --pad same --dst y.npy", exitUsage, "--pad same"},
		{"unpool --src x.npy --indices x.npy --kernel 2 --size 0 --dst y.npy", exitUsage, "0"},
		{"pool --src x.npy --dst y.npy", exitUsage, "--kernel is missing"},
		{"pool --src x.npy --kernel 0 --dst y.npy", exitUsage, "0"},
		{"pool --src x.npy --kernel 1,2,3 --dst y.npy", exitUsage, "--kernel"},
		{"pool --src x.npy --kernel 9 --dst y.npy", exitUsage, "smaller kernel"},
		{"pool --src x.npy --kernel 2 --kind median --dst y.npy", exitUsage, "avg_np"},
		{"pool --src flat.npy --kernel 2 --dst y.npy", exitUsage, "can be pooled"},
		{"pool --src deep.npy --kernel 2 --dst y.npy", exitUsage, "can be pooled"},
	} {
		code, stdout, stderr := gonvolve(t, dir, append([]string{"run"}, strings.Fields(c.args)...)...)
		if code != c.code || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, c.says) {
			t.Errorf("%s: exit %d, stdout %q, stderr %q; want %d and a line with %q", c.args, code, stdout, stderr, c.code, c.says)
		}
	}
	if after, err := os.ReadDir(dir); err != nil || len(after) != len(before) {
		t.Errorf("%d files became %d: %v", len(before), len(after), err)
	}
}

// Every command of run explains itself by examples.
func TestRunHelp(t *testing.T) {
	for _, args := range [][]string{{"run"}, {"run", "conv", "--help"}, {"run", "pool", "-h"}, {"run", "unpool", "-h"}, {"run", "problem", "-h"}} {
		code, stdout, stderr := gonvolve(t, t.TempDir(), args...)
		if code != exitDone || stderr != "" || !strings.Contains(stdout, "Examples:\n  gonvolve run ") {
			t.Errorf("%v: exit %d, %q, %q", args, code, stdout, stderr)
		}
	}
}
