package cpu

import (
	"context"
	"fmt"
	"math"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// Reference computes elements of the problem's result one by one, in float64, by the loops of the definition: it is
// meant to be obviously right, not fast. It implements driver.Oracle for every operation, direction and rank.
func (d *Device) Reference(ctx context.Context, p problem.Problem, in driver.Operands, out problem.Role, at []int64) (driver.Truth, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if !plain(&p) || out != p.Outputs()[0] {
		return nil, fmt.Errorf("%w: the oracle does not know %s", driver.ErrUnsupported, p.String())
	}
	if err := checkOperands(&p, in); err != nil {
		return nil, err
	}
	total := problem.Elems(p.Shape(out))
	for _, e := range at {
		if e < 0 || e >= total {
			return nil, fmt.Errorf("%w: element %d of a result of %d", driver.ErrInvalid, e, total)
		}
	}
	if p.Op == problem.Pool && p.Dir == problem.BackwardData {
		return poolBackward(&p, in, at), nil
	}
	element := elementOf(&p, in)
	count := int64(len(at))
	if at == nil {
		count = total
	}
	t := make(driver.Truth, count)
	err := parallel(ctx, int(count), 1+int(1<<16/max(1, p.Terms())), func(i int) {
		e := int64(i)
		if at != nil {
			e = at[i]
		}
		v, m, n := element(e)
		t[i] = judged(&p, v, m, n)
	})
	return t, err
}

func checkOperands(p *problem.Problem, in driver.Operands) error {
	src, wei, dst := problem.Elems(p.Shape(problem.Src)), problem.Elems(p.Shape(problem.Wei)), problem.Elems(p.Shape(problem.Dst))
	bia := problem.Elems(p.Shape(problem.Bia))
	switch p.Dir {
	case problem.Forward:
		dst = 0
	case problem.BackwardData:
		bia = 0
		if p.Op != problem.Pool || p.Kind != problem.Max {
			src = 0
		}
	case problem.BackwardWeights:
		wei, bia = 0, 0
	}
	for _, c := range []struct {
		name string
		got  int
		want int64
	}{{"src", len(in[problem.Src].F32), src}, {"wei", len(in[problem.Wei].F32), wei}, {"bia", len(in[problem.Bia].F32), bia},
		{"diff_dst", len(in[problem.DiffDst].F32), dst}} {
		if c.want != 0 && int64(c.got) != c.want {
			return fmt.Errorf("%w: %s has %d elements, %s %s wants %d", driver.ErrInvalid, c.name, c.got, p.Dir, p.String(), c.want)
		}
	}
	return nil
}

// sum is a float64 sum with its magnitude and its number of terms.
type sum struct {
	value, magnitude float64
	terms            int64
}

func (s *sum) add(product float64) {
	s.value += product
	s.magnitude += math.Abs(product)
	s.terms++
}

// elementOf returns the function that computes one element of the result by its flat index.
//
// Convolution and its transpose are written once: "wide" is the convolution's src and the transpose's dst, "narrow"
// the other one, and the weights are [narrow channel][wide channel in group][kernel…] in both.
func elementOf(p *problem.Problem, in driver.Operands) func(int64) (float64, float64, int64) {
	if p.Op == problem.Pool {
		return func(i int64) (float64, float64, int64) { return poolElement(p, in[problem.Src].F32, i) }
	}
	g := newGeometry(p)
	wide, narrow := in[problem.Src].F32, in[problem.DiffDst].F32
	if p.Op == problem.Deconv {
		wide, narrow = narrow, wide
	}
	forward := p.Dir == problem.Forward
	finish := func(s sum, channel int) (float64, float64, int64) {
		if forward && p.Bias {
			b := float64(in[problem.Bia].F32[channel])
			s.value += b
			s.magnitude += math.Abs(b)
		}
		if forward && len(p.Posts()) > 0 && s.value < 0 {
			s.value = 0
		}
		return s.value, s.magnitude, s.terms
	}
	switch {
	case p.Dir == problem.BackwardWeights:
		return func(i int64) (float64, float64, int64) { return finish(g.weights(wide, narrow, i), 0) }
	case (p.Op == problem.Conv) == forward: // a convolution forward, or a transposed one's backward data
		return func(i int64) (float64, float64, int64) {
			s, c := g.narrow(wide, in[problem.Wei].F32, i)
			return finish(s, c)
		}
	default:
		return func(i int64) (float64, float64, int64) {
			s, c := g.wide(narrow, in[problem.Wei].F32, i)
			return finish(s, c)
		}
	}
}

// geometry relates wide and narrow positions: wide = narrow·stride − pad + tap·dilation on each axis.
type geometry struct {
	n, groups    int
	wideC        int
	narrowC      int
	wideD        [3]int
	narrowD      [3]int
	kernel       [3]int
	stride, pad  [3]int
	dilation     [3]int
	wideCG       int // channels in a group
	narrowCG     int
	wideSp, nSp  int
	kernelVolume int
}

func newGeometry(p *problem.Problem) *geometry {
	g := &geometry{n: p.N, groups: p.Groups, wideC: p.IC, narrowC: p.OC, wideSp: 1, nSp: 1, kernelVolume: 1}
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
		g.nSp *= g.narrowD[i]
		g.kernelVolume *= a.Kernel
	}
	return g
}

