package tiling_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/devicetest"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/faulty"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// narrow is a cpu whose tensors are no larger than 16 KiB.
type narrow struct{ cpu.Driver }

func init() { engine.Register("narrow", narrow{}) }

func (d narrow) Open(ctx context.Context, i int, o driver.Options) (driver.Device, error) {
	dev, err := d.Driver.Open(ctx, i, o)
	return narrowDevice{dev}, err
}

type narrowDevice struct{ driver.Device }

func (d narrowDevice) Info() driver.Info {
	i := d.Device.Info()
	i.MaxTensorBytes = 16 << 10
	return i
}

func (d narrowDevice) Plan(ctx context.Context, p problem.Problem, o driver.PlanOptions) (driver.Plan, error) {
	for _, r := range slices.Concat(p.Constants(), p.Inputs(), p.Outputs()) {
		if p.BytesOf(r) > 16<<10 {
			return nil, fmt.Errorf("%w: %v takes %d bytes", driver.ErrUnsupported, r, p.BytesOf(r))
		}
	}
	return d.Device.Plan(ctx, p, o)
}

// engine's Device.Compute runs in tiles what the device, or its memory limit, cannot hold, and says so; and goes elsewhere only
// where that does not help.
func TestDeviceComputeInTiles(t *testing.T) {
	ctx := t.Context()
	for _, text := range []string{tiledConv, tiledSums, tiledPool, "conv:BWD_D:mb4ic8ih24oc8oh24kh3ph1", "deconv:mb2ic8ih16oc8oh31kh3sh2ph1"} {
		p, err := problem.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		whole := open(t, "cpu")
		in := inputs(t, whole, &p)
		want, err := whole.Compute(ctx, p, in)
		if err != nil {
			t.Fatal(err)
		}
		limit := engine.WithMemLimit(p.Bytes() - 1)
		for _, d := range []*engine.Device{
			fallsBack(t, "narrow"), fallsBack(t, "narrow", engine.NoFallback()), fallsBack(t, "cpu", limit), fallsBack(t, "cpu+second", limit),
			fails(t, faulty.New(faulty.Options{OutOfMemory: 1, Most: 1, Methods: []string{"Run"}}), engine.NoFallback()),
		} {
			got, err := d.Compute(ctx, p, in)
			if err != nil {
				t.Errorf("%s on %s: %v", text, d.Name(), err)
				continue
			}
			if i := differing(got[p.Outputs()[0]], want[p.Outputs()[0]]); i >= 0 {
				t.Errorf("%s on %s: element %d differs from the whole's", text, d.Name(), i)
			}
			if s := steps(d); !slices.Equal(s, []engine.Step{engine.Divided}) {
				t.Errorf("%s on %s: steps are %v", text, d.Name(), d.Fallbacks())
			}
		}
	}
	p, err := problem.Parse(tiledConv)
	if err != nil {
		t.Fatal(err)
	}
	// A plan is of the whole: it says what to call instead.
	_, err = fallsBack(t, "narrow", engine.NoFallback()).Plan(ctx, p, driver.PlanOptions{})
	if !errors.Is(err, engine.ErrUnsupported) || !strings.HasSuffix(err.Error(), "bytes; Device.Compute and tiling.Prepare run it in tiles") {
		t.Error(err)
	}
	// One window is too much: the way goes on to the cpu.
	d := fallsBack(t, "narrow")
	if p, err = problem.Parse("pool:max:mb1ic1ih100oh1kh100"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Compute(ctx, p, inputs(t, open(t, "cpu"), &p)); err != nil || !slices.Equal(steps(d), []engine.Step{engine.Moved}) {
		t.Errorf("%v: %v", err, d.Fallbacks())
	}
}

// fallsBack opens a device, with the cpu to fall back to unless options say otherwise.
func fallsBack(t *testing.T, spec string, opts ...engine.Option) *engine.Device {
	t.Helper()
	return devicetest.Open(t, spec, append(opts, engine.WithTuning(nil))...)
}
