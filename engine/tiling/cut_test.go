package tiling_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

func TestHalos(t *testing.T) {
	type axis = problem.Axis
	ax := func(in, out, kernel, stride, padL, padR, dilation int) axis {
		return axis{In: in, Out: out, Kernel: kernel, Stride: stride, PadL: padL, PadR: padR, Dilation: dilation}
	}
	for _, c := range []struct {
		name    string
		op      problem.Op
		whole   axis
		windows bool // cut along windows, else along the image
		from    int
		to      int
		want    axis
		in, out int
	}{
		{"first rows keep the padding", problem.Conv, ax(10, 10, 3, 1, 1, 1, 1), true, 0, 4, ax(5, 4, 3, 1, 1, 0, 1), 0, 0},
		{"inner rows have a halo", problem.Conv, ax(10, 10, 3, 1, 1, 1, 1), true, 4, 7, ax(5, 3, 3, 1, 0, 0, 1), 3, 4},
		{"last rows", problem.Conv, ax(10, 10, 3, 1, 1, 1, 1), true, 7, 10, ax(4, 3, 3, 1, 0, 1, 1), 6, 7},
		{"stride and dilation", problem.Conv, ax(20, 9, 3, 2, 2, 1, 2), true, 3, 5, ax(7, 2, 3, 2, 0, 0, 2), 4, 3},
		{"cropped in front", problem.Conv, ax(10, 6, 3, 1, -2, 0, 1), true, 0, 2, ax(4, 2, 3, 1, 0, 0, 1), 2, 0},
		{"all in the left padding", problem.Conv, ax(4, 12, 3, 1, 5, 5, 1), true, 0, 2, ax(1, 2, 3, 1, 5, -2, 1), 0, 0},
		{"all in the right padding", problem.Conv, ax(4, 12, 3, 1, 5, 5, 1), true, 10, 12, ax(1, 2, 3, 1, -2, 5, 1), 3, 10},
		{"ceil rounding overhangs", problem.Pool, ax(6, 3, 3, 2, 0, 0, 1), true, 2, 3, ax(2, 1, 3, 2, 0, 0, 1), 4, 2},
		{"gradient of a source", problem.Conv, ax(10, 10, 3, 1, 1, 1, 1), false, 4, 7, ax(3, 5, 3, 1, 2, 2, 1), 4, 3},
		{"gradient that nothing touches", problem.Conv, ax(9, 3, 1, 4, 0, 0, 1), false, 1, 3, ax(2, 1, 1, 4, -3, 2, 1), 1, 1},
		{"transposed", problem.Deconv, ax(5, 9, 3, 2, 1, 1, 1), false, 4, 6, ax(2, 2, 3, 2, 1, 2, 1), 2, 4},
		{"gradient of a transposed one", problem.Deconv, ax(5, 9, 3, 2, 1, 1, 1), true, 1, 3, ax(2, 5, 3, 2, 0, 0, 1), 1, 1},
	} {
		got, in, out := tiling.Part(c.op, c.whole, c.windows, c.from, c.to)
		if got != c.want || in != c.in || out != c.out {
			t.Errorf("%s: %+v from %d and %d, want %+v from %d and %d", c.name, got, in, out, c.want, c.in, c.out)
		}
	}
}

