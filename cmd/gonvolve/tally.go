package main

import (
	"context"
	"fmt"

	"github.com/gonvolve/gonvolve/engine/report"
)

// tally counts results, for the command's end.
type tally struct {
	count  map[report.Status]int
	total  int
	reason string // of the first result
	repro  string // of the first failure
}

func (t *tally) add(r report.Record) {
	if t.count == nil {
		t.count = map[report.Status]int{}
	}
	t.count[r.Status]++
	if t.total++; t.total == 1 {
		t.reason = r.Reason
	}
	if r.Status == report.Failed && t.repro == "" {
		t.repro = r.Repro
	}
}

// conclude is the command's end. wanted is how many results there are if nothing interrupts it.
func (t *tally) conclude(ctx context.Context, wanted int) error {
	failed := t.count[report.Failed]
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%w after %d of %d", errInterrupted, t.count[report.Passed]+failed, wanted)
	case failed > 0:
		return fmt.Errorf("%w: %d of %d results; run the first again with: %s", errFailed, failed, t.total, t.repro)
	case t.total > 0 && t.count[report.Passed] == 0:
		return fmt.Errorf("%w: %s", errNothingRan, t.reason)
	}
	return nil
}
