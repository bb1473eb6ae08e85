package cpu

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/winograd"
)

// algorithm is a way to compute problems: what it reads and writes is in the job's tensors.
type algorithm struct {
	name string
	why  string
	can  func(*problem.Problem) bool
	run  func(context.Context, *job) error
	// build plans what the run finds as job.igemm; nil for nothing.
	build func(*Device, *problem.Problem) *igemm
	// sized is build with one of tiles, for those that have some to choose from.
	sized func(*Device, *problem.Problem, string) *igemm
	tiles func(*problem.Problem) []string
	// scratch is how many floats a run takes beside its tensors; nil for none.
	scratch func(*problem.Problem) int64
	rounds  bool // results of small integers are not exact
}

// algorithms, the best for most problems first.
var algorithms = []algorithm{
	{name: "conv+pool", why: "matrix product of packed weights and the taps of cached patches, then pooling",
		can: fuses, run: runConvPool, build: newConvPool, scratch: convElems},
	{name: "fused", why: "convolution and pooling together, rows that fit the cache at a time",
		can: fuses, run: runFused, scratch: fusedScratch},
	{name: "igemm", why: "matrix product of packed weights and the taps of cached patches",
		can: implicit, run: runIgemm, build: func(d *Device, p *problem.Problem) *igemm { return newIgemm(d, p, false) }},
	{name: "igemm", why: "matrix product of quads of bytes or pairs of 16-bit integers, from cached patches",
		can: integral, run: runIntegers, build: newIntegers},
	{name: "depthwise", why: "sums of rows of floats, which hold those of so few products of 8-bit integers exactly",
		can: sumsExactly, run: runIntegers, build: newSmallSums},
	{name: "winograd", why: "products of transformed tiles: up to 5 times fewer multiplications, larger rounding errors",
		can: transforms, run: runIgemm, build: newBestTransformed, sized: newSizedTransformed, tiles: winogradSizes, rounds: true},
	{name: "fft", why: "products of Fourier transforms of tiles: few multiplications however large the kernel, larger rounding errors",
		can: fourier, run: runIgemm, build: newBestFourier, sized: newSizedFourier, tiles: fourierTiles, rounds: true},
	{name: "depthwise", why: "sums of windows that slide over planes, or of shifted rows of cached patches",
		can: shifts, run: runIgemm, build: func(d *Device, p *problem.Problem) *igemm { return newIgemm(d, p, true) }},
	{name: "rows", why: "windows that slide over planes, or are shifted rows of cached patches", can: sweeps, run: runRowPool, build: newRowPool},
	{name: "gemm", why: "im2col and gonum's matrix product", can: multiplies, run: runGemm, scratch: gemmScratch},
	{name: "direct", why: "plain loops over rows", can: walks, run: runDirect, scratch: directScratch},
	{name: "reference", why: "float64 loops, rounded once",
		can: func(*problem.Problem) bool { return true }, run: runReference, scratch: referenceScratch},
}

// choices are an algorithm's tiles for a problem.
func (a *algorithm) choices(p *problem.Problem) []string {
	if a.tiles == nil {
		return nil
	}
	return a.tiles(p)
}

func fuses(p *problem.Problem) bool { return p.Fused() }

// multiplies says whether the matrix product computes the problem.
func multiplies(p *problem.Problem) bool {
	switch p.Op {
	case problem.Deform:
		return true
	case problem.Conv, problem.Deconv:
		return !p.Integer() && !p.Fused() && p.Dir != problem.BackwardBias
	}
	return false
}

// implicit says whether the implicit matrix product does.
func implicit(p *problem.Problem) bool { return p.Op != problem.Deform && multiplies(p) }

// integral says whether a product of integers does.
func integral(p *problem.Problem) bool {
	return p.Op == problem.Conv && p.Dir == problem.Forward && p.Integer()
}

// transforms says whether transformed tiles do.
func transforms(p *problem.Problem) bool { return implicit(p) && winograd.Applies(p) == nil }

// shifts says whether sums of rows do: for a few channels in a group, where they can be faster; of products of rows, what
// the weights of one or two pairs of channels get.
func shifts(p *problem.Problem) bool {
	if p.Dir == problem.BackwardWeights {
		return implicit(p) && newGeometry(p).fewPairs()
	}
	return implicit(p) && made(p) <= 16
}

// made is how many channels a group of a convolution makes.
func made(p *problem.Problem) int {
	if p.Dir == problem.Forward {
		return p.OC / p.Groups
	}
	return p.IC / p.Groups
}

// read is how many channels a group of a convolution reads.
func read(p *problem.Problem) int { return (p.IC+p.OC)/p.Groups - made(p) }

