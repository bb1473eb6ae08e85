package cpu

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/rounding"
	"github.com/gonvolve/gonvolve/engine/winograd"
)

// Winograd's arithmetic: the true results are those of the plain sums, but a result may be off by what package winograd
// says of its whole tile.

const (
	winogradBatch   = 32      // tiles that share the transforms of a channel's weights
	winogradResults = 1 << 24 // so many are bounded at once, of larger results the tiles that are asked for …
	winogradAlone   = 10      // as of any result if few are: a tile alone, with its transforms, costs so many times more
)

// winogradSums bounds the results of a convolution by F(m×m, 3×3).
type winogradSums struct {
	f        *winograd.Transform
	src, wei []float32
	n        int
	groups   int
	channels int    // of a group that are summed …
	results  int    // … and made
	in, out  [2]int // planes: of the source, and of the results with what a padding mode adds to a gradient
	from     [2][]int
	flipped  bool // transposed: taps in reverse order, and the weights' channels exchanged
	tiles    [2]int

	largest float64 // intermediate value of the transforms
	lost    float64
	all     []float64 // magnitudes of all results, tile by tile, or …
	some    sync.Map  // … of the tiles that were asked for

	back   [2][][]int // the results that a gradient adds up into one of its cells, along an axis; nil: it is one
	result [3]int     // the plane of the output
}

// newWinograd prepares the bounds of count elements.
func newWinograd(ctx context.Context, p *problem.Problem, a driver.Arithmetic, g *geometry, t *tensors, count int64,
) (*winogradSums, error) {
	if err := winograd.Applies(p); err != nil || a.Half != 0 {
		return nil, fmt.Errorf("%w: no bound for %s of %s (%w)", driver.ErrUnsupported, a, p.String(), err)
	}
	f, err := winograd.New(a.Winograd)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", driver.ErrUnsupported, err)
	}
	w := &winogradSums{f: f, wei: t.f[problem.Wei], n: g.n, groups: g.groups, channels: g.wideCG, results: g.narrowCG}
	w.src, w.flipped = t.f[problem.Src], (p.Op == problem.Deconv) == (p.Dir == problem.Forward)
	if p.Dir == problem.BackwardData {
		w.src = t.f[problem.DiffDst]
	}
	w.result = g.narrowD
	if w.flipped {
		w.channels, w.results, w.result = w.results, w.channels, g.wideD
	}
	for i := range 2 {
		pad, wide, narrow := g.pad[i+1], g.wideD[i+1], g.narrowD[i+1]
		w.in[i], w.out[i] = wide, narrow
		first := -pad
		if w.flipped {
			w.in[i], w.out[i], first = narrow, wide, pad-(winograd.R-1)
		}
		if w.flipped && g.mode != problem.Zeros {
			w.out[i], first = narrow+winograd.R-1, -(winograd.R - 1)
			w.back[i] = make([][]int, wide)
			for u := range w.out[i] {
				cell := source(g.mode, u-pad, wide)
				w.back[i][cell] = append(w.back[i][cell], u)
			}
		}
		w.tiles[i] = (w.out[i] + f.M - 1) / f.M
		w.from[i] = make([]int, w.tiles[i]*f.M+winograd.R-1)
		for u := range w.from[i] {
			mode := g.mode
			if w.flipped || u >= w.out[i]+winograd.R-1 {
				mode = problem.Zeros // what overhangs the padded source belongs to no result
			}
			w.from[i][u] = source(mode, u+first, w.in[i])
		}
	}
	big := func(x []float32) (most float64) {
		for _, v := range x {
			most = max(most, math.Abs(float64(v)))
		}
		return most
	}
	inU, inV := f.Largest(big(w.wei), big(w.src))
	w.largest, w.lost = max(inU, inV), f.Lost(w.channels, inU, inV)
	tiles := w.n * w.groups * w.results * w.plane()
	if tiles*f.M*f.M <= winogradResults && count*winogradAlone > int64(tiles) {
		w.all = make([]float64, tiles*f.M*f.M)
		return w, w.bound(ctx)
	}
	return w, nil
}

// plane is the number of tiles of a plane.
func (w *winogradSums) plane() int { return w.tiles[0] * w.tiles[1] }

