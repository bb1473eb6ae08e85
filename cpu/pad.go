package cpu

import (
	"context"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// padding copies planes into planes that have their padding, by a mode other than zeros, and back.
type padding struct {
	planes   int
	in, out  [3]int
	from     [3][]int // source cell of each padded cell
	inSp, sp int
}

func newPadding(p *problem.Problem) *padding {
	d := &padding{planes: p.N * p.IC, inSp: 1, sp: 1}
	for i, a := range p.Axes {
		d.in[i], d.out[i] = a.In, a.In+a.PadL+a.PadR
		d.inSp *= d.in[i]
		d.sp *= d.out[i]
		d.from[i] = make([]int, d.out[i])
		for u := range d.from[i] {
			d.from[i][u] = source(p.PadMode, u-a.PadL, a.In)
		}
	}
	return d
}

// rows visits each row of padded cells of a plane: its start and that of the row it is copied from.
func (d *padding) rows(visit func(to, from int)) {
	to := 0
	for _, z := range d.from[0] {
		for _, y := range d.from[1] {
			visit(to, (z*d.in[1]+y)*d.in[2])
			to += d.out[2]
		}
	}
}

// paddedPlanes are planes on the way between a source and what has its padding.
type paddedPlanes struct {
	*padding
	padded, src []float32
}

var (
	paddings = repeated[paddedPlanes]{do: (*paddedPlanes).pad}
	foldings = repeated[paddedPlanes]{do: (*paddedPlanes).fold}
)

func (d *padding) pad(ctx context.Context, padded, src []float32) error {
	return paddings.parallel(ctx, d.planes, 1, &paddedPlanes{d, padded, src})
}

// fold is the adjoint of pad: each padded cell is added to the cell that it copied.
func (d *padding) fold(ctx context.Context, padded, src []float32) error {
	return foldings.parallel(ctx, d.planes, 1, &paddedPlanes{d, padded, src})
}

func (d *paddedPlanes) plane(i int) (padded, src []float32) {
	return d.padded[i*d.sp:][:d.sp], d.src[i*d.inSp:][:d.inSp]
}

func (d *paddedPlanes) pad(i int) {
	to, from := d.plane(i)
	d.rows(func(t, f int) {
		for x, s := range d.from[2] {
			to[t+x] = from[f+s]
		}
	})
}

func (d *paddedPlanes) fold(i int) {
	from, to := d.plane(i)
	clear(to)
	d.rows(func(f, t int) {
		for x, s := range d.from[2] {
			to[t+s] += from[f+x]
		}
	})
}
