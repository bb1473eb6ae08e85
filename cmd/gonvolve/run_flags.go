package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// numbers reads a list such as "2" or "2,1" of one of the lengths; nil for an empty text.
func numbers(flag, text string, lengths ...int) ([]int, error) {
	if text == "" {
		return nil, nil
	}
	var list []int
	for part := range strings.SplitSeq(text, ",") {
		v, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || v > problem.MaxDim || v < -problem.MaxDim {
			return nil, fmt.Errorf("%w: --%s %.60q: %.20q is not a whole number of up to %d", engine.ErrInvalid, flag, text, part, problem.MaxDim)
		}
		list = append(list, v)
	}
	if !slices.Contains(lengths, len(list)) {
		slices.Sort(lengths)
		var possible []string
		for _, n := range slices.Compact(lengths) {
			possible = append(possible, strconv.Itoa(n))
		}
		return nil, fmt.Errorf("%w: --%s %.60q has %d numbers; %s are possible here", engine.ErrInvalid, flag, text, len(list), strings.Join(possible, " or "))
	}
	return list, nil
}
