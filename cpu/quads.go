package cpu

import (
	"context"
	"math"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// quadProduct is the sums of a convolution of 8-bit integers as a product of quads of bytes, four channels of a position or of
// a weight in a word: a tileProduct of a source of a quarter of the channels. With s = 128 where the source has signs, else 0,
//
//	dst[n, m, x] = bias[m] − (zero + s)·Σ_c Σ_t w[m, c, t] + Σ_c Σ_t w[m, c, t] · (src[n, c, x·stride + taps[t]] + s)
//
// where w is the weights less their zero points, and the source has its zero point in the padding.
type quadProduct struct {
	*tileProduct
	g    *geometry
	typ  problem.Types
	flip byte // s
}

// fillsQuads says whether a convolution's channels fill quads better than pairs, and kernels are there for them.
func fillsQuads(isa simd.ISA, p *problem.Problem) bool {
	g := newGeometry(p)
	return simd.HasQuads(isa) && p.LayoutOf(problem.Src) == problem.NCHW && p.LayoutOf(problem.Dst) == problem.NCHW &&
		(g.wideCG+3)/4*g.taps < (g.rows()+1)/2 // words of a sum
}

// newQuadProduct plans a convolution; nil if it does not fill quads.
func newQuadProduct(d *Device, p *problem.Problem) *quadProduct {
	if !fillsQuads(d.isa, p) {
		return nil
	}
	g := newGeometry(p)
	q := &quadProduct{g: g, typ: p.Type}
	if p.Type.Src == problem.S8 {
		q.flip = 1 << 7
	}
	l := g.gathering()
	q.tileProduct = &tileProduct{isa: d.isa, pool: workers(), n: g.n, groups: g.groups, from: (g.wideCG + 3) / 4, to: g.narrowCG, place: dense(l),
		hints: simd.Hints{Quads: true, Bytes: p.Type.Dst.Size() == 1}}
	q.cut(l, false)
	return q
}

// quadWeights are packed weights, and what is done with the sums of each channel.
type quadWeights struct {
	packed     []float32
	quant      simd.Quant
	background byte // what the padding has
}

// parameters is how many elements a channel takes beside its weights.
const parameters = 5

// weights is how many elements the packed weights of all groups take.
func (q *quadProduct) weights() int { return q.tileProduct.weights() + parameters*q.g.narrowC }

// pack packs the differences of weights and their zero points; nil if not all of them are signed bytes, or the source's zero
// point is none of its own.
func (q *quadProduct) pack(wei, bias []int32, by quant) *quadWeights {
	zero := int32(by.src[0]) + int32(q.flip)
	if zero != int32(byte(zero)) {
		return nil
	}
	for _, w := range wei {
		if w != int32(int8(w)) {
			return nil
		}
	}
	g, n := q.g, q.g.rows()
	w := &quadWeights{packed: simd.Aligned(q.tileProduct.weights()), background: byte(zero)}
	w.quant.Bias = make([]int32, g.narrowC)
	words := make([]int32, g.narrowCG*len(q.off))
	for group := range g.groups {
		for m := range g.narrowCG {
			o := group*g.narrowCG + m
			row, sum := wei[o*n:][:n], int32(0)
			for _, v := range row {
				sum += v
			}
			w.quant.Bias[o] = -zero * sum
			if bias != nil {
				w.quant.Bias[o] += bias[o]
			}
			for c4 := range q.from {
				for t := range g.taps {
					var quad [4]int8
					for i := range quad[:min(4, g.wideCG-4*c4)] {
						quad[i] = int8(row[(4*c4+i)*g.taps+t])
					}
					words[m*len(q.off)+c4*g.taps+t] = simd.Quad(quad)
				}
			}
		}
		q.tileProduct.pack(w.packed, simd.Words(words), group)
	}
	if q.typ.Dst == problem.S32 {
		return w
	}
	w.quant.Scale = append([]float32(nil), by.multiplier...)
	if q.typ.Dst == problem.F32 {
		return w
	}
	lo, hi := limits(q.typ.Dst)
	for _, z := range by.dst {
		w.quant.Low, w.quant.High = append(w.quant.Low, lo-z), append(w.quant.High, hi-z)
		w.quant.Zero = append(w.quant.Zero, int32(z))
	}
	return w
}

// of is the parameters of n channels from the first on.
func (w *quadWeights) of(first, n int) simd.Quant {
	q := w.quant
	q.Bias = q.Bias[first:][:n]
	if q.Scale != nil {
		q.Scale = q.Scale[first:][:n]
	}
	if q.Low != nil {
		q.Low, q.High, q.Zero = q.Low[first:][:n], q.High[first:][:n], q.Zero[first:][:n]
	}
	return q
}

// source is how many elements the words of a source take.
func (q *quadProduct) source() int { return q.n * q.groups * q.from * q.g.wideSp }

// weaving is a source on its way into words, in parts of a group's channels.
type weaving struct {
	*quadProduct
	words []float32
	src   []byte
	rows  int // quads of a part
	parts int // of a group
}

var weave = repeated[weaving]{do: (*weaving).part}

// weaveBytes is how many bytes of the source a part is to have at least.
const weaveBytes = 1 << 13

// load makes words of a source.
func (q *quadProduct) load(ctx context.Context, words []float32, src []byte) error {
	w := weaving{quadProduct: q, words: words, src: src}
	w.rows = min(q.from, max(1, weaveBytes/max(1, 4*q.g.wideSp)))
	if w.rows == 0 {
		return nil
	}
	w.parts = (q.from + w.rows - 1) / w.rows
	return weave.parallel(ctx, q.n*q.groups*w.parts, 1, &w)
}

func (w *weaving) part(i int) {
	sp, channels := w.g.wideSp, w.g.wideCG
	image, first := i/w.parts, i%w.parts*w.rows
	src, words := w.src[image*channels*sp:][:channels*sp], w.words[image*w.from*sp:][:w.from*sp]
	last := min(w.from, first+w.rows)
	whole := min(last, channels/4)
	if whole > first {
		simd.Weave(w.isa, words[first*sp:], sp, src[4*first*sp:], sp, whole-first, 4, sp, w.flip)
	}
	if last > whole {
		simd.Weave(w.isa, words[whole*sp:], sp, src[4*whole*sp:], sp, 1, channels%4, sp, w.flip)
	}
}

// run convolves the words of a source.
func (q *quadProduct) run(ctx context.Context, j *job) error {
	s := q.sweep()
	s.source, s.packed, s.quads, s.bytes, s.chain = j.t.f[problem.Src], j.quads.packed, j.quads, j.bytes, j.chain()
	s.cells.outside = math.Float32frombits(0x01010101 * uint32(j.quads.background))
	if s.target = j.t.f[problem.Dst]; s.target == nil {
		s.target = simd.Words(j.t.i[problem.Dst])
	}
	return s.run(ctx, j.arena)
}
