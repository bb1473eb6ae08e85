package tiling_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/devicetest"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/faulty"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

// end is a source and sink that calls before with the number of each box.
type end struct {
	tiling.Memory
	n      int
	before func(n int) error
}

func (e *end) ReadBox(ctx context.Context, b tiling.Box, to *engine.Tensor, at []int) error {
	e.n++
	if err := e.before(e.n); err != nil {
		return err
	}
	return e.Memory.ReadBox(ctx, b, to, at)
}

func (e *end) WriteBox(ctx context.Context, b tiling.Box, from *engine.Tensor, at []int) error {
	e.n++
	if err := e.before(e.n); err != nil {
		return err
	}
	return e.Memory.WriteBox(ctx, b, from, at)
}

// stream runs a pooling in ten tiles or more between a source and a sink of its own.
func stream(t *testing.T, dev *engine.Device, stage func(tiling.Stage, int, time.Time, time.Time), read, write func(n int) error) (tiles int, err error) {
	t.Helper()
	p, err := problem.Parse("pool:max:mb1ic20ih32kh2sh2")
	if err != nil {
		t.Fatal(err)
	}
	in := inputs(t, dev, &p)
	j, err := tiling.Prepare(t.Context(), dev, p, tiling.Options{MemLimit: 40 << 10, Stage: stage})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		if err := dev.Trim(); err != nil {
			t.Error(err)
		}
		if used, _ := dev.Driver().(driver.MemoryReporter).MemoryInUse(); used != 0 {
			t.Errorf("%d bytes are still in use", used)
		}
	}()
	out, err := engine.NewTensor(problem.F32, p.Shape(problem.Dst)...)
	if err != nil {
		t.Fatal(err)
	}
	var from [problem.Roles]tiling.Source
	var to [problem.Roles]tiling.Sink
	from[problem.Src] = &end{tiling.Memory{Tensor: in[problem.Src]}, 0, read}
	to[problem.Dst] = &end{tiling.Memory{Tensor: out}, 0, write}
	if j.Tiles.Len() < 10 {
		t.Fatalf("%v", j.Tiles)
	}
	if err = j.Run(t.Context(), from, to); err == nil {
		want, err := dev.Compute(t.Context(), p, in)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(out.Bytes(), want[problem.Dst].Bytes()) {
			t.Error("the result differs from the whole's")
		}
	}
	return j.Tiles.Len(), err
}

// counted is a source that counts the elements that are read.
type counted struct {
	tiling.Memory
	elements int64
}

func (c *counted) ReadBox(ctx context.Context, b tiling.Box, to *engine.Tensor, at []int) error {
	c.elements += problem.Elems(b.Size)
	return c.Memory.ReadBox(ctx, b, to, at)
}

