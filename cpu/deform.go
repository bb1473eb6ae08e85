package cpu

import (
	"context"
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// deform runs deformable convolution as a matrix product: the rows of col are the taps, read bilinearly where their
// offsets say.
func deform(ctx context.Context, p *problem.Problem, a *arena, t *tensors, done finish) error {
	m := newGemm(newGeometry(p), a)
	g := m.g
	col := a.get(g.rows() * m.columns)
	defer a.put(col)
	for i := range g.n * g.groups {
		n, group := i/g.groups, i%g.groups
		_, w, out := m.of(t.f[problem.Src], t.f[problem.Wei], t.f[problem.Dst], n, group)
		for x0 := 0; x0 < g.narrowSp; x0 += m.columns {
			cols := min(m.columns, g.narrowSp-x0)
			if err := sample(ctx, p, g, t, n, group, col, x0, cols); err != nil {
				return err
			}
			if finite(ctx, col[:g.rows()*cols]) && finite(ctx, w) {
				b := matrix(col[:g.rows()*cols], g.rows(), cols, cols)
				blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, matrix(w, g.narrowCG, g.rows(), g.rows()), b, 0,
					matrix(out[x0:], g.narrowCG, cols, g.narrowSp))
			} else if err := product(ctx, g, w, col, out[x0:], cols); err != nil {
				return err
			}
			for o := 0; done != nil && o < g.narrowCG; o++ {
				done(n, group*g.narrowCG+o, x0, out[o*g.narrowSp+x0:][:cols])
			}
		}
	}
	return ctx.Err()
}

// product is wei · col by loops that skip no zeros.
func product(ctx context.Context, g *geometry, wei, col, out []float32, cols int) error {
	return parallel(ctx, g.narrowCG, 1, func(o int) {
		row := out[o*g.narrowSp:][:cols]
		clear(row)
		for r, w := range wei[o*g.rows():][:g.rows()] {
			for x, v := range col[r*cols:][:cols] {
				row[x] += w * v
			}
		}
	})
}

// sample fills columns x0 … x0+cols−1 of the matrix of an image's and group's taps.
func sample(ctx context.Context, p *problem.Problem, g *geometry, t *tensors, n, group int, col []float32,
	x0, cols int) error {
	src, offset, mask := t.f[problem.Src], t.f[problem.Offset], t.f[problem.Mask]
	perOffset := p.IC / p.OffsetGroups
	return parallel(ctx, g.rows(), 1+(1<<11)/cols, func(r int) {
		c, tap := group*g.wideCG+r/g.taps, r%g.taps
		plane := src[(n*g.wideC+c)*g.wideSp:][:g.wideSp]
		k := (n*p.OffsetGroups+c/perOffset)*g.taps + tap
		dy, dx := offset[2*k*g.narrowSp:][:g.narrowSp], offset[(2*k+1)*g.narrowSp:][:g.narrowSp]
		_, at := split(int64(tap), g.kernel)
		for i := range cols {
			_, x := split(int64(x0+i), g.narrowD)
			h := float32(x[1]*g.stride[1]-g.pad[1]+at[1]*g.dilation[1]) + dy[x0+i]
			w := float32(x[2]*g.stride[2]-g.pad[2]+at[2]*g.dilation[2]) + dx[x0+i]
			v := bilinear(plane, g.wideD[1], g.wideD[2], h, w)
			if mask != nil {
				v *= mask[k*g.narrowSp+x0+i]
			}
			col[r*cols+i] = v
		}
	})
}

// bilinear reads a plane between its cells; beyond the edge cells it falls to 0 over one cell.
func bilinear(plane []float32, height, width int, h, w float32) float32 {
	if !(h > -1 && w > -1 && h < float32(height) && w < float32(width)) {
		return 0
	}
	h0, w0 := math.Floor(float64(h)), math.Floor(float64(w))
	y, x := int(h0), int(w0)
	fh, fw := h-float32(h0), w-float32(w0)
	cell := func(y, x int) float32 {
		if y < 0 || y >= height || x < 0 || x >= width {
			return 0
		}
		return plane[y*width+x]
	}
	top := (1-fw)*cell(y, x) + fw*cell(y, x+1)
	bottom := (1-fw)*cell(y+1, x) + fw*cell(y+1, x+1)
	return (1-fh)*top + fh*bottom
}
