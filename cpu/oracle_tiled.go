package cpu

import (
	"math"

	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/rounding"
)

// tiled is where an arithmetic that transforms tiles of results has what they come from. Its bounds are of tiles, too.
type tiled struct {
	src, wei []float32
	n        int
	groups   int
	channels int    // of a group that are summed …
	results  int    // … and made
	taps     int    // of a kernel
	in, out  [2]int // planes: of the source, and of the results with what a padding mode adds to a gradient
	step     [2]int // results of a tile
	span     [2]int // the kernel's extent
	from     [2][]int
	flipped  bool // transposed: taps in reverse order, and the weights' channels exchanged
	tiles    [2]int

	back   [2][][]int // the results that a gradient adds up into one of its cells, along an axis; nil: it is one
	output [3]int     // the plane of the output
}

// tileBound is how far the results of tiles may be off.
type tileBound interface {
	// magnitude belongs to the result at y, x of a plane and is never below its absolute value.
	magnitude(plane, y, x int) float64
	// bounded is a result that has a magnitude.
	bounded(value float64, terms int64, magnitude float64) rounding.Number
}

// newTiled returns the tiles of a problem in two dimensions without strides, of so many results.
func newTiled(p *problem.Problem, g *geometry, t *tensors, step [2]int) tiled {
	w := tiled{wei: t.f[problem.Wei], n: g.n, groups: g.groups, channels: g.wideCG, results: g.narrowCG, taps: g.taps, step: step}
	w.src, w.flipped = t.f[problem.Src], (p.Op == problem.Deconv) == (p.Dir == problem.Forward)
	if p.Dir == problem.BackwardData {
		w.src = t.f[problem.DiffDst]
	}
	w.output = g.narrowD
	if w.flipped {
		w.channels, w.results, w.output = w.results, w.channels, g.wideD
	}
	for i := range 2 {
		pad, wide, narrow := g.pad[i+1], g.wideD[i+1], g.narrowD[i+1]
		extra := (g.kernel[i+1] - 1) * g.dilation[i+1]
		w.span[i] = extra + 1
		w.in[i], w.out[i] = wide, narrow
		first := -pad
		if w.flipped {
			w.in[i], w.out[i], first = narrow, wide, pad-extra
		}
		if w.flipped && g.mode != problem.Zeros {
			w.out[i], first = narrow+extra, -extra
			w.back[i] = make([][]int, wide)
			for u := range w.out[i] {
				cell := source(g.mode, u-pad, wide)
				w.back[i][cell] = append(w.back[i][cell], u)
			}
		}
		w.tiles[i] = (w.out[i] + step[i] - 1) / step[i]
		w.from[i] = make([]int, w.tiles[i]*step[i]+extra)
		for u := range w.from[i] {
			mode := g.mode
			if w.flipped || u >= w.out[i]+extra {
				mode = problem.Zeros // what overhangs the padded source belongs to no result
			}
			w.from[i][u] = source(mode, u+first, w.in[i])
		}
	}
	return w
}

// plane is the number of tiles of a plane.
func (w *tiled) plane() int { return w.tiles[0] * w.tiles[1] }

// read sets d, of zeros, to a tile of channel c of an image's group, and to so many cells more on each side.
func (w *tiled) read(d []float64, ng, c, tile, more int) {
	plane := w.src[(ng*w.channels+c)*w.in[0]*w.in[1]:][:w.in[0]*w.in[1]]
	y0, x0 := tile/w.tiles[1]*w.step[0]-more, tile%w.tiles[1]*w.step[1]-more
	height, width := w.step[0]+w.span[0]-1+2*more, w.step[1]+w.span[1]-1+2*more
	for i := range height {
		for j := range width {
			if y, x := w.cell(0, y0+i), w.cell(1, x0+j); y >= 0 && x >= 0 {
				d[i*width+j] = float64(plane[y*w.in[1]+x])
			}
		}
	}
}

// cell is the source's that cell u of an axis of the tiles comes from, or less than 0 if it is none.
func (w *tiled) cell(axis, u int) int {
	if u < 0 || u >= len(w.from[axis]) {
		return -1
	}
	return w.from[axis][u]
}

// kernel is the weights of result o and channel c of a group.
func (w *tiled) kernel(group, o, c int) []float32 {
	at := (group*w.results+o)*w.channels + c
	if w.flipped {
		at = (group*w.channels+c)*w.results + o
	}
	return w.wei[at*w.taps:][:w.taps]
}

// number is a plain sum as by computes it: element i of the output.
func (w *tiled) number(by tileBound, s sum, i int64) rounding.Number {
	nc, at := split(i, w.output)
	if w.back[0] == nil {
		return by.bounded(s.value, s.terms, by.magnitude(nc, at[1], at[2]))
	}
	// The gradient of a padded source: what falls on the border is added to the cells that were copied there. A part is
	// as large as its magnitude at most.
	var parts []rounding.Number
	for _, y := range w.back[0][at[1]] {
		for _, x := range w.back[1][at[2]] {
			m := by.magnitude(nc, y, x)
			parts = append(parts, by.bounded(m, s.terms, m))
		}
	}
	n := rounding.Total(parts...)
	n.Value = s.value
	return n
}

// largest absolute value.
func largest(x []float32) (most float64) {
	for _, v := range x {
		most = max(most, math.Abs(float64(v)))
	}
	return most
}
