package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
)

// ErrRecords is what errors about files of records wrap.
var ErrRecords = errors.New("not records, one JSON object a line (`gonvolve bench --format json -o FILE`)")

// Read reads records that Write wrote as json.
func Read(r io.Reader) ([]Record, error) {
	var list []Record
	in := bufio.NewScanner(r)
	in.Buffer(nil, 16<<20)
	for line := 1; in.Scan(); line++ {
		if len(bytes.TrimSpace(in.Bytes())) == 0 {
			continue
		}
		var rec Record
		if err := json.Unmarshal(in.Bytes(), &rec); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrRecords, line, err)
		}
		if rec.Problem == "" || rec.Device == "" || rec.Status == "" {
			return nil, fmt.Errorf("%w: line %d: problem, device or status is missing", ErrRecords, line)
		}
		list = append(list, rec)
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecords, err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: there are none", ErrRecords)
	}
	return list, nil
}

// Verdict is what a comparison says of a measurement.
type Verdict string

// The verdicts.
const (
	Faster     Verdict = "faster"
	Slower     Verdict = "slower"
	Same       Verdict = "same" // within the noise
	OnlyBefore Verdict = "only before"
	OnlyAfter  Verdict = "only after"
	Broken     Verdict = "broken" // right before, wrong or not run now
	Mended     Verdict = "mended" // the other way round
	Untimed    Verdict = "not timed"
)

// Noise is the rule that tells a change from noise: the ranges from minimum to 95th percentile do not overlap, and the
// medians differ by at least this part.
const Noise = 0.02

// Change compares one problem on one device by one algorithm in two lists of records.
type Change struct {
	Problem   string  `json:"problem"`
	Device    string  `json:"device"`
	Algorithm string  `json:"algorithm"` // "a → b" where the device chose another one
	Clock     string  `json:"clock"`     // which times were compared: device, wall or e2e
	Before    *Times  `json:"before_ms"`
	After     *Times  `json:"after_ms"`
	Ratio     float64 `json:"ratio"` // median before by median after: above 1 is faster now; 0 where there are not both
	Verdict   Verdict `json:"verdict"`
	Reason    string  `json:"reason"` // of what is broken
}

// key tells measurements apart.
type key struct{ problem, device, algorithm string }

// measured is what a list of records has under a key: several records of one key are taken together.
type measured struct {
	key
	records []Record
}

func group(list []Record) (groups []measured) {
	for _, r := range list {
		k := key{r.Problem, r.Device, r.Algorithm}
		i := slices.IndexFunc(groups, func(g measured) bool { return g.key == k })
		if i < 0 {
			groups = append(groups, measured{key: k})
			i = len(groups) - 1
		}
		groups[i].records = append(groups[i].records, r)
	}
	return groups
}

// passed is whether all records are right, or why one isn't.
func (m *measured) passed() (ok bool, reason string) {
	for _, r := range m.records {
		if r.Status != Passed {
			return false, string(r.Status) + ": " + r.Reason
		}
	}
	return true, ""
}

// clocks are the times of a record, the ones to be preferred first.
var clocks = []struct {
	name string
	of   func(*Record) *Times
}{
	{"device", func(r *Record) *Times { return r.DeviceMS }},
	{"wall", func(r *Record) *Times { return r.WallMS }},
	{"e2e", func(r *Record) *Times { return r.E2EMS }},
}

// times takes records together: least minimum, middle median, largest 95th percentile.
func (m *measured) times(of func(*Record) *Times) *Times {
	var medians []float64
	t := Times{Min: math.Inf(1)}
	for i := range m.records {
		x := of(&m.records[i])
		if x == nil || x.Median <= 0 {
			return nil
		}
		medians = append(medians, x.Median)
		t.Min, t.P95 = min(t.Min, x.Min), max(t.P95, x.P95)
	}
	slices.Sort(medians)
	t.Median = (medians[(len(medians)-1)/2] + medians[len(medians)/2]) / 2
	return &t
}

// Compare compares what two lists have of the same problems on the same devices by the same algorithms, in the order of
// the second. Where a device ran a problem by one algorithm in each list, and not the same, these two are compared. Lists
// that have no device in common, such as another library's times and ours, are compared by problem alone: everything in
// the second list with the fastest that the first one has of the problem.
func Compare(before, after []Record) []Change {
	old, now := group(before), group(after)
	if !slices.ContainsFunc(after, func(r Record) bool { return has(before, r.Device) }) {
		return contest(old, now)
	}
	var changes []Change
	used := make([]bool, len(old))
	find := func(like func(key) bool) int {
		for i := range old {
			if !used[i] && like(old[i].key) {
				return i
			}
		}
		return -1
	}
	count := func(list []measured, k key) (n int) {
		for _, m := range list {
			if m.problem == k.problem && m.device == k.device {
				n++
			}
		}
		return n
	}
	for i := range now {
		m := &now[i]
		j := find(func(k key) bool { return k == m.key })
		if j < 0 && count(old, m.key) == 1 && count(now, m.key) == 1 {
			j = find(func(k key) bool { return k.problem == m.problem && k.device == m.device })
		}
		c := Change{Problem: m.problem, Device: m.device, Algorithm: m.algorithm, Verdict: OnlyAfter}
		if j >= 0 {
			used[j] = true
			c.compare(&old[j], m)
		}
		changes = append(changes, c)
	}
	for i, m := range old {
		if !used[i] {
			changes = append(changes, Change{Problem: m.problem, Device: m.device, Algorithm: m.algorithm, Verdict: OnlyBefore})
		}
	}
	return changes
}

