package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gonvolve/gonvolve/engine/auto"
	"github.com/gonvolve/gonvolve/engine/cache"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/peak"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tuned"
)

// Data says where a problem's inputs and outputs are between runs, which decides what the fastest device is.
type Data string

// The places.
const (
	OnDevice Data = "device" // where the problem runs: runs are all that counts
	OnHost   Data = "host"   // each run uploads and downloads
)

// group is what a Device has that stands for several: "auto", or a list such as "cpu+opencl:0".
type group struct {
	spec    string
	members []*member // the first is open

	choosing sync.Mutex // held while devices race: one race at a time
	mu       sync.RWMutex
	choices  map[question]*choice
}

// member is a device of a group.
type member struct {
	listing Listing

	mu  sync.Mutex
	dev *Device // nil until it is needed
	err error   // why it did not open
}

// question is what a choice answers. Problems have no names.
type question struct {
	p    problem.Problem
	data Data
	o    driver.PlanOptions
}

// choice is the answer.
type choice struct {
	*auto.Choice
	dev *Device
}

// openGroup opens the devices of a list of resolved specs as one: the first that opens now, others when they are needed.
func openGroup(ctx context.Context, spec string, list []Listing, o options) (*Device, error) {
	s := &group{spec: spec, choices: map[question]*choice{}}
	var home *Device
	var refused []error
	for _, l := range list {
		m := &member{listing: l}
		if home == nil {
			if m.dev, m.err = openDevice(ctx, l.Spec, o); m.err != nil {
				slog.WarnContext(ctx, "device left out", "of", spec, "device", l.Spec, "reason", m.err)
				refused = append(refused, m.err)
				if ctx.Err() != nil || spec != autoSpec {
					break
				}
				continue
			}
			home = m.dev
		}
		s.members = append(s.members, m)
	}
	if home == nil {
		return nil, errors.Join(refused...)
	}
	return &Device{home.single, s}, nil
}

// Members are the devices that the device stands for, opened if need be and closed with it: of "auto" all that open, of
// "cpu+opencl:0" the two. A device by itself is its only member.
func (d *Device) Members(ctx context.Context) ([]*Device, error) {
	if d.group == nil {
		return []*Device{d}, nil
	}
	var list []*Device
	for _, m := range d.group.members {
		dev, err := d.open(ctx, m)
		if err == nil {
			list = append(list, dev)
		} else if ctx.Err() != nil || d.Divides() {
			return nil, err
		}
	}
	return list, nil
}

// First is the device itself, or the first of those that it stands for: it chooses nothing.
func (d *Device) First() *Device {
	if d.group == nil {
		return d
	}
	return d.group.members[0].dev
}

// Divides says whether the device is a list of devices, "cpu+opencl:0", among which problems are to be divided. Package
// tiling does that; what cannot be divided (a Plan, Compute) runs on the one of them that is fastest.
func (d *Device) Divides() bool { return d.group != nil && d.group.spec != autoSpec }

// Name is the spec that the device was opened by, "auto" or "cpu+opencl:0" where that stands for several devices. Spec is
// that of a single one.
func (d *Device) Name() string {
	if d.group != nil {
		return d.group.spec
	}
	return d.spec
}

// opened lists the other members that are open.
func (d *Device) opened() (list []*Device) {
	if d.group == nil {
		return nil
	}
	for _, m := range d.group.members {
		m.mu.Lock()
		if m.dev != nil && m.dev.single != d.single {
			list = append(list, m.dev)
		}
		m.mu.Unlock()
	}
	return list
}

// open opens a member, once. What does not open stays out: it is logged the first time.
func (d *Device) open(ctx context.Context, m *member) (*Device, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dev != nil || m.err != nil {
		return m.dev, m.err
	}
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	if closed {
		return nil, fmt.Errorf("%s: %w", d.group.spec, ErrClosed)
	}
	dev, err := openDevice(ctx, m.listing.Spec, d.o)
	if err != nil && ctx.Err() != nil {
		return nil, err // it may open another time
	}
	if m.dev, m.err = dev, err; err != nil {
		slog.WarnContext(ctx, "device left out", "of", d.group.spec, "device", m.listing.Spec, "reason", err)
	}
	return dev, err
}

// For is the device that a problem is to run on: of a Device that was opened as "auto" or as a list the one that is measured
// to be fastest, with its tensors where data says; any other device itself. The first time each that could win runs the
// problem a few times; what came of it is kept in the cache folder, and in the log. Plan and Compute go by it themselves.
func (d *Device) For(ctx context.Context, p problem.Problem, data Data) (*Device, error) {
	dev, _, err := d.pick(ctx, p, data, driver.PlanOptions{})
	return dev, err
}

