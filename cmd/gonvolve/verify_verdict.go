package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// printVerdict prints what the records of one problem, made by cases with Explain, say in detail: a histogram of errors
// and the worst element of each device and algorithm, and the verdict.
func printVerdict(w io.Writer, format string, records []report.Record) error {
	bars := report.Table{Head: []string{"device", "algorithm"}, Right: make([]bool, 2+verify.Buckets)}
	last := 0 // bucket that any has
	for _, r := range records {
		for i, n := range r.ULPs {
			if n > 0 {
				last = max(last, i)
			}
		}
	}
	for i := range last + 1 {
		bars.Head = append(bars.Head, bucketName(i)+" ulp")
	}
	var b strings.Builder
	for _, r := range records {
		if r.ULPs == nil {
			continue
		}
		row := []string{r.Device, r.Algorithm}
		for _, n := range r.ULPs[:last+1] {
			row = append(row, bar(n, r.Checked))
		}
		bars.Rows = append(bars.Rows, row)
		if x := r.Worst; x != nil {
			fmt.Fprintf(&b, "%s %s: worst at %s%v: got %s, true value %s, ", r.Device, r.Algorithm, x.Output, x.At, x.Got, x.Want)
			if x.Bound == 0 {
				b.WriteString("must be that bit for bit\n")
			} else {
				fmt.Fprintf(&b, "may be off by %.3g, uses %.1f %%\n", x.Bound, 100*r.BoundUsed)
			}
			fmt.Fprintf(&b, "  %d terms, Σ|terms| %.6g", x.Terms, x.Magnitude)
			if x.Sum != nil {
				fmt.Fprintf(&b, ", their sum in float64 from the inputs %v; the largest:", *x.Sum)
			}
			b.WriteByte('\n')
			for _, t := range x.Largest {
				fmt.Fprintf(&b, "    %-12v", t.Value)
				names := make([]string, 0, len(t.At))
				for name := range t.At {
					names = append(names, name)
				}
				slices.Sort(names)
				for _, name := range names {
					fmt.Fprintf(&b, " %s%v", name, t.At[name])
				}
				b.WriteByte('\n')
			}
		}
	}
	if len(bars.Rows) > 0 {
		if _, err := fmt.Fprintf(w, "\n%s\n\n%s", bars.Render(format), b.String()); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w, "verdict:", records[0].Verdict)
	return err
}

// bucketName is the errors that a bucket of the histogram counts.
func bucketName(i int) string {
	switch {
	case i < 3:
		return fmt.Sprint(i)
	case i == verify.Buckets-1:
		return fmt.Sprintf(">%d", 1<<(i-2))
	}
	return fmt.Sprintf("%d–%d", 1<<(i-2)+1, 1<<(i-1))
}

// bar is a count with a bar of its share, on a scale of eighths of a cell.
func bar(n, of int64) string {
	if n == 0 {
		return ""
	}
	eighths := max(1, int(math.Round(64*float64(n)/float64(of))))
	s := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		s += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return fmt.Sprintf("%d %s", n, s)
}
