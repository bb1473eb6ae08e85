package simd

import (
	"fmt"
	"sync"
)

// Gemm is the plan of a product C[M×N] = A[M×K]·B[K×N]. It doesn't change, so that many may use it at once.
//
// The product is cut into independent tasks, each a block of C over all of K, for as many workers as there are.
type Gemm struct {
	M, N, K int

	kern    *kernels
	columns bool // C is stored by columns
	inPlace bool // B is read where it is, in lines of lineHint columns
	direct  bool // as Hints.Direct
	pairs   bool // of integers
	quads   bool // of bytes
	bytes   bool // C is of bytes
	// swapped says that lanes lie along the rows of C, as is better where there are few columns, or C is stored by columns.
	swapped  bool
	lineHint int
	rowExt   int     // elements on the row side
	laneExt  int     // elements on the lane side
	rows     grid    // of the row side into panels
	line     int     // elements of a line of the lane side, which panels don't leave
	nr       int     // lanes of a panel but the last of a line
	blocks   split   // of K
	rowJobs  split   // of the row panels into tasks
	laneJobs split   // of the lane panels into tasks
	starts   []int   // of a line's row panels
	steady   []int   // where the rows of a packed panel of the lane side are
	tail     []int   // the same for the last panel
	cycles   float64 // to expect of all workers together
}

// split cuts n into parts that differ by one at most.
type split struct{ n, parts int }

func cut(n, most int) split {
	if n == 0 {
		return split{0, 0}
	}
	return split{n, (n + most - 1) / most}
}

// start of part i; start(parts) is n.
func (s split) start(i int) int { return i * s.n / s.parts }

// widest part.
func (s split) widest() int {
	if s.parts == 0 {
		return 0
	}
	return (s.n + s.parts - 1) / s.parts
}

// grid cuts lines of the same length into panels, none of which reaches into another line.
type grid struct {
	lines, length int
	split         split // of a line
}

func (g grid) parts() int { return g.lines * g.split.parts }

// start of panel i; start(parts()) is where the last line ends.
func (g grid) start(i int) int {
	if g.split.parts == 0 {
		return 0
	}
	return i/g.split.parts*g.length + g.split.start(i%g.split.parts)
}

// panel returns where panel i starts, and its elements.
func (g grid) panel(i int) (start, n int) {
	i, in := i/g.split.parts*g.length, i%g.split.parts
	return i + g.split.start(in), g.split.start(in+1) - g.split.start(in)
}

// Call is what a plan runs on.
type Call struct {
	A   []float32 // packed by PackA
	B   Source
	C   []float32 // C[i, j] is C[i·LDC + j], or C[j·LDC + i] in a plan with Hints.Columns
	LDC int
	Add bool // C += A·B
	// What happens to each complete float while it is in a register: a bias for each row of C is added (nil: none), what
	// is below Lo becomes Lo and what is above Hi becomes Hi, so that NaN stays.
	Bias   []float32
	Clip   bool
	Lo, Hi float32
	Quant  *Quant // of a product of quads, instead of bias and limits
	Post   Post   // and then, while it is in the cache; nil: nothing
	// Later is what will be needed when a batch is done: it is fetched while there is nothing nearer to fetch.
	Later Lines
}

// Lines are Rows lines of N elements in planes: those of a plane are LD apart, and the planes Plane.
type Lines struct {
	Data               []float32
	Rows, N, LD, Plane int

	plane, row, at int // of what is next
}

// take returns what begins with the next elements, of which n are looked at, and nil in the end.
func (l *Lines) take(n int) []float32 {
	start := l.plane*l.Plane + l.row*l.LD + l.at
	if start >= len(l.Data) {
		return nil
	}
	if l.at += n; l.at >= l.N {
		l.at, l.row = 0, l.row+1
		if l.row >= l.Rows {
			l.row, l.plane = 0, l.plane+1
		}
	}
	return l.Data[start:]
}

// Post is what happens to results while they are in the cache.
type Post interface {
	// Tile works on rows×cols finished elements, those of C that start at (row, col), with stride ld from row to row of c.
	// If C is stored by columns, so is the tile: c[j·ld + i].
	Tile(c []float32, ld, row, rows, col, cols int)
}

// Source is the matrix B, which need not exist as one.
type Source interface {
	// Pack writes B[k0+p, n0+j] to dst[p·stride + j], for p < kc and j < nc.
	Pack(dst []float32, stride, k0, kc, n0, nc int)
}

// Placed is a Source that lies in memory: within a line of Hints.Line columns, B[k, n0+j] = data[off[k] + j].
type Placed interface {
	Source
	// Line returns the data and the offsets of all rows of B for the columns from n0 to the end of their line.
	Line(n0 int) (data []float32, off []int)
}

