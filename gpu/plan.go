package gpu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/gpu/hal"
)

// operand is what a step of a plan binds or copies: below problem.Roles the caller's tensor of that role, from there on
// a piece of the plan's own memory.
type operand int

// none is bound where a kernel declares a buffer that it then does not touch.
const none operand = -1

// piece is memory that a plan takes for itself, or a window: a range of the caller's or of other memory.
type piece struct {
	bytes int64
	kept  bool // written by the packing steps, read by the others: part of the packed weights
	slot  int  // of the list of steps that uses it, unless it is kept

	window bool
	of     operand
	off    int64        // bytes
	role   problem.Role // whose offset in a part it moves by
}

// step is one command of a plan, with its buffers still to be filled in. A dispatch has one operand for each view, a
// copy has its source and its destination, a fill its destination; offsets are within the operands.
type step struct {
	cmd    hal.Command
	uses   []operand
	kernel *kernel // of a dispatch
}

// plan is a problem as lists of steps. Builders write the lists for core, whose tensors hold f32 (or s32) words in NCHW
// and whose padding is zeros; input and output bridge what is left between core and p.
type plan struct {
	*ref
	dev     *Device
	p       problem.Problem
	core    problem.Problem
	tile    string // asked for, or empty; see tilings
	info    driver.PlanInfo
	roles   []problem.Role // that each run reads or writes
	kernels []*kernel
	pack    []step
	run     []step

	pieces    []piece
	inputs    map[problem.Role]operand
	results   map[problem.Role]operand
	constants bool // there are some
	cut       *cut
	part      *part                    // that is being built, unless the whole is
	partial   operand                  // of the parts of a gradient, one after the other
	given     map[problem.Role]operand // see tensor
	landing   []step                   // copies of a part's results to their places
	closed    atomic.Bool
	packSlots []int64 // bytes of the memory that packing steps take beside what is kept
	runSlots  []int64
}

// algorithm is a way to run problems: can it, is it worth to choose it by itself, and the plan's steps. can and worth
// are asked about the core problem.
type algorithm struct {
	name  string
	can   func(*Device, *problem.Problem) error // nil, or why not
	worth func(*Device, *problem.Problem) bool  // nil: always
	build func(context.Context, *plan) error
}

// algorithms, best first.
var algorithms = []algorithm{
	{"depthwise", canDepthwise, worthDepthwise, buildDepthwise},
	{"depthwise", canDepthwiseFold, worthDepthwise, buildDepthwiseFold},
	{"igemm_coopmat", canGiven, worthMatrices, buildMatrices},
	{"igemm_coopmat_emulated", canGiven, neverWorth, buildEmulated},
	{dotName, canDot, worthDot, buildDot},
	{"winograd", canWinograd, worthWinograd, buildWinograd},
	{"rows", canWeightsRows, worthWeightsRows, buildWeightsRows},
	{"rows", canTransposedRows, worthTransposedRows, buildTransposedRows},
	{"igemm_half", canGiven, worthHalfSums, buildHalfSums(false)},
	{"igemm_half_emulated", canGiven, neverWorth, buildHalfSums(true)},
	{tiledName, canTiled, worthTiled, buildTiled},
	{"igemm", canIgemm, worthIgemm, buildIgemm},
	{"igemm", canTileWeights, worthIgemm, buildTileWeights},
	{"fused", canFused, worthFused, buildFused},
	{"conv+pool", canConvThenPool, nil, buildConvThenPool},
	{"direct", canDirect, nil, buildDirect},
	{"direct", canDeform, nil, buildDeform},
	{"direct", canWeights, nil, buildWeights},
	{"direct", canBias, nil, buildBias},
	{"global", canGlobal, worthGlobal, buildGlobal},
	{"rows", canRows, worthRows, buildRows},
	{"rows", canRowsBackward, worthRowsBackward, buildRowsBackward},
	{"direct", canPool, nil, buildPool},
	{"direct", canUnpool, nil, buildUnpool},
	{"direct", canColumns, nil, buildColumns},
}

// unsupported is an error that wraps driver.ErrUnsupported.
func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %s", driver.ErrUnsupported, fmt.Sprintf(format, args...))
}

// Algorithms implements driver.Device.
func (d *Device) Algorithms(p problem.Problem) []string {
	var names []string
	c, err := d.check(&p)
	if err != nil {
		return nil
	}
	for i := range algorithms {
		if a := &algorithms[i]; c.can(d, a) == nil {
			names = append(names, a.name)
		}
	}
	return names
}

