//go:build cgo && !noopencl && !novulkan

package gpu_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/gpu"
	"github.com/gonvolve/gonvolve/gpu/hal"
	"github.com/gonvolve/gonvolve/gpu/opencl"
	"github.com/gonvolve/gonvolve/gpu/vulkan"
)

// forEach runs a test on the first device of each API.
func forEach(t *testing.T, f func(t *testing.T, dev driver.Device)) {
	for _, api := range []hal.API{vulkan.API(), opencl.API()} {
		t.Run(api.Name(), func(t *testing.T) {
			dev, err := gpu.NewDriver(api).Open(t.Context(), 0, driver.Options{NoCache: true})
			if errors.Is(err, driver.ErrNoDevices) && os.Getenv("GONVOLVE_REQUIRE_DRIVERS") == "" {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			f(t, dev)
			if err := dev.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// elementType is a type of the kernel reformat.
type elementType struct {
	name string
	size int
	get  func(b []byte) float64
	put  func(b []byte, v float64)
}

// elementTypes by the kernel's numbers.
var elementTypes = []elementType{
	{"f32", 4, func(b []byte) float64 { return float64(math.Float32frombits(binary.LittleEndian.Uint32(b))) },
		func(b []byte, v float64) { binary.LittleEndian.PutUint32(b, math.Float32bits(float32(v))) }},
	{"f16", 2, func(b []byte) float64 { return halfValue(binary.LittleEndian.Uint16(b)) },
		func(b []byte, v float64) { binary.LittleEndian.PutUint16(b, nearestHalf(v)) }},
	{"s8", 1, func(b []byte) float64 { return float64(int8(b[0])) },
		func(b []byte, v float64) { b[0] = byte(int8(max(-128, min(v, 127)))) }},
	{"u8", 1, func(b []byte) float64 { return float64(b[0]) },
		func(b []byte, v float64) { b[0] = byte(max(0, min(v, 255))) }},
	{"s32", 4, func(b []byte) float64 { return float64(int32(binary.LittleEndian.Uint32(b))) },
		func(b []byte, v float64) { binary.LittleEndian.PutUint32(b, uint32(int32(v))) }},
}

// halfValue is a half precision number by its definition.
func halfValue(h uint16) float64 {
	sign, e, m := 1-2*float64(h>>15), int(h>>10&31), float64(h&1023)
	switch e {
	case 0:
		return sign * math.Ldexp(m, -24)
	case 31:
		if m != 0 {
			return math.NaN()
		}
		return sign * math.Inf(1)
	}
	return sign * math.Ldexp(1024+m, e-25)
}

// nearestHalf finds the half precision number next to v, the even one of two.
func nearestHalf(v float64) uint16 {
	if v != v {
		return 0x7e00
	}
	sign := uint16(0)
	if math.Signbit(v) {
		sign = 0x8000
	}
	// The positive ones are in the order of their bits; 65536 stands for infinity.
	value := func(h int) float64 {
		if h == 0x7c00 {
			return 65536
		}
		return halfValue(uint16(h))
	}
	if math.Abs(v) >= 65536 {
		return sign | 0x7c00
	}
	lo, hi := 0, 0x7c00
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; value(mid) <= math.Abs(v) {
			lo = mid
		} else {
			hi = mid
		}
	}
	below, over := math.Abs(v)-value(lo), value(hi)-math.Abs(v)
	if over < below || over == below && hi%2 == 0 {
		lo = hi
	}
	return sign | uint16(lo)
}

// value is an element to convert from one type to another: any that the kernel promises to convert.
func value(rnd *rand.Rand, from, to string) float64 {
	if from == "s8" || from == "u8" {
		return float64(rnd.IntN(256)) // put limits those of s8
	}
	switch integral := float64(rnd.IntN(801) - 400); {
	case to == "s8" || to == "u8" || from == "f16" && to == "s32":
		return integral
	case to == "s32" || from == "s32":
		return integral * float64(1+rnd.IntN(40000))
	}
	v := math.Ldexp(float64(rnd.IntN(1<<14)-1<<13), rnd.IntN(36)-32)
	switch rnd.IntN(12) {
	case 0:
		return math.Inf(1 - 2*rnd.IntN(2))
	case 1:
		return math.NaN()
	case 2:
		return math.Copysign(0, -1)
	case 3:
		return v * (1 + 0x1p-20)
	}
	return v
}

// Each pair of types in each order: what the kernel writes is element by element what the definition says, and no byte
// after the last element's word is touched.
func TestReformat(t *testing.T) {
	forEach(t, func(t *testing.T, dev driver.Device) {
		rnd := rand.New(rand.NewPCG(11, 12))
		var orders [3]int
		for f, from := range elementTypes {
			for o, to := range elementTypes {
				for _, shape := range [][3]int{{1, 1, 1}, {1, 1, 96}, {3, 1, 67}, {2, 5, 7}, {1, 7, 33}, {3, 64, 9}, {2, 13, 24}, {1, 40, 36}} {
					n, rows, columns := shape[0], shape[1], shape[2]
					total := n * rows * columns
					words := func(size int) int { return (total*size + 3) / 4 }
					src, dst := make([]byte, 4*words(from.size)), make([]byte, 4*words(to.size)+4)
					for i := range total {
						from.put(src[i*from.size:], value(rnd, from.name, to.name))
					}
					for i := range dst {
						dst[i] = 0xa5
					}
					items, order := gpu.Tiles(n, rows, columns, 4/from.size, 4/to.size)
					tunables := []int32{int32(f), int32(o), int32(order)}
					orders[order]++
					params := []int32{int32(total), int32(rows), int32(columns)}
					err := gpu.RunKernel(t.Context(), dev, "reformat", tunables, items, params, src, dst)
					if err != nil {
						t.Fatal(err)
					}
					want := make([]byte, 4*words(to.size))
					for i := range total {
						at := i/(rows*columns)*rows*columns + i%columns*rows + i/columns%rows
						to.put(want[i*to.size:], from.get(src[at*from.size:]))
					}
					for i := range total {
						got, want := dst[i*to.size:][:to.size], want[i*to.size:][:to.size]
						if g, w := to.get(got), to.get(want); string(got) != string(want) && (g == g || w == w) {
							t.Fatalf("%s to %s, %v: element %d is %v, want %v", from.name, to.name, shape, i, g, w)
						}
					}
					if rest := dst[len(want):]; string(rest) != "\xa5\xa5\xa5\xa5" {
						t.Fatalf("%s to %s, %v: %x is written past the end", from.name, to.name, shape, rest)
					}
				}
			}
		}
		if min(orders[0], orders[1], orders[2]) < 25 {
			t.Errorf("%v conversions in each order", orders)
		}
	})
}

// Indices that point out of the tensor move nothing, of several that point to one element the last wins, whatever
// counts: within a plane, over all, or with the first axis fastest.
func TestUnpool(t *testing.T) {
	const planes, cells, d, h, w = 3, 50, 2, 5, 7
	const size = d * h * w
	forEach(t, func(t *testing.T, dev driver.Device) {
		rnd := rand.New(rand.NewPCG(13, 14))
		for order := int32(1); order <= 3; order++ {
			ind, src, diff := make([]int32, planes*cells), make([]float32, planes*cells), make([]float32, planes*size)
			forward, backward := make([]float32, planes*size), make([]float32, planes*cells)
			for i := range diff {
				diff[i] = rnd.Float32()
			}
			for i := range ind {
				src[i] = rnd.Float32()
				ind[i] = int32(rnd.IntN(planes*size+20) - 10)
				if order == 1 {
					ind[i] = int32(rnd.IntN(size+20) - 10)
				}
				v, limit := int(ind[i]), planes*size
				if order == 1 {
					limit = size
				}
				if v < 0 || v >= limit {
					continue
				}
				switch order {
				case 1:
					v += i / cells * size
				case 3:
					z, y, x := v%d, v/d%h, v/d/h%w
					v = v/size*size + (z*h+y)*w + x
				}
				forward[v], backward[i] = src[i], diff[v]
			}
			run := func(mode int32, items int, buffers ...[]byte) {
				t.Helper()
				params := []int32{planes, cells, d, h, w}
				err := gpu.RunKernel(t.Context(), dev, "unpool", []int32{mode, order}, items, params, buffers...)
				if err != nil {
					t.Fatal(err)
				}
			}
			indices, owner, to := words(ind), bytes.Repeat([]byte{0xff}, 4*planes*size), make([]byte, 4*planes*size)
			run(0, planes*cells, indices, words(src), owner, to)
			run(1, planes*size, indices, words(src), owner, to)
			if string(to) != string(words(forward)) {
				t.Errorf("order %d: forward is wrong", order)
			}
			to = make([]byte, 4*planes*cells)
			run(2, planes*cells, indices, words(diff), make([]byte, 4), to)
			if string(to) != string(words(backward)) {
				t.Errorf("order %d: backward is wrong", order)
			}
		}
	})
}

// Maxima and averages by rows have the bits of the general kernel, whatever the numbers.
func TestRowsBits(t *testing.T) {
	rnd := rand.New(rand.NewPCG(17, 18))
	values := make([]float32, 2*3*20*37)
	for i := range values {
		switch v := float32(rnd.NormFloat64()); rnd.IntN(20) {
		case 0:
			values[i] = float32(math.NaN())
		case 1:
			values[i] = float32(math.Inf(1 - 2*rnd.IntN(2)))
		case 2, 3, 4:
			values[i] = float32(math.Copysign(0, float64(v)))
		case 5:
			values[i] = v * 0x1p120
		case 6:
			values[i] = v * 0x1p-90
		default:
			values[i] = v
		}
	}
	src, err := engine.FromFloat32(values, 2, 3, 20, 37)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range []string{"vulkan:0", "opencl:0"} {
		d, err := engine.Open(t.Context(), spec)
		if errors.Is(err, driver.ErrNoDevices) && os.Getenv("GONVOLVE_REQUIRE_DRIVERS") == "" {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{
			"pool:max:mb2ic3ih20iw37oh18ow35kh3kw3", "pool:max:mb2ic3ih20iw37oh10ow19kh2kw3sh2sw2ph0pw1",
			"pool:avg_np:mb2ic3ih20iw37oh20ow37kh3kw3ph1pw1", "pool:avg_p:mb2ic3ih20iw37oh11ow19kh3kw3sh2sw2ph2pw1",
			"pool:avg_ip:mb2ic3ih20iw37oh7ow13kh3kw5sh3sw3ph1pw2", "pool:avg_np:div=7:mb2ic3ih20iw37oh20ow37kh1kw7ph0pw3",
		} {
			p, err := problem.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			var dst [2][]float32
			for i, alg := range []string{"direct", "rows"} {
				pl, err := d.Plan(t.Context(), p, driver.PlanOptions{Algorithm: alg})
				if err != nil {
					t.Fatal(err)
				}
				out, err := pl.RunHost(t.Context(), engine.Operands{problem.Src: src})
				if err != nil {
					t.Fatal(err)
				}
				dst[i] = out[problem.Dst].Float32s()
				if err := pl.Close(); err != nil {
					t.Error(err)
				}
			}
			for i, want := range dst[0] {
				if got := dst[1][i]; math.Float32bits(got) != math.Float32bits(want) && (got == got || want == want) {
					t.Fatalf("%s, %s: element %d is %g by rows, %g by the general kernel", spec, text, i, got, want)
				}
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// words are the bytes of numbers.
func words[T int32 | float32](x []T) []byte {
	b, err := binary.Append(nil, binary.LittleEndian, x)
	if err != nil {
		panic(err)
	}
	return b
}
