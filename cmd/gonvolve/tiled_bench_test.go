package main

import (
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tiling"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// BenchmarkTiled compares maps that fit with the same in tiles, from host memory to host memory, plans ready.
func BenchmarkTiled(b *testing.B) {
	for _, spec := range []string{"cpu", "vulkan:0", "opencl:0"} {
		dev, err := engine.Open(b.Context(), spec, engine.NoFallback())
		if err != nil {
			b.Logf("%s: %v", spec, err)
			continue
		}
		for _, text := range []string{"mb1ic16ih1024oc16kh3ph1", "mb1ic64ih256oc64kh3ph1", "pool:max:mb1ic16ih2048kh3sh2ph1"} {
			p, err := problem.Parse(text)
			if err != nil {
				b.Fatal(err)
			}
			benchTiled(b, dev, p)
		}
		if err := dev.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func benchTiled(b *testing.B, dev *engine.Device, p problem.Problem) {
	b.Helper()
	var in engine.Operands
	for _, list := range [][]problem.Role{p.Constants(), p.Inputs()} {
		for _, r := range list {
			var err error
			if in[r], err = verify.Input(b.Context(), nil, &p, r, verify.Int); err != nil {
				b.Fatal(err)
			}
		}
	}
	name := dev.Spec() + "/" + p.String()
	b.Run(name+"/whole", func(b *testing.B) {
		pl, err := dev.Plan(b.Context(), p, driver.PlanOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if len(p.Constants()) > 0 {
			if err := pl.SetWeights(b.Context(), engine.Operands{problem.Wei: in[problem.Wei]}); err != nil {
				b.Fatal(err)
			}
		}
		loop(b, func() error {
			_, err := pl.RunHost(b.Context(), engine.Operands{problem.Src: in[problem.Src]})
			return err
		})
		if err := pl.Close(); err != nil {
			b.Fatal(err)
		}
	})
	b.Run(name+"/tiled", func(b *testing.B) {
		j, err := tiling.Prepare(b.Context(), dev, p, tiling.Options{MemLimit: p.Bytes() / 2})
		if err != nil {
			b.Fatal(err)
		}
		loop(b, func() error {
			_, err := j.RunHost(b.Context(), in)
			return err
		})
		b.ReportMetric(float64(j.Tiles.Len()), "tiles")
		if err := j.Close(); err != nil {
			b.Fatal(err)
		}
	})
}

// loop measures from the second time on: some drivers compile when a kernel runs first.
func loop(b *testing.B, run func() error) {
	b.Helper()
	if err := run(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := run(); err != nil {
			b.Fatal(err)
		}
	}
}
