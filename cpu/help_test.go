package cpu

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/x448/float16"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/fft"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// several is fewer in short tests.
func several(count int) int {
	if testing.Short() {
		return count / 10
	}
	return count
}

// open opens the device and checks that the test frees its memory.
func open(t *testing.T) *Device {
	t.Helper()
	d, err := Driver{}.Open(t.Context(), 0, driver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if used, _ := d.(*Device).MemoryInUse(); used != 0 {
			t.Errorf("%d bytes are still in use", used)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d.(*Device)
}

// truth is the oracle's answer about an output.
func truth(t *testing.T, p problem.Problem, in driver.Operands, out problem.Role) driver.Truth {
	t.Helper()
	return truthOf(t, p, "", in, out, nil)
}

// ways are the algorithms for a problem with all tiles that they have, such as "winograd m=4".
func ways(d *Device, p problem.Problem) (names []string) {
	for _, a := range candidates(d.isa, &p) {
		if a.tiles == nil {
			names = append(names, a.name)
			continue
		}
		for _, tile := range a.tiles(&p) {
			names = append(names, a.name+" "+tile)
		}
	}
	return names
}

func wayOf(name string) (c driver.Candidate) {
	c.Algorithm, c.Tile, _ = strings.Cut(name, " ")
	return c
}

// truthOf is the oracle's word on what an algorithm computes.
func truthOf(t *testing.T, p problem.Problem, name string, in driver.Operands, out problem.Role, at []int64) driver.Truth {
	t.Helper()
	a := driver.Arithmetic{}
	switch by := wayOf(name); by.Algorithm {
	case "winograd":
		a.Winograd = int(simd.WinogradSizes[slices.Index(winogradSizes(&p), by.Tile)])
	case "fft":
		if a.FFT, _ = fftTile(simd.Best(), &p, processors()); by.Tile != "" {
			a.FFT = fft.Sizes[slices.IndexFunc(fft.Sizes, func(t int) bool { return fourierText(t) == by.Tile })]
		}
	}
	got, err := (&Device{}).Reference(t.Context(), p, a, in, out, at)
	if err != nil {
		t.Fatalf("%s: %v", p.String(), err)
	}
	return got
}

// values are the truth about the problem's first output.
func values(t *testing.T, p problem.Problem, in driver.Operands) []float64 {
	t.Helper()
	var v []float64
	for _, e := range truth(t, p, in, p.Outputs()[0]) {
		v = append(v, e.Value)
	}
	return v
}

// same compares bits, with all NaNs alike and zeros too.
func same(a, b float64) bool { return a == b || a != a && b != b }

// integers are small whole numbers: every sum of their products is exact in float32.
func integers(r *rand.Rand, n int64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.IntN(7) - 3)
	}
	return v
}

// operands makes everything that a problem reads of small whole numbers.
func operands(t *testing.T, r *rand.Rand, p *problem.Problem) (in driver.Operands) {
	t.Helper()
	for _, list := range [][]problem.Role{p.Constants(), p.Inputs()} {
		for _, role := range list {
			in[role] = operand(t, r, p, role)
		}
	}
	return in
}

func operand(t *testing.T, r *rand.Rand, p *problem.Problem, role problem.Role) driver.Operand {
	n := problem.Elems(p.Shape(role))
	v := integers(r, n)
	switch {
	case role == problem.Ind && p.Op == problem.Pool:
		forward := *p
		forward.Dir = problem.Forward
		ind := make([]int32, n)
		for i, e := range truth(t, forward, operands(t, r, &forward), problem.Ind) {
			ind[i] = int32(e.Value)
		}
		return driver.Operand{I32: ind}
	case role == problem.Ind:
		elems := int64(p.N*p.IC) * int64(volume(outSize(p)))
		if p.Indices == problem.Plane {
			elems = int64(volume(outSize(p)))
		}
		ind := make([]int32, n)
		for i := range ind {
			ind[i] = int32(r.Int64N(elems+2)) - 1 // out of range at either end, too
		}
		return driver.Operand{I32: ind}
	case role == problem.Quant:
		zs := v[0]
		for o := range p.OC {
			v[o] = zs
			v[2*p.OC+o] = float32(math.Ldexp(1, -r.IntN(4)))
			v[3*p.OC+o] = v[3*p.OC]
		}
	case p.TypeOf(role) == problem.S32:
		ind := make([]int32, n)
		for i := range ind {
			ind[i] = int32(v[i])
		}
		return driver.Operand{I32: ind}
	case p.TypeOf(role) == problem.U8:
		for i := range v {
			v[i] += 3
		}
	}
	return driver.Operand{F32: v}
}

func outSize(p *problem.Problem) [3]int { _, out := spatialSizes(p); return out }

// encode is an operand as the bytes of a type, in whole words.
func encode(o driver.Operand, typ problem.DataType) []byte {
	n := max(len(o.F32), len(o.I32))
	out := make([]uint32, (n*typ.Size()+3)/4)
	b := &buffer{data: out}
	for i := range n {
		switch typ {
		case problem.F32:
			view[float32](b, n)[i] = o.F32[i]
		case problem.F16:
			view[float16.Float16](b, n)[i] = float16.Fromfloat32(o.F32[i])
		case problem.S8:
			view[int8](b, n)[i] = int8(o.F32[i])
		case problem.U8:
			view[uint8](b, n)[i] = uint8(o.F32[i])
		case problem.S32:
			view[int32](b, n)[i] = o.I32[i]
		}
	}
	if len(out) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(out))), 4*len(out))
}

