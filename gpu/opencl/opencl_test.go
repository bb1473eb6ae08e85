//go:build cgo && !noopencl

package opencl

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/gpu/opencl/clshim"
	"github.com/gonvolve/gonvolve/shaders"
)

// TestMain lets a test run a part of this binary as a child with another loader.
func TestMain(m *testing.M) {
	if name := os.Getenv(libraryVar); name != "" {
		clshim.Libraries = []string{name}
	}
	os.Exit(m.Run())
}

// scale multiplies by a parameter: dst[i] = src[i] * p.f for i < p.n.
var scale = &shaders.Kernel{
	Name: "scale", Entry: "scale", Buffers: 2, ParamBytes: 8,
	Tunables: []shaders.Tunable{{Name: "LX"}, {Name: "LY", ID: 1}, {Name: "LZ", ID: 2}, {Name: "ADD", ID: 3}},
	CL: `
typedef struct { int n; float f; } Params;
__kernel __attribute__((reqd_work_group_size(LX, LY, LZ)))
void scale(__global const float *restrict src, __global float *restrict dst, const Params p) {
	int i = (int)get_global_id(0);
	if (i < p.n) dst[i] = src[i] * p.f + ADD;
}`,
}

var scaleTunables = []int32{64, 1, 1, 1}

// need skips without a driver, or fails where the environment promises one.
func need(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if errors.Is(err, driver.ErrNoDevices) && os.Getenv("GONVOLVE_REQUIRE_DRIVERS") == "" {
		t.Skip(err)
	}
	t.Fatal(err)
}

