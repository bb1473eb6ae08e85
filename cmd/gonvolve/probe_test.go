package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
)

// TestMain lets probes run this binary as a child, where drivers may crash.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "probe" {
		main()
	}
	os.Exit(m.Run())
}

// crashVar says in what call the driver crashing does.
const crashVar = "GONVOLVE_TEST_CRASH"

// crashing is a driver that ends its process, as drivers in C do. Without crashVar it has no devices.
type crashing struct{ cpu.Driver }

func init() { engine.Register("crashing", crashing{}) }

func (c crashing) Devices() ([]driver.Info, error) {
	switch os.Getenv(crashVar) {
	case "":
		return nil, driver.ErrNoDevices
	case "list":
		os.Stderr.WriteString("some sources are missing\n")
		abort()
	}
	return c.Driver.Devices()
}

func (c crashing) Open(ctx context.Context, i int, o driver.Options) (driver.Device, error) {
	switch os.Getenv(crashVar) {
	case "open":
		abort()
	case "exit":
		os.Exit(0)
	case "hang":
		time.Sleep(time.Hour)
	case "chat":
		for range 100 {
			os.Stdout.WriteString(strings.Repeat("all is well, ", 10000))
		}
	case "fail":
		return nil, errors.New("does not open")
	}
	return c.Driver.Open(ctx, i, o)
}

// abort ends the process at once, without Go's report.
func abort() {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Kill()
	}
	select {}
}

func TestACrashingDriverIsLeftOut(t *testing.T) {
	for crash, says := range map[string]string{
		"list": `, saying "some sources are missing"`, "open": "it crashed in a probe (",
		"exit": "it ended the process in a probe", "hang": "it hung in a probe of 1", "fail": "does not open", "chat": "", "none": "",
	} {
		t.Run(crash, func(t *testing.T) {
			if crash == "hang" {
				defer func(was time.Duration) { probeLimit = was }(probeLimit)
				probeLimit = time.Second
			}
			t.Setenv(crashVar, crash)
			t.Cleanup(func() {
				for _, d := range engine.Drivers() { // others may hang as long
					engine.LeaveOut(d, nil)
				}
			})
			code, out, errs := gonvolve(t, t.TempDir(), "devices", "--format", "json")
			rows := map[string]deviceRow{}
			for in := json.NewDecoder(strings.NewReader(out)); in.More(); {
				var r deviceRow
				if err := in.Decode(&r); err != nil {
					t.Fatal(err)
				}
				rows[r.Spec] = r
			}
			r, left := rows["crashing"]
			if !left {
				r = rows["crashing:0"]
			}
			if crashed := crash != "fail" && crash != "chat" && crash != "none"; crashed != left || crashed && !strings.Contains(r.Reason, "set GONVOLVE_WITHOUT=crashing") {
				t.Errorf("the row is %+v", r)
			}
			if code != exitDone || !strings.Contains(r.Reason, says) || rows["cpu"].Name == "" || rows["cpu"].Reason != "" {
				t.Errorf("%d, %s%s", code, out, errs)
			}
		})
	}
	t.Setenv(crashVar, "list")
	t.Cleanup(func() { engine.LeaveOut("crashing", nil) })
	code, _, errs := gonvolve(t, t.TempDir(), "bench", "--probe", "--device", "all", "--min-time", "1ms", "--format", "json", "pool:max:mb1ic1ih4kh2sh2")
	if code != exitDone || !strings.Contains(errs, "note: crashing: it crashed in a probe") {
		t.Errorf("bench: %d, %s", code, errs)
	}
	engine.LeaveOut("crashing", nil)
	t.Setenv("GONVOLVE_WITHOUT", "crashing,small")
	t.Setenv(probeVar, "0")
	code, out, _ := gonvolve(t, t.TempDir(), "devices", "--format", "json")
	if code != exitDone || strings.Count(out, "GONVOLVE_WITHOUT leaves it out") != 2 {
		t.Errorf("without two drivers: %d, %s", code, out)
	}
}
