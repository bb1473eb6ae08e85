package cpu

import (
	"context"
	"sync"
	"unsafe"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// pairProduct is the sums of a convolution of 8-bit integers,
//
//	dst[n, m, x] = Σ_c Σ_t (wei[m, c, t] − zero[m]) · (src[n, c, x·stride + taps[t]] − zero)
//
// as a product of pairs of 16-bit integers, which hold the differences, 255 at most, with sums of 32 bits that wrap, as the loops' do.
// The patches of an image are copied whole, as 16-bit integers with zeros for the padding.
type pairProduct struct {
	pool  *simd.Pool
	g     *geometry
	patch *patch
	rows  *simd.PairRows // of the patches of a group's channels, of no data yet
	gemm  *simd.Gemm
	runs  sync.Pool
}

// pairSlack is how many elements after the last one may be loaded.
const pairSlack = 64

func newPairProduct(d *Device, p *problem.Problem) *pairProduct {
	g := newGeometry(p)
	l := g.gathering()
	q := &pairProduct{pool: workers(), g: g, patch: newPatch(d.isa, l, l.out[l.outermost()])}
	var off []int
	for c := range g.wideCG {
		for _, o := range q.patch.off {
			off = append(off, c*q.patch.plane+o)
		}
	}
	if len(off)%2 != 0 {
		off = append(off, 0) // times a weight of 0
	}
	q.rows = simd.NewPairRows(d.isa, nil, off)
	hints := simd.Hints{Workers: max(1, q.pool.Workers()/max(1, g.groups)), Pairs: true}
	var err error
	if q.gemm, err = simd.NewGemm(d.isa, g.narrowCG, g.narrowSp, len(off)/2, hints); err != nil {
		panic(err) // sizes below zero: a mistake here
	}
	return q
}

// weights is how many elements the packed weights of all groups take, a pair each.
func (q *pairProduct) weights() int { return q.g.groups * q.groupWeights() }

func (q *pairProduct) groupWeights() int { return lines(q.gemm.PackedA()) }

// pack packs the differences of weights and their zero points.
func (q *pairProduct) pack(_ context.Context, wei []int32) ([]float32, error) {
	n, pairs := q.g.rows(), q.gemm.K
	packed, words := simd.Aligned(q.weights()), make([]int32, q.g.narrowCG*pairs)
	for group := range q.g.groups {
		for m := range q.g.narrowCG {
			row := wei[(group*q.g.narrowCG+m)*n:][:n]
			for p := range pairs {
				upper := int32(0)
				if 2*p+1 < n {
					upper = row[2*p+1]
				}
				words[m*pairs+p] = simd.Pair(int16(row[2*p]), int16(upper))
			}
		}
		q.gemm.PackA(packed[group*q.groupWeights():][:q.gemm.PackedA()], simd.Words(words), pairs, 1)
	}
	return packed, nil
}

func (q *pairProduct) String() string { return "pairs of 16 bits, " + q.gemm.String() }

// patches is how many elements the patches of an image take, two 16-bit integers each.
func (q *pairProduct) patches() int { return (q.g.wideC*q.patch.plane+pairSlack)/2 + 1 }

// scratch is how many elements a run takes.
func (q *pairProduct) scratch() int { return q.patches() + q.pool.Workers()*q.gemm.Workspace() }

// integerRun is a run, an image after the other.
type integerRun struct {
	*pairProduct
	ctx     context.Context
	job     *job
	quant   quant
	zero    int32
	chain   *chain
	target  []float32 // of floats, or of integers' bits
	patches []int16
	image   int
	workers []integerWorker
}

// integerWorker is what one worker works with.
type integerWorker struct {
	call    simd.Call
	columns pairColumns
	post    integerPost
	ws      []float32
}

func (q *pairProduct) run(ctx context.Context, j *job) error {
	r, _ := q.runs.Get().(*integerRun)
	if r == nil {
		r = &integerRun{pairProduct: q, workers: make([]integerWorker, q.pool.Workers())}
	}
	memory := j.arena.get(q.scratch())
	r.ctx, r.job, r.chain = ctx, j, j.chain()
	r.quant = newQuant(j.t.f[problem.Quant], j.p.OC)
	r.zero = int32(r.quant.src[0])
	if r.target = j.t.f[problem.Dst]; r.target == nil {
		r.target = simd.Words(j.t.i[problem.Dst])
	}
	n := q.patches()
	r.patches = unsafe.Slice((*int16)(unsafe.Pointer(unsafe.SliceData(memory))), 2*n)
	for i := range r.workers {
		r.workers[i].ws = memory[n+i*q.gemm.Workspace():][:q.gemm.Workspace()]
	}
	for r.image = range q.g.n {
		q.pool.Run(q.g.wideC, (*integerFilling)(r))
		q.pool.Run(q.g.groups*q.gemm.Tasks(), (*integerMultiplying)(r))
	}
	j.arena.put(memory)
	clear(r.workers)
	r.ctx, r.job, r.quant, r.chain, r.target, r.patches = nil, nil, quant{}, nil, nil, nil
	q.runs.Put(r)
	return ctx.Err()
}

// integerFilling copies the patches, a channel at a time.
type integerFilling integerRun

func (r *integerFilling) Do(_, c int) {
	if r.ctx.Err() == nil {
		src := r.job.t.i[problem.Src][(r.image*r.g.wideC+c)*r.g.wideSp:][:r.g.wideSp]
		r.patch.fillPairs(r.patches[c*r.patch.plane:][:r.patch.plane], src, r.zero)
	}
}

// integerMultiplying computes tasks of all groups.
type integerMultiplying integerRun

func (r *integerMultiplying) Do(worker, i int) {
	if r.ctx.Err() != nil {
		return
	}
	group, task := i/r.gemm.Tasks(), i%r.gemm.Tasks()
	w := &r.workers[worker]
	w.columns = pairColumns{r.patch, *r.rows}
	w.columns.rows.Data = r.patches[group*r.g.wideCG*r.patch.plane:]
	w.post = integerPost{r.job, &r.quant, r.chain, r.image, group * r.g.narrowCG}
	w.call = simd.Call{
		A: r.job.packed[group*r.groupWeights():], B: &w.columns, Post: &w.post,
		C: r.target[(r.image*r.g.narrowC+group*r.g.narrowCG)*r.g.narrowSp:], LDC: r.g.narrowSp,
	}
	r.gemm.Run(task, w.ws, &w.call)
}

// pairColumns is the matrix of pairs of taps and columns of positions. It is a simd.Source.
type pairColumns struct {
	patch *patch
	rows  simd.PairRows
}

// Pack implements simd.Source.
func (c *pairColumns) Pack(dst []float32, stride, k0, kc, n0, nc int) {
	out := c.patch.l.out
	for j := 0; j < nc; {
		row, x := (n0+j)/out[2], (n0+j)%out[2]
		n := min(out[2]-x, nc-j)
		c.rows.Pack(dst[j:], stride, k0, kc, c.patch.at(row/out[1], row%out[1], x), n)
		j += n
	}
}

// integerPost makes results of sums: of an image, for channels from one on.
type integerPost struct {
	*job
	quant          *quant
	chain          *chain
	image, channel int
}

// Tile implements simd.Post.
func (t *integerPost) Tile(c []float32, ld, row, rows, col, cols int) {
	q, typ, bias := t.quant, t.p.Type.Dst, t.t.i[problem.Bia]
	first := t.channel + row
	b := simd.Block{C: c, LD: ld, Rows: rows, Cols: cols}
	if bias != nil {
		b.Raise(t.isa, bias[first:])
	}
	switch typ {
	case problem.S32:
		return
	case problem.F32:
		b.Dequantize(t.isa, q.multiplier[first:])
	default:
		lo, hi := limits(typ)
		b.Quantize(t.isa, q.multiplier[first:], q.dst[first:], lo, hi)
	}
	if t.chain != nil {
		t.chain.block(t.image, first, col, c, ld, rows, cols)
	}
}

// fillPairs copies a channel of integers less zero, as one band.
func (p *patch) fillPairs(dst []int16, src []int32, zero int32) {
	if p.asIs {
		simd.Shorts(p.isa, dst[:len(src)], src, zero)
		return
	}
	in, step := p.l.in, len(p.parts)
	for _, r := range p.runs {
		for i := range r.n {
			row := r.y + i*r.step
			z, y := p.base[0]+r.z, p.base[1]+row
			to := dst[(r.z*p.size[1]+row)*p.line:][:p.line]
			if z < 0 || z >= in[0] || y < 0 || y >= in[1] {
				clear(to)
				continue
			}
			from := src[(z*in[1]+y)*in[2]:][:in[2]]
			for part, used := range p.parts {
				if used {
					everyPair(p.isa, to[part*p.part:][:p.part], from, p.base[2]+part, step, zero)
				}
			}
		}
	}
}

// everyPair sets dst to each step-th element of src from the first on, less zero, and to 0 outside of src.
func everyPair(isa simd.ISA, dst []int16, src []int32, first, step int, zero int32) {
	lo, hi := steps(len(dst), len(src), first, step)
	clear(dst[:lo])
	clear(dst[hi:])
	if step == 1 {
		src = src[min(len(src), max(0, first+lo)):]
		simd.Shorts(isa, dst[lo:hi], src[:hi-lo], zero)
		return
	}
	at := first + lo*step
	for i := range dst[lo:hi] {
		dst[lo+i] = int16(src[at] - zero)
		at += step
	}
}
