package cpu

import (
	"context"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// integerSums is a convolution of 8-bit integers, by products of quads of bytes where they hold the weights, and else of pairs.
type integerSums struct {
	quads *quadProduct // nil: pairs are as good
	pairs *pairProduct
}

// newIntegers plans an integer convolution.
func newIntegers(d *Device, p *problem.Problem) *igemm {
	return &igemm{g: newGeometry(p), integers: &integerSums{newQuadProduct(d, p), newPairProduct(d, p)}}
}

func (n *integerSums) String() string {
	if n.quads == nil {
		return "pairs of 16 bits, " + n.pairs.gemm.String()
	}
	return "quads of bytes, " + n.quads.String() + "; pairs of 16 bits if weights less their zero points take more than 8"
}

// weights is how many elements packed weights take, scratch how many a run takes: the most.
func (n *integerSums) weights() int {
	most := n.pairs.weights()
	if n.quads != nil {
		most = max(most, n.quads.weights())
	}
	return most
}

func (n *integerSums) scratch() int {
	most := n.pairs.scratch()
	if n.quads != nil {
		most = max(most, n.quads.scratch())
	}
	return most
}

// pack packs weights less their zero points, by the one or the other.
func (n *integerSums) pack(t *tensors, by quant) (packed []float32, quads *quadWeights) {
	if n.quads != nil {
		if quads = n.quads.pack(t.i[problem.Wei], t.i[problem.Bia], by); quads != nil {
			return nil, quads
		}
	}
	return n.pairs.pack(t.i[problem.Wei]), nil
}

// runIntegers runs an integer convolution.
func runIntegers(ctx context.Context, j *job) error {
	n := j.igemm.integers
	if j.quads != nil {
		return n.quads.run(ctx, j)
	}
	return n.pairs.run(ctx, j)
}
