package cpu

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/gonvolve/gonvolve/cpu/simd"
)

// errNotFinite says that a result is not finite: transforms spread an infinity of the source, and NaN, over whole tiles,
// and overflow earlier than the sums that they stand for.
var errNotFinite = errors.New("a sum of a transformed tile is not finite")

// winogradProduct is the sums of a lattice of 3×3 taps by F(4×4, 3×3), see package simd. Rows of tiles are taken in strips whose
// transforms fit the cache: each strip is one worker's work or, where there are few, all share it, first its channels and
// then the blocks of what it makes.
type winogradProduct struct {
	isa       simd.ISA
	pool      *simd.Pool
	l         *lattice
	base      [3]int // offset of the first tap
	order     [9]int // tap of each cell of the window
	n, groups int
	from, to  int // channels of a group
	down, row int // tiles
	rows      int // of tiles in the largest strips, which the others have one less of
	strips    int
	shared    bool
	block     int // channels that are made at a time
	gemms     [2][2]*simd.Gemm
	planes    [2]int // floats from plane to plane of the source's and of the products'
	sweeps    sync.Pool
}

// Budgets of elements, of the transformed source and of products, for a worker's cache; the transformed source that all
// share may be larger.
const (
	winogradSource   = 160 << 10
	winogradProducts = 64 << 10
	winogradShared   = 512 << 10
	winogradChunk    = 8 // channels that are parted at a time
)

// window is the first offset of taps that fill 3×3 cells, and the tap of each cell.
func (l *lattice) window() (base [3]int, order [9]int) {
	base = l.taps[0]
	for _, t := range l.taps {
		for a := range t {
			base[a] = min(base[a], t[a])
		}
	}
	for i, t := range l.taps {
		order[3*(t[1]-base[1])+t[2]-base[2]] = i
	}
	return base, order
}

// newWinogradProduct plans the sums of l on groups of the given numbers of channels.
func newWinogradProduct(d *Device, l *lattice, n, groups, from, to int) *winogradProduct {
	const tile = simd.WinogradTile
	w := &winogradProduct{isa: d.isa, pool: workers(), l: l, n: n, groups: groups, from: from, to: to}
	w.base, w.order = l.window()
	w.down, w.row = (l.out[1]+tile-1)/tile, (l.out[2]+tile-1)/tile
	perRow := simd.WinogradPlanes * from * w.row
	several, images := w.pool.Workers(), n*groups
	w.rows = max(1, min(w.down, winogradSource/perRow))
	w.strips = (w.down + w.rows - 1) / w.rows
	for w.strips*images%several != 0 && w.strips < w.down && w.strips*images < 8*several {
		w.strips++
	}
	if w.strips*images < several || w.down/w.strips*w.row < 28 && images%several != 0 {
		w.shared = true
		w.strips = (w.down + max(1, winogradShared/perRow) - 1) / max(1, winogradShared/perRow)
	}
	w.rows = (w.down + w.strips - 1) / w.strips
	columns := w.rows * w.row
	blocks := max(1, (simd.WinogradPlanes*to*columns+winogradProducts-1)/winogradProducts)
	if w.shared {
		blocks = (blocks + several - 1) / several * several
	}
	w.block = (to + blocks - 1) / blocks
	w.block = min(to, (w.block+7)/8*8)
	for i, m := range []int{w.block, to % w.block} {
		g, err := simd.NewGemm(w.isa, m, columns, from, simd.Hints{Workers: 1, Direct: true})
		if err != nil {
			panic(err) // sizes below zero: a mistake here
		}
		w.gemms[i] = [2]*simd.Gemm{g, g}
		if w.down%w.strips != 0 {
			w.gemms[i][1] = g.WithColumns((w.rows - 1) * w.row)
		}
	}
	for i, channels := range []int{from, w.block} {
		// An odd number of cache lines apart, the planes' elements do not share a set of the cache.
		lines := (channels*columns + 15) / 16
		w.planes[i] = 16 * (lines | 1)
	}
	return w
}

// stripAt is where the tiles of a strip are in the source.
func (w *winogradProduct) stripAt(i int) simd.WinogradSrc {
	first, end := i*w.down/w.strips, (i+1)*w.down/w.strips
	return simd.WinogradSrc{
		Rows: end - first, Tiles: w.row, Height: w.l.in[1], Width: w.l.in[2],
		Y: w.base[1] + first*simd.WinogradTile, X: w.base[2],
	}
}

func (w *winogradProduct) interleaves() bool { return false }
func (w *winogradProduct) pads() bool        { return true }

