package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/outofcore"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

// arraysFor makes arrays with the command itself; each is NAME SHAPE and flags.
func arraysFor(t *testing.T, dir string, list ...string) {
	t.Helper()
	for _, a := range list {
		words := strings.Fields(a)
		args := append([]string{"make", words[0], "--shape", words[1]}, words[2:]...)
		if code, _, stderr := gonvolve(t, dir, args...); code != exitDone {
			t.Fatalf("%s: exit %d, %s", a, code, stderr)
		}
	}
}

func sameFiles(t *testing.T, dir, a, b string) {
	t.Helper()
	x, err := os.ReadFile(filepath.Join(dir, a))
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(filepath.Join(dir, b))
	if err != nil {
		t.Fatal(err)
	}
	if string(x) != string(y) {
		t.Errorf("%s and %s differ", a, b)
	}
}

// From files to files in tiles, and the whole in memory: the files are the same, byte for byte.
func TestStreamedIsWhole(t *testing.T) {
	dir := t.TempDir()
	arraysFor(t, dir, "x.npy 1,4,48,40", "w.npy 6,4,3,3 --seed 2", "b.npy 6 --seed 3", "gw.npy 8,2,3,3", "plane.npy 64,64", "last.npy 1,40,40,4 --dt f16",
		"u8.npy 1,4,48,40 --dt u8", "s8.npy 1,4,48,40 --dt s8", "ws8.npy 6,4,3,3 --dt s8", "dy.npy 2,6,20,20", "batch.npy 6,3,20,20", "dw.npy 6,4,20,20", "volume.npy 1,2,16,16,16", "w3.npy 2,2,3,3,3")
	save(t, dir, "q.npy", []float32{2, 2, 2, 2, 2, 2, -1, 0, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0}, 4, 6)
	for _, c := range []struct{ args, limit string }{
		{"conv --src x.npy --wei w.npy --bia b.npy --pad 1 --act relu", "30KiB"},
		{"conv --src x.npy --wei gw.npy --groups 2 --stride 2", "30KiB"},
		{"conv --src plane.npy --wei gaussian:5 --pad-mode reflect", "16KiB"},
		{"conv --src last.npy --wei w.npy --layout nhwc --dt f16", "20KiB"},
		{"conv --src s8.npy --wei ws8.npy --quant q.npy --dt s8-s8-s32 --pad 1", "30KiB"},
		{"conv --src volume.npy --wei w3.npy --pad 1", "40KiB"},
		{"pool --src x.npy --kernel 3 --stride 2 --indices OUT-i.npy --index-order flat", "16KiB"},
		{"pool --src u8.npy --kernel 2 --dt u8", "6KiB"},
		{"pool --src x.npy --kernel 2 --kind avg_np", "12KiB"},
		{"problem conv:BWD_W:mb6ic3ih20oc4kh3 --in src=batch.npy --in diff_dst=dd.npy", "60KiB"},
		{"problem conv:BWD_D:mb2ic4ih20oc6kh3ph1 --in diff_dst=dy.npy --in wei=w.npy", "30KiB"},
	} {
		if strings.Contains(c.args, "dd.npy") {
			arraysFor(t, dir, "dd.npy 6,4,18,18")
		}
		for _, out := range []string{"whole", "tiled"} {
			dst := "--dst " + out + ".npy"
			switch {
			case strings.Contains(c.args, "BWD_W"):
				dst = "--out diff_wei=" + out + ".npy"
			case strings.Contains(c.args, "BWD_D"):
				dst = "--out diff_src=" + out + ".npy"
			}
			args := strings.Fields("run " + strings.ReplaceAll(c.args, "OUT", out) + " " + dst)
			want := "^$"
			if out == "tiled" {
				args = append(args, "--mem-limit", c.limit)
				want = `^gonvolve: note: cut into \d+ tiles: .*, to keep to ` + c.limit + "\n$"
			}
			code, _, stderr := gonvolve(t, dir, args...)
			if code != exitDone || !regexp.MustCompile(want).MatchString(stderr) {
				t.Fatalf("%v: exit %d, %s", args, code, stderr)
			}
		}
		sameFiles(t, dir, "whole.npy", "tiled.npy")
		if strings.Contains(c.args, "OUT") {
			sameFiles(t, dir, "whole-i.npy", "tiled-i.npy")
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.npy.*"))
	if err != nil || left != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestTraceFlag(t *testing.T) {
	dir := t.TempDir()
	arraysFor(t, dir, "x.npy 1,4,48,40")
	for _, limit := range []string{"12KiB", ""} {
		args := []string{"run", "pool", "--src", "x.npy", "--kernel", "2", "--dst", "y.npy", "--trace", "trace.json"}
		if limit != "" {
			args = append(args, "--mem-limit", limit)
		}
		if code, _, stderr := gonvolve(t, dir, args...); code != exitDone {
			t.Fatalf("exit %d, %s", code, stderr)
		}
		text, err := os.ReadFile(filepath.Join(dir, "trace.json"))
		if err != nil {
			t.Fatal(err)
		}
		var events []map[string]any
		if err := json.Unmarshal(text, &events); err != nil {
			t.Fatal(err)
		}
		tiles := 0
		for _, e := range events {
			if e["ph"] == "X" && e["args"].(map[string]any)["stage"] != string(outofcore.Syncing) {
				tiles++
			}
		}
		if tiles%3 != 0 || (tiles > 3) != (limit != "") || tiles == 0 { // the cpu reads and writes in place
			t.Errorf("%d events", tiles)
		}
	}
}

func TestMakeAndCompare(t *testing.T) {
	dir := t.TempDir()
	arraysFor(t, dir, "a.npy 3,50", "b.npy 3,50 --seed 2", "a2.npy 3,50", "half.npy 3,50 --dt f16", "flat.npy 150", "u.npy 3,50 --fill uniform")
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"compare a.npy a2.npy", exitDone, ""},
		{"compare a.npy b.npy", exitFailed, "elements differ, first at ["},
		{"compare a.npy half.npy", exitUsage, "only arrays of one type and shape"},
		{"compare a.npy flat.npy", exitUsage, "only arrays of one type and shape"},
		{"compare a.npy none.npy", exitUsage, "none.npy"},
		{"compare a.npy a.png", exitUsage, ".npy"},
		{"compare a.npy", exitUsage, "2 arg"},
		{"compare a.npy a2.npy --format xml", exitUsage, "xml"},
		{"make c.npy", exitUsage, "--shape is missing"},
		{"make c.npy --shape 1,x", exitUsage, "--shape"},
		{"make c.npy --shape -3,4", exitUsage, "negative"},
		{"make c.npy --shape 3,4 --dt u8-s8-s32", exitUsage, "--dt"},
		{"make c.npy --shape 3,4 --fill zero", exitUsage, "--fill"},
		{"make c.png --shape 3,4", exitUsage, ".npy"},
		{"make c.npy --shape 2000000000,2000000000", exitUsage, "c.npy"},
	} {
		code, _, stderr := gonvolve(t, dir, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(stderr, c.says) || strings.Count(stderr, "\n") > 1 {
			t.Errorf("%s: exit %d, %s", c.args, code, stderr)
		}
	}
	_, stdout, _ := gonvolve(t, dir, "compare", "a.npy", "u.npy", "--format", "json")
	var d difference
	if err := json.Unmarshal([]byte(stdout), &d); err != nil || d.Equal || d.Elements != 150 || d.Differing < 140 || len(d.First) != 2 {
		t.Errorf("%+v: %v", d, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "c.npy")); !os.IsNotExist(err) {
		t.Errorf("what could not be made is there: %v", err)
	}
}

// A process that is killed (-9) in the middle leaves a run that the same command goes on with: results of one device and of
// several, and a sum of many tiles that was not finished.
func TestKilledRunGoesOn(t *testing.T) {
	file := build(t) // before the folder is another
	dir := t.TempDir()
	arraysFor(t, dir, "x.npy 1,8,1024,1024", "w.npy 8,8,3,3 --seed 2", "w2.npy 8,8,3,3 --seed 3", "batch.npy 64,8,128,128", "grad.npy 64,8,128,128 --seed 4")
	conv := "run conv --src x.npy --wei w.npy --pad 1 --alg direct --dst y.npy --mem-limit 2MiB"
	sums := "run problem conv:BWD_W:mb64ic8ih128oc8oh128kh3ph1 --in src=batch.npy --in diff_dst=grad.npy --alg direct --out diff_wei=y.npy --mem-limit 4MiB"
	list := "cpu"
	for _, l := range engine.Devices() {
		if l.Err == nil && l.Spec != "cpu" {
			list += "+" + l.Spec
			break
		}
	}
	for _, c := range []struct {
		args, device string
		begun        func() bool // that there is something to go on with
		changed      [2]string   // an input, and another in its place
		says         string
	}{
		{conv, "cpu", finished(dir), [2]string{"w.npy", "w2.npy"}, "wei has changed"},
		{conv, list, finished(dir), [2]string{"w.npy", "w2.npy"}, "wei has changed"},
		{sums, "cpu", exists(dir, "y.npy.sum0"), [2]string{"batch.npy", "grad.npy"}, "src has changed"},
		{sums, list, exists(dir, "y.npy.sum0"), [2]string{"batch.npy", "grad.npy"}, "src has changed"},
	} {
		args := append(strings.Fields(c.args), "--device", c.device)
		killed(t, file, dir, args, c.begun)
		for _, f := range []string{"y.npy.partial", "y.npy.journal"} {
			if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
				t.Errorf("after the kill: %v", err)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "y.npy")); !os.IsNotExist(err) {
			t.Errorf("the result is there: %v", err)
		}
		other := strings.Fields(strings.ReplaceAll(strings.Join(args, " "), c.changed[0], c.changed[1]))
		if code, _, stderr := gonvolve(t, dir, other...); code != exitUsage || !strings.Contains(stderr, c.says) || !strings.Contains(stderr, "--restart") {
			t.Errorf("%v: exit %d, %s", other, code, stderr)
		}
		code, _, errs := gonvolve(t, dir, args...)
		found := regexp.MustCompile(`going on where a run on (\S+) was interrupted: (\d+) of \d+ tiles are there`).FindStringSubmatch(errs)
		if code != exitDone || found == nil {
			t.Fatalf("%v again: exit %d, %s", args, code, errs)
		}
		if n, err := strconv.Atoi(found[2]); err != nil || n < 1 {
			t.Errorf("%v again: %s", args, errs)
		}
		whole, _, _ := strings.Cut(strings.ReplaceAll(c.args, "y.npy", "whole.npy"), " --mem-limit")
		if code, _, errs := gonvolve(t, dir, strings.Fields(whole)...); code != exitDone {
			t.Fatal(errs)
		}
		if code, stdout, errs := gonvolve(t, dir, "compare", "y.npy", "whole.npy"); code != exitDone {
			t.Errorf("%v: %s%s", args, stdout, errs)
		}
		left, err := filepath.Glob(filepath.Join(dir, "y.npy.*"))
		if err != nil || left != nil {
			t.Errorf("left behind: %v, %v", left, err)
		}
		if err := errors.Join(os.Remove(filepath.Join(dir, "y.npy")), os.Remove(filepath.Join(dir, "whole.npy"))); err != nil {
			t.Error(err)
		}
	}
}

// exists says whether there is a file that has something in it.
func exists(dir, name string) func() bool {
	return func() bool {
		i, err := os.Stat(filepath.Join(dir, name))
		return err == nil && i.Size() > 0
	}
}

// finished says whether a run's journal has results.
func finished(dir string) func() bool {
	return func() bool {
		text, _ := os.ReadFile(filepath.Join(dir, "y.npy.journal"))
		return strings.Contains(string(text), "done")
	}
}

// killed runs the command in a process of its own, and kills that once it has begun.
func killed(t *testing.T, file, dir string, args []string, begun func() bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), file, args...)
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Minute); !begun(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%v: nothing was finished: %s", args, stderr.String())
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatalf("%v: it came to its end before it was killed", args)
	}
}

