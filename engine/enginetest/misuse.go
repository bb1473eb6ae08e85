package enginetest

import (
	"bytes"
	"context"
	"errors"
	"math"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
)

// specialValues: NaN propagates through maxima, infinities and the smallest numbers pass.
func (s *suite) specialValues(t *testing.T) {
	d := s.device(t)
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		kind problem.PoolKind
		src  []float32
		want float32
	}{
		{problem.Max, []float32{1, nan, 3, 2}, nan},
		{problem.Max, []float32{nan, 1, 2, 3}, nan},
		{problem.Max, []float32{-inf, -inf, -inf, -inf}, -inf},
		{problem.Max, []float32{-inf, inf, 0, 1}, inf},
		{problem.Max, []float32{-3, -1, -2, -4}, -1},
		{problem.AvgExclude, []float32{inf, 1, 2, 3}, inf},
		{problem.AvgExclude, []float32{inf, -inf, 2, 3}, nan},
		{problem.AvgExclude, []float32{1, nan, 2, 3}, nan},
		{problem.AvgExclude, []float32{1, 2, 3, 5}, 2.75},
	} {
		src, err := engine.FromFloat32(c.src, 1, 1, 2, 2)
		if err != nil {
			t.Fatal(err)
		}
		dst, err := d.Pool(t.Context(), c.kind, src, nil, problem.Params{})
		if err != nil {
			t.Fatal(err)
		}
		if got := dst.Float32s()[0]; got != c.want && !(got != got && c.want != c.want) {
			t.Errorf("%s of %v is %v, not %v", c.kind, c.src, got, c.want)
		}
	}
}

// transfers: what goes up comes down, in pieces of every size around that of staging memory.
func (s *suite) transfers(t *testing.T) {
	d := s.device(t)
	st, err := d.Driver().NewStream()
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	const size = 13<<20 + 12
	b, err := d.Driver().Alloc(size)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Free()
	want := make([]byte, size)
	for i := range want {
		want[i] = byte(i*7 + i>>9)
	}
	if err := st.Write(t.Context(), b, 0, want); err != nil {
		t.Fatal(err)
	}
	piece := []byte("0123456789abcdef")
	if err := st.Write(t.Context(), b, 4<<20-8, piece); err != nil {
		t.Fatal(err)
	}
	copy(want[4<<20-8:], piece)
	got := make([]byte, size)
	if err := st.Read(t.Context(), got, b, 0); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the bytes read are not those written")
	}
	part := make([]byte, 1<<20)
	if err := st.Read(t.Context(), part, b, 3<<20+4); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(part, want[3<<20+4:][:len(part)]) {
		t.Error("a part read is not what was written")
	}
	if err := st.Fill(t.Context(), b, 0x01020304); err != nil {
		t.Fatal(err)
	}
	if err := st.Read(t.Context(), got, b, 0); err != nil {
		t.Fatal(err)
	}
	if want := bytes.Repeat([]byte{4, 3, 2, 1}, size/4); !bytes.Equal(got, want) {
		t.Error("the buffer is not what it was filled with")
	}
	for _, c := range []struct{ off, n int64 }{{-4, 4}, {size, 4}, {size - 4, 8}, {0, size + 4}, {math.MaxInt64 - 3, 4}} {
		if err := st.Read(t.Context(), make([]byte, c.n), b, c.off); !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("reading %d bytes at %d: %v", c.n, c.off, err)
		}
	}
}

// refusals: what cannot be held is refused by the plan, before memory is taken, with the sentinel; what contradicts
// itself is invalid.
func (s *suite) refusals(t *testing.T) {
	d := s.device(t)
	for _, text := range []string{
		"mb1ic1048576ih1024oc1oh1024kh1", // 2^40 elements
		"mb1ic1ih1048576iw1048576oc1oh1048576ow1048576kh1kw1",
		"pool:max:mb1048576ic1024ih1024oh512kh2sh2",
	} {
		pl, err := d.Plan(t.Context(), problemtest.Parse(t, text), driver.PlanOptions{})
		if !errors.Is(err, engine.ErrUnsupported) {
			t.Errorf("%s: %v", text, err)
			if err == nil {
				pl.Close()
			}
		}
	}
	p := problemtest.Parse(t, "mb1ic2ih4oc3oh4kh3ph1")
	if _, err := d.Plan(t.Context(), p, driver.PlanOptions{Algorithm: "nonsense"}); !errors.Is(err, engine.ErrUnsupported) {
		t.Errorf("an unknown algorithm: %v", err)
	}
	p.Axes[1].Out = 17
	if _, err := d.Plan(t.Context(), p, driver.PlanOptions{}); !errors.Is(err, problem.ErrInvalid) {
		t.Errorf("a wrong output size: %v", err)
	}
	if b, err := d.Driver().Alloc(1 << 60); err == nil {
		b.Free()
		t.Error("an exabyte was handed out")
	}
	if m, ok := d.Driver().(driver.MemoryReporter); ok {
		if used, _ := m.MemoryInUse(); used != 0 {
			t.Errorf("%d bytes are in use after refusals", used)
		}
	}
}

// useAfterFree: misuse is an error, not a crash.
func (s *suite) useAfterFree(t *testing.T) {
	d := s.device(t)
	p := problemtest.Parse(t, "pool:max:mb1ic1ih4oh2kh2sh2")
	pl, err := d.Plan(t.Context(), p, driver.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	st, err := d.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	src, err := d.NewTensor(problem.F32, p.Shape(problem.Src)...)
	if err != nil {
		t.Fatal(err)
	}
	dst, err := d.NewTensor(problem.F32, p.Shape(problem.Dst)...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pl.Run(t.Context(), st, engine.Args{problem.Src: dst, problem.Dst: src}); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("swapped tensors: %v", err)
	}
	ev, err := pl.Run(t.Context(), st, engine.Args{problem.Src: src, problem.Dst: dst})
	if err != nil {
		t.Fatal(err)
	}
	src.Free() // in flight: the run keeps it
	src.Free()
	if err := ev.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := pl.Run(t.Context(), st, engine.Args{problem.Src: src, problem.Dst: dst}); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("a freed source: %v", err)
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
	if err := st.Poison(t.Context(), dst); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("a closed stream: %v", err)
	}
	dst.Free()
	if err := errors.Join(pl.Close(), pl.Close()); err != nil {
		t.Error(err)
	}
	if _, err := pl.Run(t.Context(), st, engine.Args{problem.Src: src, problem.Dst: dst}); err == nil {
		t.Error("a closed plan ran")
	}
}

// cancelled: a context that has ended stops work before it starts, and the device goes on.
func (s *suite) cancelled(t *testing.T) {
	d := s.device(t)
	src, err := engine.NewTensor(problem.F32, 1, 1, 4, 4)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Pool(ctx, problem.Max, src, []int{2, 2}, problem.Params{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := d.Pool(t.Context(), problem.Max, src, []int{2, 2}, problem.Params{}); err != nil {
		t.Errorf("after a cancelled run: %v", err)
	}
}
