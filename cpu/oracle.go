package cpu

import (
	"context"
	"fmt"
	"math"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/rounding"
)

// Reference computes elements of an output one by one, in float64, by the loops of the definition: it is meant to be
// obviously right, not fast. It implements driver.Oracle for every problem.
func (d *Device) Reference(ctx context.Context, p problem.Problem, a driver.Arithmetic, in driver.Operands, out problem.Role,
	at []int64) (driver.Truth, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	t, err := logicalTensors(ctx, &p, in)
	if err != nil {
		return nil, err
	}
	return reference(ctx, &p, a, t, out, at)
}

// logicalTensors checks the oracle's operands and brings them into the order [N, C, spatial…]. As in a run, the zero
// points of integer weights are taken off.
func logicalTensors(ctx context.Context, p *problem.Problem, in driver.Operands) (*tensors, error) {
	t, j := &tensors{}, &job{}
	for _, list := range [][]problem.Role{p.Constants(), p.Inputs()} {
		for _, r := range list {
			elems := problem.Elems(p.Shape(r))
			floats, ints := in[r].F32, in[r].I32
			if got := int64(max(len(floats), len(ints))); got != elems {
				return nil, fmt.Errorf("%w: %s has %d elements, %s wants %d", driver.ErrInvalid, r, got, p.String(), elems)
			}
			var err error
			if whole(p, r) {
				if ints == nil {
					ints = make([]int32, elems)
					for i, v := range floats {
						ints[i] = int32(v)
					}
				}
				t.i[r], err = reorder(ctx, p, r, ints, j.ints, channelsFirst[int32])
			} else {
				if floats == nil {
					floats = make([]float32, elems)
					for i, v := range ints {
						floats[i] = float32(v)
					}
				}
				t.f[r], err = reorder(ctx, p, r, floats, j.floats, channelsFirst[float32])
			}
			if err != nil {
				return nil, err
			}
		}
	}
	if p.Integer() {
		t.i[problem.Wei] = append([]int32(nil), t.i[problem.Wei]...)
		q := newQuant(t.f[problem.Quant], p.OC)
		q.subtract(t.i[problem.Wei])
	}
	return t, nil
}

// reference is the truth about elements at (nil: all) of an output, in its memory order.
func reference(ctx context.Context, p *problem.Problem, a driver.Arithmetic, t *tensors, out problem.Role, at []int64,
) (driver.Truth, error) {
	total := problem.Elems(p.Shape(out))
	for _, e := range at {
		if e < 0 || e >= total {
			return nil, fmt.Errorf("%w: element %d of a result of %d", driver.ErrInvalid, e, total)
		}
	}
	count := int64(len(at))
	if at == nil {
		count = total
	}
	element, err := elementOf(ctx, p, a, t, out, count)
	if err != nil {
		return nil, err
	}
	index := logical(p, out)
	truth := make(driver.Truth, count)
	err = parallel(ctx, int(count), 1+int(1<<14/max(1, p.Terms())), func(i int) {
		e := int64(i)
		if at != nil {
			e = at[i]
		}
		truth[i] = element(index(e))
	})
	return truth, err
}

// elementOf returns the function that computes one element of an output by its index in [N, C, spatial…].
// So many will be asked for.
func elementOf(ctx context.Context, p *problem.Problem, a driver.Arithmetic, t *tensors, out problem.Role, count int64,
) (func(int64) driver.Element, error) {
	known := false
	for _, r := range p.Outputs() {
		known = known || r == out
	}
	if !known {
		return nil, fmt.Errorf("%w: %s has no output %s", driver.ErrInvalid, p.String(), out)
	}
	o := &oracle{p: p, t: t, g: newGeometry(p), short: a.Half, truncates: a.Truncates, orPlain: a.OrPlain}
	if a.FFT != 0 {
		w, err := newFFT(ctx, p, a, o.g, t, count)
		if err != nil {
			return nil, err
		}
		o.tiles = func(s sum, i int64) rounding.Number { return w.number(w, s, i) }
	} else if a.Winograd != 0 {
		w, err := newWinograd(ctx, p, a, o.g, t, count)
		if err != nil {
			return nil, err
		}
		o.tiles = func(s sum, i int64) rounding.Number { return w.number(w, s, i) }
	} else if convolves := p.Op == problem.Conv || p.Op == problem.Deconv; a.Half != 0 && (!convolves || p.Integer() || a.Half < 0 || a.Half > rounding.MostShort) {
		return nil, fmt.Errorf("%w: no bound for %s of %s", driver.ErrUnsupported, a, p.String())
	}
	switch p.Op {
	case problem.Pool:
		return o.pooling(ctx, out)
	case problem.Unpool:
		return o.unpooling(), nil
	case problem.Im2col, problem.Col2im:
		return o.columns(), nil
	case problem.Deform:
		return o.deformable(), nil
	}
	if p.Integer() {
		return o.integer(), nil
	}
	return o.convolution(), nil
}

// oracle is what the elements of a problem are computed from.
type oracle struct {
	p         *problem.Problem
	t         *tensors
	g         *geometry
	tiles     func(s sum, i int64) rounding.Number // by transforms; nil: plain sums …
	short     int                                  // … in f16, of so many products, if not 0 …
	truncates bool                                 // … or truncated
	orPlain   bool                                 // or, of any of them, plain sums in f32 after all
}

// sum is a float64 sum with its magnitude and its number of terms.
type sum struct {
	value, magnitude float64
	largest          float64 // |term|
	terms            int64
	slack            float64 // what the terms themselves may be off
}

func (s *sum) add(product float64) {
	s.value += product
	size := math.Abs(product)
	s.magnitude += size
	if size > s.largest {
		s.largest = size
	}
	s.terms++
}

// number is the sum with the error bound of float32 arithmetic.
func (s *sum) number() rounding.Number {
	n := rounding.Sum(s.value, s.magnitude, s.terms)
	n.Bound += s.slack
	return n
}

// number is the sum of a convolution's result i with the error bound of the arithmetic.
func (o *oracle) number(s sum, i int64) rounding.Number {
	n := o.special(s, i)
	if o.orPlain {
		n = rounding.Either(n, s.number())
	}
	return n
}

// special is number by the arithmetic alone that a plan is made for.
func (o *oracle) special(s sum, i int64) rounding.Number {
	switch {
	case o.tiles != nil:
		return o.tiles(s, i)
	case o.short != 0:
		return rounding.HalfSums(s.value, s.magnitude, s.largest, s.terms, o.short)
	case o.truncates:
		return rounding.TruncatedSum(s.value, s.magnitude, s.terms)
	}
	return s.number()
}

// element is what the oracle says of a number: f16 outputs are rounded once more.
func (o *oracle) element(n rounding.Number) driver.Element {
	if o.p.Type.Dst == problem.F16 && o.p.Dir != problem.BackwardBias {
		n = n.Half()
	}
	return driver.Element{Value: n.Value, Bound: n.Bound, Magnitude: n.Magnitude, Terms: n.Terms, Exact: n.Exact()}
}

// plain is a sum and nothing else.
func (o *oracle) plain(s sum) driver.Element { return o.element(s.number()) }

// exact is a value that no computation rounds.
func exact(v float64) driver.Element { return driver.Element{Value: v, Exact: true} }
