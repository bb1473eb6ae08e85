package problem

import (
	"math/rand/v2"
	"testing"
)

// size is what every step must make smaller.
func size(p *Problem) int {
	n := p.N + p.Groups + p.IC + p.OC + 100*p.Rank + p.Divisor + p.P + int(p.Indices) + int(p.PadMode) + p.OffsetGroups + len(p.Name) +
		int(p.SrcLayout) + int(p.DstLayout) + 10*int(p.Type.Src+p.Type.Wei) + 10*len(p.Posts()) +
		map[DataType]int{F32: 0, F16: 9, S32: -1, S8: 2, U8: 2}[p.Type.Dst]
	for _, set := range []bool{p.Bias, p.Mask, p.Fused()} {
		if set {
			n++
		}
	}
	abs := func(v int) int { return max(v, -v) }
	for i, a := range p.Axes {
		n += a.In + a.Kernel + a.Stride + a.Dilation + abs(a.PadL) + abs(a.PadR)
		if p.Adaptive {
			n += a.Out - a.Kernel
		}
		if t := p.Then.Axes[i]; p.Fused() {
			n += t.Kernel + t.Stride + t.Dilation + abs(t.PadL) + abs(t.PadR)
		}
	}
	n *= 1 << 12
	for _, a := range p.Spatial() {
		if p.Op == Unpool || p.Op == Deconv { // may grow when others shrink
			n += abs(a.Out - a.outDeconv())
		}
	}
	return n
}

func TestSimpler(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		p := Random(r, 12)
		p.Name = "layer"
		for _, q := range p.Simpler() {
			if err := q.Validate(); err != nil {
				t.Fatalf("%s after %s: %v", q.String(), p.String(), err)
			}
			if q.Op != p.Op || q.Dir != p.Dir || q.Kind != p.Kind {
				t.Fatalf("%s after %s: another operation", q.String(), p.String())
			}
			if size(&q) >= size(&p) {
				t.Fatalf("%s (%d) is not simpler than %s (%d)", q.String(), size(&q), p.String(), size(&p))
			}
		}
	}
}

// If every problem shows the fault, one element is left.
func TestSimplerEnds(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		p := Random(r, 12)
		first := p.String()
		for list := p.Simpler(); len(list) > 0; list = p.Simpler() {
			p = list[0]
		}

		if p.Rank != 1 && p.Op != Deform || p.N > 1 || p.Groups != 1 || p.IC != 1 || p.OC != 1 || len(p.Posts()) > 0 || p.Fused() || p.Bias {
			t.Errorf("%s ends as %s", first, p.String())
		}
		for _, a := range p.Spatial() {
			if max(a.In, a.Kernel, a.Stride, a.Dilation) > 2 || max(a.PadL, a.PadR, -a.PadL, -a.PadR) > 1 {
				t.Errorf("%s ends as %s", first, p.String())
			}
		}
	}
}

func TestRandomLarge(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	terms, weighted := 0, 0
	for range 300 {
		p := RandomLarge(r)
		if f := p.FLOPs(); f < 2e5 || f > 4e7 || p.Bytes() > 8<<20 {
			t.Fatalf("%s: %v operations on %d bytes", p.String(), f, p.Bytes())
		}
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
		if back, err := Parse(p.String()); err != nil || back != p {
			t.Fatalf("%s reads as %s, %v", p.String(), back.String(), err)
		}
		if p.Weighted() {
			weighted++
			if p.Terms() > 1000 {
				terms++
			}
		}
	}
	if weighted < 100 || terms < 20 {
		t.Errorf("%d of 300 have weights, %d of them sums of more than 1000 terms", weighted, terms)
	}
}
