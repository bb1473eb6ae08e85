package gpu

import (
	"github.com/gonvolve/gonvolve/engine/problem"
)

// conv is the convolution behind a problem, whatever its operation and direction. "wide" is the convolution's src and
// the transposed one's dst, "narrow" the other one: wide = narrow·stride − pad + tap·dilation on each axis. The weights
// are [groups·narrowG][wideG][kernel…] for both.
type conv struct {
	n, groups      int
	wideG, narrowG int // channels in a group
	wide, narrow   [3]int
	k, s, p, d     [3]int
	// transposed: computes wide from narrow, which is a transposed convolution forward or a convolution's backward data.
	transposed bool
	src, dst   problem.Role // what the directions with weights read beside them, and write
}

// convOf reads a Conv, Deconv or Deform.
func convOf(p *problem.Problem) *conv {
	c := &conv{n: p.N, groups: p.Groups, wideG: p.IC / p.Groups, narrowG: p.OC / p.Groups}
	c.src, c.dst = problem.Src, problem.Dst
	if p.Dir == problem.BackwardData {
		c.src, c.dst = problem.DiffDst, problem.DiffSrc
	}
	c.transposed = (p.Op == problem.Deconv) != (p.Dir == problem.BackwardData)
	for i, a := range p.Axes {
		c.wide[i], c.narrow[i] = a.In, a.Out
		c.k[i], c.s[i], c.p[i], c.d[i] = a.Kernel, a.Stride, a.PadL, a.Dilation
	}
	if p.Op == problem.Deconv {
		c.wide, c.narrow = c.narrow, c.wide
		c.wideG, c.narrowG = c.narrowG, c.wideG
	}
	return c
}

func volume(sizes [3]int) int { return sizes[0] * sizes[1] * sizes[2] }

// taps of the kernel.
func (c *conv) taps() int { return volume(c.k) }

// weights is how many there are.
func (c *conv) weights() int { return c.groups * c.narrowG * c.wideG * c.taps() }

// results is how many elements wide (transposed) or narrow has.
func (c *conv) results() int {
	if c.transposed {
		return c.n * c.groups * c.wideG * volume(c.wide)
	}
	return c.n * c.groups * c.narrowG * volume(c.narrow)
}

// reduced is the number of channels that are summed into a result.
func (c *conv) reduced() int {
	if c.transposed {
		return c.narrowG
	}
	return c.wideG
}

// words are kernel parameters: the int32 of each int and the three of each [3]int, in order.
func words(values ...any) []int32 {
	var w []int32
	for _, v := range values {
		switch v := v.(type) {
		case int:
			w = append(w, int32(v))
		case [3]int:
			w = append(w, int32(v[0]), int32(v[1]), int32(v[2]))
		case box:
			w = append(w, v[:]...)
		}
	}
	return w
}
