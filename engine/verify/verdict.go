package verify

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gonvolve/gonvolve/engine/report"
)

// explain notes the errors' sizes and the worst element of one output.
func (c *Case) explain(r *report.Record, t truth, o Outcome, shape []int) {
	if r.ULPs == nil {
		r.ULPs = make([]int64, Buckets)
	}
	for i, n := range o.ULPs {
		r.ULPs[i] += n
	}
	if o.Worst < 0 || r.Worst != nil && finite(o.BoundUsed) < r.BoundUsed {
		return
	}
	k := int(o.Worst)
	if t.at != nil {
		k, _ = slices.BinarySearch(t.at, o.Worst)
	}
	e := t.value[k]
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	w := &report.Worst{Output: t.role.String(), At: coordinate(shape, o.Worst), Got: number(o.Got), Want: number(o.Want),
		Bound: e.Bound, Terms: e.Terms, Magnitude: finite(e.Magnitude)}
	if c.Fill == Int && e.Exact {
		w.Bound = 0
	}
	if sum, count, largest, ok := c.terms(t.role, o.Worst); ok {
		w.Sum, w.Terms, w.Largest = &sum, count, largest
	}
	r.Worst = w
}

// Verdict says of all results of one problem, from whatever devices and algorithms, who is wrong. Kernels are the same for
// every GPU API, so an algorithm that fails on all of them is to blame itself, one that fails on some accuses those
// devices' drivers.
func Verdict(records []report.Record) string {
	var wrong, right []string
	passed := map[string]bool{} // algorithms
	for _, r := range records {
		name := r.Device + " " + r.Algorithm
		switch r.Status {
		case report.Passed:
			right = append(right, name)
			passed[r.Algorithm] = true
		case report.Failed:
			wrong = append(wrong, name)
		}
	}
	switch {
	case len(wrong)+len(right) == 0:
		return "nothing ran"
	case len(wrong) == 0:
		return fmt.Sprintf("all %d results agree with the reference", len(right))
	case len(right) == 0:
		return "every result differs from the reference: suspect what they share, or the reference: " + strings.Join(wrong, ", ")
	}
	v := "wrong: " + strings.Join(wrong, ", ") + "; right: " + strings.Join(right, ", ")
	for _, r := range records {
		if r.Status == report.Failed && passed[r.Algorithm] {
			return v + fmt.Sprintf("; %s is right elsewhere: suspect %s (%s)", r.Algorithm, r.Device, r.Driver)
		}
	}
	return v + "; suspect the algorithm"
}
