package cpu

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/fft"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// fftProduct is the sums of a lattice by Fourier transforms of tiles, see package simd. A strip of tiles is transformed,
// its channels one after the other; then each number of the spectrum is the matrix product of the weights' with that of all
// tiles, and what comes of it is transformed back, a vector of channels of a tile at a time. All workers share a strip.
type fftProduct struct {
	isa       simd.ISA
	pool      *simd.Pool
	f         *simd.Fourier
	products  *simd.FourierProducts
	l         *lattice
	base      [2]int   // offset of the first tap
	taps      [][2]int // from there
	n, groups int
	from, to  int    // channels of a group
	step      [2]int // results of a tile
	tiles     [2]int // of an image
	strips    int    // of a group: tiles of all images, one after the other
	columns   int    // tiles of a strip
	chunk     int    // channels that are transformed at a time
	line      int    // elements of a row of tiles side by side
	runs      int    // of such rows in a strip, at most
	part, bin int    // of transforms of a chunk, in elements
	square    int    // all of a chunk's
	numbers   int    // of the spectrum that are multiplied at a time
	results   int    // tiles that are transformed back at a time
	ld, sums  int    // from tile to tile, and from number to number, of products
	states    sync.Pool
}

// Budgets.
const (
	fftStrip   = 1 << 20 // elements of a strip's transforms and products
	fftLanes   = 64      // tiles and channels that are transformed in one go, or more
	fftResults = 4       // tiles that are transformed back in one go, at most
)

// newFFTProduct plans the sums of l on groups of the given numbers of channels, by tiles of t×t.
func newFFTProduct(d *Device, l *lattice, n, groups, from, to, t int) *fftProduct {
	w := &fftProduct{isa: d.isa, pool: workers(), f: simd.NewFourier(d.isa, t), l: l, n: n, groups: groups, from: from, to: to}
	var end [2]int
	for a := range 2 {
		w.base[a], end[a] = l.taps[0][a+1], l.taps[0][a+1]
		for _, tap := range l.taps {
			w.base[a], end[a] = min(w.base[a], tap[a+1]), max(end[a], tap[a+1])
		}
		w.step[a] = t - (end[a] - w.base[a])
		w.tiles[a] = (l.out[a+1] + w.step[a] - 1) / w.step[a]
	}
	for _, tap := range l.taps {
		w.taps = append(w.taps, [2]int{tap[1] - w.base[0], tap[2] - w.base[1]})
	}
	total := n * w.tiles[0] * w.tiles[1]
	w.strips = fftStrips(w.f.Bins(), total, from, to)
	w.columns = (total + w.strips - 1) / w.strips
	w.chunk = fftChunk(from, w.columns, w.pool.Workers())
	w.line = (min(w.columns, w.tiles[1])-1)*w.step[1] + t
	w.runs = 2 + w.columns/max(1, w.tiles[1])
	w.products = simd.NewFourierProducts(d.isa, from, to, w.columns)
	w.ld = w.products.LD()
	// An odd number of cache lines apart, the spectrum's numbers do not share a set of the cache. A chunk's are near each
	// other, as they are all stored for each vector of lanes, in whole vectors.
	w.part = lines(w.chunk * w.columns)
	w.bin = 16 * (2*w.part/16 | 1)
	w.square = 16 * (w.f.Bins()*w.bin/16 | 1)
	w.sums = 16 * ((2*w.columns*w.ld+15)/16 | 1)
	w.results = max(1, min(fftResults, w.ld/w.f.Lanes()*w.columns/(4*w.pool.Workers())))
	w.numbers = max(1, w.f.Bins()/(8*w.pool.Workers()))
	return w
}

func (w *fftProduct) interleaves() bool { return false }
func (w *fftProduct) pads() bool        { return true }

func (w *fftProduct) String() string {
	return fmt.Sprintf("%s tiles of %d×%[2]d, %d strips of %d", w.isa, w.f.N, w.strips, w.columns)
}

