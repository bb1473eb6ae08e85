package tiling_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
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
func stream(t *testing.T, dev *engine.Device, read, write func(n int) error) (tiles int, err error) {
	t.Helper()
	p, err := problem.Parse("pool:max:mb1ic20ih32kh2sh2")
	if err != nil {
		t.Fatal(err)
	}
	in := inputs(t, dev, &p)
	j, err := tiling.Prepare(t.Context(), dev, p, tiling.Options{MemLimit: 40 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := j.Close(); err != nil {
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

// The first tile is not written before the third is read: so three are on their way.
func TestTilesOverlap(t *testing.T) {
	third := make(chan struct{})
	_, err := stream(t, open(t, "cpu"), func(n int) error {
		if n == 3 {
			close(third)
		}
		return nil
	}, func(n int) error {
		select {
		case <-third:
			return nil
		case <-time.After(20 * time.Second):
			return errors.New("nobody reads the third tile while the first is written")
		}
	})
	if err != nil {
		t.Error(err)
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
	before := runtime.NumGoroutine()
	for range 20 {
		if _, err := stream(t, dev, fails, fine); !errors.Is(err, broken) {
			t.Errorf("a source that fails: %v", err)
		}
		if _, err := stream(t, dev, fine, fails); !errors.Is(err, broken) {
			t.Errorf("a sink that fails: %v", err)
		}
	}
	for wait := 0; runtime.NumGoroutine() > before && wait < 100; wait++ {
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines became %d", before, n)
	}
}
