package cpu

import (
	"context"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// smallSums is the sums of a convolution of 8-bit integers as sums of rows of floats, which hold them exactly where they are
// of few products: those of a depthwise convolution, whose groups fill neither quads nor tiles.
type smallSums struct {
	sums *igemm
	p    *problem.Problem
	high int // channels that are finished at a time
}

// exactTerms is how many products of differences of bytes, 255² at most, floats sum up exactly, 2^24 at most.
const exactTerms = (1 << 24) / (255 * 255)

// sumsExactly says whether sums of rows of floats compute a convolution of integers.
func sumsExactly(p *problem.Problem) bool {
	return integral(p) && made(p) <= 16 && newGeometry(p).rows() <= exactTerms
}

// newSmallSums plans a convolution.
func newSmallSums(d *Device, p *problem.Problem) *igemm {
	floats := *p
	floats.Type, floats.Bias, floats.Post = problem.Types{}, false, [problem.MaxPost]problem.PostOp{}
	g := newGeometry(p)
	s := &smallSums{sums: newIgemm(d, &floats, true), p: p, high: max(1, edgeChunk/max(1, g.wideSp, g.narrowSp))}
	return &igemm{g: g, integers: &integerSums{other: s}}
}

func (s *smallSums) String() string { return s.sums.String() }
func (s *smallSums) weights() int   { return s.sums.weights() }
func (s *smallSums) scratch() int   { return s.sums.scratch() }

func (s *smallSums) pack(ctx context.Context, wei []int32) ([]float32, error) {
	floats := make([]float32, len(wei))
	for i, w := range wei {
		floats[i] = float32(w)
	}
	return s.sums.pack(ctx, floats)
}

// smallRun is a run between its steps: planes of the source on their way to floats, and of sums to results.
type smallRun struct {
	job   *job
	quant quant
	chain *chain
	sp    int // of a plane
	c     int // planes of an image
	high  int // of a part
	words []float32
	less  [1]int32
	one   [1]float32
}

var (
	floating  = repeated[smallRun]{do: (*smallRun).float}
	finishInt = repeated[smallRun]{do: (*smallRun).finish}
)

func (s *smallSums) run(ctx context.Context, j *job) error {
	g := s.sums.g
	r := smallRun{job: j, quant: newQuant(j.t.f[problem.Quant], s.p.OC), chain: j.chain(), high: s.high, one: [1]float32{1}}
	r.less[0] = -int32(r.quant.src[0])
	r.words, r.sp, r.c = simd.Words(j.t.i[problem.Src]), g.wideSp, g.n*g.wideC // a copy: the buffer holds bytes
	if err := floating.parallel(ctx, r.parts(), 1, &r); err != nil {
		return err
	}
	target := j.t.f[problem.Dst]
	if target == nil {
		target = simd.Words(j.t.i[problem.Dst])
	}
	if err := s.sums.run(ctx, j.arena, r.words, j.packed, target, nil); err != nil {
		return err
	}
	r.words, r.sp, r.c = target, g.narrowSp, g.narrowC
	return finishInt.parallel(ctx, g.n*r.parts(), 1, &r)
}

// parts is how many parts an image has.
func (r *smallRun) parts() int { return (r.c + r.high - 1) / r.high }

// float makes floats of a part of the source, less its zero point.
func (r *smallRun) float(part int) {
	first := part * r.high * r.sp
	b := simd.Block{C: r.words[first:], Rows: 1, Cols: min(r.high*r.sp, r.c*r.sp-first)}
	if r.less[0] != 0 {
		b.Raise(r.job.isa, r.less[:])
	}
	b.Dequantize(r.job.isa, r.one[:])
}

// finish makes results of a part's sums.
func (r *smallRun) finish(i int) {
	image, first := i/r.parts(), i%r.parts()*r.high
	rows := min(r.high, r.c-first)
	c := r.words[(image*r.c+first)*r.sp:][:rows*r.sp]
	b := simd.Block{C: c, LD: r.sp, Rows: rows, Cols: r.sp}
	b.Integral(r.job.isa)
	post := integerPost{r.job, &r.quant, r.chain, image, 0}
	post.Tile(c, r.sp, first, rows, 0, r.sp)
}
