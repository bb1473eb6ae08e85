package cpu

import (
	"context"
	"fmt"
	"sync"

	"github.com/gonvolve/gonvolve/cpu/simd"
)

// tileProduct is the sums of a lattice over a group's channels, for all images and groups:
//
//	to[n, m, x] = Σ_c Σ_t wei[m, c, t] · from[n, c, x·stride + taps[t]]
//
// as a matrix product of packed weights and the columns of patches, or, where a group makes few channels, as sums of the
// patches' rows. Positions are taken in bands of the outermost axis whose patches fit the cache. The tasks of a band's
// product are dealt out to the workers, each of which copies the band's patches for itself: what another has written would
// come from its cache, which takes longer.
type tileProduct struct {
	isa       simd.ISA
	pool      *simd.Pool
	patch     *patch
	off       []int // of the matrix's rows in the patches
	reach     int   // the greatest of these
	n, groups int
	from, to  int // channels of a group
	bands     int
	tasks     int        // of a band
	gemm      *simd.Gemm // of whole bands; nil: sums of rows
	rest      *simd.Gemm // of smaller ones
	hints     simd.Hints // of what is multiplied
	place
	// Of pooling, which takes the greatest of rows, or sums that are divided position by position.
	greatest bool
	divisors []float32
	sweeps   sync.Pool
}

// place is where results go: positions first + step·x of planes of the given sizes.
type place struct{ size, first, step [3]int }

// interleaves says that the results are not neighbours in their planes.
func (p *place) interleaves() bool { return p.step != [3]int{1, 1, 1} }

// Patches of so many elements stay in the cache while the product reads them.
const (
	patchOfProduct = 256 << 10
	patchOfRows    = 8 << 10
)

// newProduct plans the sums of l on groups of the given numbers of channels, as sums of rows or as a matrix product.
func newProduct(d *Device, l *lattice, n, groups, from, to int, at place, rows bool) *tileProduct {
	if rows && l.stride[2] == 2 {
		// Every other element costs two loads: where the source has to be copied anyway, it is parted.
		apart := *l
		apart.even = true
		if measure(&apart, l.out[l.outermost()]).asIs {
			l = &apart
		}
	}
	p := &tileProduct{isa: d.isa, pool: workers(), n: n, groups: groups, from: from, to: to, place: at}
	p.cut(l, rows)
	return p
}

// cut plans bands.
func (p *tileProduct) cut(l *lattice, rows bool) {
	several := p.pool.Workers()
	axis := l.outermost()
	total := l.out[axis]
	budget := patchOfProduct
	if rows {
		budget = patchOfRows
	}
	p.bands = l.bands(p.from, budget)
	images := p.n * p.groups
	if rows || p.interleaves() {
		for p.bands*images%several != 0 && p.bands*images < 8*several && p.bands < total {
			p.bands++
		}
	} else {
		p.bands = p.bestBands(l)
	}
	p.plan(l, rows)
}

// copyElem is the cycles that an element of a patch takes to be copied.
const copyElem = 1.5

// bestBands is the number of bands, not below p.bands, with which the workers are expected to end first.
func (p *tileProduct) bestBands(l *lattice) int {
	axis := l.outermost()
	total, images, several := l.out[axis], p.n*p.groups, p.pool.Workers()
	best, least := p.bands, -1.0
	for b := p.bands; b <= total && (b == p.bands || b*images <= 8*several); b += 1 + b/8 {
		cycles := p.multiply(l, b).Cycles()
		if patch := measure(l, (total+b-1)/b); !patch.asIs {
			cycles += float64(p.from*patch.plane) * copyElem
		}
		if b*images >= several {
			cycles *= float64((b*images + several - 1) / several)
			// Workers that are held up leave the rest to others, which takes a few bands each.
			cycles *= 1 + 0.06*float64(several-1)/float64(b*images)
		}
		if least < 0 || cycles < least {
			best, least = b, cycles
		}
	}
	return best
}

