package mathtest

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/shaders"
)

const (
	chunk     = 1 << 18 // inputs of a dispatch
	groupSize = 64
	maxPar    = 1 << 10 // floats of par
)

// runner runs math_check on a device.
type runner struct {
	t                  *testing.T
	d                  hal.Device
	q                  hal.Queue
	src, par, res, dst block
	staging            hal.Memory
	kernels            map[int32]hal.Kernel // by chain
}

// block is device memory as the kernel sees it.
type block struct {
	mem  hal.Memory
	view hal.View
}

// open opens the i-th device; all of it is freed at the end of the test.
func open(t *testing.T, api hal.API, i int) *runner {
	t.Helper()
	d, err := api.Open(i, hal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &runner{t: t, d: d, kernels: map[int32]hal.Kernel{}}
	for _, b := range []struct {
		block *block
		words int
	}{{&r.src, chunk}, {&r.par, maxPar}, {&r.res, chunk}, {&r.dst, chunk}} {
		b.block.mem = r.alloc(b.words, hal.DeviceMemory)
		if b.block.view, err = b.block.mem.View(0, int64(4*b.words)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.block.view.Free)
	}
	r.staging = r.alloc(chunk, hal.StagingMemory)
	if r.q, err = d.NewQueue(true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.q.Free)
	return r
}

func (r *runner) alloc(words int, kind hal.MemoryKind) hal.Memory {
	r.t.Helper()
	m, err := r.d.Alloc(int64(4*words), kind)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(m.Free)
	return m
}

func (r *runner) submit(t *testing.T, c hal.Command) {
	t.Helper()
	f, err := r.q.Submit([]hal.Command{c})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Free()
	if err := f.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (r *runner) upload(t *testing.T, b block, words []uint32) {
	t.Helper()
	data, _ := binary.Append(nil, binary.LittleEndian, words) // words always encode
	copy(r.staging.Bytes(), data)
	r.submit(t, hal.Command{Op: hal.Copy, Dst: b.mem, Src: r.staging, Bytes: int64(len(data))})
}

// call is what math_check is asked for.
type call struct {
	mode     uint32
	exponent uint32
	chain    int32 // of POST_OPS, on rows of channels elements
	channels uint32
	par, res []float32
}

// run returns the result for each of at most chunk inputs.
func (r *runner) run(t *testing.T, c call, src []uint32) []uint32 {
	t.Helper()
	k := r.kernels[c.chain]
	if k == nil {
		source, err := shaders.Get("math_check")
		if err != nil {
			t.Fatal(err)
		}
		if k, err = r.d.NewKernel(t.Context(), source, []int32{groupSize, 1, 1, c.chain}); err != nil {
			t.Fatal(err)
		}
		r.t.Cleanup(k.Free)
		r.kernels[c.chain] = k
	}
	r.upload(t, r.src, src)
	if c.par != nil {
		r.upload(t, r.par, bits(c.par))
	}
	if c.res != nil {
		r.upload(t, r.res, bits(c.res))
	}
	params, _ := binary.Append(nil, binary.LittleEndian, []uint32{uint32(len(src)), c.mode, c.exponent, max(c.channels, 1)})
	r.submit(t, hal.Command{
		Op: hal.Dispatch, Kernel: k, Groups: [3]int{(len(src) + groupSize - 1) / groupSize, 1, 1}, Params: params,
		Views: []hal.View{r.src.view, r.par.view, r.res.view, r.dst.view},
	})
	r.submit(t, hal.Command{Op: hal.Copy, Dst: r.staging, Src: r.dst.mem, Bytes: int64(4 * len(src))})
	out := make([]uint32, len(src))
	for i := range out {
		out[i] = binary.LittleEndian.Uint32(r.staging.Bytes()[4*i:])
	}
	return out
}

func bits(v []float32) []uint32 {
	out := make([]uint32, len(v))
	for i, x := range v {
		out[i] = math.Float32bits(x)
	}
	return out
}

// devices counts the API's devices. Without one the test is skipped, or fails where the environment promises drivers.
func devices(t *testing.T, api hal.API) []hal.Info {
	t.Helper()
	infos, err := api.Adapters()
	if errors.Is(err, driver.ErrNoDevices) && os.Getenv("GONVOLVE_REQUIRE_DRIVERS") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return infos
}