func TestCutIsAsWritten(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"conv:mb1ic16ih256oc16kh3ph1", "4 tiles: height 4"},
		{"conv:mb6ic16ih128oc16kh3ph1", "6 tiles: batch 6"},
		{"conv:BWD_W:mb8ic16ih128oc16kh3ph1", "8 tiles: batch 8 (sums)"},
		{"pool:max:mb1ic64ih256kh2sh2", "10 tiles: channels 10"},
		{"pool:max:nhwc:mb1ic64ih256kh3sh2", "10 tiles: height 10"},
		{"conv:mb1ic16ih32oc16kh3ph1", "1 tile"},
		{"conv:mb1ic4096ih1oc4096kh1", "22 tiles: output channels 22"},
	} {
		p, err := problem.Parse(c.text)
		if err != nil {
			t.Fatal(err)
		}
		tiles, err := tiling.Cut(p, tiling.Limits{MemoryBytes: 9 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if tiles.String() != c.want {
			t.Errorf("%s: %v, want %s", c.text, tiles, c.want)
		}
	}
}

// Tiles are smaller than they could be where what is read twice and what lies side by side remain about the same.
func TestSmallerTiles(t *testing.T) {
	for _, c := range []struct{ text, large, want string }{
		{"conv:mb1ic16ih4096iw16384oc16kh3kw3ph1pw1", "67 tiles: height 67", "179 tiles: height 179"},
		{"pool:max:mb1ic16ih4096iw16384kh3kw3sh2sw2ph1pw1", "48 tiles: channels 16 × height 3", "112 tiles: channels 16 × height 7"},
		{"conv:mb1ic512ih1024iw1024oc512kh3kw3ph1pw1", "36 tiles: height 36", "36 tiles: height 36"},                        // short stretches
		{"conv:mb1ic16ih4096iw16384oc16kh31kw31ph15pw15", "96 tiles: height 32 × width 3", "96 tiles: height 32 × width 3"}, // wide halos
		{"conv:mb1ic16ih64iw64oc16kh3kw3ph1pw1", "1 tile", "1 tile"},                                                        // which needs no cut
		{"conv:BWD_W:mb64ic16ih512iw512oc16kh3kw3ph1pw1", "22 tiles: batch 22 (sums)", "64 tiles: batch 64 (sums)"},         // as any other
	} {
		p, err := problem.Parse(c.text)
		if err != nil {
			t.Fatal(err)
		}
		tiles, err := tiling.Cut(p, tiling.Limits{MemoryBytes: 512 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if got := tiles.Smaller(48 << 20); tiles.String() != c.large || got.String() != c.want {
			t.Errorf("%s: %v, and smaller %v, want %s, %s", c.text, tiles, got, c.large, c.want)
		}
	}
}

func TestLimitsAreNamed(t *testing.T) {
	p, err := problem.Parse("deform:mb1ic1ih200oc1kh1") // whose offsets lead anywhere in a plane
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		limits tiling.Limits
		want   string
	}{
		{tiling.Limits{TensorBytes: 50000}, "src of a tile takes 160000 bytes, the largest tensor is 50000"},
		{tiling.Limits{MemoryBytes: 50000}, "the smallest tiles take 640060 bytes, the limit is 50000"},
		{tiling.Limits{Elements: 39999}, "src of a tile has 40000 elements, 39999 are possible"},
	} {
		_, err := tiling.Cut(p, c.limits)
		want := fmt.Sprintf("unsupported: %s: %s, and no dimension is left to cut it along", p.String(), c.want)
		if !errors.Is(err, driver.ErrUnsupported) || err.Error() != want {
			t.Errorf("%+v: %v, want %s", c.limits, err, want)
		}
	}
}

// crowded is a cpu that others leave little memory of.
type crowded struct{ driver.Device }

func (crowded) MemoryBudget() int64 { return 1 << 20 }

type crowdedDriver struct{ driver.Driver }

func (d crowdedDriver) Open(ctx context.Context, i int, o driver.Options) (driver.Device, error) {
	dev, err := d.Driver.Open(ctx, i, o)
	return crowded{dev}, err
}

// What a device says that there is of its memory just now is a limit as the user's is, and whichever is less counts.
func TestMemoryBudgetIsKept(t *testing.T) {
	dev, err := engine.Open(t.Context(), "cpu", engine.WithTuning(nil), engine.WithDriver(func(d driver.Driver) driver.Driver { return crowdedDriver{d} }))
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	p, err := problem.Parse("pool:max:mb1ic64ih128kh2sh2")
	if err != nil {
		t.Fatal(err)
	}
	for limit, most := range map[int64]int64{0: 1 << 20, 8 << 20: 1 << 20, 1 << 18: 1 << 18} {
		j, err := tiling.Prepare(t.Context(), dev, p, tiling.Options{MemLimit: limit})
		if err != nil {
			t.Fatal(err)
		}
		if n := j.Tiles.Footprint().Total(); n > most || n < most/2 {
			t.Errorf("with a limit of %d: %v take %d bytes", limit, j.Tiles, n)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Without any limits tiles have what kernels can count in 32 bits, whatever a problem's size: bytes, halves and words.
func TestMoreElementsThanKernelsCount(t *testing.T) {
	for _, text := range []string{
		"pool:max:u8:mb1ic3ih32768kh64sh64",
		"pool:max:BWD_D:f16:mb1ic1ih65536kh2sh2",
		"pool:max:indices=flat:mb1ic1ih32768iw65536kh1kw2sw2",
		"conv:mb1ic4oc4ih32768kh3ph1",
		"conv:BWD_D:mb65536ic64oc64iw1024kw3pw1",
		"conv:BWD_W:f16:mb1ic16oc16id2048kd3pd1",
		"conv:mb1ic131072oc131072iw1kw1",
		"deconv:mb1ic8oc1ih16384oh65537kh5sh4ph0",
		"im2col:mb1ic16ih4096kh7ph3",
		"conv:f16:mb1ic1oc1iw1000000000000kw5sw2pw2",
	} {
		p, err := problem.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		c, err := tiling.Cut(p, tiling.Limits{})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		const most = 1<<31 - 1
		n := c.Len()
		for _, i := range []int{0, 1, n / 2, n - 2, n - 1} {
			if n < 2 {
				t.Fatalf("%s: %v", text, c)
			}
			tile := c.Tile(i)
			q := tile.Problem
			if err := q.Validate(); err != nil {
				t.Fatalf("%s, %v, tile %d: %v", text, c, i, err)
			}
			for _, list := range [][]problem.Role{q.Constants(), q.Inputs(), q.Outputs()} {
				for _, r := range list {
					if e := problem.Elems(q.Shape(r)); e > most {
						t.Errorf("%s, %v, tile %d: %v has %d elements", text, c, i, r, e)
					}
				}
			}
		}
		last := c.Tile(n - 1)
		for k, r := 0, p.Outputs()[0]; k < len(last.Boxes[r].Size); k++ {
			if b := last.Boxes[r]; b.From[k]+b.Size[k] != p.Shape(r)[k] {
				t.Errorf("%s, %v: the last tile ends at %d of %d", text, c, b.From[k]+b.Size[k], p.Shape(r)[k])
			}
		}
	}
}

// checkTiles checks that every tile is a valid problem within the whole, and that the tiles' outputs are the whole's, each
// element as often as there are partial sums.
func checkTiles(t *testing.T, c *tiling.Tiles, l tiling.Limits) {
	t.Helper()
	p := c.Problem()
	written := map[problem.Role][]int{}
	for _, r := range p.Outputs() {
		written[r] = make([]int, problem.Elems(p.Shape(r)))
	}
	parts := 1
	for i := range c.Len() {
		tile := c.Tile(i)
		q, name := tile.Problem, fmt.Sprintf("%s, %v, tile %d", p.String(), c, i)
		if err := q.Validate(); err != nil {
			t.Fatalf("%s: %+v: %v", name, q, err)
		}
		parts = tile.Parts
		for _, list := range [][]problem.Role{q.Constants(), q.Inputs(), q.Outputs()} {
			for _, r := range list {
				b, whole := tile.Boxes[r], p.Shape(r)
				if l.TensorBytes > 0 && q.BytesOf(r) > l.TensorBytes {
					t.Fatalf("%s: %v has %d bytes of %d", name, r, q.BytesOf(r), l.TensorBytes)
				}
				output := slices.Contains(q.Outputs(), r)
				beyond := !output && p.PadMode != problem.Zeros
				for k, n := range q.Shape(r) {
					if output && tile.Keep[k]+b.Size[k] > n {
						t.Fatalf("%s: %v: box %+v from %v on of a tensor %v", name, r, b, tile.Keep, q.Shape(r))
					}
					if !beyond && (b.From[k] < 0 || b.From[k]+b.Size[k] > whole[k]) {
						t.Fatalf("%s: %v: box %+v of %v", name, r, b, whole)
					}
				}
				if kept := q.Dir == problem.BackwardData && (p.Op == problem.Pool || p.PadMode != problem.Zeros); !(output && kept) && !slices.Equal(b.Size, q.Shape(r)) {
					t.Fatalf("%s: %v: box %+v of a tensor %v", name, r, b, q.Shape(r))
				}
			}
		}
		for r, count := range written {
			mark(count, p.Shape(r), tile.Boxes[r])
		}
	}
	for r, count := range written {
		for i, n := range count {
			if n != parts {
				t.Fatalf("%s, %v: element %d of %v is written %d times, want %d", p.String(), c, i, r, n, parts)
			}
		}
	}
}

// mark counts the elements of a box.
func mark(count []int, shape []int, b tiling.Box) {
	for i := range problem.Elems(b.Size) {
		at, rest, step := 0, int(i), 1
		for k := len(shape) - 1; k >= 0; k-- {
			at += (b.From[k] + rest%b.Size[k]) * step
			rest /= b.Size[k]
			step *= shape[k]
		}
		count[at]++
	}
}

func FuzzCut(f *testing.F) {
	for i := range uint64(50) {
		f.Add(i, int64(40+997*i), int64(0))
		f.Add(i, int64(0), int64(20+97*i))
	}
	f.Fuzz(func(t *testing.T, seed uint64, memory, tensor int64) {
		r := rand.New(rand.NewPCG(seed, 3))
		p := problem.Random(r, 12)
		l := tiling.Limits{MemoryBytes: max(memory, 0), TensorBytes: max(tensor, 0)}
		c, err := tiling.Cut(p, l)
		if err == nil {
			checkTiles(t, c, l)
		} else if !errors.Is(err, driver.ErrUnsupported) {
			t.Fatal(err)
		}
		checkTiles(t, tiling.Shred(r, p), tiling.Limits{})
	})
}
