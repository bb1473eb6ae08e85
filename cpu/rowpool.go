package cpu

import (
	"context"
	"math"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// sweeps says whether shifted rows compute a pooling: those of the windows' cells, the greatest or their sums, or of a
// gradient the shares of the windows that have a cell.
func sweeps(p *problem.Problem) bool {
	if p.Op != problem.Pool || p.Kind == problem.Lp || p.Adaptive {
		return false
	}
	for _, a := range p.Axes {
		end := (a.Out-1)*a.Stride - a.PadL + a.Extent()
		if a.PadL < 0 || a.PadR < 0 && end > a.In+a.PadR { // windows are cropped
			return false
		}
	}
	switch {
	case p.Dir == problem.Forward && p.Indices == problem.NoIndices:
		return true
	case p.Kind == problem.Max:
		return cellsByRows(p)
	}
	return true
}

// worthSweeping says whether rows are faster than windows, one by one.
func worthSweeping(p *problem.Problem) bool {
	switch {
	case p.Dir == problem.Forward && p.Indices == problem.NoIndices:
		return p.Axes[2].Out >= fewColumns || slidesOver(p)
	case p.Kind == problem.Max:
		return p.Axes[2].Out >= fewColumns
	}
	_, out := spatialSizes(p)
	return newWindows(p).averagesAll(out) || p.Axes[2].Out >= fewColumns && volume(newGeometry(p).stride) <= mostPhases
}

// mostPhases is how many phases of a plane, which are computed one after the other, are faster than windows.
const mostPhases = 16

// newRowPool plans a pooling as windows that slide, or as rows of one weight for each channel's windows.
func newRowPool(d *Device, p *problem.Problem) *igemm {
	g := newGeometry(p)
	w := newWindows(p)
	ig := &igemm{g: g}
	switch {
	case p.Kind == problem.Max && (p.Dir == problem.BackwardData || p.Indices != problem.NoIndices):
		ig.maxima = newMaxCells(d, p)
		return ig
	case p.Dir == problem.BackwardData:
		ig.averaged = newAveraged(d, p, w)
		return ig
	}
	if w.averagesAll(g.narrowD) {
		ig.products = []summer{newMeans(d, p, w)}
		ig.asHalves(p)
		return ig
	}
	l, planes := g.gathering(), p.N*p.IC
	kind := simd.Greatest
	var divisors []float32
	if p.Kind != problem.Max {
		kind, divisors = simd.Averaged, w.divisors(g.narrowD)
	}
	if s := newSliding(d, l, planes, 1, 1, 1, kind); s != nil {
		s.divisors = divisors
		ig.products = []summer{s}
	} else {
		pr := newProduct(d, l, planes, 1, 1, 1, dense(l), true)
		pr.divisors = divisors
		if pr.greatest = kind == simd.Greatest; pr.greatest {
			pr.patch.outside = float32(math.Inf(-1))
		}
		ig.products = []summer{pr}
	}
	ig.ones = make([]float32, g.taps)
	fill(ig.ones, 1)
	ig.asHalves(p)
	return ig
}

// slidesOver says that windows are of a shape that slides over planes, or are the whole of one.
func slidesOver(p *problem.Problem) bool {
	_, out := spatialSizes(p)
	return slides(p) || newWindows(p).averagesAll(out)
}

// slides says that a problem's windows are of such a shape, those of an adjoint where they are: without strides.
func slides(p *problem.Problem) bool {
	g := newGeometry(p)
	l := g.gathering()
	if p.Op == problem.Conv && p.Dir == problem.BackwardData || p.Op == problem.Deconv && p.Dir == problem.Forward {
		phases := g.scattering()
		if len(phases) != 1 {
			return false
		}
		l = &phases[0].lattice
	}
	w, _, ok := l.windows()
	return ok && w.K > 1
}

// newConvPool plans a convolution and the pooling of its results.
func newConvPool(d *Device, p *problem.Problem) *igemm {
	conv, then := *p, p.ThenPool()
	conv.Then = problem.Fusion{}
	then.Type = problem.Types{} // of sums that are floats
	ig := newIgemm(d, &conv, worthShifting(d.isa, p))
	ig.narrows = false // as they are pooled
	ig.made = convElems(p)
	if sweeps(&then) && (then.Axes[2].Out >= fewColumns || slidesOver(&then)) {
		ig.pool = newRowPool(d, &then)
	}
	return ig
}

func runRowPool(ctx context.Context, j *job) error {
	switch ig := j.igemm; {
	case ig.maxima != nil:
		return ig.maxima.run(ctx, j.arena, j.windows, &j.t)
	case ig.averaged != nil:
		return ig.averaged.run(ctx, j.arena, j.t.f[problem.DiffDst], j.t.f[problem.DiffSrc])
	}
	s := igemmSums{j.igemm, j.arena, j.igemm.ones, j.halves()}
	if s.halves.stay {
		return s.runHalves(ctx, j.t.f[problem.Dst], nil)
	}
	return s.run(ctx, j.arena, j.t.f[problem.Src], s.packed, j.t.f[problem.Dst], nil)
}
