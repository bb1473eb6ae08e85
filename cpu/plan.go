package cpu

import (
	"context"
	"fmt"
	"math"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// plan is a problem with its algorithm.
type plan struct {
	dev  *Device
	p    problem.Problem
	info driver.PlanInfo
	gemm *gemm // of algorithm gemm
}

// weights are copies of weights and bias: the matrix product packs its operands itself.
type weights struct {
	plan     *plan
	wei, bia *buffer
}

func (w *weights) Bytes() int64 { return w.wei.bytes + w.bia.bytes }
func (w *weights) Free()        { w.wei.Free(); w.bia.Free() }

func (pl *plan) Info() driver.PlanInfo { return pl.info }
func (pl *plan) Close() error          { return nil }

// Pack implements driver.Plan.
func (pl *plan) Pack(ctx context.Context, s driver.Stream, c driver.Buffers) (driver.Weights, driver.Event, error) {
	if pl.p.Op == problem.Pool {
		return nil, nil, fmt.Errorf("%w: pooling has no weights", driver.ErrInvalid)
	}
	st, err := own(s)
	if err != nil {
		return nil, nil, err
	}
	from, err := floats(c[problem.Wei], problem.Elems(pl.p.Shape(problem.Wei)))
	if err != nil {
		return nil, nil, err
	}
	var fromBias []float32
	if pl.p.Bias {
		if fromBias, err = floats(c[problem.Bia], problem.Elems(pl.p.Shape(problem.Bia))); err != nil {
			return nil, nil, err
		}
	}
	w := &weights{plan: pl}
	for _, c := range []struct {
		to   **buffer
		from []float32
	}{{&w.wei, from}, {&w.bia, fromBias}} {
		b, err := pl.dev.Alloc(4 * int64(len(c.from)))
		if err != nil {
			if w.wei != nil {
				w.wei.Free()
			}
			return nil, nil, err
		}
		*c.to = b.(*buffer)
	}
	e, err := st.submit(ctx, func(context.Context) error {
		copy(w.wei.data, from)
		copy(w.bia.data, fromBias)
		return nil
	})
	if err != nil {
		w.Free()
		return nil, nil, err
	}
	return w, e, nil
}

func own(s driver.Stream) (*stream, error) {
	st, ok := s.(*stream)
	if !ok {
		return nil, fmt.Errorf("%w: not a stream of the cpu device", driver.ErrInvalid)
	}
	return st, nil
}

// Run implements driver.Plan.
func (pl *plan) Run(ctx context.Context, s driver.Stream, a driver.Args) (driver.Event, error) {
	st, err := own(s)
	if err != nil {
		return nil, err
	}
	src, err := floats(a.Buffers[problem.Src], problem.Elems(pl.p.Shape(problem.Src)))
	if err != nil {
		return nil, fmt.Errorf("src: %w", err)
	}
	dst, err := floats(a.Buffers[problem.Dst], problem.Elems(pl.p.Shape(problem.Dst)))
	if err != nil {
		return nil, fmt.Errorf("dst: %w", err)
	}
	var wei, bia []float32
	if pl.p.Op != problem.Pool {
		w, ok := a.Weights.(*weights)
		if !ok || w.plan != pl {
			return nil, fmt.Errorf("%w: weights that this plan packed are needed", driver.ErrInvalid)
		}
		if w.wei.freed.Load() {
			return nil, fmt.Errorf("%w: weights", driver.ErrClosed)
		}
		wei, bia = w.wei.data, w.bia.data
	}
	return st.submit(ctx, func(ctx context.Context) error {
		switch pl.info.Algorithm {
		case "gemm":
			return pl.gemm.run(ctx, src, wei, bia, dst)
		case "direct":
			return pool(ctx, &pl.p, src, dst)
		}
		t, err := pl.dev.Reference(ctx, pl.p, driver.Operands{
			problem.Src: {F32: src}, problem.Wei: {F32: wei}, problem.Bia: {F32: bia}}, problem.Dst, nil)
		for i, e := range t {
			dst[i] = float32(e.Value)
		}
		return err
	})
}

// activate applies bias and activation to one channel's results.
func activate(relu bool, row []float32, bias float32) {
	for i, v := range row {
		v += bias
		if relu && v < 0 {
			v = 0
		}
		row[i] = v
	}
}

// pool runs max and average pooling forward, plane by plane. Sums are float32, like the GPU's, in row-major order.
func pool(ctx context.Context, p *problem.Problem, src, dst []float32) error {
	in, out := spatialSizes(p)
	planes := p.N * p.IC
	rows := planes * out[0] * out[1]
	return parallel(ctx, rows, 1+(1<<14)/max(1, out[2]*int(p.Taps())), func(i int) {
		y := i % out[1]
		z := i / out[1] % out[0]
		plane := src[i/out[1]/out[0]*volume(in):][:volume(in)]
		row := dst[i*out[2]:][:out[2]]
		for x := range row {
			row[x] = poolWindow(p, plane, [3]int{z, y, x})
		}
	})
}

// span is the taps first ≤ k < end of an axis that lie in the source for output position x, the source position of
// the first, and the number of taps in source or padding but not in the overhang of ceil rounding.
func span(a *problem.Axis, x int) (first, end, pos, padded int) {
	start := x*a.Stride - a.PadL
	below := func(limit int) int { // taps with start + k·dilation < limit
		return min(a.Kernel, max(0, (limit-start+a.Dilation-1)/a.Dilation))
	}
	first, end, padded = below(0), below(a.In+min(0, a.PadR)), below(a.In+a.PadR)
	return first, end, start + first*a.Dilation, padded
}

func poolWindow(p *problem.Problem, plane []float32, x [3]int) float32 {
	var first, end, pos, padded [3]int
	for a := range 3 {
		first[a], end[a], pos[a], padded[a] = span(&p.Axes[a], x[a])
	}
	best, total := float32(math.Inf(-1)), float32(0)
	h, w := &p.Axes[1], &p.Axes[2]
	for kd, z := first[0], pos[0]; kd < end[0]; kd, z = kd+1, z+p.Axes[0].Dilation {
		for kh, y := first[1], pos[1]; kh < end[1]; kh, y = kh+1, y+h.Dilation {
			row := plane[(z*h.In+y)*w.In:][:w.In]
			for kw, v := first[2], pos[2]; kw < end[2]; kw, v = kw+1, v+w.Dilation {
				c := row[v]
				total += c
				if c > best || c != c {
					best = c
				}
			}
		}
	}
	var cells int
	switch p.Kind {
	case problem.Max:
		return best
	case problem.AvgFull:
		cells = int(p.Taps())
	case problem.AvgInclude:
		cells = padded[0] * padded[1] * padded[2]
	case problem.AvgExclude:
		cells = max(0, end[0]-first[0]) * max(0, end[1]-first[1]) * max(0, end[2]-first[2])
	}
	if total == 0 && cells == 0 {
		return 0
	}
	return total / float32(cells)
}