func TestRatesFlag(t *testing.T) {
	dir := t.TempDir()
	arraysFor(t, dir, "x.npy 1,4,96,80", "w.npy 4,4,3,3 --seed 2")
	args := strings.Fields("run conv --src x.npy --wei w.npy --pad 1 --rates --device cpu --dst")
	if code, _, stderr := gonvolve(t, dir, append(args, "whole.npy")...); code != exitUsage || !strings.Contains(stderr, "--rates needs 20 tiles") {
		t.Errorf("one tile: exit %d, %s", code, stderr)
	}
	for _, list := range shareable(t) {
		shared := append(strings.Fields(strings.Replace(strings.Join(args, " "), "cpu", list, 1)), "shared.npy", "--mem-limit", "80KiB")
		if code, _, stderr := gonvolve(t, dir, shared...); code != exitUsage || !strings.Contains(stderr, "--rates is about one device") {
			t.Errorf("%s: exit %d, %s", list, code, stderr)
		}
	}
	want := `by itself a tile takes read \S+ ms, compute \S+ ms, write \S+ ms; in the run one every \S+ ms: \d+ % of the rate of the slowest of these, (read|compute|write)\n` +
		`.*reading and writing a tile, one after the other, takes \S+ ms: \d+ % of .*\n` +
		`.*reading one tile while another is written, and nothing else, takes \S+ ms: \d+ % of .*\n` +
		`.*so the run has \d+ % of the rate of its slowest stage: (disk \(one reads and writes\)|compute)\n`
	for _, file := range []string{"first.npy", "second.npy"} {
		code, _, stderr := gonvolve(t, dir, append(args, file, "--mem-limit", "40KiB")...)
		if code != exitDone || !regexp.MustCompile(want).MatchString(stderr) {
			t.Errorf("%s: exit %d, %s", file, code, stderr)
		}
	}
	sameFiles(t, dir, "first.npy", "second.npy")
}

