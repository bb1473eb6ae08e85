package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
)

// Whatever is wrong with a command line, standard error has one line that names it, and the exit code says whose fault
// it is.
func TestHostileCommandLines(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, "x.npy", iota32(16), 1, 1, 4, 4)
	save(t, dir, "minus.npy", slices.Repeat([]float32{-1}, 16), 1, 1, 4, 4)
	save(t, dir, "nhwc.npy", iota32(16), 1, 4, 4, 1)
	save(t, dir, "two.npy", iota32(4), 1, 1, 2, 2)
	save(t, dir, "minus2.npy", []float32{0, 1, 2, -5}, 1, 1, 2, 2)
	for name, text := range map[string]string{
		"short.npy":    "\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }",
		"text.png":     "no picture\nat all\n",
		"wrong.csv":    "file,mb_used,note,fwd_hash,desc\nx,1,,0123456789abcdef,mb1ic1ih4oc1oh4kh3ph1\n",
		"columns.csv":  "a,b\n1,2\n",
		"problems.txt": "mb1ic1ih4oc1oh4kh3ph1\nmb1ic1ihfour\n",
		"empty.txt":    "# nothing\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const tiny, huge = "mb1ic1ih4oc1oh4kh3ph1", "mb1ic1048576ih1024oc1oh1024kh1"
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"--device abacus:0 verify " + tiny, exitUsage, "abacus"},
		{"verify --device abacus:0 " + tiny, exitUsage, "abacus"},
		{"verify --device cpu:7 " + tiny, exitUsage, "cpu:7"},
		{"verify --device= " + tiny, exitUsage, ""},
		{"verify --batch none.txt", exitUsage, "none.txt"},
		{"verify --batch problems.txt", exitUsage, "problems.txt"},
		{"verify --batch empty.txt", exitUsage, "no problems"},
		{"verify --golden none.csv", exitUsage, "none.csv"},
		{"verify --golden columns.csv", exitUsage, "mb_used"},
		{"verify --golden wrong.csv " + tiny, exitUsage, "no problems"},
		{"verify --onnx none", exitUsage, "none"},
		{"verify mb1ic1ih4oc1kh9", exitUsage, "kh"},
		{"verify mb1ic1", exitUsage, "ih"},
		{"verify ''", exitUsage, ""},
		{"verify mb99999999999999999999ic1ih4oc1oh4kh1", exitUsage, "mb"},
		{"verify --dt f8 " + tiny, exitUsage, "--dt"},
		{"verify --dt f16-s8-f32 " + tiny, exitUsage, "types"},
		{"verify --layout chwn " + tiny, exitUsage, "--layout"},
		{"verify --dir SIDEWAYS " + tiny, exitUsage, "--dir"},
		{"verify --dir BWD_W pool:max:mb1ic1ih4kh2sh2", exitUsage, "pool has no weights"},
		{"verify --act cosine " + tiny, exitUsage, "--act"},
		{"verify --fill zero " + tiny, exitUsage, "zero"},
		{"verify --format xml " + tiny, exitUsage, "xml"},
		{"verify --suite none", exitUsage, "none"},
		{"verify --colour " + tiny, exitUsage, "--colour"},
		{"verify --alg magic " + tiny, exitDevice, "magic"},
		{"verify -o none/out.txt " + tiny, exitUsage, "none"},
		{"bench --mode fast " + tiny, exitUsage, "fast"},
		{"bench --min-time soon " + tiny, exitUsage, "min-time"},
		{"bench --format xml " + tiny, exitUsage, "xml"},
		{"bench --device nothing* " + tiny, exitUsage, "nothing*"},
		{"bench " + huge, exitDevice, "nothing could run"},
		{"verify " + huge, exitDevice, "nothing could run"},
		{"run conv --src short.npy --wei box --dst y.npy", exitUsage, "short.npy"},
		{"run conv --src text.png --wei box --dst y.png", exitUsage, "text.png"},
		{"run conv --src none.png --wei box --dst y.png", exitUsage, "none.png"},
		{"run pool --src x.npy --kernel 5 --dst y.npy", exitUsage, "kernel"},
		{"run problem", exitUsage, "1 arg"},
		{"run problem " + tiny + " " + tiny, exitUsage, "1 arg"},
		{"run problem fly:" + tiny, exitUsage, "fly"},
		{"run problem " + tiny, exitUsage, "missing: --in src (f32 [1 1 4 4]), --in wei (f32 [1 1 3 3])"},
		{"run problem conv:BWD_W:" + tiny + " --in src=x.npy", exitUsage, "missing: --in diff_dst (f32 [1 1 4 4])"},
		{"run problem pool:max:mb1ic1ih4kh2sh2 --in src=x.npy", exitUsage, "missing: --out dst (f32 [1 1 2 2])"},
		{"run problem pool:max:mb1ic1ih4kh2sh2 --in src=x.npy --out ind=i.npy", exitUsage, "writes no ind; it writes [dst]"},
		{"run problem pool:max:mb1ic1ih4kh2sh2 --in src=x.npy --in wei=x.npy --out dst=y.npy", exitUsage, "reads no wei; it reads [src]"},
		{"run problem pool:max:mb1ic1ih4kh2sh2 --in src=x.npy --in src=x.npy --out dst=y.npy", exitUsage, "twice"},
		{"run problem pool:max:mb1ic1ih4kh2sh2 --in x.npy --out dst=y.npy", exitUsage, "ROLE=FILE"},
		{"run problem pool:max:mb1ic1ih4kh2sh2 --in src= --out dst=y.npy", exitUsage, "ROLE=FILE"},
		{"run problem pool:max:mb1ic1ih4kh2sh2 --in source=x.npy --out dst=y.npy", exitUsage, "diff_dst"},
		{"run problem pool:max:mb1ic1ih5kh2sh2 --in src=x.npy --out dst=y.npy", exitUsage, "shape [1 1 4 4], the problem wants [1 1 5 5]"},
		{"run problem pool:max:mb1ic1ih4kh2sh2 --in src=short.npy --out dst=y.npy", exitUsage, "short.npy"},
		{"run problem pool:max:mb1ic1ih4kh2sh2 --in src=x.npy --out dst=y.txt", exitUsage, "--out dst"},
		{"run problem pool:max:indices=flat:mb1ic1ih4kh2sh2 --in src=x.npy --out dst=y.npy --out ind=i.png", exitUsage, ".npy file is needed"},
		{"run problem pool:max:indices=flat:mb1ic1ih4kh2sh2 --in src=x.npy --out dst=y.npy --out ind=y.npy", exitUsage, "another result"},
		{"run problem pool:max:nhwc:mb1ic1ih4kh2sh2 --in src=nhwc.npy --out dst=y.png", exitUsage, "pictures are nchw"},
		{"run problem pool:max:u8:mb1ic1ih4kh2sh2 --in src=minus.npy --out dst=y.npy", exitUsage, "element 0 is -1"},
		{"run problem unpool:indices=plane:mb1ic1ih2kh2sh2 --in src=two.npy --in ind=two.npy --out dst=y.npy --alg magic", exitUsage, "magic"},
		{"run problem unpool:indices=plane:mb1ic1ih2kh2sh2 --in src=two.npy --in ind=minus2.npy --out dst=y.npy", exitUsage, "index -5"},
		{"devices --format xml", exitUsage, "xml"},
		{"devices twice", exitUsage, "twice"},
		{"fly", exitUsage, "fly"},
		{"--fly", exitUsage, "--fly"},
	} {
		code, _, stderr := gonvolve(t, dir, strings.Fields(c.args)...)
		if code != c.code || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, c.says) || !strings.HasPrefix(stderr, "gonvolve: ") {
			t.Errorf("%s: exit %d, stderr %q; want %d and a line with %q", c.args, code, stderr, c.code, c.says)
		}
	}
	// A check that fails says how to see it again.
	code, stdout, stderr := gonvolve(t, dir, "verify", "--golden", "wrong.csv")
	if code != exitFailed || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "gonvolve verify") || !strings.Contains(stdout, tiny[:3]) {
		t.Errorf("wrong checksum: exit %d, %q, %q", code, stdout, stderr)
	}
}

