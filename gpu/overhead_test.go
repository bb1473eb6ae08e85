package gpu

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/gpu/hal"
)

// idle is an API whose devices do nothing, at once: what a run costs with it is what this package costs.
type idle struct{ *fake }

type idleQueue struct{}

type idleRecorded struct{}

type idleFence struct{}

func (idle) NewQueue(bool) (hal.Queue, error) { return idleQueue{}, nil }

func (idleQueue) Submit([]hal.Command) (hal.Fence, error)    { return idleFence{}, nil }
func (idleQueue) Record([]hal.Command) (hal.Recorded, error) { return idleRecorded{}, nil }
func (idleQueue) Free()                                      {}

func (idleRecorded) Submit() (hal.Fence, error) { return idleFence{}, nil }
func (idleRecorded) Free()                      {}

func (idleFence) Wait(context.Context) error { return nil }
func (idleFence) Times() []time.Duration     { return nil }
func (idleFence) Free()                      {}

// openIdle opens a device that proved itself and does nothing from then on.
func openIdle(t testing.TB) *Device {
	t.Helper()
	f := newFake()
	f.info.GLSL, f.info.ShuffleLanes = true, 32
	d := f.open(t)
	d.hal = idle{f}
	return d
}

// job is a plan with all that it needs to run.
type job struct {
	plan   driver.Plan
	stream driver.Stream
	args   driver.Args
}

// newJob prepares a problem; the test ends with all of it closed.
func newJob(t testing.TB, d *Device, text, alg string) *job {
	t.Helper()
	return newJobWith(t, d, text, driver.PlanOptions{Algorithm: alg})
}

func newJobWith(t testing.TB, d *Device, text string, o driver.PlanOptions) *job {
	t.Helper()
	p, err := problem.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	j := &job{}
	if j.plan, err = d.Plan(t.Context(), p, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.plan.Close() })
	if j.stream, err = d.NewStream(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.stream.Close() })
	for _, r := range slices.Concat(p.Constants(), p.Inputs(), p.Outputs()) {
		if j.args.Buffers[r], err = d.Alloc(bufferBytes(&p, r)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(j.args.Buffers[r].Free)
	}
	if len(p.Constants()) > 0 {
		w, e, err := j.plan.Pack(t.Context(), j.stream, j.args.Buffers)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Free)
		if err := e.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		j.args.Weights = w
	}
	return j
}

// run runs and waits.
func (j *job) run(t testing.TB) {
	e, err := j.plan.Run(t.Context(), j.stream, j.args)
	if err == nil {
		err = e.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// BenchmarkRunOverhead is what this package takes for a run and the wait for it, the API taking nothing.
func BenchmarkRunOverhead(b *testing.B) {
	for _, c := range []struct{ name, problem, alg string }{
		{"igemm", "mb1ic64ih28oc64oh28kh3ph1", "igemm"},
		{"nhwc", "nhwc:mb1ic64ih28oc64oh28kh3ph1", "direct"}, // with workspace, and several kernels
		{"pool", "pool:max:mb1ic64ih28oh14kh2sh2", ""},
	} {
		b.Run(c.name, func(b *testing.B) {
			j := newJob(b, openIdle(b), c.problem, c.alg)
			b.ReportAllocs()
			for b.Loop() {
				j.run(b)
			}
		})
	}
}
