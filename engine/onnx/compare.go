package onnx

import (
	"fmt"
	"math"

	"github.com/gonvolve/gonvolve/engine/driver"
)

// compare judges got by the rule that RunDir states, and notes the largest errors in the result.
func compare(got, want []float32, truth driver.Truth, result *Result) error {
	if len(got) != len(want) || len(got) != len(truth) {
		return fmt.Errorf("%d elements of output, %d expected, %d of the oracle", len(got), len(want), len(truth))
	}
	var worst error
	wrong := 0
	blame := func(format string, args ...any) {
		if wrong++; wrong == 1 {
			worst = fmt.Errorf(format, args...)
		}
	}
	for i := range got {
		g, w, t := float64(got[i]), float64(want[i]), truth[i].Value
		b := truth[i].Bound
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