// Plan implements driver.Device.
func (d *Device) Plan(ctx context.Context, p problem.Problem, o driver.PlanOptions) (driver.Plan, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if o.Tile != "" && o.Algorithm == "" {
		return nil, fmt.Errorf("%w: tile %q without an algorithm", driver.ErrInvalid, o.Tile)
	}
	c, err := d.check(&p)
	if err != nil {
		return nil, err
	}
	core := coreOf(&p)
	var why error
	for i := range algorithms {
		a := &algorithms[i]
		auto := o.Algorithm == ""
		if !auto && o.Algorithm != a.name {
			continue
		}
		if err := c.can(d, a); err != nil {
			why = fmt.Errorf("%s: %w", a.name, err)
			continue
		}
		if auto && a.worth != nil && !a.worth(d, &core) {
			continue
		}
		if o.Tile != "" && tilings[a.name] == nil {
			return nil, unsupported("algorithm %s has no tiles to choose from", a.name)
		}
		pl, err := d.build(ctx, a, c, o.Tile)
		if o.Tile != "" && errors.Is(err, driver.ErrUnsupported) {
			err = fmt.Errorf("%w; %s", err, tilesOf(d, a.name, &core))
		}
		if err == nil && o.Exact && pl.info.Arithmetic != (driver.Arithmetic{}) {
			_ = pl.Close() // of a plan it returns nil
			err = unsupported("%s computes by %s, which rounds", a.name, pl.info.Arithmetic)
		}
		if err == nil && o.Background {
			if b := d.detour(ctx, c, pl); b != nil {
				return b, nil
			}
		}
		if err == nil {
			if err = pl.compile(ctx); err != nil {
				_ = pl.Close() // of a plan it returns nil
			}
		}
		if auto && errors.Is(err, driver.ErrUnsupported) {
			why = fmt.Errorf("%s: %w", a.name, err)
			continue
		}
		if err != nil {
			return nil, err
		}
		return pl, nil
	}
	if why == nil {
		why = unsupported("there is no algorithm %q for this problem; %v can run it", o.Algorithm, d.Algorithms(p))
	}
	return nil, why
}

// build makes a plan by an algorithm, with a tile if that is not empty. Its kernels are not compiled.
func (d *Device) build(ctx context.Context, a *algorithm, c *cut, tile string) (*plan, error) {
	p := c.p
	pl := &plan{
		dev: d, p: p, core: coreOf(&p), partial: none, tile: tile, info: driver.PlanInfo{Algorithm: a.name},
		inputs: map[problem.Role]operand{}, results: map[problem.Role]operand{},
		roles: slices.Concat(p.Inputs(), p.Outputs()), constants: len(p.Constants()) > 0,
	}
	pl.ref = newRef(func() {
		for _, k := range pl.kernels {
			d.release(k)
		}
	})
	var err error
	if c.whole() {
		if err = a.build(ctx, pl); err == nil {
			err = pl.finish(ctx)
		}
	} else {
		err = pl.buildParts(ctx, a, c)
	}
	if err == nil {
		err = pl.place()
	}
	if err != nil {
		pl.drop()
		return nil, err
	}
	var names []string
	for _, k := range pl.kernels {
		names = append(names, k.key.name)
	}
	pl.info.Kernels = d.versions(names...)
	return pl, nil
}

// kernel is a kernel for the plan, which is compiled when all of the plan is known.
func (pl *plan) kernel(_ context.Context, name string, tunables ...int32) (*kernel, error) {
	k, err := pl.dev.named(name, tunables...)
	if err == nil {
		pl.kernels = append(pl.kernels, k)
	}
	return k, err
}

// compile compiles the plan's kernels.
func (pl *plan) compile(ctx context.Context) error {
	for _, k := range pl.kernels {
		if err := pl.dev.compile(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// dispatch adds a kernel over items of work to a list of steps.
func (pl *plan) dispatch(list *[]step, k *kernel, items [3]int, uses []operand, params func(base [3]int) any) error {
	cmds, err := pl.dev.dispatches(k, items, params)
	for _, c := range cmds {
		*list = append(*list, step{c, uses, k})
	}
	return err
}

// flat spreads count work-items in groups of lx over two dimensions of the grid.
func flat(count, lx int) (gx int, groups [3]int) {
	g := ceilDiv(count, lx)
	gx = max(1, min(g, 32768))
	return gx, [3]int{gx, ceilDiv(g, gx), 1}
}

// grid adds one dispatch with its groups given.
func (pl *plan) grid(list *[]step, k *kernel, groups [3]int, uses []operand, params ...int32) error {
	items := groups
	for i := range items {
		items[i] *= k.local[i]
	}
	return pl.dispatch(list, k, items, uses, func([3]int) any { return params })
}

// each adds a kernel over count work-items whose PARAMS begin with total and gx: count and the groups in dimension 0.
func (pl *plan) each(list *[]step, k *kernel, count int, uses []operand, params ...int32) error {
	gx, groups := flat(count, k.local[0])
	return pl.grid(list, k, groups, uses, append([]int32{int32(count), int32(gx)}, params...)...)
}

// copyTo adds a copy of bytes to a list of steps.
func (pl *plan) copyTo(list *[]step, from, to operand, off, bytes int64) {
	if bytes > 0 {
		*list = append(*list, step{hal.Command{Op: hal.Copy, Bytes: bytes, DstOff: off}, []operand{from, to}, nil})
	}
}

// fill adds words of one value to a list of steps.
func (pl *plan) fill(list *[]step, to operand, off, bytes int64, value uint32) {
	*list = append(*list, step{hal.Command{Op: hal.Fill, Bytes: bytes, DstOff: off, Value: value}, []operand{to}, nil})
}

func (pl *plan) Info() driver.PlanInfo { return pl.info }

// Close implements driver.Plan. Runs in flight go on.
func (pl *plan) Close() error {
	if pl.closed.Swap(true) {
		return nil
	}
	for _, s := range pl.dev.openStreams() {
		s.kept.forget(pl)
	}
	pl.drop()
	return nil
}
