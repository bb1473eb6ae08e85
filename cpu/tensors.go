package cpu

import (
	"context"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// tensors are a run's operands by role, as the loops want them: [N, C, spatial…], f32, or s32 where the problem sums
// integers or counts indices.
type tensors struct {
	f [problem.Roles][]float32
	i [problem.Roles][]int32
	h [problem.Roles][]uint16 // those that stay as they are
}

// whole says that the loops see the tensor as s32: indices, and what an integer convolution multiplies and adds.
func whole(p *problem.Problem, r problem.Role) bool {
	return p.TypeOf(r) == problem.S32 || p.Integer() && (r == problem.Src || r == problem.Wei)
}

// planar are a tensor's batch, channels and positions of a plane.
func planar(p *problem.Problem, r problem.Role) (n, c, plane int) {
	s := p.Shape(r)
	n, c, plane = s[0], s[1], 1
	rest := s[2:]
	if p.LayoutOf(r) == problem.NHWC {
		c, rest = s[len(s)-1], s[1:len(s)-1]
	}
	for _, d := range rest {
		plane *= d
	}
	return n, c, plane
}

// logical turns the memory index of an element into its index in [N, C, spatial…].
func logical(p *problem.Problem, r problem.Role) func(int64) int64 {
	if p.LayoutOf(r) == problem.NCHW {
		return func(i int64) int64 { return i }
	}
	_, c, plane := planar(p, r)
	return func(i int64) int64 {
		channel := i % int64(c)
		nx := i / int64(c)
		return (nx/int64(plane)*int64(c)+channel)*int64(plane) + nx%int64(plane)
	}
}

// channelsFirst turns [n, plane, c] into [n, c, plane].
func channelsFirst[T any](ctx context.Context, dst, src []T, n, c, plane int) error {
	return parallel(ctx, n*c, 1+(1<<13)/max(1, plane), func(i int) {
		from := src[i/c*c*plane:][:c*plane]
		for x := range dst[i*plane:][:plane] {
			dst[i*plane+x] = from[x*c+i%c]
		}
	})
}

// transposition is n matrices of rows×cols, a part of the rows of one at a time.
type transposition struct {
	isa                     simd.ISA
	dst, src                []float32
	rows, cols, high, parts int
}

var transposing = repeated[transposition]{do: (*transposition).part}

func (m *transposition) part(i int) {
	r, at := i%m.parts*m.high, i/m.parts*m.rows*m.cols
	simd.Transpose(m.isa, m.dst[at+r:], m.rows, m.src[at+r*m.cols:], m.cols, min(m.high, m.rows-r), m.cols)
}

// transpose transposes n matrices of rows×cols, of floats or of other words.
func transpose(ctx context.Context, isa simd.ISA, dst, src []float32, n, rows, cols int) error {
	m := transposition{isa: isa, dst: dst, src: src, rows: rows, cols: cols, high: max(16, (1<<13)/max(1, cols))}
	m.parts = (rows + m.high - 1) / m.high
	return transposing.parallel(ctx, n*m.parts, 1, &m)
}

// load makes a tensor of a buffer readable by the loops: the buffer's own memory if that is what they want, else a copy
// in scratch memory.
func (j *job) load(ctx context.Context, r problem.Role, b *buffer) error {
	p := j.p
	n, typ := j.signature.elems[r], p.TypeOf(r)
	if r == problem.Src && j.quads != nil {
		q := j.igemm.integers.quads
		j.t.f[r] = j.floats(q.source())
		return q.load(ctx, j.t.f[r], view[byte](b, n))
	}
	if j.stays(r) {
		j.t.h[r] = view[uint16](b, n)
		return nil
	}
	e := edge{isa: j.isa, typ: typ, b: b}
	switch {
	case typ == problem.S32:
		e.ints = view[int32](b, n)
	case typ == problem.F32:
		e.floats = view[float32](b, n)
	default:
		if whole(p, r) {
			e.ints = j.ints(n)
		} else {
			e.floats = j.floats(n)
		}
		if err := widening.parallel(ctx, e.parts(), 1, &e); err != nil {
			return err
		}
	}
	j.t.i[r], j.t.f[r] = e.ints, e.floats
	if p.LayoutOf(r) == problem.NCHW || n == 0 {
		return nil
	}
	s := &j.signature.planar[r]
	return j.turn(ctx, r, s[0], s[2], s[1])
}

// turn transposes a tensor's n matrices of rows×cols into scratch memory.
func (j *job) turn(ctx context.Context, r problem.Role, n, rows, cols int) error {
	words := j.t.f[r]
	if whole(j.p, r) {
		words = simd.Words(j.t.i[r])
	}
	to := j.floats(len(words))
	if err := transpose(ctx, j.isa, to, words, n, rows, cols); err != nil {
		return err
	}
	if whole(j.p, r) {
		j.t.i[r] = simd.Ints(to)
	} else {
		j.t.f[r] = to
	}
	return nil
}

// copyOf is load into memory of the job's own.
func (j *job) copyOf(ctx context.Context, r problem.Role, b *buffer) error {
	if err := j.load(ctx, r, b); err != nil || j.p.TypeOf(r).Size() < 4 {
		return err
	}
	if f := j.t.f[r]; f != nil {
		j.t.f[r] = append([]float32(nil), f...)
	}
	if i := j.t.i[r]; i != nil {
		j.t.i[r] = append([]int32(nil), i...)
	}
	return nil
}

func reorder[T any](ctx context.Context, p *problem.Problem, r problem.Role, v []T, scratch func(int) []T,
	move func(ctx context.Context, dst, src []T, n, c, plane int) error) ([]T, error) {
	if p.LayoutOf(r) == problem.NCHW {
		return v, nil
	}
	to := scratch(len(v))
	n, c, plane := planar(p, r)
	return to, move(ctx, to, v, n, c, plane)
}

// direct says that the loops can use the buffer's memory as it is.
func direct(p *problem.Problem, r problem.Role) bool {
	t := p.TypeOf(r)
	return p.LayoutOf(r) == problem.NCHW && (t == problem.F32 || t == problem.S32)
}

// prepare gives the loops memory to write an output to: the buffer's own, or scratch that store then converts.
func (j *job) prepare(r problem.Role, b *buffer) {
	n := j.signature.elems[r]
	switch {
	case j.stays(r):
		j.t.h[r] = view[uint16](b, n)
	case j.quads != nil && j.p.TypeOf(r).Size() == 1:
		j.bytes = view[byte](b, n)
	case direct(j.p, r) && whole(j.p, r):
		j.t.i[r] = view[int32](b, n)
	case direct(j.p, r):
		j.t.f[r] = view[float32](b, n)
	case whole(j.p, r):
		j.t.i[r] = j.ints(n)
	default:
		j.t.f[r] = j.floats(n)
	}
}

// store writes what the loops left in scratch memory to the buffer.
func (j *job) store(ctx context.Context, r problem.Role, b *buffer) error {
	if direct(j.p, r) || j.bytes != nil || j.stays(r) || j.signature.elems[r] == 0 {
		return nil
	}
	if j.p.LayoutOf(r) == problem.NHWC {
		s := &j.signature.planar[r]
		if err := j.turn(ctx, r, s[0], s[1], s[2]); err != nil {
			return err
		}
	}
	e := edge{isa: j.isa, typ: j.p.TypeOf(r), b: b, floats: j.t.f[r], ints: j.t.i[r]}
	return narrowing.parallel(ctx, e.parts(), 1, &e)
}

// edgeBytes is the scratch memory that a tensor takes beside its buffer.
func edgeBytes(p *problem.Problem, r problem.Role) int64 {
	if direct(p, r) {
		return 0
	}
	bytes := 4 * problem.Elems(p.Shape(r))
	if p.LayoutOf(r) == problem.NHWC && p.TypeOf(r).Size() < 4 {
		bytes *= 2 // converted, then reordered
	}
	return bytes
}