// worthShifting says whether sums of rows, which load each element for each channel, are faster than a matrix product, whose
// tile is mostly empty where channels are so few: 1.0 to 3.4 times on two cores with AVX-512. Windows that slide are 0.95 to
// 1.4 times as fast for four channels of four, too, and 1.5 to 3 times for one or two channels of many by 3×3 or 5×5; where they
// make four at once, 1.0 to 1.6 times up to eight channels of eight.
func worthShifting(isa simd.ISA, p *problem.Problem) bool {
	products, most := made(p)*read(p), 16
	if a := &p.Axes[2]; isa == simd.AVX512 && made(p)%4 == 0 && a.Kernel == 3 && a.Stride == 1 && !p.Integer() {
		most = 64
	}
	return products <= 12 || slides(p) && (products <= most || fewOfMany(p))
}

// fewOfMany says that windows with kernels of their own, which slide by one, make one or two channels.
func fewOfMany(p *problem.Problem) bool {
	a := &p.Axes[2]
	return made(p) <= 2 && a.Stride == 1 && (a.Kernel == 3 || a.Kernel == 5) && p.Op == problem.Conv && p.Dir == problem.Forward
}

// walks says whether plain loops compute the problem.
func walks(p *problem.Problem) bool { return p.Op != problem.Deform && !p.Fused() }

// candidates are the algorithms for a problem by the kernels of an instruction set, best guess first.
func candidates(isa simd.ISA, p *problem.Problem) (list []algorithm) {
	for _, a := range algorithms {
		if a.can(p) {
			list = append(list, a)
		}
	}
	prefer := func(name string) {
		i := slices.IndexFunc(list, func(a algorithm) bool { return a.name == name })
		if i > 0 {
			a := list[i]
			copy(list[1:], list[:i])
			list[0] = a
		}
	}
	switch {
	case list[0].name != "igemm":
	case p.Integer():
		if worthShifting(isa, p) && !fillsQuads(isa, p) {
			prefer("depthwise")
		}
	case transforms(p) && worthTransforming(isa, p, processors()):
		prefer("winograd")
	case p.Dir == problem.BackwardWeights || worthShifting(isa, p):
		prefer("depthwise")
	case worthFourier(isa, p, processors()):
		prefer("fft")
	}
	if list[0].name == "igemm" && isa == simd.Portable && vectorsOfGonum {
		prefer("gemm")
	}
	if list[0].name == "rows" && !worthSweeping(p) {
		prefer("direct")
	}
	return list
}

// vectorsOfGonum says that gonum's product has kernels in assembly here (SSE). Where it is in Go, too, the implicit product
// takes 1.1 to 1.2 times less; with them 1.1 to 2 times more, of gradients of weights 2 to 4.
const vectorsOfGonum = runtime.GOARCH == "amd64"

// fewColumns is how many results a row must have for rows to be faster than windows.
const fewColumns = 4

// Algorithms implements driver.Device.
func (d *Device) Algorithms(p problem.Problem) []string {
	var names []string
	for _, a := range candidates(d.isa, &p) {
		names = append(names, a.name)
	}
	return names
}