// has says whether a list has records of a device.
func has(list []Record, device string) bool {
	return slices.ContainsFunc(list, func(r Record) bool { return r.Device == device })
}

// contest compares groups of different devices: each of now with the fastest of old.
func contest(old, now []measured) (changes []Change) {
	for i := range now {
		m := &now[i]
		c := Change{Problem: m.problem, Device: m.device, Algorithm: m.algorithm, Verdict: OnlyAfter}
		for j := range old {
			if old[j].problem != m.problem {
				continue
			}
			with := Change{Problem: m.problem, Device: m.device}
			with.compare(&old[j], m)
			with.Algorithm = old[j].device + " → " + m.algorithm
			if c.Verdict == OnlyAfter || with.Ratio > 0 && (c.Ratio == 0 || with.Ratio < c.Ratio) {
				c = with
			}
		}
		changes = append(changes, c)
	}
	for _, m := range old {
		if !slices.ContainsFunc(now, func(n measured) bool { return n.problem == m.problem }) {
			changes = append(changes, Change{Problem: m.problem, Device: m.device, Algorithm: m.algorithm, Verdict: OnlyBefore})
		}
	}
	return changes
}

func (c *Change) compare(old, now *measured) {
	if old.algorithm != now.algorithm && old.algorithm != "" && now.algorithm != "" {
		c.Algorithm = old.algorithm + " → " + now.algorithm
	}
	was, _ := old.passed()
	is, reason := now.passed()
	switch {
	case was && !is:
		c.Verdict, c.Reason = Broken, reason
		return
	case is && !was:
		c.Verdict = Mended
		return
	}
	c.Verdict = Untimed
	for _, clock := range clocks {
		b, a := old.times(clock.of), now.times(clock.of)
		if b == nil || a == nil {
			continue
		}
		c.Clock, c.Before, c.After, c.Ratio, c.Verdict = clock.name, b, a, b.Median/a.Median, Same
		switch {
		case a.P95 < b.Min && c.Ratio >= 1+Noise:
			c.Verdict = Faster
		case a.Min > b.P95 && c.Ratio <= 1/(1+Noise):
			c.Verdict = Slower
		}
		return
	}
}

// Geomean is the geometric mean of the ratios of the changes that have one, and how many these are.
func Geomean(changes []Change) (mean float64, n int) {
	sum := 0.0
	for _, c := range changes {
		if c.Ratio > 0 {
			sum += math.Log(c.Ratio)
			n++
		}
	}
	if n == 0 {
		return 0, 0
	}
	return math.Exp(sum / float64(n)), n
}

// WriteChanges writes a comparison in one of Formats, with the geometric mean of each device at the end. In JSON that is
// an object whose problem is "geomean".
func WriteChanges(w io.Writer, format string, changes []Change, width int) error {
	var devices []string
	for _, c := range changes {
		if !slices.Contains(devices, c.Device) {
			devices = append(devices, c.Device)
		}
	}
	rows := slices.Clone(changes)
	for _, d := range devices {
		of := slices.DeleteFunc(slices.Clone(changes), func(c Change) bool { return c.Device != d })
		if mean, n := Geomean(of); n > 0 {
			rows = append(rows, Change{Problem: "geomean", Device: d, Ratio: mean, Verdict: summary(of)})
		}
	}
	if format == "json" {
		return JSONLines(w, rows)
	}
	t := Table{
		Head:  []string{"problem", "device", "algorithm", "clock", "before ms", "after ms", "× faster", "change"},
		Right: []bool{false, false, false, false, true, true, true, false}, Width: width,
	}
	for i, c := range rows {
		if i == len(changes) {
			t.Rows = append(t.Rows, nil)
		}
		change := string(c.Verdict)
		if c.Reason != "" {
			change += ": " + c.Reason
		}
		t.Rows = append(t.Rows, []string{title(&Record{Problem: c.Problem}), c.Device, c.Algorithm, c.Clock,
			median(c.Before), median(c.After), ratio(c.Ratio), change})
	}
	return t.Write(w, format)
}

func ratio(v float64) string {
	if v == 0 {
		return "–"
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// summary counts verdicts.
func summary(changes []Change) Verdict {
	text := ""
	for _, v := range []Verdict{Faster, Slower, Same, Broken, Mended, Untimed, OnlyBefore, OnlyAfter} {
		n := 0
		for _, c := range changes {
			if c.Verdict == v {
				n++
			}
		}
		if n > 0 {
			if text != "" {
				text += ", "
			}
			text += fmt.Sprintf("%d %s", n, v)
		}
	}
	return Verdict(text)
}
