package gpu

import (
	"context"
	"errors"
	"fmt"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/winograd"
)

// Winograd's algorithm F(m×m, 3×3), chunk by chunk of tiles of m×m results: the source's tiles are transformed, their
// (m+2)² elements multiplied each by a matrix of weights, summed over the channels, and transformed back. The products are
// one convolution by 1×1 with (m+2)² times the groups, whose pixels are the tiles: that is igemm's.

// winogradChannels is how many channels are reduced and made at least: with fewer the transforms cost more than they save.
const winogradChannels = 4

// winogradUnroll is how many channels a round of the product's loop takes, or what divides theirs: a round of one is mostly
// loop.
const winogradUnroll = 4

// winogradPlan is the geometry of one plan.
type winogradPlan struct {
	phased
	f       *winograd.Transform
	pad     [2]int // rows and columns before the source
	tiles   [2]int // of an image
	rows    int    // of tiles, of a chunk …
	all     int    // … and of all images
	rw      int    // tiles that winograd_src transforms side by side
	product *igemm // of a chunk
	core    *problem.Problem
	m       int      // results of a tile along an axis
	vectors int      // ofChannels or ofTiles
	pitch   int      // from one channel of the transformed source to the next …
	into    int      // … and of the products
	sums    [2]int64 // floats of the transformed source and of the products
}

// newWinograd lays a convolution out for the device, by F(m×m, 3×3) as the tile says.
func newWinograd(d *Device, p *problem.Problem, tile string) (*winogradPlan, error) {
	if err := winograd.Applies(p); err != nil {
		return nil, unsupported("%v", err)
	}
	w := &winogradPlan{phased: phasedOf(p), core: p}
	w.choose(d)
	if tile != "" {
		if err := setTile(w.tunables(), tile); err != nil {
			return nil, err
		}
		if w.vectors > ofTiles {
			return nil, unsupported("tile %q: vec is %d, of channels, or %d, of tiles", tile, ofChannels, ofTiles)
		}
	}
	f, err := winograd.New(w.m)
	if err != nil {
		return nil, unsupported("%v", err)
	}
	w.f = f
	axes := &w.phases[0].axis
	for i := range 2 {
		w.pad[i] = axes[i+1].PadL
		w.tiles[i] = ceilDiv(axes[i+1].Out, w.m)
	}
	w.all = w.conv.n * w.tiles[0]
	w.rw = 1
	if d.class() == straight {
		for w.rw = d.limits.VectorWidth; w.rw > 4 && w.rw/2 >= w.tiles[1]; {
			w.rw /= 2
		}
	}
	return w, w.cut(d)
}

// What the product's vectors are of.
const (
	ofChannels = 1
	ofTiles    = 2
)

// tunables are what it can be tuned by.
func (w *winogradPlan) tunables() []tunable { return []tunable{{"m", &w.m}, {"vec", &w.vectors}} }

// choose sets what the device's class is taken to be fastest with. On a GPU neighbouring work-items are to write
// neighbouring tiles.
func (w *winogradPlan) choose(d *Device) {
	if w.m, w.vectors = 4, ofTiles; d.class() == gpuClass {
		w.vectors = ofChannels
	}
}

// winogradBytes is how large a chunk's transformed source and products may grow: on a CPU they should stay in the cache.
func (d *Device) winogradBytes() int64 {
	if d.class() == gpuClass {
		return 256 << 20
	}
	return 4 << 20
}

// cut makes chunks of as many rows of tiles as fit the cache and the largest buffer, all alike.
func (w *winogradPlan) cut(d *Device) error {
	for w.rows = max(1, w.all); ; {
		w.lay(d)
		over := max(float64(max(w.sums[0], w.sums[1]))/float64(w.product.largest),
			float64(4*(w.sums[0]+w.sums[1]))/float64(d.winogradBytes()))
		if over <= 1 || w.rows == 1 {
			break
		}
		parts := float64(ceilDiv(w.all, w.rows))
		w.rows = min(w.rows-1, ceilDiv(w.all, int(max(parts+1, parts*over*0.95))))
	}
	if most := max(w.sums[0], w.sums[1]); most > w.product.largest {
		return unsupported("a row of tiles takes %d elements, the largest buffer holds %d", most, w.product.largest)
	}
	return w.product.fits(d, w.core)
}