// Of 30 tiles one is written every 10 ms; then five go by themselves, and five in step.
func TestRatesAnswer(t *testing.T) {
	for _, c := range []struct {
		compute int // ms
		disk    bool
		want    string
	}{
		{5, true, "so the run has 90 % of the rate of its slowest stage: disk (one reads and writes)"},
		{5, false, "so the run has 60 % of the rate of its slowest stage: read"},
		{8, true, "so the run has 90 % of the rate of its slowest stage: disk (one reads and writes)"},
		{8, false, "so the run has 80 % of the rate of its slowest stage: compute"},
		{10, true, "so the run has 100 % of the rate of its slowest stage: compute"},
	} {
		b := busy{alone: map[int]bool{}, inStep: map[int]bool{}, disk: c.disk}
		start := time.Now()
		at := 300
		do := func(s tiling.Stage, tile, from, took int) {
			b.stage(s, tile, start.Add(time.Duration(from)*time.Millisecond), start.Add(time.Duration(from+took)*time.Millisecond))
		}
		for tile := range 30 {
			do(tiling.Writing, tile, 10*tile, 3)
		}
		for tile := 30; tile < 35; tile++ {
			b.inStep[tile] = true
			do(tiling.Reading, tile, at, 6)
			at += 6
			do(tiling.Writing, tile, at, 3)
		}
		at += 3
		for tile := 35; tile < 40; tile++ {
			b.alone[tile] = true
			do(tiling.Reading, tile, at, 6)
			do(tiling.Computing, tile, at+6, c.compute)
			do(tiling.Writing, tile, at+6+c.compute, 3)
			at += 9 + c.compute
		}
		lines := b.rates(time.Duration(at)*time.Millisecond, 40)
		if got := lines[len(lines)-1]; got != c.want {
			t.Errorf("%d ms of computing, one disk %v: %s, want %s", c.compute, c.disk, got, c.want)
		}
	}
}
