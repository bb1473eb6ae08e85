package cpu

import (
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// run computes a problem by an algorithm through the driver's interface, into poisoned memory.
func run(t *testing.T, d *Device, p problem.Problem, algorithm string, in driver.Operands) []float32 {
	t.Helper()
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s, %s: %v", p.String(), algorithm, err)
		}
	}
	s, err := d.NewStream()
	check(err)
	defer s.Close()
	pl, err := d.Plan(ctx, p, driver.PlanOptions{Algorithm: algorithm})
	check(err)
	defer pl.Close()
	if got := pl.Info().Algorithm; got != algorithm {
		t.Fatalf("%s: algorithm %s instead of %s", p.String(), got, algorithm)
	}
	upload := func(v []float32) driver.Buffer {
		b, err := d.Alloc(4 * int64(len(v)))
		check(err)
		check(s.Write(ctx, b, 0, asBytes(v)))
		return b
	}
	args := driver.Args{Src: upload(in.Src)}
	defer args.Src.Free()
	if p.Op != problem.Pool {
		wei, bia := upload(in.Wei), upload(in.Bia)
		args.Weights, _, err = pl.Pack(ctx, s, wei, bia)
		check(err)
		defer args.Weights.Free()
		if got, want := args.Weights.Bytes(), pl.Info().WeightsBytes; got != want {
			t.Errorf("%s: packed weights take %d bytes, the plan said %d", p.String(), got, want)
		}
		wei.Free()
		bia.Free()
	}
	dst := make([]float32, problem.Elems(p.Shape(problem.Dst)))
	args.Dst, err = d.Alloc(4 * int64(len(dst)))
	check(err)
	defer args.Dst.Free()
	check(s.Fill(ctx, args.Dst, 0x7fc0dead))
	e, err := pl.Run(ctx, s, args)
	check(err)
	check(e.Wait(ctx))
	if took, ok := e.DeviceTime(); !ok || took < 0 {
		t.Errorf("device time %v, %v", took, ok)
	}
	check(s.Read(ctx, asBytes(dst), args.Dst, 0))
	return dst
}

func asBytes(v []float32) []byte {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
}

// TestAlgorithms compares every algorithm with the oracle, bit for bit.
func TestAlgorithms(t *testing.T) {
	d := open(t)
	r := rand.New(rand.NewPCG(13, 14))
	ran := map[string]int{}
	special := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}
	for i := range 900 {
		p := randomProblem(r, []problem.Op{problem.Conv, problem.Conv, problem.Deconv, problem.Pool}[i%4])
		in := operandsOf(r, &p)
		if p.Op == problem.Pool && i%3 == 0 {
			for range 1 + len(in.Src)/8 {
				in.Src[r.IntN(len(in.Src))] = special[r.IntN(3)]
			}
		}
		truth := reference(t, p, in)
		for _, algorithm := range d.Algorithms(p) {
			ran[algorithm]++
			for e, got := range run(t, d, p, algorithm, in) {
				if want := float32(truth.Value[e]); !same(got, want) {
					t.Fatalf("%s bias %v act %v, %s, element %d: %v, not %v", p.String(), p.Bias, p.Act, algorithm, e, got, want)
				}
			}
		}
	}
	if ran["gemm"] < 200 || ran["direct"] < 200 || ran["reference"] < 600 {
		t.Errorf("too few of an algorithm: %v", ran)
	}
}