// bound computes the magnitudes of all results.
func (w *winogradSums) bound(ctx context.Context) error {
	batches := (w.plane() + winogradBatch - 1) / winogradBatch
	return parallel(ctx, w.n*w.groups*batches, 1, func(i int) {
		ng, first := i/batches, i%batches*winogradBatch
		count := min(winogradBatch, w.plane()-first)
		tt, mm := w.f.T*w.f.T, w.f.M*w.f.M
		cells := make([]float64, w.channels*count*tt)
		for c := range w.channels {
			for k := range count {
				w.cells(cells[(c*count+k)*tt:][:tt], ng, c, first+k)
			}
		}
		sums, u := make([]float64, count*tt), make([]float64, tt)
		for o := range w.results {
			clear(sums)
			for c := range w.channels {
				w.weights(u, ng%w.groups, o, c)
				for k := range count {
					s, v := sums[k*tt:][:tt], cells[(c*count+k)*tt:][:tt]
					for x := range s {
						s[x] += u[x] * v[x]
					}
				}
			}
			for k := range count {
				at := (ng*w.results+o)*w.plane() + first + k
				w.f.Results(w.all[at*mm:][:mm], sums[k*tt:][:tt])
			}
		}
	})
}

// one computes the magnitudes of one tile's results.
func (w *winogradSums) one(nc, tile int) []float64 {
	at := int64(nc)*int64(w.plane()) + int64(tile)
	if m, ok := w.some.Load(at); ok {
		return m.([]float64)
	}
	ng, o, tt := nc/w.results, nc%w.results, w.f.T*w.f.T
	sums, u, v := make([]float64, tt), make([]float64, tt), make([]float64, tt)
	for c := range w.channels {
		w.cells(v, ng, c, tile)
		w.weights(u, ng%w.groups, o, c)
		for x := range sums {
			sums[x] += u[x] * v[x]
		}
	}
	m := make([]float64, w.f.M*w.f.M)
	w.f.Results(m, sums)
	w.some.Store(at, m)
	return m
}

// cells is |Bᵀ| |d| |B| of a tile of channel c of an image's group.
func (w *winogradSums) cells(to []float64, ng, c, tile int) {
	var d [64]float64
	plane := w.src[(ng*w.channels+c)*w.in[0]*w.in[1]:][:w.in[0]*w.in[1]]
	y0, x0 := tile/w.tiles[1]*w.f.M, tile%w.tiles[1]*w.f.M
	for i := range w.f.T {
		for j := range w.f.T {
			if y, x := w.from[0][y0+i], w.from[1][x0+j]; y >= 0 && x >= 0 {
				d[i*w.f.T+j] = float64(plane[y*w.in[1]+x])
			}
		}
	}
	w.f.Cells(to, d[:])
}

// weights is |G| |g| |Gᵀ| of result o and channel c of a group.
func (w *winogradSums) weights(to []float64, group, o, c int) {
	const taps = winograd.R * winograd.R
	at := (group*w.results+o)*w.channels + c
	if w.flipped {
		at = (group*w.channels+c)*w.results + o
	}
	var g [taps]float64
	for k, v := range w.wei[at*taps:][:taps] {
		if w.flipped {
			k = taps - 1 - k
		}
		g[k] = float64(v)
	}
	w.f.Weights(to, g[:])
}

// number is a plain sum as Winograd's algorithm may compute it: element i of the output.
func (w *winogradSums) number(s sum, i int64) rounding.Number {
	nc, at := split(i, w.result)
	if w.back[0] == nil {
		return w.bounded(s.value, s.terms, w.magnitude(nc, at[1], at[2]))
	}
	// The gradient of a padded source: what falls on the border is added to the cells that were copied there. A part is
	// as large as its magnitude at most.
	var parts []rounding.Number
	for _, y := range w.back[0][at[1]] {
		for _, x := range w.back[1][at[2]] {
			m := w.magnitude(nc, y, x)
			parts = append(parts, w.bounded(m, s.terms, m))
		}
	}
	n := rounding.Total(parts...)
	n.Value = s.value
	return n
}

// bounded is a result that has a magnitude.
func (w *winogradSums) bounded(value float64, terms int64, magnitude float64) rounding.Number {
	n := rounding.Monomials(value, magnitude, terms, w.f.Roundings(w.channels), w.f.Grain(), w.lost)
	if n.Magnitude = max(magnitude, w.largest); n.Magnitude > math.MaxFloat32 {
		n.Bound = math.Inf(1)
	}
	return n
}

// magnitude of the result at y, x of a plane.
func (w *winogradSums) magnitude(nc, y, x int) float64 {
	m, tile := w.f.M, y/w.f.M*w.tiles[1]+x/w.f.M
	k := y%m*m + x%m
	if w.all != nil {
		return w.all[(nc*w.plane()+tile)*m*m+k]
	}
	return w.one(nc, tile)[k]
}