// decode is the elements of a type as float64.
func decode(data []byte, typ problem.DataType, n int) []float64 {
	words := make([]uint32, len(data)/4)
	b := &buffer{data: words}
	copy(view[byte](b, len(data)), data)
	v := make([]float64, n)
	for i := range v {
		switch typ {
		case problem.F32:
			v[i] = float64(view[float32](b, n)[i])
		case problem.F16:
			v[i] = float64(view[float16.Float16](b, n)[i].Float32())
		case problem.S8:
			v[i] = float64(view[int8](b, n)[i])
		case problem.U8:
			v[i] = float64(view[uint8](b, n)[i])
		case problem.S32:
			v[i] = float64(view[int32](b, n)[i])
		}
	}
	return v
}

// run computes a problem by an algorithm through the driver's interface, into poisoned memory.
func run(t *testing.T, d *Device, p problem.Problem, name string, in driver.Operands) (out [problem.Roles][]float64) {
	t.Helper()
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s, %s: %v", p.String(), name, err)
		}
	}
	s, err := d.NewStream()
	check(err)
	defer s.Close()
	by := wayOf(name)
	pl, err := d.Plan(ctx, p, by.Options())
	check(err)
	defer pl.Close()
	if got := pl.Info(); got.Algorithm != by.Algorithm || got.Tunables != by.Tile {
		t.Fatalf("%s: algorithm %s %s instead of %s", p.String(), got.Algorithm, got.Tunables, name)
	}
	if got := pl.Info().Arithmetic; (got != driver.Arithmetic{}) != (by.Algorithm == "winograd" || by.Algorithm == "fft") {
		t.Fatalf("%s, %s: arithmetic %s", p.String(), name, got)
	}
	upload := func(r problem.Role) driver.Buffer {
		data := encode(in[r], p.TypeOf(r))
		b, err := d.Alloc(int64(len(data)))
		check(err)
		check(s.Write(ctx, b, 0, data))
		return b
	}
	var args driver.Args
	if len(p.Constants()) > 0 {
		var constants driver.Buffers
		for _, r := range p.Constants() {
			constants[r] = upload(r)
		}
		var e driver.Event
		args.Weights, e, err = pl.Pack(ctx, s, constants)
		check(err)
		check(e.Wait(ctx))
		defer args.Weights.Free()
		if got, want := args.Weights.Bytes(), pl.Info().WeightsBytes; got != want {
			t.Errorf("%s: packed weights take %d bytes, the plan said %d", p.String(), got, want)
		}
		for _, r := range p.Constants() { // the weights are copies
			check(s.Fill(ctx, constants[r], 0x7fc0dead))
			constants[r].Free()
		}
	}
	for _, r := range p.Inputs() {
		args.Buffers[r] = upload(r)
		defer args.Buffers[r].Free()
	}
	for _, r := range p.Outputs() {
		args.Buffers[r], err = d.Alloc((p.BytesOf(r) + 3) / 4 * 4)
		check(err)
		defer args.Buffers[r].Free()
		check(s.Fill(ctx, args.Buffers[r], 0x7fc0dead))
	}
	e, err := pl.Run(ctx, s, args)
	check(err)
	check(e.Wait(ctx))
	if took, ok := e.DeviceTime(); !ok || took < 0 {
		t.Errorf("device time %v, %v", took, ok)
	}
	for _, r := range p.Outputs() {
		data := make([]byte, args.Buffers[r].Bytes())
		check(s.Read(ctx, data, args.Buffers[r], 0))
		out[r] = decode(data, p.TypeOf(r), int(problem.Elems(p.Shape(r))))
	}
	for _, r := range p.Inputs() { // runs leave their inputs alone
		data := make([]byte, args.Buffers[r].Bytes())
		check(s.Read(ctx, data, args.Buffers[r], 0))
		if want := encode(in[r], p.TypeOf(r)); string(data) != string(want) {
			t.Errorf("%s, %s: %s was overwritten", p.String(), name, r)
		}
	}
	return out
}

// rounded is v in a type.
func rounded(v float64, typ problem.DataType) float64 {
	switch typ {
	case problem.F16:
		return float64(float16.Fromfloat32(float32(v)).Float32())
	case problem.F32:
		return float64(float32(v))
	}
	return v
}

// judge compares a result with the truth: bit for bit where float32 is exact, else by the bound.
func judge(t *testing.T, p *problem.Problem, name string, r problem.Role, want driver.Truth, got []float64) {
	t.Helper()
	for i, e := range want {
		v := rounded(e.Value, p.TypeOf(r))
		if same(got[i], v) || !e.Exact && e.Bound > 0 && math.Abs(got[i]-e.Value) <= e.Bound {
			continue
		}
		t.Fatalf("%s, %s, %s element %d of %d: %v, not %v (bound %v, exact %v)", p.String(), name, r, i, len(got), got[i], v, e.Bound, e.Exact)
	}
}
