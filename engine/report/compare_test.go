package report

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
)

func timing(p, dev, alg string, min, median, p95 float64) Record {
	return Record{Problem: p, Device: dev, Algorithm: alg, Status: Passed, Verified: true, WallMS: &Times{min, median, p95}}
}

func TestCompare(t *testing.T) {
	failed := Record{Problem: "broken", Device: "cpu", Algorithm: "gemm", Status: Failed, Reason: "3 of 4"}
	mended := failed
	mended.Problem = "mended"
	clocked := timing("clocks", "cpu", "gemm", 10, 11, 12)
	clocked.DeviceMS = &Times{1, 1, 1}
	untimed := Record{Problem: "untimed", Device: "cpu", Algorithm: "gemm", Status: Passed}
	before := []Record{
		timing("faster", "cpu", "gemm", 10, 11, 12), timing("slower", "cpu", "gemm", 10, 11, 12), timing("overlap", "cpu", "gemm", 10, 11, 14),
		timing("tiny", "cpu", "gemm", 10, 10, 10), timing("gone", "cpu", "gemm", 1, 1, 1), timing("other", "cpu", "gemm", 10, 11, 12),
		timing("two", "cpu", "gemm", 10, 11, 12), timing("two", "cpu", "direct", 20, 21, 22),
		timing("broken", "cpu", "gemm", 1, 1, 1), mended, clocked, untimed,
		timing("many", "cpu", "gemm", 10, 11, 12), timing("many", "cpu", "gemm", 9, 13, 20), timing("many", "cpu", "gemm", 12, 12, 14),
	}
	after := []Record{
		timing("faster", "cpu", "gemm", 4, 5.5, 9), timing("slower", "cpu", "gemm", 13, 22, 30), timing("overlap", "cpu", "gemm", 13, 22, 30),
		timing("tiny", "cpu", "gemm", 10.1, 10.1, 10.1), timing("new", "cpu", "gemm", 1, 1, 1), timing("other", "cpu", "igemm", 4, 5, 6),
		timing("two", "cpu", "direct", 20, 21, 22), timing("two", "cpu", "igemm", 1, 1, 1),
		failed, timing("mended", "cpu", "gemm", 1, 1, 1), timing("clocks", "cpu", "gemm", 5, 5.5, 6), untimed,
		timing("many", "cpu", "gemm", 6, 6, 6),
	}
	want := []Change{
		{Problem: "faster", Algorithm: "gemm", Clock: "wall", Ratio: 2, Verdict: Faster},
		{Problem: "slower", Algorithm: "gemm", Clock: "wall", Ratio: 0.5, Verdict: Slower},
		{Problem: "overlap", Algorithm: "gemm", Clock: "wall", Ratio: 0.5, Verdict: Same},
		{Problem: "tiny", Algorithm: "gemm", Clock: "wall", Ratio: 10 / 10.1, Verdict: Same},
		{Problem: "new", Algorithm: "gemm", Verdict: OnlyAfter},
		{Problem: "other", Algorithm: "gemm → igemm", Clock: "wall", Ratio: 2.2, Verdict: Faster},
		{Problem: "two", Algorithm: "direct", Clock: "wall", Ratio: 1, Verdict: Same},
		{Problem: "two", Algorithm: "igemm", Verdict: OnlyAfter},
		{Problem: "broken", Algorithm: "gemm", Verdict: Broken, Reason: "failed: 3 of 4"},
		{Problem: "mended", Algorithm: "gemm", Verdict: Mended},
		{Problem: "clocks", Algorithm: "gemm", Clock: "wall", Ratio: 2, Verdict: Faster},
		{Problem: "untimed", Algorithm: "gemm", Verdict: Untimed},
		{Problem: "many", Algorithm: "gemm", Clock: "wall", Ratio: 2, Verdict: Faster},
		{Problem: "gone", Algorithm: "gemm", Verdict: OnlyBefore},
		{Problem: "two", Algorithm: "gemm", Verdict: OnlyBefore},
	}
	got := Compare(before, after)
	if len(got) != len(want) {
		t.Fatalf("%d changes, not %d: %+v", len(got), len(want), got)
	}
	for i, c := range got {
		if c.Device != "cpu" || math.Abs(c.Ratio-want[i].Ratio) > 1e-12 || (c.Ratio > 0) != (c.Before != nil && c.After != nil) {
			t.Errorf("%+v, not %+v", c, want[i])
		}
		c.Device, c.Ratio, c.Before, c.After = "", 0, nil, nil
		w := want[i]
		if w.Ratio = 0; c != w {
			t.Errorf("%+v, not %+v", c, w)
		}
	}
	if m := got[12].Before; *m != (Times{9, 12, 20}) {
		t.Errorf("three runs together: %+v", *m)
	}
	if mean, n := Geomean(got[:2]); n != 2 || math.Abs(mean-1) > 1e-12 {
		t.Errorf("geomean %v of %d", mean, n)
	}
	if mean, n := Geomean(nil); n != 0 || mean != 0 {
		t.Errorf("geomean of nothing: %v of %d", mean, n)
	}
	for _, format := range Formats {
		var b strings.Builder
		if err := WriteChanges(&b, format, got, 0); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"geomean", "gemm → igemm", "3 of 4", "4 faster, 1 slower, 3 same, 1 broken, 1 mended, 1 not timed, 2 only before, 2 only after"} {
			if !strings.Contains(b.String(), text) {
				t.Errorf("%s lacks %q:\n%s", format, text, b.String())
			}
		}
		if format == "csv" {
			if rows, err := csv.NewReader(strings.NewReader(b.String())).ReadAll(); err != nil || len(rows) != len(got)+2 {
				t.Errorf("%d rows, %v", len(rows), err)
			}
		}
		if format == "json" && !json.Valid([]byte(strings.SplitN(b.String(), "\n", 2)[0])) {
			t.Errorf("no JSON: %s", b.String())
		}
	}
}

