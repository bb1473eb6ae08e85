package onnx

import (
	"fmt"
	"math"
	"slices"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// What ONNX's backend tests allow between two results, as its test runner has it.
const (
	relative = 1e-3
	absolute = 1e-7
)

// judge compares an output of the graph with the expected one, as RunDir states.
func (e *evaluation) judge(name string, got *value) error {
	want, err := e.want[name].read()
	if err != nil {
		return err
	}
	if want.kind != got.kind || !slices.Equal(want.shape, got.shape) {
		return fmt.Errorf("the expected output %.100q is %v of shape %v, the graph makes %v of shape %v",
			name, want.kind, want.shape, got.kind, got.shape)
	}
	ours, theirs := got.at(), want.at()
	for i := range got.elems() {
		e.result.MaxAbsErr = max(e.result.MaxAbsErr, distance(ours(i), theirs(i)))
	}
	truth := got.truth
	if truth == nil && got.exact {
		truth = make(driver.Truth, got.elems())
		for i := range truth {
			truth[i].Value = ours(int64(i))
		}
	}
	if truth == nil {
		return e.agree(got, ours, theirs)
	}
	typ, ok := hostTypes[got.kind]
	if !ok {
		typ = problem.S32 // int64: whole numbers, too
	}
	o := verify.Judge(typ, truth, nil, theirs, false)
	if !unrounded(truth) {
		e.result.weaken(Bounded)
	}
	if o.Wrong == 0 {
		return nil
	}
	if known := e.mistake[name]; known != nil {
		if err := known(want); err != nil {
			return err
		}
	}
	return fmt.Errorf("the expected output is off: %s, which rounding does not explain", o.String(got.shape))
}

// distance is |a−b|, with NaN equal to NaN and an infinity only to itself. It is always a number that JSON can hold.
func distance(a, b float64) float64 {
	if a == b || (a != a && b != b) {
		return 0
	}
	return finite(math.Abs(a - b))
}

// finite is v, or the largest number for infinities and NaN, which JSON has not.
func finite(v float64) float64 {
	if v <= math.MaxFloat64 {
		return v
	}
	return math.MaxFloat64
}
