// Package devicetest opens devices for tests, which fail where something of a device is left.
package devicetest

import (
	"errors"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
)

// Open opens a device. When the test ends it is closed, twice, and must have no memory in use then.
func Open(t testing.TB, spec string, opts ...engine.Option) *engine.Device {
	t.Helper()
	d, err := engine.Open(t.Context(), spec, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		memory, reports := d.Driver().(driver.MemoryReporter)
		if err := errors.Join(d.Close(), d.Close()); err != nil {
			t.Error(err)
		}
		if reports {
			if used, _ := memory.MemoryInUse(); used != 0 {
				t.Errorf("%s: %d bytes are still in use", spec, used)
			}
		}
	})
	return d
}

// NothingLeft fails the test at its end if there are more goroutines than now, or if leaks, which may be nil, says so. What
// ends late has ten seconds.
func NothingLeft(t testing.TB, leaks func() error) {
	t.Helper()
	if leaks == nil {
		leaks = func() error { return nil }
	}
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for wait := 0; wait < 1000 && (leaks() != nil || runtime.NumGoroutine() > before); wait++ {
			time.Sleep(10 * time.Millisecond)
		}
		if err := leaks(); err != nil {
			t.Error(err)
		}
		if n := runtime.NumGoroutine(); n > before {
			t.Errorf("%d goroutines became %d", before, n)
		}
	})
}

// Silent discards the log until the test ends.
func Silent(t testing.TB) {
	log := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { slog.SetDefault(log) })
}
