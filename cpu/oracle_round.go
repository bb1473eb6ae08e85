package cpu

import (
	"math"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

const (
	unit      = 1.0 / (1 << 24)        // u: half the distance from 1 to the next float32
	exactSum  = 1 << 24                // partial sums below this are exact in float32
	tiny      = 1.1754943508222875e-38 // smallest normal float32, which a device that flushes denormals may lose
	oracleUse = 1.0 / (1 << 52)        // the oracle's own rounding, per term
)

// number is a value with how far float32 arithmetic may be off it.
type number struct {
	value, bound, magnitude float64
	terms                   int64
	inexact                 bool // integers as inputs do not make it exact
}

func gamma(n float64) float64 {
	g := n * unit
	if g < 0.5 {
		g /= 1 - g
	}
	return g + n*oracleUse
}

// exact is a value that no computation rounds.
func exact(v float64) driver.Element { return driver.Element{Value: v, Exact: true} }

func (o *oracle) number(s sum) number {
	n := float64(s.terms)
	grain := s.grain
	if grain == 0 {
		grain = 1
	}
	return number{s.value, gamma(n)*s.magnitude + 2*n*tiny + s.slack, s.magnitude, s.terms, s.magnitude >= exactSum*grain}
}

func (o *oracle) constant(v float64, s sum) number {
	return number{v, 0, s.magnitude, s.terms, false}
}

func (o *oracle) plain(s sum) driver.Element { return o.element(o.number(s)) }

func (o *oracle) element(n number) driver.Element {
	if n.value-n.value != 0 { // infinities and NaN come out as such
		n.bound = 0
	}
	e := driver.Element{Value: n.value, Bound: n.bound, Magnitude: n.magnitude, Terms: n.terms, Exact: !n.inexact}
	if o.p.TypeOf(o.p.Outputs()[0]) == problem.F16 && n.bound > 0 {
		e.Bound += (math.Abs(n.value)+n.bound)/(1<<11) + 0x1p-25
	}
	return e
}

func (o *oracle) average(s sum, divisor int) driver.Element {
	if s.terms == 0 {
		return exact(0)
	}
	n := o.number(s)
	d := float64(divisor)
	n.value, n.magnitude = n.value/d, n.magnitude/d
	n.bound = n.bound/d + 3*unit*(math.Abs(n.value)+n.bound/d) + tiny
	return o.element(n)
}

func (o *oracle) norm(plane []float32, x [3]int) driver.Element {
	y := normOf(o.p, plane, x)
	return o.element(number{value: y, bound: 256 * unit * y, inexact: true})
}

func (o *oracle) normGradient(s sum) driver.Element {
	n := o.number(s)
	n.bound += 512 * unit * s.magnitude
	n.inexact = true
	return o.element(n)
}

func (n number) rounded() number {
	n.bound += unit*(math.Abs(n.value)+n.bound) + tiny
	return n
}

func (n number) add(b number) number {
	n.value += b.value
	n.bound += b.bound
	n.magnitude += math.Abs(b.value)
	return n.rounded()
}

func (n number) scale(a float64) number {
	n.value, n.bound, n.magnitude = n.value*a, n.bound*math.Abs(a), n.magnitude*math.Abs(a)
	return n.rounded()
}

func (n number) leak(a float64) number {
	if n.value < 0 {
		n.value *= a
	}
	n.bound *= max(1, math.Abs(a))
	return n.rounded()
}

func (n number) apply(op problem.PostOp) number {
	x := n.value
	switch op.Kind {
	case problem.ReLU:
		if x < 0 {
			n.value = 0
		}
		return n
	case problem.Leaky:
		return n.leak(float64(op.Alpha))
	case problem.Clip:
		if x < float64(op.Alpha) {
			n.value = float64(op.Alpha)
		}
		if x > float64(op.Beta) {
			n.value = float64(op.Beta)
		}
		return n
	case problem.HardSwish:
		n.value = x * max(0, min(6, x+3)) / 6
	case problem.Sigmoid:
		n.value = 1 / (1 + math.Exp(-x))
	case problem.Tanh:
		n.value = math.Tanh(x)
	case problem.SiLU:
		n.value = x / (1 + math.Exp(-x))
	case problem.GELU:
		n.value = x / 2 * math.Erfc(-x/math.Sqrt2)
	case problem.GELUTanh:
		n.value = x / (1 + math.Exp(-2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	}
	n.bound, n.inexact = 2*n.bound+16*unit*(math.Abs(n.value)+1), true
	return n
}

func largest(cells []number) number {
	best := number{value: math.Inf(-1)}
	for i, c := range cells {
		if i == 0 || c.value > best.value || c.value != c.value {
			best.value = c.value
		}
		best.bound = max(best.bound, c.bound)
		best.magnitude = max(best.magnitude, c.magnitude)
		best.terms += c.terms
		best.inexact = best.inexact || c.inexact
	}
	return best
}

func mean(cells []number, divisor int) number {
	if len(cells) == 0 {
		return number{}
	}
	var n number
	for _, c := range cells {
		n.value += c.value
		n.bound += c.bound
		n.magnitude += c.magnitude
		n.terms += c.terms
		n.inexact = n.inexact || c.inexact
	}
	n.bound += gamma(float64(len(cells))) * n.magnitude
	d := float64(divisor)
	n.value, n.bound, n.magnitude = n.value/d, n.bound/d, n.magnitude/d
	return n.rounded()
}
