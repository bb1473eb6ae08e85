package cpu

import (
	"slices"

	"github.com/gonvolve/gonvolve/cpu/simd"
)

// lattice is where a sum of products reads: the result at position x takes, for tap t, the source at x·stride + taps[t],
// axis by axis, and nothing outside. Every sum over a convolution's taps is of this kind.
type lattice struct {
	in, out, stride [3]int
	taps            [][3]int // the offset of each
	even            bool     // the innermost stride of 2 is left to who reads
	halves          bool     // the source is of 16-bit floats, which are widened when they are copied
}

// parts is how many parts the rows of a patch have: as many as the innermost stride, if nobody else takes care of it.
func (l *lattice) parts() int { return l.stride[2] / l.step() }

// step is from the cell that a position reads to that of its neighbour, in a row of a patch.
func (l *lattice) step() int {
	if l.even {
		return 2
	}
	return 1
}

// gathering is the lattice of narrow positions, the taps in their own order.
func (g *geometry) gathering() *lattice {
	l := &lattice{in: g.wideD, out: g.narrowD, stride: g.stride, taps: make([][3]int, g.taps)}
	for t := range l.taps {
		_, k := split(int64(t), g.kernel)
		for a := range k {
			l.taps[t][a] = k[a]*g.dilation[a] - g.pad[a]
		}
	}
	l.flatten()
	return l
}

// flatten makes one axis of three where source and results have the same positions.
func (l *lattice) flatten() {
	for a, n := range l.out {
		if n == 1 {
			l.stride[a] = 1
		}
	}
	if l.in[2] == 1 && l.out[2] == 1 && !slices.ContainsFunc(l.taps, func(t [3]int) bool { return t[2] != 0 }) {
		// Columns are rows, in which vectors can lie.
		l.in, l.out, l.stride = inner(l.in), inner(l.out), inner(l.stride)
		for i, t := range l.taps {
			l.taps[i] = [3]int{0, t[0], t[1]}
		}
	}
	if len(l.taps) == 1 && l.taps[0] == [3]int{} && l.stride == [3]int{1, 1, 1} && l.in == l.out {
		l.in = [3]int{1, 1, volume(l.in)}
		l.out = l.in
	}
}

// flat says that source and results have the same positions, on one axis.
func (l *lattice) flat() bool {
	return len(l.taps) == 1 && l.taps[0] == [3]int{} && l.in == l.out && l.in[0]*l.in[1] == 1 && l.stride[2] == 1
}

// inner leaves out the innermost of three sizes.
func inner(v [3]int) [3]int { return [3]int{1, v[0], v[1]} }

// phase is the wide positions first + stride·x. Those that are alike modulo the stride are reached by the same taps, so
// that each phase is a lattice in narrow.
type phase struct {
	lattice
	taps  []int // of the kernel, in the lattice's order
	first [3]int
}

// scattering is the phases of the wide positions: one where the strides are 1.
func (g *geometry) scattering() []phase {
	var phases []phase
	for i := range volume(g.stride) {
		ph := phase{lattice: lattice{in: g.narrowD, stride: [3]int{1, 1, 1}}}
		_, ph.first = split(int64(i), g.stride)
		for a, s := range g.stride {
			ph.out[a] = (g.wideD[a] - ph.first[a] + s - 1) / s
		}
		if min(ph.out[0], ph.out[1], ph.out[2]) <= 0 {
			continue
		}
		for t := range g.taps {
			_, k := split(int64(t), g.kernel)
			var offset [3]int
			reached := true
			for a, s := range g.stride {
				d := ph.first[a] + g.pad[a] - k[a]*g.dilation[a]
				reached = reached && d%s == 0
				offset[a] = d / s
			}
			if reached {
				ph.taps = append(ph.taps, t)
				ph.lattice.taps = append(ph.lattice.taps, offset)
			}
		}
		if g.stride == [3]int{1, 1, 1} { // else the results are not neighbours
			ph.flatten()
		}
		phases = append(phases, ph)
	}
	return phases
}

// outermost is the first axis with more than one position.
func (l *lattice) outermost() int {
	for a, n := range l.out[:2] {
		if n > 1 {
			return a
		}
	}
	return 2
}

// patch is the part of a channel that some positions of a lattice read, those of a band of its outermost axis: copied
// with its padding, and every row parted by the innermost stride, so that the cells that a tap reads for neighbouring
// positions are neighbours. Where the source is of this form already, it is the patch.
type patch struct {
	l     *lattice
	axis  int // the bands'
	asIs  bool
	base  [3]int // the cell of the source that is the patch's first, for the band at 0
	size  [3]int // cells of the source
	part  int    // elements of a part of a row
	line  int    // of a row
	plane int    // of all
	off   []int  // of the taps
	parts []bool // that are read
	runs  []lineRun
	isa   simd.ISA
	// outside is what the source has outside.
	outside float32
}

