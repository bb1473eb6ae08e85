package cpu

import (
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
}

// newChain returns the problem's chain, nil if it is empty.
func newChain(p *problem.Problem, t *tensors) *chain {
	c := &chain{ops: p.Posts(), params: t.f[problem.PostParams], residual: t.f[problem.Residual], channels: p.OC, plane: 1}
	if !p.Integer() {
		c.bias = t.f[problem.Bia]
	}
	for _, a := range p.Axes {
		c.plane *= a.Out
	}
	if c.bias == nil && len(c.ops) == 0 {
		return nil
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

// apply works on a run of one channel's results, in float32 with one rounding for each elementary operation, and one in
// all for the transcendental functions.
func (c *chain) apply(n, o, at int, row []float32) {
	if c.bias != nil {
		add(row, c.bias[o])
	}
	param := 0 // rows taken
	next := func() float32 { param++; return c.params[(param-1)*c.channels+o] }
	for _, op := range c.ops {
		switch op.Kind {
		case problem.Scale:
			a, b := next(), next()
			for i, v := range row {
				row[i] = float32(a*v) + b
			}
		case problem.AddBias:
			add(row, next())
		case problem.PReLU:
			leak(row, next())
		case problem.Leaky:
			leak(row, op.Alpha)
		case problem.Add:
			for i, v := range c.residual[(n*c.channels+o)*c.plane+at:][:len(row)] {
				row[i] += v
			}
		default:
			for i, v := range row {
				row[i] = activate(op, v)
			}
		}
	}
}

func add(row []float32, b float32) {
	for i := range row {
		row[i] += b
	}
}

func leak(row []float32, slope float32) {
	for i, v := range row {
		if v < 0 {
			row[i] = slope * v
		}
	}
}

// activate is a post-op that needs nothing but its input.
func activate(op problem.PostOp, v float32) float32 {
	if op.Kind == problem.HardSwish && v > -3 && v < 3 {
		return float32(v*(v+3)) / 6 // three roundings, as float64 would not make them
	}
	return float32(rounding.Apply(op, float64(v), 0, 0, 0))
}