// split takes a flat index apart, innermost size last.
func split(i int64, sizes [3]int) (outer int, pos [3]int) {
	for k := 2; k >= 0; k-- {
		pos[k] = int(i % int64(sizes[k]))
		i /= int64(sizes[k])
	}
	return int(i), pos
}

// narrow is Σ over channels c of the group and taps k of wide[n, c, x·s−pad+k·d] · wei[o, c, k].
func (g *geometry) narrow(wide, wei []float32, i int64) (s sum, channel int) {
	nc, x := split(i, g.narrowD)
	n, o := nc/g.narrowC, nc%g.narrowC
	first := n*g.wideC + o/g.narrowCG*g.wideCG
	for c := range g.wideCG {
		plane := wide[(first+c)*g.wideSp:][:g.wideSp]
		taps := wei[(o*g.wideCG+c)*g.kernelVolume:][:g.kernelVolume]
		for kd := range g.kernel[0] {
			z := x[0]*g.stride[0] - g.pad[0] + kd*g.dilation[0]
			if z < 0 || z >= g.wideD[0] {
				continue
			}
			for kh := range g.kernel[1] {
				y := x[1]*g.stride[1] - g.pad[1] + kh*g.dilation[1]
				if y < 0 || y >= g.wideD[1] {
					continue
				}
				row := plane[(z*g.wideD[1]+y)*g.wideD[2]:][:g.wideD[2]]
				for kw := range g.kernel[2] {
					v := x[2]*g.stride[2] - g.pad[2] + kw*g.dilation[2]
					if v >= 0 && v < len(row) {
						s.add(float64(row[v]) * float64(taps[(kd*g.kernel[1]+kh)*g.kernel[2]+kw]))
					}
				}
			}
		}
	}
	return s, o
}

// wide is the adjoint: Σ over narrow channels o of the group and taps k of narrow[n, o, x] · wei[o, c, k], for the x with
// x·s−pad+k·d = the wide position.
func (g *geometry) wide(narrow, wei []float32, i int64) (s sum, channel int) {
	nc, w := split(i, g.wideD)
	n, c := nc/g.wideC, nc%g.wideC
	group := c / g.wideCG
	for j := range g.narrowCG {
		o := group*g.narrowCG + j
		plane := narrow[(n*g.narrowC+o)*g.nSp:][:g.nSp]
		taps := wei[(o*g.wideCG+c%g.wideCG)*g.kernelVolume:][:g.kernelVolume]
		for k := range g.kernelVolume {
			_, tap := split(int64(k), g.kernel)
			x, hit := 0, true
			for a := range 3 {
				at := w[a] + g.pad[a] - tap[a]*g.dilation[a]
				if at < 0 || at%g.stride[a] != 0 || at/g.stride[a] >= g.narrowD[a] {
					hit = false
					break
				}
				x = x*g.narrowD[a] + at/g.stride[a]
			}
			if hit {
				s.add(float64(plane[x]) * float64(taps[k]))
			}
		}
	}
	return s, c
}

// weights is Σ over batch n and narrow positions x of narrow[n, o, x] · wide[n, c, x·s−pad+k·d].
func (g *geometry) weights(wide, narrow []float32, i int64) (s sum) {
	oc, tap := split(i, g.kernel)
	o, c := oc/g.wideCG, oc%g.wideCG+oc/g.wideCG/g.narrowCG*g.wideCG
	for n := range g.n {
		from := wide[(n*g.wideC+c)*g.wideSp:][:g.wideSp]
		by := narrow[(n*g.narrowC+o)*g.nSp:][:g.nSp]
		for j := range by {
			_, x := split(int64(j), g.narrowD)
			w, hit := 0, true
			for a := range 3 {
				at := x[a]*g.stride[a] - g.pad[a] + tap[a]*g.dilation[a]
				if at < 0 || at >= g.wideD[a] {
					hit = false
					break
				}
				w = w*g.wideD[a] + at
			}
			if hit {
				s.add(float64(from[w]) * float64(by[j]))
			}
		}
	}
	return s
}
