package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
)

const goldenHead = "file,mb_used,note,fwd_hash,fwd_dot,desc\n"

// The checksums were computed by plain loops in Python.
const (
	row2d = "own,2,,d19c4b7fa2e849ef,0,mb7ic2ih5oc3oh5kh3ph1\n"
	row3d = "own,1,,d33178cea0318fa7,0,g2mb1ic2id4ih4iw4oc4od4oh4ow4kd3kh3kw3pd1ph1pw1\n"
)

func checkGolden(t testing.TB, spec string, op problem.Op, csv string) ([]report.Record, error) {
	list, err := ReadGolden(strings.NewReader(csv), op, nil)
	var all []report.Record
	for i := range list {
		all = append(all, list[i].Check(t.Context(), open(t, "cpu"), open(t, spec), ""))
	}
	return all, err
}

func TestGolden(t *testing.T) {
	for _, c := range []struct {
		name, device, row string
		status            report.Status
		reason            string
	}{
		{"right", "cpu", row2d, report.Passed, ""},
		{"right, 3-D", "cpu", row3d, report.Passed, ""},
		{"3-D on a device without", "flat", row3d, report.Unsupported, "the fake refuses"},
		{"2-D on that device", "flat", row2d, report.Passed, ""},
		{"wrong device", "liar", row2d, report.Failed, "worst at [0 0 0 1]"},
		{"device that writes nothing", "lazy", row2d, report.Failed, "150 of 150"},
		{"wrong checksum", "cpu", strings.Replace(row2d, "d19c", "d19d", 1), report.Failed, "do not differ from the oracle"},
		{"right by bounds", "winograd", row2d, report.Passed, ""},
		{"wrong by bounds", "winogradwrong", row2d, report.Failed, "75 of 150"},
		{"right by bounds, wrong checksum", "winograd", strings.Replace(row2d, "d19c", "d19d", 1), report.Failed, "do not differ from the oracle"},
		{"no bounds", "winograd", row3d, report.Unsupported, "no bound"},
		{"note", "cpu", "own,,too large,,,mb7ic2ih5oc3oh5kh3ph1\n", report.Skipped, "too large"},
		{"no checksum", "cpu", "own,2,,,,mb7ic2ih5oc3oh5kh3ph1\n", report.Skipped, "neither hash nor sums"},
	} {
		t.Run(c.name, func(t *testing.T) {
			all, err := checkGolden(t, c.device, problem.Conv, goldenHead+c.row)
			if err != nil || len(all) != 1 {
				t.Fatalf("%d records, %v", len(all), err)
			}
			r := all[0]
			if r.Status != c.status || r.Verified != (c.status == report.Passed) || !strings.Contains(r.Reason, c.reason) {
				t.Errorf("%+v", r)
			}
			if want := map[bool]string{false: "exact", true: "bounded"}[strings.Contains(c.name, "by bounds")]; r.Check != want || strings.TrimSuffix(r.Device, ":0") != c.device || !strings.Contains(r.Repro, ":bias:") {
				t.Errorf("%+v", r)
			}
		})
	}
	all, err := checkGolden(t, "cpu", problem.Conv, goldenHead+row2d+row3d+row2d)
	if err != nil || len(all) != 3 || !strings.Contains(all[0].Problem, "mb2") {
		t.Errorf("%d records of 3 rows, %v", len(all), err)
	}
}

func TestGoldenUnusable(t *testing.T) {
	for name, csv := range map[string]string{
		"empty":           "",
		"no csv":          "\x00\xff\"",
		"other columns":   "a,b,c\n1,2,3\n",
		"column missing":  "mb_used,note,desc\n",
		"short row":       goldenHead + "own,2\n",
		"bad quote":       goldenHead + "own,2,,\"d19c,0,x\n",
		"bad problem":     goldenHead + "own,2,,1,0,hello\n",
		"bad hash":        strings.Replace(goldenHead+row2d, "d19c", "zzzz", 1),
		"no results":      "mb_used,note,desc\n",
		"two operations":  goldenHead + "own,2,,1,0,pool:max:mb1ic1ih4oh2kh2\n",
		"bad batch":       goldenHead + "own,x,,1,0,mb7ic2ih5oc3oh5kh3ph1\n",
		"negative batch":  goldenHead + "own,-1,,1,0,mb7ic2ih5oc3oh5kh3ph1\n",
		"too large batch": goldenHead + "own,9000000000000000000,,1,0,mb7ic2ih5oc3oh5kh3ph1\n",
	} {
		if all, err := checkGolden(t, "cpu", problem.Conv, csv); !errors.Is(err, ErrGolden) || len(all) != 0 {
			t.Errorf("%s: %d records, %v", name, len(all), err)
		}
	}
	list, err := ReadGolden(strings.NewReader(goldenHead+row2d), problem.Conv, nil)
	if err != nil || len(list) != 1 {
		t.Fatalf("%d results, %v", len(list), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := list[0].Check(ctx, open(t, "cpu"), open(t, "cpu"), ""); r.Status != report.Skipped || r.Reason != "interrupted" {
		t.Errorf("interrupted: %+v", r)
	}
}

// FuzzGolden runs any file on a device that refuses all but small problems.
func FuzzGolden(f *testing.F) {
	f.Add([]byte(goldenHead + row2d + row3d))
	f.Add([]byte(goldenHead + "own,,too large,,,mb7ic2ih5oc3oh5kh3ph1\n"))
	f.Add([]byte(goldenHead + "own,1,,1,0,\"mb1ic1iw5oc1kw2n\"\"quoted name\"\"\"\n"))
	f.Add([]byte(goldenHead + "own,1,,1,0,mb1ic1ih1000000000oc1oh1000000000kh1\n"))
	f.Add([]byte("mb_used,note,fwd_hash,desc\n0,,0,mb0ic1iw5oc1ow5kw1\n"))
	cpu, small := open(f, "cpu"), open(f, "small")
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 1<<12 {
			t.Skip("long files only take longer")
		}
		list, err := ReadGolden(strings.NewReader(string(in)), problem.Conv, nil)
		if err != nil && !errors.Is(err, ErrGolden) {
			t.Errorf("an error that does not wrap ErrGolden: %v", err)
		}
		for i := range list {
			r := list[i].Check(t.Context(), cpu, small, "")
			switch r.Status {
			case report.Passed, report.Failed, report.Unsupported, report.Skipped:
			default:
				t.Errorf("record without status: %s", fmt.Sprint(r))
			}
			if r.Verified != (r.Status == report.Passed) {
				t.Errorf("verified and %s", r.Status)
			}
		}
	})
}
