package cpu

import (
	"math/rand/v2"
	"testing"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// BenchmarkAlgorithms runs what networks are made of, by each algorithm.
func BenchmarkAlgorithms(b *testing.B) {
	d := &Device{info: info(), isa: simd.Best()}
	s, err := d.NewStream()
	if err != nil {
		b.Fatal(err)
	}
	for _, text := range []string{
		"mb1ic64ih56oc64oh56kh3ph1",
		"BWD_D:mb1ic64ih56oc64oh56kh3ph1",
		"mb1ic64ih56oc64oh56kh5ph2",
		"BWD_W:mb1ic64ih56oc64oh56kh3ph1",
		"BWD_B:mb16ic64ih56oc64oh56kh3ph1",
		"mb1ic256ih14oc256oh14kh1",
		"nhwc:f16:mb1ic64ih56oc64oh56kh3ph1",
		"g128mb1ic128ih56oc128kh3ph1",
		"BWD_D:g128mb1ic128ih56oc128kh3ph1",
		"BWD_W:g128mb1ic128ih56oc128kh3ph1",
		"u8-s8-s8:mb1ic64ih56oc64oh56kh3ph1",
		"deconv:mb1ic64ih28oc64oh56kh4sh2ph1",
		"post=relu:then=max(kh2sh2):mb1ic16ih112oc64oh112kh3ph1",
		"deform:dg=1:mb1ic64ih56oc64oh56kh3ph1",
		"pool:max:mb1ic64ih112kh3sh2ph1",
		"pool:max:BWD_D:mb1ic64ih112kh3sh2ph1",
		"pool:avg_ip:BWD_D:mb1ic64ih112kh3sh2ph1",
		"pool:max:nhwc:s8:mb1ic64ih56kh3sh1ph1",
		"im2col:mb1ic64ih56oh56kh3ph1",
		"col2im:mb1ic64ih56oh56kh3ph1",
	} {
		p, err := problem.Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		for _, name := range ways(d, p) {
			if name != "reference" {
				b.Run(name+"/"+text, func(b *testing.B) { benchmark(b, d, s, p, name) })
			}
		}
	}
}

func benchmark(b *testing.B, d *Device, s driver.Stream, p problem.Problem, name string) {
	check := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	ctx := b.Context()
	pl, err := d.Plan(ctx, p, wayOf(name).Options())
	check(err)
	r := rand.New(rand.NewPCG(1, 2))
	fill := func(roles []problem.Role) (buffers driver.Buffers) {
		for _, role := range roles {
			data := encode(driver.Operand{F32: integers(r, problem.Elems(p.Shape(role))), I32: make([]int32, problem.Elems(p.Shape(role)))}, p.TypeOf(role))
			var err error
			buffers[role], err = d.Alloc(int64(len(data)))
			check(err)
			check(s.Write(ctx, buffers[role], 0, data))
		}
		return buffers
	}
	args := driver.Args{Buffers: fill(append(p.Inputs(), p.Outputs()...))}
	if len(p.Constants()) > 0 {
		args.Weights, _, err = pl.Pack(ctx, s, fill(p.Constants()))
		check(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		e, err := pl.Run(ctx, s, args)
		check(err)
		check(e.Wait(ctx))
	}
	b.ReportMetric(p.FLOPs()*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
