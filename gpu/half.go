package gpu

import (
	"context"

	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/shaders"
)

// Tensors of halves without passes that convert them: kernels' variants half load and store elements of 16 bits where they
// lie. They compute in f32 like the bases.

// halves says whether kernels can take the roles' tensors for what they are, halves in the order in which they compute.
func (pl *plan) halves(roles ...problem.Role) bool {
	for _, r := range roles {
		if !pl.dev.proof.Halves || pl.p.TypeOf(r) != problem.F16 || pl.p.LayoutOf(r) != problem.NCHW ||
			pl.bordered() && (r == problem.Src || r == problem.DiffSrc) {
			return false
		}
	}
	return true
}

// inWords is memory of the plan's own.
func inWords(o operand) stored { return stored{o, problem.F32} }

// outputOf is output for a kernel with a variant half, which has the output and these inputs as halves, or none of them.
func (pl *plan) outputOf(r problem.Role, inputs ...problem.Role) stored {
	if pl.halves(append(inputs, r)...) {
		pl.results[r] = pl.tensor(r)
		return stored{pl.results[r], problem.F16}
	}
	return inWords(pl.output(r))
}

// inputAs is input, or as halves the tensor as it is.
func (pl *plan) inputAs(ctx context.Context, half bool, r problem.Role) (operand, error) {
	if half {
		return pl.tensor(r), nil
	}
	return pl.input(ctx, r)
}

// kernelFor is kernel, or its variant half.
func (pl *plan) kernelFor(ctx context.Context, half bool, name string, tunables ...int32) (*kernel, error) {
	if half {
		name = shaders.Half(name)
	}
	return pl.kernel(ctx, name, tunables...)
}
