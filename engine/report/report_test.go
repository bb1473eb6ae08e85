package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// promised are the JSON names that consumers rely on, in order; times are objects.
var promised = []string{"problem", "op", "dir", "dt", "device", "device_name", "api", "driver", "algorithm", "tile",
	"workspace_bytes", "runs", "device_ms", "wall_ms", "e2e_ms", "first_ms", "gflops", "gbps", "peak_pct", "verified",
	"check", "max_abs_err", "max_ulp", "bound_used", "fallback", "status", "reason", "repro"}

func records() []Record {
	speed, peak, fell := 2.5, 40.0, "conv runs on cpu instead of vulkan:0: unsupported"
	return []Record{
		{Problem: `mb1ic3ih8oc4oh8kh3ph1n"net:conv1"`, Op: "conv", Dir: "FWD", Type: "f32", Device: "cpu", DeviceName: `A "fast", one`, API: "Go",
			Algorithm: "gemm", Runs: 3, WallMS: &Times{1, 2, 3}, E2EMS: &Times{2, 3, 4}, FirstMS: 5, GFLOPS: 123.4, GBPS: 0.0123,
			Verified: true, Check: "exact", Checked: 256, Elements: 256, Speedup: &speed, PeakPct: &peak, Status: Passed, Repro: "gonvolve verify 'x'",
			ULPs: []int64{255, 0, 1}, Worst: &Worst{Output: "dst", At: []int{0, 1}, Got: "NaN", Want: "2", Terms: 3, Magnitude: 4}},
		{Problem: `mb1ic3ih8oc4oh8kh3ph1n"net:conv1"`, Device: "vulkan:0", Status: Passed, Check: "bounded", Fallback: &fell},
		{Problem: "pool:max:mb1ic3ih8oh4kh2", Op: "pool", Device: "opencl:0", Status: Failed, Reason: "3 of 48 | wrong,\nworst <here>", MaxAbsErr: 1.5, BoundUsed: 12},
		{Problem: "pool:max:mb1ic3ih8oh4kh2", Device: "vulkan:0", Status: Unsupported, Reason: "no such limit"},
	}
}

func write(t *testing.T, format string, r []Record, o Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, format, r, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// names lists the keys of one JSON object in their order.
func names(t *testing.T, object string) (keys []string, nested map[string][]string) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(object))
	nested = map[string][]string{}
	depth, key, isKey := 0, "", true
	for {
		tok, err := d.Token()
		if err != nil {
			return keys, nested
		}
		switch v := tok.(type) {
		case json.Delim:
			if v == '{' {
				depth++
			} else {
				depth--
			}
			isKey = true
			continue
		case string:
			if isKey {
				if depth == 1 {
					key = v
					keys = append(keys, v)
				} else {
					nested[key] = append(nested[key], v)
				}
				isKey = false
				continue
			}
		}
		isKey = true
	}
}

func TestJSON(t *testing.T) {
	out := write(t, "json", records(), Options{})
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(lines) != len(records()) {
		t.Fatalf("%d lines of %d records", len(lines), len(records()))
	}
	for i, line := range lines {
		keys, nested := names(t, line)
		kept := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return !slices.Contains(promised, k) })
		if !slices.Equal(kept, promised) {
			t.Errorf("line %d has the names %v", i, keys)
		}
		if i == 0 {
			for _, k := range []string{"wall_ms", "e2e_ms"} {
				if !slices.Equal(nested[k], []string{"min", "median", "p95"}) {
					t.Errorf("%s has the names %v", k, nested[k])
				}
			}
		}
		var back Record
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&back); err != nil || !reflect.DeepEqual(back, records()[i]) {
			t.Errorf("line %d comes back as %+v, %v", i, back, err)
		}
	}
	for _, null := range []string{`"fallback":null`, `"device_ms":null`} {
		if !strings.Contains(lines[0], null) {
			t.Errorf("%s is missing in %s", null, lines[0])
		}
	}
	if out := write(t, "json", nil, Options{}); out != "" {
		t.Errorf("no records make %q", out)
	}
}

