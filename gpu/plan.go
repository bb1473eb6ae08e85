package gpu

import (
	"context"
	"fmt"
	"math"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/gpu/hal"
)

// operand is what a step of a plan binds or copies.
type operand int

const (
	opSrc operand = iota
	opDst
	opWei  // as given to Pack
	opBia  // as given to Pack
	opPack // packed weights
	opPBia // packed bias
	opWork // workspace
	operands
)

// step is one command of a plan, with its buffers still to be filled in. A dispatch has one operand for each view, a
// copy has its source and its destination.
type step struct {
	cmd  hal.Command
	uses []operand
}

// plan is a problem as lists of steps.
type plan struct {
	*ref
	dev     *Device
	p       problem.Problem
	info    driver.PlanInfo
	kernels []*kernel
	pack    []step
	run     []step
}

// algorithm is a way to run problems: can it, and the plan's steps.
type algorithm struct {
	name  string
	can   func(*Device, *problem.Problem) error // nil, or why not
	build func(context.Context, *plan) error
}

// algorithms, best first.
var algorithms = []algorithm{
	{"igemm", canIgemm, buildIgemm},
	{"direct", canDirect, buildDirect},
	{"direct", canPool, buildPool},
}

// check refuses what no algorithm of this package runs, or the device cannot hold, naming the limit.
func (d *Device) check(p *problem.Problem) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", driver.ErrUnsupported, fmt.Sprintf(format, args...))
	}
	relu := [problem.MaxPost]problem.PostOp{{Kind: problem.ReLU}}
	if p.Op != problem.Conv && p.Op != problem.Pool || p.Dir != problem.Forward || *p != p.Core() || p.Kind == problem.Lp || p.Adaptive ||
		p.Indices != problem.NoIndices || p.PadMode != problem.Zeros || p.Fused() || p.Divisor != 0 ||
		len(p.Posts()) > 0 && p.Post != relu {
		return refuse("the GPU drivers run plain forward f32 convolution and pooling, not %s", p.String())
	}
	if depth := p.Axes[0]; depth != (problem.Axis{In: 1, Out: 1, Kernel: 1, Stride: depth.Stride, Dilation: depth.Dilation}) {
		return refuse("the GPU drivers run 1-D and 2-D problems, not 3-D")
	}
	total := int64(0)
	for _, t := range []struct {
		name  string
		shape []int
	}{{"src", p.Shape(problem.Src)}, {"wei", p.Shape(problem.Wei)}, {"dst", p.Shape(problem.Dst)}} {
		elems := problem.Elems(t.shape)
		if elems > d.info.MaxTensorBytes/4 {
			return refuse("%s has %d elements, the largest buffer of %s holds %d", t.name, elems, d.info.Name, d.info.MaxTensorBytes/4)
		}
		if elems > math.MaxInt32-4096 {
			return refuse("%s has %d elements, kernels index at most %d", t.name, elems, math.MaxInt32-4096)
		}
		total += 4 * elems
	}
	if total > d.info.MemoryBytes {
		return refuse("the tensors take %d bytes, %s has %d", total, d.info.Name, d.info.MemoryBytes)
	}
	for _, a := range p.Axes {
		if reach := int64(a.In) + 2*abs(a.PadL) + 2*abs(a.PadR) + 2*int64(a.Extent()) + int64(a.Stride); reach > math.MaxInt32 {
			return refuse("positions up to %d do not fit the kernels' 32-bit indices", reach)
		}
	}
	return nil
}

func abs(v int) int64 { return max(int64(v), -int64(v)) }

