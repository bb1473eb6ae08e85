package cpu

import (
	"context"
	"math"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// sweeps says whether shifted rows compute a pooling: those of the windows' cells, the greatest or their sums.
func sweeps(p *problem.Problem) bool {
	if p.Op != problem.Pool || p.Dir != problem.Forward || p.Kind == problem.Lp || p.Adaptive ||
		p.Indices != problem.NoIndices {
		return false
	}
	for _, a := range p.Axes {
		if a.PadR < 0 || a.PadL < 0 { // which crop the source
			return false
		}
	}
	return true
}

// newRowPool plans a pooling as rows of one weight for each channel's windows.
func newRowPool(d *Device, p *problem.Problem) *igemm {
	g := newGeometry(p)
	l := g.gathering()
	pr := newProduct(d, l, p.N*p.IC, 1, 1, 1, dense(l), true)
	ig := &igemm{g: g, products: []summer{pr}}
	if p.Kind == problem.Max {
		pr.greatest, pr.patch.outside = true, float32(math.Inf(-1))
	} else {
		w := newWindows(p)
		pr.divisors = make([]float32, g.narrowSp)
		for i := range pr.divisors {
			_, x := split(int64(i), g.narrowD)
			pr.divisors[i] = float32(max(1, w.divideBy(x))) // the sum of no cells is 0
		}
	}
	ig.ones = make([]float32, g.taps)
	fill(ig.ones, 1)
	return ig
}

// newConvPool plans a convolution and the pooling of its results.
func newConvPool(d *Device, p *problem.Problem) *igemm {
	conv, then := *p, p.ThenPool()
	conv.Then = problem.Fusion{}
	ig := newIgemm(d, &conv, made(p) <= fewMade)
	ig.made = convElems(p)
	if sweeps(&then) && then.Axes[2].Out >= fewColumns {
		ig.pool = newRowPool(d, &then)
	}
	return ig
}

func runRowPool(ctx context.Context, j *job) error {
	return j.igemm.run(ctx, j.arena, j.t.f[problem.Src], j.igemm.ones, j.t.f[problem.Dst], nil)
}
