package cpu

import (
	"context"
	"unsafe"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// job is one run: its tensors as the loops want them, and the scratch memory that it took.
type job struct {
	p         *problem.Problem
	signature *signature
	t         tensors
	arena     *arena // nil: memory is the caller's to keep
	taken     [][]float32
	igemm     *igemm       // the plan's, if that is the algorithm
	packed    []float32    // its weights; nil if they are not finite
	quads     *quadWeights // its weights, if they are quads, of a source of words
	bytes     []byte       // what they make, if that is bytes
	slopes    *slopes
	pads      *padding // the plan's
	windows   *windows
	isa       simd.ISA
	chains    [2]chain // see chain
	implicit  igemmSums
}

// chain is the problem's chain, nil if it is empty. The job has one.
func (j *job) chain() *chain { return j.chains[0].set(&j.chains[1], j) }

// floats takes scratch memory until the end of the job.
func (j *job) floats(n int) []float32 {
	if j.arena == nil {
		return make([]float32, n)
	}
	v := j.arena.get(n)
	j.taken = append(j.taken, v)
	return v
}

// ints is the same for int32.
func (j *job) ints(n int) []int32 {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(j.floats(n)))), n)
}

// release gives scratch memory back, and forgets what the job is about.
func (j *job) release() {
	for i, v := range j.taken {
		j.arena.put(v)
		j.taken[i] = nil
	}
	j.taken = j.taken[:0]
	j.t, j.packed, j.quads, j.bytes, j.chains, j.implicit = tensors{}, nil, nil, nil, [2]chain{}, igemmSums{}
}

// sums is the three sums of a convolution; chain may be nil.
type sums interface {
	gather(ctx context.Context, wide, wei, narrow []float32, c *chain) error
	scatter(ctx context.Context, narrow, wei, wide []float32, c *chain) error
	weigh(ctx context.Context, wide, narrow, wei []float32) error
}

// The sums of the job's problem on a source that has its padding, if that is not zeros.
func (j *job) products() sums {
	q, _ := padded(j.p)
	return newGemm(newGeometry(&q), j.arena)
}

func (j *job) plainLoops() sums {
	q, _ := padded(j.p)
	return loops{newGeometry(&q)}
}

func (j *job) planned() sums {
	j.implicit = igemmSums{j.igemm, j.arena, j.packed, j.halves()}
	return &j.implicit
}

// loops is the sums by plain loops.
type loops struct{ g *geometry }

func (l loops) gather(ctx context.Context, wide, wei, narrow []float32, c *chain) error {
	return gather(ctx, l.g, wide, wei, narrow, c.finish())
}

func (l loops) scatter(ctx context.Context, narrow, wei, wide []float32, c *chain) error {
	return scatter(ctx, l.g, narrow, wei, wide, c.finish())
}

func (l loops) weigh(ctx context.Context, wide, narrow, wei []float32) error {
	return weigh(ctx, l.g, wide, narrow, wei)
}

// convolve runs Conv and Deconv in every direction but backward bias. With a padding mode it works on a padded copy.
func (j *job) convolve(ctx context.Context, by func() sums, dst []float32) error {
	f := &j.t.f
	src, dsrc := f[problem.Src], f[problem.DiffSrc]
	pads := j.pads
	if pads != nil {
		copied := j.floats(pads.planes * pads.sp)
		if j.p.Dir == problem.BackwardData {
			dsrc = copied
		} else {
			src = copied
			if err := pads.pad(ctx, copied, f[problem.Src]); err != nil {
				return err
			}
		}
	}
	s := by()
	conv := j.p.Op == problem.Conv
	done := j.chain()
	switch {
	case j.p.Dir == problem.BackwardWeights && conv:
		return s.weigh(ctx, src, f[problem.DiffDst], f[problem.DiffWei])
	case j.p.Dir == problem.BackwardWeights:
		return s.weigh(ctx, f[problem.DiffDst], src, f[problem.DiffWei])
	case j.p.Dir == problem.Forward && conv:
		return s.gather(ctx, src, f[problem.Wei], dst, done)
	case j.p.Dir == problem.Forward:
		return s.scatter(ctx, src, f[problem.Wei], dst, done)
	case !conv:
		return s.gather(ctx, f[problem.DiffDst], f[problem.Wei], dsrc, nil)
	}
	if err := s.scatter(ctx, f[problem.DiffDst], f[problem.Wei], dsrc, nil); err != nil || pads == nil {
		return err
	}
	return pads.fold(ctx, dsrc, f[problem.DiffSrc])
}