// Algorithms implements driver.Device.
func (d *Device) Algorithms(p problem.Problem) []string {
	var names []string
	if d.check(&p) != nil {
		return nil
	}
	for _, a := range algorithms {
		if a.can(d, &p) == nil {
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
	if err := d.check(&p); err != nil {
		return nil, err
	}
	var why error
	for _, a := range algorithms {
		if o.Algorithm != "" && o.Algorithm != a.name {
			continue
		}
		if err := a.can(d, &p); err != nil {
			why = fmt.Errorf("%s: %w", a.name, err)
			continue
		}
		if a.name == "igemm" && o.Algorithm == "" && p.FLOPs() < igemmWorth {
			continue
		}
		pl := &plan{dev: d, p: p, info: driver.PlanInfo{Algorithm: a.name}}
		pl.ref = newRef(func() {
			for _, k := range pl.kernels {
				d.release(k)
			}
		})
		if err := a.build(ctx, pl); err != nil {
			pl.drop()
			return nil, err
		}
		return pl, nil
	}
	if why == nil {
		why = fmt.Errorf("%w: there is no algorithm %q for this problem; %v can run it", driver.ErrUnsupported, o.Algorithm, d.Algorithms(p))
	}
	return nil, why
}

// kernel compiles a kernel for the plan.
func (pl *plan) kernel(ctx context.Context, name string, tunables ...int32) (*kernel, error) {
	k, err := pl.dev.kernel(ctx, name, tunables...)
	if err == nil {
		pl.kernels = append(pl.kernels, k)
	}
	return k, err
}

// dispatch adds a kernel over items of work to a list of steps.
func (pl *plan) dispatch(list *[]step, k *kernel, items [3]int, uses []operand, params func(base [3]int) any) error {
	cmds, err := pl.dev.dispatches(k, items, params)
	for _, c := range cmds {
		*list = append(*list, step{c, uses})
	}
	return err
}

// keep adds copies of weights and bias as they are to the packing steps.
func (pl *plan) keep(from, to operand, shape []int) {
	if n := problem.Elems(shape); n > 0 {
		pl.info.WeightsBytes += 4 * n
		pl.pack = append(pl.pack, step{hal.Command{Op: hal.Copy, Bytes: 4 * n}, []operand{from, to}})
	}
}

func (pl *plan) Info() driver.PlanInfo { return pl.info }

func (pl *plan) Close() error { pl.drop(); return nil }

// weights are packed weights and bias; a problem without bias has a nil one.
type weights struct {
	plan      *plan
	wei, bias *buffer
}

func (w *weights) Bytes() int64 {
	n := w.wei.bytes
	if w.bias != nil {
		n += w.bias.bytes
	}
	return n
}

func (w *weights) Free() {
	w.wei.Free()
	if w.bias != nil {
		w.bias.Free()
	}
}

// commands fills buffers into steps and collects what they use.
func (pl *plan) commands(steps []step, use *[operands]*buffer) ([]hal.Command, []*ref) {
	cmds := make([]hal.Command, len(steps))
	for i, s := range steps {
		c := s.cmd
		if c.Op == hal.Dispatch {
			c.Views = make([]hal.View, len(s.uses))
			for v, o := range s.uses {
				c.Views[v] = use[o].view
			}
		} else {
			from, to := use[s.uses[0]].at, use[s.uses[1]].at
			c.Src, c.SrcOff, c.Dst, c.DstOff = from.block.mem, from.off, to.block.mem, to.off
		}
		cmds[i] = c
	}
	holds := []*ref{pl.ref}
	for _, b := range use {
		if b != nil {
			holds = append(holds, b.ref)
		}
	}
	return cmds, holds
}

func (d *Device) ownStream(s driver.Stream) (*stream, error) {
	st, ok := s.(*stream)
	if !ok || st.dev != d {
		return nil, fmt.Errorf("%w: not a stream of this device", driver.ErrInvalid)
	}
	return st, nil
}

// Pack implements driver.Plan.
func (pl *plan) Pack(ctx context.Context, s driver.Stream, b driver.Buffers) (driver.Weights, driver.Event, error) {
	if pl.p.Op == problem.Pool {
		return nil, nil, fmt.Errorf("%w: pooling has no weights", driver.ErrInvalid)
	}
	st, err := pl.dev.ownStream(s)
	if err != nil {
		return nil, nil, err
	}
	var use [operands]*buffer
	if use[opWei], err = pl.dev.own("wei", b[problem.Wei], 4*problem.Elems(pl.p.Shape(problem.Wei))); err != nil {
		return nil, nil, err
	}
	biasBytes := 4 * problem.Elems(pl.p.Shape(problem.Bia))
	if pl.p.Bias {
		if use[opBia], err = pl.dev.own("bia", b[problem.Bia], biasBytes); err != nil {
			return nil, nil, err
		}
	}
	w := &weights{plan: pl}
	if w.wei, err = pl.dev.newBuffer(pl.info.WeightsBytes - biasBytes); err != nil {
		return nil, nil, fmt.Errorf("packed weights: %w", err)
	}
	if pl.p.Bias {
		if w.bias, err = pl.dev.newBuffer(biasBytes); err != nil {
			w.wei.Free()
			return nil, nil, fmt.Errorf("packed weights: %w", err)
		}
	}
	use[opPack], use[opPBia] = w.wei, w.bias
	cmds, holds := pl.commands(pl.pack, &use)
	e, err := st.run(ctx, cmds, holds...)
	if err != nil {
		w.Free()
		return nil, nil, err
	}
	return w, e, nil
}

// Run implements driver.Plan.
func (pl *plan) Run(ctx context.Context, s driver.Stream, a driver.Args) (driver.Event, error) {
	st, err := pl.dev.ownStream(s)
	if err != nil {
		return nil, err
	}
	var use [operands]*buffer
	if use[opSrc], err = pl.dev.own("src", a.Buffers[problem.Src], 4*problem.Elems(pl.p.Shape(problem.Src))); err != nil {
		return nil, err
	}
	if use[opDst], err = pl.dev.own("dst", a.Buffers[problem.Dst], 4*problem.Elems(pl.p.Shape(problem.Dst))); err != nil {
		return nil, err
	}
	if pl.p.Op != problem.Pool {
		w, ok := a.Weights.(*weights)
		if !ok || w.plan != pl {
			return nil, fmt.Errorf("%w: weights that this plan packed are needed", driver.ErrInvalid)
		}
		use[opPack], use[opPBia] = w.wei, w.bias
		if w.bias == nil {
			use[opPBia] = use[opSrc] // bound where a kernel declares a bias that it then does not read
		}
	}
	if pl.info.WorkspaceBytes > 0 {
		if use[opWork], err = pl.dev.newBuffer(pl.info.WorkspaceBytes); err != nil {
			return nil, fmt.Errorf("workspace: %w", err)
		}
		defer use[opWork].Free() // the submission holds it on
	}
	cmds, holds := pl.commands(pl.run, &use)
	e, err := st.run(ctx, cmds, holds...)
	if err != nil {
		return nil, err
	}
	return e, nil
}
