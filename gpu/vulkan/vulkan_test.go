//go:build cgo && !novulkan

package vulkan

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"unsafe"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/gpu/vulkan/vkshim"
	"github.com/gonvolve/gonvolve/shaders"
)

// required says that a missing driver is a failure.
func required() bool { return os.Getenv("GONVOLVE_REQUIRE_DRIVERS") == "1" }

// validate says to run every test under the validation layer.
func validate() bool { return os.Getenv("GONVOLVE_VALIDATE") == "1" }

// missing ends a test that needs what this machine lacks.
func missing(t testing.TB, why error) {
	t.Helper()
	if required() {
		t.Fatal(why)
	}
	t.Skip(why)
}

// open opens a device and has it closed, without complaints, at the end of the test.
func open(t testing.TB, o hal.Options) *device {
	t.Helper()
	o.Validate = o.Validate || validate()
	h, err := API().Open(0, o)
	if errors.Is(err, driver.ErrNoDevices) || o.Validate && errors.Is(err, driver.ErrUnsupported) {
		missing(t, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return h.(*device)
}

func newQueue(t testing.TB, d hal.Device) hal.Queue {
	t.Helper()
	q, err := d.NewQueue(true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Free)
	return q
}

func newKernel(t testing.TB, d hal.Device, name string, lx int32) hal.Kernel {
	t.Helper()
	k, err := d.NewKernel(t.Context(), source(t, name), []int32{lx, 1, 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Free)
	return k
}

func source(t testing.TB, name string) *shaders.Kernel {
	t.Helper()
	k, err := shaders.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func alloc(t testing.TB, d hal.Device, bytes int64, kind hal.MemoryKind) hal.Memory {
	t.Helper()
	m, err := d.Alloc(bytes, kind)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Free)
	return m
}

func newView(t testing.TB, m hal.Memory, off, bytes int64) hal.View {
	t.Helper()
	v, err := m.View(off, bytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Free)
	return v
}

// run submits, waits and frees.
func run(q hal.Queue, cmds ...hal.Command) error {
	f, err := q.Submit(cmds)
	if err != nil {
		return err
	}
	defer f.Free()
	return f.Wait(context.Background())
}

func words(b []byte) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

func params(v ...uint32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	return b
}

const groupSize = 64

// pattern dispatches fill_pattern: word i becomes i*mul + add.
func pattern(k hal.Kernel, v hal.View, n, mul, add int) hal.Command {
	return hal.Command{
		Op: hal.Dispatch, Kernel: k, Groups: [3]int{(n + groupSize - 1) / groupSize, 1, 1},
		Views: []hal.View{v}, Params: params(uint32(n), uint32(mul), uint32(add)),
	}
}

// reads copies device memory to a staging block and returns its words.
func reads(t testing.TB, q hal.Queue, d hal.Device, m hal.Memory) []uint32 {
	t.Helper()
	s := alloc(t, d, m.Size(), hal.StagingMemory)
	if err := run(q, hal.Command{Op: hal.Copy, Dst: s, Src: m, Bytes: m.Size() &^ 3}); err != nil {
		t.Fatal(err)
	}
	return words(s.Bytes())
}

func TestAdapters(t *testing.T) {
	infos, err := API().Adapters()
	if errors.Is(err, driver.ErrNoDevices) {
		missing(t, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	again, err := API().Adapters()
	if err != nil || len(again) != len(infos) {
		t.Fatalf("a second list has %d devices (%v), the first %d", len(again), err, len(infos))
	}
	for i, info := range infos {
		t.Logf("%d: %s, %s, %s, %s, %s, %v", i, info.Name, info.Vendor, info.Type, info.API, info.Driver, info.Limits)
		if info.ID != again[i].ID || info.Name != again[i].Name {
			t.Errorf("device %d is %s %s, then %s %s", i, info.Name, info.ID, again[i].Name, again[i].ID)
		}
		switch {
		case info.Name == "" || info.Driver == "" || info.ID == "" || info.Type == "" || info.API == "":
			t.Errorf("device %d: incomplete: %+v", i, info)
		case info.MaxBindingBytes < 1<<27 || info.MaxBufferBytes < info.MaxBindingBytes || info.MemoryBytes < info.MaxBufferBytes:
			t.Errorf("device %d: binding %d, buffer %d, memory %d bytes", i, info.MaxBindingBytes, info.MaxBufferBytes, info.MemoryBytes)
		case info.ViewAlignment < 16 || info.ViewAlignment&(info.ViewAlignment-1) != 0:
			t.Errorf("device %d: views are aligned to %d", i, info.ViewAlignment)
		case info.MaxGroupItems < 128 || info.MaxGroupSize[0] < 128 || info.MaxGroupCount[0] < 65535 || info.LocalBytes < 16384:
			t.Errorf("device %d: limits below Vulkan's least: %+v", i, info)
		case info.VectorWidth != 4:
			t.Errorf("device %d: vectors of %d", i, info.VectorWidth)
		}
	}
	if _, err := API().Open(len(infos), hal.Options{}); !errors.Is(err, driver.ErrNoDevices) {
		t.Errorf("open device %d of %d: %v", len(infos), len(infos), err)
	}
}

// exercise does everything that a device can do and checks the results.
func exercise(t *testing.T, d *device) {
	const n = 10000
	align := d.info.ViewAlignment
	q := newQueue(t, d)
	fill := newKernel(t, d, "fill_pattern", groupSize)
	cp := newKernel(t, d, "copy", groupSize)

	// Two arrays in one block, at aligned offsets.
	second := (int64(4*n) + align - 1) / align * align
	block := alloc(t, d, second+4*n, hal.DeviceMemory)
	if (block.Bytes() != nil) != d.info.Unified {
		t.Errorf("device memory is mapped: %v, unified: %v", block.Bytes() != nil, d.info.Unified)
	}
	a, b := newView(t, block, 0, 4*n), newView(t, block, second, 4*n)
	up, down := alloc(t, d, 4*n, hal.StagingMemory), alloc(t, d, second+4*n, hal.StagingMemory)
	for i := range words(up.Bytes()) {
		words(up.Bytes())[i] = uint32(i) * 5
	}

	f, err := q.Submit([]hal.Command{
		{Op: hal.Fill, Dst: block, Bytes: block.Size() &^ 3, Value: 0xdeadbeef},
		pattern(fill, a, n, 3, 7),
		{Op: hal.Dispatch, Kernel: cp, Groups: [3]int{(n - 100 + groupSize - 1) / groupSize, 1, 1}, Views: []hal.View{a, b}, Params: params(n - 100)},
		{Op: hal.Copy, Dst: block, DstOff: second + 4*(n-50), Src: up, SrcOff: 40, Bytes: 200},
		{Op: hal.Fill, Dst: block, DstOff: 4, Bytes: 8, Value: 1},
		{Op: hal.Copy, Dst: block, DstOff: 16, Src: block, SrcOff: second + 4*(n-50), Bytes: 8},
		{Op: hal.Copy, Dst: down, Src: block, Bytes: block.Size() &^ 3},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	times := f.Times()
	f.Free()
	if d.info.Timestamps {
		if len(times) != 7 {
			t.Fatalf("%d times for 7 commands", len(times))
		}
		if times[1] <= 0 || times[2] <= 0 {
			t.Errorf("kernels took no time: %v", times)
		}
	} else if times != nil {
		t.Errorf("times without timestamps: %v", times)
	}

	check := func(name string, got []uint32) {
		t.Helper()
		for i := range uint32(n) {
			want := i*3 + 7
			switch i {
			case 1, 2:
				want = 1
			case 4, 5:
				want = (10 + i - 4) * 5
			}
			if got[i] != want {
				t.Fatalf("%s: a[%d] = %d, want %d", name, i, got[i], want)
			}
			want = i*3 + 7
			switch {
			case i >= n-50:
				want = (10 + i - (n - 50)) * 5
			case i >= n-100:
				want = 0xdeadbeef
			}
			if got := got[uint32(second/4)+i]; got != want {
				t.Fatalf("%s: b[%d] = %d, want %d", name, i, got, want)
			}
		}
	}
	check("staging", words(down.Bytes()))
	if d.info.Unified {
		check("mapped", words(block.Bytes()))
		for i := range words(block.Bytes())[:n] {
			words(block.Bytes())[i] = uint32(i) + 11 // the host writes, a kernel reads
		}
		if err := run(q, hal.Command{Op: hal.Dispatch, Kernel: cp, Groups: [3]int{n, 1, 1}, Views: []hal.View{a, b}, Params: params(n)}); err != nil {
			t.Fatal(err)
		}
		for i, v := range words(block.Bytes()[second:])[:n] {
			if v != uint32(i)+11 {
				t.Fatalf("mapped: b[%d] = %d after the host wrote %d", i, v, i+11)
			}
		}
	}

	// Submissions in flight together see each other's effects; the empty one is legal.
	var fences []hal.Fence
	for i := range 20 {
		cmds := []hal.Command{pattern(fill, a, n, i, i)}
		if i%2 == 1 {
			cmds = []hal.Command{{Op: hal.Copy, Dst: block, DstOff: second, Src: block, Bytes: 4 * n}}
		}
		f, err := q.Submit(cmds)
		if err != nil {
			t.Fatal(err)
		}
		fences = append(fences, f)
	}
	f, err = q.Submit(nil)
	if err != nil {
		t.Fatal(err)
	}
	fences = append(fences, f)
	for _, f := range fences {
		f.Free()
	}
	for i, v := range reads(t, q, d, block)[second/4:] {
		if v != uint32(i)*18+18 {
			t.Fatalf("b[%d] = %d, want %d", i, v, i*18+18)
		}
	}
}

func TestExercise(t *testing.T)          { exercise(t, open(t, hal.Options{})) }
func TestExerciseStaged(t *testing.T)    { exercise(t, open(t, hal.Options{Staged: true})) }
func TestExerciseValidated(t *testing.T) { exercise(t, open(t, hal.Options{Validate: true})) }

// Every adapter of the machine gives the same.
func TestEveryAdapter(t *testing.T) {
	infos, err := API().Adapters()
	if err != nil {
		missing(t, err)
	}
	for i := range infos {
		h, err := API().Open(i, hal.Options{Validate: validate()})
		if err != nil {
			t.Errorf("%s: %v", infos[i].Name, err)
			continue
		}
		t.Run(infos[i].Name, func(t *testing.T) { exercise(t, h.(*device)) })
		if err := h.Close(); err != nil {
			t.Errorf("%s: close: %v", infos[i].Name, err)
		}
	}
}

// What the validation layer finds is what Close returns.
func TestValidationReports(t *testing.T) {
	infos, err := API().Adapters()
	if err != nil {
		missing(t, err)
	}
	h, err := API().Open(0, hal.Options{Validate: true})
	if errors.Is(err, driver.ErrUnsupported) {
		missing(t, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Alloc(4096, hal.DeviceMemory); err != nil { // and never freed
		t.Fatal(err)
	}
	if err := h.Close(); err == nil {
		t.Errorf("%s: a leaked buffer went unnoticed", infos[0].Name)
	} else {
		t.Log(err)
	}
}

func TestValidationLayerMissing(t *testing.T) {
	a := &api{libraries: libraries()}
	if _, err := a.instance(); err != nil {
		missing(t, err)
	}
	if a.loader.HasLayer("VK_LAYER_of_nobody") {
		t.Error("found a layer that does not exist")
	}
	if validate() && !a.loader.HasLayer(vkshim.ValidationLayer) {
		t.Errorf("%s is missing", vkshim.ValidationLayer)
	}
}
