package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/tiling"
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
func Oracle(ctx context.Context) (*engine.Device, error) { return engine.OpenOracle(ctx) }

// Case is a problem with inputs and truth, to be run on any number of devices.
type Case struct {
	Problem problem.Problem
	Fill    Fill
	In      engine.Operands // the problem's Inputs and Constants
	Explain bool            // records tell of the worst element and of all errors' sizes

	oracle driver.Oracle
	budget float64
	mu     sync.Mutex
	known  map[question][]truth
}

// question is what the oracle is asked.
type question struct {
	ways string // arithmetics, by one of which each result came
	cut  string // of the problem in tiles, whose borders are compared; empty: none
}

// plainly is f32 arithmetic.
var plainly = []driver.Arithmetic{{}}

// truth is the oracle's word on one output.
type truth struct {
	role  problem.Role
	at    []int64 // nil: all elements are compared
	value driver.Truth
}

// NewCase makes the inputs of a problem and asks the oracle: about f32 arithmetic now, about others when they are met. If a whole result takes more than budget products, or is
// larger than its truth can be, a sample is compared instead: corners, edges, and random elements.
func NewCase(ctx context.Context, oracle *engine.Device, p problem.Problem, fill Fill, budget float64) (*Case, error) {
	c, err := newInputs(ctx, oracle, p, fill)
	if err != nil {
		return nil, err
	}
	c.budget = budget
	_, err = c.truths(ctx, plainly, nil)
	return c, err
}

// newInputs is a case that nothing is judged by yet.
func newInputs(ctx context.Context, oracle *engine.Device, p problem.Problem, fill Fill) (*Case, error) {
	c := &Case{Problem: p, Fill: fill, known: map[question][]truth{}}
	var err error
	if c.In, err = inputs(ctx, oracle, p, fill); err == nil {
		c.oracle = oracle.Driver().(driver.Oracle)
	}
	return c, err
}

