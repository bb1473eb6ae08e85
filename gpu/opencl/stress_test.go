//go:build cgo && !noopencl

package opencl

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/gpu/opencl/clshim"
	"github.com/gonvolve/gonvolve/shaders"
)

// collecting runs f under a goroutine that never stops collecting garbage.
func collecting(f func()) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	})
	f()
	close(stop)
	wg.Wait()
}

// TestConcurrentQueues shares one kernel among queues that all run at once, each checking its own results.
func TestConcurrentQueues(t *testing.T) {
	both(t, func(t *testing.T, d hal.Device) {
		k := must(d.NewKernel(context.Background(), scale, scaleTunables))(t)
		defer k.Free()
		collecting(func() {
			var wg sync.WaitGroup
			for id := range 4 {
				wg.Go(func() {
					if err := churn(d, k, id); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		})
	})
}

// churn takes, uses and gives back everything a device has, again and again.
func churn(d hal.Device, k hal.Kernel, id int) error {
	const n = 256
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	q, err := d.NewQueue(true)
	if err != nil {
		return err
	}
	defer q.Free()
	for round := range 25 {
		var mem [4]hal.Memory
		for i := range mem {
			if mem[i], err = d.Alloc(4*n, hal.MemoryKind(i/2)); err != nil {
				return err
			}
			defer mem[i].Free()
		}
		src, dst, up, down := mem[0], mem[1], mem[2], mem[3]
		sv, err := src.View(0, 4*n)
		if err != nil {
			return err
		}
		dv, err := dst.View(0, 4*n)
		if err != nil {
			return err
		}
		copy(up.Bytes(), ramp(n, id*1000))
		f, err := q.Submit([]hal.Command{
			{Op: hal.Copy, Dst: src, Src: up, Bytes: 4 * n},
			{Op: hal.Fill, Dst: dst, Bytes: 4 * n, Value: 0x7fc00000},
			{Op: hal.Dispatch, Kernel: k, Groups: [3]int{n / 64, 1, 1}, Views: []hal.View{sv, dv}, Params: params(n, float32(id+round))},
			{Op: hal.Copy, Dst: down, Src: dst, Bytes: 4 * n},
		})
		if err != nil {
			return err
		}
		if err := f.Wait(ctx); err != nil {
			return err
		}
		for i := range n {
			if got, want := float(down.Bytes(), i), float32(id*1000+i)*float32(id+round)+1; got != want {
				return fmt.Errorf("queue %d round %d element %d: %v, want %v", id, round, i, got, want)
			}
		}
		if len(f.Times()) != 4 {
			return fmt.Errorf("%d times of 4", len(f.Times()))
		}
		f.Free()
		sv.Free()
		dv.Free()
	}
	return nil
}

// resident is the process's memory in bytes and its number of open files, where the system tells.
func resident(t *testing.T) (bytes, files int) {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("needs /proc: ", err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(statm), &size, &pages); err != nil {
		t.Fatal(err)
	}
	fds := must(os.ReadDir("/proc/self/fd"))(t)
	return pages * os.Getpagesize(), len(fds)
}

// TestOpenClose opens, uses and closes a device over and over: memory and open files must stay.
func TestOpenClose(t *testing.T) {
	_, err := API().Adapters()
	need(t, err)
	cycle := func() {
		d := must(API().Open(0, hal.Options{}))(t)
		q := must(d.NewQueue(true))(t)
		m, s := alloc(t, d, 1<<16, hal.DeviceMemory), alloc(t, d, 1<<16, hal.StagingMemory)
		submit(t, q, hal.Command{Op: hal.Copy, Dst: m, Src: s, Bytes: 1 << 16})
		m.Free()
		s.Free()
		q.Free()
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range 50 {
		cycle()
	}
	// A leak grows in every batch; what allocators and the race detector take at their own times does not.
	least, filesBefore := math.MaxInt, 0
	for batch := range 5 {
		runtime.GC()
		before, files := resident(t)
		if batch == 0 {
			filesBefore = files
		}
		for range 200 {
			cycle()
		}
		runtime.GC()
		after, _ := resident(t)
		least = min(least, after-before)
	}
	_, filesAfter := resident(t)
	t.Logf("200 cycles: %+d bytes at the least, 1000: %+d files", least, filesAfter-filesBefore)
	if least > 1<<20 || filesAfter > filesBefore {
		t.Errorf("200 cycles leave %d bytes every time, 1000 leave %d files", least, filesAfter-filesBefore)
	}
}

// TestMemoryLimit takes memory until the device has no more, which a device must say rather than be killed for.
func TestMemoryLimit(t *testing.T) {
	both(t, func(t *testing.T, d hal.Device) {
		if d.Info().Type != driver.CPU {
			t.Skip("would take all memory of a GPU that others use")
		}
		var taken []hal.Memory
		var err error
		for err == nil {
			var m hal.Memory
			if m, err = d.Alloc(d.Info().MaxBufferBytes, hal.DeviceMemory); err == nil {
				taken = append(taken, m)
			}
		}
		if !errors.Is(err, driver.ErrOutOfMemory) {
			t.Error(err)
		}
		if n := d.Info().MemoryBytes / d.Info().MaxBufferBytes; int64(len(taken)) > n {
			t.Errorf("%d blocks were handed out, the device has room for %d", len(taken), n)
		}
		for _, m := range taken {
			m.Free()
		}
		alloc(t, d, d.Info().MaxBufferBytes, hal.DeviceMemory).Free()
	})
}

// TestFailedCommand: a command that fails on the device is an error of the wait, with the sentinel of its code. A user
// event stands in for one, since no kernel fails on purpose.
func TestFailedCommand(t *testing.T) {
	forEach(t, hal.Options{}, func(t *testing.T, d hal.Device) {
		q := must(d.NewQueue(true))(t)
		defer q.Free()
		for code, want := range map[clshim.Code]error{
			clshim.OutOfResources:      driver.ErrOutOfMemory,
			clshim.DeviceNotAvailable:  driver.ErrDeviceLost,
			clshim.InvalidCommandQueue: driver.ErrDeviceLost,
			clshim.InvalidContext:      driver.ErrDeviceLost,
			clshim.IllegalAccess:       driver.ErrDeviceLost,
		} {
			user := must(d.(*device).ctx.CreateUserEvent())(t)
			if err := user.SetUserEventStatus(int(code)); err != nil {
				t.Fatal(err)
			}
			f := &fence{queue: q.(*queue), events: []uintptr{*(*uintptr)(unsafe.Pointer(user))}, commands: 1}
			err := f.Wait(context.Background())
			if !errors.Is(err, want) || !errors.Is(err, code) || !strings.Contains(err.Error(), code.Error()) {
				t.Errorf("%v: %v", code, err)
			}
			user.Release()
		}
	})
}

// spin keeps the device busy for a while in one work-item.
var spin = &shaders.Kernel{
	Name: "spin", Entry: "spin", Buffers: 1, ParamBytes: 8,
	Tunables: []shaders.Tunable{{Name: "LX"}, {Name: "LY", ID: 1}, {Name: "LZ", ID: 2}},
	CL: `
typedef struct { int n; float f; } Params;
__kernel __attribute__((reqd_work_group_size(LX, LY, LZ)))
void spin(__global volatile float *dst, const Params p) {
	for (int j = 0; j < p.n; j++)
		for (int i = 0; i < 1000; i++) dst[0] = dst[0] * p.f + 1.0f;
}`,
}

func TestCancelledWait(t *testing.T) {
	forEach(t, hal.Options{}, func(t *testing.T, d hal.Device) {
		q := must(d.NewQueue(true))(t)
		defer q.Free()
		k := must(d.NewKernel(context.Background(), spin, []int32{1, 1, 1}))(t)
		defer k.Free()
		m := alloc(t, d, 4, hal.DeviceMemory)
		defer m.Free()
		v := must(m.View(0, 4))(t)
		defer v.Free()
		long := func() hal.Fence {
			return must(q.Submit([]hal.Command{{Op: hal.Dispatch, Kernel: k, Groups: [3]int{1, 1, 1},
				Views: []hal.View{v}, Params: params(50000, 0.5)}}))(t)
		}
		f := long()
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		if err := f.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait with a deadline: %v", err)
		}
		cancel()
		if err := f.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait with an ended context: %v", err)
		}
		if err := f.Wait(context.Background()); err != nil {
			t.Errorf("wait again: %v", err)
		}
		if times := f.Times(); len(times) != 1 || times[0] < time.Millisecond {
			t.Errorf("times %v of a kernel that outlasted a millisecond", times)
		}
		f.Free()
		f.Free()
		if err := f.Wait(context.Background()); !errors.Is(err, driver.ErrClosed) {
			t.Errorf("wait after Free: %v", err)
		}

		g := long() // Free waits, also with a goroutine left over from a Wait that ended early
		short, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_ = g.Wait(short)
		g.Free()
		h := long()
		h.Free()

		ended, stop := context.WithCancel(context.Background())
		stop()
		if _, err := d.NewKernel(ended, spin, []int32{1, 1, 1}); !errors.Is(err, context.Canceled) {
			t.Errorf("compile with an ended context: %v", err)
		}
	})
}

func TestErrors(t *testing.T) {
	forEach(t, hal.Options{}, func(t *testing.T, d hal.Device) {
		ctx := context.Background()
		bad := *scale
		bad.CL = "__kernel void scale(__global float *a, __global float *b, int2 p) {\n  a[0] = nonsense;\n}\n"
		_, err := d.NewKernel(ctx, &bad, scaleTunables)
		if err == nil || !strings.Contains(err.Error(), "nonsense") || strings.Contains(err.Error(), "\n") {
			t.Errorf("bad source: %v", err)
		}
		bad.CL = "__kernel void scale(__global float *a) { a[0] = 1; }"
		if _, err := d.NewKernel(ctx, &bad, scaleTunables); !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("wrong number of arguments: %v", err)
		}
		bad.Name = "absent"
		if _, err := d.NewKernel(ctx, &bad, scaleTunables); err == nil {
			t.Error("a kernel that its source lacks compiles")
		}
		if _, err := d.NewKernel(ctx, scale, []int32{1}); !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("too few tunables: %v", err)
		}
		if _, err := d.NewKernel(ctx, scale, []int32{1 << 30, 1, 1, 1}); !errors.Is(err, driver.ErrUnsupported) {
			t.Errorf("huge work-group: %v", err)
		}
		if _, err := d.NewKernel(ctx, scale, []int32{0, 1, 1, 1}); !errors.Is(err, driver.ErrUnsupported) {
			t.Errorf("empty work-group: %v", err)
		}
		if _, err := d.Alloc(0, hal.DeviceMemory); !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("no bytes: %v", err)
		}
		if _, err := d.Alloc(1<<60, hal.DeviceMemory); !errors.Is(err, driver.ErrOutOfMemory) {
			t.Errorf("too many bytes: %v", err)
		}

		q := must(d.NewQueue(true))(t)
		k := must(d.NewKernel(ctx, scale, scaleTunables))(t)
		m, s := alloc(t, d, 64, hal.DeviceMemory), alloc(t, d, 64, hal.StagingMemory)
		v := must(m.View(0, 64))(t)
		if _, err := s.View(0, 64); !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("view of staging memory: %v", err)
		}
		views := []hal.View{v, v}
		for what, c := range map[string]hal.Command{
			"operation":   {Op: 99},
			"no kernel":   {Op: hal.Dispatch},
			"views":       {Op: hal.Dispatch, Kernel: k, Groups: [3]int{1, 1, 1}, Params: params(1, 1)},
			"params":      {Op: hal.Dispatch, Kernel: k, Groups: [3]int{1, 1, 1}, Views: views},
			"groups":      {Op: hal.Dispatch, Kernel: k, Groups: [3]int{1, -1, 1}, Views: views, Params: params(1, 1)},
			"nil view":    {Op: hal.Dispatch, Kernel: k, Groups: [3]int{1, 1, 1}, Views: []hal.View{nil, v}, Params: params(1, 1)},
			"past end":    {Op: hal.Copy, Dst: m, Src: s, SrcOff: 4, Bytes: 64},
			"no memory":   {Op: hal.Copy, Dst: m, Bytes: 4},
			"not a word":  {Op: hal.Fill, Dst: m, Bytes: 3},
			"fill staged": {Op: hal.Fill, Dst: s, Bytes: 4},
			"both staged": {Op: hal.Copy, Dst: s, Src: s, Bytes: 4},
		} {
			good := hal.Command{Op: hal.Fill, Dst: m, Bytes: 64}
			if _, err := q.Submit([]hal.Command{good, c}); !errors.Is(err, driver.ErrInvalid) {
				t.Errorf("%s: %v", what, err)
			}
		}
		f := must(q.Submit(nil))(t)
		if err := f.Wait(ctx); err != nil || len(f.Times()) != 0 {
			t.Errorf("empty submission: %v, %v", err, f.Times())
		}
		f.Free()
		v.Free()
		m.Free()
		s.Free()
		k.Free()
		q.Free()
		q.Free()
		if _, err := q.Submit(nil); !errors.Is(err, driver.ErrClosed) {
			t.Errorf("submit after Free: %v", err)
		}
		if _, err := m.View(0, 64); !errors.Is(err, driver.ErrClosed) {
			t.Errorf("view after Free: %v", err)
		}
	})
}