// Why is what For's choice goes by, in words: what each device took. It is empty for a device by itself, and where there is
// no choice yet.
func (d *Device) Why(p problem.Problem, data Data) string {
	if d.group == nil {
		return ""
	}
	p.Name = ""
	d.group.mu.RLock()
	defer d.group.mu.RUnlock()
	if c := d.group.choices[question{p, data, driver.PlanOptions{}}]; c != nil {
		return c.Why()
	}
	return ""
}

// pick is the device for a problem that is planned by options, and why; nil for a device by itself.
func (d *Device) pick(ctx context.Context, p problem.Problem, data Data, o driver.PlanOptions) (*Device, *auto.Choice, error) {
	s := d.group
	if s == nil {
		return d, nil, nil
	}
	o.Background = false
	p.Name = ""
	q := question{p, data, o}
	s.mu.RLock()
	c := s.choices[q]
	s.mu.RUnlock()
	if c != nil {
		return c.dev, c.Choice, nil
	}
	if err := p.Validate(); err != nil {
		return nil, nil, err
	}
	s.choosing.Lock()
	defer s.choosing.Unlock()
	s.mu.RLock()
	c = s.choices[q]
	s.mu.RUnlock()
	if c == nil {
		var err error
		if c, err = d.choice(ctx, q); err != nil {
			return nil, nil, err
		}
		s.mu.Lock()
		s.choices[q] = c
		s.mu.Unlock()
	}
	return c.dev, c.Choice, nil
}

// mostTried is what the tensors of a problem may take that is tried on devices, in bytes.
const mostTried = 1 << 30

// choice is what was measured before, or is now.
func (d *Device) choice(ctx context.Context, q question) (*choice, error) {
	s := d.group
	if len(s.members) == 1 {
		return &choice{auto.Unmeasured(d.spec, "there is no other device"), s.members[0].dev}, nil
	}
	if q.p.Bytes() > mostTried {
		why := fmt.Sprintf("a problem of %d bytes is not tried whole; package tiling tries a tile of it", q.p.Bytes())
		return &choice{auto.Unmeasured(d.spec, why), s.members[0].dev}, nil
	}
	kept, key := d.keeps(q)
	if c := auto.Load(kept, key); c != nil {
		i := slices.IndexFunc(s.members, func(m *member) bool { return m.listing.Spec == c.Name })
		if i >= 0 {
			if dev, err := d.open(ctx, s.members[i]); err == nil && tuned.Runs(dev.Driver(), &tuned.Entry{Kernels: c.Code}) {
				slog.DebugContext(ctx, "device chosen", "of", s.spec, "problem", q.p.String(), "data", string(q.data), "device", c.Name, "why", c.Why())
				return &choice{c, dev}, nil
			} else if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
	}
	winner, results, codes, err := d.race(ctx, q)
	if err != nil {
		return nil, err
	}
	if winner < 0 {
		// The home's own error, and what it falls back to, is what the user is to see.
		slog.WarnContext(ctx, "no device runs the problem", "of", s.spec, "problem", q.p.String(), "reason", results[0].Out)
		return &choice{auto.Unmeasured(d.spec, "no device runs the problem"), s.members[0].dev}, nil
	}
	c := auto.New(winner, results, codes[winner])
	slog.InfoContext(ctx, "device chosen", "of", s.spec, "problem", q.p.String(), "data", string(q.data), "device", c.Name, "why", c.Why())
	if c.Complete(func(err error) bool { return errors.Is(err, ErrUnsupported) }) {
		c.Keep(kept, key)
	}
	return &choice{c, s.members[winner].dev}, nil
}

// keeps is where a choice is kept, and under which key: all that it depends on. Devices that are changed keep nothing.
func (d *Device) keeps(q question) (*cache.Cache, string) {
	if !d.Ordinary() || d.o.memory > 0 {
		return nil, ""
	}
	parts := []string{tuned.Version(), string(q.data), tuned.Text(q.p), fmt.Sprintf("%+v", q.o)}
	for _, m := range d.group.members {
		k := tuned.Key{Device: tuned.DeviceKey(m.listing.Info), Problem: tuned.Text(q.p)}
		parts = append(parts, m.listing.Spec, k.Device, d.tuning.Says(k))
	}
	return cache.Open(), strings.Join(parts, "\n")
}

// race measures what the members take.
func (d *Device) race(ctx context.Context, q question) (winner int, results []auto.Result, codes []string, err error) {
	members := d.group.members
	codes = make([]string, len(members))
	in, err := trial(&q.p)
	if err != nil {
		return -1, nil, nil, err
	}
	var list []auto.Contender
	for i, m := range members {
		list = append(list, auto.Contender{
			Name:  m.listing.Spec,
			Least: func(ctx context.Context, best time.Duration) time.Duration { return d.least(ctx, m, &q, best) },
			Start: func(ctx context.Context) (auto.Entrant, error) {
				dev, err := d.open(ctx, m)
				if err != nil {
					return nil, err
				}
				e, err := newEntrant(ctx, dev, q, in)
				if err != nil {
					return nil, err
				}
				codes[i] = tuned.Code(e.plan.d.Info())
				return e, nil
			},
		})
	}
	winner, results, err = auto.Race(ctx, list)
	return winner, results, codes, err
}

const (
	// savings is how many of the direct algorithm's operations a fast one needs one of its own for, at most: Winograd's, and
	// what devices do more of in half precision and integers. Transforms (FFT) may save as much as there are taps.
	savings = 16
	// worthPeaks is what the best has to take for the peaks of another to be measured first, which takes a second or less.
	worthPeaks = time.Second
)

// least is what a problem takes on a member at least by its measured peak.
func (d *Device) least(ctx context.Context, m *member, q *question, best time.Duration) time.Duration {
	peaks, ok := peak.Known(m.listing.Info)
	if !ok && best >= worthPeaks {
		if dev, err := d.open(ctx, m); err == nil {
			peaks, err = peak.Of(ctx, dev.Driver())
			if err != nil {
				slog.WarnContext(ctx, "peaks not measured", "device", m.listing.Spec, "reason", err)
			}
		}
	}
	if peaks.GFLOPS <= 0 || !q.p.Weighted() {
		return 0
	}
	return time.Duration(q.p.FLOPs() / max(savings, float64(q.p.Taps())) / peaks.GFLOPS)
}

// entrant is a problem on a device, ready to run.
type entrant struct {
	plan *Plan
	data Data
	h    *hostRun
	in   Operands
	out  Operands
}

func newEntrant(ctx context.Context, dev *Device, q question, in Operands) (e *entrant, err error) {
	e = &entrant{data: q.data, in: in}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
			e = nil
		}
	}()
	if e.plan, err = dev.PlanHere(ctx, q.p, q.o); err != nil {
		return e, err
	}
	if e.plan.constants {
		var constants Operands
		for _, r := range q.p.Constants() {
			constants[r] = in[r]
		}
		if err = e.plan.SetWeights(ctx, constants); err != nil {
			return e, err
		}
	}
	if e.h, err = e.plan.newHostRun(); err != nil {
		return e, err
	}
	for _, r := range e.plan.outputs {
		if e.out[r], err = NewTensor(q.p.TypeOf(r), q.p.Shape(r)...); err != nil {
			return e, err
		}
	}
	return e, e.upload(ctx)
}