// multiply plans the product of a band of b.
func (p *tileProduct) multiply(l *lattice, b int) *simd.Gemm {
	axis := l.outermost()
	total := l.out[axis]
	widest := (total + b - 1) / b
	hints := p.hints
	hints.Workers, hints.Line = max(1, p.pool.Workers()/max(1, b*p.n*p.groups)), l.out[2]
	if axis == 2 {
		hints.Line = widest
	}
	if p.interleaves() {
		hints.Workers = 1
	}
	g, err := simd.NewGemm(p.isa, p.to, volume(l.out)/total*widest, p.from*len(l.taps), hints)
	if err != nil {
		panic(err) // sizes below zero: a mistake here
	}
	return g
}

// plan sets what follows from the number of bands.
func (p *tileProduct) plan(l *lattice, rows bool) {
	axis := l.outermost()
	total := l.out[axis]
	widest := (total + p.bands - 1) / p.bands
	p.tasks = 1
	p.patch = newPatch(p.isa, l, widest)
	for c := range p.from {
		for _, off := range p.patch.off {
			p.off = append(p.off, c*p.patch.plane+off)
			p.reach = max(p.reach, c*p.patch.plane+off)
		}
	}
	if rows {
		return
	}
	p.gemm = p.multiply(l, p.bands)
	p.rest = p.gemm
	if total%p.bands != 0 {
		p.rest = p.gemm.WithColumns(volume(l.out) / total * (total / p.bands))
	}
	if !p.interleaves() {
		p.tasks = max(p.gemm.Tasks(), p.rest.Tasks())
	}
}

func (p *tileProduct) String() string {
	if p.gemm == nil {
		return fmt.Sprintf("%s, %d bands", p.isa, p.bands)
	}
	return fmt.Sprintf("%s, %d bands", p.gemm, p.bands)
}

func (p *tileProduct) pads() bool { return !p.patch.asIs && !p.patch.l.flat() }

// weights is how many elements the packed weights of all groups take.
func (p *tileProduct) weights() int { return p.groups * p.groupWeights() }

func (p *tileProduct) groupWeights() int {
	if p.gemm == nil {
		return p.to * len(p.off)
	}
	return lines(p.gemm.PackedA())
}

// pack packs the matrix wei[m·rowStride + k] of a group.
func (p *tileProduct) pack(packed, wei []float32, group int) {
	packed = packed[group*p.groupWeights():][:p.groupWeights()]
	if p.gemm == nil {
		copy(packed, wei)
		return
	}
	p.gemm.PackA(packed[:p.gemm.PackedA()], wei, len(p.off), 1)
}

// scratch is how many elements a run takes.
func (p *tileProduct) scratch() int { return p.pool.Workers() * p.own() }

// own is what each worker takes: the product's workspace, a patch, and results that are to be interleaved.
func (p *tileProduct) own() int { return p.workspace() + p.patches() + p.results() }

func (p *tileProduct) workspace() int {
	if p.gemm == nil {
		return 0
	}
	return lines(max(p.gemm.Workspace(), p.rest.Workspace()))
}

func (p *tileProduct) patches() int {
	if p.patch.asIs {
		return 0
	}
	return lines(p.from * p.patch.plane)
}

func (p *tileProduct) results() int {
	if !p.interleaves() {
		return 0
	}
	return p.to * p.perBand()
}

// perBand is the positions of a whole band.
func (p *tileProduct) perBand() int {
	l := p.patch.l
	total := l.out[p.patch.axis]
	return volume(l.out) / total * ((total + p.bands - 1) / p.bands)
}

// sweep is a run of a product.
type sweep struct {
	*tileProduct
	ctx            context.Context
	source, packed []float32
	target         []float32
	chain          *chain
	halves         []uint16 // instead of source
	workers        []worker
	cells          patch        // the plan's, with this run's padding
	quads          *quadWeights // of a product of quads
	bytes          []byte       // and its target, if that is bytes
}

