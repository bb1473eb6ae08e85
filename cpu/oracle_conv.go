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
	switch {
	case p.Dir == problem.BackwardWeights:
		return func(i int64) driver.Element { return o.plain(g.weightSum(wide, narrow, i)) }
	case p.Dir == problem.BackwardBias:
		return func(i int64) driver.Element { return o.plain(biasSum(p, f[problem.DiffDst], int(i))) }
	case !forward && p.Op == problem.Conv:
		back := g.preimages()
		return func(i int64) driver.Element { return o.plain(g.wideSum(back, narrow, f[problem.Wei], i)) }
	case !forward:
		return func(i int64) driver.Element { return o.plain(g.narrowSum(wide, f[problem.Wei], i)) }
	case p.Op == problem.Deconv:
		back := g.preimages()
		return o.chained(func(i int64) sum { return g.wideSum(back, narrow, f[problem.Wei], i) })
	}
	return o.chained(func(i int64) sum { return g.narrowSum(wide, f[problem.Wei], i) })
}

// narrowSum is Σ over channels c of the group and taps k of wide[n, c, x·s−pad+k·d] · wei[o, c, k].
func (g *geometry) narrowSum(wide, wei []float32, i int64) (s sum) {
	nc, x := split(i, g.narrowD)
	n, o := nc/g.narrowC, nc%g.narrowC
	first := n*g.wideC + o/g.narrowCG*g.wideCG
	for c := range g.wideCG {
		for k := range g.taps {
			if w := g.cell(x, k); w >= 0 {
				s.add(float64(wide[(first+c)*g.wideSp+w]) * float64(wei[(o*g.wideCG+c)*g.taps+k]))
			}
		}
	}
	return s
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

// preimages are, for each axis and wide position, the narrow positions and taps (x, k) that read it. Without a padding
// mode a position is read as itself, else also as the padding cells that copy it.
func (g *geometry) preimages() (back [3][][][2]int) {
	for a := range 3 {
		back[a] = make([][][2]int, g.wideD[a])
		for x := range g.narrowD[a] {
			for k := range g.kernel[a] {
				if u := source(g.mode, x*g.stride[a]-g.pad[a]+k*g.dilation[a], g.wideD[a]); u >= 0 {
					back[a][u] = append(back[a][u], [2]int{x, k})
				}
			}
		}
	}
	return back
}

// wideSum is the adjoint: Σ over narrow channels o of the group, and over positions x and taps k that read the wide
// position, of narrow[n, o, x] · wei[o, c, k].
func (g *geometry) wideSum(back [3][][][2]int, narrow, wei []float32, i int64) (s sum) {
	nc, w := split(i, g.wideD)
	n, c := nc/g.wideC, nc%g.wideC
	group := c / g.wideCG
	for j := range g.narrowCG {
		o := group*g.narrowCG + j
		plane := narrow[(n*g.narrowC+o)*g.narrowSp:][:g.narrowSp]
		taps := wei[(o*g.wideCG+c%g.wideCG)*g.taps:][:g.taps]
		for _, d := range back[0][w[0]] {
			for _, h := range back[1][w[1]] {
				for _, v := range back[2][w[2]] {
					x := (d[0]*g.narrowD[1]+h[0])*g.narrowD[2] + v[0]
					k := (d[1]*g.kernel[1]+h[1])*g.kernel[2] + v[1]
					s.add(float64(plane[x]) * float64(taps[k]))
				}
			}
		}
	}
	return s
}

// weightSum is Σ over batch n and narrow positions x of narrow[n, o, x] · wide[n, c, x·s−pad+k·d].
func (g *geometry) weightSum(wide, narrow []float32, i int64) (s sum) {
	oc, k := int(i)/g.taps, int(i)%g.taps
	o, c := oc/g.wideCG, oc%g.wideCG+oc/g.wideCG/g.narrowCG*g.wideCG
	for n := range g.n {
		from := wide[(n*g.wideC+c)*g.wideSp:][:g.wideSp]
		by := narrow[(n*g.narrowC+o)*g.narrowSp:][:g.narrowSp]
		for j := range by {
			_, x := split(int64(j), g.narrowD)
			if w := g.cell(x, k); w >= 0 {
				s.add(float64(from[w]) * float64(by[j]))
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
