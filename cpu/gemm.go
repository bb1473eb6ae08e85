package cpu

import (
	"context"
	"math"
	"sync/atomic"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// gemm is the three sums of a convolution as matrix products, group by group and image by image:
//
//	gather:  narrow[o, x] = Σ_r wei[o, r] · col[r, x],   r = (c, kd, kh, kw), col[r, x] = wide[c, x·s − pad + k·d] or 0
//	scatter: col[r, x] = Σ_o wei[o, r] · narrow[o, x],     and each col[r, x] is added to wide[c, x·s − pad + k·d]
//	weigh:   wei[o, r] = Σ_x narrow[o, x] · col[r, x]
//
// The columns x are taken some at a time, so that col stays in the cache and the workspace small.
//
// The product skips zeros and multiplies the padding's zeros. Both is right for finite numbers only, so that others are
// left to the plain loops.
type gemm struct {
	g       *geometry
	columns int // of col: narrow positions taken at a time
	arena   *arena
}

const colFloats = 1 << 20 // size aimed at for col

func newGemm(g *geometry, a *arena) *gemm {
	return &gemm{g: g, columns: max(1, min(g.narrowSp, max(64, colFloats/g.rows()))), arena: a}
}

// workspace is how many floats a run takes for the matrices.
func (m *gemm) workspace() int64 {
	if m.inPlace() {
		return 0
	}
	return int64(m.g.rows()) * int64(m.columns) * int64(min(processors(), max(1, m.g.n*m.g.groups)))
}

// inPlace says that the wide tensor already is the matrix: 1×1 kernel, stride 1, no padding.
func (m *gemm) inPlace() bool {
	g := m.g
	return g.taps == 1 && g.stride == [3]int{1, 1, 1} && g.pad == [3]int{} && g.wideD == g.narrowD
}

// operands of one image and group.
func (m *gemm) of(wide, wei, narrow []float32, n, group int) (planes, w, x []float32) {
	g := m.g
	return wide[(n*g.wideC+group*g.wideCG)*g.wideSp:][:g.wideCG*g.wideSp],
		wei[group*g.narrowCG*g.rows():][:g.narrowCG*g.rows()],
		narrow[(n*g.narrowC+group*g.narrowCG)*g.narrowSp:][:g.narrowCG*g.narrowSp]
}

func matrix(data []float32, rows, cols, stride int) blas32.General {
	return blas32.General{Rows: rows, Cols: cols, Stride: stride, Data: data}
}

// tiles calls f for the columns of an image, some at a time, with col to hold them; col is nil where wide is col.
func (m *gemm) tiles(ctx context.Context, f func(col []float32, x0, cols int) error) error {
	var col []float32
	if !m.inPlace() {
		col = m.arena.get(m.g.rows() * m.columns)
		defer m.arena.put(col)
	}
	for x0 := 0; x0 < m.g.narrowSp; x0 += m.columns {
		cols := min(m.columns, m.g.narrowSp-x0)
		if col != nil {
			col = col[:m.g.rows()*cols]
		}
		if err := f(col, x0, cols); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (m *gemm) gather(ctx context.Context, wide, wei, narrow []float32, c *chain) error {
	if !finite(ctx, wide) || !finite(ctx, wei) {
		return gather(ctx, m.g, wide, wei, narrow, c.finish())
	}
	return m.multiply(ctx, wide, wei, narrow, c.finish())
}

// multiply is gather for finite numbers.
func (m *gemm) multiply(ctx context.Context, wide, wei, narrow []float32, done finish) error {
	g := m.g
	return parallelErr(ctx, g.n*g.groups, func(i int) error {
		n, group := i/g.groups, i%g.groups
		planes, w, out := m.of(wide, wei, narrow, n, group)
		return m.tiles(ctx, func(col []float32, x0, cols int) error {
			b := matrix(col, g.rows(), cols, cols)
			if col == nil {
				b = matrix(planes[x0:], g.rows(), cols, g.narrowSp)
			} else if err := g.unfold(ctx, planes, col, x0, cols); err != nil {
				return err
			}
			c := matrix(out[x0:], g.narrowCG, cols, g.narrowSp)
			blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, matrix(w, g.narrowCG, g.rows(), g.rows()), b, 0, c)
			for o := 0; done != nil && o < g.narrowCG; o++ {
				done(n, group*g.narrowCG+o, x0, out[o*g.narrowSp+x0:][:cols])
			}
			return ctx.Err()
		})
	})
}

func (m *gemm) scatter(ctx context.Context, narrow, wei, wide []float32, post *chain) error {
	g, done := m.g, post.finish()
	if !finite(ctx, narrow) || !finite(ctx, wei) {
		return scatter(ctx, g, narrow, wei, wide, done)
	}
	return parallelErr(ctx, g.n*g.groups, func(i int) error {
		n, group := i/g.groups, i%g.groups
		planes, w, from := m.of(wide, wei, narrow, n, group)
		if !m.inPlace() {
			clear(planes)
		}
		err := m.tiles(ctx, func(col []float32, x0, cols int) error {
			c := matrix(col, g.rows(), cols, cols)
			if col == nil {
				c = matrix(planes[x0:], g.rows(), cols, g.narrowSp)
			}
			b := matrix(from[x0:], g.narrowCG, cols, g.narrowSp)
			blas32.Gemm(blas.Trans, blas.NoTrans, 1, matrix(w, g.narrowCG, g.rows(), g.rows()), b, 0, c)
			if col == nil {
				return ctx.Err()
			}
			return g.fold(ctx, col, planes, x0, cols)
		})
		for c := 0; done != nil && err == nil && c < g.wideCG; c++ {
			done(n, group*g.wideCG+c, 0, planes[c*g.wideSp:][:g.wideSp])
		}
		return err
	})
}

func (m *gemm) weigh(ctx context.Context, wide, narrow, wei []float32) error {
	g := m.g
	if !finite(ctx, wide) || !finite(ctx, narrow) {
		return weigh(ctx, g, wide, narrow, wei)
	}
	clear(wei)
	return parallelErr(ctx, g.groups, func(group int) error {
		for n := range g.n {
			planes, w, by := m.of(wide, wei, narrow, n, group)
			err := m.tiles(ctx, func(col []float32, x0, cols int) error {
				b := matrix(col, g.rows(), cols, cols)
				if col == nil {
					b = matrix(planes[x0:], g.rows(), cols, g.narrowSp)
				} else if err := g.unfold(ctx, planes, col, x0, cols); err != nil {
					return err
				}
				a := matrix(by[x0:], g.narrowCG, cols, g.narrowSp)
				blas32.Gemm(blas.NoTrans, blas.Trans, 1, a, b, 1, matrix(w, g.narrowCG, g.rows(), g.rows()))
				return ctx.Err()
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// unfold fills columns x0 … x0+cols−1 of the matrix of a group's taps, one row (one tap of one channel) at a time.
func (g *geometry) unfold(ctx context.Context, planes, col []float32, x0, cols int) error {
	return parallel(ctx, g.rows(), 1+(1<<14)/cols, func(r int) {
		plane := planes[r/g.taps*g.wideSp:][:g.wideSp]
		row := col[r*cols:][:cols]
		g.cross(r%g.taps, x0, cols, func(i, n, w int) {
			run := row[i:][:n]
			if w < 0 {
				clear(run)
				return
			}
			step := g.stride[2]
			for j := range run {
				run[j] = plane[w+j*step]
			}
		})
	})
}

// fold adds columns x0 … x0+cols−1 of the matrix to the planes that unfold reads them from, channel by channel.
func (g *geometry) fold(ctx context.Context, col, planes []float32, x0, cols int) error {
	return parallel(ctx, g.wideCG, 1+(1<<14)/(cols*g.taps), func(c int) {
		plane := planes[c*g.wideSp:][:g.wideSp]
		for tap := range g.taps {
			row := col[(c*g.taps+tap)*cols:][:cols]
			g.cross(tap, x0, cols, func(i, n, w int) {
				if w < 0 {
					return
				}
				step := g.stride[2]
				for j, v := range row[i:][:n] {
					plane[w+j*step] += v
				}
			})
		}
	})
}

// cross visits the narrow positions x0 … x0+cols−1 for one tap in runs: the run's start in the columns, its length, and
// the wide position of its first, the stride apart from the next; −1 for a run in the padding.
func (g *geometry) cross(tap, x0, cols int, visit func(i, n, w int)) {
	_, k := split(int64(tap), g.kernel)
	lo, hi, off := g.reach(2, k[2])
	for i := 0; i < cols; {
		_, x := split(int64(x0+i), g.narrowD)
		end := min(g.narrowD[2], x[2]+cols-i) // of the row of positions
		z := x[0]*g.stride[0] - g.pad[0] + k[0]*g.dilation[0]
		y := x[1]*g.stride[1] - g.pad[1] + k[1]*g.dilation[1]
		first, last := max(lo, x[2]), min(hi, end)
		if z < 0 || z >= g.wideD[0] || y < 0 || y >= g.wideD[1] || first >= last {
			visit(i, end-x[2], -1)
			i += end - x[2]
			continue
		}
		if first > x[2] {
			visit(i, first-x[2], -1)
		}
		visit(i+first-x[2], last-first, (z*g.wideD[1]+y)*g.wideD[2]+first*g.stride[2]+off)
		if end > last {
			visit(i+last-x[2], end-last, -1)
		}
		i += end - x[2]
	}
}

// finite says that no value is an infinity or NaN.
func finite(ctx context.Context, v []float32) bool {
	f := finding{v: v}
	err := findings.parallel(ctx, (len(v)+findingChunk-1)/findingChunk, 1, &f)
	return err == nil && f.found == 0
}

// finding looks for such a value, in parts of findingChunk.
type finding struct {
	v     []float32
	found uint32
}

const findingChunk = 1 << 14

var findings = repeated[finding]{do: (*finding).part}

// part looks at eight values before it decides: one added to an exponent of ones alone carries into the sign's place.
func (f *finding) part(i int) {
	const magnitude, one, carry = 1<<31 - 1, 1 << 23, 1 << 31
	v := f.v[i*findingChunk : min(len(f.v), (i+1)*findingChunk)]
	all := uint32(0)
	for len(v) >= 8 {
		w := v[:8:8]
		a, b := math.Float32bits(w[0])&magnitude+one, math.Float32bits(w[1])&magnitude+one
		c, d := math.Float32bits(w[2])&magnitude+one, math.Float32bits(w[3])&magnitude+one
		a |= math.Float32bits(w[4])&magnitude + one
		b |= math.Float32bits(w[5])&magnitude + one
		c |= math.Float32bits(w[6])&magnitude + one
		d |= math.Float32bits(w[7])&magnitude + one
		all |= a | b | c | d
		v = v[8:]
	}
	for _, x := range v {
		all |= math.Float32bits(x)&magnitude + one
	}
	if all&carry != 0 {
		atomic.StoreUint32(&f.found, 1)
	}
}
