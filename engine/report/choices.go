package report

import (
	"fmt"
	"io"
	"strings"
)

// Choices is how good the algorithms are that a device takes by itself, where all were timed.
type Choices struct {
	Device   string
	Problems int      // on which its own was timed
	Behind   []Behind // where another takes less by more than near
}

// Behind is a problem on which a device's own choice is not near the fastest.
type Behind struct {
	Problem, Own, Fastest string
	Ratio                 float64 // of their times
}

// near is how much longer than the fastest algorithm a device's own may take.
const near = 1.1

// ChoicesOf judges the devices that records of all algorithms are of.
func ChoicesOf(records []Record) (list []*Choices) {
	type side struct{ problem, device string }
	fastest := map[side]*Record{}
	for i := range records {
		r := &records[i]
		at := side{r.Problem, r.Device}
		if t := r.time(); t > 0 && (fastest[at] == nil || t < fastest[at].time()) {
			fastest[at] = r
		}
	}
	devices := map[string]*Choices{}
	for i := range records {
		r := &records[i]
		if !r.Own || r.time() == 0 {
			continue
		}
		c := devices[r.Device]
		if c == nil {
			c = &Choices{Device: r.Device}
			devices[r.Device] = c
			list = append(list, c)
		}
		c.Problems++
		best := fastest[side{r.Problem, r.Device}]
		if ratio := r.time() / best.time(); ratio > near {
			c.Behind = append(c.Behind, Behind{r.Problem, r.Algorithm, best.Algorithm, ratio})
		}
	}
	return list
}

// time is the median by which a record's algorithm is judged, in milliseconds; 0 if it has none.
func (r *Record) time() float64 {
	switch {
	case r.Status != Passed:
		return 0
	case r.WallMS != nil:
		return r.WallMS.Median
	case r.E2EMS != nil:
		return r.E2EMS.Median
	}
	return 0
}

// WriteChoices writes a paragraph for each device.
func WriteChoices(w io.Writer, list []*Choices) error {
	var b strings.Builder
	for _, c := range list {
		fmt.Fprintf(&b, "%s: the algorithm that it takes by itself is within %.0f %% of the fastest on %d of %d problems\n",
			c.Device, 100*(near-1), c.Problems-len(c.Behind), c.Problems)
		for _, p := range c.Behind {
			fmt.Fprintf(&b, "  %s: %s takes %.2f times as long as %s\n", p.Problem, p.Own, p.Ratio, p.Fastest)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