// weights is how many elements the packed weights of all groups take.
func (w *fftProduct) weights() int { return w.groups * w.groupWeights() }

func (w *fftProduct) groupWeights() int { return w.f.Bins() * w.numberWeights() }

func (w *fftProduct) numberWeights() int { return w.products.Weights() }

// pack transforms a group's weights wei[m][c][tap] and packs those of each number of the spectrum.
func (w *fftProduct) pack(packed, wei []float32, group int) {
	packed = packed[group*w.groupWeights():][:w.groupWeights()]
	taps, each, lanes := len(w.taps), w.numberWeights(), w.f.Lanes()
	_ = parallel(context.Background(), w.from, 1, func(c int) { // to the end: half of the weights are none
		t := w.f.NewWeights(w.taps)
		v := make([]float32, 2*lanes*w.f.Bins()) // of so many channels, which are packed side by side
		for first := 0; first < w.to; first += lanes {
			n := min(lanes, w.to-first)
			for m := range n {
				t.Transform(v[m:], 2*lanes, lanes, wei[((first+m)*w.from+c)*taps:][:taps])
			}
			re, im := w.products.Place(first, c)
			for b := range w.f.Bins() {
				copy(packed[b*each+re:][:n], v[2*b*lanes:])
				copy(packed[b*each+im:][:n], v[(2*b+1)*lanes:])
			}
		}
	})
}

// The parts of the memory of a run: what all share, and what each worker takes.
func (w *fftProduct) transformed() int { return (w.from + w.chunk - 1) / w.chunk * w.square }
func (w *fftProduct) summed() int      { return w.f.Bins() * w.sums }
func (w *fftProduct) work() int        { return lines(w.f.Scratch()) }
func (w *fftProduct) rows() int        { return w.chunk * w.runs * w.f.N * w.line }
func (w *fftProduct) own() int         { return w.work() + lines(w.rows()) }

// scratch is how many elements a run takes.
func (w *fftProduct) scratch() int {
	return w.transformed() + w.summed() + w.pool.Workers()*w.own()
}

// fftRun is a run.
type fftRun struct {
	*fftProduct
	ctx            context.Context
	source, packed []float32
	target         []float32
	chain          *chain
	spectra, sums  []float32
	group          int
	first, count   int // tiles of the strip
	infinite       atomic.Bool
	zeros          []float32 // biases of a problem without
	workers        []fftWorker
}

// fftWorker is what one worker works with.
type fftWorker struct {
	products simd.FourierProductCall
	f        simd.FourierCall
	dst      simd.FourierDst
	rows     []float32
	at       []int // of the strip's tiles in rows
	off      []int // of a vector of them
	lines    []int // of a tile in the source
}

func (w *fftProduct) run(ctx context.Context, a *arena, source, packed, target []float32, c *chain) error {
	r, _ := w.states.Get().(*fftRun)
	if r == nil {
		r = w.newRun()
	}
	memory := a.get(w.scratch())
	r.ctx, r.source, r.packed, r.target, r.chain = ctx, source, packed, target, c
	r.infinite.Store(false)
	rest := scratch(memory)
	r.spectra, r.sums = rest.take(w.transformed()), rest.take(w.summed())
	for i := range r.workers {
		k := &r.workers[i]
		k.f.Scratch, k.rows = rest.take(w.work()), rest.take(lines(w.rows()))
	}
	total := w.n * w.tiles[0] * w.tiles[1]
	vectors := w.ld / w.f.Lanes()
	for r.group = range w.groups {
		for r.first = 0; r.first < total && ctx.Err() == nil; r.first += w.columns {
			r.count = min(w.columns, total-r.first)
			w.pool.Run((w.from+w.chunk-1)/w.chunk, (*fftTransforming)(r))
			w.pool.Run((w.f.Bins()+w.numbers-1)/w.numbers, (*fftMultiplying)(r))
			w.pool.Run(vectors*((r.count+w.results-1)/w.results), (*fftInverting)(r))
		}
	}
	a.put(memory)
	r.ctx, r.source, r.packed, r.target, r.chain, r.spectra, r.sums = nil, nil, nil, nil, nil, nil, nil
	infinite := r.infinite.Load()
	w.states.Put(r)
	if err := ctx.Err(); err != nil || !infinite {
		return err
	}
	return errNotFinite
}

