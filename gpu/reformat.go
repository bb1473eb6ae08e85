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
	rows, columns := 1, c*sp
	if from.Layout != to.Layout && c > 1 && sp > 1 {
		rows, columns = c, sp
		if to.Layout == problem.NHWC {
			rows, columns = sp, c
		}
	}
	items, order := tiles(n, rows, columns, 4/from.Type.Size(), 4/to.Type.Size())
	tunables := words(generalGroup, 1, 1, reformatTypes[from.Type], reformatTypes[to.Type], order)
	k, err := pl.kernel(ctx, "reformat", tunables...)
	if err != nil {
		return err
	}
	return pl.each(list, k, items, []operand{src, dst}, words(n*c*sp, rows, columns)...)
}

// tiles is how many work-items of the kernel reformat write n matrices of so many elements a word, and its ORDER: as they
// lie where there is one row, in tiles of eight rows where rows are whole words.
func tiles(n, rows, columns, perFrom, perTo int) (items, order int) {
	switch {
	case rows == 1:
		return ceilDiv(n*columns, max(perFrom, perTo)), 2
	case columns%perTo == 0:
		return n * ceilDiv(rows, 8) * (columns / perTo), 1
	}
	return ceilDiv(n*rows*columns, perTo), 0
}
