package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/tensorio"
)

func TestRunKeepsToAMemoryLimit(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, "x.npy", iota32(3*64*64), 1, 3, 64, 64)
	save(t, dir, "w.npy", iota32(2*3*3*3), 2, 3, 3, 3)
	for _, c := range []struct{ args, limit, cut string }{
		{"run conv --src x.npy --wei w.npy --pad 1", "80KiB", "height"},
		{"run conv --src x.npy --wei gaussian:3 --pad-mode reflect", "0.1MB", "height"},
		{"run pool --src x.npy --kernel 2 --kind avg_np", "100000", "height"},
		{"run conv --src x.npy --wei w.npy --pad 1", "1GiB", ""},
	} {
		want := succeed(t, dir, "whole.npy", c.args)
		args := strings.Fields(c.args + " --dst tiled.npy --format json --mem-limit " + c.limit)
		code, stdout, stderr := gonvolve(t, dir, args...)
		note := "^$"
		if c.cut != "" {
			note = `^gonvolve: note: cut into \d+ tiles: ` + c.cut + ` \d+, to keep to ` + c.limit + "\n"
		}
		if code != exitDone || !regexp.MustCompile(note).MatchString(stderr) {
			t.Fatalf("%s: exit %d, %s, want %s", args, code, stderr, note)
		}
		got, err := tensorio.Read(filepath.Join(dir, "tiled.npy"))
		if err != nil {
			t.Fatal(err)
		}
		equal(t, got, want.Float32s(), want.Shape()...)
		var r report.Record
		if err := json.Unmarshal([]byte(stdout), &r); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(r.Tile, c.cut) || r.Algorithm == "" || r.Status != report.Passed || r.E2EMS == nil {
			t.Errorf("%s: %+v", args, r)
		}
	}
	for limit, want := range map[string]string{
		"lots": `--mem-limit: invalid argument: "lots" is no amount of memory; write 512MiB, 2GB or a number of bytes`,
		"-1MB": `"-1MB" is no amount of memory`,
		"100":  "the smallest tiles take",
	} {
		code, _, stderr := gonvolve(t, dir, "run", "conv", "--src", "x.npy", "--wei", "w.npy", "--dst", "y.npy", "--mem-limit", limit)
		if code == exitDone || !strings.Contains(stderr, want) {
			t.Errorf("--mem-limit %s: exit %d, %s", limit, code, stderr)
		}
	}
}

// Devices share a run, in memory and from file to file; the result is that of one, bit for bit, and the shares are shown.
func TestRunShared(t *testing.T) {
	dir := t.TempDir()
	x, w := iota32(3*256*256), iota32(2*3*3*3)
	for _, v := range [][]float32{x, w} {
		for i := range v {
			v[i] = float32(int(v[i])%7 - 3) // so that every sum is exact
		}
	}
	save(t, dir, "x.npy", x, 1, 3, 256, 256)
	save(t, dir, "w.npy", w, 2, 3, 3, 3)
	args := "run conv --exact --src x.npy --wei w.npy --pad 1"
	want := succeed(t, dir, "whole.npy", args+" --device cpu")
	for _, list := range shareable(t) {
		for _, more := range []string{"", "--mem-limit 2MiB"} {
			code, stdout, stderr := gonvolve(t, dir, strings.Fields(args+" --dst shared.npy --format json --trace t.json --device "+list+" "+more)...)
			if code != exitDone || !regexp.MustCompile(`note: shared by cpu \(\d+\) \+ `).MatchString(stderr) {
				t.Fatalf("%s %s: exit %d, %s", list, more, code, stderr)
			}
			got, err := tensorio.Read(filepath.Join(dir, "shared.npy"))
			if err != nil {
				t.Fatal(err)
			}
			if string(got.Bytes()) != string(want.Bytes()) {
				t.Errorf("%s %s: not the whole's result", list, more)
			}
			var r report.Record
			if err := json.Unmarshal([]byte(stdout), &r); err != nil {
				t.Fatal(err)
			}
			if r.Device != list || r.Chosen != "" || !strings.Contains(r.Tile, " tiles: ") || !strings.Contains(r.Tile, " on cpu (") {
				t.Errorf("%s: %+v", list, r)
			}
			trace, err := os.ReadFile(filepath.Join(dir, "t.json"))
			if err != nil || !strings.Contains(string(trace), "compute on ") {
				t.Errorf("%v, trace %.300s", err, trace)
			}
		}
	}
	if code, _, stderr := gonvolve(t, dir, "run", "conv", "--src", "x.npy", "--wei", "w.npy", "--dst", "y.npy", "--device", "cpu+auto"); code != exitUsage ||
		!strings.Contains(stderr, "auto is all devices already") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

// shareable lists the cpu with each other device.
func shareable(t *testing.T) (lists []string) {
	t.Helper()
	for _, l := range engine.Devices() {
		if l.Err == nil && l.Spec != "cpu" {
			lists = append(lists, "cpu+"+l.Spec)
		}
	}
	return lists
}