// worker is what one works with.
type worker struct {
	call             simd.Call
	columns          tapColumns
	post             post
	quant            simd.Quant
	ws, patch, dense []float32
	copied           int // image and band that the patch is of, counted from 1
}

// run computes the product; chain may be nil.
func (p *tileProduct) run(ctx context.Context, a *arena, source, packed, target []float32, c *chain) error {
	s := p.sweep()
	s.source, s.packed, s.target, s.chain = source, packed, target, c
	return s.run(ctx, a)
}

// sweep is a run to be.
func (p *tileProduct) sweep() *sweep {
	s, _ := p.sweeps.Get().(*sweep)
	if s == nil {
		s = &sweep{tileProduct: p, workers: make([]worker, p.pool.Workers()), cells: *p.patch}
	}
	return s
}

func (s *sweep) run(ctx context.Context, a *arena) error {
	p, memory := s.tileProduct, a.get(s.scratch())
	s.ctx = ctx
	for i := range s.workers {
		w := &s.workers[i]
		own := memory[i*p.own():][:p.own()]
		w.ws, own = own[:p.workspace()], own[p.workspace():]
		w.patch, w.dense = own[:p.patches()], own[p.patches():]
	}
	p.pool.Run(p.n*p.groups*p.bands*p.tasks, (*banding)(s))
	a.put(memory)
	clear(s.workers)
	s.ctx, s.source, s.packed, s.target, s.chain, s.quads, s.bytes = nil, nil, nil, nil, nil, nil, nil
	s.halves = nil
	p.sweeps.Put(s)
	return ctx.Err()
}

// planes is the channels of an image's group, of a source of floats.
func (s *sweep) planes(image int) []float32 {
	if s.halves != nil {
		return nil
	}
	plane := s.from * volume(s.patch.l.in)
	return s.source[image*plane:][:plane]
}

// prepare sets a worker's call up for g to write results of the image's group to c, from position at of its planes on.
func (s *sweep) prepare(w *worker, g *simd.Gemm, image, at int, data, c []float32, ld int) {
	group := image % s.groups
	w.columns = tapColumns{s.tileProduct, data, g.N}
	w.call = simd.Call{A: s.packed[group*s.groupWeights():], B: &w.columns, C: c, LDC: ld}
	switch {
	case s.quads != nil:
		w.quant = s.quads.of(group*s.to, s.to)
		w.call.Quant = &w.quant
		if s.bytes != nil {
			plane := volume(s.size)
			w.quant.Bytes = s.bytes[image*s.to*plane:][:s.to*plane][at:]
		}
		if s.chain != nil {
			w.post = post{s.chain, image / s.groups, group * s.to, at}
			w.call.Post = &w.post
		}
	case s.chain != nil && !s.interleaves():
		c := s.chain
		if c.bias != nil {
			w.call.Bias = c.bias[group*s.to:][:s.to]
		}
		w.call.Clip, w.call.Lo, w.call.Hi = c.clips, c.lo, c.hi
		if c.rest != nil {
			w.post = post{c.rest, image / s.groups, group * s.to, at}
			w.call.Post = &w.post
		}
	}
}

// banding computes a task of a band after the other.
type banding sweep

