package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
)

// DefaultBudget is how many products the oracle computes for one problem before it checks a sample: about a second on
// two cores.
const DefaultBudget = 400e6

// Limits whatever the budget: the truth takes 24 bytes for each element, several times what the result itself does.
const (
	maxCompared = 1 << 24 // elements of a result that is compared whole
	maxSample   = 1 << 20
)

// Oracle opens the device that knows the truth: the first, CPUs before others, that has driver.Oracle.
func Oracle(ctx context.Context) (*engine.Device, error) {
	for _, l := range engine.Devices() {
		if l.Err != nil || l.Info.API != "Go" {
			continue // opening a GPU to ask is slow, and GPUs have no oracle
		}
		d, err := engine.Open(ctx, l.Spec)
		if err != nil {
			return nil, err
		}
		if _, ok := d.Driver().(driver.Oracle); ok {
			return d, nil
		}
		if err := d.Close(); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: no driver with an oracle is built in; import the cpu driver", driver.ErrNoDevices)
}

// Case is a problem with inputs and truth, to be run on any number of devices.
type Case struct {
	Problem       problem.Problem
	Fill          Fill
	Src, Wei, Bia *engine.Tensor
	at            []int64 // nil: all elements are compared
	truth         driver.Truth
}

// NewCase makes the inputs of a forward problem and asks the oracle. If the whole result takes more than budget
// products, or is larger than its truth can be, a sample is compared instead: corners, edges, and random elements.
func NewCase(ctx context.Context, oracle *engine.Device, p problem.Problem, fill Fill, budget float64) (*Case, error) {
	o, ok := oracle.Driver().(driver.Oracle)
	if !ok {
		return nil, fmt.Errorf("%w: %s is no oracle", driver.ErrInvalid, oracle.Spec())
	}
	c, err := newInputs(oracle, p, fill)
	if err != nil {
		return nil, err
	}
	c.at = sample(&p, budget)
	c.truth, err = o.Reference(ctx, p, driver.Operands{Src: c.Src.Float32s(), Wei: c.Wei.Float32s(), Bia: c.Bia.Float32s()}, c.at)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// newInputs makes the tensors of a case. A problem that the host's memory cannot hold three times (inputs, result and
// the device's copies) is refused before anything is allocated.
func newInputs(host *engine.Device, p problem.Problem, fill Fill) (*Case, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if p.Dir != problem.Forward || p.Type != problem.F32 {
		return nil, fmt.Errorf("%w: only forward f32 problems can be checked yet, not %s in %s", driver.ErrUnsupported, p.Dir, p.Type)
	}
	if need, have := 3*float64(p.Bytes()), float64(host.Info().MemoryBytes); need > have {
		return nil, fmt.Errorf("%w: checking this problem takes %.3g GiB of the host's memory, which has %.3g: use a smaller problem",
			driver.ErrUnsupported, need/(1<<30), have/(1<<30))
	}
	c := &Case{Problem: p, Fill: fill}
	for _, t := range []struct {
		to    **engine.Tensor
		shape []int
		seed  uint64
	}{{&c.Src, p.SrcShape(), SeedSrc}, {&c.Wei, p.WeiShape(), SeedWei}, {&c.Bia, p.BiaShape(), SeedBia}} {
		if t.shape == nil {
			continue
		}
		made, err := engine.NewTensor(p.Type, t.shape...)
		if err != nil {
			return nil, err
		}
		fill.Values(made.Float32s(), t.seed)
		*t.to = made
	}
	return c, nil
}

// sample lists the elements to compare, nil for all.
func sample(p *problem.Problem, budget float64) []int64 {
	shape := p.ResultShape()
	total := problem.Elems(shape)
	terms := max(1, float64(p.Terms()))
	if float64(total)*terms <= budget && total <= maxCompared {
		return nil
	}
	want := int(max(64, min(budget/terms, maxSample)))
	var at []int64
	// All combinations of first and last of each dimension: corners of every edge plane and channel.
	corners := []int64{0}
	for _, n := range shape {
		var next []int64
		for _, c := range corners {
			next = append(next, c*int64(n))
			if n > 1 {
				next = append(next, c*int64(n)+int64(n-1))
			}
		}
		corners = next
	}
	at = append(at, corners...)
	r := rand.New(rand.NewPCG(uint64(total), uint64(want)))
	for i := 0; len(at) < want; i++ {
		e, rest := int64(0), i%4
		for k, n := range shape {
			x := r.Int64N(int64(n))
			switch spatial := k >= 2; {
			case spatial && rest == 1 && k == len(shape)-1: // last column
				x = int64(n - 1)
			case spatial && rest == 2 && k == 2: // last row
				x = int64(n - 1)
			case spatial && rest == 3 && k == 2: // first row
				x = 0
			}
			e = e*int64(n) + x
		}
		at = append(at, e)
	}
	slices.Sort(at)
	return slices.Compact(at)
}

// Judge compares a result with the truth and fills the record.
func (c *Case) Judge(r *report.Record, got []float32) {
	o := Judge(&c.Problem, c.truth, c.at, got, c.Fill == Int)
	r.Checked, r.Elements = o.Compared, int64(len(got))
	r.MaxAbsErr, r.MaxULP, r.BoundUsed = finite(o.MaxAbsErr), finite(o.MaxULP), finite(o.BoundUsed)
	r.Check = "bounded"
	if o.Exact {
		r.Check = "exact"
	}
	r.Status, r.Reason, r.Verified = report.Passed, "", true
	if o.Wrong > 0 {
		r.Status, r.Verified, r.Reason = report.Failed, false, o.String(&c.Problem)
		return
	}
	// The sample says nothing of elements that nobody wrote; the poison does.
	for i, v := range got {
		if c.at != nil && v != v {
			r.Status, r.Verified = report.Failed, false
			r.Reason = fmt.Sprintf("element %v is NaN or was never written", coordinate(c.Problem.ResultShape(), int64(i)))
			return
		}
	}
}

// finite is v, or the largest number for infinities and NaN, which JSON has not.
func finite(v float64) float64 {
	if math.IsNaN(v) {
		return math.MaxFloat64
	}
	return min(v, math.MaxFloat64)
}

// Prepared is a case on a device: plan, weights and resident tensors.
type Prepared struct {
	Plan     *engine.Plan
	Stream   *engine.Stream
	Src, Dst *engine.DeviceTensor
	out      *engine.Tensor
}

// Prepare uploads the case's inputs to the plan's device. The plan stays the caller's.
func (c *Case) Prepare(ctx context.Context, pl *engine.Plan) (p *Prepared, err error) {
	p = &Prepared{Plan: pl}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
			p = nil
		}
	}()
	if p.Stream, err = pl.Device().NewStream(); err != nil {
		return p, err
	}
	if c.Wei != nil {
		if err = pl.SetWeights(ctx, c.Wei, c.Bia); err != nil {
			return p, err
		}
	}
	if p.Src, err = p.Stream.Upload(ctx, c.Src); err != nil {
		return p, err
	}
	if p.Dst, err = pl.Device().NewTensor(c.Problem.DstShape()...); err != nil {
		return p, err
	}
	p.out, err = engine.NewTensor(c.Problem.Type, c.Problem.DstShape()...)
	return p, err
}

