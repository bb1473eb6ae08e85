package cpu

import (
	"context"
	"fmt"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// averaged is the gradient of average pooling: each cell gets the shares of all windows that have it,
//
//	diff_src[c] = Σ diff_dst[x] / divisor[x]     over the windows x that have c
//
// as sums of rows, whose weights are ones. A window that is the whole plane gives all its cells the same.
type averaged struct {
	isa      simd.ISA
	planes   int
	in, out  int
	divisors []float32
	sums     *igemm // the adjoint of a convolution of planes; nil: one window
}

func newAveraged(d *Device, p *problem.Problem, w *windows) *averaged {
	in, out := spatialSizes(p)
	s := &averaged{isa: d.isa, planes: p.N * p.IC, in: volume(in), out: volume(out), divisors: w.divisors(out)}
	if !w.averagesAll(out) {
		s.sums = newIgemm(d, &problem.Problem{Op: problem.Conv, Dir: problem.BackwardData, N: s.planes, Groups: 1, IC: 1, OC: 1,
			Rank: p.Rank, Axes: p.Axes}, true)
		s.sums.ones = make([]float32, s.sums.g.taps)
		fill(s.sums.ones, 1)
	}
	return s
}

func (s *averaged) String() string {
	if s.sums == nil {
		return fmt.Sprintf("%s, one window", s.isa)
	}
	return s.sums.String()
}

func (s *averaged) scratch() int {
	if s.sums == nil {
		return 0
	}
	return s.planes*s.out + s.sums.scratch()
}

// shared is a run.
type shared struct {
	*averaged
	from, shares, to []float32
}

var (
	dividing  = repeated[shared]{do: (*shared).divide}
	spreading = repeated[shared]{do: (*shared).spread}
)

func (s *averaged) run(ctx context.Context, a *arena, from, to []float32) error {
	if s.sums == nil {
		return spreading.parallel(ctx, s.planes, 1+shareElems/max(1, s.in), &shared{s, from, nil, to})
	}
	shares := a.get(s.planes * s.out)
	defer a.put(shares)
	err := dividing.parallel(ctx, s.planes, 1+shareElems/max(1, s.out), &shared{s, from, shares, nil})
	if err != nil {
		return err
	}
	return s.sums.run(ctx, a, shares, s.sums.ones, to, nil)
}

// divide makes the shares of a plane's windows.
func (s *shared) divide(plane int) {
	to := s.shares[plane*s.out:][:s.out]
	copy(to, s.from[plane*s.out:])
	b := simd.Block{C: to, LD: s.out, Rows: 1, Cols: s.out}
	b.Divide(s.isa, simd.Params{V: s.divisors, ByCol: true})
}

// spread gives a plane its window's share.
func (s *shared) spread(plane int) {
	fill(s.to[plane*s.in:][:s.in], s.from[plane]/s.divisors[0])
}
