package verify

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
)

// ErrGolden is what errors of unusable golden files wrap.
var ErrGolden = errors.New("not a golden file")

// Golden is one result of a golden file: the problem, always in exact mode, and the checksums of its result.
type Golden struct {
	Problem problem.Problem
	Note    string // why the file has no checksums, if it has none

	hash     uint64 // of whole numbers
	hashed   bool
	dot, abs float64 // of other results
}

// goldenColumns are the checksums of a row: the columns' prefix and what turns the row's problem into that one.
var goldenColumns = []struct {
	name string
	pool bool
	set  func(*problem.Problem)
}{
	{"fwd", false, func(p *problem.Problem) { p.Bias = true }},
	{"dsrc", false, func(p *problem.Problem) { p.Dir = problem.BackwardData }},
	{"dwei", false, func(p *problem.Problem) { p.Dir = problem.BackwardWeights }},
	{"dbia", false, func(p *problem.Problem) { p.Dir = problem.BackwardBias }},
	{"max", true, func(p *problem.Problem) { p.Kind = problem.Max }},
	{"max_dsrc", true, func(p *problem.Problem) { p.Kind, p.Dir = problem.Max, problem.BackwardData }},
	{"avgp", true, func(p *problem.Problem) { p.Kind = problem.AvgFull }},
	{"avgp_dsrc", true, func(p *problem.Problem) { p.Kind, p.Dir = problem.AvgFull, problem.BackwardData }},
	{"avgnp", true, func(p *problem.Problem) { p.Kind = problem.AvgExclude }},
	{"avgnp_dsrc", true, func(p *problem.Problem) { p.Kind, p.Dir = problem.AvgExclude, problem.BackwardData }},
}

// ReadGolden reads a file of checksums: rows of problems (columns desc, mb_used and note) with the columns _hash, _dot and
// _abs of each of their results: fwd (with a bias), dsrc, dwei and dbia, or of pooling max, max_dsrc, avgp and so on. op
// is the operation of problems that do not say theirs; weights are numbered in the problem's own order. Only the results
// of dirs are returned; nil is all.
func ReadGolden(in io.Reader, op problem.Op, dirs []problem.Dir) ([]Golden, error) {
	rows := csv.NewReader(in)
	rows.ReuseRecord = true
	head, err := rows.Read()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGolden, err)
	}
	column := map[string]int{}
	for i, name := range head {
		column[name] = i
	}
	for _, name := range []string{"mb_used", "note", "desc"} {
		if _, ok := column[name]; !ok {
			return nil, fmt.Errorf("%w: column %s is missing", ErrGolden, name)
		}
	}
	_, pool := column["max_hash"]
	prefix := op.String() + ":"
	if pool {
		prefix = "pool:max:"
	} else if _, ok := column["fwd_hash"]; !ok {
		return nil, fmt.Errorf("%w: neither column fwd_hash nor max_hash is there", ErrGolden)
	}
	var all []Golden
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrGolden, err)
		}
		field := func(name string) string {
			if i, ok := column[name]; ok {
				return row[i]
			}
			return ""
		}
		more, err := goldenRow(prefix, pool, field)
		if err != nil {
			line, _ := rows.FieldPos(0)
			return nil, fmt.Errorf("%w: line %d: %w", ErrGolden, line, err)
		}
		for _, g := range more {
			if _, has := column[g.name+"_hash"]; has && (dirs == nil || slices.Contains(dirs, g.Problem.Dir)) {
				all = append(all, g.Golden)
			}
		}
	}
}

// namedGolden is a result with its columns' prefix.
type namedGolden struct {
	Golden
	name string
}

func goldenRow(prefix string, pool bool, field func(string) string) ([]namedGolden, error) {
	p, err := problem.Parse(prefix + field("desc"))
	if err != nil {
		return nil, err
	}
	note := field("note")
	if note == "" {
		if p.N, err = strconv.Atoi(field("mb_used")); err != nil {
			return nil, fmt.Errorf("mb_used: %w", err)
		}
	}
	var all []namedGolden
	for _, c := range goldenColumns {
		if c.pool != pool {
			continue
		}
		g := Golden{Problem: p, Note: note}
		c.set(&g.Problem)
		if err := g.Problem.Validate(); err != nil {
			return nil, fmt.Errorf("mb_used: %w", err)
		}
		if err := g.parse(c.name, field); err != nil {
			return nil, err
		}
		all = append(all, namedGolden{g, c.name})
	}
	return all, nil
}

// parse reads the checksums of a result.
func (g *Golden) parse(name string, field func(string) string) (err error) {
	hash, dot, abs := field(name+"_hash"), field(name+"_dot"), field(name+"_abs")
	switch {
	case g.Note != "":
	case hash != "":
		g.hashed = true
		if g.hash, err = strconv.ParseUint(hash, 16, 64); err != nil {
			return fmt.Errorf("%s_hash: %w", name, err)
		}
	case dot == "" || abs == "":
		g.Note = "it has neither hash nor sums"
	default:
		if g.dot, err = strconv.ParseFloat(dot, 64); err != nil {
			return fmt.Errorf("%s_dot: %w", name, err)
		}
		if g.abs, err = strconv.ParseFloat(abs, 64); err != nil {
			return fmt.Errorf("%s_abs: %w", name, err)
		}
	}
	return nil
}

