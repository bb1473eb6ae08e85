package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine/report"
)

// bench shows which device auto chose, why, and its time by the best one's.
func TestBenchAuto(t *testing.T) {
	t.Setenv("GONVOLVE_CACHE", t.TempDir())
	dir := t.TempDir()
	for range 2 { // the second time the choice is known
		code, stdout, stderr := gonvolve(t, dir, "bench", "--device", "all,auto", "--min-time", "1ms", "--format", "json", "mb1ic4ih9oc8oh9kh3ph1")
		if code != exitDone {
			t.Fatalf("exit %d, %s", code, stderr)
		}
		devices := map[string]bool{}
		for line := range strings.Lines(stdout) {
			var r report.Record
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			if r.Device != "auto" {
				devices[r.Device] = true
				if r.Chosen != "" || r.VsBest != nil {
					t.Errorf("%+v", r)
				}
				continue
			}
			if !devices[r.Chosen] || r.ChosenE2E != "" && !devices[r.ChosenE2E] || r.VsBest == nil || r.VsBestE2E == nil || !r.Verified ||
				!strings.HasPrefix(r.Why, r.Chosen+" ") || !strings.Contains(r.Repro, "--device "+r.Chosen+" ") {
				t.Errorf("%+v", r)
			}
			devices["auto"] = true
		}
		if !devices["auto"] {
			t.Error("no record of auto")
		}
	}
	code, stdout, _ := gonvolve(t, dir, "bench", "--device", "cpu,auto", "--min-time", "1ms", "mb1ic4ih9oc8oh9kh3ph1")
	if code != exitDone || !strings.Contains(stdout, "auto → ") || !strings.Contains(stdout, "× best") {
		t.Errorf("exit %d: %s", code, stdout)
	}
	if code, _, stderr := gonvolve(t, dir, "verify", "--device", "auto", "--kernels", dir, "mb1ic4ih9oc8oh9kh3ph1"); code != exitUsage ||
		!strings.Contains(stderr, "auto with kernels of a folder; name single devices") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}
