package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/devicetest"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/faulty"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
)

// withFaults registers vulkan:0, a cpu that fails, and says how to open it. The test ends with nothing of it left.
func withFaults(t *testing.T, o faulty.Options) (*faulty.Faults, engine.Option) {
	t.Helper()
	engine.WithDrivers(t, map[string]driver.Driver{"cpu": cpu.Driver{}, "vulkan": &fake{infos: devices("discrete g")}})
	f := faulty.New(o)
	devicetest.Silent(t) // of each step
	d, err := engine.Open(t.Context(), "cpu")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(conv(t, d), d.Close()); err != nil { // starts the cpu's workers, which stay
		t.Fatal(err)
	}
	devicetest.NothingLeft(t, f.Leaks)
	t.Cleanup(f.Release)
	return f, engine.WithDriver(func(d driver.Driver) driver.Driver {
		if _, ok := d.(cpu.Driver); ok {
			return d // what the device falls back to is sound
		}
		return f.Driver(d)
	})
}

// conv computes something whose result is known.
func conv(t *testing.T, d *engine.Device) error {
	t.Helper()
	dst, err := d.Conv(t.Context(), tensor(t, []float32{1, 2, 3}, 1, 1, 3), tensor(t, []float32{1, 10}, 1, 1, 2), nil, problem.Params{})
	if err == nil && !slices.Equal(dst.Float32s(), []float32{21, 32}) {
		t.Errorf("the result is %v", dst.Float32s())
	}
	return err
}

// steps are those of the device's fallbacks.
func steps(d *engine.Device) (s []engine.Step) {
	for _, f := range d.Fallbacks() {
		s = append(s, f.Step)
	}
	return s
}

func TestALostDeviceIsOpenedAgain(t *testing.T) {
	for _, method := range []string{"Alloc", "NewStream", "Plan", "Pack", "Write", "Run", "Event.Wait", "Read"} {
		_, through := withFaults(t, faulty.Options{Lost: 1, Most: 1, Methods: []string{method}})
		d := devicetest.Open(t, "vulkan:0", through, engine.NoFallback())
		if err := conv(t, d); err != nil {
			t.Errorf("lost in %s: %v", method, err)
		}
		if got := d.Fallbacks(); len(got) != 1 || got[0].Step != engine.Reopened || !errors.Is(got[0].Reason, engine.ErrDeviceLost) ||
			!strings.Contains(got[0].String(), "vulkan:0 was opened again for conv:mb1ic1") {
			t.Errorf("lost in %s: %v", method, got)
		}
	}
}

func TestADeviceLostForGoodIsReplaced(t *testing.T) {
	for _, method := range []string{"Run", "Open"} {
		o := faulty.Options{Lost: 1, Methods: []string{method}}
		_, through := withFaults(t, o)
		if method == "Open" {
			if _, err := engine.Open(t.Context(), "vulkan:0", through); !errors.Is(err, engine.ErrDeviceLost) {
				t.Errorf("a device that is lost while it is opened: %v", err)
			}
			continue
		}
		d := devicetest.Open(t, "vulkan:0", through)
		if err := conv(t, d); err != nil {
			t.Error(err)
		}
		if got := steps(d); !slices.Equal(got, []engine.Step{engine.Reopened, engine.Reopened, engine.Reopened, engine.Moved}) {
			t.Errorf("steps are %v", got)
		}
		if err := conv(t, devicetest.Open(t, "vulkan:0", through, engine.NoFallback())); !errors.Is(err, engine.ErrDeviceLost) || !strings.HasPrefix(err.Error(), "vulkan:0: ") {
			t.Errorf("without another device: %v", err)
		}
	}
}

