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

// winogradProduct is the sums of a lattice of 3×3 taps by F(m×m, 3×3), see package simd. Tiles are taken in strips whose
// transforms fit the cache: each strip is one worker's work or, where there are few, all share what it makes, block by block.
// Each transforms the source for itself then, unless they are many: what another has written would come from its cache, and
// be claimed back from there by the next run, which takes longer. Many share the channels first and then the blocks.
type winogradProduct struct {
	isa       simd.ISA
	m         simd.Winograd
	pool      *simd.Pool
	l         *lattice
	base      [3]int // offset of the first tap
	order     [9]int // tap of each cell of the window
	n, groups int
	from, to  int // channels of a group
	down, row int // tiles
	slicing
	far    bool // results are too many for the caches
	gemms  [2][2]*simd.Gemm
	planes [2]int // floats from plane to plane of the source's and of the products'
	sweeps sync.Pool
}

const winogradChunk = 8 // channels that are transformed at a time

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
func newWinogradProduct(d *Device, l *lattice, n, groups, from, to int, m simd.Winograd) *winogradProduct {
	w := &winogradProduct{isa: d.isa, m: m, pool: workers(), l: l, n: n, groups: groups, from: from, to: to}
	w.lay(w.pool.Workers())
	w.base, w.order = l.window()
	columns := w.columns()
	for i, rows := range []int{w.block, to % w.block} {
		g, err := simd.NewGemm(w.isa, rows, columns, from, simd.Hints{Workers: 1, Direct: true, Columns: true})
		if err != nil {
			panic(err) // sizes below zero: a mistake here
		}
		w.gemms[i] = [2]*simd.Gemm{g, g}
		if w.together > 1 && n%w.together != 0 {
			w.gemms[i][1] = g.WithColumns(n % w.together * w.line)
		} else if w.line%w.parts != 0 {
			w.gemms[i][1] = g.WithColumns(columns - 1)
		}
	}
	for i, elems := range []int{from * columns, w.ld() * columns} {
		// An odd number of cache lines apart, the planes' elements do not share a set of the cache.
		lines := (elems + 15) / 16
		w.planes[i] = 16 * (lines | 1)
	}
	return w
}

// blocks is how many there are of channels.
func (w *winogradProduct) blocks() int { return (w.to + w.block - 1) / w.block }

// columns is the tiles of the largest strips, which come first.
func (w *winogradProduct) columns() int { return w.together * ((w.line + w.parts - 1) / w.parts) }

// units is how many strips there are in all.
func (w *winogradProduct) units() int { return w.groups * w.chunks() * w.strips() }

// chunks is how many times images that are taken together.
func (w *winogradProduct) chunks() int { return (w.n + w.together - 1) / w.together }

// ld is from tile to tile of the products, whole vectors of channels.
func (w *winogradProduct) ld() int { return lines(w.block) }

func (w *winogradProduct) strips() int { return w.down * w.row / max(1, w.line) * w.parts }

// strip is some tiles of an image, one after the other, and the rows that they are in.
type strip struct{ first, tiles, row, rows int }

func (w *winogradProduct) stripAt(i int) (s strip) {
	n, larger := w.line/w.parts, w.line%w.parts
	part := i % w.parts
	if s.tiles = n; part < larger {
		s.tiles++
	}
	s.first = i/w.parts*w.line + part*n + min(part, larger)
	s.row = s.first / w.row
	s.rows = (s.first+s.tiles-1)/w.row - s.row + 1
	return s
}

// within is the tiles of a strip that are in row r, which is none of theirs if r is out of range.
func (w *winogradProduct) within(s strip, r int) (first, end int) {
	return max(0, s.first-r*w.row), min(w.row, s.first+s.tiles-r*w.row)
}

// source is where the tiles of a strip are in the source.
func (w *winogradProduct) tilesOf(s strip) simd.WinogradSrc {
	tile := int(w.m)
	src := simd.WinogradSrc{
		M: w.m, Rows: s.rows, Tiles: w.row, First: s.first - s.row*w.row, Count: s.tiles, Height: w.l.in[1], Width: w.l.in[2],
		Y: w.base[1] + s.row*tile, X: w.base[2],
	}
	if s.rows == 1 {
		src.X += tile * src.First
		src.Tiles, src.First = s.tiles, 0
	}
	return src
}

