package main

import (
	"strings"
	"testing"
)

// All algorithms are timed and checked, one of them is the device's own, and one that is hopeless runs once.
func TestBenchAllAlgorithms(t *testing.T) {
	const p = "mb1ic16ih28oc16oh28kh3ph1"
	own, once := 0, 0
	for _, r := range records(t, exitDone, "bench", "--device", "cpu", "--alg", "all", "--min-time", "1ms", p) {
		if !r.Verified || r.WallMS == nil {
			t.Errorf("%s: %+v", r.Algorithm, r)
		}
		if r.Own {
			own++
		}
		if r.Runs == 1 {
			once++
		}
		if r.Algorithm == "reference" && (r.Runs != 1 || r.Own) {
			t.Errorf("the oracle's loops ran %d times", r.Runs)
		}
	}
	if own != 1 || once < 1 {
		t.Errorf("%d of its own, %d ran once", own, once)
	}
	for alg, want := range map[string]int{"all": 1, "auto": 0, "direct": 0} {
		code, stdout, stderr := gonvolve(t, t.TempDir(), "bench", "--device", "cpu", "--alg", alg, "--mode", "device", "--min-time", "1ms", p)
		if code != exitDone || strings.Count(stdout, "of 1 problems") != want {
			t.Errorf("--alg %s: exit %d\n%s%s", alg, code, stdout, stderr)
		}
	}
}
