package verify

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
)

// ErrGolden is what errors of unusable golden files wrap.
var ErrGolden = errors.New("not a golden file")

// Golden reads a file of checksums of convolutions (columns file, mb_used, note, fwd_hash, …, ndims, desc) and runs each
// row's forward problem, with bias, in exact mode on a device: the hash of the result must be the file's. each gets a
// record for every row; a row without a checksum is skipped, one that the device cannot run unsupported.
//
// A wrong hash says that the result is wrong, not where: such a row is run again against the oracle to find out.
func Golden(ctx context.Context, oracle, dev *engine.Device, algorithm string, in io.Reader, each func(report.Record)) error {
	rows := csv.NewReader(in)
	rows.ReuseRecord = true
	head, err := rows.Read()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrGolden, err)
	}
	column := map[string]int{}
	for i, name := range head {
		column[name] = i
	}
	for _, name := range []string{"mb_used", "note", "fwd_hash", "desc"} {
		if _, ok := column[name]; !ok {
			return fmt.Errorf("%w: column %s is missing", ErrGolden, name)
		}
	}
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrGolden, err)
		}
		line, _ := rows.FieldPos(0)
		field := func(name string) string { return row[column[name]] }
		p, err := problem.Parse(field("desc"))
		if err != nil {
			return fmt.Errorf("%w: line %d: %w", ErrGolden, line, err)
		}
		if p.Op != problem.Conv {
			return fmt.Errorf("%w: line %d: only convolutions are checked", ErrGolden, line)
		}
		p.Bias = true
		note, hash := field("note"), field("fwd_hash")
		if note == "" {
			if p.N, err = strconv.Atoi(field("mb_used")); err != nil {
				return fmt.Errorf("%w: line %d: mb_used: %w", ErrGolden, line, err)
			}
			if err := p.Validate(); err != nil {
				return fmt.Errorf("%w: line %d: mb_used: %w", ErrGolden, line, err)
			}
		}
		r := goldenRow(ctx, oracle, dev, algorithm, p, note, hash)
		if err := ctx.Err(); err != nil {
			return err
		}
		each(r)
	}
}

func goldenRow(ctx context.Context, oracle, dev *engine.Device, algorithm string, p problem.Problem, note, hash string) report.Record {
	r := report.New(&p, dev)
	r.Check, r.Repro = "exact", Repro(&p, dev.Spec(), algorithm, Int)
	if note != "" || hash == "" {
		r.Status, r.Reason = report.Skipped, "the file has no checksum for this row: "+note
		return r
	}
	want, err := strconv.ParseUint(hash, 16, 64)
	if err != nil {
		r.Fail(fmt.Errorf("%w: fwd_hash %q", ErrGolden, hash))
		return r
	}
	pl, err := dev.Plan(ctx, p, driver.PlanOptions{Algorithm: algorithm})
	if err != nil {
		r.Fail(err)
		return r
	}
	defer pl.Close()
	r.Planned(pl)
	if err := runGolden(ctx, oracle, pl, p, want, &r); err != nil {
		r.Fail(err)
	}
	return r
}

func runGolden(ctx context.Context, oracle *engine.Device, pl *engine.Plan, p problem.Problem, want uint64, r *report.Record) error {
	c := &Case{Problem: p, Fill: Int}
	var err error
	if c.In, err = inputs(ctx, oracle, p, Int); err != nil {
		return err
	}
	prepared, err := c.Prepare(ctx, pl)
	if err != nil {
		return err
	}
	defer prepared.Close()
	results, err := prepared.Result(ctx)
	if err != nil {
		return err
	}
	got := results[problem.Dst].Float32s()
	r.Runs, r.Checked = 1, int64(len(got))
	if h, whole := Hash(got); h == want && whole {
		r.Status, r.Verified = report.Passed, true
		return nil
	}
	checked, err := NewCase(ctx, oracle, p, Int, DefaultBudget)
	if err != nil {
		return err
	}
	checked.Judge(r, results)
	if r.Status == report.Passed {
		r.Reason = "the checksum differs from the file's, the compared elements do not differ from the oracle"
	}
	r.Status, r.Verified = report.Failed, false
	return nil
}
