package cpu

import (
	"context"
	"fmt"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// integerSums is a convolution of 8-bit integers, by products of quads of bytes where they hold the weights, and else otherwise.
type integerSums struct {
	quads *quadProduct // nil: the others are as good
	other differences
}

// differences is a way to convolve weights and source less their zero points, which need not be bytes.
type differences interface {
	fmt.Stringer
	// weights is how many elements packed weights take, scratch how many a run takes.
	weights() int
	scratch() int
	pack(ctx context.Context, wei []int32) ([]float32, error)
	run(ctx context.Context, j *job) error
}

// newIntegers plans an integer convolution by products.
func newIntegers(d *Device, p *problem.Problem) *igemm {
	return &igemm{g: newGeometry(p), integers: &integerSums{newQuadProduct(d, p), newPairProduct(d, p)}}
}

func (n *integerSums) String() string {
	if n.quads == nil {
		return n.other.String()
	}
	return fmt.Sprintf("quads of bytes, %s; if weights less their zero points are no signed bytes, %s", n.quads, n.other)
}

// weights is how many elements packed weights take, scratch how many a run takes: the most.
func (n *integerSums) weights() int {
	if n.quads == nil {
		return n.other.weights()
	}
	return max(n.quads.weights(), n.other.weights())
}

func (n *integerSums) scratch() int {
	if n.quads == nil {
		return n.other.scratch()
	}
	return max(n.quads.scratch(), n.other.scratch())
}

// pack packs weights less their zero points, by the one or the other.
func (n *integerSums) pack(ctx context.Context, t *tensors, by quant) (packed []float32, quads *quadWeights, err error) {
	if n.quads != nil {
		if quads = n.quads.pack(t.i[problem.Wei], t.i[problem.Bia], by); quads != nil {
			return nil, quads, nil
		}
	}
	packed, err = n.other.pack(ctx, t.i[problem.Wei])
	return packed, nil, err
}

// runIntegers runs an integer convolution.
func runIntegers(ctx context.Context, j *job) error {
	n := j.igemm.integers
	if j.quads != nil {
		return n.quads.run(ctx, j)
	}
	return n.other.run(ctx, j)
}