// Close frees everything but the plan.
func (p *Prepared) Close() error {
	p.Src.Free()
	p.Dst.Free()
	if p.Stream == nil {
		return nil
	}
	return p.Stream.Close()
}

// Result poisons the destination, runs once and downloads.
func (p *Prepared) Result(ctx context.Context) ([]float32, error) {
	if err := p.Stream.Poison(ctx, p.Dst); err != nil {
		return nil, err
	}
	ev, err := p.Plan.Run(ctx, p.Stream, p.Src, p.Dst)
	if err != nil {
		return nil, err
	}
	if err := ev.Wait(ctx); err != nil {
		return nil, err
	}
	if err := p.Stream.Download(ctx, p.out, p.Dst); err != nil {
		return nil, err
	}
	return p.out.Float32s(), nil
}

// Check runs the case on a device by an algorithm (empty: the device's choice) and judges the result. When ctx ends the
// record is Skipped.
func (c *Case) Check(ctx context.Context, dev *engine.Device, algorithm string) report.Record {
	r := report.New(&c.Problem, dev)
	r.Repro = Repro(&c.Problem, dev.Spec(), algorithm, c.Fill)
	err := c.check(ctx, dev, algorithm, &r)
	switch {
	case err == nil:
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		r.Status, r.Reason = report.Skipped, "interrupted"
	default:
		r.Fail(err)
	}
	return r
}

func (c *Case) check(ctx context.Context, dev *engine.Device, algorithm string, r *report.Record) error {
	pl, err := dev.Plan(ctx, c.Problem, driver.PlanOptions{Algorithm: algorithm})
	if err != nil {
		return err
	}
	defer pl.Close()
	r.Planned(pl)
	p, err := c.Prepare(ctx, pl)
	if err != nil {
		return err
	}
	defer p.Close()
	got, err := p.Result(ctx)
	if err != nil {
		return err
	}
	r.Runs = 1
	c.Judge(r, got)
	return nil
}

// Repro is the command that runs one check again.
func Repro(p *problem.Problem, device, algorithm string, fill Fill) string {
	s := "gonvolve verify --device " + device + " --fill " + string(fill)
	if algorithm != "" {
		s += " --alg " + algorithm
	}
	if p.Dir != problem.Forward {
		s += " --dir " + p.Dir.String()
	}
	if p.Bias {
		s += " --bias"
	}
	if p.Act != problem.Identity {
		s += " --act " + p.Act.String()
	}
	return s + " '" + p.String() + "'"
}