// forEach runs a test on every device.
func forEach(t *testing.T, o hal.Options, f func(t *testing.T, d hal.Device)) {
	infos, err := API().Adapters()
	need(t, err)
	for i, info := range infos {
		t.Run(info.Name, func(t *testing.T) {
			d, err := API().Open(i, o)
			if err != nil {
				t.Fatal(err)
			}
			f(t, d)
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// both runs a test on every device as it is and again as one without shared memory.
func both(t *testing.T, f func(t *testing.T, d hal.Device)) {
	t.Run("default", func(t *testing.T) { forEach(t, hal.Options{}, f) })
	t.Run("staged", func(t *testing.T) { forEach(t, hal.Options{Staged: true}, f) })
}

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func alloc(t testing.TB, d hal.Device, bytes int64, kind hal.MemoryKind) hal.Memory {
	t.Helper()
	return must(d.Alloc(bytes, kind))(t)
}

// submit runs commands to their end.
func submit(t testing.TB, q hal.Queue, cmds ...hal.Command) {
	t.Helper()
	f := must(q.Submit(cmds))(t)
	defer f.Free()
	if err := f.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// upload and download go the way the device asks for: in place or through staging memory.
func upload(t testing.TB, d hal.Device, q hal.Queue, m hal.Memory, data []byte) {
	t.Helper()
	if d.Info().Unified {
		copy(m.Bytes(), data)
		return
	}
	s := alloc(t, d, int64(len(data)), hal.StagingMemory)
	defer s.Free()
	copy(s.Bytes(), data)
	submit(t, q, hal.Command{Op: hal.Copy, Dst: m, Src: s, Bytes: int64(len(data))})
}

func download(t testing.TB, d hal.Device, q hal.Queue, m hal.Memory) []byte {
	t.Helper()
	data := make([]byte, m.Size())
	if d.Info().Unified {
		copy(data, m.Bytes())
		return data
	}
	s := alloc(t, d, m.Size(), hal.StagingMemory)
	defer s.Free()
	submit(t, q, hal.Command{Op: hal.Copy, Dst: s, Src: m, Bytes: m.Size()})
	copy(data, s.Bytes())
	return data
}

// params is scale's struct.
func params(n int, f float32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(n))
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
}

// ramp is n floats start, start+1, ...
func ramp(n, start int) []byte {
	var b []byte
	for i := range n {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(start+i)))
	}
	return b
}

func float(b []byte, i int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
}

func TestAdapters(t *testing.T) {
	infos, err := API().Adapters()
	need(t, err)
	again := must(API().Adapters())(t)
	for i, info := range infos {
		t.Logf("%+v", info)
		if info.Name == "" || info.ID == "" || info.Driver == "" || info.API[:7] != "OpenCL " {
			t.Errorf("device %d lacks a name: %+v", i, info)
		}
		if info.ID != again[i].ID {
			t.Errorf("device %d: ID changes from %s to %s", i, info.ID, again[i].ID)
		}
		if info.ViewAlignment < minAlignment || info.MaxBufferBytes < 1<<20 || info.MemoryBytes < info.MaxBufferBytes {
			t.Errorf("device %d: improbable memory: %+v", i, info)
		}
		if info.MaxGroupItems < 1 || info.MaxGroupSize[2] < 1 || info.LocalBytes < 1<<10 || info.ComputeUnits < 1 {
			t.Errorf("device %d: improbable limits: %+v", i, info)
		}
		if w := info.VectorWidth; w != 4 && w != 8 && w != 16 {
			t.Errorf("device %d: vector width %d", i, w)
		}
	}
	if _, err := API().Open(len(infos), hal.Options{}); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("opening a device past the last: %v", err)
	}
	if API().Name() != "opencl" {
		t.Error(API().Name())
	}
}

func TestDispatch(t *testing.T) {
	both(t, func(t *testing.T, d hal.Device) {
		const n = 1000
		q := must(d.NewQueue(true))(t)
		defer q.Free()
		k := must(d.NewKernel(context.Background(), scale, scaleTunables))(t)
		defer k.Free()
		src, dst := alloc(t, d, 4*n, hal.DeviceMemory), alloc(t, d, 4*n, hal.DeviceMemory)
		defer src.Free()
		defer dst.Free()
		if (src.Bytes() != nil) != d.Info().Unified {
			t.Error("Bytes and Unified disagree")
		}
		sv, dv := must(src.View(0, 4*n))(t), must(dst.View(0, 4*n))(t)
		defer sv.Free()
		defer dv.Free()
		upload(t, d, q, src, ramp(n, 0))

		// Two dispatches of one kernel in one submission: the second must not see the first one's parameters.
		submit(t, q,
			hal.Command{Op: hal.Dispatch, Kernel: k, Groups: [3]int{16, 1, 1}, Views: []hal.View{sv, dv}, Params: params(n, 2)},
			hal.Command{Op: hal.Dispatch, Kernel: k, Groups: [3]int{16, 1, 1}, Views: []hal.View{dv, sv}, Params: params(n, 3)},
			hal.Command{Op: hal.Dispatch, Kernel: k, Groups: [3]int{0, 1, 1}, Views: []hal.View{dv, sv}, Params: params(n, 9)})
		got, again := download(t, d, q, dst), download(t, d, q, src)
		for i := range n {
			want := float32(i)*2 + 1
			if float(got, i) != want || float(again, i) != want*3+1 {
				t.Fatalf("element %d: %v, %v; want %v, %v", i, float(got, i), float(again, i), want, want*3+1)
			}
		}
		if d.Info().Unified { // a write in place between submissions is seen
			copy(src.Bytes(), ramp(n, 7))
			submit(t, q, hal.Command{Op: hal.Dispatch, Kernel: k, Groups: [3]int{16, 1, 1}, Views: []hal.View{sv, dv}, Params: params(n, 1)})
			if got := float(dst.Bytes(), 5); got != 13 {
				t.Errorf("after a write in place: %v, want 13", got)
			}
		}
	})
}

// TestShaders compiles every kernel of the project with its defaults.
func TestShaders(t *testing.T) {
	forEach(t, hal.Options{}, func(t *testing.T, d hal.Device) {
		for _, k := range shaders.All() {
			i := d.Info()
			if k.CL == "" || k.Dot && !i.Dot || k.Packed && !i.HalfArithmetic { // for Vulkan alone, or for other devices
				continue
			}
			var values []int32
			for _, tun := range k.Tunables {
				values = append(values, tun.Default)
			}
			made, err := d.NewKernel(context.Background(), k, values)
			if err != nil {
				t.Error(err)
				continue
			}
			made.Free()
		}
	})
}

func TestCopyAndFill(t *testing.T) {
	both(t, func(t *testing.T, d hal.Device) {
		q := must(d.NewQueue(true))(t)
		defer q.Free()
		const words = 1 << 12
		a, b := alloc(t, d, 4*words, hal.DeviceMemory), alloc(t, d, 4*words, hal.DeviceMemory)
		defer a.Free()
		defer b.Free()
		up, down := alloc(t, d, 4*words, hal.StagingMemory), alloc(t, d, 4*words, hal.StagingMemory)
		defer up.Free()
		defer down.Free()
		copy(up.Bytes(), ramp(words, 0))
		const nan = 0x7fc00001
		submit(t, q,
			hal.Command{Op: hal.Copy, Dst: a, Src: up, Bytes: 4 * words},
			hal.Command{Op: hal.Fill, Dst: b, Bytes: 4 * words, Value: nan},
			hal.Command{Op: hal.Copy, Dst: b, DstOff: 40, Src: a, SrcOff: 4, Bytes: 400},
			hal.Command{Op: hal.Fill, Dst: b, DstOff: 44, Bytes: 4, Value: 5},
			hal.Command{Op: hal.Fill, Dst: b, DstOff: 48, Bytes: 0, Value: 6},
			hal.Command{Op: hal.Copy, Dst: down, DstOff: 8, Src: b, SrcOff: 4, Bytes: 4*words - 8})
		got := down.Bytes()
		for i := 1; i < words-1; i++ {
			want := uint32(nan)
			if i == 11 {
				want = 5
			} else if i >= 10 && i < 110 {
				want = math.Float32bits(float32(i - 10 + 1))
			}
			if g := binary.LittleEndian.Uint32(got[4*i+4:]); g != want {
				t.Fatalf("word %d: %#x, want %#x", i, g, want)
			}
		}
	})
}

func TestViews(t *testing.T) {
	both(t, func(t *testing.T, d hal.Device) {
		q := must(d.NewQueue(true))(t)
		defer q.Free()
		k := must(d.NewKernel(context.Background(), scale, scaleTunables))(t)
		defer k.Free()
		align := d.Info().ViewAlignment
		m := alloc(t, d, 16*align, hal.DeviceMemory)
		defer m.Free()
		upload(t, d, q, m, ramp(int(16*align/4), 0))
		src, dst := must(m.View(align, align))(t), must(m.View(7*align, align))(t)
		submit(t, q, hal.Command{Op: hal.Dispatch, Kernel: k, Groups: [3]int{2, 1, 1}, Views: []hal.View{src, dst},
			Params: params(int(align/4), 2)})
		src.Free()
		dst.Free()
		dst.Free() // twice is harmless
		got := download(t, d, q, m)
		for i := range int(16 * align / 4) {
			want := float32(i)
			if i >= int(7*align/4) && i < int(8*align/4) {
				want = 2*float32(i-int(6*align/4)) + 1
			}
			if float(got, i) != want {
				t.Fatalf("element %d: %v, want %v", i, float(got, i), want)
			}
		}
		for _, bad := range [][2]int64{{4, 8}, {-align, 8}, {0, 0}, {align, 16 * align}, {17 * align, 4}} {
			if _, err := m.View(bad[0], bad[1]); !errors.Is(err, driver.ErrInvalid) {
				t.Errorf("view %v: %v", bad, err)
			}
		}
	})
}
