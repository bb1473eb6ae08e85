package cpu

import (
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// convolution is Conv and Deconv in every direction.
func (o *oracle) convolution() func(int64) driver.Element {
	p, g, f := o.p, o.g, &o.t.f
	wide, narrow := f[problem.Src], f[problem.DiffDst]
	if p.Op == problem.Deconv {
		wide, narrow = f[problem.DiffDst], f[problem.Src]
	}
	forward := p.Dir == problem.Forward
	sums := func(i int64) sum { return g.narrowSum(wide, f[problem.Wei], i) }
	switch {
	case p.Dir == problem.BackwardWeights:
		sums = func(i int64) sum { return g.weightSum(wide, narrow, i) }
	case p.Dir == problem.BackwardBias:
		sums = func(i int64) sum { return biasSum(p, f[problem.DiffDst], int(i)) }
	case forward == (p.Op == problem.Deconv):
		back := g.preimages()
		sums = func(i int64) sum { return g.wideSum(&back, narrow, f[problem.Wei], i) }
	}
	if forward {
		return o.chained(sums)
	}
	return func(i int64) driver.Element { return o.element(o.number(sums(i), i)) }
}

// hit is a term of a sum: a position of the tensor that is read, and the tap of the weights.
type hit struct{ at, tap int }

// hits are the wide positions x·s−pad+k·d that narrow position x reads, tap by tap, without those in zero padding.
func (g *geometry) hits(x [3]int) []hit {
	hits := make([]hit, 0, g.taps)
	for k := range g.taps {
		if w := g.cell(x, k); w >= 0 {
			hits = append(hits, hit{w, k})
		}
	}
	return hits
}

// cell is the wide position x·s−pad+k·d of narrow position x and tap k, or −1 in zero padding.
func (g *geometry) cell(x [3]int, k int) int {
	_, tap := split(int64(k), g.kernel)
	w := 0
	for a := range 3 {
		u := source(g.mode, x[a]*g.stride[a]-g.pad[a]+tap[a]*g.dilation[a], g.wideD[a])
		if u < 0 {
			return -1
		}
		w = w*g.wideD[a] + u
	}
	return w
}

// narrowSum is Σ over channels c of the group and taps k of wide[n, c, x·s−pad+k·d] · wei[o, c, k].
func (g *geometry) narrowSum(wide, wei []float32, i int64) (s sum) {
	nc, x := split(i, g.narrowD)
	n, o := nc/g.narrowC, nc%g.narrowC
	first := n*g.wideC + o/g.narrowCG*g.wideCG
	hits := g.hits(x)
	for c := range g.wideCG {
		plane := wide[(first+c)*g.wideSp:][:g.wideSp]
		taps := wei[(o*g.wideCG+c)*g.taps:][:g.taps]
		for _, h := range hits {
			s.add(float64(plane[h.at]) * float64(taps[h.tap]))
		}
	}
	return s
}

// preimages are, for each axis and wide position, the narrow positions and taps that read it. Without a padding mode a
// position is read as itself, else also as the padding cells that copy it.
type preimages [3][][]hit

func (g *geometry) preimages() (back preimages) {
	for a := range 3 {
		back[a] = make([][]hit, g.wideD[a])
		for x := range g.narrowD[a] {
			for k := range g.kernel[a] {
				if u := source(g.mode, x*g.stride[a]-g.pad[a]+k*g.dilation[a], g.wideD[a]); u >= 0 {
					back[a][u] = append(back[a][u], hit{x, k})
				}
			}
		}
	}
	return back
}

// of is the narrow positions and taps that read wide position w.
func (back *preimages) of(g *geometry, w [3]int) (hits []hit) {
	for _, d := range back[0][w[0]] {
		for _, h := range back[1][w[1]] {
			for _, v := range back[2][w[2]] {
				hits = append(hits, hit{
					(d.at*g.narrowD[1]+h.at)*g.narrowD[2] + v.at,
					(d.tap*g.kernel[1]+h.tap)*g.kernel[2] + v.tap,
				})
			}
		}
	}
	return hits
}

// wideSum is the adjoint: Σ over narrow channels o of the group, and over positions x and taps k that read the wide
// position, of narrow[n, o, x] · wei[o, c, k].
func (g *geometry) wideSum(back *preimages, narrow, wei []float32, i int64) (s sum) {
	nc, w := split(i, g.wideD)
	n, c := nc/g.wideC, nc%g.wideC
	group := c / g.wideCG
	hits := back.of(g, w)
	for j := range g.narrowCG {
		o := group*g.narrowCG + j
		plane := narrow[(n*g.narrowC+o)*g.narrowSp:][:g.narrowSp]
		taps := wei[(o*g.wideCG+c%g.wideCG)*g.taps:][:g.taps]
		for _, h := range hits {
			s.add(float64(plane[h.at]) * float64(taps[h.tap]))
		}
	}
	return s
}

// weightSum is Σ over batch n and narrow positions x of narrow[n, o, x] · wide[n, c, x·s−pad+k·d].
func (g *geometry) weightSum(wide, narrow []float32, i int64) (s sum) {
	oc, k := int(i)/g.taps, int(i)%g.taps
	o, c := oc/g.wideCG, oc%g.wideCG+oc/g.wideCG/g.narrowCG*g.wideCG
	_, tap := split(int64(k), g.kernel)
	at := func(a, x int) int { // the wide position on an axis
		return source(g.mode, x*g.stride[a]-g.pad[a]+tap[a]*g.dilation[a], g.wideD[a])
	}
	for n := range g.n {
		from := wide[(n*g.wideC+c)*g.wideSp:][:g.wideSp]
		by := narrow[(n*g.narrowC+o)*g.narrowSp:][:g.narrowSp]
		for z := range g.narrowD[0] {
			for y := range g.narrowD[1] {
				d, h := at(0, z), at(1, y)
				if d < 0 || h < 0 {
					continue
				}
				row := from[(d*g.wideD[1]+h)*g.wideD[2]:][:g.wideD[2]]
				for x, v := range by[(z*g.narrowD[1]+y)*g.narrowD[2]:][:g.narrowD[2]] {
					if w := at(2, x); w >= 0 {
						s.add(float64(row[w]) * float64(v))
					}
				}
			}
		}
	}
	return s
}

// biasSum is Σ over batch n and positions x of diff_dst[n, o, x].
func biasSum(p *problem.Problem, dy []float32, o int) (s sum) {
	_, out := spatialSizes(p)
	for n := range p.N {
		for _, v := range dy[(n*p.OC+o)*volume(out):][:volume(out)] {
			s.add(float64(v))
		}
	}
	return s
}