func (b *banding) Do(worker, i int) {
	s := (*sweep)(b)
	if s.ctx.Err() != nil {
		return
	}
	l, axis := s.patch.l, s.patch.axis
	i, task := i/s.tasks, i%s.tasks
	image, band := i/s.bands, i%s.bands
	lo, hi := band*l.out[axis]/s.bands, (band+1)*l.out[axis]/s.bands
	w := &s.workers[worker]
	data := s.planes(image)
	switch {
	case len(s.off) == 0: // nothing is read
	case s.patch.asIs:
		data = data[s.patch.skip(lo):]
	default:
		if in := volume(l.in); w.copied != i+1 {
			if s.halves != nil {
				s.patch.fillHalves(w.patch, s.halves[image*s.from*in:], s.from, lo)
			} else {
				for c := range s.from {
					s.cells.fill(w.patch[c*s.patch.plane:][:s.patch.plane], data[c*in:][:in], lo)
				}
			}
			w.copied = i + 1
		}
		data = w.patch
	}
	perRow := volume(l.out) / l.out[axis]
	var to, c []float32
	ld := volume(s.size)
	if s.bytes == nil {
		to = s.target[image*s.to*ld:][:s.to*ld]
		c = to[lo*perRow:]
	}
	if s.interleaves() {
		c, ld = w.dense, (hi-lo)*perRow
	}
	if s.gemm == nil {
		s.addRows(image, lo*perRow, hi-lo, data, c, ld)
	} else {
		g := s.gemm
		if hi-lo < (l.out[axis]+s.bands-1)/s.bands {
			g = s.rest
		}
		s.prepare(w, g, image, lo*perRow, data, c, ld)
		for ; task < g.Tasks(); task += s.tasks {
			g.Run(task, w.ws, &w.call)
		}
	}
	if s.interleaves() {
		s.interleave(to, c, lo, hi)
	}
}

// addRows computes a band of n rows of the outermost axis by sums of the patches' rows.
func (s *sweep) addRows(image, at, n int, data, c []float32, ld int) {
	l, axis := s.patch.l, s.patch.axis
	out := l.out
	out[axis] = n
	group := image % s.groups
	k := len(s.off)
	rows := simd.Shifted{Off: s.off, Rows: out[1], Cols: out[2], LDSrc: l.stride[1] * s.patch.line, LDDst: out[2], Even: l.even, Far: s.patch.asIs && volume(l.in) > patchOfProduct}
	for m := range s.to {
		if k == 0 {
			clear(c[m*ld:][:volume(out)])
		}
		rows.Wei = s.packed[group*s.groupWeights()+m*k:][:k]
		for z := 0; k > 0 && z < out[0]; z++ {
			to, from := c[m*ld+z*out[1]*out[2]:], data[s.patch.at(z, 0, 0):]
			if s.greatest {
				rows.Max(s.isa, to, from)
			} else {
				rows.Sum(s.isa, to, from)
			}
		}
		if s.divisors != nil {
			n := volume(out)
			b := simd.Block{C: c, LD: n, Rows: 1, Cols: n}
			b.Divide(s.isa, simd.Params{V: s.divisors[at:], ByCol: true})
		}
		if s.chain != nil && !s.interleaves() {
			s.chain.apply(image/s.groups, group*s.to+m, at, c[m*ld:][:volume(out)])
		}
	}
}

// interleave spreads a band's dense results over their planes.
func (s *sweep) interleave(to, dense []float32, lo, hi int) {
	out := s.patch.l.out
	start, end := [3]int{}, out
	start[s.patch.axis], end[s.patch.axis] = lo, hi
	for m := range s.to {
		plane := to[m*volume(s.size):][:volume(s.size)]
		for z := start[0]; z < end[0]; z++ {
			n, rows := end[2]-start[2], end[1]-start[1]
			if s.step[2] == 2 {
				first := ((s.first[0]+z*s.step[0])*s.size[1]+s.first[1]+start[1]*s.step[1])*s.size[2] + s.first[2] + 2*start[2]
				simd.Every(s.isa, plane[first:], s.step[1]*s.size[2], dense, n, rows, n)
				dense = dense[rows*n:]
				continue
			}
			for y := start[1]; y < end[1]; y++ {
				row := plane[((s.first[0]+z*s.step[0])*s.size[1]+s.first[1]+y*s.step[1])*s.size[2]:][:s.size[2]]
				at := s.first[2] + start[2]*s.step[2]
				for _, v := range dense[:n] {
					row[at] = v
					at += s.step[2]
				}
				dense = dense[n:]
			}
		}
	}
}

// post is a chain of post-ops on the tiles of a product.
type post struct {
	*chain
	image, channel, at int
}

// Tile implements simd.Post.
func (p *post) Tile(c []float32, ld, row, rows, col, cols int) {
	p.block(p.image, p.channel+row, p.at+col, c, ld, rows, cols)
}