// lineRun is n rows of a patch that are read: each step-th from y on.
type lineRun struct {
	z, y, n, step int
	source        []int // where they start in the source, from the first on
}

// extend adds row y to the run, if it goes on there.
func (r *lineRun) extend(z, y int) bool {
	switch {
	case r.z != z:
		return false
	case r.n == 1:
		r.step = y - r.y
	}
	if y != r.y+r.n*r.step {
		return false
	}
	r.n++
	return true
}

// newPatch returns the patch for bands of n positions.
func newPatch(isa simd.ISA, l *lattice, n int) *patch {
	p := measure(l, n)
	p.isa = isa
	p.table()
	return &p
}

// bands is how many bands to take the positions of the outermost axis in, so that the patches of so many channels have no
// more than budget elements.
func (l *lattice) bands(channels, budget int) int {
	total := l.out[l.outermost()]
	high := total
	if measure(l, total).asIs {
		return 1
	}
	for high > 1 {
		size := channels * measure(l, high).plane
		if size <= budget {
			break
		}
		high = max(1, min(high-1, int(int64(high)*int64(budget)/int64(size))))
	}
	return (total + high - 1) / high
}

// measure is newPatch without the tables.
func measure(l *lattice, n int) patch {
	p := patch{l: l, axis: l.outermost()}
	end := [3]int{}
	padded := false
	for a := range 3 {
		count := l.out[a]
		if a == p.axis {
			count = n
		}
		for i, t := range l.taps {
			if i == 0 || t[a] < p.base[a] {
				p.base[a] = t[a]
			}
			if i == 0 || t[a] > end[a] {
				end[a] = t[a]
			}
		}
		padded = padded || p.base[a] < 0 || (l.out[a]-1)*l.stride[a]+end[a] >= l.in[a]
		p.size[a] = (count-1)*l.stride[a] + end[a] - p.base[a] + 1
	}
	switch {
	case len(l.taps) == 0 || !padded && l.parts() == 1 && !l.halves:
		p.asIs = true
		p.base, p.size = [3]int{}, l.in
		p.part = l.in[2]
		p.line = p.part
	default:
		p.part = (p.size[2] + l.parts() - 1) / l.parts()
		p.line = p.part * l.parts()
	}
	p.plane = p.size[0] * p.size[1] * p.line
	if !p.asIs && p.plane >= 512 {
		// An odd number of cache lines apart, the same cells of several planes don't share a set of the cache.
		p.plane = 16 * ((p.plane+15)/16 | 1)
	}
	return p
}

// table lists the taps' offsets, and what has to be copied for them.
func (p *patch) table() {
	l := p.l
	p.parts = make([]bool, l.parts())
	var used []bool
	if !p.asIs {
		used = make([]bool, p.size[0]*p.size[1])
	}
	for _, t := range l.taps {
		for a := range t {
			t[a] -= p.base[a]
		}
		part := t[2] % l.parts()
		p.parts[part] = true
		p.off = append(p.off, (t[0]*p.size[1]+t[1])*p.line+part*p.part+t[2]/l.parts())
		if p.asIs {
			continue
		}
		for z := t[0]; z < p.size[0]; z += l.stride[0] {
			for y := t[1]; y < p.size[1]; y += l.stride[1] {
				used[z*p.size[1]+y] = true
			}
		}
	}
	for i, is := range used {
		z, y := i/p.size[1], i%p.size[1]
		if last := len(p.runs) - 1; is && (last < 0 || !p.runs[last].extend(z, y)) {
			p.runs = append(p.runs, lineRun{z: z, y: y, n: 1, step: 1})
		}
	}
	rows := map[int][]int{} // by step
	for i := range p.runs {
		r := &p.runs[i]
		for n := len(rows[r.step]); n < r.n; n++ {
			rows[r.step] = append(rows[r.step], n*r.step*l.in[2])
		}
		r.source = rows[r.step][:r.n]
	}
}

// at is where the patch has the position's cell for a tap of offset 0.
func (p *patch) at(z, y, x int) int {
	return (z*p.l.stride[0]*p.size[1]+y*p.l.stride[1])*p.line + x*p.l.step()
}

// skip is where the patch for the band at lo begins in a source that is used as it is.
func (p *patch) skip(lo int) int {
	var pos [3]int
	pos[p.axis] = lo
	return p.at(pos[0], pos[1], pos[2])
}

// memory is how many elements the copy of a channel takes; none where it is used as it is.
func (p *patch) memory() int {
	if p.asIs {
		return 0
	}
	return lines(p.plane)
}

// band is a channel for the band at lo: as it is, or a copy in memory.
func (p *patch) band(memory, src []float32, lo int) []float32 {
	if p.asIs {
		return src[p.skip(lo):]
	}
	p.fill(memory, src, lo)
	return memory
}