func (w *fftProduct) newRun() *fftRun {
	r := &fftRun{fftProduct: w, workers: make([]fftWorker, w.pool.Workers()), zeros: make([]float32, w.to)}
	off := make([]int, w.from)
	for c := range off {
		off[c] = c/w.chunk*w.square + c%w.chunk*w.columns
	}
	rows := make([]int, w.f.N)
	for i := range rows {
		rows[i] = i * w.l.in[2]
	}
	for i := range r.workers {
		k := &r.workers[i]
		k.f.Fourier = w.f
		k.products = w.products.Call(off, w.part, w.columns*w.ld)
		k.at, k.off, k.lines = make([]int, w.columns), make([]int, w.f.Lanes()), rows
	}
	return r
}

// place is the image of a tile, and its row and column there.
func (w *fftProduct) place(tile int) (image, y, x int) {
	plane := w.tiles[0] * w.tiles[1]
	return tile / plane, tile % plane / w.tiles[1], tile % w.tiles[1]
}

// fftTransforming transforms a chunk of channels of the strip.
type fftTransforming fftRun

func (s *fftTransforming) Do(worker, i int) {
	if s.ctx.Err() != nil {
		return
	}
	r := (*fftRun)(s)
	w := &r.workers[worker]
	first := i * r.chunk
	end := min(r.from, first+r.chunk)
	tile := r.f.N * r.line
	channel := r.runs * tile
	for c := first; c < end; c++ {
		to := w.rows[(c-first)*channel:][:channel]
		for t, run := 0, 0; t < r.count; run++ {
			image, y, x := r.place(r.first + t)
			n := min(r.count-t, r.tiles[1]-x)
			plane := r.source[((image*r.groups+r.group)*r.from+c)*volume(r.l.in):][:volume(r.l.in)]
			r.fill(w, to[run*tile:][:tile], plane, y*r.step[0]+r.base[0], x*r.step[1]+r.base[1], (n-1)*r.step[1]+r.f.N)
			for i := range n {
				w.at[t+i] = run*tile + i*r.step[1]
			}
			t += n
		}
	}
	w.f.Bin, w.f.Part = r.bin, r.part
	all := (end - first) * r.columns
	for lane := 0; lane < all; lane += len(w.off) {
		for i := range w.off {
			// The strip's tiles that are not there, and lanes that are not needed, are the first tile once more.
			at := min(lane+i, all-1)
			c, t := at/r.columns, at%r.columns
			if t >= r.count {
				t = 0
			}
			w.off[i] = c*channel + w.at[t]
		}
		w.f.Source(r.spectra[i*r.square+lane:], w.rows, r.line, w.off)
	}
}

// fill copies the rows of tiles from y, x of a plane on, cols elements of each, with zeros where there are none.
func (r *fftRun) fill(w *fftWorker, to, plane []float32, y, x, cols int) {
	height, width := r.l.in[1], r.l.in[2]
	above, end := min(r.f.N, max(0, -y)), max(0, min(r.f.N, height-y))
	left, right := min(cols, max(0, -x)), max(0, min(cols, width-x))
	if above >= end || left >= right {
		clear(to)
		return
	}
	clear(to[:above*r.line])
	clear(to[end*r.line:])
	for i := above; i < end && (left > 0 || right < cols); i++ {
		row := to[i*r.line:][:cols]
		clear(row[:left])
		clear(row[right:])
	}
	simd.CopyRows(r.isa, to[above*r.line+left:], r.line, plane[(y+above)*width+x+left:], w.lines[:end-above], right-left)
}

