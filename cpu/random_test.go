package cpu

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// randomProblem is small and valid: any rank, groups, dilation, asymmetric and negative paddings, ceil rounding.
func randomProblem(r *rand.Rand, op problem.Op) problem.Problem {
	for {
		p := problem.Problem{Op: op, N: 1 + r.IntN(2), Groups: 1 + r.IntN(3), Rank: 1 + r.IntN(3)}
		p.IC, p.OC = p.Groups*(1+r.IntN(3)), p.Groups*(1+r.IntN(3))
		if op == problem.Pool {
			p.Kind, p.Groups, p.OC = problem.PoolKind(r.IntN(4)), 1, p.IC
		} else {
			p.Bias, p.Act = r.IntN(2) == 0, problem.Activation(r.IntN(2))
		}
		ceil := r.IntN(2) == 0
		for i := range p.Axes {
			if i < 3-p.Rank {
				p.Axes[i] = problem.Axis{In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: 1}
				continue
			}
			a := problem.Axis{In: 1 + r.IntN(9), Kernel: 1 + r.IntN(4), Stride: 1 + r.IntN(3), PadL: r.IntN(5) - 1, PadR: r.IntN(5) - 1, Dilation: 1 + r.IntN(2)}
			switch {
			case op == problem.Deconv:
				a.Out = (a.In-1)*a.Stride - a.PadL - a.PadR + a.Extent() + r.IntN(max(a.Stride, a.Dilation))
			case op == problem.Pool && ceil:
				a.Out = a.OutCeil()
			default:
				a.Out = a.OutFloor()
			}
			p.Axes[i] = a
		}
		if p.Validate() == nil {
			return p
		}
	}
}

// integers are small whole numbers: every sum of their products is exact in float32.
func integers(r *rand.Rand, shape []int) []float32 {
	v := make([]float32, problem.Elems(shape))
	for i := range v {
		v[i] = float32(r.IntN(7) - 3)
	}
	return v
}

func operandsOf(r *rand.Rand, p *problem.Problem) driver.Operands {
	in := driver.Operands{Src: integers(r, p.Shape(problem.Src)), DiffDst: integers(r, p.Shape(problem.Dst))}
	if p.Op != problem.Pool {
		in.Wei = integers(r, p.Shape(problem.Wei))
	}
	if p.Bias {
		in.Bia = integers(r, p.Shape(problem.Bia))
	}
	return in
}

func open(t *testing.T) *Device {
	t.Helper()
	d, err := Driver{}.Open(t.Context(), 0, driver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if used, _ := d.(*Device).MemoryInUse(); used != 0 {
			t.Errorf("%d bytes are still in use", used)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d.(*Device)
}

func reference(t *testing.T, p problem.Problem, in driver.Operands) driver.Truth {
	t.Helper()
	truth, err := (&Device{}).Reference(t.Context(), p, in, nil)
	if err != nil {
		t.Fatalf("%s %s: %v", p.Dir, p.String(), err)
	}
	return truth
}

// same compares bits, with all NaNs alike.
func same(a, b float32) bool {
	return math.Float32bits(a) == math.Float32bits(b) || a != a && b != b
}
