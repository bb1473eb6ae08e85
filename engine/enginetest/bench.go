package enginetest

import (
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// Bench measures what a run of next to no work costs: alone from submission to the end of the wait, and as one of many
// in flight.
func Bench(b *testing.B, open Open) {
	for _, c := range []struct{ name, problem, alg string }{
		{"pool", "pool:max:mb1ic1ih1oh1kh1", ""},                // one kernel
		{"nhwc", "nhwc:post=relu:mb1ic4ih2oc4oh2kh1", "direct"}, // several, with memory between them
	} {
		b.Run(c.name, func(b *testing.B) { bench(b, open, c.problem, c.alg) })
	}
}

func bench(b *testing.B, open Open, text, alg string) {
	ctx := b.Context()
	d, err := open(ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	p, err := problem.Parse(text)
	if err != nil {
		b.Fatal(err)
	}
	o, err := verify.Oracle(ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer o.Close()
	c, err := verify.NewCase(ctx, o, p, verify.Int, verify.DefaultBudget)
	if err != nil {
		b.Fatal(err)
	}
	pl, err := d.Plan(ctx, p, driver.PlanOptions{Algorithm: alg})
	if err != nil {
		b.Fatal(err)
	}
	defer pl.Close()
	job, err := c.Prepare(ctx, pl)
	if err != nil {
		b.Fatal(err)
	}
	defer job.Close()
	run := func() *engine.Event {
		ev, err := pl.Run(ctx, job.Stream, job.Args)
		if err != nil {
			b.Fatal(err)
		}
		return ev
	}
	b.Run("wait", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := run().Wait(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("many", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			run()
		}
		if err := job.Stream.Wait(ctx); err != nil {
			b.Fatal(err)
		}
	})
}
