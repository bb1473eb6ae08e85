package tiling_test

import (
	"math"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/faulty"
	"github.com/gonvolve/gonvolve/engine/problem"
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