// fill copies a channel for the band at lo.
func (p *patch) fill(dst, src []float32, lo int) {
	base := p.base
	base[p.axis] += lo * p.l.stride[p.axis]
	in := p.l.in
	for i := range p.runs {
		r := &p.runs[i]
		z, y := base[0]+r.z, base[1]+r.y
		above, end := r.until(-y), r.until(in[1]-y) // rows that the source has
		if z < 0 || z >= in[0] || end <= above {
			above, end = r.n, r.n
		}
		rows := dst[(r.z*p.size[1]+r.y)*p.line:]
		for k := range r.n {
			if k < above || k >= end {
				fill(rows[k*r.step*p.line:][:p.line], p.outside)
			}
		}
		if end > above {
			p.lines(rows[above*r.step*p.line:], src[(z*in[1]+y+above*r.step)*in[2]:], base[2], r, end-above)
		}
	}
}

// until is how many of the run's rows come before distance d from the first.
func (r *lineRun) until(d int) int { return max(0, min(r.n, (d+r.step-1)/r.step)) }

func fill(v []float32, x float32) {
	for len(v) >= 8 {
		w := v[:8:8]
		w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7] = x, x, x, x, x, x, x, x
		v = v[8:]
	}
	for i := range v {
		v[i] = x
	}
}

// lines copies n rows of a run of the source, from cell x of each on.
func (p *patch) lines(dst, src []float32, x int, r *lineRun, n int) {
	wide := p.l.in[2]
	line, from := r.step*p.line, r.step*wide
	if len(p.parts) == 2 {
		// Where both parts are inside:
		lo := min(p.part, max(0, (1-x)/2))
		hi := max(lo, min(p.part, (wide-x)/2))
		if hi > lo {
			simd.Split(p.isa, dst[lo:], dst[p.part+lo:], line, src[x+2*lo:], from, n, hi-lo)
			for i := range 2 {
				for t := range lo {
					p.column(dst[i*p.part+t:], src, x+i+2*t, r, n)
				}
				for t := hi; t < p.part; t++ {
					p.column(dst[i*p.part+t:], src, x+i+2*t, r, n)
				}
			}
			return
		}
	}
	if len(p.parts) == 1 {
		lo := min(p.part, max(0, -x))
		hi := max(lo, min(p.part, wide-x))
		if hi > lo {
			simd.CopyRows(p.isa, dst[lo:], line, src[x+lo:], r.source[:n], hi-lo)
		}
		for t := range lo {
			p.column(dst[t:], src, x+t, r, n)
		}
		for t := hi; t < p.part; t++ {
			p.column(dst[t:], src, x+t, r, n)
		}
		return
	}
	for k := range n {
		for i, used := range p.parts {
			if used {
				p.every(dst[k*line+i*p.part:][:p.part], src[k*from:][:wide], x+i, len(p.parts))
			}
		}
	}
}

// column copies cell x of n rows of a run.
func (p *patch) column(dst, src []float32, x int, r *lineRun, n int) {
	wide := p.l.in[2]
	for k := range n {
		v := p.outside
		if x >= 0 && x < wide {
			v = src[k*r.step*wide+x]
		}
		dst[k*r.step*p.line] = v
	}
}

// steps says which of the n elements first, first+step, … are in a line of so many: those from lo to hi.
func steps(n, line, first, step int) (lo, hi int) {
	if first < 0 {
		lo = min(n, (-first+step-1)/step)
	}
	if hi = lo; line > first {
		hi = max(lo, min(n, (line-first+step-1)/step))
	}
	return lo, hi
}

// every sets dst to each step-th element of src from the first on, and to what is outside of src.
func (p *patch) every(dst, src []float32, first, step int) {
	lo, hi := steps(len(dst), len(src), first, step)
	fill(dst[:lo], p.outside)
	at := first + lo*step
	for i := range dst[lo:hi] {
		dst[lo+i] = src[at]
		at += step
	}
	fill(dst[hi:], p.outside)
}

// tapColumns is the matrix that a lattice implies, of rows (channel, tap) and columns of positions, read from patches of the
// channels, which lie one after the other. It is a simd.Source.
type tapColumns struct {
	p    *tileProduct
	data []float32
	n    int // columns
}

// Line implements simd.Placed. It makes sure that all taps of the line are there, as the kernels don't look.
func (c *tapColumns) Line(n0 int) ([]float32, []int) {
	p := c.p.patch
	out := &p.l.out
	row, x := n0/out[2], n0%out[2]
	return c.data[p.at(row/out[1], row%out[1], x):][:c.p.reach+min(out[2]-x, c.n-n0)], c.p.off
}

// Pack implements simd.Source.
func (c *tapColumns) Pack(dst []float32, stride, k0, kc, n0, nc int) {
	p := c.p.patch
	out := p.l.out
	off := c.p.off[k0:][:kc]
	for j := 0; j < nc; {
		row, x := (n0+j)/out[2], (n0+j)%out[2]
		n := min(out[2]-x, nc-j)
		simd.CopyRows(c.p.isa, dst[j:], stride, c.data[p.at(row/out[1], row%out[1], x):], off, n)
		j += n
	}
}
