package enginetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/tiling"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// tiled computes random problems under a memory limit that has them cut, and judges them as if they were whole.
func (s *suite) tiled(t *testing.T) {
	o, d := oracle(t), s.device(t)
	r := rand.New(rand.NewPCG(5, 5))
	want := 20
	if testing.Short() {
		want = 5
	}
	for ran := 0; ran < want; {
		p := problem.Random(r, 12)
		if len(d.Algorithms(p)) == 0 {
			continue
		}
		limit := 64 + int64(float64(p.Bytes())*(1+2*r.Float64()))
		if c, err := tiling.Cut(p, tiling.Limits{MemoryBytes: limit}); err != nil || c.Len() == 1 || c.Len() > 50 {
			continue
		}
		fill := verify.Int
		if ran%4 == 0 {
			fill = verify.Uniform
		}
		c, err := verify.NewCase(t.Context(), o, p, fill, verify.DefaultBudget)
		if err != nil {
			t.Fatalf("%s: %v", p.String(), err)
		}
		got, err := tiling.Compute(t.Context(), d, p, c.In, tiling.Options{MemLimit: limit})
		if errors.Is(err, engine.ErrUnsupported) { // with the device's workspace there is no room
			continue
		}
		if err != nil {
			t.Fatalf("%s in %d bytes: %v", p.String(), limit, err)
		}
		var rec report.Record
		if err := c.Judge(t.Context(), &rec, driver.Arithmetic{}, got); err != nil || rec.Status != report.Passed {
			t.Errorf("%s in %d bytes, %s: %s %v", p.String(), limit, fill, rec.Reason, err)
		}
		ran++
	}
}

// cut computes random problems in tiles that are cut at random along all dimensions: results are the whole's.
func (s *suite) cut(t *testing.T) {
	f := verify.Fuzzer{Oracle: oracle(t), Devices: []*engine.Device{s.device(t)}, Seed: 6, Cut: true}
	want := uint64(60)
	if testing.Short() {
		want = 12
	}
	along := 0
	for i := range want {
		f.Check(t.Context(), i, func(r report.Record) bool {
			if r.Status == report.Failed || r.Status == report.Skipped {
				t.Errorf("%s: %s\n\t%s", r.Status, r.Reason, r.Repro)
			}
			if r.Status == report.Passed && strings.Contains(r.Tile, "tiles: ") {
				along++
			}
			return !t.Failed()
		})
	}
	if along < int(want) { // of twice as many records
		t.Errorf("%d results of %d problems were made in tiles", along, want)
	}
}

// tiledMemory measures what a device holds while tiles stream through it.
func (s *suite) tiledMemory(t *testing.T) {
	o, d := oracle(t), s.device(t)
	m, ok := d.Driver().(driver.MemoryReporter)
	if !ok {
		t.Skip("the device does not report its memory")
	}
	const limit = 8 << 20
	p := problemtest.Parse(t, "mb1ic8ih512oc8kh3ph1")
	c, err := verify.NewCase(t.Context(), o, p, verify.Int, 1e6)
	if err != nil {
		t.Fatal(err)
	}
	_, before := m.MemoryInUse()
	var most, mostHeld atomic.Int64
	grow := func(most *atomic.Int64, n int64) {
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
	}
	j, err := tiling.Prepare(t.Context(), d, p, tiling.Options{MemLimit: limit, Stage: func(tiling.Stage, int, time.Time, time.Time) {
		used, held := m.MemoryInUse()
		grow(&most, used)
		grow(&mostHeld, held)
	}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := j.RunHost(t.Context(), c.In)
	if err != nil {
		t.Fatal(err)
	}
	var rec report.Record
	if err := c.Judge(t.Context(), &rec, j.Info().Arithmetic, got); err != nil || rec.Status != report.Passed {
		t.Error(rec.Reason, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	staging := j.Tiles.Footprint().Staging
	if x, err := d.NewTensor(problem.F32, 1); err != nil {
		t.Fatal(err)
	} else {
		if x.Host() != nil {
			staging = 0 // nothing is staged, and what it would take goes to tensors
		}
		x.Free()
	}
	if used := most.Load(); used == 0 || used > limit-staging {
		t.Errorf("%v used %d bytes, the limit is %d with staging memory of %d", j.Tiles, used, limit, staging)
	}
	// What the device keeps for reuse counts as well, but for blocks of which something else was in use before.
	if held := mostHeld.Load(); held > limit-staging && held > before {
		t.Errorf("%v: the device held %d bytes, before %d, the limit is %d with staging memory of %d", j.Tiles, held, before, limit, staging)
	}
	if used, _ := m.MemoryInUse(); used != 0 {
		t.Errorf("%d bytes are still in use", used)
	}
}

// tiledCancelled ends the context in the middle of a run in tiles: it stops within the tile that is on its way, and another run
// of the same job has the result.
func (s *suite) tiledCancelled(t *testing.T) {
	o, d := oracle(t), s.device(t)
	for _, text := range []string{"mb1ic8ih256oc8kh3ph1", "conv:BWD_W:mb16ic8ih64oc8oh64kh3ph1", "pool:max:mb1ic32ih128oh64kh2sh2"} {
		p := problemtest.Parse(t, text)
		c, err := verify.NewCase(t.Context(), o, p, verify.Int, 1e6)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		const until = 3
		var before, after atomic.Int64
		j, err := tiling.Prepare(t.Context(), d, p, tiling.Options{MemLimit: p.Bytes() / 3, Exact: true,
			Stage: func(s tiling.Stage, _ int, _, _ time.Time) {
				switch {
				case s != tiling.Computing:
				case ctx.Err() != nil:
					after.Add(1)
				case before.Add(1) == until:
					cancel()
				}
			}})
		if errors.Is(err, engine.ErrUnsupported) {
			continue // with the device's workspace there is no room
		}
		if err != nil {
			t.Fatal(err)
		}
		if j.Tiles.Len() < 2*until {
			t.Fatalf("%s: %v are too few", text, j.Tiles)
		}
		if _, err := j.RunHost(ctx, c.In); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", text, err)
		}
		if n := after.Load(); n > 1 || before.Load() != until {
			t.Errorf("%s: %d tiles were computed after the end, %d before", text, n, before.Load())
		}
		ctx = t.Context()
		got, err := j.RunHost(ctx, c.In)
		if err != nil {
			t.Fatal(err)
		}
		var rec report.Record
		if err := c.Judge(ctx, &rec, driver.Arithmetic{}, got); err != nil || rec.Status != report.Passed {
			t.Errorf("%s: %s %v", text, rec.Reason, err)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		if m, ok := d.Driver().(driver.MemoryReporter); ok {
			if used, _ := m.MemoryInUse(); used != 0 {
				t.Errorf("%s: %d bytes are still in use", text, used)
			}
		}
	}
}
