package gpu

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/shaders"
)

// fake is an API with one device, which is also the state of both. Its memory is Go's; what is submitted runs as late
// as the contract allows, so that whatever is freed too early is noticed. The kernels of the self-test compute, the
// others are recorded.
type fake struct {
	info      hal.Info
	loopLimit int64                   // loops that cost more come out wrong; 0: none do
	wrong     string                  // kernel whose first word comes out wrong
	strays    bool                    // what queues for transfers copy does not arrive
	balks     error                   // of queues for transfers, whatever is submitted
	flushes   int32                   // native conversions of halves that lose subnormals, as bits of NativeHalf
	fail      func(call string) error // asked before each call that can fail

	mu         sync.Mutex
	alone      bool // no queue begins as one for transfers
	live       map[string]int
	faults     []string
	compiled   map[string][][]int32
	dispatched []hal.Command
	copied     []hal.Command
}

func newFake() *fake {
	return &fake{
		info: hal.Info{
			Info:            driver.Info{Name: "fake", Type: driver.Discrete, ID: "fake 1", MemoryBytes: 256 << 20},
			MaxBindingBytes: 64 << 20, MaxBufferBytes: 64 << 20, ViewAlignment: 64,
			MaxGroupSize: [3]int{256, 64, 64}, MaxGroupItems: 256, MaxGroupCount: [3]int64{65535, 65535, 65535},
			LocalBytes: 32 << 10, VectorWidth: 4, Unified: true, Timestamps: true,
		},
		live:     map[string]int{},
		compiled: map[string][][]int32{},
	}
}

// open opens the fake; the test ends with nothing left of it and no rule broken.
func (f *fake) open(t testing.TB) *Device {
	t.Helper()
	d, err := NewDriver(f).Open(t.Context(), 0, driver.Options{NoCache: true, Staged: !f.info.Unified})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error("close:", err)
		}
		f.finished(t)
	})
	return d.(*Device)
}

// finished checks that nothing is left and that no rule of the contract was broken.
func (f *fake) finished(t testing.TB) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for what, n := range f.live {
		if n != 0 {
			t.Errorf("%d of %s are left", n, what)
		}
	}
	for _, fault := range f.faults {
		t.Error(fault)
	}
}

func (f *fake) count(what string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live[what] += n
	if f.live[what] < 0 {
		f.faults = append(f.faults, what+" freed twice")
	}
}

// fault notes a broken rule. The caller holds mu.
func (f *fake) fault(format string, args ...any) {
	f.faults = append(f.faults, fmt.Sprintf(format, args...))
}

func (f *fake) ask(call string) error {
	if f.fail == nil {
		return nil
	}
	return f.fail(call)
}

func (f *fake) Name() string                  { return "fake" }
func (f *fake) Adapters() ([]hal.Info, error) { return []hal.Info{f.info}, f.ask("Adapters") }
func (f *fake) Info() hal.Info                { return f.info }

func (f *fake) Open(int, hal.Options) (hal.Device, error) {
	if err := f.ask("Open"); err != nil {
		return nil, err
	}
	f.count("devices", 1)
	return f, nil
}

func (f *fake) Close() error {
	f.count("devices", -1)
	return nil
}

type fakeMemory struct {
	f     *fake
	kind  hal.MemoryKind
	data  []byte
	freed bool
}

func (f *fake) Alloc(n int64, kind hal.MemoryKind) (hal.Memory, error) {
	if err := f.ask("Alloc"); err != nil {
		return nil, err
	}
	if n <= 0 || n > f.info.MaxBufferBytes {
		return nil, fmt.Errorf("%w: a block of %d bytes", driver.ErrOutOfMemory, n)
	}
	f.count("blocks", 1)
	return &fakeMemory{f: f, kind: kind, data: make([]byte, n)}, nil
}

func (m *fakeMemory) Size() int64 { return int64(len(m.data)) }

func (m *fakeMemory) Bytes() []byte {
	if m.kind == hal.StagingMemory || m.f.info.Unified {
		return m.data
	}
	return nil
}

func (m *fakeMemory) Free() {
	m.freed = true
	m.f.count("blocks", -1)
}

type fakeView struct {
	mem    *fakeMemory
	off, n int64
	freed  bool
}

func (m *fakeMemory) View(off, n int64) (hal.View, error) {
	if err := m.f.ask("View"); err != nil {
		return nil, err
	}
	if off%m.f.info.ViewAlignment != 0 || n <= 0 || off+n > m.Size() || n > m.f.info.MaxBindingBytes {
		return nil, fmt.Errorf("%w: view of %d bytes at %d", driver.ErrInvalid, n, off)
	}
	m.f.count("views", 1)
	return &fakeView{mem: m, off: off, n: n}, nil
}

func (v *fakeView) Free() {
	v.freed = true
	v.mem.f.count("views", -1)
}

func (v *fakeView) get(i int) uint32 { return binary.LittleEndian.Uint32(v.mem.data[v.off:][4*i:]) }
func (v *fakeView) set(i int, x uint32) {
	binary.LittleEndian.PutUint32(v.mem.data[v.off:][4*i:], x)
}

