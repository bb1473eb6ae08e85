package cpu

import (
	"context"
	"sync"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// gemm is convolution as a matrix product, group by group and image by image:
//
//	dst[oc, x] = Σ_r wei[oc, r] · col[r, x],   r = (c, kd, kh, kw),   col[r, x] = src[c, x·s − pad + k·d] or 0
//
// The columns x are taken some at a time, so that col stays in the cache and the workspace small.
type gemm struct {
	p       problem.Problem
	rows    int // of col: the reduction
	columns int // of col: output positions taken at a time
	pixels  int // output positions of an image
	scratch sync.Pool
}

const colFloats = 1 << 20 // size aimed at for col

func newGemm(p *problem.Problem) *gemm {
	_, out := spatialSizes(p)
	g := &gemm{p: *p, rows: int(p.Terms()), pixels: volume(out)}
	g.columns = min(g.pixels, max(64, colFloats/g.rows))
	return g
}

func (g *gemm) workspaceBytes() int64 {
	if g.inPlace() {
		return 0
	}
	return 4 * int64(g.rows) * int64(g.columns)
}

// inPlace says that the source already is the matrix: 1×1 kernel, stride 1, no padding.
func (g *gemm) inPlace() bool {
	for _, a := range g.p.Axes {
		if a.Kernel != 1 || a.Stride != 1 || a.PadL != 0 || a.Out != a.In {
			return false
		}
	}
	return true
}

func (g *gemm) run(ctx context.Context, src, wei, bia, dst []float32) error {
	p := &g.p
	in, _ := spatialSizes(p)
	icg, ocg := p.IC/p.Groups, p.OC/p.Groups
	var col []float32
	if !g.inPlace() {
		buf, _ := g.scratch.Get().(*[]float32)
		if buf == nil {
			b := make([]float32, g.rows*g.columns)
			buf = &b
		}
		defer g.scratch.Put(buf)
		col = *buf
	}
	for ng := range p.N * p.Groups {
		planes := src[ng*icg*volume(in):][:icg*volume(in)]
		out := dst[ng*ocg*g.pixels:][:ocg*g.pixels]
		group := ng % p.Groups
		a := blas32.General{Rows: ocg, Cols: g.rows, Stride: g.rows, Data: wei[group*ocg*g.rows:][:ocg*g.rows]}
		for x0 := 0; x0 < g.pixels; x0 += g.columns {
			cols := min(g.columns, g.pixels-x0)
			b := blas32.General{Rows: g.rows, Cols: cols, Stride: g.pixels, Data: planes}
			if col == nil {
				b.Data = planes[x0:]
			} else {
				b.Stride, b.Data = cols, col
				if err := g.im2col(ctx, planes, col, x0, cols); err != nil {
					return err
				}
			}
			c := blas32.General{Rows: ocg, Cols: cols, Stride: g.pixels, Data: out[x0:]}
			blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, a, b, 0, c)
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if p.Bias || len(p.Posts()) > 0 {
			for o := range ocg {
				var bias float32
				if p.Bias {
					bias = bia[group*ocg+o]
				}
				activate(len(p.Posts()) > 0, out[o*g.pixels:][:g.pixels], bias)
			}
		}
	}
	return nil
}

// im2col fills columns x0 … x0+cols−1, one row of col (one tap of one channel) at a time.
func (g *gemm) im2col(ctx context.Context, planes, col []float32, x0, cols int) error {
	in, out := spatialSizes(&g.p)
	kernel := [3]int{g.p.Axes[0].Kernel, g.p.Axes[1].Kernel, g.p.Axes[2].Kernel}
	d, h, w := &g.p.Axes[0], &g.p.Axes[1], &g.p.Axes[2]
	return parallel(ctx, g.rows, 1+(1<<14)/cols, func(r int) {
		c, tap := split(int64(r), kernel)
		plane := planes[c*volume(in):][:volume(in)]
		row := col[r*cols:][:cols]
		for i := 0; i < cols; {
			_, x := split(int64(x0+i), out)
			run := row[i:min(cols, i+out[2]-x[2])] // up to the end of the output row
			i += len(run)
			z := x[0]*d.Stride - d.PadL + tap[0]*d.Dilation
			y := x[1]*h.Stride - h.PadL + tap[1]*h.Dilation
			if z < 0 || z >= in[0] || y < 0 || y >= in[1] {
				clear(run)
				continue
			}
			line := plane[(z*in[1]+y)*in[2]:][:in[2]]
			v := x[2]*w.Stride - w.PadL + tap[2]*w.Dilation
			for j := range run {
				if v >= 0 && v < len(line) {
					run[j] = line[v]
				} else {
					run[j] = 0
				}
				v += w.Stride
			}
		}
	})
}
