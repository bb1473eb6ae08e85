//go:build cgo && !novulkan

package vulkan

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/shaders"
)

func TestMissingLoader(t *testing.T) {
	a := &api{libraries: []string{"libvulkan-of-nobody.so.1", "libvulkan-of-nobody.so"}}
	for range 2 { // the second time is no different
		_, err := a.Adapters()
		if !errors.Is(err, driver.ErrNoDevices) || !strings.Contains(err.Error(), "libvulkan-of-nobody.so.1") || !strings.Contains(err.Error(), "install") {
			t.Fatalf("adapters: %v", err)
		}
		if _, err = a.Open(0, hal.Options{}); !errors.Is(err, driver.ErrNoDevices) {
			t.Fatalf("open: %v", err)
		}
	}
}

func TestNotALoader(t *testing.T) {
	a := &api{libraries: []string{"libc.so.6"}}
	if _, err := a.Adapters(); !errors.Is(err, driver.ErrNoDevices) || !strings.Contains(err.Error(), "libc.so.6") {
		t.Fatalf("adapters: %v", err)
	}
}

func TestMissingDriver(t *testing.T) {
	for _, v := range []string{"VK_DRIVER_FILES", "VK_ICD_FILENAMES"} {
		t.Setenv(v, t.TempDir()+"/nothing.json")
	}
	a := &api{libraries: libraries()}
	if _, err := a.Adapters(); !errors.Is(err, driver.ErrNoDevices) || !strings.Contains(err.Error(), "install") {
		t.Fatalf("adapters: %v", err)
	}
}