func (e *entrant) upload(ctx context.Context) error {
	for _, r := range e.plan.inputs {
		if err := e.h.stream.Write(ctx, e.h.args[r], e.in[r]); err != nil {
			return err
		}
	}
	return nil
}

// Run is one run: submit to finish, or with tensors on the host, from there to there.
func (e *entrant) Run(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	if e.data == OnHost {
		if err := e.upload(ctx); err != nil {
			return 0, err
		}
	}
	ev, err := e.plan.Run(ctx, e.h.stream, e.h.args)
	if err != nil {
		return 0, err
	}
	if e.data == OnHost {
		for _, r := range e.plan.outputs {
			if err := e.h.stream.Download(ctx, e.out[r], e.h.args[r]); err != nil {
				return 0, err
			}
		}
	}
	err = ev.Wait(ctx)
	return time.Since(start), err
}

func (e *entrant) Close() error {
	var errs []error
	if e.h != nil {
		errs = append(errs, e.h.free())
	}
	if e.plan != nil {
		errs = append(errs, e.plan.Close())
	}
	return errors.Join(errs...)
}

// trial makes inputs and constants that run as any would: numbers that differ, valid indices and multipliers.
func trial(p *problem.Problem) (in Operands, err error) {
	for _, list := range [2][]problem.Role{p.Constants(), p.Inputs()} {
		for _, r := range list {
			if in[r], err = NewTensor(p.TypeOf(r), p.Shape(r)...); err != nil {
				return in, err
			}
			switch typ := p.TypeOf(r); {
			case r == problem.Ind: // zeros: each points to the first cell
			case r == problem.Quant: // zero points of 0, and multipliers
				for o := range p.OC {
					in[r].Float32s()[2*p.OC+o] = 1.0 / 64
				}
			case typ == problem.F32:
				vary(in[r].Float32s())
			default:
				values := make([]float32, problem.Elems(p.Shape(r)))
				vary(values)
				if typ != problem.F16 {
					for i := range values {
						values[i] = 4 * (1 + values[i]) // whole in u8, too
					}
				}
				if err := in[r].Narrow(values); err != nil {
					return in, err
				}
			}
		}
	}
	return in, nil
}

// vary fills with multiples of 1/8 from −1 to 7/8.
func vary(v []float32) {
	x := uint32(1)
	for i := range v {
		x = x*1664525 + 1013904223
		v[i] = float32(int32(x)>>28) / 8
	}
}