// lay sets the product of a chunk of w.rows rows of tiles. Its vectors are of output channels, as in every convolution, or,
// where a work-item is straight code, of tiles: then the weights are the source that it reads pixel by pixel, and the
// transformed source is its weights, as it lies there.
func (w *winogradPlan) lay(d *Device) {
	groups, tiles := w.f.T*w.f.T*w.conv.groups, w.rows*w.tiles[1]
	one := problem.Axis{In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: 1}
	p := problem.Problem{Op: problem.Conv, Rank: 1, N: 1, Groups: groups, IC: groups * w.icg, Axes: [3]problem.Axis{one, one, one}}
	outputs := w.ocg
	p.Axes[2].Out = tiles
	if w.vectors == ofTiles {
		outputs, p.Axes[2].Out = tiles, w.ocg
	}
	p.OC, p.Axes[2].In = groups*outputs, p.Axes[2].Out
	// The rows of the product's source have room for its tiles, and for vectors of ours.
	p.Axes[2].In = roundUp(p.Axes[2].In, newIgemm(d, &p).tx)
	if w.vectors == ofChannels {
		p.Axes[2].In += w.rw
	}
	p.Axes[2].In = roundUp(p.Axes[2].In, 16)
	g, err := newTiledIgemm(d, &p, fmt.Sprintf("cu=%d", gcd(w.icg, winogradUnroll)), false)
	if err != nil {
		g = newIgemm(d, &p)
	}
	w.product, w.pitch, w.into = g, g.in[2], tiles
	if w.vectors == ofTiles {
		// An odd multiple of a cache line, lest the (m+2)² places of a tile fall into one set of the cache.
		w.into = 16 * (ceilDiv(max(tiles+w.rw, g.ocb*g.tn*g.vw), 16) | 1)
		w.pitch = w.into
		g.last, g.rowOf, g.phases[0].every[2] = true, w.pitch/g.vw, w.into
	}
	w.sums[0] = (int64(groups)*int64(w.icg)+int64(g.share))*int64(w.pitch) + int64(w.rw)
	w.sums[1] = int64(groups)*int64(w.ocg)*int64(w.into) + int64(w.rw)
}

func canWinograd(d *Device, p *problem.Problem) error {
	if err := canIgemm(d, p); err != nil {
		return err
	}
	w, err := newWinograd(d, p, "")
	if err != nil {
		return err
	}
	if min(w.icg, w.ocg) < winogradChannels {
		return unsupported("%d and %d channels in a group are too few for the transforms", w.icg, w.ocg)
	}
	return nil
}

// worthWinograd says where it is chosen by itself: where it was measured to be faster than igemm by so much that it is worth
// its rounding, which is on straight code with at least so many channels and tiles (1.3 to 2.2 times; winograd_src.k has the
// figures). On lanes it wins with some shapes only, and GPUs were not measured: there it is the tuner's to choose.
func worthWinograd(d *Device, p *problem.Problem) bool {
	const channels, tiles = 128, 16
	if d.class() != straight || !worthIgemm(d, p) {
		return false
	}
	w, err := newWinograd(d, p, "")
	return err == nil && min(w.icg, w.ocg) >= channels && w.all*w.tiles[1] >= tiles
}

// winogradTiles lists the other sizes of tiles.
func winogradTiles(d *Device, p *problem.Problem) (texts []string) {
	own, err := newWinograd(d, p, "")
	if err != nil {
		return nil
	}
	for _, m := range winograd.Sizes {
		for vectors := ofChannels; vectors <= ofTiles; vectors++ {
			text := tileText((&winogradPlan{m: m, vectors: vectors}).tunables())
			if _, err := newWinograd(d, p, text); err == nil && text != tileText(own.tunables()) {
				texts = append(texts, text)
			}
		}
	}
	return texts
}

func buildWinograd(ctx context.Context, pl *plan) error {
	w, err := newWinograd(pl.dev, &pl.core, pl.tile)
	if err != nil {
		return err
	}
	post, err := pl.posts(ctx, &pl.core, false, false)
	if err != nil {
		return err
	}
	src, err := pl.input(ctx, w.conv.src)
	if err != nil {
		return err
	}
	weights, err := w.weights(ctx, pl)
	if err != nil {
		return err
	}
	g := w.product
	multiply, err := g.kernel(ctx, pl, &g.phases[0], false, 0, 0, false)
	if err != nil {
		return err
	}
	lx := int32(pl.dev.padItems())
	before, err := pl.kernel(ctx, "winograd_src", lx, 1, 1, int32(w.f.M), int32(w.rw))
	if err != nil {
		return err
	}
	after, err := pl.kernel(ctx, "winograd_dst", lx, 1, 1, int32(w.f.M), int32(w.rw), post.chain)
	if err != nil {
		return err
	}
	cells, products, dst := pl.scratch(w.sums[0]), pl.scratch(w.sums[1]), pl.output(w.conv.dst)
	count := 0
	for row := 0; row < w.all; row += w.rows {
		count++
		rows := min(w.rows, w.all-row)
		err = errors.Join(err,
			w.before(pl, before, row, rows, src, cells),
			w.multiply(pl, multiply, rows*w.tiles[1], cells, weights, products),
			w.after(pl, after, row, rows, []operand{products, post.par, post.res, dst}))
	}
	pl.info.Tunables = tileText(w.tunables())
	pl.info.Arithmetic = driver.Arithmetic{Winograd: w.m}
	across := map[int][2]string{ofChannels: {"tiles", "channels"}, ofTiles: {"channels", "tiles"}}[w.vectors]
	pl.info.Tile = fmt.Sprintf("F(%d×%[1]d, 3×3), %d %s × %d×%d %s, group %d", w.m, g.tx*g.ty, across[0], g.tn, g.vw, across[1], g.lx)
	pl.info.Why = fmt.Sprintf("%d products do the work of %d", w.f.T*w.f.T, winograd.R*winograd.R*w.m*w.m)
	if count > 1 {
		pl.info.Why += fmt.Sprintf("; %d parts of %d rows of tiles, which stay in the cache", count, w.rows)
	}
	return err
}

