//go:build cgo && !noopencl

package opencl

import (
	"errors"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
)

// Recorded commands run each time they are submitted, also while earlier submissions are in flight and the kernel is
// used with other arguments beside them.
func TestRecorded(t *testing.T) {
	both(t, func(t *testing.T, d hal.Device) {
		const n, times = 256, 20
		q := must(d.NewQueue(false))(t)
		k := must(d.NewKernel(t.Context(), scale, scaleTunables))(t)
		a, b, c := alloc(t, d, 4*n, hal.DeviceMemory), alloc(t, d, 4*n, hal.DeviceMemory), alloc(t, d, 4*n, hal.DeviceMemory)
		va, vb := must(a.View(0, 4*n))(t), must(b.View(0, 4*n))(t)
		plusOne := func(from, to hal.View) hal.Command {
			return hal.Command{Op: hal.Dispatch, Kernel: k, Groups: [3]int{n / 64, 1, 1}, Views: []hal.View{from, to}, Params: params(n, 1)}
		}
		submit(t, q, hal.Command{Op: hal.Fill, Dst: a, Bytes: 4 * n})
		none := plusOne(va, va)
		none.Groups[1] = 0
		cmds := []hal.Command{plusOne(va, vb), none, {Op: hal.Copy, Dst: c, Src: b, Bytes: 4 * n}, plusOne(vb, va)}
		r := must(q.Record(cmds))(t)
		clear(cmds) // they are the caller's again
		var fences []hal.Fence
		for range times {
			fences = append(fences, must(r.Submit())(t), must(q.Submit([]hal.Command{plusOne(vb, va)}))(t))
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
		sums := download(t, d, q, a)
		for i := range n {
			if got := float(sums, i); got != 2*times {
				t.Fatalf("element %d is %v, want %v", i, got, 2*times)
			}
		}
		if got := float(download(t, d, q, c), 0); got != 2*times-1 {
			t.Errorf("the copy has %v", got)
		}
		bad := none
		bad.Views = nil
		if _, err := q.Record([]hal.Command{plusOne(va, vb), bad}); !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("record without views: %v", err)
		}
		timed := must(d.NewQueue(true))(t)
		if _, err := timed.Record(nil); d.Info().Timestamps && !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("record on a timed queue: %v", err)
		}
		timed.Free()
		// What recorded commands use may go before them.
		for _, v := range []hal.View{va, vb} {
			v.Free()
		}
		for _, m := range []hal.Memory{a, b, c} {
			m.Free()
		}
		k.Free()
		q.Free()
		if _, err := r.Submit(); !errors.Is(err, driver.ErrClosed) {
			t.Errorf("submit on a freed queue: %v", err)
		}
		r.Free()
		r.Free()
		if _, err := r.Submit(); !errors.Is(err, driver.ErrClosed) {
			t.Errorf("submit after Free: %v", err)
		}
	})
}
