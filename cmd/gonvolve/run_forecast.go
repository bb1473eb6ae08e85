package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/peak"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

// worthTelling is how long a run has to take for its forecast to be told.
const worthTelling = time.Second

// brief is a time in three digits or so.
func brief(d time.Duration) time.Duration {
	for _, unit := range []time.Duration{time.Second, 100 * time.Millisecond, 10 * time.Millisecond} {
		if d >= 100*unit {
			return d.Round(unit)
		}
	}
	return d.Round(time.Millisecond)
}

// forecast tells how long a job should take, of several devices each and together, and from where on it pays to leave the cpu.
func forecast(cmd *cobra.Command, job *tiling.Job) error {
	members := job.Members()
	text := ""
	if len(members) == 1 {
		f, rates, err := foretold(cmd.Context(), job, members[0])
		if err != nil || f.Total < worthTelling {
			return err
		}
		text = members[0].Spec() + " takes " + inWords(f)
		if f.Transfer > 0 { // else it shares the host's memory
			text += fmt.Sprintf(": %v to compute, %v to upload and download", brief(f.Compute), brief(f.Transfer))
		}
		more, err := againstCPU(cmd.Context(), job, members[0], f, rates)
		if err != nil {
			return err
		}
		text += more
	} else {
		var each []tiling.Forecast
		var words []string
		for _, dev := range members {
			f, _, err := foretold(cmd.Context(), job, dev)
			if err != nil {
				return err
			}
			if f.Total == 0 {
				return nil // of this one nothing is known
			}
			each, words = append(each, f), append(words, dev.Spec()+" takes "+inWords(f))
		}
		all := tiling.Together(each)
		if all.Total < worthTelling {
			return nil
		}
		text = strings.Join(words, ", ") + fmt.Sprintf("; together %s", inWords(all))
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "gonvolve: note:", text)
	return nil
}

// inWords is a forecast's time, and how sure it is.
func inWords(f tiling.Forecast) string {
	if f.Known {
		return fmt.Sprintf("about %v, at the pace of earlier runs", brief(f.Total))
	}
	return fmt.Sprintf("%v or more, by its peaks", brief(f.Total))
}

// foretold is what a job takes on a device, and the rates that this is by; zero if there are none.
func foretold(ctx context.Context, job *tiling.Job, dev *engine.Device) (f tiling.Forecast, r tiling.Rates, err error) {
	r.Peaks, _ = peak.Known(dev.Info())
	r.Pace = job.Pace(dev)
	if f = job.Forecast(r); f.Total < worthTelling/4 { // copies may take more, but not that much
		return f, r, nil
	}
	if r.TransferGBPS, err = tiling.MeasureTransfer(ctx, dev); err != nil {
		return f, r, err
	}
	return job.Forecast(r), r, nil
}

// againstCPU says what the cpu takes instead of another device, and which problems break even.
func againstCPU(ctx context.Context, job *tiling.Job, dev *engine.Device, f tiling.Forecast, rates tiling.Rates) (text string, err error) {
	if dev.Info().API == "Go" {
		return "", nil
	}
	host, err := engine.Open(ctx, "cpu")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	cpu, r, err := foretold(ctx, job, host)
	if err != nil || cpu.Total == 0 {
		return "", err
	}
	text = fmt.Sprintf("; the cpu %s", inWords(cpu))
	if f.Known && cpu.Known { // else both by what is known of both
		rates.Peaks, r.Peaks = driver.Peaks{GFLOPS: rates.Pace}, driver.Peaks{GFLOPS: r.Pace}
	}
	if rates.GFLOPS == 0 || r.GFLOPS == 0 {
		return text, nil
	}
	if even := tiling.BreakEven(rates, r.Peaks); math.IsInf(even, 1) {
		text += ", with which no such problem on this device breaks even"
	} else if even > 0 {
		text += fmt.Sprintf(", break-even at %.3g operations a byte moved, here %.3g", even, f.Intensity)
	}
	return text, nil
}
