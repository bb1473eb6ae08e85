package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// records runs the command with --format json.
func records(t *testing.T, want int, args ...string) []report.Record {
	t.Helper()
	code, stdout, stderr := gonvolve(t, t.TempDir(), append(args, "--format", "json")...)
	if code != want {
		t.Fatalf("%v: exit %d, %s", args, code, stderr)
	}
	var all []report.Record
	for d := json.NewDecoder(strings.NewReader(stdout)); d.More(); {
		var r report.Record
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// words splits a command line as a shell does, as far as repros need.
func words(line string) []string {
	var all []string
	head, rest, _ := strings.Cut(line, " '")
	all = strings.Fields(head)[1:]
	return append(all, strings.ReplaceAll(strings.TrimSuffix(rest, "'"), `'\''`, "'"))
}

// The command of a record makes that record again: device, algorithm, fill and problem.
func TestReproRunsAgain(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for i := range 40 {
		p := problem.Random(r, 6)
		if p.Name = ""; i%4 == 0 {
			p.Name = `conv1's_a:b`
		}
		fill := []verify.Fill{verify.Int, verify.Uniform}[i%2]
		repro := verify.Repro(&p, "cpu", "reference", fill)
		got := records(t, exitDone, words(repro)...)
		if len(got) != 1 || got[0].Repro != repro || got[0].Problem != p.String() || got[0].Algorithm != "reference" || !got[0].Verified {
			t.Errorf("%s makes %+v", repro, got)
		}
	}
}

// A list's problems that have not what a flag asks of all are left out, and the others run.
func TestListsWithoutDirection(t *testing.T) {
	code, stdout, stderr := gonvolve(t, t.TempDir(), "verify", "--suite", "smoke", "--dir", "BWD_W", "--device", "cpu", "--format", "json")
	if code != exitDone || strings.Count(stdout, "BWD_W:") != 2*4 || strings.Contains(stdout, "pool") {
		t.Errorf("exit %d, %s", code, stdout)
	}
	if !strings.HasPrefix(stderr, "gonvolve: note: 2 of 6 problems left out, such as pool:") {
		t.Errorf("notes: %s", stderr)
	}
}

// --dir, --dt, --act and --bias make the problem that its text says.
func TestProblemFlags(t *testing.T) {
	const desc = "mb1ic4ih5oc4oh5kh3ph1"
	for args, want := range map[string]string{
		"--dir BWD_W":                          "conv:BWD_W:",
		"--dt f16 --act relu+clip(0,6) --bias": "conv:f16:bias:post=relu+clip(0,6):",
		"--dt u8-s8-s32":                       "conv:u8-s8-s32:",
		"--mb 3":                               "conv:mb3ic4",
	} {
		got := records(t, exitDone, append([]string{"verify", "--device", "cpu", desc}, strings.Fields(args)...)...)
		if len(got) != 1 || !strings.HasPrefix(got[0].Problem, want) {
			t.Errorf("%s makes %+v, not %s", args, got, want)
		}
	}
}

func TestFuzzCommand(t *testing.T) {
	got := records(t, exitDone, "verify", "--device", "cpu", "--fuzz", "300ms", "--seed", "5")
	again := records(t, exitDone, "verify", "--device", "cpu", "--fuzz", "300ms", "--seed", "5")
	for i := range min(len(got), len(again)) {
		if got[i].Repro != again[i].Repro {
			t.Errorf("check %d is %s, then %s", i, got[i].Repro, again[i].Repro)
		}
	}
	if len(got) < 4 {
		t.Errorf("%d checks", len(got))
	}
	if only := records(t, exitDone, "verify", "--device", "cpu", "--fuzz", "100ms", "--alg", "reference", "--fill", "int"); strings.Contains(fmt.Sprint(only), "uniform") {
		t.Error("--fill int makes uniform inputs")
	}
}

// --cut has problems run in tiles, by --seed or by steps, which the record's command repeats.
func TestCutFlag(t *testing.T) {
	const p = "mb2ic4ih9oc4oh9kh3ph1"
	for args, says := range map[string]string{
		"--cut 1,1,4,4,1,3,9 " + p:                     "6 tiles: batch 2 × height 3",
		"--cut 2,1,2,1,1,9,9 " + p:                     "8 tiles: output channels 2 × input channels 4 (sums)",
		"--cut random --seed 3 " + p:                   "tiles: ",
		"--cut 1,1,9,9,1,9,99 --dir BWD_W --mb 2 " + p: "2 tiles: batch 2 (sums)",
	} {
		got := records(t, exitDone, append([]string{"verify", "--device", "cpu"}, strings.Fields(args)...)...)
		if len(got) != 1 || !got[0].Verified || got[0].Check != "exact" || !strings.Contains(got[0].Tile, says) || !strings.Contains(got[0].Repro, "' --cut ") {
			t.Errorf("%s: %+v", args, got)
			continue
		}
		var again []string
		for _, word := range strings.Fields(got[0].Repro)[1:] {
			again = append(again, strings.Trim(word, "'"))
		}
		if same := records(t, exitDone, again...); len(same) != 1 || same[0].Tile != got[0].Tile {
			t.Errorf("%s: %s makes %+v", args, got[0].Repro, same)
		}
	}
	if got := records(t, exitDone, "verify", "--device", "cpu", "--fuzz", "300ms", "--cut", "random"); len(got) < 2 {
		t.Errorf("%d checks", len(got))
	}
	for args, says := range map[string]string{
		"--cut 1,2 --fuzz 1s": "write --cut random", "--cut 1,x " + p: "steps, such as", "--cut 0,1 " + p: "steps, such as",
		"--cut random --golden x.csv": "none of the others can be",
	} {
		if code, _, stderr := gonvolve(t, t.TempDir(), append([]string{"verify", "--device", "cpu"}, strings.Fields(args)...)...); code != exitUsage ||
			!strings.Contains(stderr, says) {
			t.Errorf("%s: exit %d, %s", args, code, stderr)
		}
	}
}

// --tile forces one of an algorithm's tiles, which the record's command repeats; an unknown one is refused with those there are.
func TestTileFlag(t *testing.T) {
	const p = "mb1ic16ih14oc16kh3ph1"
	for _, command := range []string{"verify", "bench --min-time 1ms"} {
		for _, m := range []string{"m=2", "m=4", "m=6"} {
			args := append(strings.Fields(command), "--device", "cpu", "--alg", "winograd", "--tile", m, p)
			got := records(t, exitDone, args...)
			if len(got) != 1 || !got[0].Verified || !strings.Contains(got[0].Tile, "F("+m[2:]) || !strings.Contains(got[0].Repro, " --tile "+m+" ") {
				t.Errorf("%v: %+v", args, got)
				continue
			}
			if again := records(t, exitDone, words(got[0].Repro)...); len(again) != 1 || again[0].Tile != got[0].Tile {
				t.Errorf("%s makes %+v", got[0].Repro, again)
			}
		}
	}
	if got := records(t, exitDone, "verify", "--device", "cpu", "--alg", "winograd", "--tile", "m=2", "--mem-limit", "40KiB", p); len(got) != 1 ||
		!got[0].Verified || got[0].Tiles < 2 || !strings.Contains(got[0].Tile, "F(2") {
		t.Errorf("in tiles: %+v", got)
	}
	for _, r := range records(t, exitDone, "verify", "--device", "cpu", "--alg", "winograd", "--tile", "m=6", "--fuzz", "200ms") {
		if !strings.Contains(r.Tile, "F(6") {
			t.Errorf("%+v", r)
		}
	}
	for args, says := range map[string]string{
		"--tile m=4":                "name the algorithm",
		"--tile m=4 --alg all":      "name the algorithm",
		"--tile m=3 --alg winograd": "m=2, m=4, m=6",
		"--tile m=4 --alg igemm":    "choose from: none",
	} {
		if code, _, stderr := gonvolve(t, t.TempDir(), append([]string{"verify", "--device", "cpu", p}, strings.Fields(args)...)...); code == exitDone ||
			!strings.Contains(stderr, says) {
			t.Errorf("%s: exit %d, %s", args, code, stderr)
		}
	}
}

func TestVerdictCommand(t *testing.T) {
	const p = "mb1ic4ih5oc4oh5kh3ph1"
	got := records(t, exitDone, "verify", "--device", "cpu", "--verdict", "--fill", "uniform", p)
	if len(got) < 3 {
		t.Fatalf("%d results", len(got))
	}
	for _, r := range got {
		if r.Verdict == "" || len(r.ULPs) != verify.Buckets || r.Worst == nil || r.Worst.Sum == nil || len(r.Worst.Largest) == 0 {
			t.Errorf("%+v", r)
		}
	}
	_, stdout, _ := gonvolve(t, t.TempDir(), "verify", "--device", "cpu", "--verdict", p)
	for _, want := range []string{"0 ulp", "must be that bit for bit", "Σ|terms|", "verdict: all"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the verdict lacks %q:\n%s", want, stdout)
		}
	}
	if _, stdout, _ := gonvolve(t, t.TempDir(), "verify", "--device", "cpu", p); strings.Contains(stdout, "verdict") {
		t.Errorf("a verdict where nothing is wrong:\n%s", stdout)
	}
}

// --sample takes some of a golden file's results, and every algorithm can be asked for.
func TestGoldenSample(t *testing.T) {
	file := filepath.Join(t.TempDir(), "golden.csv")
	rows := "file,mb_used,note,fwd_hash,fwd_dot,desc\n" + strings.Repeat("own,2,,d19c4b7fa2e849ef,0,mb7ic2ih5oc3oh5kh3ph1\n", 5)
	if err := os.WriteFile(file, []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		n    string
		want int
	}{{"2", 2}, {"9", 5}, {"0", 1}} {
		algorithms := map[string]int{}
		for _, r := range records(t, exitDone, "verify", "--device", "cpu", "--golden", file, "--alg", "all", "--sample", c.n) {
			algorithms[r.Algorithm]++
		}
		if algorithms["reference"] != c.want || algorithms["igemm"] != c.want {
			t.Errorf("--sample %s: %v", c.n, algorithms)
		}
	}
	// By one algorithm it is a sample of what that can run.
	plain := strings.ReplaceAll(rows, "own,2,", "own,2,of stride 1") + "own,2,of stride 2,d19c4b7fa2e849ef,0,mb7ic2ih5oc3oh3kh3sh2ph1\n"
	if err := os.WriteFile(file, []byte(plain), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, r := range records(t, exitDevice, "verify", "--device", "cpu", "--golden", file, "--alg", "winograd", "--sample", "9") {
		if strings.Contains(r.Problem, "sh2") {
			t.Errorf("%+v", r)
		}
	}
}

// A folder of lists is all of them, each with its folder's operation; --sample takes some.
func TestBatchFolder(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"conv/shapes_a": "mb1ic1ih4oc1oh4kh3ph1 # one\nmb1ic2ih4oc1oh4kh3ph1\n",
		"pool/shapes_b": "mb1ic1ih4oh2kh2sh2\n",
		"conv/set_all":  "--batch=shapes_a\n",
	} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := records(t, exitDone, "verify", "--device", "cpu", "--batch", dir)
	if len(got) != 3 || got[0].Op != "conv" || got[2].Op != "pool" {
		t.Errorf("%+v", got)
	}
	one := records(t, exitDone, "verify", "--device", "cpu", "--batch", dir, "--sample", "1", "--seed", "2")
	again := records(t, exitDone, "verify", "--device", "cpu", "--batch", dir, "--sample", "1", "--seed", "2")
	if len(one) != 1 || len(again) != 1 || one[0].Problem != again[0].Problem {
		t.Errorf("%+v, then %+v", one, again)
	}
	if code, _, stderr := gonvolve(t, dir, "verify", "--batch", t.TempDir()); code != exitUsage || !strings.Contains(stderr, "no lists") {
		t.Errorf("an empty folder: exit %d, %s", code, stderr)
	}
}
