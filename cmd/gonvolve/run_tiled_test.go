package main

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

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
			note = `^gonvolve: note: cut into \d+ tiles: ` + c.cut + ` \d+, to keep to ` + c.limit + "\n$"
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
