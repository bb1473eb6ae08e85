package cpu

import (
	"bufio"
	"errors"
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

// anew has the tests of choices time every problem of a table by every algorithm for so long and write the table anew: the one
// of the best instruction set, or of that which GONVOLVE_CPU names. What was less before stays, as a machine is disturbed now
// and then: a table without a past begins with no file.
var anew = flag.Duration("measure", 0, "measure the tables of choices in testdata again, each figure for so long")

// choiceProcessors are those that the tables are of.
const choiceProcessors = 2

// choiceGrid is problems whose times by several algorithms are recorded, and the model's choice between these.
type choiceGrid struct {
	name     string   // of the tables
	ways     []string // columns
	problems []string
	most     float64 // operations of a problem by plain Go: more would take minutes
	choose   func(simd.ISA, *problem.Problem) string
}

// choice is a row of the table.
type choice struct {
	text string
	ms   []float64 // by the grid's ways; +Inf: it cannot be done so
}

func (g *choiceGrid) file(isa simd.ISA) string { return fmt.Sprintf("testdata/%s_%s.tsv", g.name, isa) }

// test compares the choices with what was measured: never much slower than the best, and not even a little on average.
func (g *choiceGrid) test(t *testing.T, mostMean, mostWorst float64) {
	if *anew > 0 {
		g.measure(t, *anew)
	}
	for _, isa := range simd.Supported() {
		rows := g.read(t, isa)
		total, worst, worse := 0.0, 0.0, ""
		for _, row := range rows {
			p := problemtest.Parse(t, row.text)
			way := g.choose(isa, &p)
			lost := row.ms[slices.Index(g.ways, way)] / slices.Min(row.ms)
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
		if mean > mostMean || worst > mostWorst {
			t.Errorf("%s: the model's choices take %.3f times the best on average, at most %.2f: %s", isa, mean, worst, worse)
		}
	}
}

// read reads a table.
func (g *choiceGrid) read(t *testing.T, isa simd.ISA) (rows []choice) {
	f, err := os.Open(g.file(isa))
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
		if len(row.ms) != len(g.ways) {
			t.Fatalf("%s: %q", f.Name(), s.Text())
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		t.Fatalf("%s is empty", f.Name())
	}
	return rows
}

func (g *choiceGrid) measure(t *testing.T, each time.Duration) {
	if processors() != choiceProcessors {
		t.Fatalf("the tables are of %d processors: GOMAXPROCS=%[1]d", choiceProcessors)
	}
	d := open(t)
	before := map[string][]float64{}
	if _, err := os.Stat(g.file(d.isa)); err == nil {
		for _, row := range g.read(t, d.isa) {
			before[row.text] = row.ms
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "# ms on %d processors of %s by %s\n# problem\t%s\n", processors(), info().Name, d.isa, strings.Join(g.ways, "\t"))
	for _, text := range g.problems {
		p := problemtest.Parse(t, text)
		if d.isa == simd.Portable && p.FLOPs() > g.most {
			continue
		}
		out.WriteString(text)
		for i, ms := range timed(t, d, p, g.ways, each) {
			if old := before[text]; old != nil {
				ms = min(ms, old[i])
			}
			fmt.Fprintf(&out, "\t%.4g", ms)
		}
		out.WriteString("\n")
	}
	if err := os.WriteFile(g.file(d.isa), []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// timed is the least time that a run takes by each of some ways, which take turns; +Inf by those that there are not.
func timed(t *testing.T, d *Device, p problem.Problem, ways []string, each time.Duration) []float64 {
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
	least := make([]float64, len(ways))
	const turns = 3
	for turn := range turns {
		for i, way := range ways {
			if turn == 0 {
				least[i] = math.Inf(1)
			}
			pl, err := d.Plan(ctx, p, wayOf(way).Options())
			if errors.Is(err, driver.ErrUnsupported) {
				continue
			}
			check(err)
			if pl.Info().WeightsBytes > 4*(fftWeights+problem.Elems(p.Shape(problem.Wei))) { // which nothing chooses
				continue
			}
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
				least[i] = min(least[i], time.Since(start).Seconds()*1e3)
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
