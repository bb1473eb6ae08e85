package tiling

import (
	"fmt"
	"math"
	"strings"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// Limits of a cut. Zero fields do not limit, but that no tensor has 2^31 elements or more: what devices count in 32 bits.
type Limits struct {
	TensorBytes int64 // of a tile's largest tensor
	MemoryBytes int64 // of what tiles take together; see Footprint
	Elements    int64 // of a tile's largest tensor
}

// maxElements leaves room for what kernels add to an index before they compare it.
const maxElements = 1<<31 - 4096

// holders is how many tiles' inputs, and how many tiles' outputs, there are in host memory and on the device at a time: one
// is filled while another is read.
const holders = 2

// Footprint is the memory that running a tiling takes, in bytes.
type Footprint struct {
	Device    int64 // tensors of the tiles in flight
	Staging   int64 // on the host: tensors as they are read and written, and a partial sum
	Constants int64 // a tile's weights and the like: on the host, uploaded, and packed
}

// Total is all of it.
func (f Footprint) Total() int64 { return f.Device + f.Staging + f.Constants }

// Tiles are a problem that is cut.
type Tiles struct{ grid *grid }

// Problem is the whole.
func (c *Tiles) Problem() problem.Problem { return c.grid.p }

// String says what is cut, such as "6 tiles: batch 2 × height 3".
func (c *Tiles) String() string {
	var parts []string
	for d, e := range c.grid.of {
		if n := e.parts(); n > 1 {
			text := fmt.Sprintf("%s %d", c.name(dim(d)), n)
			if e.sum {
				text += " (sums)"
			}
			parts = append(parts, text)
		}
	}
	if parts == nil {
		return "1 tile"
	}
	return fmt.Sprintf("%d tiles: %s", c.Len(), strings.Join(parts, " × "))
}

func (c *Tiles) name(d dim) string {
	if d == groups && !weighted(&c.grid.p) {
		return "channels"
	}
	return dimNames[d]
}

// Footprint is the memory that running the tiles takes, without the device's workspace.
func (c *Tiles) Footprint() Footprint { return c.grid.measure(nil) }

// measure adds up what tiles take, and calls each (nil: nobody) with the largest tensors and their bytes in whole words.
func (g *grid) measure(each func(role problem.Role, elems, bytes int64)) Footprint {
	t := g.largest()
	q := &t
	var f Footprint
	tile := int64(0)
	add := func(roles []problem.Role, to *int64, times int64) {
		for _, r := range roles {
			n := (q.BytesOf(r) + 3) &^ 3
			*to += times * n
			if each != nil {
				each(r, problem.Elems(q.Shape(r)), n)
			}
		}
	}
	add(q.Inputs(), &tile, 1)
	add(q.Outputs(), &tile, 1)
	tiles, sums := 1, 1
	for _, e := range g.of {
		tiles *= e.parts()
		if e.sum {
			sums *= e.parts()
		}
	}
	if f.Device = tile; tiles > 1 || g.several {
		f.Device *= holders
	}
	if f.Staging = f.Device; sums > 1 {
		f.Staging += q.BytesOf(q.Outputs()[0])
		for _, r := range q.Inputs() {
			if q.TypeOf(r) != g.p.TypeOf(r) {
				f.Staging += q.BytesOf(r) // once more, as f32
			}
		}
	}
	add(q.Constants(), &f.Constants, 3)
	return f
}

// sampled limits how many parts of a dimension are looked at.
const sampled = 4096

// largest has the sizes of the largest tile, though it need not be a valid problem.
func (g *grid) largest() problem.Problem {
	var t Tile
	var s [dims]span
	t.Parts = 1
	for d, e := range g.of {
		s[d] = e.span(0)
		if e.sum && e.parts() > 1 {
			t.Parts = 2
		}
	}
	for i := range t.places {
		e := g.of[axis0+dim(i)]
		most := g.axis(i, s[axis0+dim(i)])
		n := e.parts()
		for k := 1; k < n; k++ {
			if k == sampled && n > sampled+2 { // what lies between only repeats
				k = n - 2
			}
			pl := g.axis(i, e.span(k))
			most.axis.In, most.axis.Out = max(most.axis.In, pl.axis.In), max(most.axis.Out, pl.axis.Out)
			most.then.In, most.then.Out = max(most.then.In, pl.then.In), max(most.then.Out, pl.then.Out)
		}
		t.places[i] = most
	}
	g.fill(&t, s)
	return t.Problem
}

// Cut divides a problem into tiles that keep to the limits, along what makes for the least traffic. A problem that does
// becomes one tile. What cannot be cut small enough is an error that wraps driver.ErrUnsupported.
func Cut(p problem.Problem, l Limits) (*Tiles, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if l.Elements <= 0 || l.Elements > maxElements {
		l.Elements = maxElements
	}
	g := newGrid(p)
	g.several = g.excess(l) > 0
	for over := g.excess(l); over > 0; over = g.excess(l) {
		d, ok := g.best(l, over)
		if !ok {
			return nil, fmt.Errorf("%w: %s: %s, and no dimension is left to cut it along", driver.ErrUnsupported, p.String(), g.why(l))
		}
		was := g.of[d].step
		g.of[d].step = g.half(d)
		if g.excess(l) == 0 {
			g.grow(d, was, l)
		}
	}
	return &Tiles{g}, nil
}

// What smaller tiles may cost, and what they must not: halos, and a disk that has to find many short stretches.
const (
	littleMore  = 1.1       // of the traffic
	longStretch = 512 << 10 // bytes
)

// smaller is a cut in tiles of so many bytes, or of a few times as many, where that costs little; else the cut as it is. Streams
// are better off with them: the first tile is read and written sooner, and less memory has to be had from the system.
func (c *Tiles) smaller(bytes int64, l Limits) *Tiles {
	if c.Len() == 1 {
		return c
	}
	f, tile := c.Footprint(), c.grid.largest()
	for ; bytes < tile.Bytes()/3*2; bytes *= 2 {
		l.MemoryBytes = 2*holders*bytes + f.Constants
		s, err := Cut(c.grid.p, l)
		if err == nil && s.grid.stretch() >= longStretch && s.grid.traffic() <= littleMore*c.grid.traffic() {
			return s
		}
	}
	return c
}

// stretch is how many bytes of a tile lie side by side in the whole, at least, of tensors that are cut.
func (g *grid) stretch() int64 {
	t, least := g.largest(), int64(math.MaxInt64)
	for _, list := range [2][]problem.Role{t.Inputs(), t.Outputs()} {
		for _, r := range list {
			n, whole, part := int64(t.TypeOf(r).Size()), g.p.Shape(r), t.Shape(r)
			for d := len(part) - 1; d >= 0; d-- {
				if n *= int64(part[d]); part[d] != whole[d] {
					least = min(least, n)
					break
				}
			}
		}
	}
	return least
}

// half is about half of a dimension's step, or the step if it can't be less.
func (g *grid) half(d dim) int {
	e := g.of[d]
	return min(e.step, ((e.step+1)/2+e.unit-1)/e.unit*e.unit)
}

// best is the dimension to halve: the one that brings the tiles nearest to the limits for the traffic it costs.
func (g *grid) best(l Limits, over float64) (best dim, ok bool) {
	cost := math.Inf(1)
	traffic := g.traffic()
	for _, late := range [2]bool{false, true} {
		for _, d := range [dims]dim{batch, groups, axis0, axis0 + 1, axis0 + 2, outs, ins} {
			e := &g.of[d]
			was := e.step
			half := g.half(d)
			if !e.cut || e.late != late || half == was || (d == outs || d == ins) && g.of[groups].step > 1 {
				continue
			}
			e.step = half
			gain, more := over-g.excess(l), math.Log2(g.traffic()/traffic)+g.scatter(d)
			e.step = was
			if gain <= 0 {
				continue
			}
			if c := max(more, 0) / gain; c < cost-1e-9 {
				best, cost = d, c
			}
		}
		if !math.IsInf(cost, 1) {
			return best, true
		}
	}
	// Channels within a group may be what is too large: then groups have to be cut first, whatever it brings.
	if e := &g.of[groups]; e.cut && e.step > 1 && (g.of[outs].size > 1 || g.of[ins].size > 1) {
		return groups, true
	}
	return best, false
}

// scatter is what it costs that a tile's memory comes in more and shorter pieces, in halvings of the traffic.
func (g *grid) scatter(d dim) float64 {
	const pieces = 0.1 // rows of some 30 cells are cut again before columns are
	channels := d == groups || d == outs || d == ins
	if d >= axis0 && int(d-axis0) > 3-g.p.Rank || channels && max(g.p.SrcLayout, g.p.DstLayout) == problem.NHWC {
		return pieces
	}
	return 0
}

// grow makes a step as large as the limits let it, less than was, and then its tiles equal.
func (g *grid) grow(d dim, was int, l Limits) {
	e := &g.of[d]
	low, high := e.step/e.unit, (was-1)/e.unit // low fits
	for low < high {
		mid := (low + high + 1) / 2
		if e.step = mid * e.unit; g.excess(l) == 0 {
			low = mid
		} else {
			high = mid - 1
		}
	}
	e.step = low * e.unit
	fits, parts := e.step, e.parts()
	e.step = ((e.size+parts-1)/parts + e.unit - 1) / e.unit * e.unit
	if g.excess(l) > 0 {
		e.step = fits
	}
}

// excess is how far the tiles are over the limits, in halvings; 0 if they keep to them.
func (g *grid) excess(l Limits) float64 {
	over := 0.0
	above := func(v, limit int64) {
		if limit > 0 && v > limit {
			over += math.Log2(float64(v) / float64(limit))
		}
	}
	f := g.measure(func(_ problem.Role, elems, bytes int64) {
		above(elems, l.Elements)
		above(bytes, l.TensorBytes)
	})
	above(f.Total(), l.MemoryBytes)
	return over
}

// traffic is about what tiles read and write together.
func (g *grid) traffic() float64 {
	t := g.largest()
	n := float64(max(1, t.Bytes()))
	for _, e := range g.of {
		n *= float64(e.parts())
	}
	return n
}

// why names a limit that the tiles exceed.
func (g *grid) why(l Limits) string {
	reason := ""
	g.several = g.cut()
	f := g.measure(func(r problem.Role, elems, bytes int64) {
		switch {
		case elems > l.Elements:
			reason = fmt.Sprintf("%s of a tile has %d elements, %d are possible", r, elems, l.Elements)
		case l.TensorBytes > 0 && bytes > l.TensorBytes:
			reason = fmt.Sprintf("%s of a tile takes %d bytes, the largest tensor is %d", r, bytes, l.TensorBytes)
		}
	})
	if reason == "" {
		reason = fmt.Sprintf("the smallest tiles take %d bytes, the limit is %d", f.Total(), l.MemoryBytes)
	}
	return reason
}
