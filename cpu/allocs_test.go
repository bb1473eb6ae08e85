//go:build !race

package cpu_test

import (
	"context"
	"slices"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// hot are problems of the algorithms that are chosen for networks' layers.
var hot = []string{
	"mb1ic64ih28oc64oh28kh3ph1",
	"mb1ic64ih7oc64oh7kh3ph1",
	"post=relu+add:mb1ic64ih7oc256kh1",
	"post=leaky(0.1)+hardswish:mb1ic16ih14oc16kh1",
	"bias:post=relu+add:mb1ic32ih28oc32kh5ph2",
	"g32mb1ic32ih28oc32kh3ph1",
	"g32mb1ic32ih28oc32kh3sh2ph1",
	"g8mb1ic32ih28oc32kh3ph1",
	"mb1ic3ih32oc16kh7sh2ph3",
	"deconv:mb1ic16ih14oc16kh4sh2ph1",
	"BWD_D:mb1ic16ih14oc16kh3ph1",
	"post=relu:then=max(kh2sh2):mb1ic16ih28oc16kh3ph1",
	"pool:max:mb1ic16ih28kh3sh2ph1",
	"pool:max:mb1ic16ih28kh2sh2",
	"pool:avg_np:mb1ic16ih28kh3sh1ph1",
	"pool:avg_np:mb1ic256ih7kh7",
	"pool:avg_np:mb1ic16ih28kh28",
}

// quiet are of other kinds: types, layouts, paddings, directions and operations.
var quiet = []string{
	"f16:mb1ic64ih28oc64oh28kh3ph1",
	"f16:post=relu+add:mb1ic64ih7oc64oh7kh1ph0",
	"f16:nhwc:mb1ic16ih14oc16kh3ph1",
	"nhwc:mb1ic64ih28oc64oh28kh3ph1",
	"src=nhwc:mb1ic16ih14oc16kh3ph1",
	"dst=nhwc:post=add:mb1ic16ih14oc16kh3ph1",
	"u8-s8-s32:mb1ic16ih14oc16kh3ph1",
	"u8-s8-u8:bias:nhwc:mb1ic16ih14oc16kh3ph1",
	"s8-s8-f32:bias:post=scale+relu:mb1ic16ih14oc16kh3ph1",
	"s8-u8-s8:g16mb1ic16ih14oc16kh3ph1",
	"u8-s8-s8:mb1ic64ih14oc64kh1",
	"pad=reflect:mb1ic16ih14oc16kh3ph1",
	"BWD_D:f16:mb1ic16ih14oc16kh3ph1",
	"BWD_D:nhwc:mb1ic16ih14oc16kh3ph1",
	"BWD_D:pad=circular:mb1ic16ih14oc16kh3ph1",
	"BWD_D:mb1ic64ih28oc64oh14kh3sh2ph1",
	"BWD_D:g32mb1ic32ih28oc32kh3ph1",
	"BWD_W:mb1ic64ih28oc64oh28kh3ph1",
	"BWD_W:mb1ic64ih7oc64oh7kh3ph1",
	"BWD_W:f16:mb2ic16ih14oc16kh3ph1",
	"BWD_W:nhwc:mb1ic16ih14oc16kh3ph1",
	"BWD_W:pad=replicate:mb1ic16ih14oc16kh3ph1",
	"BWD_W:g32mb2ic32ih28oc32kh3ph1",
	"BWD_W:mb1ic1ih28oc2kh3ph1",
	"BWD_B:mb2ic16ih14oc16kh3ph1",
	"deconv:post=relu:mb1ic16ih14oc16kh4sh2ph1",
	"deconv:BWD_D:mb1ic16ih14oc16kh4sh2ph1",
	"deconv:BWD_W:mb1ic16ih14oc16kh4sh2ph1",
	"deconv:f16:nhwc:mb1ic16ih7oc16kh3ph1sh2",
	"f16:post=relu:then=max(kh2sh2):mb1ic16ih28oc16kh3ph1",
	"pool:max:f16:mb1ic16ih28kh3sh2ph1",
	"pool:avg_np:f16:mb1ic64ih7oh1kh7",
	"f16:post=relu+add:g32mb1ic32ih28oc32kh3ph1",
	"pool:avg_np:nhwc:mb1ic16ih28kh3sh2ph1",
	"pool:max:u8:mb1ic16ih28kh2sh2",
	"pool:max:indices=plane:mb1ic16ih28kh2sh2",
	"pool:lp2:mb1ic4ih14kh2sh2",
	"pool:avg_np:adaptive:mb1ic16ih28oh5",
	"pool:max:BWD_D:mb1ic16ih28kh3sh2ph1",
	"pool:max:BWD_D:indices=plane:mb1ic16ih28kh2sh2",
	"pool:max:BWD_D:indices=flat:mb1ic16ih28kh2sh2",
	"pool:avg_np:BWD_D:mb1ic16ih28kh3sh2ph1",
	"pool:avg_p:BWD_D:f16:mb1ic16ih28kh2sh2",
	"pool:avg_np:BWD_D:mb1ic64ih7oh1kh7",
	"pool:avg_np:BWD_D:mb1ic16ih28kh3sh1ph1",
	"pool:max:indices=flat:mb1ic16ih28kh3sh2ph1",
	"BWD_D:g16mb1ic16ih28oc16oh14kh3sh2ph1",
	"f16:mb1ic64ih28oc64oh28kh1",
	"unpool:indices=plane:mb1ic16ih14kh2sh2",
	"unpool:BWD_D:indices=flat:mb1ic16ih14kh2sh2",
}

// runner makes a plan of a problem on the cpu, with tensors of zeros, and returns a run that waits for its end.
func runner(tb testing.TB, text string) func() {
	check := func(err error) {
		if err != nil {
			tb.Helper()
			tb.Fatal(text, err)
		}
	}
	ctx, cancel := context.WithCancel(tb.Context()) // as one that ends with a signal
	tb.Cleanup(cancel)
	d, err := engine.Open(ctx, "cpu")
	check(err)
	tb.Cleanup(func() { check(d.Close()) })
	p, err := problem.Parse(text)
	check(err)
	pl, err := d.Plan(ctx, p, driver.PlanOptions{})
	check(err)
	if pl.Info().Algorithm == "gemm" { // gonum's product, which the portable kernels are behind, allocates
		check(pl.Close())
		pl, err = d.Plan(ctx, p, driver.PlanOptions{Algorithm: "igemm"})
		check(err)
	}
	tb.Cleanup(func() { check(pl.Close()) })
	s, err := d.NewStream()
	check(err)
	tb.Cleanup(func() { check(s.Close()) })
	if roles := p.Constants(); len(roles) > 0 {
		var constants engine.Operands
		for _, r := range roles {
			constants[r], err = engine.NewTensor(p.TypeOf(r), p.Shape(r)...)
			check(err)
		}
		check(pl.SetWeights(ctx, constants))
	}
	var args engine.Args
	for _, roles := range [][]problem.Role{p.Inputs(), p.Outputs()} {
		for _, r := range roles {
			args[r], err = d.NewTensor(p.TypeOf(r), p.Shape(r)...)
			check(err)
			tb.Cleanup(args[r].Free)
		}
	}
	return func() {
		ev, err := pl.Run(ctx, s, args)
		if err == nil {
			err = ev.Wait(ctx)
		}
		check(err)
	}
}

// TestRunsAllocateNothing: events come 64 at a time, all else is kept from run to run. Under the race detector sync.Pool
// would forget at random.
func TestRunsAllocateNothing(t *testing.T) {
	for _, text := range slices.Concat(hot, quiet) {
		run := runner(t, text)
		if n := testing.AllocsPerRun(500, run); n > 0 {
			t.Errorf("%s: %v allocations per run", text, n)
		}
	}
}

// BenchmarkRun is Plan.Run and Event.Wait through the engine.
func BenchmarkRun(b *testing.B) {
	for _, text := range hot {
		b.Run(text, func(b *testing.B) {
			run := runner(b, text)
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
		})
	}
}