func TestBenchRecords(t *testing.T) {
	code, stdout, stderr := gonvolve(t, t.TempDir(), "bench", "--suite", "smoke", "--min-time", "1ms", "--device", "cpu", "--format", "json")
	if code != exitDone {
		t.Fatalf("exit %d, %s", code, stderr)
	}
	for line := range strings.Lines(stderr) {
		if !strings.Contains(line, "its peak had been measured as") { // on a busy machine
			t.Errorf("on standard error: %s", line)
		}
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if len(lines) < 3 {
		t.Errorf("%d records", len(lines))
	}
	for _, line := range lines {
		var r report.Record
		in := json.NewDecoder(strings.NewReader(line))
		in.DisallowUnknownFields()
		if err := in.Decode(&r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if !r.Verified || r.Status != report.Passed || r.Device != "cpu" || r.Checked == 0 || r.WallMS == nil || r.E2EMS == nil || r.WallMS.Min <= 0 {
			t.Errorf("record %s", line)
		}
	}
}

func TestDevices(t *testing.T) {
	dir := t.TempDir()
	code, stdout, stderr := gonvolve(t, dir, "devices", "--format", "json")
	if code != exitDone || stderr != "" {
		t.Fatalf("exit %d, %s", code, stderr)
	}
	var specs []string
	for in := json.NewDecoder(strings.NewReader(stdout)); in.More(); {
		var r deviceRow
		if err := in.Decode(&r); err != nil {
			t.Fatal(err)
		}
		if (r.Name == "") != (r.Reason != "") {
			t.Errorf("%+v", r)
		}
		specs = append(specs, r.Spec)
	}
	if !slices.Contains(specs, "cpu") {
		t.Errorf("devices %v", specs)
	}
	for _, format := range []string{"table", "markdown", "csv"} {
		code, stdout, stderr := gonvolve(t, dir, "devices", "--details", "--format", format)
		if code != exitDone || stderr != "" || !strings.Contains(stdout, "cpu") {
			t.Errorf("%s: exit %d, %q, %q", format, code, stdout, stderr)
		}
	}
	if code, _, stderr := gonvolve(t, dir, "devices", "-o", "list.txt"); code != exitDone {
		t.Errorf("exit %d, %s", code, stderr)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "list.txt")); err != nil || !strings.Contains(string(text), "cpu") {
		t.Errorf("%q, %v", text, err)
	}
}

// An interrupt ends every command in time, with one line and without a device left busy.
func TestInterrupt(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, "x.npy", iota32(16), 1, 1, 4, 4)
	t.Chdir(dir)
	for _, args := range []string{
		"bench --device cpu --min-time 1h mb1ic64ih56oc64oh56kh3ph1",
		"verify --device cpu --suite smoke",
		"run conv --device cpu --src x.npy --wei box --dst y.npy",
	} {
		for _, after := range []time.Duration{0, 50 * time.Millisecond} {
			if after > 0 && !strings.HasPrefix(args, "bench") {
				continue // may well be done by then
			}
			ctx, cancel := context.WithCancel(t.Context())
			timer := time.AfterFunc(after, cancel)
			if after == 0 {
				cancel()
			}
			var out, errs strings.Builder
			code := run(ctx, strings.Fields(args), &out, &errs)
			timer.Stop()
			cancel()
			if code != exitDevice || strings.Count(errs.String(), "\n") != 1 {
				t.Errorf("%s, interrupted after %v: exit %d, %q, %q", args, after, code, out.String(), errs.String())
			}
		}
	}
}