// Check runs the problem on a device by an algorithm (empty: the device's choice). A result of whole numbers must have
// the file's hash: a wrong one says that the result is wrong, not where, and the oracle finds out. Other results are
// compared with the oracle, and their sums with the file's. When ctx ends the record is Skipped.
func (g *Golden) Check(ctx context.Context, oracle, dev *engine.Device, algorithm string) report.Record {
	if g.Note != "" {
		r := report.New(&g.Problem, dev)
		r.Check, r.Repro = "exact", Repro(&g.Problem, dev.Name(), algorithm, Int, Flags(dev)...)
		r.Status, r.Reason = report.Skipped, "the file has no checksum for this row: "+g.Note
		return r
	}
	r := check(ctx, dev, &g.Problem, Int, algorithm, func(r *report.Record) error {
		c, err := newInputs(ctx, oracle, g.Problem, Int)
		if err != nil {
			return err
		}
		c.budget = math.Inf(1)
		s, err := c.Start(ctx, dev, algorithm)
		if err != nil {
			return err
		}
		return s.once(ctx, r, func(got engine.Operands) error {
			if g.hashed {
				return g.judgeHash(ctx, c, s, got, r)
			}
			if err := s.Judge(ctx, r, got); err != nil {
				return err
			}
			return g.judgeSums(ctx, c, s, got, r)
		})
	})
	r.Check = cmp.Or(r.Check, "exact")
	return r
}

// judgeHash compares the result's hash with the file's. An arithmetic that rounds has another one: each of its elements is
// the oracle's business, and where the bounds say that the true result is the nearest whole number, those numbers have
// the file's hash.
func (g *Golden) judgeHash(ctx context.Context, c *Case, s *Prepared, got engine.Operands, r *report.Record) error {
	values := got[g.Problem.Outputs()[0]].Float32s()
	r.Checked = int64(len(values))
	if h, whole := Hash(values); h == g.hash && whole {
		r.Status, r.Verified = report.Passed, true
		return nil
	}
	exact := slices.Equal(s.Arithmetics(), plainly)
	if exact {
		c.budget = DefaultBudget // the result is wrong: it is only to be said where
	}
	if err := s.Judge(ctx, r, got); err != nil {
		return err
	}
	truths, err := c.truths(ctx, s.Arithmetics(), nil)
	if err != nil || r.Status != report.Passed || !exact && !nearest(truths[0], values) {
		return err
	}
	if h, _ := Hash(values); h == g.hash && !exact {
		return nil
	}
	r.Reason = "the checksum differs from the file's, the compared elements do not differ from the oracle"
	r.Status, r.Verified = report.Failed, false
	return nil
}

// nearest rounds values to whole numbers if their bounds say that these are the true results.
func nearest(t truth, values []float32) bool {
	if t.at != nil || slices.ContainsFunc(t.value, func(e driver.Element) bool { return !e.Exact && e.Bound >= 0.5 }) {
		return false
	}
	for i, v := range values {
		values[i] = float32(math.RoundToEven(float64(v)))
	}
	return true
}

// judgeSums compares the result's sums with the file's, which were made from results r_i in float64. The device's f_i are
// off r_i by at most the oracle's bound e_i and one rounding to float32, u·|r_i|, u = 2^-24; weights are at most 1; and
// both sums of n numbers, in whatever order, and the terms of both, were rounded in float64: 2(n+2)·2^-53·Σ|r_i| covers
// that, as well as the rounding of r_i. So dot and abs are off by at most Σ(e_i + u·|r_i|) + 2(n+2)·2^-53·Σ|r_i|.
func (g *Golden) judgeSums(ctx context.Context, c *Case, s *Prepared, got engine.Operands, r *report.Record) error {
	truths, err := c.truths(ctx, s.Arithmetics(), nil)
	if err != nil {
		return err
	}
	t := truths[0]
	if t.at != nil {
		r.Status, r.Verified = report.Skipped, false
		r.Reason = fmt.Sprintf("%d elements are too many to compare all", r.Elements)
		return nil
	}
	if r.Status != report.Passed {
		return nil
	}
	allowed := 0.0
	const double = 0x1p-53
	rounding := 0x1p-24 + 2*(float64(len(t.value))+2)*double
	for _, e := range t.value {
		allowed += e.Bound + rounding*math.Abs(e.Value)
	}
	at := reader(got[t.role])
	dot, abs := Sums(len(t.value), func(i int) float64 { return at(int64(i)) })
	for _, s := range []struct {
		name      string
		got, want float64
	}{{"dot", dot, g.dot}, {"abs", abs, g.abs}} {
		if !(math.Abs(s.got-s.want) <= allowed) {
			r.Status, r.Verified = report.Failed, false
			r.Reason = fmt.Sprintf("every element is the oracle's, but the %s sum is %v, in the file %v: more apart than the %.3g of rounding",
				s.name, s.got, s.want, allowed)
			return nil
		}
	}
	return nil
}
