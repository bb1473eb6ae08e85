// Package report holds the one result record that every measurement and every check fills in, and writes lists of them
// as a table, JSON (one object a line), CSV or Markdown.
package report

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

// Status says how a check or measurement ended.
type Status string

// The statuses.
const (
	Passed      Status = "passed"
	Failed      Status = "failed"      // ran, and the result is wrong
	Unsupported Status = "unsupported" // the device cannot run the problem; nothing was run elsewhere
	Skipped     Status = "skipped"     // not run (interrupted, or the device failed before), or the test itself is wrong
)

// Times summarises a list of durations, in milliseconds.
type Times struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	P95    float64 `json:"p95"`
}

// Summarise returns nil for no durations.
func Summarise(d []time.Duration) *Times {
	if len(d) == 0 {
		return nil
	}
	s := slices.Sorted(slices.Values(d))
	at := func(q float64) float64 {
		return Milliseconds(s[min(len(s)-1, int(math.Ceil(q*float64(len(s))))-1)])
	}
	median := at(0.5)
	if n := len(s); n%2 == 0 {
		median = (Milliseconds(s[n/2-1]) + Milliseconds(s[n/2])) / 2
	}
	return &Times{Min: Milliseconds(s[0]), Median: median, P95: at(0.95)}
}

// Milliseconds is d as a number.
func Milliseconds(d time.Duration) float64 { return float64(d) / 1e6 }

// Record is one result. Its JSON names are a promise to consumers: fields are added, never renamed.
type Record struct {
	Problem        string   `json:"problem"`
	Op             string   `json:"op"`
	Dir            string   `json:"dir"`
	Type           string   `json:"dt"`
	Device         string   `json:"device"`
	Chosen         string   `json:"chosen,omitempty"`     // the device that ran, where Device stands for several …
	ChosenE2E      string   `json:"chosen_e2e,omitempty"` // … and that of E2EMS, if it is another
	Why            string   `json:"why,omitempty"`        // what the choice goes by
	DeviceName     string   `json:"device_name"`
	API            string   `json:"api"`
	Driver         string   `json:"driver"`
	Algorithm      string   `json:"algorithm"`
	Tile           string   `json:"tile"`
	Own            bool     `json:"own,omitempty"`        // of several algorithms that were timed: the one that the device takes by itself
	Tiles          int      `json:"tiles,omitempty"`      // that the problem ran in, from host to host …
	TilesWhy       string   `json:"tiles_why,omitempty"`  // … because the device, or its memory limit, cannot hold it whole
	Arithmetic     string   `json:"arithmetic,omitempty"` // how sums are formed, if not of the very products in f32
	WorkspaceBytes int64    `json:"workspace_bytes"`
	Kernels        string   `json:"kernels"`      // the code that ran, each kernel with its version; "" on devices that do not say
	KernelsFrom    string   `json:"kernels_from"` // the folder of changed kernels, "" for the built-in ones
	Runs           int      `json:"runs"`
	DeviceMS       *Times   `json:"device_ms"`   // kernels only, by the device's clock
	WallMS         *Times   `json:"wall_ms"`     // submit to finish, data resident
	E2EMS          *Times   `json:"e2e_ms"`      // host tensor to host tensor
	FirstMS        float64  `json:"first_ms"`    // plan, weights and first run, this process's caches cold
	GFLOPS         float64  `json:"gflops"`      // direct algorithm's operations by median device time, else wall time
	GBPS           float64  `json:"gbps"`        // each tensor once, by the same time
	PeakPct        *float64 `json:"peak_pct"`    // GFLOPS of the device's measured FMA peak; null where none was measured
	PeakBWPct      *float64 `json:"peak_bw_pct"` // GBPS of the device's measured copy; null where none was measured
	Verified       bool     `json:"verified"`    // the result was checked and is right
	Check          string   `json:"check"`       // exact, bounded, or, of an ONNX graph's output, tolerance
	Checked        int64    `json:"checked"`     // elements compared with the oracle …
	Elements       int64    `json:"elements"`    // … of so many
	MaxAbsErr      float64  `json:"max_abs_err"` // over the compared elements
	MaxULP         float64  `json:"max_ulp"`     // error in units of the last place of the true value
	BoundUsed      float64  `json:"bound_used"`  // largest share of the a-priori bound that an error takes
	Speedup        *float64 `json:"speedup"`     // wall time of the cpu in the same report by this one; null without
	VsBest         *float64 `json:"vs_best"`     // of chosen devices: wall time by that of the best in the same report; null for others
	VsBestE2E      *float64 `json:"vs_best_e2e"` // the same of E2EMS
	VsBuiltIn      *float64 `json:"vs_builtin"`  // time with the built-in kernels by this one, with changed ones; null without
	Fallback       *string  `json:"fallback"`    // null, or the device that ran instead and why
	Status         Status   `json:"status"`
	Reason         string   `json:"reason"`
	Repro          string   `json:"repro"` // command that runs this check again

	ULPs    []int64 `json:"ulp_histogram,omitempty"` // compared elements by error: 0, 1, 2, 3–4, 5–8 … ulp
	Worst   *Worst  `json:"worst,omitempty"`
	Verdict string  `json:"verdict,omitempty"` // on all results of the problem together

	how driver.Arithmetic
}