// small is a driver whose only device can run nothing, so that everything falls back.
type small struct{}

func init() { engine.Register("small", small{}) }

// smallThere plugs the device in: a driver stays registered for the whole process.
var smallThere bool

func (small) Devices() ([]driver.Info, error) {
	if !smallThere {
		return nil, fmt.Errorf("%w: unplugged", driver.ErrNoDevices)
	}
	return []driver.Info{{Name: "small", Type: driver.Other}}, nil
}

func (small) Open(context.Context, int, driver.Options) (driver.Device, error) {
	return smallDevice{}, nil
}

type smallDevice struct{ driver.Device }

func (smallDevice) Info() driver.Info                   { return driver.Info{Name: "small", Type: driver.Other} }
func (smallDevice) Algorithms(problem.Problem) []string { return nil }
func (smallDevice) Close() error                        { return nil }
func (smallDevice) Plan(context.Context, problem.Problem, driver.PlanOptions) (driver.Plan, error) {
	return nil, driver.ErrUnsupported
}

// A fallback is told in one line; --verbose logs the packages' own words too.
func TestFallbackIsToldOnce(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, "x.npy", iota32(16), 1, 1, 4, 4)
	smallThere = true
	t.Cleanup(func() { smallThere = false })
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	args := []string{"run", "conv", "--device", "small:0", "--src", "x.npy", "--wei", "box", "--dst", "y.npy"}
	code, _, stderr := gonvolve(t, dir, args...)
	if code != exitDone || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "small:0") || !strings.Contains(stderr, "cpu") {
		t.Errorf("exit %d, %q", code, stderr)
	}
	code, _, stderr = gonvolve(t, dir, append(args, "-v")...)
	if code != exitDone || strings.Count(stderr, "\n") != 2 || !strings.Contains(stderr, "level=WARN msg=fallback") {
		t.Errorf("verbose: exit %d, %q", code, stderr)
	}
	code, _, stderr = gonvolve(t, dir, append(args, "--no-fallback")...)
	if code != exitDevice || strings.Count(stderr, "\n") != 1 {
		t.Errorf("no fallback: exit %d, %q", code, stderr)
	}
}
