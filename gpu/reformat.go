package gpu

import (
	"context"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// reformatTypes are the numbers of the types in the kernel reformat.
var reformatTypes = map[problem.DataType]int{problem.F32: 0, problem.F16: 1, problem.S8: 2, problem.U8: 3, problem.S32: 4}

// reformat adds the copy of a tensor of n images, c channels and sp cells a plane from one form to another.
func (pl *plan) reformat(
	ctx context.Context, list *[]step, n, c, sp int, src operand, from form, dst operand, to form,
) error {
	k, err := pl.kernel(ctx, "reformat", words(generalGroup, 1, 1, reformatTypes[from.Type], reformatTypes[to.Type])...)
	if err != nil {
		return err
	}
	rows, columns := 1, 1
	if from.Layout != to.Layout && c > 1 && sp > 1 {
		rows, columns = c, sp
		if to.Layout == problem.NHWC {
			rows, columns = sp, c
		}
	}
	total := n * c * sp
	gx, groups := flat(ceilDiv(total*to.Type.Size(), 4), generalGroup)
	return pl.grid(list, k, groups, []operand{src, dst}, words(total, gx, rows, columns)...)
}
