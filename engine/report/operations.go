package report

import (
	"github.com/gonvolve/gonvolve/engine/fft"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/winograd"
)

// products is the part of the direct algorithm's operations that the record's algorithm does, its transforms left out.
func (r *Record) products(p *problem.Problem) float64 {
	m, part := r.how.Winograd, 1.0
	if t := r.how.FFT; t > 0 {
		part = 2 * float64(t*t) // real products of half as many complex numbers
		for _, a := range p.Axes[1:] {
			part *= float64(fftTiles(p, a, t)) / float64(counted(p, a)*a.Kernel)
		}
		return min(part, 1)
	}
	if m == 0 {
		return 1
	}
	for _, a := range p.Axes {
		if a.Kernel > 1 {
			tiles := (a.Out + m - 1) / m
			part *= float64(tiles*(m+a.Kernel-1)) / float64(a.Out*a.Kernel)
		}
	}
	return min(part, 1)
}

// own is the part with the transforms of the source and the result; weights are transformed once per plan.
func (r *Record) own(p *problem.Problem) float64 {
	return r.products(p) + r.transforms(p)/p.FLOPs()
}

func (r *Record) transforms(p *problem.Problem) float64 {
	tiles := float64(p.N)
	var source, result int
	switch {
	case r.how.FFT > 0:
		t, rows := r.how.FFT, 0
		for i, a := range p.Axes[1:] {
			tiles *= float64(fftTiles(p, a, t))
			if i == 0 {
				rows = t - a.Extent() + 1
			}
		}
		source, result = fft.Operations(t, t), fft.Operations(t, rows)
	case r.how.Winograd > 0:
		f, err := winograd.New(r.how.Winograd)
		if err != nil {
			return 0
		}
		for _, a := range p.Axes[1:] {
			tiles *= float64((a.Out + f.M - 1) / f.M)
		}
		source, result = f.Operations()
	}
	from, to := p.IC, p.OC
	if p.Dir == problem.BackwardData {
		from, to = to, from
	}
	return tiles * (float64(source)*float64(from) + float64(result)*float64(to))
}

// fftTiles are those of t cells along an axis, in either direction.
func fftTiles(p *problem.Problem, a problem.Axis, t int) int {
	step := t - a.Extent() + 1
	return (min(a.In, a.Out) + step - 1) / step
}

// counted is how many positions along an axis the direct algorithm's operations are counted for.
func counted(p *problem.Problem, a problem.Axis) int {
	if p.Op == problem.Deconv {
		return a.In
	}
	return a.Out
}
