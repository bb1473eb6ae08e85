package cpu

import (
	"bufio"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
)

// anew has TestWinogradChoice time every problem of a table by every algorithm for so long and write the table anew: the one
// of the best instruction set, or of that which GONVOLVE_CPU names. What was less before stays, as a machine is disturbed now
// and then: a table without a past begins with no file.
var anew = flag.Duration("measure", 0, "measure testdata/winograd_ISA.tsv again, each figure for so long")

func choiceTable(isa simd.ISA) string { return fmt.Sprintf("testdata/winograd_%s.tsv", isa) }

// choiceProcessors are those that the tables are of.
const choiceProcessors = 2

// choiceWays are the table's columns.
var choiceWays = []string{"igemm", "winograd m=2", "winograd m=4", "winograd m=6"}

// choice is a row of the table.
type choice struct {
	text string
	ms   []float64 // by choiceWays
}

// choiceProblems is the grid: channels, and maps of which tiles cover the edges well or badly, of one image and of several.
func choiceProblems() (texts []string) {
	for _, c := range [][2]int{{3, 64}, {8, 8}, {16, 16}, {16, 64}, {64, 16}, {32, 32}, {64, 64}, {128, 128}, {256, 256}, {512, 512}} {
		for _, size := range []int{4, 7, 8, 13, 14, 28, 56, 112, 224} {
			elems := max(c[0], c[1]) * size * size
			if elems > 64*224*224 || c[0]*c[1]*size*size > 256*256*56*56 {
				continue
			}
			texts = append(texts, fmt.Sprintf("mb1ic%dih%doc%dkh3ph1", c[0], size, c[1]))
			if elems <= 64*28*28 {
				texts = append(texts, fmt.Sprintf("mb16ic%dih%doc%dkh3ph1", c[0], size, c[1]))
			}
		}
	}
	return texts
}

// The model's choice between the implicit product and Winograd's sizes, against what was measured: never much slower than the
// best, and not even a little on average.
func TestWinogradChoice(t *testing.T) {
	if *anew > 0 {
		measureChoices(t, *anew)
	}
	for _, isa := range simd.Supported() {
		rows := choices(t, isa)
		total, worst, worse := 0.0, 0.0, ""
		for _, row := range rows {
			p := problemtest.Parse(t, row.text)
			m, _ := bestSize(isa, &p, choiceProcessors)
			way := "winograd " + sizeText(m)
			if !worthTransforming(isa, &p, choiceProcessors) {
				way = "igemm"
			}
			lost := row.ms[slices.Index(choiceWays, way)] / slices.Min(row.ms)
			total += math.Log(lost)
			if lost > worst {
				worst, worse = lost, fmt.Sprintf("%s by %s: %v", row.text, way, row.ms)
			}
			if lost > 1.1 {
				t.Logf("%s: %s by %s takes %.2f times the best of %v", isa, row.text, way, lost, row.ms)
			}
		}
		mean := math.Exp(total / float64(len(rows)))
		t.Logf("%s: %d problems, on average %.3f times the best, at most %.2f: %s", isa, len(rows), mean, worst, worse)
		if mean > 1.05 || worst > 2 {
			t.Errorf("%s: the model's choices take %.3f times the best on average, at most %.2f: %s", isa, mean, worst, worse)
		}
	}
}

// choices reads a table.
func choices(t *testing.T, isa simd.ISA) (rows []choice) {
	f, err := os.Open(choiceTable(isa))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		line := strings.Split(s.Text(), "\t")
		if strings.HasPrefix(line[0], "#") {
			continue
		}
		row := choice{text: line[0]}
		for _, v := range line[1:] {
			ms, err := strconv.ParseFloat(v, 64)
			if err != nil || !(ms > 0) {
				t.Fatalf("%s: %q: %v", f.Name(), s.Text(), err)
			}
			row.ms = append(row.ms, ms)
		}
		if len(row.ms) != len(choiceWays) {
			t.Fatalf("%s: %q", f.Name(), s.Text())
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		t.Fatalf("%s is empty", f.Name())
	}
	return rows
}

func measureChoices(t *testing.T, each time.Duration) {
	if processors() != choiceProcessors {
		t.Fatalf("the tables are of %d processors: GOMAXPROCS=%[1]d", choiceProcessors)
	}
	d := open(t)
	before := map[string][]float64{}
	if _, err := os.Stat(choiceTable(d.isa)); err == nil {
		for _, row := range choices(t, d.isa) {
			before[row.text] = row.ms
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "# ms on %d processors of %s by %s\n# problem\t%s\n", processors(), info().Name, d.isa, strings.Join(choiceWays, "\t"))
	for _, text := range choiceProblems() {
		p := problemtest.Parse(t, text)
		if d.isa == simd.Portable && p.FLOPs() > 6e7 { // which would take minutes
			continue
		}
		out.WriteString(text)
		for i, ms := range timed(t, d, p, each) {
			if old := before[text]; old != nil {
				ms = min(ms, old[i])
			}
			fmt.Fprintf(&out, "\t%.4g", ms)
		}
		out.WriteString("\n")
	}
	if err := os.WriteFile(choiceTable(d.isa), []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// timed is the least time that a run takes by each of choiceWays, which take turns.
func timed(t *testing.T, d *Device, p problem.Problem, each time.Duration) []float64 {
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", p.String(), err)
		}
	}
	ctx := t.Context()
	s, err := d.NewStream()
	check(err)
	defer s.Close()
	r := rand.New(rand.NewPCG(1, 2))
	fill := func(roles []problem.Role) (buffers driver.Buffers) {
		for _, role := range roles {
			data := encode(driver.Operand{F32: integers(r, problem.Elems(p.Shape(role)))}, p.TypeOf(role))
			buffers[role], err = d.Alloc(int64(len(data)))
			check(err)
			check(s.Write(ctx, buffers[role], 0, data))
		}
		return buffers
	}
	buffers, constants := fill(append(p.Inputs(), p.Outputs()...)), fill(p.Constants())
	least := make([]float64, len(choiceWays))
	const turns = 3
	for range turns {
		for i, way := range choiceWays {
			pl, err := d.Plan(ctx, p, wayOf(way).Options())
			check(err)
			args := driver.Args{Buffers: buffers}
			var e driver.Event
			args.Weights, e, err = pl.Pack(ctx, s, constants)
			check(err)
			check(e.Wait(ctx))
			for begin, n := time.Now(), 0; n < 5 || time.Since(begin) < each/turns; n++ {
				start := time.Now()
				e, err := pl.Run(ctx, s, args)
				check(err)
				check(e.Wait(ctx))
				if ms := time.Since(start).Seconds() * 1e3; least[i] == 0 || ms < least[i] {
					least[i] = ms
				}
			}
			args.Weights.Free()
			check(pl.Close())
		}
	}
	for _, list := range []driver.Buffers{buffers, constants} {
		for _, b := range list {
			if b != nil {
				b.Free()
			}
		}
	}
	return least
}

// Of an empty batch there is nothing to choose by, and a choice nevertheless.
func TestWinogradChoiceOfNothing(t *testing.T) {
	p := problemtest.Parse(t, "mb0ic64ih14oc64kh3ph1")
	for _, isa := range simd.Supported() {
		if m, ns := bestSize(isa, &p, choiceProcessors); m == 0 || !(ns >= 0) {
			t.Errorf("%s: m=%d, %v ns", isa, m, ns)
		}
	}
}