func runGemm(ctx context.Context, j *job) error {
	if j.p.Op == problem.Deform {
		return deform(ctx, j.p, j.arena, &j.t, j.chain().finish())
	}
	return j.convolve(ctx, j.products, j.t.f[problem.Dst])
}

func runIgemm(ctx context.Context, j *job) error {
	return j.convolve(ctx, j.planned, j.t.f[problem.Dst])
}

func runDirect(ctx context.Context, j *job) error {
	p, t := j.p, &j.t
	backward := p.Dir == problem.BackwardData
	switch p.Op {
	case problem.Pool:
		switch {
		case !backward:
			return pool(ctx, p, j.windows, t)
		case p.Indices != problem.NoIndices:
			return maxBackward(ctx, p, j.windows, t)
		}
		return poolBackward(ctx, p, j.windows, t)
	case problem.Unpool:
		if backward {
			return unpoolBackward(ctx, p, t)
		}
		return unpool(ctx, p, t)
	case problem.Im2col, problem.Col2im:
		return columns(ctx, p, t)
	}
	if p.Integer() {
		return j.integer(ctx)
	}
	if p.Dir == problem.BackwardBias {
		_, out := spatialSizes(p)
		return channelSums(ctx, p.N, p.OC, volume(out), t.f[problem.DiffDst], t.f[problem.DiffBia])
	}
	return j.convolve(ctx, j.plainLoops, t.f[problem.Dst])
}

// columns is Im2col and Col2im, each the other's backward.
func columns(ctx context.Context, p *problem.Problem, t *tensors) error {
	g := newGeometry(p)
	g.wideCG = g.wideC // no groups
	from, to := t.f[problem.Src], t.f[problem.Dst]
	if p.Dir == problem.BackwardData {
		from, to = t.f[problem.DiffDst], t.f[problem.DiffSrc]
	}
	image, matrix := g.wideC*g.wideSp, g.rows()*g.narrowSp
	unfolds := (p.Op == problem.Im2col) == (p.Dir == problem.Forward)
	if !unfolds {
		clear(to)
	}
	for n := range p.N {
		var err error
		if unfolds {
			err = g.unfold(ctx, from[n*image:][:image], to[n*matrix:][:matrix], 0, g.narrowSp)
		} else {
			err = g.fold(ctx, from[n*matrix:][:matrix], to[n*image:][:image], 0, g.narrowSp)
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// runConvPool writes the convolution's whole result to scratch memory and pools it.
func runConvPool(ctx context.Context, j *job) error {
	conv := j.floats(int(j.igemm.made))
	if err := j.convolve(ctx, j.planned, conv); err != nil {
		return err
	}
	dst := j.t.f[problem.Dst]
	if by := j.igemm.pool; by != nil {
		return by.run(ctx, j.arena, conv, by.ones, dst, nil)
	}
	q := j.p.ThenPool()
	t := &tensors{}
	t.f[problem.Src], t.f[problem.Dst] = conv, dst
	return pool(ctx, &q, newWindows(&q), t)
}

func runFused(ctx context.Context, j *job) error {
	q, elems := padded(j.p)
	src := j.t.f[problem.Src]
	if elems > 0 {
		src = j.floats(int(elems))
		if err := j.pads.pad(ctx, src, j.t.f[problem.Src]); err != nil {
			return err
		}
	}
	return j.fused(ctx, &q, src)
}

// runReference rounds what the oracle says.
func runReference(ctx context.Context, j *job) error {
	p := j.p.Core() // the job's tensors are in this order already
	p.Type = j.p.Type
	for _, r := range p.Outputs() {
		truth, err := reference(ctx, &p, driver.Arithmetic{}, &j.t, r, nil)
		if err != nil {
			return err
		}
		for i, e := range truth {
			if whole(j.p, r) {
				j.t.i[r][i] = int32(e.Value)
			} else {
				j.t.f[r][i] = float32(e.Value)
			}
		}
	}
	return nil
}
