package verify

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	_ "github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/devicetest"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// The fake devices are the cpu with something wrong.
func TestMain(m *testing.M) {
	engine.Register("small", fake{refuse: func(p *problem.Problem) bool { return p.Bytes() > 1<<18 || p.FLOPs() > 1e6 }})
	engine.Register("flat", fake{refuse: func(p *problem.Problem) bool { return p.Rank == 3 }})
	engine.Register("liar", fake{spoil: func(ctx context.Context, s driver.Stream, dst driver.Buffer) error {
		return s.Write(ctx, dst, 4, []byte{0, 0, 0xc8, 0x42}) // element 1 becomes 100
	}})
	engine.Register("lazy", fake{lazy: true})
	engine.Register("little", fake{most: 16 << 10, refuse: over(16 << 10)})
	engine.Register("littlelazy", fake{most: 16 << 10, refuse: over(16 << 10), lazy: true})
	engine.Register("wide", fake{spoil: spoilFirst, spoils: func(p *problem.Problem) bool { return p.Axes[2].In >= 20 }})
	// The first and the last of several tiles have padding on one side only.
	engine.Register("narrow", fake{spoil: spoilFirst, spoils: func(p *problem.Problem) bool {
		a := p.Axes[2]
		return p.Op == problem.Conv && p.Dir == problem.Forward && (a.PadL > 0) != (a.PadR > 0)
	}})
	for name, off := range map[string]float32{"winograd": 1e-4, "winogradwrong": 1} {
		says := driver.Arithmetic{Winograd: 4}
		spoil := func(ctx context.Context, s driver.Stream, dst driver.Buffer) error {
			return each(ctx, s, dst, func(i int, v float32) float32 { return v + off*float32(i%2) })
		}
		engine.Register(name, fake{says: says, spoil: spoil})
		few := func(p *problem.Problem) bool { return p.Axes[1].Out < 3 }
		engine.Register(name+"few", fake{says: says, saysOf: few, spoil: spoil, spoils: few})
	}
	for name, f := range mutants {
		engine.Register(name, f)
	}
	os.Exit(m.Run())
}

// over says whether a tensor is larger than so many bytes.
func over(bytes int64) func(*problem.Problem) bool {
	return func(p *problem.Problem) bool {
		for _, r := range slices.Concat(p.Constants(), p.Inputs(), p.Outputs()) {
			if p.BytesOf(r) > bytes {
				return true
			}
		}
		return false
	}
}

// spoilFirst adds 1 to element 0 if that is f32.
func spoilFirst(ctx context.Context, s driver.Stream, dst driver.Buffer) error {
	return each(ctx, s, dst, func(i int, v float32) float32 {
		if i == 0 {
			v++
		}
		return v
	})
}

// each changes the elements of an f32 buffer.
func each(ctx context.Context, s driver.Stream, b driver.Buffer, change func(int, float32) float32) error {
	data := make([]byte, b.Bytes())
	if err := s.Read(ctx, data, b, 0); err != nil {
		return err
	}
	for i := range len(data) / 4 {
		v := math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(change(i, v)))
	}
	return s.Write(ctx, b, 0, data)
}

// mutants are faults as kernels have them: the problem that is computed is not quite the one that was asked for, or the
// result is not what it should be.
var mutants = map[string]fake{
	"halo": {bend: func(p *problem.Problem) { // reads begin one cell early
		if a := &p.Axes[2]; p.Op == problem.Conv && p.PadMode == problem.Zeros {
			a.PadL, a.PadR = a.PadL+1, a.PadR-1
		}
	}},
	"divisor": {bend: func(p *problem.Problem) {
		if p.Kind == problem.AvgExclude && p.Divisor == 0 {
			p.Kind = problem.AvgFull
		}
	}},
	"biasless": {bend: func(p *problem.Problem) { // a bias is forgotten on planes that are no multiple of 4
		if p.Axes[2].Out%4 != 0 {
			p.Bias = false
		}
	}},
	"order": {bend: func(p *problem.Problem) {
		if p.Indices == problem.Column {
			p.Indices = problem.Flat
		}
	}},
	"axes": {bend: func(p *problem.Problem) { // dilations of height and width swapped
		if h, w := &p.Axes[1], &p.Axes[2]; p.Op == problem.Conv && p.Rank > 1 {
			h.Dilation, w.Dilation = w.Dilation, h.Dilation
		}
	}},
	"rounding": {spoils: func(p *problem.Problem) bool {
		return p.Op == problem.Pool && p.Dir == problem.Forward && p.Kind.Average() && p.Type == problem.Types{}
	}, spoil: func(ctx context.Context, s driver.Stream, dst driver.Buffer) error {
		return each(ctx, s, dst, func(_ int, v float32) float32 { // multiplies by a rounded 1/3 instead of dividing
			if v*3 == float32(int(v*3)) {
				return v * 3 * float32(1.0/3)
			}
			return v
		})
	}},
	"tail": {spoils: func(p *problem.Problem) bool {
		return p.Op == problem.Deconv && p.OC/p.Groups%4 == 3 && p.Type == problem.Types{}
	},
		spoil: spoilFirst},
}