func TestLackOfMemoryMovesAProblem(t *testing.T) {
	for _, method := range []string{"Alloc", "NewStream", "Pack", "Write", "Run", "Read"} {
		_, through := withFaults(t, faulty.Options{OutOfMemory: 1, Methods: []string{method}})
		d := devicetest.Open(t, "vulkan:0", through)
		if err := conv(t, d); err != nil {
			t.Errorf("no memory for %s: %v", method, err)
		}
		if got := d.Fallbacks(); len(got) != 1 || got[0].Step != engine.Moved || got[0].To != "cpu" || !errors.Is(got[0].Reason, engine.ErrOutOfMemory) {
			t.Errorf("no memory for %s: %v", method, got)
		}
		if err := conv(t, devicetest.Open(t, "vulkan:0", through, engine.NoFallback())); !errors.Is(err, engine.ErrOutOfMemory) {
			t.Errorf("no memory for %s and no other device: %v", method, err)
		}
	}
}

// Whatever hangs: the run goes on elsewhere or says that the device hangs, and once it answers everything is cleaned up.
func TestAHungDeviceHitsItsDeadline(t *testing.T) {
	for _, method := range []string{"Alloc", "NewStream", "Plan", "Pack", "Write", "Run", "Event.Wait", "Read", "Stream.Close", "Plan.Close", "Device.Close"} {
		t.Run(method, func(t *testing.T) {
			f, through := withFaults(t, faulty.Options{Hang: 1, Most: 1, Methods: []string{method}})
			d, err := engine.Open(t.Context(), "vulkan:0", through, engine.NoFallback(), engine.WithDeadline(200*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(conv(t, d), d.Close()); err != nil && (!errors.Is(err, engine.ErrDeviceHung) || !errors.Is(err, engine.ErrDeviceLost)) {
				t.Error(err)
			}
			if n := f.Injected()["hung"]; n != 1 {
				t.Errorf("%d calls hung", n)
			}
		})
	}
	_, through := withFaults(t, faulty.Options{Hang: 1, Methods: []string{"Run"}})
	d, err := engine.Open(t.Context(), "vulkan:0", through, engine.NoFallback(), engine.WithDeadline(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if err := conv(t, d); !errors.Is(err, engine.ErrDeviceHung) || !strings.Contains(err.Error(), "vulkan:0: device hangs: run took longer than 50ms") {
		t.Errorf("always hung: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// A device without a deadline waits as long as the caller does.
func TestAHungWaitEndsWithItsContext(t *testing.T) {
	_, through := withFaults(t, faulty.Options{Hang: 1, Methods: []string{"Event.Wait"}})
	d := devicetest.Open(t, "vulkan:0", through)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := d.Pool(ctx, problem.Max, tensor(t, []float32{1, 2}, 1, 1, 2), nil, problem.Params{})
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, engine.ErrDeviceLost) {
		t.Error(err)
	}
}

func TestWhatIsFromBeforeADeviceWasLostStaysLost(t *testing.T) {
	_, through := withFaults(t, faulty.Options{Lost: 1, Most: 1, Methods: []string{"Fill"}})
	d := devicetest.Open(t, "vulkan:0", through)
	ctx := t.Context()
	p := problemtest.Parse(t, "pool:max:mb1ic1iw2kw2")
	type things struct {
		pl       *engine.Plan
		s        *engine.Stream
		src, dst *engine.DeviceTensor
	}
	make := func() (m things) {
		var errs [4]error
		m.pl, errs[0] = d.Plan(ctx, p, driver.PlanOptions{})
		m.s, errs[1] = d.NewStream()
		m.src, errs[2] = d.NewTensor(problem.F32, 1, 1, 2)
		m.dst, errs[3] = d.NewTensor(problem.F32, 1, 1, 1)
		if err := errors.Join(errs[:]...); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			m.src.Free()
			m.dst.Free()
			m.dst.Free()
			if err := errors.Join(m.pl.Close(), m.s.Close(), m.s.Close()); err != nil && !errors.Is(err, engine.ErrDeviceLost) {
				t.Error(err)
			}
		})
		return m
	}
	run := func(pl *engine.Plan, s *engine.Stream, src, dst *engine.DeviceTensor) error {
		e, err := pl.Run(ctx, s, engine.Args{problem.Src: src, problem.Dst: dst})
		if err == nil {
			err = e.Wait(ctx)
		}
		return err
	}
	old := make()
	if err := d.Reopen(ctx, p); err != nil || d.Fallbacks() != nil || d.Lost() != nil {
		t.Errorf("a device that is not lost: %v, %v", err, d.Fallbacks())
	}
	if err := old.s.Poison(ctx, old.src); !errors.Is(err, engine.ErrDeviceLost) || !errors.Is(d.Lost(), engine.ErrDeviceLost) {
		t.Errorf("a call that loses the device: %v, %v", err, d.Lost())
	}
	if err := d.Reopen(ctx, p); err != nil || d.Lost() != nil {
		t.Fatal(err, d.Lost())
	}
	fresh := make()
	if err := run(fresh.pl, fresh.s, fresh.src, fresh.dst); err != nil {
		t.Errorf("what was made since: %v", err)
	}
	host := tensor(t, []float32{1, 2}, 1, 1, 2)
	for name, err := range map[string]error{
		"all old":        run(old.pl, old.s, old.src, old.dst),
		"old plan":       run(old.pl, fresh.s, fresh.src, fresh.dst),
		"old stream":     run(fresh.pl, old.s, fresh.src, fresh.dst),
		"old tensor":     run(fresh.pl, fresh.s, old.src, fresh.dst),
		"write to old":   fresh.s.Write(ctx, old.src, host),
		"write by old":   old.s.Write(ctx, fresh.src, host),
		"download":       fresh.s.Download(ctx, host, old.src),
		"poison":         fresh.s.Poison(ctx, old.src),
		"wait of stream": old.s.Wait(ctx),
	} {
		if !errors.Is(err, engine.ErrDeviceLost) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckNamesADeviceThatCorruptsResults(t *testing.T) {
	_, through := withFaults(t, faulty.Options{Corrupt: 1})
	src := make([]float32, 1000)
	for i := range src {
		src[i] = float32(i%7) - 3.5
	}
	wei := tensor(t, []float32{0.1, 0.2, 0.3}, 1, 1, 3)
	run := func(d *engine.Device) error {
		_, err := d.Conv(t.Context(), tensor(t, src, 1, 1, 1000), wei, nil, problem.Params{})
		return err
	}
	d := devicetest.Open(t, "vulkan:0", through, engine.WithCheck(20))
	err := run(d)
	if !errors.Is(err, engine.ErrWrongResult) || !strings.Contains(err.Error(), "wrong result: vulkan:0: dst of conv:mb1ic1oc1iw1000ow998kw3") {
		t.Error(err)
	}
	if d.Checked() != 0 {
		t.Errorf("%d elements were found right", d.Checked())
	}
	if err := run(devicetest.Open(t, "vulkan:0", through)); err != nil {
		t.Errorf("without a check: %v", err)
	}
	sound := devicetest.Open(t, "vulkan:0", engine.WithCheck(20))
	if err := run(sound); err != nil || sound.Checked() < 15 {
		t.Errorf("a sound device: %v, %d elements were found right", err, sound.Checked())
	}
	if err := conv(t, sound); err != nil {
		t.Errorf("a result smaller than its sample: %v", err)
	}
}

// Each run ends in the right result or a clear error, whatever fails.
func TestRandomFaults(t *testing.T) {
	runs, right := 300, 0
	for seed := range uint64(runs) {
		o := faulty.Options{Seed: seed, OutOfMemory: 0.03, Lost: 0.03, Broken: 0.01, Delay: 0.01}
		opts := []engine.Option{}
		if seed%3 == 0 {
			o.Hang = 0.02
			opts = append(opts, engine.WithDeadline(50*time.Millisecond))
		}
		if seed%2 == 0 {
			opts = append(opts, engine.NoFallback())
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			_, through := withFaults(t, o)
			d, err := engine.Open(t.Context(), "vulkan:0", append(opts, through)...)
			if err == nil {
				if err = conv(t, d); err == nil {
					right++
				}
				err = errors.Join(err, d.Close())
			}
			if err != nil && !errors.Is(err, engine.ErrOutOfMemory) && !errors.Is(err, engine.ErrDeviceLost) && !errors.Is(err, faulty.ErrFault) {
				t.Errorf("%v: %v", o, err)
			}
		})
	}
	if right < runs/2 {
		t.Errorf("of %d runs %d gave a result", runs, right)
	}
}