// Hints are what a plan may know beyond the sizes.
type Hints struct {
	Workers int  // that share the tasks
	Columns bool // C is stored by columns
	Pairs   bool // of 16-bit integers with sums of 32 bits, see PairRows
	Quads   bool // of bytes with sums of 32 bits, see Quant: B is Placed
	Bytes   bool // C is of bytes, those of Quant
	// Direct: B is Placed, one line if Line is 0, and read where it is instead of being packed, with vectors along C's lines.
	Direct bool
	Line   int // B is Placed in lines of so many columns, so that it need not be packed; 0: it isn't
}

// PackedA is the number of elements that PackA writes.
func (g *Gemm) PackedA() int {
	if g.swapped {
		return g.K * g.padded(g.laneExt)
	}
	return g.K * g.rowExt
}

// padded is n lanes in whole vectors.
func (g *Gemm) padded(n int) int { return (n + g.kern.lanes - 1) / g.kern.lanes * g.kern.lanes }

// Workspace is the number of elements that each worker needs.
func (g *Gemm) Workspace() int { return g.panelSize() + g.scratchSize() }

// panelSize is what packed panels of B take.
func (g *Gemm) panelSize() int {
	switch {
	case g.inPlace:
		return 0
	case g.swapped:
		return g.padded(g.blocks.widest() * g.rowJobs.widest() * g.rows.split.widest())
	}
	return g.blocks.widest() * g.nr
}

// scratchSize is what tiles take until they are transposed into C: all of a task where K is cut.
func (g *Gemm) scratchSize() int {
	switch {
	case g.swapped == g.columns:
		return 0
	case g.blocks.parts > 1:
		return g.tileSize() * g.rowJobs.widest() * g.laneJobs.widest()
	}
	return g.tileSize()
}

func (g *Gemm) tileSize() int { return g.rows.split.widest() * g.nr }

// Tasks is how many tasks there are.
func (g *Gemm) Tasks() int { return g.rowJobs.parts * g.laneJobs.parts }

// Cycles is how long all tasks are expected to take the workers, in cycles of a processor.
func (g *Gemm) Cycles() float64 { return g.cycles }

// String names the plan's decisions.
func (g *Gemm) String() string {
	side := "columns"
	if g.swapped {
		side = "rows"
	}
	from := "packed"
	if g.inPlace {
		from = "in place"
	}
	return fmt.Sprintf("%s tile %d×%d, lanes along %s, B %s, K in %d, tasks %d×%d",
		g.kern.isa, g.rows.split.widest(), g.nr, side, from, g.blocks.parts, g.rowJobs.parts, g.laneJobs.parts)
}

// lanePanels is how many panels the lane side has.
func (g *Gemm) lanePanels() int {
	if g.line == 0 {
		return 0
	}
	return g.laneExt / g.line * cut(g.line, g.nr).parts
}

// lanePanel returns where a panel of the lane side starts, and its lanes.
func (g *Gemm) lanePanel(i int) (start, n int) {
	perLine := cut(g.line, g.nr).parts
	x := i % perLine * g.nr
	return i/perLine*g.line + x, min(g.nr, g.line-x)
}

// offsets returns where the rows of a packed panel of the lane side are.
func (g *Gemm) offsets(lanes int) []int {
	if lanes == g.nr {
		return g.steady
	}
	return g.tail
}

// Run computes task i of the call with the worker's workspace.
func (g *Gemm) Run(i int, ws []float32, c *Call) {
	if (g.pairs || g.quads) && (c.Bias != nil || c.Clip) {
		panic("simd: a product of integers leaves bias and limits to Quant or Post")
	}
	j := jobs.Get().(*job)
	defer jobs.Put(j)
	*j = job{Gemm: g, Call: c, panel: ws[:g.panelSize()], scratch: ws[g.panelSize():g.Workspace()]}
	if g.inPlace {
		j.placed = c.B.(Placed)
	}
	j.task(i)
	j.run()
	*j = job{}
}

// task sets the panels of task i.
func (j *job) task(i int) {
	r, l := i%j.rowJobs.parts, i/j.rowJobs.parts
	j.row0, j.row1 = j.rowJobs.start(r), j.rowJobs.start(r+1)
	j.lane0, j.lane1 = j.laneJobs.start(l), j.laneJobs.start(l+1)
}

