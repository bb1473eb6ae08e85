package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine/tune"
)

const tuneOne = "mb1ic8ih9oc8oh9kh5ph2"

// Tuning, listing, carrying over and using what was found, as a user does it.
func TestTuneCommand(t *testing.T) {
	t.Setenv("GONVOLVE_CACHE", t.TempDir())
	dir := t.TempDir()
	row := func(args ...string) (r tuneRow) {
		t.Helper()
		code, out, stderr := gonvolve(t, dir, append([]string{"tune", "--format", "json", "--budget", "200ms"}, args...)...)
		if code != exitDone || stderr != "" {
			t.Fatalf("%v: exit %d, %s", args, code, stderr)
		}
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return r
	}
	first := row(tuneOne)
	if first.Status != tune.Tuned || first.Device != "cpu" || first.MS <= 0 || first.DefaultMS < first.MS*0.9 || first.Tried < 2 ||
		first.Proven != "int exact, uniform bounded" || len(first.Wrong) != 0 {
		t.Errorf("%+v", first)
	}
	if again := row(tuneOne); again.Status != tune.Known || again.MS != first.MS {
		t.Errorf("again: %+v", again)
	}
	if forced := row("--force", tuneOne); forced.Status != tune.Tuned {
		t.Errorf("forced: %+v", forced)
	}
	for _, format := range []string{"table", "json", "csv", "markdown"} {
		code, out, stderr := gonvolve(t, dir, "tune", "--list", "--format", format, "--export", "tuned.jsonl")
		if code != exitDone || stderr != "" || !strings.Contains(out, "oc8") || !strings.Contains(out, first.Proven) {
			t.Errorf("--list --format %s: exit %d, %s%s", format, code, stderr, out)
		}
		if code, out, stderr := gonvolve(t, dir, "tune", "--format", format, tuneOne); code != exitDone || !strings.Contains(out, first.Proven) {
			t.Errorf("--format %s: exit %d, %s%s", format, code, stderr, out)
		}
	}
	// Another machine's database takes the file.
	t.Setenv("GONVOLVE_CACHE", t.TempDir())
	for _, want := range []string{"1 of 1 choices", "0 of 1 choices"} {
		if code, _, stderr := gonvolve(t, dir, "tune", "--merge", "tuned.jsonl"); code != exitDone || !strings.Contains(stderr, want) {
			t.Errorf("--merge: exit %d, %s", code, stderr)
		}
	}
	// What the database says is what runs.
	kept, err := os.ReadFile(filepath.Join(dir, "tuned.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	quick := strings.Replace(string(kept), `"algorithm":"`+first.Algorithm, `"algorithm":"reference`, 1)
	quick = regexp.MustCompile(`"ms":[^,]*`).ReplaceAllString(quick, `"ms":1e-9`)
	if err := os.WriteFile(filepath.Join(dir, "quick.jsonl"), []byte(quick), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := gonvolve(t, dir, "tune", "--merge", "quick.jsonl"); code != exitDone || !strings.Contains(stderr, "1 of 1") {
		t.Errorf("--merge: exit %d, %s", code, stderr)
	}
	code, out, stderr := gonvolve(t, dir, "bench", "--format", "json", "--mode", "device", tuneOne)
	if code != exitDone || !strings.Contains(out, `"algorithm":"reference"`) || !strings.Contains(out, `"peak_pct":`) || strings.Contains(out, `"peak_pct":null`) {
		t.Errorf("bench after tuning: exit %d, %s%s", code, stderr, out)
	}
	if merged := row(tuneOne); merged.Status != tune.Known {
		t.Errorf("merged: %+v", merged)
	}
	if err := os.WriteFile(filepath.Join(dir, "bad.jsonl"), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"tune --merge bad.jsonl", exitUsage, "line 1"},
		{"tune --merge none.jsonl", exitUsage, "none.jsonl"},
		{"tune --budget 0s " + tuneOne, exitUsage, "--budget"},
		{"tune --list " + tuneOne, exitUsage, "--list"},
		{"tune --list --export none/x.jsonl", exitUsage, "--export"},
		{"tune --format xml " + tuneOne, exitUsage, "xml"},
		{"tune mb1ic1", exitUsage, "ih"},
		{"tune --device abacus " + tuneOne, exitUsage, "abacus"},
		{"tune mb1ic1048576ih1024oc1oh1024kh1", exitDevice, ""},
	} {
		if code, _, stderr := gonvolve(t, dir, strings.Fields(c.args)...); code != c.code || !strings.Contains(stderr, c.says) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit %d, %s", c.args, code, stderr)
		}
	}
	t.Setenv("GONVOLVE_CACHE", "off")
	if code, _, stderr := gonvolve(t, dir, "tune", tuneOne); code != exitUsage || !strings.Contains(stderr, "--export") {
		t.Errorf("without a cache: exit %d, %s", code, stderr)
	}
}

func TestTuneInterrupted(t *testing.T) {
	t.Setenv("GONVOLVE_CACHE", t.TempDir())
	t.Setenv("GONVOLVE_DEVICE", "cpu")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs strings.Builder
	if code := run(ctx, []string{"tune", tuneOne}, &out, &errs); code != exitDevice || !strings.Contains(errs.String(), "interrupted after 0") {
		t.Errorf("exit %d, %s", code, errs.String())
	}
}

// A candidate that was wrong fails the command, also where another one won.
func TestTuneConcludes(t *testing.T) {
	good := tuneRow{Status: tune.Tuned}
	wrong := tuneRow{Status: tune.Tuned, Wrong: []string{"igemm tx=4: 3 of 4"}}
	for _, c := range []struct {
		rows []tuneRow
		want int
	}{
		{nil, exitDone},
		{[]tuneRow{good, {Status: tune.Unsupported}, {Status: tune.Known}}, exitDone},
		{[]tuneRow{good, wrong}, exitFailed},
		{[]tuneRow{good, {Status: tune.Failed}}, exitFailed},
		{[]tuneRow{{Status: tune.Unsupported}}, exitDevice},
	} {
		if got := exitCode(conclude(t.Context(), c.rows, len(c.rows))); got != c.want {
			t.Errorf("%+v: exit %d, not %d", c.rows, got, c.want)
		}
	}
}

func TestBenchCompare(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.json": `{"problem":"p","device":"cpu","algorithm":"gemm","status":"passed","wall_ms":{"min":1,"median":1,"p95":1}}`,
		"b.json": `{"problem":"p","device":"cpu","algorithm":"gemm","status":"passed","wall_ms":{"min":2,"median":2,"p95":2}}`,
		"f.json": `{"problem":"p","device":"cpu","algorithm":"gemm","status":"failed","reason":"3 of 4"}`,
		"x.json": "no",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args      string
		code      int
		out, errs string
	}{
		{"a.json b.json", exitDone, "slower", ""},
		{"b.json a.json", exitDone, "2.00", ""},
		{"a.json f.json", exitDone, "broken", ""},
		{"--fail-over 10% a.json b.json", exitFailed, "slower", "2 ms instead of 1"},
		{"--fail-over 100 a.json b.json", exitDone, "slower", ""},
		{"--fail-over 10% b.json a.json", exitDone, "faster", ""},
		{"--fail-over 10% a.json f.json", exitFailed, "broken", "3 of 4"},
		{"--fail-over much a.json b.json", exitUsage, "", "--fail-over"},
		{"--fail-over -1 a.json b.json", exitUsage, "", "--fail-over"},
		{"--format xml a.json b.json", exitUsage, "", "xml"},
		{"--format json a.json b.json", exitDone, `"ratio":0.5`, ""},
		{"a.json", exitUsage, "", "2 arg"},
		{"a.json x.json", exitUsage, "", "x.json"},
		{"a.json none.json", exitUsage, "", "none.json"},
	} {
		code, out, errs := gonvolve(t, dir, append([]string{"bench", "compare"}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errs, c.errs) || (c.errs == "") != (errs == "") {
			t.Errorf("%s: exit %d, %s%s", c.args, code, out, errs)
		}
	}
}