func (w *winogradProduct) String() string {
	return fmt.Sprintf("%s F(4×4, 3×3), %d strips of %d tiles, %d channels at a time", w.isa, w.strips, w.rows*w.row, w.block)
}

// weights is how many elements the packed weights of all groups take.
func (w *winogradProduct) weights() int { return w.groups * w.groupWeights() }

func (w *winogradProduct) groupWeights() int { return simd.WinogradPlanes * w.to * w.from }

// pack transforms a group's weights wei[m][c][tap], and packs each plane of each block.
func (w *winogradProduct) pack(packed, wei []float32, group int) {
	packed = packed[group*w.groupWeights():][:w.groupWeights()]
	plane := make([]float32, w.block*w.from*simd.WinogradPlanes)
	for first := 0; first < w.to; first += w.block {
		m := min(w.block, w.to-first)
		for i := range m * w.from {
			var taps [9]float32
			for cell, tap := range w.order {
				taps[cell] = wei[(first*w.from+i)*9+tap]
			}
			var u [simd.WinogradPlanes]float32
			simd.WinogradWei(&u, &taps)
			for p, v := range u {
				plane[p*m*w.from+i] = v
			}
		}
		gemm := w.gemms[w.short(m)][0]
		for p := range simd.WinogradPlanes {
			gemm.PackA(packed[:m*w.from], plane[p*m*w.from:][:m*w.from], w.from, 1)
			packed = packed[m*w.from:]
		}
	}
}

// short is 1 for the last block if it has fewer channels.
func (w *winogradProduct) short(m int) int {
	if m < w.block {
		return 1
	}
	return 0
}

// The parts of a worker's memory.
func (w *winogradProduct) transformed() int {
	return simd.WinogradPlanes*w.planes[0] + simd.WinogradSlack
}
func (w *winogradProduct) products() int { return simd.WinogradPlanes*w.planes[1] + simd.WinogradSlack }
func (w *winogradProduct) parted() int {
	s := simd.WinogradSrc{Rows: w.rows, Tiles: w.row}
	return (winogradChunk*s.Channel() + simd.WinogradSlack + 15) &^ 15
}
func (w *winogradProduct) workspace() int {
	return (max(w.gemms[0][0].Workspace(), w.gemms[0][1].Workspace(), w.gemms[1][0].Workspace()) + 15) &^ 15
}

// own is what each worker takes beside a transformed source.
func (w *winogradProduct) own() int {
	return w.products() + w.parted() + simd.WinogradScratch + w.workspace()
}

// scratch is how many elements a run takes.
func (w *winogradProduct) scratch() int {
	several := w.pool.Workers()
	if w.shared {
		return w.transformed() + several*w.own()
	}
	return several * (w.transformed() + w.own())
}

// transformation is a run.
type transformation struct {
	*winogradProduct
	ctx            context.Context
	source, packed []float32
	target         []float32
	chain          *chain
	image, strip   int // that all share
	infinite       atomic.Bool
	zeros          []float32 // biases of a problem without
	workers        []transformer
}

// transformer is what one worker works with.
type transformer struct {
	call                     simd.Call
	rows                     simd.Rows
	planes                   simd.WinogradCall
	dst                      simd.WinogradDst
	source, products, parted []float32
	ws                       []float32
}

func (w *winogradProduct) run(ctx context.Context, a *arena, source, packed, target []float32, c *chain) error {
	t, _ := w.sweeps.Get().(*transformation)
	if t == nil {
		t = &transformation{winogradProduct: w, workers: make([]transformer, w.pool.Workers()), zeros: make([]float32, w.to)}
		off := make([]int, w.from)
		for i := range off {
			off[i] = i * w.rows * w.row
		}
		for i := range t.workers {
			t.workers[i].rows = simd.NewRows(w.isa, off, w.rows*w.row)
		}
	}
	memory := a.get(w.scratch())
	t.ctx, t.source, t.packed, t.target, t.chain = ctx, source, packed, target, c
	t.infinite.Store(false)
	rest := memory
	take := func(n int) []float32 {
		v := rest[:n:n]
		rest = rest[n:]
		return v
	}
	var shared []float32
	if w.shared {
		shared = take(w.transformed())
	}
	for i := range t.workers {
		k := &t.workers[i]
		if k.source = shared; !w.shared {
			k.source = take(w.transformed())
		}
		k.products, k.parted, k.ws = take(w.products()), take(w.parted()), take(w.workspace())
		k.planes.ISA, k.planes.Scratch = w.isa, take(simd.WinogradScratch)
	}
	if w.shared {
		for t.image = range w.n * w.groups {
			for t.strip = range w.strips {
				w.pool.Run((w.from+winogradChunk-1)/winogradChunk, (*transforming)(t))
				w.pool.Run((w.to+w.block-1)/w.block, (*multiplying)(t))
			}
		}
	} else {
		w.pool.Run(w.n*w.groups*w.strips, (*stripping)(t))
	}
	a.put(memory)
	t.ctx, t.source, t.packed, t.target, t.chain = nil, nil, nil, nil, nil
	infinite := t.infinite.Load()
	w.sweeps.Put(t)
	if err := ctx.Err(); err != nil || !infinite {
		return err
	}
	return errNotFinite
}