// Batch computes n products, all tasks of each, of a plan that reads B in place: the i-th with A, the rows' data and C from
// i·a, i·b and i·c on.
func (g *Gemm) Batch(ws []float32, call *Call, n, a, b, c int) {
	j := jobs.Get().(*job)
	defer jobs.Put(j)
	// The caller's are changed and set again: copies would be memory that each batch takes.
	rows, products := call.B.(*Rows), *call
	*j = job{Gemm: g, Call: call, panel: ws[:0], scratch: ws[:g.scratchSize()], placed: rows, later: call.Later}
	all := rows.data
	for i := range n {
		call.A, call.C = products.A[i*a:], products.C[i*c:]
		rows.data = all[i*b:]
		mustHold(rows.data, rows.reach)
		for task := range g.Tasks() {
			j.task(task)
			j.run()
		}
	}
	rows.data, *call = all, products
	*j = job{}
}

// jobs and tiles are reused: the compiler can't see that kernels don't keep them.
var (
	jobs  = sync.Pool{New: func() any { return new(job) }}
	tiles = sync.Pool{New: func() any { return new(tile) }}
)

// job is a task while it runs.
type job struct {
	*Gemm
	*Call
	placed       Placed    // B, if it is read in place
	later        Lines     // what is left of Call.Later
	panel        []float32 // of B, packed
	scratch      []float32 // tiles that are to be transposed
	row0, row1   int       // panels
	lane0, lane1 int
	t            tile
	turn         tile // of transpositions
}

func (j *job) run() {
	if j.K == 0 {
		j.block(0, 0, 0)
		return
	}
	for b := range j.blocks.parts {
		k0, k1 := j.blocks.start(b), j.blocks.start(b+1)
		j.block(b, k0, k1-k0)
	}
}

// block adds the products of steps k0 … k0+kc−1 to the task's tiles.
func (j *job) block(b, k0, kc int) {
	first, last := b == 0, b >= j.blocks.parts-1
	if j.swapped && !j.inPlace && kc > 0 {
		j.packRows(k0, kc)
	}
	t, perLine := &j.t, j.rows.split.parts
	for l := j.lane0; l < j.lane1; l++ {
		x0, nx := j.lanePanel(l)
		t.b, t.off = j.lanes(x0, nx, k0, kc)
		var vectors int
		vectors, t.lanes = j.kern.vectors(nx)
		kernels := j.kern.products(j.swapped && j.inPlace)[vectors-1]
		next := j.nextPanel(l, b)
		ahead, apart := j.nextLines(l, k0, kc)
		line, in := j.row0/perLine, j.row0%perLine
		var data []float32 // of the line
		for r := j.row0; r < j.row1; r++ {
			start := j.starts[in]
			r0, rows := line*j.rows.length+start, j.starts[in+1]-start
			switch {
			case !j.swapped || !j.inPlace:
				t.a = j.rowPanel(r0, rows, k0, kc)
			case kc > 0:
				if data == nil {
					data, t.off = j.line(line*j.rows.length, k0, kc)
				}
				t.a = data[start:]
			}
			t.rows, t.k, t.step = rows, kc, lineBytes
			switch at := (r - j.row0) * 16 * kc; {
			case !j.swapped && j.inPlace && r-j.row0 < vectors && ahead != nil:
				t.next, t.step = ahead[min(16*(r-j.row0), len(ahead)-1):], apart
			case !j.swapped:
				t.next = j.A[min(k0*j.rowExt+(r0+rows)*kc, len(j.A)):]
			case at < len(next):
				t.next = next[at:]
			default:
				if t.next = j.later.take(16 * kc); t.next == nil {
					t.next = t.b
				}
			}
			j.tile(kernels[rows-1], l, r, r0, x0, nx, first, last)
			if in++; in == perLine {
				line, in, data = line+1, 0, nil
			}
		}
	}
}

// nextPanel is the weights of the lane panel after l in block b of K, then of the task's first in the next block, then of what
// follows in A: they are in the cache in time if they are fetched now, part by part. Nil where weights are not the lane side.
func (j *job) nextPanel(l, b int) []float32 {
	if !j.swapped || j.blocks.parts == 0 {
		return nil
	}
	if l++; l == j.lane1 && b+1 < j.blocks.parts {
		l, b = j.lane0, b+1
	}
	k0, kc := j.blocks.start(b), j.blocks.start(b+1)-j.blocks.start(b)
	x, n := j.lanePanel(l)
	at := min(k0*j.padded(j.laneExt)+x*kc, len(j.A))
	return j.A[at:min(at+n*kc, len(j.A))]
}

// lineBytes is what the kernels fetch at a step.
const lineBytes = 64

