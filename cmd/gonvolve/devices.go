package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/peak"
	"github.com/gonvolve/gonvolve/engine/report"
)

// deviceRow is one line of `gonvolve devices`.
type deviceRow struct {
	Spec        string            `json:"spec"`
	Name        string            `json:"name,omitempty"`
	Type        string            `json:"type,omitempty"`
	API         string            `json:"api,omitempty"`
	Driver      string            `json:"driver,omitempty"`
	MemoryBytes int64             `json:"memory_bytes,omitempty"`
	TensorBytes int64             `json:"max_tensor_bytes,omitempty"`
	Units       int               `json:"compute_units,omitempty"`
	Limits      map[string]string `json:"limits,omitempty"`
	SelfTest    []driver.Check    `json:"self_test,omitempty"`
	Peaks       *driver.Peaks     `json:"peaks,omitempty"`  // if they were measured: bench does so
	Reason      string            `json:"reason,omitempty"` // why there is no device, or why it cannot be opened
	facts       []driver.Fact
}

func newDevicesCommand() *cobra.Command {
	var details, validate, peaks bool
	cmd := &cobra.Command{
		Use:   "devices",
		Short: "List every device of every driver, and why a driver has none",
		Long: `List every device of every driver, and why a driver has none.

Each device is opened and proves itself: a self-test of what kernels rely on,
kept with the driver's version. What it found wrong, and works around, is shown.`,
		Example: `  gonvolve devices
  gonvolve devices --details
  gonvolve devices --peaks
  gonvolve devices --format json`,
		Args: cobra.NoArgs,
	}
	out := outputFlags(cmd)
	cmd.Flags().BoolVar(&details, "details", false, "also limits, features, measured peaks and each finding of the self-test")
	cmd.Flags().BoolVar(&validate, "validate", false, "run the self-test under the API's validation layer (Vulkan)")
	cmd.Flags().BoolVar(&peaks, "peaks", false, "measure the peaks now, about a second a device; implies --details")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		details = details || peaks
		if err := out.check(); err != nil {
			return err
		}
		var rows []deviceRow
		for _, l := range engine.Devices() {
			rows = append(rows, describe(cmd, l, validate, peaks))
		}
		for _, name := range []string{"vulkan", "opencl"} {
			if !slices.Contains(engine.Drivers(), name) {
				rows = append(rows, deviceRow{Spec: name, Reason: "not in this binary: it was built without cgo or with -tags no" + name})
			}
		}
		return out.write(cmd, func(w io.Writer, width int, _ bool) error {
			return printDevices(w, out.format, rows, details, width)
		})
	}
	return cmd
}

// describe opens a device for its self-test and, if they are to be measured, its peaks.
func describe(cmd *cobra.Command, l engine.Listing, validate, peaks bool) deviceRow {
	row := deviceRow{Spec: l.Spec}
	if l.Err != nil {
		row.Reason = l.Err.Error()
		return row
	}
	fill := func(i driver.Info) {
		row.Name, row.Type, row.API, row.Driver = i.Name, string(i.Type), i.API, i.Driver
		row.MemoryBytes, row.TensorBytes, row.Units, row.facts = i.MemoryBytes, i.MaxTensorBytes, i.ComputeUnits, i.Limits
		row.Limits = map[string]string{}
		for _, f := range i.Limits {
			row.Limits[f.Name] = f.Value
		}
	}
	fill(l.Info)
	// With validation nothing is taken from the cache, so that the self-test really runs.
	d, err := engine.Open(cmd.Context(), l.Spec, engine.NoFallback(), engine.WithDriverOptions(driver.Options{Validate: validate, NoCache: validate}))
	if err != nil {
		row.Reason = err.Error()
		return row
	}
	fill(d.Info())
	if s, ok := d.Driver().(driver.SelfTester); ok {
		row.SelfTest = s.SelfTest()
	}
	if peaks {
		if _, err := peak.Measure(cmd.Context(), d.Driver()); err != nil {
			row.Reason = err.Error()
		}
	}
	if p, ok := peak.Known(d.Info()); ok {
		row.Peaks = &p
	}
	if err := d.Close(); err != nil {
		row.Reason = err.Error()
	}
	return row
}

// rates lists the peaks that were measured.
func rates(p *driver.Peaks) string {
	text := fmt.Sprintf("%.4g GFLOP/s by multiply-adds", p.GFLOPS)
	if p.HalfGFLOPS > 0 {
		text += fmt.Sprintf(", %.4g by those of f16", p.HalfGFLOPS)
	}
	if p.MatrixGFLOPS > 0 {
		text += fmt.Sprintf(", %.4g by matrices of f16", p.MatrixGFLOPS)
	}
	return text + fmt.Sprintf(", %.3g GB/s by copies", p.GBPS)
}

// selfTest sums the findings up.
func selfTest(checks []driver.Check) string {
	var wrong []string
	for _, c := range checks {
		if !c.Passed {
			wrong = append(wrong, c.Name+": "+c.Detail)
		}
	}
	switch {
	case len(checks) == 0:
		return "–"
	case len(wrong) == 0:
		return fmt.Sprintf("ok (%d checks)", len(checks))
	}
	return strings.Join(wrong, "; ")
}

func printDevices(w io.Writer, format string, rows []deviceRow, details bool, width int) error {
	if format == "json" {
		return report.JSONLines(w, rows)
	}
	t := report.Table{
		Head:  []string{"device", "name", "type", "API", "driver", "memory", "largest tensor", "units", "self-test"},
		Right: []bool{false, false, false, false, false, true, true, true, false}, Width: width,
	}
	for _, r := range rows {
		state := selfTest(r.SelfTest)
		if r.Reason != "" {
			state = "none: " + r.Reason
		}
		t.Rows = append(t.Rows, []string{r.Spec, r.Name, r.Type, r.API, r.Driver, bytes(r.MemoryBytes), bytes(r.TensorBytes), units(r.Units), state})
	}
	if format == "csv" {
		return t.CSV(w)
	}
	if _, err := fmt.Fprintln(w, t.Render(format)); err != nil || !details {
		return err
	}
	for _, r := range rows {
		if r.Name == "" {
			continue
		}
		d := report.Table{Head: []string{r.Spec, ""}, Width: width}
		for _, f := range r.facts {
			d.Rows = append(d.Rows, []string{f.Name, f.Value})
		}
		if r.Peaks != nil {
			d.Rows = append(d.Rows, []string{"measured peaks", rates(r.Peaks)})
		}
		for _, c := range r.SelfTest {
			mark := "✓ "
			if !c.Passed {
				mark = "✗ "
			}
			d.Rows = append(d.Rows, []string{"self-test: " + c.Name, mark + c.Detail})
		}
		if _, err := fmt.Fprintf(w, "\n%s\n", d.Render(format)); err != nil {
			return err
		}
	}
	return nil
}

func bytes(n int64) string {
	switch {
	case n == 0:
		return ""
	case n >= 1<<30:
		return strconv.FormatFloat(float64(n)/(1<<30), 'f', 1, 64) + " GiB"
	}
	return strconv.FormatInt(n>>20, 10) + " MiB"
}

func units(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