// transforming transforms chunks of channels of the strip that all share.
type transforming transformation

func (t *transforming) Do(worker, i int) {
	if t.ctx.Err() == nil {
		c := (*transformation)(t)
		c.transform(&t.workers[worker], t.image, t.strip, i*winogradChunk, min(t.from, (i+1)*winogradChunk))
	}
}

// multiplying makes blocks of channels of the strip that all share.
type multiplying transformation

func (t *multiplying) Do(worker, i int) {
	if t.ctx.Err() == nil {
		(*transformation)(t).multiply(&t.workers[worker], t.image, t.strip, i)
	}
}

// stripping does a strip after the other.
type stripping transformation

func (t *stripping) Do(worker, i int) {
	c, w := (*transformation)(t), &t.workers[worker]
	image, strip := i/t.strips, i%t.strips
	for first := 0; first < t.from && t.ctx.Err() == nil; first += winogradChunk {
		c.transform(w, image, strip, first, min(t.from, first+winogradChunk))
	}
	for b := 0; b*t.block < t.to && t.ctx.Err() == nil; b++ {
		c.multiply(w, image, strip, b)
	}
}

// transform writes the planes of some channels of a strip.
func (t *transformation) transform(w *transformer, image, strip, first, end int) {
	s := t.stripAt(strip)
	plane := s.Height * s.Width
	if s.Y < 0 || s.Y+simd.WinogradTile*s.Rows+2 > s.Height {
		clear(w.parted)
	}
	for c := first; c < end; c++ {
		w.planes.Fill(&s, w.parted[(c-first)*s.Channel():], t.source[(image*t.from+c)*plane:][:plane])
	}
	columns := t.rows * t.row
	w.planes.Channels, w.planes.Plane, w.planes.LD = end-first, t.planes[0], columns
	w.planes.Planes = w.source[first*columns:]
	w.planes.Source(&s, w.parted)
}

// multiply makes a block of channels of a strip.
func (t *transformation) multiply(w *transformer, image, strip, block int) {
	start := strip * t.down / t.strips
	rows, columns := (strip+1)*t.down/t.strips-start, t.rows*t.row
	first := block * t.block
	m := min(t.block, t.to-first)
	gemm := t.gemms[t.short(m)][0]
	if rows < t.rows {
		gemm = t.gemms[t.short(m)][1]
	}
	group := image % t.groups
	packed := t.packed[group*t.groupWeights()+simd.WinogradPlanes*first*t.from:]
	w.rows = w.rows.On(w.source)
	w.call = simd.Call{A: packed, B: &w.rows, C: w.products, LDC: columns}
	gemm.Batch(w.ws, &w.call, simd.WinogradPlanes, m*t.from, t.planes[0], t.planes[1])
	plane := volume(t.l.out)
	d := &w.dst
	d.Bias, d.Lo, d.Hi = t.zeros[:m], float32(math.Inf(-1)), float32(math.Inf(1))
	var rest *chain
	if c := t.chain; c != nil {
		if c.bias != nil {
			d.Bias = c.bias[group*t.to+first:][:m]
		}
		if c.clips {
			d.Lo, d.Hi = c.lo, c.hi
		}
		rest = c.rest
	}
	d.Channel, d.LD = plane, t.l.out[2]
	w.planes.Channels, w.planes.Plane, w.planes.LD = m, t.planes[1], columns
	for r := range rows {
		y := (start + r) * simd.WinogradTile
		at := y * t.l.out[2]
		d.Rows, d.Cols = min(simd.WinogradTile, t.l.out[1]-y), t.l.out[2]
		d.C = t.target[(image*t.to+first)*plane+at:][:(m-1)*plane+d.Rows*d.Cols]
		w.planes.Planes = w.products[r*t.row:]
		if !w.planes.Results(d) {
			t.infinite.Store(true)
		}
		if rest != nil {
			rest.block(image/t.groups, group*t.to+first, at, d.C, plane, m, d.Rows*d.Cols)
		}
	}
}