// Plan implements driver.Device.
func (d *Device) Plan(_ context.Context, p problem.Problem, o driver.PlanOptions) (driver.Plan, error) {
	if err := d.open(); err != nil {
		return nil, err
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if elems := indexed(&p); elems > math.MaxInt32 {
		return nil, fmt.Errorf("%w: indices are s32, and %d elements are to be counted: use indices=plane or a smaller batch",
			driver.ErrUnsupported, elems)
	}
	var tiles []string // that there are
	for _, a := range candidates(d.isa, &p) {
		if o.Algorithm != "" && a.name != o.Algorithm || o.Exact && a.rounds {
			continue
		}
		if o.Tile != "" {
			own := a.choices(&p)
			if !slices.Contains(own, o.Tile) {
				tiles = append(tiles, own...)
				continue
			}
		}
		pl := &plan{dev: d, p: p, algorithm: a, info: driver.PlanInfo{Algorithm: a.name, Why: a.why, Kernels: d.code()}}
		tensors := 0.0
		for _, roles := range [][]problem.Role{p.Constants(), p.Inputs(), p.Outputs()} {
			for _, r := range roles {
				tensors += float64(p.BytesOf(r))
			}
		}
		if err := d.fits(tensors); err != nil {
			return nil, err
		}
		if a.build != nil {
			if o.Tile != "" {
				pl.igemm = a.sized(d, &p, o.Tile)
			} else {
				pl.igemm = a.build(d, &p)
			}
			pl.info.Tile = pl.igemm.String()
			pl.info.Tunables, pl.info.Arithmetic = pl.igemm.tile, pl.igemm.arithmetic
		}
		pl.signature, pl.slopes = newSignature(&p), newSlopes(&p)
		if p.PadMode != problem.Zeros {
			pl.pads = newPadding(&p)
		}
		if p.Op == problem.Pool {
			pl.windows = newWindows(&p)
		}
		pl.count()
		if err := d.fits(tensors + float64(pl.info.WeightsBytes) + float64(pl.info.WorkspaceBytes)); err != nil {
			return nil, err
		}
		if a.name == "gemm" {
			pl.info.Tile = fmt.Sprintf("%d columns", newGemm(newGeometry(&p), &d.arena).columns)
		}
		return pl, nil
	}
	if o.Tile != "" {
		there := "none"
		if len(tiles) > 0 {
			there = strings.Join(tiles, ", ")
		}
		return nil, fmt.Errorf("%w: no tile %q for this on cpu: tiles to choose from: %s", driver.ErrUnsupported, o.Tile, there)
	}
	return nil, fmt.Errorf("%w: algorithm %q cannot run this problem on cpu; %v can", driver.ErrUnsupported, o.Algorithm,
		d.Algorithms(p))
}

// fits refuses what takes more memory than the machine has.
func (d *Device) fits(bytes float64) error {
	if bytes > float64(d.info.MemoryBytes) {
		return fmt.Errorf("%w: the tensors take %.4g GiB, the machine has %.4g: "+
			"use a smaller problem or a machine with more memory",
			driver.ErrUnsupported, bytes/(1<<30), float64(d.info.MemoryBytes)/(1<<30))
	}
	return nil
}

// count sets the memory that the plan takes.
func (pl *plan) count() {
	p, i := &pl.p, &pl.info
	for _, r := range p.Constants() {
		if r == problem.Wei && pl.igemm != nil {
			i.WeightsBytes += 4 * int64(pl.igemm.weights())
			if pl.igemm.transform {
				i.WeightsBytes += 4 * problem.Elems(p.Shape(r))
			}
		} else {
			i.WeightsBytes += 4 * problem.Elems(p.Shape(r))
		}
	}
	for _, roles := range [][]problem.Role{p.Inputs(), p.Outputs()} {
		for _, r := range roles {
			if p.Op != problem.Pool || !pl.igemm.asIs(r) { // a convolution's weights may not be finite
				i.WorkspaceBytes += edgeBytes(p, r)
			}
		}
	}
	if pl.igemm != nil {
		_, elems := padded(p)
		i.WorkspaceBytes += 4 * (elems + int64(pl.igemm.scratch()))
	}
	if pl.algorithm.scratch != nil {
		i.WorkspaceBytes += 4 * pl.algorithm.scratch(p)
	}
}

// indexed is how many elements the problem's indices count.
func indexed(p *problem.Problem) int64 {
	large := p.Shape(problem.Src)
	if p.Op == problem.Unpool {
		large = p.Shape(problem.Dst)
	}
	switch elems := problem.Elems(large); p.Indices {
	case problem.NoIndices:
		return 0
	case problem.Plane:
		return elems / int64(max(1, p.N)*p.IC)
	default:
		return elems
	}
}

// padded is the problem on a source that has its padding, and its size; the problem itself where padding is zeros.
func padded(p *problem.Problem) (problem.Problem, int64) {
	if p.PadMode == problem.Zeros {
		return *p, 0
	}
	q := p.Padded()
	return q, problem.Elems(q.Shape(problem.Src))
}

func gemmScratch(p *problem.Problem) int64 {
	q, elems := padded(p)
	return elems + newGemm(newGeometry(&q), nil).workspace()
}

func directScratch(p *problem.Problem) int64 {
	_, elems := padded(p)
	if p.Integer() && p.Type.Dst != problem.S32 {
		elems += problem.Elems(p.Shape(problem.Dst))
	}
	return elems
}

// fusedScratch counts one band of results for each processor.
func fusedScratch(p *problem.Problem) int64 {
	axis := 3 - p.Rank
	rows, rowFloats := bandRows(p)
	a := p.Then.Axes[axis]
	most := min((rows-1)*a.Stride+a.Extent(), p.Axes[axis].Out)
	return gemmScratch(p) + int64(most)*int64(rowFloats)*int64(processors())
}

// referenceScratch counts the truth, which is larger than what it is rounded to.
func referenceScratch(p *problem.Problem) int64 { return 10 * problem.Elems(p.Shape(p.Outputs()[0])) }

// convElems is the size of a convolution's result before a fused pooling.
func convElems(p *problem.Problem) int64 {
	q := *p
	q.Then = problem.Fusion{}
	return problem.Elems(q.Shape(problem.Dst))
}