// weights adds the packing of the transformed weights.
func (w *winogradPlan) weights(ctx context.Context, pl *plan) (operand, error) {
	given, err := pl.input(ctx, problem.Wei)
	if err != nil {
		return none, err
	}
	k, err := pl.kernel(ctx, "winograd_wei", 64, 1, 1, int32(w.f.M))
	if err != nil {
		return none, err
	}
	const taps = winograd.R * winograd.R
	so, sc, base, sy, sx := w.icg*taps, taps, 0, winograd.R, 1
	if w.conv.transposed {
		so, sc, base, sy, sx = taps, w.ocg*taps, taps-1, -winograd.R, -1
	}
	g, groups := w.product, w.conv.groups
	ph := &g.phases[0]
	dx, dg, out, dc := groups*w.ocg*w.icg, w.ocg*w.icg, w.icg, 1
	if w.vectors == ofTiles {
		pitch := g.in[2]
		dx, dg, out, dc = groups*w.icg*pitch, w.icg*pitch, 1, pitch
	}
	to := pl.scratch(int64(w.f.T*w.f.T) * int64(dx))
	if err := pl.each(&pl.pack, k, groups*w.ocg*w.icg, []operand{given, to}, words(w.ocg, w.icg, base, w.ocg*w.icg*taps, so, sc, sy, sx,
		dx, dg, out, dc)...); err != nil || w.vectors == ofTiles {
		return to, err
	}
	return g.packWeights(ctx, pl, &pl.pack, ph, g.weights(), stored{to, problem.F32}, none, g.tn*g.vw, g.icg, 1, ph.packed)
}

// strip is how many blocks of tiles of a channel a work-item takes, of so many: straight code all, as they overlap.
func (w *winogradPlan) strip(blocks int) int {
	if w.rw > 1 {
		return blocks
	}
	return 1
}

// before adds the transform of a chunk's source.
func (w *winogradPlan) before(pl *plan, k *kernel, row, rows int, src, to operand) error {
	blocks := rows * ceilDiv(w.tiles[1], w.rw)
	parts, channels := ceilDiv(blocks, w.strip(blocks)), w.conv.groups*w.icg
	return pl.each(&pl.run, k, channels*parts, []operand{src, to}, words(parts, w.strip(blocks), channels, w.pitch,
		w.in[1], w.in[2], w.pad[0], w.pad[1], w.tiles[0], w.tiles[1], row, rows, w.conv.n*channels*w.in[1]*w.in[2]-1)...)
}

// multiply adds the products of so many tiles.
func (w *winogradPlan) multiply(pl *plan, k *kernel, tiles int, cells, weights, products operand) error {
	g := w.product
	pixels, dc, uses := tiles, w.into, []operand{cells, weights, none, none, none, products}
	if w.vectors == ofTiles {
		pixels, dc = w.ocg, w.ocg*w.into // of a part that is not full all blocks of tiles: they lie among the groups
		uses[0], uses[1] = weights, cells
	}
	gx, groups := flat(ceilDiv(pixels, g.tx), g.lx)
	groups[2] = g.conv.groups * g.ocb
	return pl.grid(&pl.run, k, groups, uses, words(1, g.conv.groups*g.ocg, gx, 0, 0, 0, 0, dc, 0, 1, 1, 1)...)
}

// after adds the transform of a chunk's products.
func (w *winogradPlan) after(pl *plan, k *kernel, row, rows int, uses []operand) error {
	blocks := rows * ceilDiv(w.tiles[1], w.rw)
	parts, channels := ceilDiv(blocks, w.strip(blocks)), w.conv.groups*w.ocg
	axes := &w.phases[0].axis
	return pl.each(&pl.run, k, channels*parts, uses, words(parts, w.strip(blocks), channels, w.into,
		axes[1].Out, axes[2].Out, w.tiles[0], w.tiles[1], row, rows)...)
}
