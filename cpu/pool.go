package cpu

import (
	"context"
	"math"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// pooled is a pooling as its runs do it.
type pooled struct {
	p       *problem.Problem
	w       *windows
	t       *tensors
	in, out [3]int
}

var (
	poolingRows   = repeated[pooled]{do: (*pooled).row}
	poolingPlanes = repeated[pooled]{do: (*pooled).backward}
)

// pool runs pooling forward, row by row. Sums are float32, like the GPU's, in row-major order.
func pool(ctx context.Context, p *problem.Problem, w *windows, t *tensors) error {
	in, out := spatialSizes(p)
	rows := p.N * p.IC * out[0] * out[1]
	return poolingRows.parallel(ctx, rows, 1+(1<<14)/max(1, out[2]*int(p.Taps())), &pooled{p, w, t, in, out})
}

func (o *pooled) row(i int) {
	p, w, in, out := o.p, o.w, o.in, o.out
	zy, y := i/out[1], i%out[1]
	nc, z := zy/out[0], zy%out[0]
	plane := o.t.f[problem.Src][nc*volume(in):][:volume(in)]
	row := o.t.f[problem.Dst][i*out[2]:][:out[2]]
	for x := range row {
		at := [3]int{z, y, x}
		switch {
		case p.Indices != problem.NoIndices:
			var cell int
			row[x], cell = w.max(plane, at)
			o.t.i[problem.Ind][i*out[2]+x] = int32(indexOf(p.Indices, nc, cell, in))
		case p.Kind == problem.Lp:
			row[x] = float32(w.norm(plane, at, p.P))
		default:
			row[x] = w.value(plane, at)
		}
	}
}

// averagesAll says that there is one window, all of the plane, and its average is asked for.
func (w *windows) averagesAll(out [3]int) bool {
	one := [3]int{}
	return volume(out) == 1 && w.count(one) == volume(w.in) && w.kind != problem.Max && w.kind != problem.Lp
}

// value is a max or average window's result.
func (w *windows) value(plane []float32, x [3]int) float32 {
	if w.kind == problem.Max {
		v, _ := w.max(plane, x)
		return v
	}
	if w.count(x) == 0 {
		return 0
	}
	return w.sum(plane, x) / float32(w.divideBy(x))
}

// sum and max are most of pooling's time: they walk the cells without a call for each row.

func (w *windows) sum(plane []float32, x [3]int) (total float32) {
	d, h, v := w.spans[0][x[0]], w.spans[1][x[1]], w.spans[2][x[2]]
	if v.n == w.in[2] && h.n > 1 && w.step[1] == 1 && w.step[2] == 1 { // whole rows
		h.n, v.n = 1, h.n*v.n
	}
	for i := range d.n {
		for j := range h.n {
			cell := w.cell(d.at+i*w.step[0], h.at+j*w.step[1], v.at)
			if w.step[2] == 1 && v.n >= 16 {
				total += simd.Sum(plane[cell:][:v.n])
				continue
			}
			for range v.n {
				total += plane[cell]
				cell += w.step[2]
			}
		}
	}
	return total
}

// max is the largest value of a window and its cell: the first of equals, the last NaN before all, −∞ and −1 for no
// cells.
func (w *windows) max(plane []float32, x [3]int) (best float32, at int) {
	d, h, v := w.spans[0][x[0]], w.spans[1][x[1]], w.spans[2][x[2]]
	best, at = float32(math.Inf(-1)), -1
	for i := range d.n {
		for j := range h.n {
			cell := w.cell(d.at+i*w.step[0], h.at+j*w.step[1], v.at)
			for range v.n {
				if c := plane[cell]; c > best || c != c || at < 0 {
					best, at = c, cell
				}
				cell += w.step[2]
			}
		}
	}
	return best, at
}

// norm is (Σ|x|^P)^(1/P), in float64.
func (w *windows) norm(plane []float32, x [3]int, power int) float64 {
	var total float64
	w.cells(x, func(at, n int) {
		for i := range n {
			total += raised(math.Abs(float64(plane[at+i*w.step[2]])), power)
		}
	})
	return root(total, power)
}

// raised is a power of v.
func raised(v float64, power int) float64 {
	total := 1.0
	for ; power > 0; power >>= 1 {
		if power&1 == 1 {
			total *= v
		}
		v *= v
	}
	return total
}

// root is the P-th root of a sum.
func root(sum float64, power int) float64 {
	switch power {
	case 1:
		return sum
	case 2:
		return math.Sqrt(sum)
	}
	return math.Pow(sum, 1/float64(power))
}

// poolBackward spreads each diff_dst value over the cells that its result came from, plane by plane.
func poolBackward(ctx context.Context, p *problem.Problem, w *windows, t *tensors) error {
	in, out := spatialSizes(p)
	chunk := 1 + (1<<13)/(volume(in)+volume(out)*int(p.Taps()))
	return poolingPlanes.parallel(ctx, p.N*p.IC, chunk, &pooled{p, w, t, in, out})
}

func (o *pooled) backward(nc int) {
	p, w, in, out := o.p, o.w, o.in, o.out
	to := o.t.f[problem.DiffSrc][nc*volume(in):][:volume(in)]
	clear(to)
	var from []float32
	if src := o.t.f[problem.Src]; src != nil {
		from = src[nc*volume(in):][:volume(in)]
	}
	var x [3]int
	for i, v := range o.t.f[problem.DiffDst][nc*volume(out):][:volume(out)] {
		if i > 0 { // the next window
			for a := 2; a >= 0; a-- {
				if x[a]++; x[a] < out[a] {
					break
				}
				x[a] = 0
			}
		}
		switch {
		case p.Kind == problem.Max:
			if _, cell := w.max(from, x); cell >= 0 {
				to[cell] += v
			}
		case p.Kind == problem.Lp:
			w.normBackward(from, to, x, v, p.P)
		default:
			share := v / float32(max(1, w.divideBy(x)))
			w.cells(x, func(at, n int) {
				for i := range n {
					to[at+i*w.step[2]] += share
				}
			})
		}
	}
}

// normBackward adds dy·sign(x)·(|x|/y)^(P−1) to the cells of a window, 0 where y is.
func (w *windows) normBackward(plane, to []float32, x [3]int, dy float32, power int) {
	y := w.norm(plane, x, power)
	w.cells(x, func(at, n int) {
		for i := range n {
			cell := at + i*w.step[2]
			to[cell] += float32(normShare(float64(plane[cell]), y, float64(dy), power))
		}
	})
}

// normShare is dy·sign(v)·(|v|/y)^(P−1): what one window gives to the cell of value v.
func normShare(v, y, dy float64, power int) float64 {
	switch {
	case v == 0 || y == 0:
		return 0
	case power == 1 && v < 0:
		return -dy
	case power == 1 && v > 0:
		return dy
	}
	return dy * math.Copysign(raised(math.Abs(v)/y, power-1), v)
}