// TestColumnTiles has more output positions, and a deeper reduction, than the matrix product takes at a time.
func TestColumnTiles(t *testing.T) {
	d := open(t)
	r := rand.New(rand.NewPCG(15, 16))
	for _, text := range []string{
		"mb1ic64oc2ih40kh5ph2",           // 1600 rows: tiles of 655 columns, which end inside an output row
		"g2mb2ic1024oc2ih9iw11kh5kw5pw2", // at least 64 columns a tile
		"mb2ic3oc4ih9kh1",                // the source is the matrix
		"mb1ic3oc4ih9kh1sh2",             // 1×1, but strided
		"mb0ic3oc4ih9kh3",
	} {
		p := parse(t, text)
		in := operandsOf(r, &p)
		truth := reference(t, p, in)
		for e, got := range run(t, d, p, "gemm", in) {
			if want := float32(truth.Value[e]); !same(got, want) {
				t.Fatalf("%s element %d: %v, not %v", text, e, got, want)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	d := open(t)
	d.info.MemoryBytes = 64 << 30
	half := parse(t, "mb1ic1oc1iw4kw3")
	half.Type = problem.F16
	backward := parse(t, "mb1ic1oc1iw4kw3")
	backward.Dir = problem.BackwardData
	huge := parse(t, "mb1ic1oc1ih1048576kh3ph1") // 2^40 elements
	for _, c := range []struct {
		p         problem.Problem
		algorithm string
		want      string
	}{
		{huge, "", "GiB, the machine has 64"},
		{huge, "reference", "GiB, the machine has 64"},
		{parse(t, "pool:max:mb1ic1ih1048576kh3ph1"), "", "GiB, the machine has 64"},
		{half, "", "f16"},
		{backward, "", "BWD_D"},
		{parse(t, "mb1ic1oc1iw4kw3"), "winograd", "[gemm reference] can"},
		{parse(t, "pool:max:mb1ic1iw4kw3"), "gemm", "[direct reference] can"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		pl, err := d.Plan(t.Context(), c.p, driver.PlanOptions{Algorithm: c.algorithm})
		runtime.ReadMemStats(&after)
		if pl != nil || !errors.Is(err, driver.ErrUnsupported) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %q: %v, not %q", c.p.String(), c.algorithm, err, c.want)
		}
		if grew := after.TotalAlloc - before.TotalAlloc; grew > 1<<20 {
			t.Errorf("%s: %d bytes were allocated before the refusal", c.p.String(), grew)
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
		pl, err := d.Plan(ctx, parse(t, text), driver.PlanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return pl
	}
	conv, other, pool := plan("mb1ic1oc1iw4kw3"), plan("mb1ic9oc9iw4kw3"), plan("pool:max:mb1ic1iw4kw3")
	b := alloc(4)
	w, _, err := conv.Pack(ctx, s, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	freed, err := d.Alloc(16)
	if err != nil {
		t.Fatal(err)
	}
	freed.Free()
	freed.Free() // the second is nothing
	runErr := func(pl driver.Plan, s driver.Stream, a driver.Args) error { _, err := pl.Run(ctx, s, a); return err }
	packErr := func(pl driver.Plan, wei driver.Buffer) error { _, _, err := pl.Pack(ctx, s, wei, nil); return err }
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"small source", runErr(pool, s, driver.Args{Src: alloc(3), Dst: b}), driver.ErrInvalid},
		{"small destination", runErr(pool, s, driver.Args{Src: b, Dst: alloc(1)}), driver.ErrInvalid},
		{"no source", runErr(pool, s, driver.Args{Dst: b}), driver.ErrInvalid},
		{"no stream", runErr(pool, nil, driver.Args{Src: b, Dst: b}), driver.ErrInvalid},
		{"freed source", runErr(pool, s, driver.Args{Src: freed, Dst: b}), driver.ErrClosed},
		{"no weights", runErr(conv, s, driver.Args{Src: b, Dst: b}), driver.ErrInvalid},
		{"another plan's weights", runErr(other, s, driver.Args{Src: alloc(36), Dst: alloc(18), Weights: w}), driver.ErrInvalid},
		{"pooling has no weights", packErr(pool, b), driver.ErrInvalid},
		{"small weights", packErr(other, b), driver.ErrInvalid},
		{"freed weights buffer", packErr(conv, freed), driver.ErrClosed},
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
	if err := runErr(conv, s, driver.Args{Src: b, Dst: b, Weights: w}); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("freed weights: %v", err)
	}

	shut := &Device{info: d.info}
	if err := shut.Close(); err != nil {
		t.Fatal(err)
	}
	_, allocErr := shut.Alloc(4)
	_, streamErr := shut.NewStream()
	_, planErr := shut.Plan(ctx, parse(t, "mb1ic1oc1iw4kw3"), driver.PlanOptions{})
	for _, err := range []error{allocErr, streamErr, planErr} {
		if !errors.Is(err, driver.ErrClosed) {
			t.Errorf("closed device: %v", err)
		}
	}
}
