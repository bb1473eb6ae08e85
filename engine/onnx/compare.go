package onnx

import (
	"fmt"
	"math"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// compare judges got by the rule that RunDir states, and notes the largest errors in the result.
func compare(p *problem.Problem, got, want []float32, truth driver.Truth, result *Result) error {
	if len(got) != len(want) || len(got) != len(truth.Value) {
		return fmt.Errorf("%d elements of output, %d expected, %d of the oracle", len(got), len(want), len(truth.Value))
	}
	var worst error
	wrong := 0
	blame := func(format string, args ...any) {
		if wrong++; wrong == 1 {
			worst = fmt.Errorf(format, args...)
		}
	}
	for i := range got {
		if truth.Terms[i] >= maxTerms {
			return fmt.Errorf("%w: a result of %d terms, of which float32 proves nothing; %d is the most", engine.ErrUnsupported, truth.Terms[i], maxTerms-1)
		}
		g, w, t := float64(got[i]), float64(want[i]), truth.Value[i]
		b := bound(p, truth, i)
		ours, theirs := distance(g, t), distance(w, t)
		result.MaxAbsErr = max(result.MaxAbsErr, distance(g, w))
		if ours > 0 {
			result.MaxRatio = max(result.MaxRatio, min(ours/b, math.MaxFloat64))
		}
		switch {
		case ours > b:
			blame("element %d is %g, the oracle has %g (%.3g apart, rounding explains %.3g) and the expected output %g", i, g, t, ours, b, w)
		case theirs > b:
			blame("the expected output is off: its element %d is %g, the oracle has %g (%.3g apart, rounding explains %.3g)", i, w, t, theirs, b)
		}
	}
	if wrong > 1 {
		return fmt.Errorf("%d of %d elements are wrong; the first: %w", wrong, len(got), worst)
	}
	return worst
}

// maxTerms is where γ stops to bound anything.
const maxTerms = 1<<24 - 1

// bound is how far rounding can take a float32 result from the exact element i. An infinity or NaN is not rounded.
func bound(p *problem.Problem, truth driver.Truth, i int) float64 {
	if v := truth.Value[i]; (p.Op == problem.Pool && p.Kind == problem.Max) || v-v != 0 {
		return 0
	}
	const u, tiny = 0x1p-24, 0x1p-126
	k := float64(truth.Terms[i] + 1)
	return k*u/(1-k*u)*truth.Magnitude[i] + k*tiny
}

// distance is |a−b|, with NaN equal to NaN and an infinity only to itself. It is always a number that JSON can hold.
func distance(a, b float64) float64 {
	if a == b || (a != a && b != b) {
		return 0
	}
	if d := math.Abs(a - b); d <= math.MaxFloat64 {
		return d
	}
	return math.MaxFloat64
}
