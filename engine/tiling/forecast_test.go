package tiling_test

import (
	"math"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/devicetest"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/faulty"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

func TestForecast(t *testing.T) {
	dev := open(t, "cpu")
	for _, c := range []struct {
		text              string
		rates             tiling.Rates
		compute, transfer float64 // milliseconds
	}{
		// 2·9·8·8·256² operations, twice 8·256² elements
		{"conv:mb1ic8ih256oc8kh3ph1", tiling.Rates{Peaks: driver.Peaks{GFLOPS: 10, GBPS: 1000}, TransferGBPS: 1}, 7.55, 4.19},
		{"conv:mb1ic8ih256oc8kh3ph1", tiling.Rates{Peaks: driver.Peaks{GFLOPS: 1e9, GBPS: 2}}, 2.10, 0},
		{"pool:max:mb1ic8ih256kh2sh2", tiling.Rates{Peaks: driver.Peaks{GFLOPS: 1e-9, GBPS: 2}, TransferGBPS: 1}, 1.31, 2.62},
		{"pool:max:mb1ic8ih256kh2sh2", tiling.Rates{}, 0, 0},
	} {
		p, err := problem.Parse(c.text)
		if err != nil {
			t.Fatal(err)
		}
		for _, limit := range []int64{0, 2 << 20} {
			j, err := tiling.Prepare(t.Context(), dev, p, tiling.Options{MemLimit: limit})
			if err != nil {
				t.Fatal(err)
			}
			f := j.Forecast(c.rates)
			close := func(got time.Duration, want float64) bool {
				ms := float64(got) / 1e6
				return ms >= want*0.99 && ms <= want*1.05 // halos
			}
			if !close(f.Compute, c.compute) || !close(f.Transfer, c.transfer) || f.Total < max(f.Compute, f.Transfer) || f.Total > f.Compute+f.Transfer {
				t.Errorf("%s in %v: %+v, want %v ms and %v ms", c.text, j.Tiles, f, c.compute, c.transfer)
			}
			if limit > 0 && j.Tiles.Len() < 2 {
				t.Errorf("%s: %v", c.text, j.Tiles)
			}
			if err := j.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if rate, err := tiling.MeasureTransfer(t.Context(), dev); err != nil || !math.IsInf(rate, 1) {
		t.Errorf("transfers at %v GB/s, though memory is shared: %v", rate, err)
	}
	copies := fails(t, faulty.New(faulty.Options{}), staged) // a device that shares nothing
	if rate, err := tiling.MeasureTransfer(t.Context(), copies); err != nil || !(rate > 0) || math.IsInf(rate, 1) {
		t.Errorf("transfers at %v GB/s: %v", rate, err)
	}
	gpu := tiling.Rates{Peaks: driver.Peaks{GFLOPS: 1000}, TransferGBPS: 10}
	if got := tiling.BreakEven(gpu, driver.Peaks{GFLOPS: 200}); got != 20 {
		t.Errorf("break-even at %v", got)
	}
	gpu.TransferGBPS = math.Inf(1)
	if got := tiling.BreakEven(gpu, driver.Peaks{GFLOPS: 200}); got != 0 {
		t.Errorf("break-even at %v where memory is shared", got)
	}
	if got := tiling.BreakEven(gpu, driver.Peaks{GFLOPS: 2000}); !math.IsInf(got, 1) {
		t.Errorf("break-even at %v", got)
	}
}

// The pace of tiles that were computed is kept, for problems of the same kind whatever their sizes, and a job is foretold by it.
func TestPace(t *testing.T) {
	t.Setenv("GONVOLVE_CACHE", t.TempDir())
	dev, other := devicetest.Open(t, "cpu", engine.NoFallback()), fails(t, faulty.New(faulty.Options{}), staged)
	prepare := func(dev *engine.Device, text string, o tiling.Options) *tiling.Job {
		j, err := tiling.Prepare(t.Context(), dev, problemtest.Parse(t, text), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := j.Close(); err != nil {
				t.Error(err)
			}
		})
		return j
	}
	run := func(j *tiling.Job) {
		var in engine.Operands
		p := j.Tiles.Problem()
		for _, r := range append(p.Constants(), p.Inputs()...) {
			var err error
			if in[r], err = engine.NewTensor(p.TypeOf(r), p.Shape(r)...); err != nil {
				t.Fatal(err)
			}
		}
		for tries := 0; tries < 3 && j.Pace(j.Device()) == 0; tries++ { // until it was long enough
			if _, err := j.RunHost(t.Context(), in); err != nil {
				t.Fatal(err)
			}
		}
	}
	const text = "conv:mb1ic32ih64oc32kh3ph1"
	limited := tiling.Options{MemLimit: 512 << 10, Algorithm: "reference"}
	j := prepare(dev, text, limited)
	if j.Pace(dev) != 0 || j.Forecast(tiling.Rates{}).Known {
		t.Fatal("a pace of nothing")
	}
	run(j)
	pace := j.Pace(dev)
	f := j.Forecast(tiling.Rates{Pace: pace, Peaks: driver.Peaks{GFLOPS: 1e-3}})
	if want := 2 * 9 * 32 * 32 * 64 * 64 / pace; !f.Known || math.Abs(float64(f.Compute)-want) > want/100 {
		t.Errorf("a pace of %v: %+v, want %v", pace, f, time.Duration(want))
	}
	if same := prepare(dev, "conv:mb3ic32ih100iw150oc32kh3kw3", limited); same.Pace(dev) != pace {
		t.Errorf("of another size: %v, not %v", same.Pace(dev), pace)
	}
	for text, o := range map[string]tiling.Options{"conv:mb1ic32ih64oc32kh5ph2": limited, "conv:f16:mb1ic32ih64oc32kh3ph1": limited, text: {MemLimit: 512 << 10}} {
		if another := prepare(dev, text, o); another.Pace(dev) != 0 {
			t.Errorf("the pace of another kind, %s: %v", text, another.Pace(dev))
		}
	}
	// What a device that fails on purpose takes says nothing of others.
	changed := prepare(other, text, limited)
	run(changed)
	if j.Pace(dev) != pace {
		t.Errorf("%v, the pace of a faulty device, instead of %v", j.Pace(dev), pace)
	}
	each := []tiling.Forecast{{Known: true, Total: 3 * time.Second}, {Known: true, Total: 6 * time.Second}}
	if all := tiling.Together(each); !all.Known || all.Total.Round(time.Millisecond) != 2*time.Second {
		t.Errorf("together: %+v", all)
	}
	each[1].Known = false
	if all := tiling.Together(each); all.Known {
		t.Errorf("together: %+v", all)
	}
}