type fake struct {
	refuse func(*problem.Problem) bool
	bend   func(*problem.Problem)      // changes the problem before it is planned; if that makes it invalid it stays
	spoils func(*problem.Problem) bool // nil: all problems are spoiled
	spoil  func(ctx context.Context, s driver.Stream, dst driver.Buffer) error
	lazy   bool  // runs compute nothing
	most   int64 // bytes of a tensor; 0: as the cpu
	says   driver.Arithmetic
	saysOf func(*problem.Problem) bool // nil: of all problems
}

func (f fake) Devices() ([]driver.Info, error) {
	return []driver.Info{{Name: "fake", API: "fake"}}, nil
}

func (f fake) Open(ctx context.Context, _ int, _ driver.Options) (driver.Device, error) {
	d, err := engine.Open(ctx, "cpu")
	if err != nil {
		return nil, err
	}
	return fakeDevice{d.Driver(), f}, nil
}

type fakeDevice struct {
	driver.Device
	fake
}

func (d fakeDevice) Info() driver.Info {
	i := d.Device.Info()
	if d.most > 0 {
		i.MaxTensorBytes = d.most
	}
	return i
}

func (d fakeDevice) Plan(ctx context.Context, p problem.Problem, o driver.PlanOptions) (driver.Plan, error) {
	if d.refuse != nil && d.refuse(&p) {
		return nil, fmt.Errorf("%w: the fake refuses", driver.ErrUnsupported)
	}
	bent := p
	if d.bend != nil {
		if d.bend(&bent); bent.Validate() != nil {
			bent = p
		}
	}
	pl, err := d.Device.Plan(ctx, bent, o)
	if err != nil {
		return nil, err
	}
	return fakePlan{pl, d, p}, nil
}

type fakePlan struct {
	driver.Plan
	dev fakeDevice
	p   problem.Problem
}

func (p fakePlan) Info() driver.PlanInfo {
	i := p.Plan.Info()
	i.Arithmetic = driver.Arithmetic{}
	if p.dev.saysOf == nil || p.dev.saysOf(&p.p) {
		i.Arithmetic = p.dev.says
	}
	return i
}

func (p fakePlan) Run(ctx context.Context, s driver.Stream, a driver.Args) (driver.Event, error) {
	if p.dev.lazy {
		r := p.p.Outputs()[0]
		a.Buffers[r] = scratch{a.Buffers[r]}.clone(p.dev)
	}
	ev, err := p.Plan.Run(ctx, s, a)
	if out := a.Buffers[p.p.Outputs()[0]]; err == nil && p.dev.spoil != nil && (p.dev.spoils == nil || p.dev.spoils(&p.p)) {
		err = p.dev.spoil(ctx, s, out)
	}
	return ev, err
}

// scratch diverts a result into memory that nobody reads.
type scratch struct{ driver.Buffer }

func (s scratch) clone(d fakeDevice) driver.Buffer {
	b, err := d.Alloc(s.Bytes())
	if err != nil {
		panic(err)
	}
	return b
}

func open(t testing.TB, spec string, opts ...engine.Option) *engine.Device {
	t.Helper()
	return devicetest.Open(t, spec, append(opts, engine.NoFallback())...)
}

func newCase(t testing.TB, p problem.Problem, fill Fill, budget float64) *Case {
	t.Helper()
	c, err := NewCase(t.Context(), open(t, "cpu"), p, fill, budget)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