type fakeKernel struct {
	f     *fake
	src   *shaders.Kernel
	local [3]int
	last  int32 // tunable
	freed bool
}

func (f *fake) NewKernel(_ context.Context, k *shaders.Kernel, tunables []int32) (hal.Kernel, error) {
	for _, call := range []string{"NewKernel", "NewKernel " + k.Name} {
		if err := f.ask(call); err != nil {
			return nil, err
		}
	}
	f.count("kernels", 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.compiled[k.Name] = append(f.compiled[k.Name], slices.Clone(tunables))
	fk := &fakeKernel{f: f, src: k, last: tunables[len(tunables)-1]}
	for i := range fk.local {
		fk.local[i] = int(tunables[i])
		if fk.local[i] < 1 || fk.local[i] > f.info.MaxGroupSize[i] {
			f.fault("%s: groups of %v", k.Name, tunables[:3])
		}
	}
	return fk, nil
}

func (k *fakeKernel) Free() {
	k.freed = true
	k.f.count("kernels", -1)
}

type fakeQueue struct {
	f        *fake
	timed    bool
	transfer bool // before the first kernel
	pending  []*fakeFence
}

func (f *fake) NewQueue(timed bool) (hal.Queue, error) {
	if err := f.ask("NewQueue"); err != nil {
		return nil, err
	}
	f.count("queues", 1)
	return &fakeQueue{f: f, timed: timed, transfer: !timed && f.info.TransferQueues > 0 && !f.alone}, nil
}

func (f *fake) DisableTransferQueues() { f.alone = true }

func (q *fakeQueue) Free() {
	q.upTo(nil)
	q.f.count("queues", -1)
}

type fakeFence struct {
	q    *fakeQueue
	cmds []hal.Command
	of   *fakeRecorded // or nil
}

type fakeRecorded struct {
	q     *fakeQueue
	cmds  []hal.Command
	freed bool
}

func (q *fakeQueue) Record(cmds []hal.Command) (hal.Recorded, error) {
	if err := q.f.ask("Record"); err != nil {
		return nil, err
	}
	if q.timed {
		return nil, fmt.Errorf("%w: record on a timed queue", driver.ErrInvalid)
	}
	q.f.count("recorded lists", 1)
	r := &fakeRecorded{q: q, cmds: slices.Clone(cmds)}
	for i, c := range r.cmds {
		r.cmds[i].Views, r.cmds[i].Params = slices.Clone(c.Views), slices.Clone(c.Params)
	}
	return r, nil
}

func (r *fakeRecorded) Submit() (hal.Fence, error) {
	fence, err := r.q.Submit(r.cmds)
	if err != nil {
		return nil, err
	}
	fence.(*fakeFence).of = r
	if r.freed {
		r.q.f.faults = append(r.q.f.faults, "a recorded list was submitted after its Free")
	}
	return fence, nil
}

func (r *fakeRecorded) Free() {
	r.freed = true
	r.q.f.count("recorded lists", -1)
}

func (q *fakeQueue) Submit(cmds []hal.Command) (hal.Fence, error) {
	if err := q.f.ask("Submit"); err != nil {
		return nil, err
	}
	f := q.f
	if q.transfer && f.balks != nil && !slices.ContainsFunc(cmds, func(c hal.Command) bool { return c.Op == hal.Dispatch }) {
		return nil, f.balks
	}
	f.count("fences", 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	fence := &fakeFence{q: q, cmds: slices.Clone(cmds)}
	q.transfer = q.transfer && !slices.ContainsFunc(cmds, func(c hal.Command) bool { return c.Op == hal.Dispatch })
	if q.transfer && f.strays {
		fence.cmds = slices.DeleteFunc(fence.cmds, func(c hal.Command) bool { return c.Op == hal.Copy })
	}
	for i, c := range fence.cmds {
		switch c.Op {
		case hal.Dispatch:
			k := c.Kernel.(*fakeKernel)
			for d, g := range c.Groups {
				if g < 1 || int64(g) > f.info.MaxGroupCount[d] {
					f.fault("%s: %v groups", k.src.Name, c.Groups)
				}
			}
			if len(c.Views) != k.src.Buffers || len(c.Params) != k.src.ParamBytes {
				f.fault("%s: %d views and %d bytes of parameters", k.src.Name, len(c.Views), len(c.Params))
			}
			fence.cmds[i].Views, fence.cmds[i].Params = slices.Clone(c.Views), slices.Clone(c.Params)
			f.dispatched = append(f.dispatched, fence.cmds[i])
		case hal.Copy:
			if c.Bytes <= 0 || (c.Bytes|c.SrcOff|c.DstOff)%4 != 0 {
				f.fault("copy of %d bytes from %d to %d", c.Bytes, c.SrcOff, c.DstOff)
			}
			f.copied = append(f.copied, c)
		}
	}
	q.pending = append(q.pending, fence)
	return fence, nil
}

// upTo runs what is pending up to a fence, or all.
func (q *fakeQueue) upTo(last *fakeFence) {
	q.f.mu.Lock()
	defer q.f.mu.Unlock()
	for last == nil && len(q.pending) > 0 || slices.Contains(q.pending, last) {
		if r := q.pending[0].of; r != nil && r.freed {
			q.f.fault("a recorded list was freed before it ran")
		}
		for i := range q.pending[0].cmds {
			q.f.execute(&q.pending[0].cmds[i])
		}
		q.pending = q.pending[1:]
	}
}

func (x *fakeFence) Wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := x.q.f.ask("Wait"); err != nil {
		return err
	}
	x.q.upTo(x)
	return nil
}

func (x *fakeFence) Times() []time.Duration {
	if !x.q.timed || !x.q.f.info.Timestamps {
		return nil
	}
	return slices.Repeat([]time.Duration{time.Nanosecond}, len(x.cmds))
}

func (x *fakeFence) Free() {
	x.q.upTo(x)
	x.q.f.count("fences", -1)
}

// execute runs one command. The caller holds mu.
func (f *fake) execute(c *hal.Command) {
	memory := func(m hal.Memory) []byte {
		if m.(*fakeMemory).freed {
			f.fault("a block was freed before the copy from or to it ran")
		}
		return m.(*fakeMemory).data
	}
	switch c.Op {
	case hal.Copy:
		copy(memory(c.Dst)[c.DstOff:][:c.Bytes], memory(c.Src)[c.SrcOff:][:c.Bytes])
		return
	case hal.Fill:
		for at := memory(c.Dst)[c.DstOff:][:c.Bytes]; len(at) > 0; at = at[4:] {
			binary.LittleEndian.PutUint32(at, c.Value)
		}
		return
	}
	k := c.Kernel.(*fakeKernel)
	var v []*fakeView
	for _, view := range c.Views {
		v = append(v, view.(*fakeView))
		if view.(*fakeView).freed || view.(*fakeView).mem.freed {
			f.fault("%s: a view was freed before the kernel ran", k.src.Name)
			return
		}
	}
	if k.freed {
		f.fault("%s was freed before it ran", k.src.Name)
	}
	p := make([]int, len(c.Params)/4)
	for i := range p {
		p[i] = int(int32(binary.LittleEndian.Uint32(c.Params[4*i:])))
	}
	f.compute(k, v, p)
	if k.src.Name == f.wrong {
		out := v[len(v)-1]
		out.set(0, out.get(0)+1)
	}
}

// compute is what the kernels of the self-test do.
func (f *fake) compute(k *fakeKernel, v []*fakeView, p []int) {
	switch k.src.Name {
	case "copy":
		for i := range p[0] {
			v[1].set(i, v[0].get(i))
		}
	case "barrier_reduce":
		for g := range p[0] {
			sum := uint32(0)
			for l := range k.local[0] {
				sum += v[0].get(g*k.local[0] + l)
			}
			v[1].set(g, sum)
		}
	case "loop_count":
		count := p[1] * p[2]
		if cost := 1 + int64(p[1])*(2+int64(p[2])); f.loopLimit > 0 && cost > f.loopLimit {
			count--
		}
		for i := range p[0] {
			v[1].set(i, uint32(count))
		}
	case "half_load.half":
		for i := range p[0] {
			h := uint16(v[0].get(i/2) >> (16 * (i & 1)))
			if f.flushes&k.last&nativeLoads != 0 && h&0x7c00 == 0 {
				h &= 0x8000
			}
			v[1].set(i, math.Float32bits(float32(halfValue(h))))
		}
	case "half_store.half":
		for i := range p[0] {
			h := nearestHalf(math.Float32frombits(v[0].get(i)))
			if f.flushes&k.last&nativeStores != 0 && h&0x7c00 == 0 {
				h &= 0x8000
			}
			v[1].set(i/2, v[1].get(i/2)&^(0xffff<<(16*(i&1)))|uint32(h)<<(16*(i&1)))
		}
	case "fma_check":
		for i := range p[0] {
			a, b := math.Float32frombits(v[0].get(3*i)), math.Float32frombits(v[0].get(3*i+1))
			c := math.Float32frombits(v[0].get(3*i + 2))
			for j, x := range []float32{float32(math.FMA(float64(a), float64(b), float64(c))), a*b + c, a / b, a / b, a + b, max(a, b)} {
				v[1].set(6*i+j, math.Float32bits(x))
			}
		}
	}
}

// nearestHalf searches the half next to v, the even one of two.
func nearestHalf(v float32) uint16 {
	if v != v {
		return halfInfinity + 1
	}
	sign := uint16(math.Float32bits(v) >> 31 << 15)
	a := math.Abs(float64(v))
	h := sort.Search(halfInfinity, func(h int) bool { // the first whose middle to the next is not below a
		next := halfValue(uint16(h + 1))
		if h+1 == halfInfinity {
			next = 1 << 16
		}
		middle := (halfValue(uint16(h)) + next) / 2
		return a < middle || a == middle && h%2 == 0
	})
	return sign | uint16(h)
}