// fftMultiplying computes some of the spectrum's numbers of the strip, one after the other: the weights of the next are
// fetched meanwhile.
type fftMultiplying fftRun

func (s *fftMultiplying) Do(worker, i int) {
	w := &s.workers[worker]
	packed := s.packed[s.group*s.groupWeights():]
	for i, end := i*s.numbers, min(s.f.Bins(), (i+1)*s.numbers); i < end && s.ctx.Err() == nil; i++ {
		w.products.Bin(s.sums[i*s.fftProduct.sums:], s.spectra[i*s.bin:], packed[i*s.numberWeights():])
	}
}

// fftInverting transforms some tiles of a vector of channels back.
type fftInverting fftRun

func (s *fftInverting) Do(worker, i int) {
	r := (*fftRun)(s)
	w := &r.workers[worker]
	several := (r.count + r.results - 1) / r.results
	first := i / several * r.f.Lanes()
	channels := min(r.f.Lanes(), r.to-first)
	w.f.Bin, w.f.Part = r.fftProduct.sums, r.columns*r.ld
	d := &w.dst
	*d = simd.FourierDst{Bias: r.zeros[:channels], Lo: float32(math.Inf(-1)), Hi: float32(math.Inf(1)), LD: r.l.out[2]}
	var rest *chain
	if c := r.chain; c != nil {
		if c.bias != nil {
			d.Bias = c.bias[r.group*r.to+first:][:channels]
		}
		if c.clips {
			d.Lo, d.Hi = c.lo, c.hi
		}
		rest = c.rest
	}
	d.Channel = volume(r.l.out)
	for t := i % several * r.results; t < min(r.count, (i%several+1)*r.results) && r.ctx.Err() == nil; t++ {
		image, ty, tx := r.place(r.first + t)
		y, x := ty*r.step[0], tx*r.step[1]
		d.Rows, d.Cols = min(r.step[0], r.l.out[1]-y), min(r.step[1], r.l.out[2]-x)
		d.C = r.target[((image*r.groups+r.group)*r.to+first)*d.Channel+y*d.LD+x:]
		if !w.f.Results(d, r.sums[t*r.ld+first:]) {
			r.infinite.Store(true)
		}
		for row := range d.Rows {
			if rest != nil {
				rest.block(image, r.group*r.to+first, (y+row)*d.LD+x, d.C[row*d.LD:], d.Channel, channels, d.Cols)
			}
		}
	}
}

// fourier says whether transforms of tiles compute a problem.
func fourier(p *problem.Problem) bool { return implicit(p) && fft.Applies(p, 0) == nil }

// fourierText is how PlanOptions.Tile names tiles of t×t.
func fourierText(t int) string { return fmt.Sprintf("t=%d", t) }

// fourierTiles are the names of those that compute a problem.
func fourierTiles(p *problem.Problem) (tiles []string) {
	for _, t := range fft.Sizes {
		if fft.Applies(p, t) == nil {
			tiles = append(tiles, fourierText(t))
		}
	}
	return tiles
}

// newBestFourier plans a problem by tiles of the size that should be fastest.
func newBestFourier(d *Device, p *problem.Problem) *igemm {
	t, _ := fftTile(d.isa, p, processors())
	return newFourier(d, p, t)
}

// newSizedFourier plans a problem by the tiles of a name.
func newSizedFourier(d *Device, p *problem.Problem, tile string) *igemm {
	return newFourier(d, p, fft.Sizes[slices.IndexFunc(fft.Sizes, func(t int) bool { return fourierText(t) == tile })])
}

// newFourier plans a problem by Fourier transforms of tiles of t×t.
func newFourier(d *Device, p *problem.Problem, t int) *igemm {
	ig := newSums(d, p, func(l *lattice, n, groups, from, to int, _ place) summer {
		return newFFTProduct(d, l, n, groups, from, to, t)
	})
	ig.transform, ig.tile, ig.arithmetic.FFT = true, fourierText(t), t
	return ig
}