// Worst is the element of a result that takes the largest share of its bound, and the sum that it comes from.
type Worst struct {
	Output    string   `json:"output"` // dst, diff_wei …
	At        []int    `json:"at"`     // as the tensor lies in memory
	Got       string   `json:"got"`    // strings, for NaN and infinities
	Want      string   `json:"want"`
	Bound     float64  `json:"bound"`     // 0: bit for bit
	Terms     int64    `json:"terms"`     // of the sum
	Magnitude float64  `json:"magnitude"` // Σ|terms|
	Sum       *float64 `json:"sum"`       // of the terms, once more from the inputs; null where the operation is no plain sum
	Largest   []Term   `json:"largest,omitempty"`
}

// Term is one term of a sum: a product of input elements, by tensor.
type Term struct {
	Value float64          `json:"value"`
	At    map[string][]int `json:"at"`
}

// New starts the record of a problem on a device.
func New(p *problem.Problem, dev *engine.Device) Record {
	info := dev.Info()
	return Record{
		Problem: p.String(), Op: p.Op.String(), Dir: p.Dir.String(), Type: p.Type.String(),
		Device: dev.Name(), DeviceName: info.Name, API: info.API, Driver: info.Driver,
		Elements: problem.Elems(p.Shape(p.Outputs()[0])),
	}
}

// Planned notes what a plan says of itself.
func (r *Record) Planned(pl *engine.Plan) {
	i := pl.Info()
	r.Algorithm, r.Tile, r.WorkspaceBytes, r.Kernels = i.Algorithm, i.Tile, i.WorkspaceBytes, i.Kernels
	r.how, r.Arithmetic = i.Arithmetic, i.Arithmetic.String()
	if why := pl.Choice(); why != "" {
		r.Chosen, r.Why = pl.Device().Spec(), why
	}
	if f := pl.Fallback(); f != nil {
		s := f.String()
		r.Fallback = &s
	}
}

// InTiles notes what a job in tiles says of itself, and why it is one, if the device could not hold the problem whole: nil
// where it was asked for.
func (r *Record) InTiles(j *tiling.Job, why error) {
	i := j.Info()
	r.Algorithm, r.Tile, r.WorkspaceBytes, r.Kernels = i.Algorithm, i.Tile, i.WorkspaceBytes, i.Kernels
	r.how, r.Arithmetic = i.Arithmetic, i.Arithmetic.String()
	if r.Tiles = j.Tiles.Len(); why != nil {
		f := engine.Fallback{Problem: j.Tiles.Problem(), Step: engine.Divided, From: j.On(), To: j.On(), Reason: why}
		r.TilesWhy = f.String()
	}
	if j.Choice() != "" {
		r.Chosen, r.Why = j.On(), j.Choice()
	}
	if f := j.Fallback(); f != nil {
		s := f.String()
		r.Fallback = &s
	}
}

// On is the device that ran.
func (r *Record) On() string { return cmp.Or(r.Chosen, r.Device) }

