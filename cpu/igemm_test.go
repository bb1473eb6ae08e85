package cpu

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
)

// TestISAs runs random convolutions by the implicit products of every instruction set, with infinities and NaN among the
// operands, which must come out where the definition has them.
func TestISAs(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	special := []float32{float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}
	for i := range several(600) {
		op := []problem.Op{problem.Conv, problem.Deconv, problem.Pool}[r.IntN(3)]
		dir := []problem.Dir{problem.Forward, problem.BackwardData, problem.BackwardWeights}[r.IntN(3)]
		if op == problem.Pool {
			dir = problem.Forward
		}
		p := randomCore(r, op, dir, func(p *problem.Problem) { p.PadMode = problem.Zeros })
		in := operands(t, r, &p)
		for _, list := range [][]problem.Role{p.Constants(), p.Inputs()} {
			for _, role := range list {
				if v := in[role].F32; p.Kind != problem.Lp && i%2 == 0 && len(v) > 0 {
					v[r.IntN(len(v))] = special[r.IntN(len(special))]
				}
			}
		}
		out := p.Outputs()[0]
		want := truth(t, p, in, out)
		for _, isa := range simd.Supported() {
			t.Setenv("GONVOLVE_CPU", isa.String())
			d := open(t)
			for _, name := range ways(d, p) {
				if name == "gemm" || name == "reference" || wayOf(name).Algorithm == "fft" { // the last rounds: see TestFFTNotFinite
					continue
				}
				for k, got := range run(t, d, p, name, in)[out] {
					if !same(got, float64(float32(want[k].Value))) {
						t.Fatalf("%s by %s on %s: element %d is %v, not %v", p.String(), name, isa, k, got, want[k].Value)
					}
				}
			}
		}
	}
}

// TestPatchesOfEachRun: workers copy a band's patches once for all of its tasks, and again for another image, band and run.
func TestPatchesOfEachRun(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	bands, tasks := 0, 0
	for _, isa := range simd.Supported() {
		d := &Device{info: info(), isa: isa}
		for _, text := range []string{
			"mb1ic96ih9oc160oh9kh3ph1", "mb3ic20ih40oc40oh40kh3ph1", "g2mb2ic64ih13oc128kh3sh2ph1", "mb1ic24iw900oc48kw5pw2",
		} {
			p := problemtest.Parse(t, text)
			in := operands(t, r, &p)
			src := in[problem.Src].F32
			want := run(t, d, p, "direct", in)[problem.Dst]
			ig := newIgemm(d, &p, false)
			product := ig.products[0].(*tileProduct)
			bands, tasks = max(bands, product.bands), max(tasks, product.tasks)
			packed, err := ig.pack(t.Context(), in[problem.Wei].F32)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]float32, len(want))
			for _, sign := range []float64{1, -1} {
				if err := ig.run(t.Context(), &d.arena, src, packed, got, nil); err != nil {
					t.Fatal(err)
				}
				for i, v := range got {
					if float64(v) != sign*want[i] {
						t.Fatalf("%s, %s, source times %g: element %d is %v, not %v", isa, text, sign, i, v, sign*want[i])
					}
				}
				for i := range src {
					src[i] = -src[i]
				}
			}
		}
	}
	if bands < 2 || tasks < 2 && workers().Workers() > 1 {
		t.Errorf("at most %d bands and %d tasks were seen", bands, tasks)
	}
}

// TestWrongISA: an instruction set that isn't one is refused.
func TestWrongISA(t *testing.T) {
	t.Setenv("GONVOLVE_CPU", "mmx")
	if _, err := (Driver{}).Open(t.Context(), 0, driver.Options{}); err == nil {
		t.Fatal("opened")
	}
}
