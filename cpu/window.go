package cpu

import "github.com/gonvolve/gonvolve/engine/problem"

// windows are the cells of a pooling problem's windows, axis by axis.
type windows struct {
	spans   [3][]span
	step    [3]int // from cell to cell
	in      [3]int // sizes of the plane that is read
	first   [3]int // where that plane starts in the whole one
	kind    problem.PoolKind
	divisor int // of averages; 0 for kind
	taps    int
}

// span is the cells of one window on one axis.
type span struct {
	at     int // the first that lies in the source
	n      int // those in the source
	padded int // those in source or padding, but not in what ceil rounding lets hang over
}

func newWindows(p *problem.Problem) *windows {
	w := &windows{kind: p.Kind, divisor: p.Divisor, taps: int(p.Taps())}
	for i := range p.Axes {
		a := &p.Axes[i]
		w.in[i], w.step[i] = a.In, a.Dilation
		w.spans[i] = make([]span, a.Out)
		for x := range w.spans[i] {
			if p.Adaptive {
				start, end := a.AdaptiveWindow(x)
				w.spans[i][x] = span{start, end - start, end - start}
			} else {
				w.spans[i][x] = spanOf(a, x)
			}
		}
	}
	if p.Adaptive && w.kind == problem.AvgFull {
		w.kind = problem.AvgExclude // windows differ in size, and all lie inside
	}
	return w
}

// spanOf is window x of an axis. A negative right padding crops the source.
func spanOf(a *problem.Axis, x int) span {
	start := x*a.Stride - a.PadL
	below := func(limit int) int { // taps with start + k·dilation < limit
		return min(a.Kernel, max(0, (limit-start+a.Dilation-1)/a.Dilation))
	}
	first, end := below(0), below(a.In+min(0, a.PadR))
	return span{start + first*a.Dilation, max(0, end-first), below(a.In + a.PadR)}
}

// cells visits the cells of window x in row-major order: each row's first index in the plane, and how many.
func (w *windows) cells(x [3]int, visit func(at, n int)) {
	d, h, v := w.spans[0][x[0]], w.spans[1][x[1]], w.spans[2][x[2]]
	for i := range d.n {
		for j := range h.n {
			visit(w.cell(d.at+i*w.step[0], h.at+j*w.step[1], v.at), v.n)
		}
	}
}

// cell is the index in the plane that is read of a cell of the whole plane.
func (w *windows) cell(z, y, x int) int {
	return ((z-w.first[0])*w.in[1]+y-w.first[1])*w.in[2] + x - w.first[2]
}

// count is the cells of window x that lie in the source.
func (w *windows) count(x [3]int) int {
	return w.spans[0][x[0]].n * w.spans[1][x[1]].n * w.spans[2][x[2]].n
}

// divideBy is the divisor of an average over window x.
func (w *windows) divideBy(x [3]int) int {
	switch {
	case w.divisor != 0:
		return w.divisor
	case w.kind == problem.AvgFull:
		return w.taps
	case w.kind == problem.AvgInclude:
		return w.spans[0][x[0]].padded * w.spans[1][x[1]].padded * w.spans[2][x[2]].padded
	}
	return w.count(x)
}

// divisors are those of all windows, not below 1: the sum of no cells is 0.
func (w *windows) divisors(out [3]int) []float32 {
	all := make([]float32, volume(out))
	for i := range all {
		_, x := split(int64(i), out)
		all[i] = float32(max(1, w.divideBy(x)))
	}
	return all
}

// holds says whether a window has a cell of the plane, if that is one.
func (w *windows) holds(s [3]span, cell int) bool {
	if s[0].n == 0 || s[1].n == 0 || s[2].n == 0 {
		return false
	}
	from := cell - w.cell(s[0].at, s[1].at, s[2].at)
	if from < 0 {
		return false
	}
	steps := [3]int{w.step[0] * w.in[1] * w.in[2], w.step[1] * w.in[2], w.step[2]}
	for a, n := range [2]int{s[0].n, s[1].n} {
		if n > 1 {
			i := from / steps[a]
			if i >= n {
				return false
			}
			from -= i * steps[a]
		}
	}
	return from <= (s[2].n-1)*steps[2] && (steps[2] == 1 || from%steps[2] == 0)
}
