package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine/report"
)

const goldenHead = "file,mb_used,note,fwd_hash,fwd_dot,desc\n"

// The checksums were computed by plain loops in Python.
const (
	row2d = "own,2,,d19c4b7fa2e849ef,0,mb7ic2ih5oc3oh5kh3ph1\n"
	row3d = "own,1,,d33178cea0318fa7,0,g2mb1ic2id4ih4iw4oc4od4oh4ow4kd3kh3kw3pd1ph1pw1\n"
)

func golden1(t testing.TB, spec, csv string) ([]report.Record, error) {
	var all []report.Record
	err := Golden(t.Context(), open(t, "cpu"), open(t, spec), "", strings.NewReader(csv), func(r report.Record) { all = append(all, r) })
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
		{"checksum that is no number", "cpu", strings.Replace(row2d, "d19c", "zzzz", 1), report.Failed, "fwd_hash"},
		{"note", "cpu", "own,,too large,,,mb7ic2ih5oc3oh5kh3ph1\n", report.Skipped, "too large"},
		{"no checksum", "cpu", "own,2,,,,mb7ic2ih5oc3oh5kh3ph1\n", report.Skipped, "no checksum"},
	} {
		t.Run(c.name, func(t *testing.T) {
			all, err := golden1(t, c.device, goldenHead+c.row)
			if err != nil || len(all) != 1 {
				t.Fatalf("%d records, %v", len(all), err)
			}
			r := all[0]
			if r.Status != c.status || r.Verified != (c.status == report.Passed) || !strings.Contains(r.Reason, c.reason) {
				t.Errorf("%+v", r)
			}
			if r.Check != "exact" || strings.TrimSuffix(r.Device, ":0") != c.device || !strings.Contains(r.Repro, ":bias:") {
				t.Errorf("%+v", r)
			}
		})
	}
	all, err := golden1(t, "cpu", goldenHead+row2d+row3d+row2d)
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
		"pooling":         goldenHead + "own,2,,1,0,pool:max:mb1ic1ih4oh2kh2\n",
		"bad batch":       goldenHead + "own,x,,1,0,mb7ic2ih5oc3oh5kh3ph1\n",
		"negative batch":  goldenHead + "own,-1,,1,0,mb7ic2ih5oc3oh5kh3ph1\n",
		"too large batch": goldenHead + "own,9000000000000000000,,1,0,mb7ic2ih5oc3oh5kh3ph1\n",
	} {
		if all, err := golden1(t, "cpu", csv); !errors.Is(err, ErrGolden) || len(all) != 0 {
			t.Errorf("%s: %d records, %v", name, len(all), err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := Golden(ctx, open(t, "cpu"), open(t, "cpu"), "", strings.NewReader(goldenHead+row2d), func(report.Record) { t.Error("a record of what did not run") })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
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
		err := Golden(t.Context(), cpu, small, "", strings.NewReader(string(in)), func(r report.Record) {
			switch r.Status {
			case report.Passed, report.Failed, report.Unsupported, report.Skipped:
			default:
				t.Errorf("record without status: %s", fmt.Sprint(r))
			}
			if r.Verified != (r.Status == report.Passed) {
				t.Errorf("verified and %s", r.Status)
			}
		})
		if err != nil && !errors.Is(err, ErrGolden) {
			t.Errorf("an error that does not wrap ErrGolden: %v", err)
		}
	})
}
