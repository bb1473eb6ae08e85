package onnx_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/onnx"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// broken is a driver of cpu devices that each get one thing wrong. They have no oracle of their own.
type broken struct{}

func (broken) Devices() ([]driver.Info, error) {
	return []driver.Info{{Name: "picky"}, {Name: "lost"}, {Name: "idle"}}, nil
}

func (broken) Open(ctx context.Context, i int, o driver.Options) (driver.Device, error) {
	d, err := cpu.Driver{}.Open(ctx, 0, o)
	return brokenDevice{d, i}, err
}

type brokenDevice struct {
	driver.Device
	how int
}

func (d brokenDevice) Plan(ctx context.Context, p problem.Problem, o driver.PlanOptions) (driver.Plan, error) {
	switch d.how {
	case 0:
		return nil, fmt.Errorf("%w: too picky", driver.ErrUnsupported)
	case 1:
		return nil, driver.ErrDeviceLost
	}
	pl, err := d.Device.Plan(ctx, p, o)
	return idlePlan{pl}, err
}

// idlePlan never writes its result.
type idlePlan struct{ driver.Plan }

func (idlePlan) Run(context.Context, driver.Stream, driver.Args) (driver.Event, error) {
	return done{}, nil
}

// done is the event of work that was none.
type done struct{}

func (done) Wait(context.Context) error { return nil }

func (done) DeviceTime() (time.Duration, bool) { return 0, false }

func init() { engine.Register("broken", broken{}) }

func TestBrokenDevices(t *testing.T) {
	dir := t.TempDir()
	pool := model(12, [][]byte{node("MaxPool", []string{"x"}, attr("kernel_shape", []int{2}))}, []string{"x"})
	for _, name := range []string{"a", "b"} {
		write(t, pool, dir, name, "model.onnx")
		set := filepath.Join(dir, name, "test_data_set_0")
		write(t, tensor("x", []float32{1, 2, 3}, 1, 1, 3), set, "input_0.pb")
		write(t, tensor("y", []float32{2, 3}, 1, 1, 2), set, "output_0.pb")
	}
	for _, c := range []struct {
		spec   string
		status onnx.Status
		reason string
		cases  int
		err    error
	}{
		{"broken:0", onnx.Unsupported, "too picky", 2, nil}, // and so it falls back to the cpu, which must not count
		{"broken:1", onnx.Failed, "device lost", 1, engine.ErrDeviceLost},
		{"broken:2", onnx.Failed, "2 of 2 compared elements are wrong; worst at [0 0 0]: got NaN, true value 2", 2, nil},
	} {
		t.Run(c.spec, func(t *testing.T) {
			dev, err := engine.Open(t.Context(), c.spec)
			if err != nil {
				t.Fatal(err)
			}
			defer dev.Close()
			cases := 0
			err = onnx.RunDir(t.Context(), dev, dir, nil, func(r onnx.Result) {
				cases++
				if r.Status != c.status || !strings.Contains(r.Reason, c.reason) || r.Device != c.spec {
					t.Errorf("%+v; want %s with %q", r, c.status, c.reason)
				}
			})
			if !errors.Is(err, c.err) || cases != c.cases {
				t.Errorf("%d cases, error %v; want %d and %v", cases, err, c.cases, c.err)
			}
		})
	}
}