func (w *winogradProduct) interleaves() bool { return false }
func (w *winogradProduct) pads() bool        { return true }

func (w *winogradProduct) String() string {
	of := ""
	if w.shared {
		of = " for all workers"
	}
	return fmt.Sprintf("%s F(%d×%[2]d, 3×3), %d strips of %d tiles%s, %d channels at a time", w.isa, w.m, w.units(), w.columns(), of, w.block)
}

// weights is how many elements the packed weights of all groups take.
func (w *winogradProduct) weights() int { return w.groups * w.groupWeights() }

func (w *winogradProduct) groupWeights() int {
	n := w.to / w.block * w.gemms[0][0].PackedA()
	if w.to%w.block != 0 {
		n += w.gemms[1][0].PackedA()
	}
	return w.m.Planes() * n
}

// pack transforms a group's weights wei[m][c][tap], and packs each plane of each block.
func (w *winogradProduct) pack(packed, wei []float32, group int) {
	packed = packed[group*w.groupWeights():][:w.groupWeights()]
	planes := w.m.Planes()
	plane := 16 * (lines(w.block*w.from)/16 | 1) // an odd number of cache lines: elements of all planes are stored in turn
	u := make([]float32, planes*plane)
	ctx := context.Background() // to the end: half of the weights are none
	for first := 0; first < w.to; first += w.block {
		m := min(w.block, w.to-first)
		gemm := w.gemms[w.short(m)][0]
		_ = parallel(ctx, m, 1, func(row int) {
			for c := range w.from {
				var taps [9]float32
				for cell, tap := range w.order {
					taps[cell] = wei[((first+row)*w.from+c)*9+tap]
				}
				w.m.Wei(u[row*w.from+c:], plane, &taps)
			}
		})
		_ = parallel(ctx, planes, 1, func(p int) {
			gemm.PackA(packed[p*gemm.PackedA():][:gemm.PackedA()], u[p*plane:][:m*w.from], w.from, 1)
		})
		packed = packed[planes*gemm.PackedA():]
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
	return w.m.Planes()*w.planes[0] + simd.WinogradSlack
}
func (w *winogradProduct) products() int { return w.m.Planes()*w.planes[1] + simd.WinogradSlack }
func (w *winogradProduct) workspace() int {
	return lines(max(w.gemms[0][0].Workspace(), w.gemms[0][1].Workspace(), w.gemms[1][0].Workspace()))
}

// own is what each worker takes beside a transformed source.
func (w *winogradProduct) own() int {
	return w.products() + w.m.Scratch() + w.workspace()
}

// scratch is how many elements a run takes.
func (w *winogradProduct) scratch() int {
	several := w.pool.Workers()
	if w.common {
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
	unit           int // whose source is common
	infinite       atomic.Bool
	zeros          []float32 // biases of a problem without
	workers        []transformer
}

// transformer is what one worker works with.
type transformer struct {
	unit                 int // whose source is transformed; -1: none yet
	call                 simd.Call
	rows                 simd.Rows
	planes               simd.WinogradCall
	dst                  simd.WinogradDst
	source, products, ws []float32
}

func (w *winogradProduct) run(ctx context.Context, a *arena, source, packed, target []float32, c *chain) error {
	t, _ := w.sweeps.Get().(*transformation)
	if t == nil {
		t = &transformation{winogradProduct: w, workers: make([]transformer, w.pool.Workers()), zeros: make([]float32, w.to)}
		off := make([]int, w.from)
		for i := range off {
			off[i] = i * w.columns()
		}
		for i := range t.workers {
			t.workers[i].rows = simd.NewRows(w.isa, off, w.columns())
		}
	}
	memory := a.get(w.scratch())
	t.ctx, t.source, t.packed, t.target, t.chain = ctx, source, packed, target, c
	t.infinite.Store(false)
	rest := scratch(memory)
	var common []float32
	if w.common {
		common = rest.take(w.transformed())
	}
	for i := range t.workers {
		k := &t.workers[i]
		if k.source = common; !w.common {
			k.source = rest.take(w.transformed())
		}
		k.unit = -1
		k.products, k.ws = rest.take(w.products()), rest.take(w.workspace())
		k.planes.ISA, k.planes.M, k.planes.Scratch = w.isa, w.m, rest.take(w.m.Scratch())
	}
	switch {
	case w.common:
		for t.unit = range w.units() {
			w.pool.Run((w.from+winogradChunk-1)/winogradChunk, (*transforming)(t))
			w.pool.Run(w.blocks(), (*multiplying)(t))
		}
	case w.shared:
		w.pool.Run(w.units()*w.blocks(), (*sharing)(t))
	default:
		w.pool.Run(w.units(), (*stripping)(t))
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

// transforming transforms chunks of channels of the strip whose source is common.
type transforming transformation

func (t *transforming) Do(worker, i int) {
	if t.ctx.Err() == nil {
		c := (*transformation)(t)
		c.transform(&t.workers[worker], t.at(t.unit), i*winogradChunk, min(t.from, (i+1)*winogradChunk))
	}
}

// multiplying makes blocks of channels of that strip.
type multiplying transformation

func (t *multiplying) Do(worker, i int) {
	if t.ctx.Err() == nil {
		(*transformation)(t).multiply(&t.workers[worker], t.at(t.unit), i)
	}
}

// sharing makes blocks of channels of all strips, whose source each worker transforms when it comes to the first of them.
type sharing transformation

func (t *sharing) Do(worker, i int) {
	c, w := (*transformation)(t), &t.workers[worker]
	blocks := t.blocks()
	if u := i / blocks; u != w.unit {
		w.unit = u
		c.transformAll(w, t.at(u))
	}
	if t.ctx.Err() == nil {
		c.multiply(w, t.at(w.unit), i%blocks)
	}
}

// stripping does a strip after the other.
type stripping transformation

func (t *stripping) Do(worker, i int) {
	c, w := (*transformation)(t), &t.workers[worker]
	at := t.at(i)
	c.transformAll(w, at)
	for b := 0; b < t.blocks() && t.ctx.Err() == nil; b++ {
		c.multiply(w, at, b)
	}
}

// transformAll writes the planes of a strip.
func (t *transformation) transformAll(w *transformer, u unit) {
	for first := 0; first < t.from && t.ctx.Err() == nil; first += winogradChunk {
		t.transform(w, u, first, min(t.from, first+winogradChunk))
	}
}

// unit is a strip of a group, of one image or of several ones.
type unit struct {
	strip
	index, group, image, images int
}

func (w *winogradProduct) at(i int) unit {
	u := unit{strip: w.stripAt(i % w.strips()), index: i, group: i / w.strips() % w.groups}
	u.image = i / w.strips() / w.groups * w.together
	u.images = min(w.together, w.n-u.image)
	return u
}

// channels are the planes of a group's channels in an image.
func (w *winogradProduct) channels(u unit, image, channels, plane int, of []float32) []float32 {
	n := channels * plane
	return of[((u.image+image)*w.groups+u.group)*n:][:n]
}

// transform writes the planes of some channels of a strip.
func (t *transformation) transform(w *transformer, u unit, first, end int) {
	s := t.tilesOf(u.strip)
	plane := s.Height * s.Width
	columns := t.columns()
	w.planes.Channels, w.planes.Plane, w.planes.LD = end-first, t.planes[0], columns
	for image := range u.images {
		source := t.channels(u, image, t.from, plane, t.source)
		w.planes.Planes = w.source[first*columns+image*u.tiles:]
		w.planes.Source(&s, source[first*plane:])
	}
}

// multiply makes a block of channels of a strip.
func (t *transformation) multiply(w *transformer, u unit, block int) {
	first := block * t.block
	m := min(t.block, t.to-first)
	gemm := t.gemms[t.short(m)][0]
	if u.images*u.tiles < t.columns() {
		gemm = t.gemms[t.short(m)][1]
	}
	packed := t.packed[u.group*t.groupWeights()+t.m.Planes()*block*t.gemms[0][0].PackedA():]
	w.rows = w.rows.On(w.source)
	plane := volume(t.l.out)
	w.call = simd.Call{A: packed, B: &w.rows, C: w.products, LDC: t.ld()}
	if next := u.index + t.pool.Workers(); t.far && next < t.units() {
		w.call.Later = t.reads(t.at(next), t.from*block/t.blocks(), t.from*(block+1)/t.blocks())
	} else if !t.far {
		w.call.Later = t.lines(u.strip, t.channels(u, 0, t.to, plane, t.target)[first*plane:][:m*plane])
	}
	gemm.Batch(w.ws, &w.call, t.m.Planes(), gemm.PackedA(), t.planes[0], t.planes[1])
	d := &w.dst
	d.Bias, d.Lo, d.Hi = t.zeros[:m], float32(math.Inf(-1)), float32(math.Inf(1))
	if c := t.chain; c != nil {
		if c.bias != nil {
			d.Bias = c.bias[u.group*t.to+first:][:m]
		}
		if c.clips {
			d.Lo, d.Hi = c.lo, c.hi
		}
	}
	d.Channel, d.LD, d.Far = plane, t.l.out[2], t.far
	w.planes.Channels, w.planes.Plane, w.planes.LD = m, t.planes[1], t.ld()
	for image := range u.images {
		to := t.channels(u, image, t.to, plane, t.target)[first*plane:][:m*plane]
		t.results(w, u, image, u.group*t.to+first, to)
	}
}

// results transforms the products of an image back, of channels from the first on.
func (t *transformation) results(w *transformer, u unit, image, first int, to []float32) {
	d, tile, width, plane := &w.dst, int(t.m), t.l.out[2], volume(t.l.out)
	for r := u.row; r < u.row+u.rows; r++ {
		start, end := t.within(u.strip, r)
		y, x := r*tile, start*tile
		d.Rows, d.Cols = min(tile, t.l.out[1]-y), min(end*tile, width)-x
		d.C = to[y*width+x:]
		w.planes.Planes = w.products[(image*u.tiles+r*t.row+start-u.first)*t.ld():]
		if !w.planes.Results(d) {
			t.infinite.Store(true)
		}
		if t.chain == nil || t.chain.rest == nil {
			continue
		}
		for i := range d.Rows {
			at := (y+i)*width + x
			t.chain.rest.block(u.image+image, first, at, to[at:], plane, w.planes.Channels, d.Cols)
		}
	}
}

// reads is what is read for a strip, or a bit less, of some channels: which a worker is likely to come to next where workers
// take strips in turn.
func (t *transformation) reads(u unit, first, end int) simd.Lines {
	s := t.tilesOf(u.strip)
	plane := s.Height * s.Width
	top, left := max(0, s.Y), max(0, s.X)
	rows := min(s.Height, s.Y+int(t.m)*s.Rows+2) - top
	l := simd.Lines{Rows: max(0, rows), N: min(s.Width-left, int(t.m)*s.Tiles), LD: s.Width, Plane: plane}
	if s.Tiles == t.row { // whole lines, which are one
		l.Rows, l.N = 1, rows*s.Width
	}
	if rows > 0 && l.N > 0 && first < end {
		l.Data = t.channels(u, 0, t.from, plane, t.source)[first*plane : end*plane][top*s.Width+left:]
	}
	return l
}

// lines is where the results of a strip go, or a bit more.
func (w *winogradProduct) lines(s strip, to []float32) simd.Lines {
	height, width := w.l.out[1], w.l.out[2]
	tile := int(w.m)
	y := s.row * tile
	l := simd.Lines{Rows: min(s.rows*tile, height-y), N: width, LD: width, Plane: height * width}
	if s.rows > 1 || s.tiles == w.row { // whole lines, which are one
		l.Rows, l.N = 1, l.Rows*width
		l.Data = to[y*width:]
		return l
	}
	x := tile * (s.first - s.row*w.row)
	l.N = min(s.tiles*tile, width-x)
	l.Data = to[y*width+x:]
	return l
}
