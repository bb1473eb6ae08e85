package cpu

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
)

func TestRefusals(t *testing.T) {
	d := open(t)
	d.info.MemoryBytes = 64 << 30
	for _, c := range []struct {
		text      string
		algorithm string
		want      string
	}{
		{"mb1ic1oc1ih1048576kh3ph1", "", "GiB, the machine has 64"}, // 2^40 elements
		{"mb1ic1oc1ih1048576kh3ph1", "reference", "GiB, the machine has 64"},
		{"pool:max:mb1ic1ih1048576kh3ph1", "", "GiB, the machine has 64"},
		{"conv:BWD_W:f16:mb1ic1oc1ih1048576kh3ph1", "", "GiB, the machine has 64"},
		{"im2col:mb1ic64ih4096kh5ph2", "", "GiB, the machine has 64"},
		{"pool:max:indices=flat:mb65536ic1ih256kh3ph1", "", "indices are s32"},
		{"unpool:indices=plane:mb1ic1ih65536oh131072kh2sh2", "", "indices are s32"},
		{"mb1ic1oc1iw4kw3", "winograd", "[depthwise igemm gemm direct reference] can"},
		{"pool:max:mb1ic1iw4kw3", "gemm", "[direct rows reference] can"},
		{"u8-s8-s32:mb1ic1oc1iw4kw3", "gemm", "[depthwise igemm direct reference] can"},
		{"then=max(kw2):mb1ic1oc1iw4kw3", "direct", "[conv+pool fused reference] can"},
	} {
		p := problemtest.Parse(t, c.text)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		pl, err := d.Plan(t.Context(), p, driver.PlanOptions{Algorithm: c.algorithm})
		runtime.ReadMemStats(&after)
		if pl != nil || !errors.Is(err, driver.ErrUnsupported) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %q: %v, not %q", c.text, c.algorithm, err, c.want)
		}
		if grew := after.TotalAlloc - before.TotalAlloc; grew > 1<<20 {
			t.Errorf("%s: %d bytes were allocated before the refusal", c.text, grew)
		}
	}
	if _, err := d.Plan(t.Context(), problem.Problem{}, driver.PlanOptions{}); !errors.Is(err, problem.ErrInvalid) {
		t.Errorf("invalid problem: %v", err)
	}
	if _, err := d.Alloc(65 << 30); !errors.Is(err, driver.ErrOutOfMemory) {
		t.Errorf("more than the machine has: %v", err)
	}
	for _, bytes := range []int64{-4, 3} {
		if _, err := d.Alloc(bytes); !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("%d bytes: %v", bytes, err)
		}
	}
	if _, err := (Driver{}).Open(t.Context(), 1, driver.Options{}); !errors.Is(err, driver.ErrNoDevices) {
		t.Errorf("cpu:1: %v", err)
	}
}

func TestMisuse(t *testing.T) {
	ctx := t.Context()
	d := open(t)
	s, err := d.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	alloc := func(elems int64) driver.Buffer {
		b, err := d.Alloc(4 * elems)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Free)
		return b
	}
	plan := func(text string) driver.Plan {
		pl, err := d.Plan(ctx, problemtest.Parse(t, text), driver.PlanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return pl
	}
	conv, other, pool := plan("mb1ic1oc1iw4kw3"), plan("mb1ic9oc9iw4kw3"), plan("pool:max:indices=flat:mb1ic1iw4kw3")
	bytes := plan("pool:max:s8:mb1ic1iw5kw3")
	b := alloc(4)
	w, _, err := conv.Pack(ctx, s, driver.Buffers{problem.Wei: b})
	if err != nil {
		t.Fatal(err)
	}
	freed, err := d.Alloc(16)
	if err != nil {
		t.Fatal(err)
	}
	freed.Free()
	freed.Free() // the second is nothing
	runErr := func(pl driver.Plan, s driver.Stream, w driver.Weights, src, dst, ind driver.Buffer) error {
		_, err := pl.Run(ctx, s, driver.Args{Buffers: driver.Buffers{problem.Src: src, problem.Dst: dst, problem.Ind: ind}, Weights: w})
		return err
	}
	packErr := func(pl driver.Plan, s driver.Stream, wei driver.Buffer) error {
		_, _, err := pl.Pack(ctx, s, driver.Buffers{problem.Wei: wei})
		return err
	}
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"small source", runErr(pool, s, nil, alloc(3), b, b), driver.ErrInvalid},
		{"small destination", runErr(pool, s, nil, b, alloc(1), b), driver.ErrInvalid},
		{"small indices", runErr(pool, s, nil, b, b, alloc(1)), driver.ErrInvalid},
		{"no indices", runErr(pool, s, nil, b, b, nil), driver.ErrInvalid},
		{"small bytes", runErr(bytes, s, nil, alloc(1), b, nil), driver.ErrInvalid},
		{"no source", runErr(pool, s, nil, nil, b, b), driver.ErrInvalid},
		{"no stream", runErr(pool, nil, nil, b, b, b), driver.ErrInvalid},
		{"freed source", runErr(pool, s, nil, freed, b, b), driver.ErrClosed},
		{"no weights", runErr(conv, s, nil, b, b, nil), driver.ErrInvalid},
		{"another plan's weights", runErr(other, s, w, alloc(36), alloc(18), nil), driver.ErrInvalid},
		{"pooling has no weights", packErr(pool, s, b), driver.ErrInvalid},
		{"pack without stream", packErr(conv, nil, b), driver.ErrInvalid},
		{"small weights", packErr(other, s, b), driver.ErrInvalid},
		{"freed weights buffer", packErr(conv, s, freed), driver.ErrClosed},
		{"write past the end", s.Write(ctx, b, 8, make([]byte, 12)), driver.ErrInvalid},
		{"write before the start", s.Write(ctx, b, -4, make([]byte, 4)), driver.ErrInvalid},
		{"read past the end", s.Read(ctx, make([]byte, 20), b, 0), driver.ErrInvalid},
		{"read of freed memory", s.Read(ctx, make([]byte, 4), freed, 0), driver.ErrClosed},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, not %v", c.name, c.err, c.want)
		}
	}
	w.Free()
	w.Free()
	if err := runErr(conv, s, w, b, b, nil); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("freed weights: %v", err)
	}

	shut := &Device{info: d.info}
	if err := shut.Close(); err != nil {
		t.Fatal(err)
	}
	_, allocErr := shut.Alloc(4)
	_, streamErr := shut.NewStream()
	_, planErr := shut.Plan(ctx, problemtest.Parse(t, "mb1ic1oc1iw4kw3"), driver.PlanOptions{})
	for _, err := range []error{allocErr, streamErr, planErr} {
		if !errors.Is(err, driver.ErrClosed) {
			t.Errorf("closed device: %v", err)
		}
	}
}
