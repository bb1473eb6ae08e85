package gpu

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gonvolve/gonvolve/engine/cache"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
)

// proof is what a device showed about itself when it was opened, and what follows for the choice of kernels.
type proof struct {
	LoopLimit  int        // loop iterations and exits that one work-item may run
	IndexBytes int64      // largest buffer that kernels were seen to index right
	Halves     bool       // kernels' variants half come out right
	NativeHalf int32      // their tunable: which of the device's own conversions do
	Matrix     hal.Matrix // that was seen to be multiplied right; none: zeros
	Dot        bool       // kernels' variants dot come out right
	// HalfArithmetic: those packed do, rounding to nearest and keeping denormals.
	HalfArithmetic bool
	PackedGain     float64 // how many times as fast as f32 arithmetic that is, as measured on a GPU; else 0
	Transfers      bool    // the queues for transfers, if the device has any, order and copy right
	Checks         []driver.Check
}

const (
	loopFirst    = 1 << 12 // iterations that the search for a limit starts with …
	loopProbe    = 1 << 22 // … by fours, to this, which counts as no limit at all
	loopPatience = 500 * time.Millisecond
	smallTensor  = int64(1) << 31
)

// tests are the kernels of the self-test.
var tests = []string{"copy", "barrier_reduce", "loop_count", "fma_check", "index_big",
	"half_load.half", "half_store.half", "conv_coopmat.matrix", "dot_check", "dot_check.dot", "hvec_check.packed"}

// prove runs the self-test, or takes its result from the cache, where it is kept under the device, its driver's version
// and that of its kernels. lost is how the device was lost by its queues for transfers, if it was.
func (d *Device) prove(ctx context.Context, kept *cache.Cache, lost error) error {
	key := "selftest " + d.api + " " + d.info.ID + " " + d.versions(slices.Clone(tests)...)
	if n := d.limits.TransferQueues; n > 0 {
		key += fmt.Sprintf(" %d transfer queues", n)
	}
	if json.Unmarshal(kept.Get(key), &d.proof) != nil || d.proof.LoopLimit == 0 {
		t := tester{dev: d, ctx: ctx, lost: lost}
		if err := t.run(); err != nil {
			return err
		}
		d.proof = t.proof
		if text, err := json.Marshal(d.proof); err == nil && !t.passing {
			_ = kept.Put(key, text) // a cache that cannot be written costs time, nothing else
		}
	}
	d.binding = min(d.binding, d.proof.IndexBytes)
	if q, ok := d.hal.(hal.TransferQueuer); ok && d.limits.TransferQueues > 0 && !d.proof.Transfers {
		q.DisableTransferQueues()
		d.limits.TransferQueues = 0
	}
	for _, c := range d.proof.Checks {
		if !c.Passed {
			d.info.Limits = append(d.info.Limits, driver.Fact{Name: "self-test: " + c.Name, Value: c.Detail})
		}
	}
	return nil
}

// errSelfTest marks a device that cannot be relied on at all.
var errSelfTest = errors.New("self-test failed: the driver does not compute what kernels say; update it or use another device")

// tester runs the self-test's kernels.
type tester struct {
	dev    *Device
	ctx    context.Context
	stream *stream
	proof  proof
	lost   error // how the device was lost by queues for transfers; nil: it was not
	// passing: it is for lack of memory that something failed, which may not be so the next time: the proof is not kept.
	passing bool
}

func (t *tester) report(name string, passed bool, format string, args ...any) {
	t.proof.Checks = append(t.proof.Checks, driver.Check{Name: name, Passed: passed, Detail: fmt.Sprintf(format, args...)})
}

