package gpu

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/faulty"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/gpu/hal/faultyhal"
)

// Whatever call of the API fails, runs of several streams end in clear errors, nothing is used after it was freed (the fake
// runs commands as late as it may), and nothing is left.
func TestRandomFaults(t *testing.T) {
	var problems []problem.Problem
	for _, text := range []string{
		"mb1ic8ih9oc16oh9kh3ph1", "mb2ic16ih7oc8oh7kh1", "g8mb1ic8ih9oc8oh9kh3ph1", "conv:BWD_W:mb2ic4ih6oc8oh6kh3ph1",
		"conv:u8-s8-s32:mb1ic4ih5oc4oh5kh3ph1", "conv:f16:nhwc:bias:mb1ic8ih5oc8oh5kh3ph1", "pool:max:indices=plane:mb1ic3ih8oh4kh2sh2",
	} {
		p, err := problem.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		problems = append(problems, p)
	}
	runs, right, wrong := 2000, 0, map[string]int{}
	if testing.Short() {
		runs = 300
	}
	for seed := range uint64(runs) {
		r := rand.New(rand.NewPCG(seed, 3))
		o := faulty.Options{Seed: seed, MaxDelay: 100 * time.Microsecond}
		for _, rate := range []*float64{&o.OutOfMemory, &o.Lost, &o.Broken, &o.Delay} {
			if r.IntN(2) == 0 {
				*rate = math.Pow(10, -3+2*r.Float64())
			}
		}
		if r.IntN(3) == 0 {
			o.Most = 1 + r.IntN(3)
		}
		f := newFake()
		f.info.Unified = r.IntN(2) == 0
		faults := faulty.New(o)
		errs := runFaulty(t, f, faults, problems, r)
		if err := faults.Leaks(); err != nil {
			t.Errorf("%v: %v", o, err)
		}
		if f.finished(t); t.Failed() {
			t.Fatalf("faults %v: %v", o, errors.Join(errs...))
		}
		for _, err := range errs {
			switch {
			case err == nil:
				right++
			case errors.Is(err, driver.ErrClosed) || errors.Is(err, driver.ErrInvalid):
				t.Fatalf("faults %v: an error of use, not of a fault: %v", o, err)
			case errors.Is(err, driver.ErrOutOfMemory):
				wrong["out of memory"]++
			case errors.Is(err, driver.ErrDeviceLost):
				wrong["lost"]++
			case errors.Is(err, faulty.ErrFault):
				wrong["broken"]++
			default:
				t.Fatalf("faults %v: an unclear error: %v", o, err)
			}
		}
	}
	if t.Logf("%d went well, %v did not", right, wrong); right == 0 || len(wrong) < 3 {
		t.Error("the runs show nothing")
	}
}

// runFaulty runs problems on two streams at a time, one of them timed.
func runFaulty(t *testing.T, f *fake, faults *faulty.Faults, problems []problem.Problem, r *rand.Rand) []error {
	dev, err := NewDriver(faultyhal.API(faults, f)).Open(t.Context(), 0, driver.Options{NoCache: true, Staged: !f.info.Unified})
	if err != nil {
		return []error{err}
	}
	d := dev.(*Device)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, 2, 3)
	for i := range errs {
		p, q, times := problems[r.IntN(len(problems))], problems[r.IntN(len(problems))], 1+r.IntN(4)
		wg.Go(func() {
			open := d.NewStream
			if i == 1 {
				open = d.NewTimedStream
			}
			s, err := open()
			if err != nil {
				errs[i] = err
				return
			}
			errs[i] = errors.Join(transferTimes(ctx, d, s, 5), runTimes(ctx, d, s, p, "", times), runTimes(ctx, d, s, q, "", 1))
			if err := s.Close(); errs[i] == nil {
				errs[i] = err
			}
		})
	}
	wg.Wait()
	return append(errs, d.Close())
}

// transferTimes fills, writes and reads one buffer again and again, whatever failed before.
func transferTimes(ctx context.Context, d *Device, s driver.Stream, times int) error {
	b, err := d.Alloc(64)
	if err != nil {
		return err
	}
	defer b.Free()
	var errs []error
	data := make([]byte, 64)
	for i := range times {
		errs = append(errs, s.Fill(ctx, b, uint32(i)), s.Write(ctx, b, 0, data[:32]), s.Read(ctx, data, b, 0))
	}
	return errors.Join(errs...)
}
