package cpu

import "math"

// slicing is how the work of transformed tiles is cut.
type slicing struct {
	// The strips are parts of lines, of one tile more or less, which are rows or all rows; or all tiles of so many images.
	line, parts int
	together    int
	shared      bool // by all workers
	common      bool // and so is its transformed source
	block       int  // channels that are made at a time
}

// Budgets of elements, of the transformed source and of products, for a worker's cache. The weights come from farther away: the
// more tiles they are multiplied with, the better, also if these come from farther away then, but not by themselves.
const (
	winogradSource   = 240 << 10
	winogradLargest  = 4 * winogradSource
	winogradProducts = 80 << 10
	winogradApart    = 3       // so many workers transform the same source, each for itself
	winogradFew      = 10      // images of so few tiles are taken together …
	winogradTogether = 56      // … up to so many tiles
	winogradFar      = 2 << 20 // more results go past the caches
)

// lay cuts the tiles into strips and the channels into blocks, as should take so many workers least.
func (w *winogradProduct) lay(several int) {
	tile, images := int(w.m), w.n*w.groups
	w.down, w.row = (w.l.out[1]+tile-1)/tile, (w.l.out[2]+tile-1)/tile
	w.far = images*w.to*volume(w.l.out) > winogradFar && w.l.out[2]%16 == 0 // whole cache lines
	if w.takeTogether(several) {
		return
	}
	var best slicing
	least := math.Inf(1)
	consider := func(c slicing) {
		w.slicing = c
		w.divide(several)
		if t := w.expected(several); t < least {
			best, least = w.slicing, t
		}
	}
	for most := winogradSource; most <= winogradLargest; most *= 2 {
		c := w.stripsOf(most)
		consider(w.even(c, several))
		if several > 1 {
			c.shared, c.common = true, several > winogradApart
			consider(c)
		}
	}
	w.slicing = best
}

// takeTogether cuts images of few tiles into strips of several ones, if that are enough for so many workers.
func (w *winogradProduct) takeTogether(several int) bool {
	per := w.down * w.row
	if w.n <= 1 || per > winogradFew {
		return false
	}
	most := max(1, min(winogradTogether, winogradLargest/(w.m.Planes()*max(1, w.from)))/per)
	chunks := (w.n + most - 1) / most
	for chunks*w.groups%several != 0 && chunks < w.n {
		chunks++
	}
	w.slicing = slicing{line: per, parts: 1, together: (w.n + chunks - 1) / chunks}
	w.divide(several)
	return w.units() >= several
}

// stripsOf cuts the tiles into strips whose transformed source has so many elements at most. What strips of several rows read
// beyond their tiles is little if rows are short.
func (w *winogradProduct) stripsOf(most int) slicing {
	tiles := max(1, most/(w.m.Planes()*max(1, w.from)))
	c := slicing{line: w.row, together: 1}
	if 2*w.row <= tiles {
		c.line *= w.down
	}
	c.parts = max(1, (c.line+tiles-1)/tiles)
	return c
}

// even cuts more strips, so that all of so many workers get as many, if that takes few.
func (w *winogradProduct) even(c slicing, several int) slicing {
	units := func() int { return w.down * w.row / max(1, c.line) * c.parts * w.n * w.groups }
	for units()%several != 0 && c.parts < c.line && units() < 8*several {
		c.parts++
	}
	return c
}

// divide cuts the channels into blocks whose products fit a worker's cache.
func (w *winogradProduct) divide(several int) {
	blocks := max(1, (w.m.Planes()*w.to*w.columns()+winogradProducts-1)/winogradProducts)
	if w.shared {
		blocks = (blocks + several - 1) / several * several
	}
	w.block = max(1, (w.to+blocks-1)/blocks)
	panel := 2 * w.isa.Lanes()
	w.block = min(max(1, w.to), (w.block+panel-1)/panel*panel)
}