// The columns of CSV are the fields of JSON, times flattened.
func TestCSV(t *testing.T) {
	rows, err := csv.NewReader(strings.NewReader(write(t, "csv", records(), Options{}))).ReadAll() // fails on uneven rows
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1+len(records()) {
		t.Fatalf("%d rows of %d records", len(rows), len(records()))
	}
	var want []string
	for f := range reflect.TypeFor[Record]().Fields() {
		if !f.IsExported() {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Type == reflect.TypeFor[*Times]() {
			want = append(want, name+"_min", name+"_median", name+"_p95")
		} else {
			want = append(want, name)
		}
	}
	if !slices.Equal(rows[0], want) {
		t.Errorf("the header is %v, not %v", rows[0], want)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	for name, value := range map[string]string{"device_name": `A "fast", one`, "wall_ms_median": "2", "e2e_ms_p95": "4", "device_ms_min": "",
		"first_ms": "5", "gflops": "123.4", "peak_pct": "40", "speedup": "2.5", "verified": "true", "checked": "256", "status": "passed", "repro": "gonvolve verify 'x'"} {
		if got := rows[1][column[name]]; got != value {
			t.Errorf("%s is %q, not %q", name, got, value)
		}
	}
	if rows[1][column["worst"]] != `{"output":"dst","at":[0,1],"got":"NaN","want":"2","bound":0,"terms":3,"magnitude":4,"sum":null}` ||
		rows[1][column["ulp_histogram"]] != "255 0 1" || rows[2][column["worst"]] != "" {
		t.Errorf("%q, %q and without %q", rows[1][column["worst"]], rows[1][column["ulp_histogram"]], rows[2][column["worst"]])
	}
	if got := rows[3][column["reason"]]; got != records()[2].Reason {
		t.Errorf("reason is %q", got)
	}
	if got := rows[2][column["fallback"]]; got != *records()[1].Fallback {
		t.Errorf("fallback is %q", got)
	}
}

func TestTableAndMarkdown(t *testing.T) {
	for _, columns := range [][]Column{BenchColumns, VerifyColumns} {
		for _, format := range []string{"table", "markdown"} {
			out := write(t, format, records(), Options{Columns: columns})
			for _, c := range columns {
				if !strings.Contains(out, c.Title) {
					t.Errorf("%s has no column %s:\n%s", format, c.Title, out)
				}
			}
			for _, want := range []string{"net:conv1", "exact ok", "bounded ok, fell back", "failed: 3 of 48", "unsupported: no such limit", "opencl:0"} {
				if !strings.Contains(out, want) {
					t.Errorf("%s lacks %q:\n%s", format, want, out)
				}
			}
			if strings.Contains(out, "\x1b[") {
				t.Errorf("%s has colours that nobody asked for", format)
			}
			if format == "markdown" {
				for line := range strings.SplitSeq(strings.TrimSuffix(out, "\n"), "\n") {
					if cells := strings.Count(line, "|") - strings.Count(line, `\|`); cells != len(columns)+1 {
						t.Errorf("%d bars for %d columns: %s", cells, len(columns), line)
					}
				}
			}
			if out := write(t, format, nil, Options{Columns: columns}); out != "" {
				t.Errorf("no records make %q", out)
			}
		}
	}
	if out := write(t, "table", records()[:1], Options{Columns: BenchColumns}); strings.Contains(out, "mb1ic3") {
		t.Errorf("a named problem is shown by its sizes:\n%s", out)
	}
	narrow := write(t, "table", records(), Options{Columns: BenchColumns, Width: 40})
	for line := range strings.SplitSeq(narrow, "\n") {
		if n := len([]rune(line)); n > 40 {
			t.Errorf("%d characters on a terminal of 40: %s", n, line)
		}
	}
	var b bytes.Buffer
	if err := Write(&b, "xml", records(), Options{}); !errors.Is(err, ErrFormat) || b.Len() != 0 {
		t.Errorf("unknown format: %v", err)
	}
	for _, f := range Formats {
		if err := Write(&failing{}, f, records(), Options{Columns: BenchColumns}); err == nil {
			t.Errorf("%s hides that it could not be written", f)
		}
	}
}

type failing struct{}

func (*failing) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestTableCSV(t *testing.T) {
	var b bytes.Buffer
	if err := (Table{Head: []string{"a", "b"}, Rows: [][]string{{"1", "x,y"}, nil, {"2", "z"}}}).CSV(&b); err != nil {
		t.Fatal(err)
	}
	if want := "a,b\n1,\"x,y\"\n2,z\n"; b.String() != want {
		t.Errorf("%q, not %q", b.String(), want)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "–", 1234.5: "1234", 45.67: "45.7", 4.567: "4.57", 0.4567: "0.457", 0.04567: "0.0457", 0.000123: "0.000123"} {
		if got := number(v); got != want {
			t.Errorf("%v is written %s, not %s", v, got, want)
		}
	}
}

func TestSummarise(t *testing.T) {
	ms := func(v ...int) (d []time.Duration) {
		for _, x := range v {
			d = append(d, time.Duration(x)*time.Millisecond)
		}
		return d
	}
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = 100 - i
	}
	for _, c := range []struct {
		in   []time.Duration
		want Times
	}{
		{ms(7), Times{7, 7, 7}},
		{ms(4, 2), Times{2, 3, 4}},
		{ms(9, 1, 5), Times{1, 5, 9}},
		{ms(4, 1, 3, 2), Times{1, 2.5, 4}},
		{ms(hundred...), Times{1, 50.5, 95}},
		{ms(hundred[80:]...), Times{1, 10.5, 19}},
	} {
		before := slices.Clone(c.in)
		if got := Summarise(c.in); *got != c.want {
			t.Errorf("%v: %+v, not %+v", c.in, *got, c.want)
		}
		if !slices.Equal(before, c.in) {
			t.Error("the durations were sorted in place")
		}
	}
	if Summarise(nil) != nil {
		t.Error("no durations have a summary")
	}
}

func TestSpeedups(t *testing.T) {
	at := func(p, dev string, median float64, s Status) Record {
		return Record{Problem: p, Device: dev, WallMS: &Times{Median: median}, Status: s}
	}
	r := []Record{
		at("a", "cpu", 10, Passed), at("a", "cpu", 8, Passed), at("a", "vulkan:0", 2, Passed), at("a", "opencl:0", 16, Passed),
		at("a", "vulkan:1", 1, Failed), {Problem: "a", Device: "vulkan:2", Status: Passed},
		at("b", "vulkan:0", 2, Passed), at("c", "cpu", 1, Failed), at("c", "vulkan:0", 1, Passed),
	}
	Speedups(r)
	var got []string
	for _, x := range r {
		s := "none"
		if x.Speedup != nil {
			s = fmt.Sprint(*x.Speedup)
		}
		got = append(got, s)
	}
	// Against the cpu's fastest algorithm; neither wrong results nor a wrong base make a speedup.
	if want := []string{"0.8", "1", "4", "0.5", "none", "none", "none", "none", "none"}; !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
}

func TestShares(t *testing.T) {
	peaks := driver.Peaks{GFLOPS: 200, GBPS: 10}
	for text, want := range map[string]string{
		"mb1ic4ih8oc4oh8kh3ph1":           "25 % FMA",
		"BWD_D:mb1ic4ih8oc4oh8kh3ph1":     "25 % FMA",
		"BWD_B:mb1ic4ih8oc4oh8kh3ph1":     "20 % copy",
		"pool:max:mb1ic4ih8oh4kh2sh2":     "20 % copy",
		"u8-s8-s32:mb1ic4ih8oc4oh8kh3ph1": "20 % copy",
	} {
		p, err := problem.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		r := Record{GFLOPS: 50, GBPS: 2}
		r.Shares(&p, peaks)
		if got := share(&r); got != want || r.PeakBWPct == nil || *r.PeakBWPct != 20 {
			t.Errorf("%s: %s, not %s", text, got, want)
		}
		r.Shares(&p, driver.Peaks{})
		if r.PeakPct != nil || r.PeakBWPct != nil || share(&r) != "–" {
			t.Errorf("%s: shares of nothing: %+v", text, r)
		}
	}
}

// A share of multiply-adds is of the algorithm's own operations, and never more than all of them. Transforms take 228+130
// operations a channel and tile of Winograd's, 2606+2310 of 16×16 cells.
func TestOwnShares(t *testing.T) {
	winograd := driver.Arithmetic{Winograd: 4}
	for _, c := range []struct {
		text   string
		gflops float64
		how    driver.Arithmetic
		want   string
		surely float64
	}{
		{"mb1ic4ih8oc4oh8kh3ph1", 99, driver.Arithmetic{}, "99 % FMA", 99 * (22. / 24) * (22. / 24)},
		{"mb1ic4ih8oc4oh8kh3ph1", 110, driver.Arithmetic{}, "92 % FMA", 110 * (22. / 24) * (22. / 24)},                         // without the padding
		{"mb1ic4ih8oc4oh8kh3ph1", 200, driver.Arithmetic{}, "2.0 % copy", 200 * (22. / 24) * (22. / 24)},                       // cannot be
		{"mb1ic64ih8oc64oh8kh3ph1", 200, winograd, "54 % FMA", 50 * (22. / 24) * (22. / 24)},                                   // 6·6 instead of 4·4·9
		{"mb1ic64ih9oc64oh9kh3ph1", 90, winograd, "43 % FMA", 90 * (18. / 27) * (18. / 27) * (25. / 27) * (25. / 27)},          // tiles overhang
		{"mb1ic64ih24oc64oh24kh5ph2", 500, driver.Arithmetic{FFT: 16}, "76 % FMA", 500 * 512 * 4 / (120. * 120) * 0.95 * 0.95}, // 2·2 tiles
		{"f16:mb1ic4ih8oc4oh8kh3ph1", 500, driver.Arithmetic{}, "2.0 % copy", 0},
		{"f16:mb1ic4ih8oc4oh8kh3ph1", 180, driver.Arithmetic{Half: 8}, "90 % FMA", 180 * (22. / 24) * (22. / 24)},
		{"f16:mb1ic4ih8oc4oh8kh3ph1", 180, driver.Arithmetic{Truncates: true}, "2.0 % copy", 180 * (22. / 24) * (22. / 24)}, // no peak
		{"pool:max:mb1ic4ih8oh4kh2sh2", 50, driver.Arithmetic{}, "2.0 % copy", 0},
	} {
		p, err := problem.Parse(c.text)
		if err != nil {
			t.Fatal(err)
		}
		r := Record{GFLOPS: c.gflops, GBPS: 2, Verified: true, how: c.how}
		r.Shares(&p, driver.Peaks{GFLOPS: 100, HalfGFLOPS: 200, GBPS: 100})
		if got := share(&r); got != c.want {
			t.Errorf("%s at %v: %s, not %s", c.text, c.gflops, got, c.want)
		}
		if got := r.Surely(&p); got < c.surely*0.999 || got > c.surely*1.001 {
			t.Errorf("%s at %v: surely %v, not %v", c.text, c.gflops, got, c.surely)
		}
	}
}

func TestRecord(t *testing.T) {
	dev, err := engine.Open(t.Context(), "cpu")
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	p, err := problem.Parse("mb1ic64ih56oc32oh56kh3ph1")
	if err != nil {
		t.Fatal(err)
	}
	r := New(&p, dev)
	if r.Device != "cpu" || r.Op != "conv" || r.Dir != "FWD" || r.Type != "f32" || r.Elements != 32*56*56 || r.Problem != p.String() || r.API != "Go" {
		t.Errorf("%+v", r)
	}
	pl, err := dev.Plan(t.Context(), p, driver.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer pl.Close()
	r.Planned(pl)
	if r.Algorithm != pl.Info().Algorithm || r.WorkspaceBytes != pl.Info().WorkspaceBytes || r.Fallback != nil {
		t.Errorf("%+v", r)
	}
	r.Rate(&p)
	if r.GFLOPS != 0 {
		t.Errorf("%v GFLOP/s without times", r.GFLOPS)
	}
	// 2·32·56·56·64·9 operations in 2 ms; the device's clock comes first.
	const ops = 2 * 32 * 56 * 56 * 64 * 9
	r.WallMS = &Times{Median: 2}
	if r.Rate(&p); r.GFLOPS != p.FLOPs()/2*1e-6 || p.FLOPs() != ops {
		t.Errorf("%v GFLOP/s", r.GFLOPS)
	}
	r.DeviceMS = &Times{Median: 1}
	if r.Rate(&p); r.GFLOPS != ops*1e-6 || r.GBPS != float64(p.Bytes())*1e-6 {
		t.Errorf("%v GFLOP/s, %v GB/s", r.GFLOPS, r.GBPS)
	}
	r.Verified = true
	if r.Fail(fmt.Errorf("x: %w", driver.ErrUnsupported)); r.Status != Unsupported || r.Verified || !strings.Contains(r.Reason, "x") {
		t.Errorf("%+v", r)
	}
	if r.Fail(driver.ErrDeviceLost); r.Status != Failed {
		t.Errorf("%+v", r)
	}
}

func TestAgainstBest(t *testing.T) {
	times := func(v float64) *Times { return &Times{v, v, v} }
	fast, slow := &Record{Status: Passed, WallMS: times(2), E2EMS: times(9)}, &Record{Status: Passed, WallMS: times(3), E2EMS: times(4)}
	wrong := &Record{Status: Failed, WallMS: times(1), E2EMS: times(1)}
	r := &Record{Device: "auto", Chosen: "cpu", Status: Passed, WallMS: times(2.5), E2EMS: times(3)}
	r.AgainstBest([]*Record{wrong, slow, fast})
	if *r.VsBest != 1.25 || *r.VsBestE2E != 0.75 || r.Where() != "auto → cpu" || r.On() != "cpu" {
		t.Errorf("%v, %v of the best, %s", *r.VsBest, *r.VsBestE2E, r.Where())
	}
	r = &Record{Device: "auto", Status: Passed, WallMS: times(2.5)}
	if r.AgainstBest([]*Record{wrong}); r.VsBest != nil || r.VsBestE2E != nil {
		t.Error("a ratio to nothing")
	}
}
