package gpu

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// tilings lists, for the algorithms that can be built with other tiles than their own choice, which ones are worth timing,
// the most promising first. They are asked about core problems that the algorithm can run. The builder of such an
// algorithm reads plan.tile and sets PlanInfo.Tunables.
var tilings = map[string]func(*Device, *problem.Problem) []string{
	"igemm":                  igemmTiles,
	"igemm_half":             halfTiles(false),
	"igemm_half_emulated":    halfTiles(true),
	tiledName:                tiledTiles,
	dotName:                  tiledTiles,
	"winograd":               winogradTiles,
	"igemm_coopmat":          matrixTilings(false),
	"igemm_coopmat_emulated": matrixTilings(true),
}

// Candidates implements driver.Tuner.
func (d *Device) Candidates(p problem.Problem) []driver.Candidate {
	var list []driver.Candidate
	c, err := d.check(&p)
	if err != nil {
		return nil
	}
	core := coreOf(&c.parts[0].p)
	for i := range algorithms {
		a := &algorithms[i]
		if c.can(d, a) != nil {
			continue
		}
		own := driver.Candidate{Algorithm: a.name}
		if !slices.Contains(list, own) {
			list = append(list, own)
		}
		if of := tilings[a.name]; of != nil {
			for _, t := range of(d, &core) {
				list = append(list, driver.Candidate{Algorithm: a.name, Tile: t})
			}
		}
	}
	return list
}

// tilesOf names tiles of an algorithm for a core problem, for errors.
func tilesOf(d *Device, algorithm string, core *problem.Problem) string {
	const most = 6
	list := tilings[algorithm](d, core)
	if len(list) == 0 {
		return algorithm + " has but its own tile for this problem"
	}
	more := ""
	if n := len(list) - most; n > 0 {
		list, more = list[:most], fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("tiles of %s for this problem, beside its own: %s%s", algorithm, strings.Join(list, " "), more)
}

// tunable is one of the numbers that a tile consists of.
type tunable struct {
	name  string
	value *int
}

// tileText writes a tile as PlanOptions.Tile takes it.
func tileText(tile []tunable) string {
	var b strings.Builder
	for i, t := range tile {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s=%d", t.name, *t.value)
	}
	return b.String()
}

// setTile changes the tunables that the text names.
func setTile(tile []tunable, text string) error {
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		n, err := strconv.Atoi(value)
		i := slices.IndexFunc(tile, func(t tunable) bool { return t.name == name })
		if err != nil || i < 0 || n < 1 || n > 1024 {
			return unsupported("tile %q: %q is none of its tunables; %s is one", text, part, tileText(tile))
		}
		*tile[i].value = n
	}
	return nil
}

// tunables are what igemm can be tuned by.
func (g *igemm) tunables() []tunable {
	return []tunable{{"lx", &g.lx}, {"tx", &g.tx}, {"ty", &g.ty}, {"tn", &g.tn}, {"cu", &g.cu}, {"ku", &g.ku}}
}

// Limits of tiles: what more sums or a longer unrolled loop would cost in compilation alone is out of proportion.
const (
	maxTileFloats = 512  // of a work-item's sums
	maxUnrolled   = 4096 // vectors of sums times unrolled taps
)

// tilable says why the kernel cannot run with its tile, or nil.
func (g *igemm) tilable(d *Device) error {
	sums := g.tx * g.ty * g.tn
	kh, stride := g.kernelAcross(1), g.phases[0].axis[2].Stride
	quad := 1
	if d.limits.GLSL {
		quad = 4
	}
	switch {
	case g.lx > d.limits.MaxGroupItems || g.lx > d.limits.MaxGroupSize[0]:
		return unsupported("groups of %d work-items: the device has up to %d", g.lx, min(d.limits.MaxGroupItems, d.limits.MaxGroupSize[0]))
	case g.share > 0 && g.lx%g.share != 0:
		return unsupported("groups of %d work-items that share by %d", g.lx, g.share)
	case sums*g.vw > maxTileFloats || sums*g.cu*g.ku*g.kernelAcross(2) > maxUnrolled:
		return unsupported("a tile of %d sums and %d taps is too large to compile", sums*g.vw, g.cu*g.ku*g.kernelAcross(2))
	case g.integer && g.cu*g.ku*g.kernelAcross(2) > exactProducts:
		return unsupported("%d taps at a time: a float holds sums of %d products exactly", g.cu*g.ku*g.kernelAcross(2), exactProducts)
	case g.icg%g.cu != 0 || kh%g.ku != 0 || g.cu > 1 && (g.ku != kh || g.kernelAcross(0) > 1 || len(g.phases) > 1):
		return unsupported("%d channels by %d rows at a time do not divide %d by %d", g.cu, g.ku, g.icg, kh)
	case g.tx*stride%quad != 0:
		return unsupported("%d pixels with a stride of %d are no multiple of %d", g.tx, stride, quad)
	}
	return nil
}

// igemmTiles lists tiles around what the device's class takes by itself: those that cover the map with little overhang and
// have many sums for each load come first.
func igemmTiles(d *Device, p *problem.Problem) []string {
	own := newIgemm(d, p)
	height, width := own.outs(1), own.outs(2)
	groups, most := []int{own.lx}, 16 // sums that fit the registers beside their operands
	switch d.class() {
	case lanes:
		most = 64
	case gpuClass:
		groups, most = []int{own.lx / 2, own.lx, 2 * own.lx, 4 * own.lx}, 128/own.vw
	}
	cost := map[string]float64{}
	try := func(g igemm) {
		sums := g.tx * g.ty * g.tn
		if sums < 4 || sums > most || g.tx > width || g.ty > height || (g.tn-1)*g.vw >= g.ocg || g.tilable(d) != nil {
			return
		}
		// Work, overhang included, and loads: one for each row and each column of sums.
		work := roundUp(width, g.tx) * roundUp(height, g.ty) * roundUp(g.ocg, g.tn*g.vw)
		cost[tileText(g.tunables())] = float64(work) * (1 + float64(g.tx*g.ty+g.tn)/float64(sums))
	}
	for _, pixels := range [][2]int{{1, 1}, {2, 1}, {4, 1}, {7, 1}, {8, 1}, {14, 1}, {16, 1}, {2, 2}, {4, 2}, {7, 2}, {8, 2}, {2, 4}, {4, 4}} {
		for _, tn := range []int{1, 2, 4, 8} {
			for _, ku := range []int{1, own.kernelAcross(1)} {
				for _, lx := range groups {
					g := *own
					g.tx, g.ty, g.tn, g.ku, g.lx = pixels[0], pixels[1], tn, ku, lx
					try(g)
				}
			}
		}
	}
	delete(cost, tileText(own.tunables()))
	texts := slices.SortedFunc(maps.Keys(cost), func(a, b string) int {
		return cmp.Or(cmp.Compare(cost[a], cost[b]), strings.Compare(a, b))
	})
	return texts[:min(len(texts), maxTiles)]
}

// maxTiles is how many tiles of an algorithm are worth a compilation each.
const maxTiles = 24