// Fail notes an error: what the device does not support is not a failed check.
func (r *Record) Fail(err error) {
	r.Verified, r.Status, r.Reason = false, Failed, err.Error()
	if errors.Is(err, engine.ErrUnsupported) {
		r.Status = Unsupported
	}
}

// Rate fills GFLOPS and GBPS from the times that are there.
func (r *Record) Rate(p *problem.Problem) {
	t := r.DeviceMS
	if t == nil || t.Median == 0 {
		t = r.WallMS
	}
	if t != nil && t.Median > 0 {
		r.GFLOPS = p.FLOPs() / t.Median * 1e-6
		r.GBPS = float64(p.Bytes()) / t.Median * 1e-6
	}
}

// multiplies says whether a problem is judged by a device's peaks of multiply-adds.
func multiplies(p *problem.Problem) bool {
	switch p.Op {
	case problem.Conv, problem.Deconv, problem.Deform:
		return !p.Integer() && p.Dir != problem.BackwardBias
	}
	return false
}

// Surely is the rate of multiply-adds of the record's arithmetic, in GFLOP/s, that the device showed: of the algorithm's own
// operations, without those on padding. 0 where the record shows none.
func (r *Record) Surely(p *problem.Problem) float64 {
	plain := r.how.Half == 0 && !r.how.Truncates
	if !multiplies(p) || p.Type.Src != problem.F32 && plain || !r.Verified {
		return 0
	}
	return r.GFLOPS * r.products(p) * p.Inside()
}

// How is the arithmetic of the plan that ran.
func (r *Record) How() driver.Arithmetic { return r.how }

// Shares fills PeakPct, of f32 and f16 convolutions, and PeakBWPct from the rates and the device's peaks. PeakPct counts the
// algorithm's own operations, its transforms' among them, of the peak of its arithmetic; it is never more than 100, as peak.Raise
// sees to. PeakBWPct can be, of bytes that a cache held.
func (r *Record) Shares(p *problem.Problem, peaks driver.Peaks) {
	share := func(rate, peak float64) *float64 {
		if rate <= 0 || peak <= 0 {
			return nil
		}
		s := 100 * rate / peak
		return &s
	}
	r.PeakPct, r.PeakBWPct = nil, share(r.GBPS, peaks.GBPS)
	if !multiplies(p) {
		return
	}
	peak := *peaks.By(r.how)
	r.PeakPct = share(r.GFLOPS*r.own(p), peak)
	if r.PeakPct != nil && *r.PeakPct > 100 {
		r.PeakPct = share(r.GFLOPS*r.own(p)*p.Inside(), peak) // it left the padding out
	}
	if r.PeakPct != nil && *r.PeakPct > 100 {
		r.PeakPct = nil // by other arithmetic than the peak's, or the peak is too low
	}
}

// AgainstBest fills VsBest and VsBestE2E of a chosen device's record from those of single devices, of the same problem.
func (r *Record) AgainstBest(others []*Record) {
	best := func(of func(*Record) *Times) *float64 {
		mine, least := of(r), math.Inf(1)
		for _, o := range others {
			if t := of(o); t != nil && o.Status == Passed {
				least = min(least, t.Median)
			}
		}
		if mine == nil || r.Status != Passed || math.IsInf(least, 1) || least == 0 {
			return nil
		}
		ratio := mine.Median / least
		return &ratio
	}
	r.VsBest = best(func(r *Record) *Times { return r.WallMS })
	r.VsBestE2E = best(func(r *Record) *Times { return r.E2EMS })
}

// Speedups fills Speedup of each record from the cpu's record of the same problem.
func Speedups(records []Record) {
	base := map[string]float64{}
	for _, r := range records {
		if r.Device == "cpu" && r.WallMS != nil && r.Status == Passed {
			if t, ok := base[r.Problem]; !ok || r.WallMS.Median < t {
				base[r.Problem] = r.WallMS.Median
			}
		}
	}
	for i := range records {
		r := &records[i]
		if t, ok := base[r.Problem]; ok && r.Status == Passed && r.WallMS != nil && r.WallMS.Median > 0 {
			s := t / r.WallMS.Median
			r.Speedup = &s
		}
	}
}
