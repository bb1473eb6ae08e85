package cpu

import (
	"context"
	"fmt"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// phasedRows is the adjoint of sums of rows that are two steps apart, from one channel of each group: all phases of the wide
// planes together, as sums of rows of one patch of the narrow plane. The rows of even and of odd cells are made apart and
// then joined, so that each row of the wide plane is written once.
type phasedRows struct {
	isa           simd.ISA
	pool          *simd.Pool
	g             *geometry
	images        int
	phases        []phase // by pairs: even cells of the rows, and odd ones
	starts        []int   // of each phase's taps among all
	patch         *patch  // for the taps of all phases
	bands, widest int     // and positions of the largest
	runs          runs[phasedRun, *phasedRun]
}

// newPhased plans an adjoint that phasedRows are for; nil for others.
func newPhased(d *Device, p *problem.Problem) *igemm {
	q, _ := padded(p)
	g := newGeometry(&q)
	adjoint := p.Op == problem.Conv && p.Dir == problem.BackwardData || p.Op == problem.Deconv && p.Dir == problem.Forward
	if !adjoint || g.stride[2] != 2 || g.narrowCG != 1 || g.wideD[2] < 2 {
		return nil
	}
	r := &phasedRows{isa: d.isa, pool: workers(), g: g, images: g.n * g.groups, phases: g.scattering()}
	l := &lattice{in: g.narrowD, stride: [3]int{1, 1, 1}}
	var taps []int
	for i := range r.phases {
		ph := &r.phases[i]
		r.starts = append(r.starts, len(taps))
		taps = append(taps, ph.taps...)
		l.taps = append(l.taps, ph.lattice.taps...)
		for a, n := range ph.out {
			l.out[a] = max(l.out[a], n)
		}
	}
	r.starts = append(r.starts, len(taps))
	total := l.out[l.outermost()]
	r.bands = l.bands(1, patchOfRows)
	for several := 4 * r.pool.Workers(); r.bands*r.images < several && r.bands < total; {
		r.bands++
	}
	r.widest = (total + r.bands - 1) / r.bands
	r.patch = newPatch(d.isa, l, r.widest)
	return &igemm{g: g, adjoint: true, phases: []phase{{taps: taps}}, products: []summer{r}, padsZeros: r.pads()}
}

func (r *phasedRows) String() string {
	return fmt.Sprintf("%s, rows of %d phases, %d bands", r.isa, len(r.phases), r.bands)
}

func (r *phasedRows) interleaves() bool { return true }
func (r *phasedRows) pads() bool        { return !r.patch.asIs }
func (r *phasedRows) weights() int      { return r.g.wideC * len(r.patch.off) }

func (r *phasedRows) pack(packed, wei []float32, group int) {
	n := r.g.wideCG * len(r.patch.off)
	copy(packed[group*n:][:n], wei)
}

// own is what each worker takes: a patch, and results of two phases.
func (r *phasedRows) own() int { return r.patch.memory() + 2*r.perBand() }

// perBand is the positions of a phase's rows in a band, of one outermost position or several.
func (r *phasedRows) perBand() int {
	out := r.patch.l.out
	out[r.patch.axis] = r.widest
	return lines(out[1] * out[2])
}

func (r *phasedRows) scratch() int { return r.pool.Workers() * r.own() }

// phasedRun is a run.
type phasedRun struct {
	*phasedRows
	ctx                    context.Context
	source, packed, target []float32
	memory                 []float32
}

func (r *phasedRows) run(ctx context.Context, a *arena, source, packed, target []float32, _ *chain) error {
	memory := a.get(r.scratch())
	defer a.put(memory)
	r.runs.do(r.pool, r.images*r.bands, phasedRun{r, ctx, source, packed, target, memory})
	return ctx.Err()
}

// Do implements simd.Task: a band of a group's channels in an image.
func (s *phasedRun) Do(worker, i int) {
	if s.ctx.Err() != nil {
		return
	}
	g, l, axis := s.g, s.patch.l, s.patch.axis
	image, band := i/s.bands, i%s.bands
	lo, hi := band*l.out[axis]/s.bands, (band+1)*l.out[axis]/s.bands
	own := scratch(s.memory[worker*s.own():][:s.own()])
	data := s.source[image*g.narrowSp:][:g.narrowSp]
	if memory := own.take(s.patch.memory()); len(l.taps) > 0 { // else nothing is read
		data = s.patch.band(memory, data, lo)
	}
	even, odd := own.take(s.perBand()), own.take(s.perBand())
	for m := range g.wideCG {
		channel := image*g.wideCG + m
		wei := s.packed[channel%g.wideC*len(s.patch.off):][:len(s.patch.off)]
		to := s.target[channel*g.wideSp:][:g.wideSp]
		for k := 0; k < len(s.phases); k += 2 {
			ph := &s.phases[k]
			size := ph.out
			size[axis] = max(0, min(hi, size[axis])-lo)
			cols := ph.out[2] + s.phases[k+1].out[2]
			if axis == 2 {
				cols = min(2*size[2], cols-2*lo)
			}
			if size[1] == 0 || cols <= 0 {
				continue
			}
			for z := range size[0] {
				pos := [3]int{z, 0, 0}
				pos[axis] += lo
				var at int // of the first cell
				for a := range pos {
					at = at*g.wideD[a] + ph.first[a] + pos[a]*g.stride[a]
				}
				s.sum(even, data[s.patch.at(z, 0, 0):], wei, k, size[1], (cols+1)/2)
				s.sum(odd, data[s.patch.at(z, 0, 0):], wei, k+1, size[1], cols/2)
				simd.Join(s.isa, to[at:], g.stride[1]*g.wideD[2], even, odd, size[1], cols)
			}
		}
	}
}

// sum computes rows of a phase.
func (s *phasedRun) sum(to, data, wei []float32, k, rows, cols int) {
	first, end := s.starts[k], s.starts[k+1]
	if first == end {
		clear(to[:rows*cols])
		return
	}
	sums := simd.Shifted{Wei: wei[first:end], Off: s.patch.off[first:end], Rows: rows, Cols: cols, LDSrc: s.patch.line, LDDst: cols}
	sums.Sum(s.isa, to, data)
}
