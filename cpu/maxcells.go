package cpu

import (
	"context"
	"fmt"
	"math"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// maxCells is max pooling that has to know where its maxima are: it writes their indices, or sends gradients there. Rows of
// windows are compared tap by tap on cached patches, which makes the maxima's distances from the windows' first cells.
//
// Planes are the parts of the work, or where they are few, bands of them: of windows forward, of cells backward, where the
// windows that reach over a band's edge are looked at from both sides.
type maxCells struct {
	isa      simd.ISA
	pool     *simd.Pool
	p        problem.Problem
	patch    *patch
	from     []int // of each tap, where it is in the patch and in the plane
	far      int   // the greatest distance in the plane
	low, top int   // the least and the greatest offset of a tap on the patch's axis
	high     int   // positions of a band
	planes   int
	parts    int // of a plane
	inner    int // cells of a plane at one position of the patch's axis
	runs     runs[cellRun, *cellRun]
}

// cellsByRows says whether maxima's cells are found that way: in a plane whose cells an int32 can count.
func cellsByRows(p *problem.Problem) bool {
	backward := p.Dir == problem.BackwardData
	in, _ := spatialSizes(p)
	return p.Kind == problem.Max && backward != (p.Indices != problem.NoIndices) && volume(in) <= math.MaxInt32
}

func newMaxCells(d *Device, p *problem.Problem) *maxCells {
	m := &maxCells{isa: d.isa, pool: workers(), p: *p, planes: p.N * p.IC, parts: 1, low: math.MaxInt, top: math.MinInt}
	l := newGeometry(p).gathering()
	axis := l.outermost()
	total := l.out[axis]
	m.high = (total + l.bands(1, patchOfRows) - 1) / l.bands(1, patchOfRows)
	m.patch = newPatch(d.isa, l, m.high)
	m.patch.outside = float32(math.Inf(-1))
	for i, t := range l.taps {
		cell := (t[0]*l.in[1]+t[1])*l.in[2] + t[2]
		m.from = append(m.from, m.patch.off[i], cell)
		m.far = max(m.far, cell)
		m.low, m.top = min(m.low, t[axis]), max(m.top, t[axis])
	}
	m.inner = 1
	outer := 1
	for a, n := range l.in {
		switch {
		case a < axis:
			outer *= n
		case a > axis:
			m.inner *= n
		}
	}
	if several := 4 * m.pool.Workers(); outer == 1 && m.planes > 0 && m.planes < several {
		m.parts = min(max(1, total/8), (several+m.planes-1)/m.planes)
	}
	return m
}

func (m *maxCells) String() string {
	return fmt.Sprintf("%s, cells of maxima, %d parts of a plane", m.isa, m.parts)
}

// own is what each worker takes: a patch, and a row of cells.
func (m *maxCells) own() int { return m.patch.memory() + lines(m.patch.l.out[2]) }

func (m *maxCells) scratch() int { return m.pool.Workers() * m.own() }

// cellRun is a run.
type cellRun struct {
	*maxCells
	ctx    context.Context
	w      *windows
	t      *tensors
	memory []float32
}

func (m *maxCells) run(ctx context.Context, a *arena, w *windows, t *tensors) error {
	memory := a.get(m.scratch())
	defer a.put(memory)
	m.runs.do(m.pool, m.planes*m.parts, cellRun{m, ctx, w, t, memory})
	return ctx.Err()
}

// Do implements simd.Task: a plane, or a part of one.
func (r *cellRun) Do(worker, i int) {
	l, axis := r.patch.l, r.patch.axis
	nc, part := i/r.parts, i%r.parts
	in, out := volume(l.in), volume(l.out)
	s := cellSweep{cellRun: r, nc: nc, plane: r.t.f[problem.Src][nc*in:][:in], hi: in}
	first, end := part*l.out[axis]/r.parts, (part+1)*l.out[axis]/r.parts
	if s.to = r.t.f[problem.DiffSrc]; s.to != nil {
		s.to, s.by = s.to[nc*in:][:in], r.t.f[problem.DiffDst][nc*out:][:out]
		if r.parts > 1 { // cells that are this part's, and the windows that have one of them
			lo, hi := part*l.in[axis]/r.parts, (part+1)*l.in[axis]/r.parts
			first = max(0, (lo-r.top+l.stride[axis]-1)/l.stride[axis])
			end = min(l.out[axis], max(first, (hi-r.low+l.stride[axis]-1)/l.stride[axis]))
			s.lo, s.hi = lo*r.inner, hi*r.inner
		}
		s.cleared = s.lo
	}
	own := scratch(r.memory[worker*r.own():][:r.own()])
	memory, cells := own.take(r.patch.memory()), simd.Ints(own)
	for lo := first; lo < end && r.ctx.Err() == nil; lo += r.high {
		data := r.patch.band(memory, s.plane, lo)
		count := l.out
		count[axis] = min(r.high, end-lo)
		for z := range count[0] {
			for y := range count[1] {
				pos := [3]int{z, y, 0}
				pos[axis] += lo
				simd.Firsts(r.isa, cells[:count[2]], data[r.patch.at(z, y, 0):], r.from)
				s.row(pos, cells[:count[2]])
			}
		}
	}
	s.clear(s.hi)
}

// cellSweep is a part's work: the cells from lo to hi of a plane, of which those before cleared were.
type cellSweep struct {
	*cellRun
	nc, lo, hi, cleared int
	plane, to, by       []float32
}

// clear clears the part's cells before end.
func (s *cellSweep) clear(end int) {
	if end = min(end, s.hi); s.to != nil && end > s.cleared {
		clear(s.to[s.cleared:end])
		s.cleared = end
	}
}

// row does the windows from pos on, whose maxima are so far from their first cells.
func (s *cellSweep) row(pos [3]int, cells []int32) {
	l := s.patch.l
	at := (pos[0]*l.out[1]+pos[1])*l.out[2] + pos[2]
	step := l.stride[2]
	base := (pos[0]*l.stride[0]*l.in[1]+pos[1]*l.stride[1])*l.in[2] + pos[2]*step
	if s.to == nil {
		s.write(at, base, cells)
		return
	}
	s.clear(base + (len(cells)-1)*step + s.far + 1)
	to, by := s.to[s.lo:s.hi], s.by[at:][:len(cells)]
	for x, d := range cells {
		cell := base - s.lo + int(d)
		if uint(cell) < uint(len(to)) {
			to[cell] += by[x]
		} else if d == simd.None {
			if cell := s.least(at + x); cell >= s.lo && cell < s.hi {
				s.to[cell] += by[x]
			}
		}
		base += step
	}
}

// least is the cell of window i's maximum where nothing in it is above −∞: the first, −1 if it has none.
func (s *cellSweep) least(i int) int {
	_, out := spatialSizes(&s.p)
	_, x := split(int64(i), out)
	_, cell := s.w.max(s.plane, x)
	return cell
}

// write writes the maxima of windows and their indices.
func (s *cellSweep) write(at, base int, cells []int32) {
	in, _ := spatialSizes(&s.p)
	start := s.nc*volume(s.patch.l.out) + at
	to, indices := s.t.f[problem.Dst][start:][:len(cells)], s.t.i[problem.Ind][start:][:len(cells)]
	first := 0
	if s.p.Indices != problem.Plane {
		first = s.nc * len(s.plane)
	}
	for x, d := range cells {
		cell := base + int(d)
		if d == simd.None {
			cell = s.least(at + x)
		}
		switch {
		case cell < 0:
			to[x], indices[x] = float32(math.Inf(-1)), -1
		case s.p.Indices == problem.Column:
			to[x], indices[x] = s.plane[cell], int32(indexOf(s.p.Indices, s.nc, cell, in))
		default:
			to[x], indices[x] = s.plane[cell], int32(first+cell)
		}
		base += s.patch.l.stride[2]
	}
}
