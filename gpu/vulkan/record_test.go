//go:build cgo && !novulkan

package vulkan

import (
	"errors"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
)

// Recorded commands run each time they are submitted, also while earlier submissions are in flight, and each sees what
// the one before it did: words move up by one a time.
func TestRecorded(t *testing.T) {
	const n, times = 256, 20
	d := open(t, hal.Options{})
	q, err := d.NewQueue(false)
	if err != nil {
		t.Fatal(err)
	}
	k := newKernel(t, d, "copy", groupSize)
	fill := newKernel(t, d, "fill_pattern", groupSize)
	a, b := alloc(t, d, 4*n, hal.DeviceMemory), alloc(t, d, 4*n, hal.DeviceMemory)
	from, to := newView(t, a, 0, 4*n), newView(t, b, 0, 4*n)
	if err := run(q, pattern(fill, from, n, 1, 1000)); err != nil {
		t.Fatal(err)
	}
	cmds := []hal.Command{
		{Op: hal.Dispatch, Kernel: k, Groups: [3]int{n / groupSize, 1, 1}, Views: []hal.View{from, to}, Params: params(n)},
		{Op: hal.Copy, Dst: a, DstOff: 4, Src: b, Bytes: 4 * (n - 1)},
	}
	r, err := q.Record(cmds)
	if err != nil {
		t.Fatal(err)
	}
	clear(cmds) // they are the caller's again
	var fences []hal.Fence
	for range times {
		f, err := r.Submit()
		if err != nil {
			t.Fatal(err)
		}
		fences = append(fences, f)
	}
	for _, f := range fences {
		if err := f.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if times := f.Times(); times != nil {
			t.Errorf("a queue that is not timed measured %v", times)
		}
		f.Free()
	}
	for i, got := range reads(t, q, d, a) {
		if want := uint32(1000 + max(0, i-times)); got != want {
			t.Fatalf("word %d is %d, want %d", i, got, want)
		}
	}
	if got := len(q.(*queue).signals); got != times {
		t.Errorf("%d idle fences after %d submissions at once", got, times)
	}
	q.Free()
	if _, err := r.Submit(); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("submit on a freed queue: %v", err)
	}
	r.Free()
	r.Free()
	if _, err := r.Submit(); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("submit after Free: %v", err)
	}
}

// What recorded commands use may go before them, and their frames serve again.
func TestRecordedOutlives(t *testing.T) {
	d := open(t, hal.Options{})
	q, err := d.NewQueue(false)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Free()
	for range 10 {
		k, err := d.NewKernel(t.Context(), source(t, "fill_pattern"), []int32{groupSize, 1, 1})
		if err != nil {
			t.Fatal(err)
		}
		m, err := d.Alloc(256, hal.DeviceMemory)
		if err != nil {
			t.Fatal(err)
		}
		v, err := m.View(0, 256)
		if err != nil {
			t.Fatal(err)
		}
		r, err := q.Record([]hal.Command{pattern(k, v, 64, 1, 1)})
		if err != nil {
			t.Fatal(err)
		}
		f, err := r.Submit()
		if err != nil {
			t.Fatal(err)
		}
		f.Free()
		v.Free()
		m.Free()
		k.Free()
		r.Free()
	}
	if got := len(q.(*queue).idle); got != 1 {
		t.Errorf("%d frames", got)
	}
	if _, err := q.Record([]hal.Command{{Op: hal.Fill}}); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("fill of nothing: %v", err)
	}
	timed := newQueue(t, d)
	if _, err := timed.Record(nil); d.info.Timestamps && !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("record on a timed queue: %v", err)
	}
}
