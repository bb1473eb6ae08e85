package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/devicetest"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
)

func tensor(t *testing.T, data []float32, shape ...int) *engine.Tensor {
	t.Helper()
	v, err := engine.FromFloat32(data, shape...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestFallback(t *testing.T) {
	refuses := &fake{infos: devices("discrete g"), refuse: fmt.Errorf("%w: src has 9 elements, the largest buffer holds 8", driver.ErrUnsupported)}
	engine.WithDrivers(t, map[string]driver.Driver{"cpu": cpu.Driver{}, "vulkan": refuses})
	var logged bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&logged, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })

	d := devicetest.Open(t, "vulkan:0")
	src, wei := tensor(t, []float32{1, 2, 3}, 1, 1, 3), tensor(t, []float32{1, 10}, 1, 1, 2)
	dst, err := d.Conv(t.Context(), src, wei, nil, problem.Params{})
	if err != nil {
		t.Fatal(err)
	}
	if got := dst.Float32s(); !slices.Equal(got, []float32{21, 32}) {
		t.Errorf("the fallback computed %v", got)
	}
	pl, err := d.Plan(t.Context(), problemtest.Parse(t, "pool:max:mb1ic1iw4kw2"), driver.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer pl.Close()
	if f := pl.Fallback(); f == nil || f.From != "vulkan:0" || f.To != "cpu" || !errors.Is(f.Reason, engine.ErrUnsupported) || pl.Device().Spec() != "cpu" {
		t.Errorf("the plan for %s says %+v", pl.Device().Spec(), f)
	}
	all := d.Fallbacks()
	if len(all) != 2 || all[0].Problem.Op != problem.Conv || all[1].Problem.Op != problem.Pool {
		t.Fatalf("the device counts %+v", all)
	}
	if got := all[1].String(); !strings.Contains(got, "pool:max:mb1ic1iw4ow3kw2 runs on cpu instead of vulkan:0: ") || !strings.Contains(got, "largest buffer") {
		t.Errorf("a fallback reads %q", got)
	}
	if n := strings.Count(logged.String(), "msg=fallback"); n != 2 || !strings.Contains(logged.String(), "level=WARN") {
		t.Errorf("%d warnings: %s", n, &logged)
	}

	// No fallback for an algorithm that was asked for, an invalid problem, another error, or by request.
	if _, err := d.Plan(t.Context(), pl.Problem(), driver.PlanOptions{Algorithm: "direct"}); !errors.Is(err, engine.ErrUnsupported) {
		t.Errorf("forced algorithm: %v", err)
	}
	if _, err := d.Plan(t.Context(), problem.Problem{}, driver.PlanOptions{}); !errors.Is(err, problem.ErrInvalid) {
		t.Errorf("invalid problem: %v", err)
	}
	strict := devicetest.Open(t, "vulkan:0", engine.NoFallback())
	if _, err := strict.Plan(t.Context(), pl.Problem(), driver.PlanOptions{}); !errors.Is(err, engine.ErrUnsupported) || !strings.HasPrefix(err.Error(), "vulkan:0: ") {
		t.Errorf("without fallback: %v", err)
	}
	// What neither can run says why for both.
	huge := problemtest.Parse(t, "mb1ic1oc1ih16777216kh3ph1") // 2^48 elements
	if _, err := d.Plan(t.Context(), huge, driver.PlanOptions{}); err == nil || !strings.Contains(err.Error(), "largest buffer") || !strings.Contains(err.Error(), "the machine has") {
		t.Errorf("refused by both: %v", err)
	}
	if n := len(d.Fallbacks()); n != 2 {
		t.Errorf("%d fallbacks are counted after refusals", n)
	}
	refuses.refuse = driver.ErrDeviceLost
	if _, err := d.Plan(t.Context(), pl.Problem(), driver.PlanOptions{}); !errors.Is(err, engine.ErrDeviceLost) {
		t.Errorf("a lost device: %v", err)
	}
	refuses.refuse = nil
	if pl, err := d.Plan(t.Context(), pl.Problem(), driver.PlanOptions{}); err != nil || pl.Fallback() != nil || pl.Device() != d {
		t.Errorf("a problem that the device runs: %v", err)
	}
}

func TestShapeErrors(t *testing.T) {
	ctx := t.Context()
	d := devicetest.Open(t, "cpu")
	p := problemtest.Parse(t, "mb1ic1oc2iw4kw3")
	p.Bias = true
	pl, err := d.Plan(ctx, p, driver.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer pl.Close()
	pool, err := d.Plan(ctx, problemtest.Parse(t, "pool:max:mb1ic1iw4kw3"), driver.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	other := devicetest.Open(t, "cpu")
	s, err := d.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	on := func(d *engine.Device, shape ...int) *engine.DeviceTensor {
		v, err := d.NewTensor(problem.F32, shape...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(v.Free)
		return v
	}
	src, wei, bia := tensor(t, make([]float32, 4), 1, 1, 4), tensor(t, make([]float32, 6), 2, 1, 3), tensor(t, make([]float32, 2), 2)
	run := func(src, dst *engine.DeviceTensor) error {
		_, err := pl.Run(ctx, s, engine.Args{problem.Src: src, problem.Dst: dst})
		return err
	}
	host := func(v *engine.Tensor) error { _, err := pl.RunHost(ctx, engine.Operands{problem.Src: v}); return err }
	conv := func(src, wei, bia *engine.Tensor, o problem.Params) error {
		_, err := d.Conv(ctx, src, wei, bia, o)
		return err
	}
	alloc := func(shape ...int) error { _, err := d.NewTensor(problem.F32, shape...); return err }
	half, err := engine.NewTensor(problem.F16, 1, 1, 4)
	if err != nil {
		t.Fatal(err)
	}
	weights := func(pl *engine.Plan, wei, bia *engine.Tensor) error {
		return pl.SetWeights(ctx, engine.Operands{problem.Wei: wei, problem.Bia: bia})
	}
	for _, c := range []struct {
		name string
		err  error
		is   error
		want string
	}{
		{"no weights yet", run(on(d, 1, 1, 4), on(d, 1, 2, 2)), engine.ErrInvalid, "call SetWeights"},
		{"no weights yet, from the host", host(src), engine.ErrInvalid, "call SetWeights"},
		{"no bias", weights(pl, wei, nil), engine.ErrInvalid, "bia is missing; the problem takes [wei bia]"},
		{"shape of weights", weights(pl, src, bia), engine.ErrInvalid, "wei has shape [1 1 4], the problem wants [2 1 3]"},
		{"shape of bias", weights(pl, wei, src), engine.ErrInvalid, "bia has shape [1 1 4], the problem wants [2]"},
		{"weights of a pooling", weights(pool, wei, nil), engine.ErrInvalid, "pool FWD has no weights"},
		{"shape of the source", host(wei), engine.ErrInvalid, "src has shape [2 1 3], the problem wants [1 1 4]"},
		{"shape on the device", run(on(d, 1, 1, 5), on(d, 1, 2, 2)), engine.ErrInvalid, "src has shape [1 1 5]"},
		{"shape of the destination", run(on(d, 1, 1, 4), on(d, 1, 2, 3)), engine.ErrInvalid, "dst has shape [1 2 3]"},
		{"another device", run(on(other, 1, 1, 4), on(d, 1, 2, 2)), engine.ErrInvalid, "of the plan's device"},
		{"write", s.Write(ctx, on(d, 5), src), engine.ErrInvalid, "the device's f32 [5]"},
		{"download", s.Download(ctx, src, on(d, 5)), engine.ErrInvalid, "the device's f32 [5]"},
		{"channels", conv(src, tensor(t, make([]float32, 6), 1, 2, 3), nil, problem.Params{}), problem.ErrInvalid, "source has 1 channels"},
		{"kernel larger than source", conv(src, tensor(t, make([]float32, 5), 1, 1, 5), nil, problem.Params{}), problem.ErrInvalid, "smaller kernel"},
		{"negative shape", alloc(-1), engine.ErrInvalid, "negative or too large"},
		{"overflowing shape", alloc(math.MaxInt, 8), engine.ErrInvalid, "negative or too large"},
		{"f16", host(half), engine.ErrInvalid, "src is f16, the problem wants f32"},
		{"no source", host(nil), engine.ErrInvalid, "src is missing"},
		{"no destination", run(on(d, 1, 1, 4), nil), engine.ErrInvalid, "dst is missing; the problem reads [src] and writes [dst]"},
		{"foreign constant", pl.SetWeights(ctx, engine.Operands{problem.Mask: wei}), engine.ErrInvalid, "mask is no constant of this problem"},
	} {
		if !errors.Is(c.err, c.is) || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: %v, not %q", c.name, c.err, c.want)
		}
	}
	if _, err := engine.FromFloat32(make([]float32, 5), 2, 3); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("data of another size: %v", err)
	}
	if half.Float32s() != nil || len(half.Bytes()) != 8 {
		t.Errorf("f16 tensor: %d bytes, float32s %v", len(half.Bytes()), half.Float32s())
	}
	for range 2 {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := pool.RunHost(ctx, engine.Operands{problem.Src: src}); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("run of a closed plan: %v", err)
	}
}

// TestStream keeps tensors on the device, poisons and reads them back.
func TestStream(t *testing.T) {
	ctx := t.Context()
	d := devicetest.Open(t, "cpu")
	s, err := d.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	pl, err := d.Plan(ctx, problemtest.Parse(t, "pool:avg_np:mb1ic1iw4kw2sw2"), driver.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer pl.Close()
	src, err := s.Upload(ctx, tensor(t, []float32{1, 3, 5, 9}, 1, 1, 4))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Free()
	dst, err := d.NewTensor(problem.F32, 1, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Free()
	out := tensor(t, make([]float32, 2), 1, 1, 2)
	if err := errors.Join(s.Poison(ctx, dst), s.Download(ctx, out, dst)); err != nil {
		t.Fatal(err)
	}
	if v := out.Float32s(); v[0] == v[0] || v[1] == v[1] {
		t.Errorf("poison is %v", v)
	}
	e, err := pl.Run(ctx, s, engine.Args{problem.Src: src, problem.Dst: dst})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.Wait(ctx), s.Wait(ctx), s.Download(ctx, out, dst)); err != nil {
		t.Fatal(err)
	}
	if took, ok := e.DeviceTime(); !ok || took < 0 {
		t.Errorf("device time %v, %v", took, ok)
	}
	if v := out.Float32s(); !slices.Equal(v, []float32{2, 7}) {
		t.Errorf("result %v", v)
	}
}

// TestConcurrentPlan runs one plan from many goroutines while its weights change: every result is that of one set of
// weights or the other, never of a mixture.
func TestConcurrentPlan(t *testing.T) {
	ctx := t.Context()
	d := devicetest.Open(t, "cpu")
	p := problemtest.Parse(t, "mb2ic4oc8ih12kh3ph1")
	p.Bias = true
	pl, err := d.Plan(ctx, p, driver.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	filled := func(v float32, shape []int) *engine.Tensor {
		data := make([]float32, problem.Elems(shape))
		for i := range data {
			data[i] = v
		}
		return tensor(t, data, shape...)
	}
	// With ones as source, weights and bias of v make (1 + 4·taps)·v at every pixel.
	set := func(v float32) error {
		return pl.SetWeights(ctx, engine.Operands{
			problem.Wei: filled(v, p.Shape(problem.Wei)), problem.Bia: filled(v, p.Shape(problem.Bia))})
	}
	if err := set(1); err != nil {
		t.Fatal(err)
	}
	src := filled(1, p.Shape(problem.Src))
	stop := make(chan struct{})
	var setters, runners sync.WaitGroup
	for v := range 2 {
		setters.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := set(float32(v + 1)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 4 {
		runners.Go(func() {
			for range 60 {
				out, err := pl.RunHost(ctx, engine.Operands{problem.Src: src})
				if err != nil {
					t.Error(err)
					return
				}
				got := out[problem.Dst].Float32s()
				corner, inner := got[0], got[12+1] // 4 and 9 taps of 4 channels, and the bias
				if v := corner / 17; v != 1 && v != 2 || inner != 37*v {
					t.Errorf("corner %v and inner %v are of different weights", corner, inner)
					return
				}
			}
		})
	}
	runners.Wait()
	close(stop)
	setters.Wait()
	if err := pl.Close(); err != nil {
		t.Error(err)
	}
	if err := set(1); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("weights of a closed plan: %v", err)
	}
}