// truths is the oracle's word on results that came by one or another of some arithmetics, and are made in tiles if there are
// some.
func (c *Case) truths(ctx context.Context, ways []driver.Arithmetic, tiles *tiling.Tiles) ([]truth, error) {
	q := question{ways: fmt.Sprint(ways)}
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.known[q]
	if tiles != nil {
		q.cut = tiles.String()
	}
	if known, ok := c.known[q]; ok {
		return known, nil
	}
	if tiles != nil && all != nil && !slices.ContainsFunc(all, func(t truth) bool { return t.at != nil }) {
		return all, nil // of all elements
	}
	var in driver.Operands
	for r, t := range c.In {
		in[r] = t.Operand()
	}
	var list []truth
	for _, r := range c.Problem.Outputs() {
		t := truth{role: r, at: sample(&c.Problem, r, c.budget)}
		if t.at != nil && tiles != nil {
			t.at = withBorders(t.at, tiles, r)
		}
		var err error
		if t.value, err = Reference(ctx, c.oracle, c.Problem, ways, in, r, t.at); err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	c.known[q] = list
	return list, nil
}

// Reference is what an oracle says of elements that came by one or another of some arithmetics: the largest of their bounds
// holds.
func Reference(ctx context.Context, oracle driver.Oracle, p problem.Problem, ways []driver.Arithmetic, in driver.Operands,
	out problem.Role, at []int64) (truth driver.Truth, err error) {
	if len(ways) == 0 {
		return nil, fmt.Errorf("%w: no arithmetic that %v came by", driver.ErrInvalid, out)
	}
	for i, a := range ways {
		// Others of the ways may have made a part of the sum.
		a.OrPlain = a.OrPlain || len(ways) > 1 && a != driver.Arithmetic{}
		t, err := oracle.Reference(ctx, p, a, in, out, at)
		if err != nil {
			return nil, fmt.Errorf("oracle: %w", err)
		}
		if i == 0 {
			truth = t
			continue
		}
		for k, e := range t {
			have := &truth[k]
			have.Bound, have.Magnitude, have.Exact = max(have.Bound, e.Bound), max(have.Magnitude, e.Magnitude), have.Exact && e.Exact
		}
	}
	return truth, nil
}

// sample lists the elements to compare, nil for all.
func sample(p *problem.Problem, role problem.Role, budget float64) []int64 {
	shape := p.Shape(role)
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

// bordered is of how many tiles the borders are compared, at most.
const bordered = 64

// withBorders adds the corners of tiles' results to elements to compare.
func withBorders(at []int64, tiles *tiling.Tiles, role problem.Role) []int64 {
	p := tiles.Problem()
	shape, n := p.Shape(role), tiles.Len()
	for k := range min(n, bordered) {
		t := tiles.Tile(k * n / min(n, bordered))
		b := t.Boxes[role]
		for corner := range 1 << len(shape) {
			e := int64(0)
			for d, size := range shape {
				x := b.From[d]
				if corner>>d&1 == 1 {
					x += b.Size[d] - 1
				}
				e = e*int64(size) + int64(x)
			}
			at = append(at, e)
		}
	}
	slices.Sort(at)
	return slices.Compact(at)
}

// Judge compares results of a plan with the truth about its arithmetic and fills the record.
func (c *Case) Judge(ctx context.Context, r *report.Record, a driver.Arithmetic, got engine.Operands) error {
	return c.judgeBy(ctx, r, []driver.Arithmetic{a}, nil, got)
}

// judgeBy is Judge of results that came by one or another of some arithmetics, in tiles if there are some.
func (c *Case) judgeBy(ctx context.Context, r *report.Record, ways []driver.Arithmetic, tiles *tiling.Tiles, got engine.Operands) error {
	truths, err := c.truths(ctx, ways, tiles)
	if err != nil {
		return err
	}
	r.Status, r.Reason, r.Verified, r.Check = report.Passed, "", true, "exact"
	r.Checked, r.Elements = 0, 0
	for _, t := range truths {
		c.judge(r, t, got[t.role], len(truths) > 1)
	}
	return nil
}

// judge compares one output, of several if named.
func (c *Case) judge(r *report.Record, t truth, got *engine.Tensor, named bool) {
	at := reader(got)
	o := Judge(got.Type(), t.value, t.at, at, c.Fill == Int)
	elements := problem.Elems(got.Shape())
	r.Checked += o.Compared
	r.Elements += elements
	r.MaxAbsErr = max(r.MaxAbsErr, finite(o.MaxAbsErr))
	r.MaxULP = max(r.MaxULP, finite(o.MaxULP))
	r.BoundUsed = max(r.BoundUsed, finite(o.BoundUsed))
	if !o.Exact {
		r.Check = "bounded"
	}
	if c.Explain {
		c.explain(r, t, o, got.Shape())
	}
	if r.Status == report.Failed {
		return
	}
	if o.Wrong > 0 {
		r.Status, r.Verified, r.Reason = report.Failed, false, o.String(got.Shape())
		if named {
			r.Reason = t.role.String() + ": " + r.Reason
		}
		return
	}
	// The sample says nothing of elements that nobody wrote; the poison does.
	for i := int64(0); t.at != nil && i < elements; i++ {
		if v := at(i); v != v {
			r.Status, r.Verified = report.Failed, false
			r.Reason = fmt.Sprintf("element %v is NaN or was never written", coordinate(got.Shape(), i))
			return
		}
	}
}

// reader reads a tensor's elements as float64, exactly.
func reader(t *engine.Tensor) func(int64) float64 {
	if t.Type() == problem.S32 {
		v := t.Int32s()
		return func(i int64) float64 { return float64(v[i]) }
	}
	v := t.Widen()
	return func(i int64) float64 { return float64(v[i]) }
}

// finite is v, or the largest number for infinities and NaN, which JSON has not.
func finite(v float64) float64 {
	if math.IsNaN(v) {
		return math.MaxFloat64
	}
	return min(v, math.MaxFloat64)
}

// Check runs the case on a device by an algorithm (empty: the device's choice) and judges the result. When ctx ends the
// record is Skipped.
func (c *Case) Check(ctx context.Context, dev *engine.Device, algorithm string) report.Record {
	return check(ctx, dev, &c.Problem, c.Fill, algorithm, func(r *report.Record) error {
		p, err := c.Start(ctx, dev, algorithm)
		if err != nil {
			return err
		}
		return p.once(ctx, r, func(got engine.Operands) error { return p.Judge(ctx, r, got) })
	})
}

// check calls run, and makes a record of it.
func check(ctx context.Context, dev *engine.Device, p *problem.Problem, fill Fill, algorithm string, run func(*report.Record) error) report.Record {
	r := report.New(p, dev)
	r.Repro = Repro(p, dev.Name(), algorithm, fill, Flags(dev)...)
	concluded(ctx, &r, run(&r))
	return r
}

// concluded notes how a check ended, unless it was judged.
func concluded(ctx context.Context, r *report.Record, err error) {
	switch {
	case err == nil:
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		r.Status, r.Reason = report.Skipped, "interrupted"
	default:
		r.Fail(err)
	}
}

// Flags are the command's for the options that a device was opened by.
func Flags(dev *engine.Device) (flags []string) {
	if tile := dev.Tile(); tile != "" {
		flags = append(flags, "--tile "+tile)
	}
	if limit := dev.MemLimit(); limit > 0 {
		flags = append(flags, fmt.Sprintf("--mem-limit %d", limit))
	}
	return flags
}

// Repro is the command that runs one check again, with further flags, such as those of Flags.
func Repro(p *problem.Problem, device, algorithm string, fill Fill, flags ...string) string {
	s := "gonvolve verify --device " + device + " --fill " + string(fill)
	if algorithm != "" {
		s += " --alg " + algorithm
	}
	for _, f := range flags {
		s += " " + f
	}
	return s + " '" + strings.ReplaceAll(p.String(), "'", `'\''`) + "'"
}
