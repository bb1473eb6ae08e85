package cpu

import (
	"context"
	"errors"
	"fmt"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// igemm computes a convolution's sums without writing out the matrices that they imply: see tileProduct, winograd and
// gradient.
type igemm struct {
	g         *geometry
	adjoint   bool // scatter: from narrow to wide
	phases    []phase
	products  []summer // gather's one, or scatter's, phase by phase
	gradient  weigher
	integers  *integerSums
	ones      []float32 // the weights of a pooling
	made      int64     // results before a fused pooling
	pool      *igemm    // of them, if rows compute it
	maxima    *maxCells // of a pooling whose maxima's cells are asked for
	averaged  *averaged // of averages' gradients
	padsZeros bool      // zeros of the padding are multiplied by weights
	halves    bool      // the product reads a source of 16-bit floats
	narrows   bool      // and writes such results
	transform bool      // sums are of transformed tiles: what is not finite is computed again, by loops
	tile      string    // names this plan among the algorithm's, if there are several
	// arithmetic is how the oracle has to bound the sums.
	arithmetic driver.Arithmetic
}

// summer computes the sums of a lattice over a group's channels, for all images and groups.
type summer interface {
	fmt.Stringer
	// weights is how many elements the packed weights of all groups take, scratch how many a run takes.
	weights() int
	scratch() int
	// pack packs the weights wei[m][c][tap] of a group.
	pack(packed, wei []float32, group int)
	// run computes the sums; chain may be nil.
	run(ctx context.Context, a *arena, source, packed, target []float32, c *chain) error
	// interleaves says that the results are not neighbours in their planes, and not chained.
	interleaves() bool
	// pads says that zeros of the padding are multiplied by weights.
	pads() bool
}

// weigher computes what a convolution's weights get.
type weigher interface {
	fmt.Stringer
	scratch() int // elements that a run takes
	run(ctx context.Context, a *arena, wide, narrow, wei []float32) error
	pads() bool // zeros of the padding are multiplied
}

// newIgemm plans a problem, by sums of rows if asked to.
func newIgemm(d *Device, p *problem.Problem, rows bool) *igemm {
	if rows && p.Dir == problem.BackwardWeights {
		q, _ := padded(p)
		g := newGeometry(&q)
		return &igemm{g: g, gradient: newRowGradient(d, g)}
	}
	if rows {
		if ig := newPhased(d, p); ig != nil {
			return ig
		}
	}
	widens := false
	ig := newSums(d, p, func(l *lattice, n, groups, from, to int, at place) summer {
		if widens = !rows && readsHalves(p, l); widens {
			l.halves = true
		}
		if rows && !at.interleaves() {
			if s := newSliding(d, l, n, groups, from, to, simd.Weighted); s != nil {
				return s
			}
		}
		return newProduct(d, l, n, groups, from, to, at, rows)
	})
	ig.halves = widens
	if rows {
		ig.asHalves(p)
	}
	return ig
}

// newSums plans a problem by products.
func newSums(d *Device, p *problem.Problem, by func(l *lattice, n, groups, from, to int, at place) summer) *igemm {
	q, _ := padded(p)
	g := newGeometry(&q)
	ig := &igemm{g: g}
	conv := p.Op == problem.Conv
	switch {
	case p.Dir == problem.BackwardWeights:
		if worthDotting(d.isa, g) {
			ig.gradient = newRowGradient(d, g)
		} else {
			ig.gradient = newGradient(d, g)
		}
		return ig
	case conv == (p.Dir == problem.Forward):
		l := g.gathering()
		ig.products = []summer{by(l, g.n, g.groups, g.wideCG, g.narrowCG, dense(l))}
	default:
		ig.adjoint = true
		ig.phases = g.scattering()
		for i := range ig.phases {
			ph := &ig.phases[i]
			at := dense(&ph.lattice)
			if g.stride != [3]int{1, 1, 1} {
				at = place{g.wideD, ph.first, g.stride}
			}
			ig.products = append(ig.products, by(&ph.lattice, g.n, g.groups, g.narrowCG, g.wideCG, at))
		}
	}
	for _, pr := range ig.products {
		ig.padsZeros = ig.padsZeros || pr.pads()
	}
	return ig
}

// dense is results side by side.
func dense(l *lattice) place { return place{size: l.out, step: [3]int{1, 1, 1}} }

// String names the plan's decisions.
func (ig *igemm) String() string {
	switch {
	case ig.gradient != nil:
		return ig.gradient.String()
	case ig.integers != nil:
		return ig.integers.String()
	case ig.maxima != nil:
		return ig.maxima.String()
	case ig.averaged != nil:
		return ig.averaged.String()
	}
	return ig.products[0].String()
}

// weights is how many elements packed weights take.
func (ig *igemm) weights() (n int) {
	if ig.integers != nil {
		return ig.integers.weights()
	}
	for _, p := range ig.products {
		n += p.weights()
	}
	return n
}

// scratch is how many elements a run takes.
func (ig *igemm) scratch() (n int) {
	switch {
	case ig.gradient != nil:
		return ig.gradient.scratch()
	case ig.integers != nil:
		return ig.integers.scratch()
	case ig.maxima != nil:
		return ig.maxima.scratch()
	case ig.averaged != nil:
		return ig.averaged.scratch()
	}
	for _, p := range ig.products {
		n = max(n, p.scratch())
	}
	if ig.pool != nil {
		n = max(n, ig.pool.scratch())
	}
	return n
}

// pack packs the weights for all products.
func (ig *igemm) pack(ctx context.Context, wei []float32) ([]float32, error) {
	g := ig.g
	packed := simd.Aligned(ig.weights())
	at := 0
	for i, p := range ig.products {
		to := packed[at:][:p.weights()]
		at += p.weights()
		err := parallel(ctx, g.groups, 1, func(group int) {
			from := wei[group*g.narrowCG*g.rows():][:g.narrowCG*g.rows()]
			if ig.adjoint {
				from = g.transposed(from, ig.phases[i].taps)
			}
			p.pack(to, from, group)
		})
		if err != nil {
			return nil, err
		}
	}
	return packed, nil
}

// transposed is a group's weights as [wide channel][narrow channel][taps].
func (g *geometry) transposed(wei []float32, taps []int) []float32 {
	t := make([]float32, 0, g.wideCG*g.narrowCG*len(taps))
	for c := range g.wideCG {
		for o := range g.narrowCG {
			row := wei[(o*g.wideCG+c)*g.taps:][:g.taps]
			for _, tap := range taps {
				t = append(t, row[tap])
			}
		}
	}
	return t
}

// run computes gather or scatter with packed weights.
func (ig *igemm) run(ctx context.Context, a *arena, from, packed, to []float32, c *chain) error {
	later := false // the chain is to be applied
	for _, p := range ig.products {
		if err := p.run(ctx, a, from, packed[:p.weights()], to, c); err != nil {
			return err
		}
		packed = packed[p.weights():]
		later = p.interleaves()
	}
	if !later || c == nil {
		return nil
	}
	return finishing.parallel(ctx, ig.g.n*ig.g.wideC, 1, &finishedPlanes{ig.g, c, to})
}

// finishedPlanes are complete sums that a chain works on, plane by plane.
type finishedPlanes struct {
	g *geometry
	*chain
	to []float32
}

var finishing = repeated[finishedPlanes]{do: (*finishedPlanes).plane}

func (f *finishedPlanes) plane(i int) {
	f.apply(i/f.g.wideC, i%f.g.wideC, 0, f.to[i*f.g.wideSp:][:f.g.wideSp])
}

// igemmSums is an igemm as a run uses it, with loops where zeros of the padding meet infinities.
type igemmSums struct {
	*igemm
	arena  *arena
	packed []float32 // nil: weights are not finite
	halves halfEnds  // what the product reads and writes as it is
}

func (s *igemmSums) gather(ctx context.Context, from, wei, to []float32, c *chain) error {
	return s.sums(ctx, loops.gather, from, wei, to, c)
}

func (s *igemmSums) scatter(ctx context.Context, from, wei, to []float32, c *chain) error {
	return s.sums(ctx, loops.scatter, from, wei, to, c)
}

// sums runs the products, and plain loops where these cannot be had or went wrong.
func (s *igemmSums) sums(ctx context.Context, plain func(l loops, ctx context.Context, from, wei, to []float32, c *chain) error,
	from, wei, to []float32, c *chain) error {
	if s.halves.stay {
		return s.runHalves(ctx, to, c)
	}
	if s.packed != nil {
		if err := s.run(ctx, s.arena, from, s.packed, to, c); !errors.Is(err, errNotFinite) {
			return err
		}
	}
	return plain(loops{s.g}, ctx, from, wei, to, c)
}

// runHalves runs a product that takes tensors of 16-bit floats as they are.
func (s *igemmSums) runHalves(ctx context.Context, to []float32, c *chain) error {
	return s.products[0].(halved).runHalves(ctx, s.arena, s.halves, s.packed, to, c)
}

// weigh leaves what is not finite to loops, where zeros of the padding would be multiplied by it. It would leave its mark on
// a weight of every tap, so that these are looked at in the end, or the operands before, whatever is less.
func (s *igemmSums) weigh(ctx context.Context, wide, narrow, wei []float32) error {
	pads := s.gradient.pads()
	before := len(wide)+len(narrow) < len(wei)
	if pads && before && !(finite(ctx, wide) && finite(ctx, narrow)) {
		return loops{s.g}.weigh(ctx, wide, narrow, wei)
	}
	if err := s.gradient.run(ctx, s.arena, wide, narrow, wei); err != nil {
		return err
	}
	if !pads || before || finite(ctx, wei) {
		return ctx.Err()
	}
	return loops{s.g}.weigh(ctx, wide, narrow, wei)
}
