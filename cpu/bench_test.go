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

// BenchmarkPack measures what a plan makes of its weights before the first run.
func BenchmarkPack(b *testing.B) {
	d := &Device{info: info(), isa: simd.Best()}
	s, err := d.NewStream()
	if err != nil {
		b.Fatal(err)
	}
	for _, text := range []string{"mb1ic64ih256oc64kh3ph1", "mb1ic512ih28oc512kh3ph1", "g8mb1ic256ih28oc256kh3ph1"} {
		p, err := problem.Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		for _, name := range []string{"igemm", "winograd", "fft"} {
			b.Run(name+"/"+text, func(b *testing.B) {
				j := newBenched(b, d, s, p, name)
				for b.Loop() {
					w, e, err := j.plan.Pack(b.Context(), s, j.constants)
					if err == nil {
						err = e.Wait(b.Context())
					}
					if err != nil {
						b.Fatal(err)
					}
					w.Free()
				}
			})
		}
	}
}

// benched is a plan with its tensors.
type benched struct {
	plan      driver.Plan
	constants driver.Buffers
	args      driver.Args
}

func newBenched(b *testing.B, d *Device, s driver.Stream, p problem.Problem, name string) (j benched) {
	b.Helper()
	check := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	ctx := b.Context()
	var err error
	j.plan, err = d.Plan(ctx, p, wayOf(name).Options())
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
	j.args = driver.Args{Buffers: fill(append(p.Inputs(), p.Outputs()...))}
	if len(p.Constants()) > 0 {
		j.constants = fill(p.Constants())
		j.args.Weights, _, err = j.plan.Pack(ctx, s, j.constants)
		check(err)
	}
	return j
}

func benchmark(b *testing.B, d *Device, s driver.Stream, p problem.Problem, name string) {
	j := newBenched(b, d, s, p, name)
	b.ReportAllocs()
	for b.Loop() {
		e, err := j.plan.Run(b.Context(), s, j.args)
		if err == nil {
			err = e.Wait(b.Context())
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(p.FLOPs()*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