// nextLines is where B has the lane panel after l, if rows are read in place there and as far apart as it says: the first row
// panels fetch a vector of each row, as no processor expects to be asked for so many pages.
func (j *job) nextLines(l, k0, kc int) (data []float32, apart int) {
	off := j.t.off
	if j.swapped || !j.inPlace || j.direct || kc < 2 || l+1 >= j.lane1 || off[kc-1]-off[0] != (kc-1)*(off[1]-off[0]) {
		return nil, 0
	}
	x, _ := j.lanePanel(l + 1)
	data, off = j.line(x, k0, kc)
	return data[off[0]:], 4 * (off[1] - off[0])
}

// packRows packs B as the row side, all panels of the task.
func (j *job) packRows(k0, kc int) {
	base := j.rows.start(j.row0)
	for r := j.row0; r < j.row1; r++ {
		r0, n := j.rows.panel(r)
		j.B.Pack(j.panel[(r0-base)*kc:][:n*kc], n, k0, kc, r0, n)
	}
}

// rowPanel is a packed panel of the row side.
func (j *job) rowPanel(r0, n, k0, kc int) []float32 {
	if j.swapped {
		return j.panel[(r0-j.rows.start(j.row0))*kc:][:n*kc]
	}
	return j.A[k0*j.rowExt+r0*kc:][:n*kc]
}

// lanes is a panel of the lane side, and where its rows are.
func (j *job) lanes(x0, nx, k0, kc int) ([]float32, []int) {
	switch {
	case kc == 0:
		return nil, nil
	case j.swapped:
		return j.A[k0*j.padded(j.laneExt)+x0*kc:][:j.padded(nx)*kc], j.offsets(nx)[:kc]
	case j.inPlace:
		return j.line(x0, k0, kc)
	}
	width := j.padded(nx)
	panel := j.panel[:kc*width]
	j.B.Pack(panel, width, k0, kc, x0, nx)
	return panel, j.offsets(nx)[:kc]
}

// line is B in place, from column n0 on.
func (j *job) line(n0, k0, kc int) ([]float32, []int) {
	if kc == 0 {
		return nil, nil
	}
	data, off := j.placed.Line(n0)
	return data, off[k0:][:kc]
}

// tile computes one tile and, at the end, finishes it.
func (j *job) tile(kernel kernel, l, r, r0, x0, nx int, first, last bool) {
	t := &j.t
	rows := t.rows
	t.add = 1
	if first && !j.Add {
		t.add = 0
	}
	if j.quads {
		j.quantize(r0, rows, x0, nx, first && !j.Add, last)
	} else if last {
		j.finish(r0, rows, x0, nx)
	}
	if j.swapped == j.columns {
		if j.bytes {
			t.c, t.ldc = bytesAt(j.Quant.Bytes[r0*j.LDC+x0:][:(rows-1)*j.LDC+nx]), j.LDC
		} else {
			t.c, t.ldc = j.C[r0*j.LDC+x0:][:(rows-1)*j.LDC+nx], j.LDC
		}
		kernel(t)
		if last {
			j.post(t.c, r0, rows, x0, nx)
		}
		return
	}
	grown := j.scratch
	if j.blocks.parts > 1 {
		grown = grown[((l-j.lane0)*(j.row1-j.row0)+r-j.row0)*j.tileSize():]
	}
	grown = grown[:(rows-1)*j.nr+nx]
	if j.bytes {
		t.c, t.ldc = grown, j.nr
		kernel(t)
		if last {
			j.turnBytes(j.Quant.Bytes[x0*j.LDC+r0:][:(nx-1)*j.LDC+rows], grown, rows, nx)
		}
		return
	}
	c := j.C[x0*j.LDC+r0:][:(nx-1)*j.LDC+rows]
	if first && j.Add {
		j.kern.transpose(&j.turn, grown, j.nr, c, j.LDC, nx, rows)
	}
	t.c, t.ldc = grown, j.nr
	kernel(t)
	if last {
		j.kern.transpose(&j.turn, c, j.LDC, grown, j.nr, rows, nx)
		j.post(c, r0, rows, x0, nx)
	}
}

// finish tells the kernel what to do with the results.
func (j *job) finish(r0, rows, x0, nx int) {
	t := &j.t
	t.finish = 0
	switch {
	case j.Bias == nil:
	case j.swapped:
		t.bias, t.finish = j.Bias[x0:][:nx], biasByLane
	default:
		t.bias, t.finish = j.Bias[r0:][:rows], biasByRow
	}
	if j.Clip {
		t.limits, t.finish = [2]float32{j.Lo, j.Hi}, t.finish|clipped
	}
}

// post hands a finished tile on, in terms of C.
func (j *job) post(c []float32, r0, rows, x0, nx int) {
	switch {
	case j.Post == nil:
	case j.swapped:
		j.Post.Tile(c, j.LDC, x0, nx, r0, rows)
	default:
		j.Post.Tile(c, j.LDC, r0, rows, x0, nx)
	}
}