func TestRead(t *testing.T) {
	text := write(t, "json", records(), Options{})
	list, err := Read(strings.NewReader("\n" + text))
	if err != nil || len(list) != len(records()) || list[0].WallMS.Median != 2 {
		t.Errorf("%+v, %v", list, err)
	}
	for _, bad := range []string{"", "\n", "x\n", text + "{\n", `{"problem":"p"}`, "[]", "3"} {
		if _, err := Read(strings.NewReader(bad)); !errors.Is(err, ErrRecords) {
			t.Errorf("%q is read: %v", bad, err)
		}
	}
	if _, err := Read(&broken{}); err == nil {
		t.Error("a read error is hidden")
	}
}

type broken struct{}

func (*broken) Read([]byte) (int, error) { return 0, errors.New("disk gone") }

// TestCompareOtherDevices: lists without a common device are compared by problem, with the fastest of the first.
func TestCompareOtherDevices(t *testing.T) {
	failed := Record{Problem: "both", Device: "vulkan:0", Algorithm: "direct", Status: Failed, Reason: "wrong"}
	before := []Record{
		timing("both", "peer", "", 2, 2, 2), timing("both", "peer2", "", 4, 4, 4), timing("peer's", "peer", "", 1, 1, 1),
	}
	after := []Record{timing("both", "cpu", "gemm", 1, 1, 1), timing("both", "opencl:0", "igemm", 8, 8, 8), failed, timing("ours", "cpu", "gemm", 1, 1, 1)}
	want := []Change{
		{Problem: "both", Device: "cpu", Algorithm: "peer → gemm", Ratio: 2, Verdict: Faster},
		{Problem: "both", Device: "opencl:0", Algorithm: "peer → igemm", Ratio: 0.25, Verdict: Slower},
		{Problem: "both", Device: "vulkan:0", Algorithm: "peer → direct", Verdict: Broken, Reason: "failed: wrong"},
		{Problem: "ours", Device: "cpu", Algorithm: "gemm", Verdict: OnlyAfter},
		{Problem: "peer's", Device: "peer", Verdict: OnlyBefore},
	}
	got := Compare(before, after)
	if len(got) != len(want) {
		t.Fatalf("%d changes, not %d: %+v", len(got), len(want), got)
	}
	for i, c := range got {
		c.Clock, c.Before, c.After = "", nil, nil
		if c != want[i] {
			t.Errorf("%+v, not %+v", c, want[i])
		}
	}
}