// What a tile has in common with the one before it is read once, and no element that it does not have.
func TestHalosAreReadOnce(t *testing.T) {
	dev := open(t, "cpu")
	for _, text := range []string{"conv:mb1ic3ih200iw2048oc2kh3kw3ph1pw1", "pool:max:mb1ic2ih249iw2048kh3kw3sh2sw2",
		"conv:pad=reflect:mb1ic3ih200iw2048oc2kh3kw3ph1pw1"} {
		p, err := problem.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		in := inputs(t, dev, &p)
		want, err := dev.Compute(t.Context(), p, in)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := tiling.Cut(p, tiling.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		steps := whole.Steps()
		steps[slices.Index(steps, p.Axes[1].Out)] = 30 // the height's
		j, err := tiling.Prepare(t.Context(), dev, p, tiling.Options{Steps: steps, Exact: true})
		if err != nil {
			t.Fatal(err)
		}
		if dims := j.Tiles.Dims(); !slices.Equal(dims, []string{"height"}) {
			t.Fatalf("%s: %v", text, j.Tiles)
		}
		out, err := engine.NewTensor(problem.F32, p.Shape(problem.Dst)...)
		if err != nil {
			t.Fatal(err)
		}
		source := &counted{Memory: tiling.Memory{Tensor: in[problem.Src]}}
		var from [problem.Roles]tiling.Source
		var to [problem.Roles]tiling.Sink
		from[problem.Src], from[problem.Wei] = source, tiling.Memory{Tensor: in[problem.Wei]}
		to[problem.Dst] = tiling.Memory{Tensor: out}
		if err := j.Run(t.Context(), from, to); err != nil {
			t.Fatal(err)
		}
		all := problem.Elems(p.Shape(problem.Src))
		if p.PadMode == problem.Reflect {
			all = all / 200 * 202 / 2048 * 2050 // with what lies beyond the edges
		}
		if source.elements != all {
			t.Errorf("%s: %d elements are read of %d", text, source.elements, all)
		}
		if i := differing(out, want[problem.Dst]); i >= 0 {
			t.Errorf("%s: differs at element %d", text, i)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The first tile is not written before the fifth is read: so two are computed meanwhile, and two wait for it.
func TestTilesOverlap(t *testing.T) {
	fifth := make(chan struct{})
	_, err := stream(t, open(t, "cpu"), nil, func(n int) error {
		if n == 5 {
			close(fifth)
		}
		return nil
	}, func(n int) error {
		select {
		case <-fifth:
			return nil
		case <-time.After(20 * time.Second):
			return errors.New("nobody reads the fifth tile while the first is written")
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// A tile that is alone begins when all before it are written, and ends before any after it begins.
func TestTilesAlone(t *testing.T) {
	dev := open(t, "cpu")
	p, err := problem.Parse("pool:max:mb1ic20ih32kh2sh2")
	if err != nil {
		t.Fatal(err)
	}
	alone := map[int]bool{0: true, 3: true, 4: true, 9: true}
	type stay struct{ from, to time.Time }
	var mu sync.Mutex
	stays := map[int]stay{}
	in := inputs(t, dev, &p)
	out, err := tiling.Compute(t.Context(), dev, p, in, tiling.Options{
		MemLimit: 40 << 10,
		Alone:    func(tile int) bool { return alone[tile] },
		Stage: func(s tiling.Stage, tile int, from, to time.Time) {
			mu.Lock()
			defer mu.Unlock()
			b := stays[tile]
			if b.to = to; s == tiling.Reading {
				b.from = from
			}
			stays[tile] = b
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want, err := dev.Compute(t.Context(), p, in)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out[problem.Dst].Bytes(), want[problem.Dst].Bytes()) {
		t.Error("the result is another")
	}
	if len(stays) < 10 {
		t.Fatalf("%d tiles", len(stays))
	}
	for i := 1; i < len(stays); i++ {
		if (alone[i] || alone[i-1]) && stays[i].from.Before(stays[i-1].to) {
			t.Errorf("tile %d began before tile %d was written", i, i-1)
		}
	}
}

// Tiles in step: each is read when the one before can be written, and computed when that one is written; all others are before or
// after them.
func TestTilesInStep(t *testing.T) {
	for _, copies := range []bool{false, true} {
		dev := open(t, "cpu")
		if copies {
			dev = fails(t, faulty.New(faulty.Options{}), staged)
		}
		p, err := problem.Parse("pool:max:mb1ic20ih32kh2sh2")
		if err != nil {
			t.Fatal(err)
		}
		inStep := map[int]bool{2: true, 3: true, 4: true, 7: true, 9: true}
		type stay struct{ from, to time.Time }
		var mu sync.Mutex
		stays := map[tiling.Stage]map[int]stay{}
		for _, s := range tiling.Stages() {
			stays[s] = map[int]stay{}
		}
		_, err = tiling.Compute(t.Context(), dev, p, inputs(t, open(t, "cpu"), &p), tiling.Options{
			MemLimit: 40 << 10,
			InStep:   func(tile int) bool { return inStep[tile] },
			Stage: func(s tiling.Stage, tile int, from, to time.Time) {
				mu.Lock()
				defer mu.Unlock()
				stays[s][tile] = stay{from, to}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		read, written := stays[tiling.Reading], stays[tiling.Writing]
		if len(written) < 10 {
			t.Fatalf("%d tiles", len(written))
		}
		for i := 1; i < len(written); i++ {
			switch {
			case inStep[i] && inStep[i-1]:
				for _, s := range tiling.Stages() {
					if b, ok := stays[s][i-1]; ok && s != tiling.Writing && read[i].from.Before(b.to) {
						t.Errorf("copies %v: tile %d was read before tile %d could be written", copies, i, i-1)
					}
					if b, ok := stays[s][i]; ok && s != tiling.Reading && b.from.Before(written[i-1].to) {
						t.Errorf("copies %v: tile %d went on before tile %d was written", copies, i, i-1)
					}
				}
			case inStep[i] || inStep[i-1]:
				if read[i].from.Before(written[i-1].to) {
					t.Errorf("copies %v: tile %d began before tile %d was written", copies, i, i-1)
				}
			}
		}
	}
}

func TestErrorsOfSourcesAndSinksEndARun(t *testing.T) {
	dev := open(t, "cpu")
	broken := errors.New("broken")
	fine := func(int) error { return nil }
	fails := func(n int) error {
		if n == 4 {
			return broken
		}
		return nil
	}
	devicetest.NothingLeft(t, nil)
	for range 20 {
		if _, err := stream(t, dev, nil, fails, fine); !errors.Is(err, broken) {
			t.Errorf("a source that fails: %v", err)
		}
		if _, err := stream(t, dev, nil, fine, fails); !errors.Is(err, broken) {
			t.Errorf("a sink that fails: %v", err)
		}
	}
}

// Each tile is written while the next but one is read: they meet, so events of different lanes overlap.
func TestTrace(t *testing.T) {
	dev := open(t, "cpu")
	fine := func(int) error { return nil }
	tiles, err := stream(t, dev, nil, fine, fine)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	trace := tiling.NewTrace(&text)
	met := make(chan struct{})
	_, err = stream(t, dev, trace.Stage, func(n int) error {
		if n > 2 {
			select {
			case met <- struct{}{}:
			case <-time.After(20 * time.Second):
				return errors.New("nobody writes a tile while the next but one is read")
			}
		}
		return nil
	}, func(n int) error {
		if n <= tiles-2 {
			<-met
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := trace.Close(); err != nil {
		t.Fatal(err)
	}
	var events []struct {
		Name, Ph string
		TS, Dur  float64
		TID      int
		Args     struct {
			Name  string
			Stage tiling.Stage
			Tile  int
		}
	}
	if err := json.Unmarshal(text.Bytes(), &events); err != nil {
		t.Fatal(err)
	}
	lanes, count := map[int]tiling.Stage{}, map[tiling.Stage]int{}
	for _, e := range events {
		switch {
		case e.Name == "thread_name":
			lanes[e.TID] = tiling.Stage(e.Args.Name)
		case e.Ph == "X":
			if count[e.Args.Stage]++; lanes[e.TID] != e.Args.Stage || e.Name != fmt.Sprintf("tile %d", e.Args.Tile) {
				t.Errorf("%+v is in the lane %q", e, lanes[e.TID])
			}
		}
	}
	overlaps := 0
	for _, a := range events {
		for _, b := range events {
			if a.Ph == "X" && b.Ph == "X" && a.TID < b.TID && a.Args.Tile != b.Args.Tile && a.TS < b.TS+b.Dur && b.TS < a.TS+a.Dur {
				overlaps++
			}
		}
	}
	for _, s := range tiling.Stages() {
		copies := s == tiling.Uploading || s == tiling.Downloading // which the cpu does without
		if count[s] != tiles && !copies || count[s] != 0 && copies {
			t.Errorf("%d events of stage %s, %d tiles", count[s], s, tiles)
		}
	}
	if overlaps < tiles-2 {
		t.Errorf("%d overlapping events of %d tiles", overlaps, tiles)
	}
}

// What a run leaves out because an earlier one made it comes out the same, wherever that one ended.
func TestResults(t *testing.T) {
	dev := open(t, "cpu")
	for i := range uint64(60) {
		r := rand.New(rand.NewPCG(*seed, i))
		p := problem.Random(r, 10)
		tiles := tiling.Shred(r, p)
		again, err := tiling.CutBy(p, tiles.Steps())
		if err != nil || again.String() != tiles.String() || again.Results() != tiles.Results() {
			t.Fatalf("%s: %v cut again is %v: %v", p.String(), tiles, again, err)
		}
		in := inputs(t, dev, &p)
		want, err := dev.Compute(t.Context(), p, in)
		if err != nil {
			t.Fatal(err)
		}
		done := r.IntN(tiles.Results() + 1)
		var from [problem.Roles]tiling.Source
		var to [problem.Roles]tiling.Sink
		for role, x := range in {
			if x != nil {
				from[role] = tiling.Memory{Tensor: x}
			}
		}
		var out engine.Operands
		for _, role := range p.Outputs() {
			if out[role], err = engine.NewTensor(p.TypeOf(role), p.Shape(role)...); err != nil {
				t.Fatal(err)
			}
			to[role] = tiling.Memory{Tensor: out[role]}
		}
		var written []int
		for _, skip := range []func(int) bool{func(i int) bool { return i >= done }, func(i int) bool { return i < done }} {
			last := 0
			j, err := tiling.Prepare(t.Context(), dev, p, tiling.Options{Steps: tiles.Steps(), Skip: skip,
				Written: func(i int) { written = append(written, i) }, Progress: func(done, _ int, _ int64) { last = done }})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(j.Run(t.Context(), from, to), j.Close()); err != nil {
				t.Fatalf("%s, %v: %v", p.String(), tiles, err)
			}
			if ran := skip(0) != skip(tiles.Results()-1) || !skip(0); ran && last != tiles.Len() {
				t.Errorf("%s, %v: %d tiles were done in the end", p.String(), tiles, last)
			}
		}
		slices.Sort(written)
		if len(slices.Compact(written)) != tiles.Results() {
			t.Errorf("%s, %v: results %v were written of %d", p.String(), tiles, written, tiles.Results())
		}
		for _, role := range p.Outputs() {
			if i := differing(out[role], want[role]); i >= 0 {
				t.Errorf("%s, %v, the first %d before: %v differs at element %d", p.String(), tiles, done, role, i)
			}
		}
	}
	p, err := problem.Parse("conv:mb2ic4ih8oc4kh3ph1")
	if err != nil {
		t.Fatal(err)
	}
	good, err := tiling.Cut(p, tiling.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range good.Steps() {
		for _, wrong := range []int{-1, 0, 1 << 40} {
			steps := good.Steps()
			steps[i] = wrong
			if _, err := tiling.CutBy(p, steps); !errors.Is(err, driver.ErrInvalid) {
				t.Errorf("steps %v: %v", steps, err)
			}
		}
	}
	if _, err := tiling.CutBy(p, []int{1}); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("too few steps: %v", err)
	}
}

// Under a limit that transforms' memory takes the most of, tiles are as large as plain sums make them; where there is room they
// are transformed.
func TestTransformsMakeRoom(t *testing.T) {
	dev := open(t, "cpu")
	p, err := problem.Parse("mb1ic64ih56oc64oh56kh3ph1")
	if err != nil {
		t.Fatal(err)
	}
	prepare := func(o tiling.Options) *tiling.Job {
		j, err := tiling.Prepare(t.Context(), dev, p, o)
		if err != nil {
			t.Fatalf("%+v: %v", o, err)
		}
		t.Cleanup(func() {
			if err := j.Close(); err != nil {
				t.Error(err)
			}
		})
		return j
	}
	if j := prepare(tiling.Options{}); j.Info().Arithmetic.Winograd == 0 {
		t.Skip("the processor transforms nothing here: ", j.Info().Algorithm)
	}
	for _, limit := range []int64{300 << 10, 500 << 10, 700 << 10, 1 << 20} {
		small, exact := prepare(tiling.Options{MemLimit: limit}), prepare(tiling.Options{MemLimit: limit, Exact: true})
		if 4*small.Tiles.Len() >= 5*exact.Tiles.Len() {
			t.Errorf("in %d bytes %v, by plain sums %v", limit, small.Tiles, exact.Tiles)
		}
		prepare(tiling.Options{MemLimit: limit, Steps: small.Tiles.Steps()}) // as one that goes on
	}
	if large := prepare(tiling.Options{MemLimit: 16 << 20}); large.Info().Arithmetic.Winograd == 0 {
		t.Errorf("%v by %s, though there is room", large.Tiles, large.Info().Algorithm)
	}
}
