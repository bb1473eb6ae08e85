package report

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// ErrFormat is returned for a format that Write does not know.
var ErrFormat = errors.New("unknown output format; use table, json, csv or markdown")

// Formats lists what Write knows.
var Formats = []string{"table", "json", "csv", "markdown"}

// Column is one column of a table for people.
type Column struct {
	Title string
	Right bool // numbers
	Value func(*Record) string
}

// BenchColumns are the columns of a benchmark, VerifyColumns those of a check.
var (
	BenchColumns = []Column{
		{"problem", false, func(r *Record) string { return title(r) }},
		{"device", false, (*Record).Where},
		{"algorithm", false, func(r *Record) string { return r.Algorithm }},
		{"device ms", true, func(r *Record) string { return median(r.DeviceMS) }},
		{"wall ms", true, func(r *Record) string { return median(r.WallMS) }},
		{"e2e ms", true, func(r *Record) string { return median(r.E2EMS) }},
		{"first ms", true, func(r *Record) string { return number(r.FirstMS) }},
		{"GFLOP/s", true, func(r *Record) string { return number(r.GFLOPS) }},
		{"GB/s", true, func(r *Record) string { return number(r.GBPS) }},
		{"of peak", true, share},
		{"× cpu", true, func(r *Record) string { return optional(r.Speedup) }},
		{"check", false, verdict},
	}
	// ChosenColumns are those of a benchmark in which a device is chosen for each problem.
	ChosenColumns = []Column{
		{"problem", false, func(r *Record) string { return title(r) }},
		{"device", false, (*Record).Where},
		{"algorithm", false, func(r *Record) string { return r.Algorithm }},
		{"wall ms", true, func(r *Record) string { return median(r.WallMS) }},
		{"× best", true, func(r *Record) string { return optional(r.VsBest) }},
		{"e2e ms", true, func(r *Record) string { return median(r.E2EMS) }},
		{"× best e2e", true, func(r *Record) string { return optional(r.VsBestE2E) }},
		{"first ms", true, func(r *Record) string { return number(r.FirstMS) }},
		{"GFLOP/s", true, func(r *Record) string { return number(r.GFLOPS) }},
		{"× cpu", true, func(r *Record) string { return optional(r.Speedup) }},
		{"check", false, verdict},
	}
	// KernelColumns are those of a benchmark that compares kernels.
	KernelColumns = []Column{
		{"problem", false, func(r *Record) string { return title(r) }},
		{"device", false, (*Record).Where},
		{"algorithm", false, func(r *Record) string { return r.Algorithm }},
		{"kernels", false, func(r *Record) string { return cmp.Or(r.KernelsFrom, "built-in") }},
		{"device ms", true, func(r *Record) string { return median(r.DeviceMS) }},
		{"wall ms", true, func(r *Record) string { return median(r.WallMS) }},
		{"GFLOP/s", true, func(r *Record) string { return number(r.GFLOPS) }},
		{"of peak", true, share},
		{"× built-in", true, func(r *Record) string { return optional(r.VsBuiltIn) }},
		{"check", false, verdict},
	}
	VerifyColumns = []Column{
		{"problem", false, func(r *Record) string { return r.Problem }},
		{"device", false, (*Record).Where},
		{"algorithm", false, func(r *Record) string { return r.Algorithm }},
		{"checked", true, func(r *Record) string { return strconv.FormatInt(r.Checked, 10) }},
		{"max error", true, func(r *Record) string { return strconv.FormatFloat(r.MaxAbsErr, 'g', 3, 64) }},
		{"of bound", true, func(r *Record) string { return strconv.FormatFloat(100*r.BoundUsed, 'f', 1, 64) + " %" }},
		{"check", false, verdict},
	}
)

// Where is the device, and which one it chose.
func (r *Record) Where() string {
	s := r.Device
	if r.Chosen != "" {
		s += " → " + r.Chosen
	}
	if r.ChosenE2E != "" {
		s += ", e2e " + r.ChosenE2E
	}
	return s
}

