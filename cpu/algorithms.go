package cpu

import (
	"context"
	"fmt"
	"math"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// algorithm is a way to compute problems: what it reads and writes is in the job's tensors.
type algorithm struct {
	name string
	why  string
	can  func(*problem.Problem) bool
	run  func(context.Context, *job) error
	// scratch is how many floats a run takes beside its tensors; nil for none.
	scratch func(*problem.Problem) int64
}

// algorithms, the best for most problems first.
var algorithms = []algorithm{
	{"fused", "convolution and pooling together, rows that fit the cache at a time", fuses, runFused, fusedScratch},
	{"conv+pool", "im2col and gonum's matrix product, then pooling", fuses, runConvPool, convPoolScratch},
	{"gemm", "im2col and gonum's matrix product", multiplies, runGemm, gemmScratch},
	{"direct", "plain loops over rows", loops, runDirect, directScratch},
	{"reference", "float64 loops, rounded once", func(*problem.Problem) bool { return true }, runReference, referenceScratch},
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

// loops says whether plain loops compute the problem.
func loops(p *problem.Problem) bool { return p.Op != problem.Deform && !p.Fused() }

// candidates are the algorithms for a problem, best guess first.
func candidates(p *problem.Problem) (list []algorithm) {
	for _, a := range algorithms {
		if a.can(p) {
			list = append(list, a)
		}
	}
	// A product of few channels is slower than the loops.
	if len(list) > 1 && list[0].name == "gemm" && list[1].name == "direct" && newGeometry(p).small() {
		list[0], list[1] = list[1], list[0]
	}
	return list
}

// Algorithms implements driver.Device.
func (d *Device) Algorithms(p problem.Problem) []string {
	var names []string
	for _, a := range candidates(&p) {
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
	if o.Tile != "" {
		return nil, fmt.Errorf("%w: the cpu's algorithms have no tiles to choose from, such as %q", driver.ErrUnsupported, o.Tile)
	}
	if elems := indexed(&p); elems > math.MaxInt32 {
		return nil, fmt.Errorf("%w: indices are s32, and %d elements are to be counted: use indices=plane or a smaller batch",
			driver.ErrUnsupported, elems)
	}
	for _, a := range candidates(&p) {
		if o.Algorithm != "" && a.name != o.Algorithm {
			continue
		}
		pl := &plan{dev: d, p: p, algorithm: a, info: driver.PlanInfo{Algorithm: a.name, Why: a.why}}
		need := 0.0
		for _, r := range p.Constants() {
			pl.info.WeightsBytes += 4 * problem.Elems(p.Shape(r))
			need += float64(p.BytesOf(r))
		}
		for _, roles := range [][]problem.Role{p.Inputs(), p.Outputs()} {
			for _, r := range roles {
				need += float64(p.BytesOf(r))
				pl.info.WorkspaceBytes += edgeBytes(&p, r)
			}
		}
		if a.scratch != nil {
			pl.info.WorkspaceBytes += 4 * a.scratch(&p)
		}
		if need += float64(pl.info.WeightsBytes) + float64(pl.info.WorkspaceBytes); need > float64(d.info.MemoryBytes) {
			return nil, fmt.Errorf("%w: the tensors take %.4g GiB, the machine has %.4g: "+
				"use a smaller problem or a machine with more memory",
				driver.ErrUnsupported, need/(1<<30), float64(d.info.MemoryBytes)/(1<<30))
		}
		if a.name == "gemm" {
			pl.info.Tile = fmt.Sprintf("%d columns", newGemm(newGeometry(&p), &d.arena).columns)
		}
		return pl, nil
	}
	return nil, fmt.Errorf("%w: algorithm %q cannot run this problem on cpu; %v can", driver.ErrUnsupported, o.Algorithm,
		d.Algorithms(p))
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

func convPoolScratch(p *problem.Problem) int64 { return gemmScratch(p) + convElems(p) }

// referenceScratch counts the truth, which is larger than what it is rounded to.
func referenceScratch(p *problem.Problem) int64 { return 10 * problem.Elems(p.Shape(p.Outputs()[0])) }

// convElems is the size of a convolution's result before a fused pooling.
func convElems(p *problem.Problem) int64 {
	q := *p
	q.Then = problem.Fusion{}
	return problem.Elems(q.Shape(problem.Dst))
}
