package cpu

import (
	"context"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// fusedFloats is how many results of a convolution the fused algorithm keeps at a time: they stay in the cache.
const fusedFloats = 1 << 16

// band is some pooled rows (of the outermost axis), y0 ≤ y < y1, and the convolution's rows that they read.
type band struct{ y0, y1, lo, hi int }

// bandRows is how many pooled rows a band has, such that the convolution's results that it needs for one image and group
// fit the cache, and how many results one of the convolution's rows has.
func bandRows(p *problem.Problem) (rows, rowFloats int) {
	axis := 3 - p.Rank
	rowFloats = p.OC / p.Groups
	for _, a := range p.Axes[axis+1:] {
		rowFloats *= a.Out
	}
	a := p.Then.Axes[axis]
	return max(1, (max(1, fusedFloats/rowFloats)-a.Extent())/a.Stride+1), rowFloats
}

// cut divides the pooled rows into bands.
func cut(p *problem.Problem, w *windows) (bands []band, rowFloats int) {
	rows, rowFloats := bandRows(p)
	axis := 3 - p.Rank
	a := p.Then.Axes[axis]
	for y := 0; y < a.Out; y += rows {
		b := band{y0: y, y1: min(a.Out, y+rows)}
		for _, s := range w.spans[axis][b.y0:b.y1] {
			end := s.at + (s.n-1)*w.step[axis] + 1
			switch {
			case s.n == 0:
			case b.hi == b.lo:
				b.lo, b.hi = s.at, end
			default:
				b.lo, b.hi = min(b.lo, s.at), max(b.hi, end)
			}
		}
		bands = append(bands, b)
	}
	return bands, rowFloats
}

// band is the geometry of one image and group that makes narrow rows lo to hi−1 of the outermost axis only.
func (g *geometry) band(lo, hi int) *geometry {
	b, axis := *g, g.outermost
	b.n, b.groups, b.wideC, b.narrowC = 1, 1, g.wideCG, g.narrowCG
	b.narrowSp = g.narrowSp / g.narrowD[axis] * (hi - lo)
	b.narrowD[axis] = hi - lo
	b.pad[axis] -= lo * g.stride[axis]
	return &b
}

// fused runs convolution, post-ops and pooling band by band.
func (j *job) fused(ctx context.Context, p *problem.Problem, src []float32) error {
	pool := p.ThenPool()
	w := newWindows(&pool)
	_, out := spatialSizes(&pool)
	wei, dst := j.t.f[problem.Wei], j.t.f[problem.Dst]
	g, chain := newGeometry(p), j.chain()
	bands, rowFloats := cut(p, w)
	plain := g.small() || !finite(ctx, src) || !finite(ctx, wei)
	return parallelErr(ctx, g.n*g.groups*len(bands), func(i int) error {
		b := bands[i%len(bands)]
		n, group := i/len(bands)/g.groups, i/len(bands)%g.groups
		m := newGemm(g.band(b.lo, b.hi), j.arena)
		first := b.lo * rowFloats / g.narrowCG
		results := j.arena.get(m.g.narrowSp * g.narrowCG)
		defer j.arena.put(results)
		if b.hi > b.lo {
			planes := src[(n*g.wideC+group*g.wideCG)*g.wideSp:][:g.wideCG*g.wideSp]
			taps := wei[group*g.narrowCG*g.rows():][:g.narrowCG*g.rows()]
			var done finish
			if chain != nil {
				done = func(_, o, at int, row []float32) { chain.apply(n, group*g.narrowCG+o, first+at, row) }
			}
			run := m.multiply
			if plain {
				run = func(ctx context.Context, wide, wei, narrow []float32, done finish) error {
					return gather(ctx, m.g, wide, wei, narrow, done)
				}
			}
			if err := run(ctx, planes, taps, results, done); err != nil {
				return err
			}
		}
		here := *w
		here.in, here.first[g.outermost] = m.g.narrowD, b.lo
		perRow := volume(out) / out[g.outermost]
		for o := range g.narrowCG {
			plane := results[o*m.g.narrowSp:][:m.g.narrowSp]
			to := dst[(n*g.narrowC+group*g.narrowCG+o)*volume(out):][:volume(out)]
			for x := b.y0 * perRow; x < b.y1*perRow; x++ {
				_, at := split(int64(x), out)
				to[x] = here.value(plane, at)
			}
		}
		return ctx.Err()
	})
}
