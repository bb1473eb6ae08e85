package cpu

import (
	"math"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/rounding"
)

// chain is what happens to a convolution's sums: bias, then the post-ops in order.
type chain struct {
	bias     []float32
	ops      []problem.PostOp
	params   []float32 // [rows, channels]
	residual []float32 // [n, channels, plane]
	channels int
	plane    int
	isa      simd.ISA
	slopes   [][]float32 // of each op, if it is a leaky ReLU, for each channel
	// A product adds the bias and clips, if that comes next, while results are in registers; rest is the other ops, nil if
	// there are none.
	clips  bool
	lo, hi float32
	rest   *chain
}

// slopes are those of a problem's leaky ReLUs, for each channel.
type slopes [problem.MaxPost][]float32

func newSlopes(p *problem.Problem) (s slopes) {
	for i, op := range p.Posts() {
		if op.Kind == problem.Leaky {
			s[i] = make([]float32, p.OC)
			fill(s[i], op.Alpha)
		}
	}
	return s
}

// set makes c a job's chain, and rest what a product does not do in registers. It returns nil if the chain is empty.
func (c *chain) set(rest *chain, j *job) *chain {
	p := j.p
	*c = chain{isa: j.isa, ops: p.Posts(), params: j.t.f[problem.PostParams], residual: j.t.f[problem.Residual],
		channels: p.OC, plane: 1, slopes: j.slopes[:]}
	if !p.Integer() {
		c.bias = j.t.f[problem.Bia]
	}
	if c.bias == nil && len(c.ops) == 0 {
		return nil
	}
	for _, a := range p.Axes {
		c.plane *= a.Out
	}
	*rest = *c
	rest.bias = nil
	if len(c.ops) > 0 {
		switch op := c.ops[0]; op.Kind {
		case problem.ReLU:
			c.clips, c.lo, c.hi = true, 0, float32(math.Inf(1))
		case problem.Clip:
			c.clips, c.lo, c.hi = true, op.Alpha, op.Beta
		}
	}
	if c.clips {
		rest.ops, rest.slopes = c.ops[1:], c.slopes[1:]
	}
	if len(rest.ops) > 0 {
		c.rest = rest
	}
	return c
}

// finish is the chain as the loops call it.
func (c *chain) finish() finish {
	if c == nil {
		return nil
	}
	return c.apply
}

// apply works on a run of one channel's results, in float32 with one rounding for each elementary operation. The
// transcendental functions have the errors of the GPUs' where there are vectors for them, else they are rounded once.
func (c *chain) apply(n, o, at int, row []float32) { c.block(n, o, at, row, len(row), 1, len(row)) }

// block works on results of some channels, from o on, at the same positions: v[r·ld + x].
func (c *chain) block(n, o, at int, v []float32, ld, channels, cols int) {
	b := simd.Block{C: v, LD: ld, Rows: channels, Cols: cols}
	if c.bias != nil {
		b.Bias(c.isa, simd.Params{V: c.bias[o:]})
	}
	param := 0 // rows taken
	next := func() simd.Params { param++; return simd.Params{V: c.params[(param-1)*c.channels+o:]} }
	for i, op := range c.ops {
		switch op.Kind {
		case problem.Scale:
			scale := next()
			b.Scale(c.isa, scale, next())
		case problem.AddBias:
			b.Bias(c.isa, next())
		case problem.PReLU:
			b.Leak(c.isa, next())
		case problem.Leaky:
			b.Leak(c.isa, simd.Params{V: c.slopes[i]})
		case problem.ReLU:
			b.Clip(c.isa, 0, float32(math.Inf(1)))
		case problem.Clip:
			b.Clip(c.isa, op.Alpha, op.Beta)
		case problem.Add:
			b.Add(c.isa, c.residual[(n*c.channels+o)*c.plane+at:], c.plane)
		default:
			if b.Activate(c.isa, activations[op.Kind]) {
				continue
			}
			for r := range channels {
				row := v[r*ld:][:cols]
				for x := range row {
					row[x] = activate(op, row[x])
				}
			}
		}
	}
}

// activations are the post-ops that need nothing but their input, and take more than an instruction.
var activations = [...]simd.Activation{
	problem.Sigmoid: simd.Sigmoid, problem.Tanh: simd.Tanh, problem.SiLU: simd.SiLU, problem.GELU: simd.GELU,
	problem.GELUTanh: simd.GELUTanh, problem.HardSwish: simd.HardSwish,
}

// activate is one of them, in Go.
func activate(op problem.PostOp, v float32) float32 {
	if op.Kind == problem.HardSwish && v > -3 && v < 3 {
		return float32(v*(v+3)) / 6 // three roundings, as float64 would not make them
	}
	return float32(rounding.Apply(op, float64(v), 0, 0, 0))
}