// title is the problem's name if it has one.
func title(r *Record) string {
	if _, name, ok := strings.Cut(r.Problem, `n"`); ok {
		return strings.TrimSuffix(name, `"`)
	}
	return r.Problem
}

func median(t *Times) string {
	if t == nil {
		return "–"
	}
	return number(t.Median)
}

func optional(v *float64) string {
	if v == nil {
		return "–"
	}
	return number(*v)
}

// share is what the problem is nearest to: the device's peak of multiply-adds, or that of its memory.
func share(r *Record) string {
	fma, copied := r.PeakPct, r.PeakBWPct
	switch {
	case fma != nil && (copied == nil || *fma >= *copied):
		return percent(*fma) + " FMA"
	case copied != nil:
		return percent(*copied) + " copy"
	}
	return "–"
}

func percent(v float64) string {
	digits := 0
	if v < 9.95 {
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + " %"
}

// number has three significant digits or more, of numbers from a millionth.
func number(v float64) string {
	switch {
	case v == 0:
		return "–"
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	digits := 3
	for x := v; x < 0.1 && digits < 8; x *= 10 {
		digits++
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

func verdict(r *Record) string {
	if r.Status == Passed {
		s := r.Check + " ok"
		if r.Tiles > 1 {
			s += fmt.Sprintf(", in %d tiles", r.Tiles)
		}
		if r.Fallback != nil {
			s += ", fell back"
		}
		return s
	}
	return string(r.Status) + ": " + r.Reason
}

// Options of Write.
type Options struct {
	Columns []Column // of table and markdown
	Colour  bool
	Width   int // of the terminal; 0 does not limit
}

// JSONLines writes one JSON object a line.
func JSONLines[T any](w io.Writer, rows []T) error {
	enc := json.NewEncoder(w)
	for _, r := range rows {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// Write writes the records in one of Formats.
func Write(w io.Writer, format string, records []Record, o Options) error {
	switch format {
	case "json":
		return JSONLines(w, records)
	case "csv":
		return writeCSV(w, records)
	case "table", "markdown":
		if len(records) == 0 {
			return nil
		}
		_, err := fmt.Fprintln(w, render(format, records, o))
		return err
	}
	return fmt.Errorf("%w (not %q)", ErrFormat, format)
}

// render makes a table of records. Where a problem has several, its name stands once and a line follows the last.
func render(format string, records []Record, o Options) string {
	t := Table{Width: o.Width}
	for _, c := range o.Columns {
		t.Head, t.Right = append(t.Head, c.Title), append(t.Right, c.Right)
	}
	again := func(i int) bool { return i > 0 && records[i-1].Problem == records[i].Problem }
	grouped := false
	for i := range records {
		grouped = grouped || again(i)
	}
	for i := range records {
		r := &records[i]
		if grouped && i > 0 && !again(i) {
			t.Rows = append(t.Rows, nil)
		}
		var row []string
		for _, c := range o.Columns {
			v := c.Value(r)
			if c.Title == "problem" && again(i) && format == "table" {
				v = ""
			}
			if o.Colour && c.Title == "check" {
				v = colour(r.Status).Sprint(v)
			}
			row = append(row, v)
		}
		t.Rows = append(t.Rows, row)
	}
	return t.Render(format)
}

// Table is a table for people.
type Table struct {
	Head  []string
	Right []bool     // columns of numbers
	Rows  [][]string // nil draws a line
	Width int        // of the terminal; 0 does not limit
}

// Render draws the table, as Markdown if format says so.
func (t Table) Render(format string) string {
	w := table.NewWriter()
	w.SetStyle(table.StyleLight)
	w.Style().Format.Header = text.FormatDefault
	w.Style().Options.SeparateColumns = false
	w.Style().Options.DrawBorder = false
	w.Style().Size.WidthMax = t.Width
	row := func(cells []string) table.Row {
		r := make(table.Row, len(cells))
		for i, c := range cells {
			r[i] = c
		}
		return r
	}
	w.AppendHeader(row(t.Head))
	var configs []table.ColumnConfig
	for i, right := range t.Right {
		if right {
			configs = append(configs, table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
		}
	}
	w.SetColumnConfigs(configs)
	for _, r := range t.Rows {
		switch {
		case r != nil:
			w.AppendRow(row(r))
		case format != "markdown":
			w.AppendSeparator()
		}
	}
	if format == "markdown" {
		return w.RenderMarkdown()
	}
	return w.Render()
}

func colour(s Status) text.Colors {
	switch s {
	case Passed:
		return text.Colors{text.FgGreen}
	case Failed:
		return text.Colors{text.FgRed, text.Bold}
	}
	return text.Colors{text.FgYellow}
}

// writeCSV writes the fields of the JSON record, times flattened.
func writeCSV(w io.Writer, records []Record) error {
	out := csv.NewWriter(w)
	head := []string{"problem", "op", "dir", "dt", "device", "chosen", "chosen_e2e", "why", "device_name", "api", "driver", "algorithm", "tile", "own", "tiles", "tiles_why", "arithmetic",
		"workspace_bytes", "kernels", "kernels_from", "runs", "device_ms_min", "device_ms_median", "device_ms_p95", "wall_ms_min", "wall_ms_median",
		"wall_ms_p95", "e2e_ms_min", "e2e_ms_median", "e2e_ms_p95", "first_ms", "gflops", "gbps", "peak_pct", "peak_bw_pct", "verified",
		"check", "checked", "elements", "max_abs_err", "max_ulp", "bound_used", "speedup", "vs_best", "vs_best_e2e", "vs_builtin", "fallback", "status", "reason", "repro",
		"ulp_histogram", "worst", "verdict"}
	rows := [][]string{head}
	f := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	ptr := func(v *float64) string {
		if v == nil {
			return ""
		}
		return f(*v)
	}
	for i := range records {
		r := &records[i]
		tiles := ""
		if r.Tiles > 0 {
			tiles = strconv.Itoa(r.Tiles)
		}
		row := []string{r.Problem, r.Op, r.Dir, r.Type, r.Device, r.Chosen, r.ChosenE2E, r.Why, r.DeviceName, r.API, r.Driver, r.Algorithm, r.Tile, strconv.FormatBool(r.Own), tiles, r.TilesWhy, r.Arithmetic,
			strconv.FormatInt(r.WorkspaceBytes, 10), r.Kernels, r.KernelsFrom, strconv.Itoa(r.Runs)}
		for _, t := range []*Times{r.DeviceMS, r.WallMS, r.E2EMS} {
			if t == nil {
				row = append(row, "", "", "")
			} else {
				row = append(row, f(t.Min), f(t.Median), f(t.P95))
			}
		}
		fallback := ""
		if r.Fallback != nil {
			fallback = *r.Fallback
		}
		worst := ""
		if r.Worst != nil {
			text, err := json.Marshal(r.Worst)
			if err != nil {
				return err
			}
			worst = string(text)
		}
		rows = append(rows, append(row, f(r.FirstMS), f(r.GFLOPS), f(r.GBPS), ptr(r.PeakPct), ptr(r.PeakBWPct), strconv.FormatBool(r.Verified),
			r.Check, strconv.FormatInt(r.Checked, 10), strconv.FormatInt(r.Elements, 10), f(r.MaxAbsErr), f(r.MaxULP),
			f(r.BoundUsed), ptr(r.Speedup), ptr(r.VsBest), ptr(r.VsBestE2E), ptr(r.VsBuiltIn), fallback, string(r.Status), r.Reason, r.Repro,
			strings.Trim(fmt.Sprint(r.ULPs), "[]"), worst, r.Verdict))
	}
	return out.WriteAll(rows)
}

// Write writes the table as csv, markdown or, for any other format, for people.
func (t Table) Write(w io.Writer, format string) error {
	if format == "csv" {
		return t.CSV(w)
	}
	_, err := fmt.Fprintln(w, t.Render(format))
	return err
}

// CSV writes the table as comma-separated values.
func (t Table) CSV(w io.Writer) error {
	out := csv.NewWriter(w)
	rows := [][]string{t.Head}
	for _, r := range t.Rows {
		if r != nil {
			rows = append(rows, r)
		}
	}
	return out.WriteAll(rows)
}
