package main

import (
	"context"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/faulty"
)

// broken is a driver whose device has a test's faults, and that has no device outside of such a test.
type broken struct{ faults atomic.Pointer[faulty.Faults] }

var theBroken broken

func init() { engine.Register("broken", &theBroken) }

func (b *broken) Devices() ([]driver.Info, error) {
	if b.faults.Load() == nil {
		return nil, driver.ErrNoDevices
	}
	return cpu.Driver{}.Devices()
}

func (b *broken) Open(ctx context.Context, i int, o driver.Options) (driver.Device, error) {
	return b.faults.Load().Driver(cpu.Driver{}).Open(ctx, i, o)
}

// breaks gives broken:0 faults until the test ends.
func breaks(t *testing.T, o faulty.Options) {
	t.Helper()
	f := faulty.New(o)
	theBroken.faults.Store(f)
	t.Cleanup(func() {
		theBroken.faults.Store(nil)
		f.Release()
		if err := f.Leaks(); err != nil {
			t.Error(err)
		}
	})
}

// ramp writes an array of numbers that repeat after 7.
func ramp(t *testing.T, dir, file string, shape ...int) {
	t.Helper()
	n := 1
	for _, d := range shape {
		n *= d
	}
	data := make([]float32, n)
	for i := range data {
		data[i] = float32(i%7) - 2.5
	}
	save(t, dir, file, data, shape...)
}

func TestRunChecksResults(t *testing.T) {
	dir := t.TempDir()
	ramp(t, dir, "x.npy", 1, 3, 40, 40)
	ramp(t, dir, "w.npy", 4, 3, 3, 3)
	args := strings.Fields("run conv --src x.npy --wei w.npy --dst y.npy --device broken:0 --check 16 --format json")
	for _, more := range [][]string{nil, {"--mem-limit", "24KiB"}} {
		breaks(t, faulty.Options{})
		code, out, errs := gonvolve(t, dir, append(args, more...)...)
		if code != exitDone || !strings.Contains(out, `"verified":true`) || !strings.Contains(out, `"check":"bounded"`) {
			t.Errorf("%v of a sound device: %d, %s%s", more, code, out, errs)
		}
		breaks(t, faulty.Options{Corrupt: 1})
		code, _, errs = gonvolve(t, dir, append(args, more...)...)
		if code != exitFailed || !strings.Contains(errs, "wrong result: broken:0: dst of conv") {
			t.Errorf("%v of a device that corrupts results: %d, %s", more, code, errs)
		}
	}
}

func TestRunGoesOn(t *testing.T) {
	dir := t.TempDir()
	ramp(t, dir, "x.npy", 1, 3, 40, 40)
	ramp(t, dir, "w.npy", 4, 3, 3, 3)
	for name, c := range map[string]struct {
		faults faulty.Options
		args   string
		says   string
	}{
		"lost once": {faulty.Options{Lost: 1, Most: 1, Methods: []string{"Run"}}, "",
			"note: broken:0 was opened again for conv"},
		"lost for good": {faulty.Options{Lost: 1, Methods: []string{"Run"}}, "",
			"runs on cpu instead of broken:0: broken:0: Run: device lost"},
		"lost in tiles": {faulty.Options{Lost: 1, Most: 1, After: 2, Methods: []string{"Run"}}, "--mem-limit 24KiB",
			"note: broken:0 was opened again for conv"},
		"no memory": {faulty.Options{OutOfMemory: 1, Most: 2, Methods: []string{"Alloc"}}, "",
			"runs in smaller parts on broken:0: "},
		"hangs": {faulty.Options{Hang: 1, Most: 1, Methods: []string{"Read"}}, "--deadline 500ms",
			"device hangs: read took longer than 500ms"},
	} {
		breaks(t, c.faults)
		args := "run conv --src x.npy --wei w.npy --device broken:0 --check 100000 --format json " + c.args
		code, out, errs := gonvolve(t, dir, append(strings.Fields(args), "--dst", filepath.Join(t.TempDir(), "y.npy"))...)
		if code != exitDone || !strings.Contains(errs, c.says) || !strings.Contains(out, `"verified":true`) {
			t.Errorf("%s: %d, %s%s", name, code, out, errs)
		}
	}
	breaks(t, faulty.Options{Lost: 1, Methods: []string{"Run"}})
	args := strings.Fields("run conv --src x.npy --wei w.npy --dst y.npy --device broken:0 --no-fallback")
	if code, _, errs := gonvolve(t, dir, args...); code != exitDevice {
		t.Errorf("lost for good without another device: %d, %s", code, errs)
	}
}
