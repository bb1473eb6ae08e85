package cpu

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/fft"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/rounding"
)

// fftSums bounds the results of a convolution by Fourier transforms of tiles: the true results are those of the plain sums,
// but a result may be off by what package fft says of its whole tile.
type fftSums struct {
	tiled
	t       int
	cut     bool      // tiles of the driver's may be elsewhere
	err     float64   // of a unit of magnitude
	cells   []float64 // norms of all tiles: of an image's group, channel by channel; nil: see norm
	weights []float64 // of all kernels

	largest, lost float64
}

// fftAlone is from how many results for a tile on the norms of all tiles are computed ahead.
const fftAlone = 4

// newFFT prepares the bounds of count elements.
func newFFT(ctx context.Context, p *problem.Problem, a driver.Arithmetic, g *geometry, t *tensors, count int64) (*fftSums, error) {
	err := fft.Applies(p, a.FFT)
	if a.Cut {
		a.FFT = slices.Max(fft.Sizes)
	}
	if err != nil || a.Half != 0 || a.Winograd != 0 {
		return nil, fmt.Errorf("%w: no bound for %s of %s (%w)", driver.ErrUnsupported, a, p.String(), err)
	}
	step := [2]int{a.FFT - p.Axes[1].Extent() + 1, a.FFT - p.Axes[2].Extent() + 1}
	w := &fftSums{tiled: newTiled(p, g, t, step), t: a.FFT, cut: a.Cut}
	w.err = fft.Error(w.t, w.channels)
	cells := largest(w.src)
	w.largest = fft.Largest(w.t, cells)
	w.lost = fft.Lost(w.t, w.channels, w.taps, largest(w.wei), cells)
	w.weights = make([]float64, w.groups*w.results*w.channels)
	for i := range w.weights {
		o, c := i/w.channels, i%w.channels
		w.weights[i] = norm32(w.kernel(o/w.results, o%w.results, c))
	}
	if tiles := w.n * w.groups * w.channels * w.plane(); count*fftAlone > int64(tiles) {
		w.cells = make([]float64, tiles)
		return w, parallel(ctx, tiles, 16, func(i int) {
			nc := i / w.plane()
			w.cells[i] = w.norm(nc/w.channels, nc%w.channels, i%w.plane())
		})
	}
	return w, nil
}

func norm32(v []float32) float64 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum)
}

// norm is that of a tile of channel c of an image's group.
func (w *fftSums) norm(ng, c, tile int) float64 {
	d := make([]float64, w.t*w.t)
	w.read(d, ng, c, tile, 0)
	sum := 0.0
	for _, x := range d {
		sum += x * x
	}
	return math.Sqrt(sum)
}

// magnitude is Σ‖d_c‖·‖w_c‖ of the tile of the result at y, x of a plane; where the problem was cut, of all cells that a
// tile with this result can have, which are in the neighbours of one of the largest.
func (w *fftSums) magnitude(nc, y, x int) float64 {
	ty, tx := y/w.step[0], x/w.step[1]
	ng, o := nc/w.results, nc%w.results
	sum := 0.0
	for c := range w.channels {
		cells := 0.0
		if w.cut {
			for i := max(0, ty-1); i < min(w.tiles[0], ty+2); i++ {
				for j := max(0, tx-1); j < min(w.tiles[1], tx+2); j++ {
					cells = math.Hypot(cells, w.tileNorm(ng, c, i*w.tiles[1]+j))
				}
			}
		} else {
			cells = w.tileNorm(ng, c, ty*w.tiles[1]+tx)
		}
		sum += cells * w.weights[(ng%w.groups*w.results+o)*w.channels+c]
	}
	return sum
}

// tileNorm is norm, from what was computed ahead if it was.
func (w *fftSums) tileNorm(ng, c, tile int) float64 {
	if w.cells == nil {
		return w.norm(ng, c, tile)
	}
	return w.cells[(ng*w.channels+c)*w.plane()+tile]
}

// bounded implements tileBound.
func (w *fftSums) bounded(value float64, terms int64, magnitude float64) rounding.Number {
	n := rounding.Transformed(value, magnitude, terms, w.err, w.lost)
	if n.Magnitude = max(magnitude, w.largest); n.Magnitude > math.MaxFloat32 {
		n.Bound = math.Inf(1)
	}
	return n
}