func TestWrongArguments(t *testing.T) {
	d := open(t, hal.Options{})
	other := open(t, hal.Options{})
	q := newQueue(t, d)
	k := newKernel(t, d, "fill_pattern", groupSize)
	m := alloc(t, d, 1026, hal.DeviceMemory)
	v := newView(t, m, 0, 1024)
	staging := alloc(t, d, 1024, hal.StagingMemory)
	foreign := alloc(t, other, 1024, hal.DeviceMemory)
	gone, err := d.Alloc(64, hal.DeviceMemory)
	if err != nil {
		t.Fatal(err)
	}
	goneView := newView(t, gone, 0, 64)
	gone.Free()
	gone.Free() // twice is once
	p := params(1, 1, 1)
	tooMany := int(d.info.MaxGroupCount[1]) + 1

	for _, c := range []struct {
		name string
		cmd  hal.Command
		want error
	}{
		{"no kernel", hal.Command{Op: hal.Dispatch}, driver.ErrInvalid},
		{"no buffers", hal.Command{Op: hal.Dispatch, Kernel: k, Params: p}, driver.ErrInvalid},
		{"short params", hal.Command{Op: hal.Dispatch, Kernel: k, Views: []hal.View{v}, Params: p[:8]}, driver.ErrInvalid},
		{"negative groups", hal.Command{Op: hal.Dispatch, Kernel: k, Views: []hal.View{v}, Params: p, Groups: [3]int{-1, 1, 1}}, driver.ErrInvalid},
		{"too many groups", hal.Command{Op: hal.Dispatch, Kernel: k, Views: []hal.View{v}, Params: p, Groups: [3]int{1, tooMany, 1}}, driver.ErrUnsupported},
		{"freed buffer", hal.Command{Op: hal.Dispatch, Kernel: k, Views: []hal.View{goneView}, Params: p}, driver.ErrClosed},
		{"past the end", hal.Command{Op: hal.Copy, Dst: staging, Src: m, Bytes: 1028}, driver.ErrInvalid},
		{"far past the end", hal.Command{Op: hal.Fill, Dst: m, DstOff: 1 << 62, Bytes: 1 << 62}, driver.ErrInvalid},
		{"before the start", hal.Command{Op: hal.Fill, Dst: m, DstOff: -4, Bytes: 8}, driver.ErrInvalid},
		{"odd bytes", hal.Command{Op: hal.Copy, Dst: staging, Src: m, Bytes: 10}, driver.ErrInvalid},
		{"odd offset", hal.Command{Op: hal.Fill, Dst: m, DstOff: 2, Bytes: 8}, driver.ErrInvalid},
		{"overlap", hal.Command{Op: hal.Copy, Dst: m, DstOff: 4, Src: m, Bytes: 8}, driver.ErrInvalid},
		{"no memory", hal.Command{Op: hal.Fill, Bytes: 4}, driver.ErrInvalid},
		{"another device's memory", hal.Command{Op: hal.Fill, Dst: foreign, Bytes: 4}, driver.ErrInvalid},
		{"freed memory", hal.Command{Op: hal.Fill, Dst: gone, Bytes: 4}, driver.ErrClosed},
		{"no such command", hal.Command{Op: 9}, driver.ErrInvalid},
	} {
		if _, err := q.Submit([]hal.Command{{Op: hal.Fill, Dst: m, Bytes: 4}, c.cmd}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}

	for _, c := range []struct {
		name       string
		m          hal.Memory
		off, bytes int64
		want       error
	}{
		{"empty", m, 0, 0, driver.ErrInvalid},
		{"past the end", m, 0, 1032, driver.ErrInvalid},
		{"misaligned", m, 4, 8, driver.ErrInvalid},
		{"negative", m, -d.info.ViewAlignment, 8, driver.ErrInvalid},
		{"staging", staging, 0, 8, driver.ErrInvalid},
		{"freed", gone, 0, 8, driver.ErrClosed},
	} {
		if _, err := c.m.View(c.off, c.bytes); !errors.Is(err, c.want) {
			t.Errorf("view %s: %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := d.Alloc(0, hal.DeviceMemory); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("allocate nothing: %v", err)
	}
	if _, err := d.Alloc(d.info.MaxBufferBytes+1, hal.DeviceMemory); !errors.Is(err, driver.ErrUnsupported) {
		t.Errorf("allocate too much: %v", err)
	}
	// A wrong command among right ones leaves the queue as it was.
	if err := run(q, pattern(k, v, 256, 1, 0)); err != nil {
		t.Error(err)
	}
}

func TestKernelLimits(t *testing.T) {
	d := open(t, hal.Options{})
	good := source(t, "copy")
	with := func(change func(k *shaders.Kernel)) *shaders.Kernel {
		k := *good
		change(&k)
		return &k
	}
	for _, c := range []struct {
		name     string
		k        *shaders.Kernel
		tunables []int32
		want     error
	}{
		{"size", good, []int32{int32(d.info.MaxGroupSize[0]) + 1, 1, 1}, driver.ErrUnsupported},
		{"items", good, []int32{int32(d.info.MaxGroupSize[0]), int32(d.info.MaxGroupSize[1]), int32(d.info.MaxGroupSize[2])}, driver.ErrUnsupported},
		{"zero", good, []int32{0, 1, 1}, driver.ErrInvalid},
		{"tunables", good, []int32{1, 1}, driver.ErrInvalid},
		{"parameters", with(func(k *shaders.Kernel) { k.ParamBytes = int(d.a.props.Limits.MaxPushConstantsSize) + 4 }), []int32{1, 1, 1}, driver.ErrUnsupported},
		{"buffers", with(func(k *shaders.Kernel) { k.Buffers = 1 << 30 }), []int32{1, 1, 1}, driver.ErrUnsupported},
		{"no code", with(func(k *shaders.Kernel) { k.SPIRV = nil }), []int32{1, 1, 1}, driver.ErrUnsupported},
	} {
		if _, err := d.NewKernel(t.Context(), c.k, c.tunables); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		} else if !strings.Contains(err.Error(), "copy") {
			t.Errorf("%s: the error names no kernel: %v", c.name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.NewKernel(ctx, good, []int32{1, 1, 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A cancelled wait returns at once and leaves the commands running; Wait and Free still work.
func TestCancelledWait(t *testing.T) {
	d := open(t, hal.Options{})
	q := newQueue(t, d)
	k := newKernel(t, d, "loop_count", groupSize)
	const n = 1 << 16
	one, dst := alloc(t, d, 16, hal.DeviceMemory), alloc(t, d, 4*n, hal.DeviceMemory)
	slow := []hal.Command{
		{Op: hal.Fill, Dst: one, Bytes: 16, Value: 1},
		{
			Op: hal.Dispatch, Kernel: k, Groups: [3]int{n / groupSize, 1, 1}, Params: params(n, 100, 200),
			Views: []hal.View{newView(t, one, 0, 16), newView(t, dst, 0, 4*n)},
		},
	}
	f, err := q.Submit(slow)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	early := f.Wait(ctx)
	// A device may be faster than this thread; then there was nothing to cancel.
	if early != nil && !errors.Is(early, context.Canceled) {
		t.Fatalf("cancelled: %v", early)
	}
	if early != nil && f.Times() != nil {
		t.Error("times before the end")
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if late := f.Wait(ctx); late != nil && !errors.Is(late, context.DeadlineExceeded) {
		t.Fatalf("deadline: %v", late)
	}
	t.Logf("cancelled wait: %v", early)
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	if err := f.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	f.Free()
	f.Free() // twice is once
	if err := f.Wait(t.Context()); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("wait for a freed fence: %v", err)
	}
	for i, v := range reads(t, q, d, dst) {
		if v != 100*200 {
			t.Fatalf("dst[%d] = %d", i, v)
		}
	}

	// Freeing the queue waits; the fence may come after it.
	q2, err := d.NewQueue(true)
	if err != nil {
		t.Fatal(err)
	}
	if f, err = q2.Submit(slow); err != nil {
		t.Fatal(err)
	}
	q2.Free()
	if !f.(*fence).done.Load() {
		t.Error("the queue is freed and its commands run")
	}
	f.Free()
	if _, err := q2.Submit(nil); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("submit to a freed queue: %v", err)
	}
}