func (t *tester) run() (err error) {
	s, err := t.dev.newStream(true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	t.stream = s
	for _, step := range []func() error{
		t.copies, t.transfers, t.barrier, t.loops, t.arithmetic, t.halves, t.packedArithmetic, t.matrices, t.dots, t.indices, t.clock,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	for _, c := range t.proof.Checks {
		if !c.Passed && (c.Name == "copy" || c.Name == "barrier") {
			return fmt.Errorf("%w: %w (%s: %s)", driver.ErrUnsupported, errSelfTest, c.Name, c.Detail)
		}
	}
	return nil
}

// dispatch runs a kernel over n work-items of x and returns the words of its last buffer. The others are filled from
// inputs.
func (t *tester) dispatch(name string, local, items, words int, inputs [][]uint32, params ...uint32) ([]uint32, time.Duration, error) {
	return t.dispatchTuned(name, []int32{int32(local), 1, 1}, items, words, inputs, params...)
}

// dispatchTuned does so with a kernel that has tunables of its own.
func (t *tester) dispatchTuned(
	name string, tunables []int32, items, words int, inputs [][]uint32, params ...uint32,
) ([]uint32, time.Duration, error) {
	k, err := t.dev.kernel(t.ctx, name, tunables...)
	if err != nil {
		return nil, 0, err
	}
	defer t.dev.release(k)
	var buffers []*buffer
	defer func() {
		for _, b := range buffers {
			b.Free()
		}
	}()
	cmds, err := t.dev.dispatches(k, [3]int{items, 1, 1}, func([3]int) any { return params })
	if err != nil || len(cmds) != 1 {
		return nil, 0, fmt.Errorf("self-test %s: %d dispatches: %w", name, len(cmds), err)
	}
	for i, in := range append(inputs, make([]uint32, words)) {
		b, err := t.dev.newBuffer(int64(4 * len(in)))
		if err != nil {
			return nil, 0, err
		}
		buffers = append(buffers, b)
		cmds[0].Views = append(cmds[0].Views, b.view)
		if i == len(inputs) {
			err = t.stream.Fill(t.ctx, b, 0xdeadbeef)
		} else {
			bytes, _ := binary.Append(nil, binary.LittleEndian, in)
			err = t.stream.Write(t.ctx, b, 0, bytes)
		}
		if err != nil {
			return nil, 0, err
		}
	}
	holds := make([]*ref, len(buffers)) // the context may end while the kernel runs
	for i, b := range buffers {
		holds[i] = b.ref
	}
	e, err := t.stream.run(t.ctx, cmds, holds...)
	if err != nil {
		return nil, 0, err
	}
	if err := e.Wait(t.ctx); err != nil {
		return nil, 0, err
	}
	raw := make([]byte, 4*words)
	if err := t.stream.Read(t.ctx, raw, buffers[len(buffers)-1], 0); err != nil {
		return nil, 0, err
	}
	out := make([]uint32, words)
	for i := range out {
		out[i] = binary.LittleEndian.Uint32(raw[4*i:])
	}
	took, _ := e.DeviceTime()
	return out, took, nil
}

// copies: what goes up comes down, through a kernel.
func (t *tester) copies() error {
	const n = 5000
	in := make([]uint32, n)
	for i := range in {
		in[i] = uint32(i)*2654435761 + 1
	}
	out, _, err := t.dispatch("copy", 64, n, n, [][]uint32{in}, n)
	if err != nil {
		return err
	}
	for i := range in {
		if in[i] != out[i] {
			t.report("copy", false, "word %d is %#x, not %#x", i, out[i], in[i])
			return nil
		}
	}
	t.report("copy", true, "%d words", n)
	return nil
}

// barrier: a tree sum in local memory.
func (t *tester) barrier() error {
	const local, groups = 64, 32
	in := make([]uint32, local*groups)
	for i := range in {
		in[i] = uint32(i) * 40503
	}
	out, _, err := t.dispatch("barrier_reduce", local, local*groups, groups, [][]uint32{in}, groups)
	if err != nil {
		return err
	}
	for g := range groups {
		want := uint32(0)
		for _, v := range in[g*local:][:local] {
			want += v
		}
		if out[g] != want {
			t.report("barrier", false, "group %d sums to %d, not %d", g, out[g], want)
			return nil
		}
	}
	t.report("barrier", true, "%d groups of %d", groups, local)
	return nil
}

// loops finds how many loop iterations and exits one work-item may run: llvmpipe 22.3, for one, stops silently after
// about 65,535 of them. Long flat loops and nested ones of the same cost must both come out right.
func (t *tester) loops() error {
	right := func(outer, inner int) (bool, error) {
		const n = 16
		out, _, err := t.dispatch("loop_count", n, n, n, [][]uint32{{1, 1, 1, 1}}, n, uint32(outer), uint32(inner))
		if err != nil {
			return false, err
		}
		for _, v := range out {
			if v != uint32(outer*inner) {
				return false, nil
			}
		}
		return true, nil
	}
	good := func(cost int) (bool, error) { // cost counts as loopCost does
		for _, shape := range [][2]int{{1, cost - 4}, {(cost - 1) / 3, 1}, {cost / 64, 61}} {
			if ok, err := right(shape[0], shape[1]); !ok || err != nil {
				return false, err
			}
		}
		return true, nil
	}
	cost := loopFirst
	for ; cost <= loopProbe; cost *= 4 {
		start := time.Now()
		ok, err := good(cost)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		// Each step takes four times as long as the last: stop before a watchdog takes the device for hung.
		if took := time.Since(start); took > loopPatience && cost < loopProbe {
			t.proof.LoopLimit = cost
			t.report("loop count", true, "%d iterations; more would take too long to try: longer loops are split", cost)
			return nil
		}
	}
	if cost > loopProbe {
		t.proof.LoopLimit = math.MaxInt32
		t.report("loop count", true, "%d iterations", loopProbe)
		return nil
	}
	for cost /= 2; cost >= 1024; cost /= 2 {
		ok, err := good(cost)
		if err != nil {
			return err
		}
		if ok {
			t.proof.LoopLimit = cost / 2
			t.report("loop count", false, "loops of more than %d iterations come out wrong: longer ones are split", cost)
			return nil
		}
	}
	return fmt.Errorf("%w: %w (loops of 1024 iterations come out wrong)", driver.ErrUnsupported, errSelfTest)
}

// arithmetic: is fma fused, are divisions of averages right to the last bit, are denormals kept.
func (t *tester) arithmetic() error {
	f := math.Float32bits
	triple := func(a, b, c float32) []uint32 { return []uint32{f(a), f(b), f(c)} }
	eps := float32(1) / (1 << 12)
	var in []uint32
	in = append(in, triple(1+eps, 1+eps, -1-2*eps)...) // fused: eps², else 0
	denormal := math.Float32frombits(3)
	in = append(in, triple(denormal, denormal, 0)...)
	first := len(in) / 3
	for a := float32(1); a < 4000; a = a*1.7 + 1 { // quotients
		for _, b := range []float32{3, 7, 9, 25, 49, 121, 1000, 262143} {
			in = append(in, triple(float32(int(a)), b, 0)...)
		}
	}
	n := len(in) / 3
	out, _, err := t.dispatch("fma_check", 16, n, 6*n, [][]uint32{in}, uint32(n))
	if err != nil {
		return err
	}
	fused := out[0] == f(eps*eps)
	t.report("fma", fused || out[0] == 0, "fused: %t", fused)
	t.report("denormals", true, "kept by addition: %t", out[6+4] == f(2*denormal))
	for i := first; i < n; i++ {
		a, b := math.Float32frombits(in[3*i]), math.Float32frombits(in[3*i+1])
		if got := math.Float32frombits(out[6*i+3]); got != a/b {
			t.report("division", false, "%v/%v is %v, not %v: averages may be wrong in the last bit", a, b, got, a/b)
			return nil
		}
	}
	t.report("division", true, "%d quotients right to the last bit", n-first)
	return nil
}

// indices: a buffer of more than 2^31 bytes, where the device allows one, is indexed right past that.
func (t *tester) indices() error {
	t.proof.IndexBytes = min(t.dev.binding, smallTensor)
	if t.dev.binding <= smallTensor {
		t.report("indices", true, "not needed: kernels bind at most %d MiB", t.dev.binding>>20)
		return nil
	}
	const n, first = 64, 1<<29 + 4096 // words, past 2^31 bytes
	big, err := t.dev.newBuffer(4 * (first + n))
	if err != nil {
		t.report("indices", true, "not tried past 2^31 bytes: %v", err)
		return nil
	}
	defer big.Free()
	seen, err := t.dev.newBuffer(4 * n)
	if err != nil {
		return err
	}
	defer seen.Free()
	k, err := t.dev.kernel(t.ctx, "index_big", n, 1, 1)
	if err != nil {
		return err
	}
	defer t.dev.release(k)
	var cmds []hal.Command
	for _, write := range []uint32{1, 0} {
		c, err := t.dev.dispatches(k, [3]int{n, 1, 1}, func([3]int) any { return []uint32{n, first, write, 77} })
		if err != nil {
			return err
		}
		c[0].Views = []hal.View{big.view, seen.view}
		cmds = append(cmds, c...)
	}
	e, err := t.stream.run(t.ctx, cmds, big.ref, seen.ref)
	if err != nil {
		return err
	}
	if err := e.Wait(t.ctx); err != nil {
		return err
	}
	var raw, direct [4 * n]byte
	if err := t.stream.Read(t.ctx, raw[:], seen, 0); err != nil {
		return err
	}
	if err := t.stream.Read(t.ctx, direct[:], big, 4*first); err != nil {
		return err
	}
	for i := range n {
		a, b := binary.LittleEndian.Uint32(raw[4*i:]), binary.LittleEndian.Uint32(direct[4*i:])
		if want := uint32(77 + i); a != want || b != want {
			t.report("indices", false, "past 2^31 bytes kernels read %d and left %d, not %d: larger tensors are refused", a, b, want)
			return nil
		}
	}
	t.proof.IndexBytes = t.dev.binding
	t.report("indices", true, "right past 2^31 bytes")
	return nil
}

// clock: timestamps advance, and not wildly faster than the host's.
func (t *tester) clock() error {
	if !t.dev.limits.Timestamps {
		t.report("timestamps", true, "the device has none: device times are not reported")
		return nil
	}
	start := time.Now()
	_, took, err := t.dispatch("loop_count", 16, 16, 16, [][]uint32{{1, 1, 1, 1}}, 16, 16, 64)
	if err != nil {
		return err
	}
	wall := time.Since(start)
	t.report("timestamps", took > 0 && took <= wall, "%v of %v", took, wall)
	return nil
}
