package cpu

import (
	"context"
	"fmt"
	"math"
	"slices"
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
	tiled
	f   *winograd.Transform
	cut bool // tiles of the driver's may be elsewhere

	largest float64 // intermediate value of the transforms
	lost    float64
	all     []float64 // magnitudes of all results, tile by tile, or …
	some    sync.Map  // … of the tiles that were asked for
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
	w := &winogradSums{tiled: newTiled(p, g, t, [2]int{f.M, f.M}), f: f, cut: a.Cut}
	inU, inV := f.Largest(largest(w.wei), largest(w.src))
	w.largest, w.lost = max(inU, inV), f.Lost(w.channels, inU, inV)
	tiles := w.n * w.groups * w.results * w.plane()
	if tiles*f.M*f.M <= winogradResults && count*winogradAlone > int64(tiles) {
		w.all = make([]float64, tiles*f.M*f.M)
		return w, w.bound(ctx)
	}
	return w, nil
}

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
				w.toResults(w.all[at*mm:][:mm], sums[k*tt:][:tt])
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
	w.toResults(m, sums)
	w.some.Store(at, m)
	return m
}

// cells is |Bᵀ| |d| |B| of a tile of channel c of an image's group; where the problem was cut, of what is as large in each cell
// as in any tile with a result in common.
func (w *winogradSums) cells(to []float64, ng, c, tile int) {
	if !w.cut {
		var d [64]float64
		w.read(d[:w.f.T*w.f.T], ng, c, tile, 0)
		w.f.Cells(to, d[:])
		return
	}
	more := w.f.M - 1 // such a tile begins so many cells before or after this one, at most
	side := w.f.T + 2*more
	d := make([]float64, side*side)
	w.read(d, ng, c, tile, more)
	// The largest of 2·more+1 neighbours, along rows and then along columns.
	for _, step := range [2][2]int{{1, side}, {side, 1}} {
		for line := range side {
			for i := range w.f.T {
				at := line*step[1] + i*step[0]
				for k := range 2*more + 1 {
					d[at] = max(math.Abs(d[at]), math.Abs(d[at+k*step[0]]))
				}
			}
		}
	}
	var most [64]float64
	for i := range w.f.T {
		copy(most[i*w.f.T:][:w.f.T], d[i*side:])
	}
	w.f.Cells(to, most[:])
}

// toResults are the magnitudes of a tile's results, of their sums; where the problem was cut, each may be in any place of its
// tile.
func (w *winogradSums) toResults(to, sums []float64) {
	if w.f.Results(to, sums); w.cut {
		most := slices.Max(to)
		for i := range to {
			to[i] = most
		}
	}
}

// weights is |G| |g| |Gᵀ| of result o and channel c of a group.
func (w *winogradSums) weights(to []float64, group, o, c int) {
	const taps = winograd.R * winograd.R
	var g [taps]float64
	for k, v := range w.kernel(group, o, c) {
		if w.flipped {
			k = taps - 1 - k
		}
		g[k] = float64(v)
	}
	w.f.Weights(to, g[:])
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
