package cpu

import "github.com/gonvolve/gonvolve/engine/problem"

// geometry relates the positions of a convolution: wide = narrow·stride − pad + tap·dilation on each axis.
//
// Convolution and its transpose are written once: "wide" is the convolution's src and the transpose's dst, "narrow" the
// other one, and the weights are [narrow channel][wide channel in group][kernel…] in both. So there are three sums, each
// linear in what it reads: gather (wide → narrow), its adjoint scatter (narrow → wide), and the weights' gradient.
type geometry struct {
	n, groups        int
	wideC, narrowC   int
	wideCG, narrowCG int // channels in a group
	wideD, narrowD   [3]int
	kernel           [3]int
	stride, pad      [3]int
	dilation         [3]int
	wideSp, narrowSp int // positions of a plane
	taps             int // of a kernel
	mode             problem.PadMode
	outermost        int // the first axis that the problem has
}

func newGeometry(p *problem.Problem) *geometry {
	g := &geometry{n: p.N, groups: p.Groups, wideC: p.IC, narrowC: p.OC, wideSp: 1, narrowSp: 1, taps: 1, mode: p.PadMode,
		outermost: 3 - p.Rank}
	if p.Op == problem.Deconv {
		g.wideC, g.narrowC = p.OC, p.IC
	}
	g.wideCG, g.narrowCG = g.wideC/g.groups, g.narrowC/g.groups
	for i, a := range p.Axes {
		g.wideD[i], g.narrowD[i] = a.In, a.Out
		if p.Op == problem.Deconv {
			g.wideD[i], g.narrowD[i] = a.Out, a.In
		}
		g.kernel[i], g.stride[i], g.pad[i], g.dilation[i] = a.Kernel, a.Stride, a.PadL, a.Dilation
		g.wideSp *= g.wideD[i]
		g.narrowSp *= g.narrowD[i]
		g.taps *= a.Kernel
	}
	return g
}

// rows of the matrix of a group's taps: the length of a narrow sum.
func (g *geometry) rows() int { return g.wideCG * g.taps }

// small says that groups have so few channels that a matrix product would mostly copy.
func (g *geometry) small() bool { return min(g.narrowCG, g.wideCG) < 3 && g.narrowCG*g.wideCG < 16 }

// source is the cell that position u of an axis of n cells reads, −1 in zero padding.
func source(mode problem.PadMode, u, n int) int {
	if u >= 0 && u < n {
		return u
	}
	switch mode {
	case problem.Reflect:
		if u < 0 {
			return -u
		}
		return 2*(n-1) - u
	case problem.Replicate:
		return max(0, min(u, n-1))
	case problem.Circular:
		if u < 0 {
			return u + n
		}
		return u - n
	}
	return -1
}

// split takes a flat index apart, innermost size last.
func split(i int64, sizes [3]int) (outer int, pos [3]int) {
	for k := 2; k >= 0; k-- {
		pos[k] = int(i % int64(sizes[k]))
		i /= int64(sizes[k])
	}
	return int(i), pos
}

// spatialSizes of the source and the destination.
func spatialSizes(p *problem.Problem) (in, out [3]int) {
	for a, ax := range p.Axes {
		in[a], out[a] = ax.In, ax.Out
	}
	return in, out
}

func volume(s [3]int) int { return s[0] * s[1] * s[2] }

// reach is the narrow positions lo ≤ x < hi of an axis whose wide position x·stride + off is inside, for one tap.
func (g *geometry) reach(axis, tap int) (lo, hi, off int) {
	s := g.stride[axis]
	off = tap*g.dilation[axis] - g.pad[axis]
	if off < 0 {
		lo = (-off + s - 1) / s
	}
	if room := g.wideD[axis] - off; room > 0 {
		hi = min(g.narrowD[axis], (room+s-1)/s)
	}
	return lo, hi, off
}

// lines visits, tap by tap and row by row, where a plane of narrow positions meets the wide plane: n narrow positions
// from x on, and wide ones from w on, the stride apart.
func (g *geometry) lines(visit func(tap, x, w, n int)) {
	tap := 0
	for kd := range g.kernel[0] {
		zlo, zhi, zoff := g.reach(0, kd)
		for kh := range g.kernel[1] {
			ylo, yhi, yoff := g.reach(1, kh)
			for kw := range g.kernel[2] {
				lo, hi, off := g.reach(2, kw)
				for z := zlo; z < zhi && lo < hi; z++ {
					for y := ylo; y < yhi; y++ {
						x := (z*g.narrowD[1]+y)*g.narrowD[2] + lo
						w := ((z*g.stride[0]+zoff)*g.wideD[1]+y*g.stride[1]+yoff)*g.wideD[2] + lo*g.stride[2] + off
						visit(tap, x, w, hi-lo)
					}
				}
				tap++
			}
		}
	}
}
