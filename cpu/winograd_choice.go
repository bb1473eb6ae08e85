package cpu

import (
	"fmt"
	"math"
	"slices"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tuned"
)

// newBestTransformed plans a problem by Winograd's transforms of the size that should be fastest.
func newBestTransformed(d *Device, p *problem.Problem) *igemm {
	m, _ := bestSize(d.isa, p, processors())
	return newTransformed(d, p, m)
}

// newTransformed plans a problem by Winograd's transforms of size m.
func newTransformed(d *Device, p *problem.Problem, m simd.Winograd) *igemm {
	ig := newSums(d, p, func(l *lattice, n, groups, from, to int, _ place) summer {
		return newWinogradProduct(d, l, n, groups, from, to, m)
	})
	ig.transform, ig.tile, ig.arithmetic.Winograd = true, sizeText(m), int(m)
	return ig
}

// sizeText is how PlanOptions.Tile names F(m×m, 3×3).
func sizeText(m simd.Winograd) string { return fmt.Sprintf("m=%d", m) }

// winogradSizes are the names of all sizes.
func winogradSizes(*problem.Problem) (tiles []string) {
	for _, m := range simd.WinogradSizes {
		tiles = append(tiles, sizeText(m))
	}
	return tiles
}

// newSizedTransformed plans a problem by the size of a name.
func newSizedTransformed(d *Device, p *problem.Problem, tile string) *igemm {
	return newTransformed(d, p, simd.WinogradSizes[slices.Index(winogradSizes(p), tile)])
}

// Candidates implements driver.Tuner.
func (d *Device) Candidates(p problem.Problem) (list []driver.Candidate) {
	for _, a := range candidates(d.isa, &p) {
		list = append(list, driver.Candidate{Algorithm: a.name})
		tiles := a.choices(&p)
		if len(tiles) < 2 {
			continue
		}
		own := a.build(d, &p).tile
		for _, tile := range tiles {
			if tile != own {
				list = append(list, driver.Candidate{Algorithm: a.name, Tile: tile})
			}
		}
	}
	return list
}

// code is what runs: this version of the module, by an instruction set.
func (d *Device) code() string { return fmt.Sprintf("%s@%s", d.isa, tuned.Version()) }

// Runs implements driver.Tuner.
func (d *Device) Runs(kernels string) bool { return kernels == d.code() }

// costs are what a problem's parts take, in ns of one processor of the machine that testdata's tables were measured on: of
// another the ratios count. They are fitted to those tables, so that relative errors are least.
type costs struct {
	// of the implicit product: starting it, a vector's step of a sum, a vector of patches, a vector of results
	start, step, patch, store float64
	// of Winograd's: starting it, a vector's step of a sum, a vector of transformed source, a vector of products that are
	// transformed back; 16 weights that come from beyond a processor's own cache, or all
	// caches; 16 elements of a transformed source that do; waiting for each other where the source of a strip is common
	starts, steps, source, results, far, memory, again, shared float64
}

var costsOf = map[simd.ISA]costs{
	simd.AVX512: {start: 1510, step: 0.108, patch: 12.8, store: 0.473,
		starts: 2430, steps: 0.131, source: 1.27, results: 2.21, far: 0.159, memory: 0.436, again: 0.5, shared: 1200},
	simd.AVX2: {start: 1660, step: 0.134, patch: 5.7, store: 0.915,
		starts: 3050, steps: 0.122, source: 1.05, results: 2.32, far: 0.354, memory: 0.454, again: 0.5, shared: 1180},
	simd.Portable: {start: 2900, step: 0.929, patch: 5.76, store: 8.64,
		starts: 0, steps: 0.93, source: 15, results: 26.3, far: 3.97, memory: 0, again: 0, shared: 8960},
}

// Elements of weights that a processor's own cache, and that all caches hold.
const (
	ownWeights = 128 << 10
	allWeights = 5 << 20
)

// worthRounding is how much less time larger errors have to take: those of plain sums are least, of 6×6 results largest.
const worthRounding = 0.94

// bestSize is the size of Winograd's transforms that should be fastest, and how long it should take so many
// processors.
func bestSize(isa simd.ISA, p *problem.Problem, several int) (best simd.Winograd, least float64) {
	l := lattice{out: positions(p)}
	for _, m := range simd.WinogradSizes {
		w := winogradProduct{isa: isa, m: m, l: &l, n: p.N, groups: p.Groups, from: read(p), to: made(p)}
		w.lay(several)
		if t := w.expected(several); best == 0 || t < worthRounding*least {
			best, least = m, t
		}
	}
	return best, least
}

// positions are those of results.
func positions(p *problem.Problem) (out [3]int) {
	for i, a := range p.Axes {
		if out[i] = a.Out; p.Dir == problem.BackwardData {
			out[i] = a.In
		}
	}
	return out
}

// worthTransforming says whether transformed tiles should be faster than the implicit product, by so much that it is worth
// their rounding. Of fewer channels hardly any size was.
func worthTransforming(isa simd.ISA, p *problem.Problem, several int) bool {
	const channels = 16
	_, least := bestSize(isa, p, several)
	return min(read(p), made(p)) >= channels && least < worthRounding*expectedProduct(isa, p, several)
}

// expectedProduct is what the implicit product should take.
func expectedProduct(isa simd.ISA, p *problem.Problem, several int) float64 {
	c, lanes, out := costsOf[isa], isa.Lanes(), positions(p)
	images, from, to := float64(p.N*p.Groups), float64(read(p)), made(p)
	n := images * float64(volume(out))
	parts := c.step*n*float64(p.Taps())*from*float64(to)/float64(lanes) +
		c.patch*images*from*float64((out[1]+p.Axes[1].Extent()-1)*vectors(out[2]+p.Axes[2].Extent()-1, lanes)) +
		c.store*n*float64(vectors(to, lanes))
	return c.start + parts/float64(several)
}

func vectors(n, lanes int) int { return (n + lanes - 1) / lanes }

// expected is what the sums should take, once they are laid out.
func (w *winogradProduct) expected(several int) float64 {
	c, lanes, planes := costsOf[w.isa], w.isa.Lanes(), float64(w.m.Planes())
	images, units := w.n*w.groups, float64(max(1, w.units())) // none of an empty batch
	from, made := float64(w.from), float64(vectors(w.to, lanes))
	tiles := float64(images * w.down * w.row)
	weights := planes * from * float64(w.to)
	perUnit, perWorker, times := weights/16, weights, 1.0
	if w.shared {
		if perWorker /= float64(several); !w.common {
			times = float64(several)
		}
		units *= float64(w.blocks())
	}
	parts := c.steps*tiles*planes*from*made +
		times*c.source*float64(w.tileVectors(lanes))*planes*from +
		c.results*tiles*planes*made
	if perWorker > ownWeights {
		parts += c.far * perUnit * float64(w.units())
	}
	if weights > allWeights {
		parts += c.memory * perUnit * float64(w.units())
	}
	if w.m.Planes()*w.from*w.columns() > winogradSource {
		parts += c.again * tiles * planes * from / 16 * math.Ceil(made/2)
	}
	t := c.starts + parts*math.Ceil(units/float64(several))/units
	if w.common {
		t += c.shared * float64(w.units())
	}
	return t
}

// tileVectors is how many vectors the source's tiles take, none of which reaches into another row.
func (w *winogradProduct) tileVectors(lanes int) int {
	images := w.n * w.groups
	if w.line == w.row {
		return images * w.down * w.parts * vectors(vectors(w.row, w.parts), lanes)
	}
	return images * w.down * vectors(w.row, lanes)
}
