package cpu

import (
	"context"
	"sync"

	"github.com/gonvolve/gonvolve/cpu/simd"
)

// gradient is the sums over positions that a convolution's weights get,
//
//	wei[o, (c, tap)] = Σ_n Σ_x narrow[n, o, x] · wide[n, c, x·stride + taps[tap]]
//
// a matrix product for each image and band of positions, whose tasks all workers share.
type gradient struct {
	isa   simd.ISA
	pool  *simd.Pool
	g     *geometry
	patch *patch
	off   []int // of a group's taps in its patches
	bands int
	gemm  *simd.Gemm // of whole bands
	rest  *simd.Gemm // of those a row smaller
	runs  sync.Pool
}

const (
	// patchOfGradient is the elements of all patches that a band is to have at most.
	patchOfGradient = 1 << 20
	// turnedAtOnce is how many positions are transposed at once.
	turnedAtOnce = 64
)

func newGradient(d *Device, g *geometry) *gradient {
	r := &gradient{isa: d.isa, pool: workers(), g: g}
	l := g.gathering()
	total := l.out[l.outermost()]
	r.bands = l.bands(g.wideC, patchOfGradient)
	high := (total + r.bands - 1) / r.bands
	r.patch = newPatch(r.isa, l, high)
	for c := range g.wideCG {
		for _, off := range r.patch.off {
			r.off = append(r.off, c*r.patch.plane+off)
		}
	}
	perRow := volume(l.out) / total
	plan := func(rows int) *simd.Gemm {
		gemm, err := simd.NewGemm(r.isa, g.narrowCG, g.rows(), rows*perRow,
			simd.Hints{Workers: max(1, r.pool.Workers()/g.groups)})
		if err != nil {
			panic(err) // sizes below zero: a mistake here
		}
		return gemm
	}
	r.gemm = plan(high)
	r.rest = r.gemm
	if total%r.bands != 0 {
		r.rest = plan(total / r.bands)
	}
	return r
}

func (r *gradient) String() string { return r.gemm.String() }

func (r *gradient) pads() bool { return !r.patch.asIs }

func (r *gradient) patches() int {
	if r.patch.asIs {
		return 0
	}
	return lines(r.g.wideC * r.patch.plane)
}

func (r *gradient) packedA() int { return lines(max(r.gemm.PackedA(), r.rest.PackedA())) }

func (r *gradient) workspace() int { return lines(max(r.gemm.Workspace(), r.rest.Workspace())) }

// own is what each worker takes: the workspace, and rows to be transposed, as many as a panel is wide.
func (r *gradient) own() int { return r.workspace() + simd.MaxPanel*turnedAtOnce }

func (r *gradient) scratch() int {
	return r.patches() + r.g.groups*r.packedA() + r.pool.Workers()*r.own()
}

// slope is a run of a gradient.
type slope struct {
	*gradient
	ctx                       context.Context
	now                       *simd.Gemm
	image, lo, at             int // and the first row and position of the band
	wide, narrow, wei         []float32
	patches, packed, personal []float32
	calls                     []simd.Call
	sources                   []turned
}

func (r *gradient) run(ctx context.Context, a *arena, wide, narrow, wei []float32) error {
	g := r.g
	if g.n == 0 {
		clear(wei)
		return ctx.Err()
	}
	s, _ := r.runs.Get().(*slope)
	if s == nil {
		s = &slope{gradient: r, calls: make([]simd.Call, r.pool.Workers()), sources: make([]turned, r.pool.Workers())}
	}
	memory := a.get(r.scratch())
	s.ctx, s.wide, s.narrow, s.wei = ctx, wide, narrow, wei
	s.patches, s.packed = memory[:r.patches()], memory[r.patches():][:g.groups*r.packedA()]
	s.personal = memory[r.patches()+g.groups*r.packedA():]
	total := r.patch.l.out[r.patch.axis]
	perRow := g.narrowSp / total
	for s.image = range g.n {
		for band := range r.bands {
			lo, hi := band*total/r.bands, (band+1)*total/r.bands
			s.lo, s.at, s.now = lo, lo*perRow, r.gemm
			if hi-lo < (total+r.bands-1)/r.bands {
				s.now = r.rest
			}
			r.pool.Run(g.groups+g.wideC, (*packing)(s))
			r.pool.Run(g.groups*s.now.Tasks(), (*summing)(s))
		}
	}
	a.put(memory)
	clear(s.calls)
	clear(s.sources)
	*s = slope{gradient: r, calls: s.calls, sources: s.sources}
	r.runs.Put(s)
	return ctx.Err()
}

// packing fills the patches and packs the narrow side.
type packing slope

func (k *packing) Do(_, i int) {
	g := k.g
	if k.ctx.Err() != nil {
		return
	}
	if i < g.groups {
		from := k.narrow[(k.image*g.narrowC+i*g.narrowCG)*g.narrowSp+k.at:]
		k.now.PackA(k.packed[i*k.packedA():][:k.now.PackedA()], from, g.narrowSp, 1)
		return
	}
	if i -= g.groups; !k.patch.asIs {
		k.patch.fill(k.patches[i*k.patch.plane:][:k.patch.plane], k.wide[(k.image*g.wideC+i)*g.wideSp:][:g.wideSp], k.lo)
	}
}

// summing computes tasks of all groups.
type summing slope

func (m *summing) Do(worker, i int) {
	s, g := (*slope)(m), m.g
	if s.ctx.Err() != nil {
		return
	}
	group, task := i/s.now.Tasks(), i%s.now.Tasks()
	data := s.wide[(s.image*g.wideC+group*g.wideCG)*g.wideSp:]
	if s.patch.asIs {
		data = data[s.patch.skip(s.lo):]
	} else {
		data = s.patches[group*g.wideCG*s.patch.plane:]
	}
	own := s.personal[worker*s.own():][:s.own()]
	s.sources[worker] = turned{s.gradient, data, own[s.workspace():]}
	s.calls[worker] = simd.Call{A: s.packed[group*s.packedA():], B: &s.sources[worker],
		C: s.wei[group*g.narrowCG*g.rows():][:g.narrowCG*g.rows()], LDC: g.rows(), Add: s.image+s.at > 0}
	s.now.Run(task, own[:s.workspace()], &s.calls[worker])
}

// turned is the transpose of tapColumns: rows of positions, columns (channel, tap).
type turned struct {
	*gradient
	data, rows []float32
}

// Pack implements simd.Source.
func (t *turned) Pack(dst []float32, stride, k0, kc, n0, nc int) {
	out := t.patch.l.out
	off := t.off[n0:][:nc]
	for p := 0; p < kc; {
		count := min(turnedAtOnce, kc-p)
		for j := 0; j < count; {
			row, x := (k0+p+j)/out[2], (k0+p+j)%out[2]
			n := min(out[2]-x, count-j)
			simd.CopyRows(t.isa, t.rows[j:], turnedAtOnce, t.data[t.patch.at(row/out[1], row%out[1], x):], off, n)
			j += n
		}
		simd.Transpose(t.isa, dst[p*stride:], stride, t.rows, turnedAtOnce, nc, count)
		p += count
	}
}
