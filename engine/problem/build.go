package problem

import (
	"fmt"
	"slices"
)

// Params are the options of NewConv and its like. Slices have one entry per spatial dimension, or a single one for all;
// nil is the default.
type Params struct {
	Stride           []int // 1; for pooling the kernel
	PadL, PadR       []int // 0; a nil PadR is PadL
	Dilation         []int // 1 (dense)
	Groups           int   // 1
	Ceil             bool  // pooling: round the output size up
	OutputPad        []int // deconvolution: 0
	OutputSize       []int // deconvolution, unpooling: the output instead of what OutputPad makes
	SameUpper, Lower bool  // ONNX auto_pad: output ⌈in/stride⌉, the odd cell of padding at the end (SameUpper) or start (Lower)

	Dir       Dir
	Type      Types
	PadMode   PadMode
	Bias      bool
	Post      []PostOp // at most MaxPost
	SrcLayout Layout   // the shape of the source is then [N, spatial…, C]
	DstLayout Layout

	Divisor      int // averages: 0 for the kind's own
	P            int // Lp pooling: 2
	Indices      IndexOrder
	OffsetGroups int // deformable convolution: 1
	Mask         bool
}

// base is what every constructor starts with: everything that needs no sizes. src is [N, C, spatial…] or, by layout,
// [N, spatial…, C]; it returns it as the former.
func (o Params) base(op Op, src []int) (Problem, []int, error) {
	if len(src) < 3 || len(src) > 5 {
		return Problem{}, nil, fmt.Errorf("%w: source %v must have a batch, channels and 1 to 3 spatial sizes", ErrInvalid, src)
	}
	if o.SrcLayout == NHWC {
		c := len(src) - 1
		src = append([]int{src[0], src[c]}, src[1:c]...)
	}
	return Problem{Op: op, Dir: o.Dir, Type: o.Type, N: src[0], Groups: 1, IC: src[1], OC: src[1],
		SrcLayout: o.SrcLayout, DstLayout: o.DstLayout}, src, nil
}

// setWeighted checks weights [a, b, kernel…] against the source's rank and sets what goes with weights.
func (p *Problem) setWeighted(src, wei []int, o Params) error {
	if len(o.Post) > MaxPost {
		return fmt.Errorf("%w: %d post-ops; %d are possible", ErrInvalid, len(o.Post), MaxPost)
	}
	p.PadMode, p.Bias = o.PadMode, o.Bias
	copy(p.Post[:], o.Post)
	if len(wei) != len(src) {
		return fmt.Errorf("%w: source %v and weights %v must have the same number of dimensions", ErrInvalid, src, wei)
	}
	if o.Groups != 0 {
		p.Groups = o.Groups
	}
	if p.Groups < 1 || wei[0] < 1 || wei[1] < 1 || wei[1] > MaxSize/p.Groups {
		return fmt.Errorf("%w: weights %v in %d groups", ErrInvalid, wei, p.Groups)
	}
	return nil
}

// NewConv describes the convolution of a source of shape [N, IC, spatial…] with weights [OC, IC/Groups, kernel…].
func NewConv(src, wei []int, o Params) (Problem, error) {
	return newConv(Conv, src, wei, o)
}

// NewDeform describes the deformable convolution of a source [N, IC, h, w] with weights [OC, IC/Groups, kh, kw].
func NewDeform(src, wei []int, o Params) (Problem, error) {
	return newConv(Deform, src, wei, o)
}

func newConv(op Op, src, wei []int, o Params) (Problem, error) {
	p, src, err := o.base(op, src)
	if err == nil {
		err = p.setWeighted(src, wei, o)
	}
	if err != nil {
		return Problem{}, err
	}
	p.OC = wei[0]
	if op == Deform {
		p.OffsetGroups, p.Mask = max(1, o.OffsetGroups), o.Mask
	}
	if p.IC != wei[1]*p.Groups {
		return Problem{}, fmt.Errorf("%w: source has %d channels, weights want %d in %d groups", ErrInvalid, p.IC, wei[1], p.Groups)
	}
	return p.finish(src[2:], wei[2:], o)
}

// NewDeconv describes the transposed convolution of a source [N, IC, spatial…] with weights [IC, OC/Groups, kernel…].
func NewDeconv(src, wei []int, o Params) (Problem, error) {
	p, src, err := o.base(Deconv, src)
	if err == nil {
		err = p.setWeighted(src, wei, o)
	}
	if err != nil {
		return Problem{}, err
	}
	p.OC = wei[1] * p.Groups
	if wei[0] != p.IC {
		return Problem{}, fmt.Errorf("%w: source has %d channels, weights want %d and make %d in each group", ErrInvalid, p.IC, wei[0], wei[1])
	}
	return p.finish(src[2:], wei[2:], o)
}

// NewPool describes the pooling of a source of shape [N, C, spatial…]. A nil kernel pools each plane whole.
func NewPool(kind PoolKind, src, kernel []int, o Params) (Problem, error) {
	p, src, err := o.base(Pool, src)
	if err != nil {
		return Problem{}, err
	}
	p.setKind(kind, o)
	if kernel == nil {
		kernel = src[2:]
	}
	if o.Stride == nil {
		o.Stride = kernel
	}
	return p.finish(src[2:], kernel, o)
}

// NewAdaptivePool describes the pooling of a source [N, C, spatial…] to the output sizes, by windows that cover it.
func NewAdaptivePool(kind PoolKind, src, out []int, o Params) (Problem, error) {
	p, src, err := o.base(Pool, src)
	if err != nil {
		return Problem{}, err
	}
	p.setKind(kind, o)
	p.Adaptive = true
	if len(out) == 1 {
		out = slices.Repeat(out, len(src)-2)
	}
	if len(out) != len(src)-2 {
		return Problem{}, fmt.Errorf("%w: %d output sizes for %d spatial dimensions", ErrInvalid, len(out), len(src)-2)
	}
	p.setRank(len(out))
	for i := range out {
		p.Axes[3-p.Rank+i] = adaptiveAxis(src[2+i], out[i])
	}
	return p, p.Validate()
}

// NewUnpool describes the unpooling of a source [N, C, spatial…] that a max pooling with this kernel made. The output
// is (in−1)·stride − padding + kernel, or what o.OutputSize says.
func NewUnpool(src, kernel []int, o Params) (Problem, error) {
	p, src, err := o.base(Unpool, src)
	if err != nil {
		return Problem{}, err
	}
	if p.Indices = o.Indices; o.Indices == NoIndices {
		p.Indices = Plane
	}
	if o.Stride == nil {
		o.Stride = kernel
	}
	return p.finish(src[2:], kernel, o)
}

// NewIm2col describes the matrix [N, C·taps, positions] of the taps of a convolution of a source [N, C, spatial…].
func NewIm2col(src, kernel []int, o Params) (Problem, error) {
	p, src, err := o.base(Im2col, src)
	if err != nil {
		return Problem{}, err
	}
	return p.finish(src[2:], kernel, o)
}

// NewCol2im describes the sum of a matrix of taps into a tensor of shape dst [N, C, spatial…]: the adjoint of NewIm2col.
func NewCol2im(dst, kernel []int, o Params) (Problem, error) {
	o.SrcLayout, o.DstLayout = o.DstLayout, o.SrcLayout // dst is what NewIm2col has as source
	p, dst, err := o.base(Col2im, dst)
	if err != nil {
		return Problem{}, err
	}
	p.SrcLayout, p.DstLayout = p.DstLayout, p.SrcLayout
	return p.finish(dst[2:], kernel, o)
}

// FusePool puts a pooling of the convolution's result into the same pass. The kernel and the stride, padding, dilation and
// rounding of o are pooling's.
func (p Problem) FusePool(kind PoolKind, kernel []int, o Params) (Problem, error) {
	pool, err := NewPool(kind, p.shape(NCHW, max(1, p.N), p.OC, p.Spatial(), func(a Axis) int { return a.Out }), kernel, o)
	if err != nil {
		return Problem{}, err
	}
	p.Then = Fusion{Kind: kind, Axes: pool.Axes}
	return p, p.Validate()
}

// setKind sets what only pooling has.
func (p *Problem) setKind(kind PoolKind, o Params) {
	p.Kind, p.Divisor, p.Indices = kind, o.Divisor, o.Indices
	if kind == Lp {
		if p.P = o.P; o.P == 0 {
			p.P = 2
		}
	}
}

func (p *Problem) setRank(rank int) {
	p.Rank = rank
	for i := range 3 - rank {
		p.Axes[i] = identity
	}
}

// finish fills the axes and validates.
func (p Problem) finish(in, kernel []int, o Params) (Problem, error) {
	p.setRank(len(in))
	if o.PadR == nil {
		o.PadR = o.PadL
	}
	pick := func(what string, v []int, i, def int) (int, error) {
		switch len(v) {
		case 0:
			return def, nil
		case 1:
			return v[0], nil
		case p.Rank:
			return v[i], nil
		}
		return 0, fmt.Errorf("%w: %s has %d values for %d spatial dimensions", ErrInvalid, what, len(v), p.Rank)
	}
	for i := range p.Rank {
		a := &p.Axes[3-p.Rank+i]
		a.In = in[i]
		outPad, outSize := 0, 0
		for _, f := range []struct {
			what string
			dst  *int
			src  []int
			def  int
		}{
			{"kernel", &a.Kernel, kernel, 0}, {"stride", &a.Stride, o.Stride, 1}, {"padding", &a.PadL, o.PadL, 0},
			{"end padding", &a.PadR, o.PadR, 0}, {"dilation", &a.Dilation, o.Dilation, 1}, {"output padding", &outPad, o.OutputPad, 0},
			{"output size", &outSize, o.OutputSize, 0},
		} {
			v, err := pick(f.what, f.src, i, f.def)
			if err != nil {
				return Problem{}, err
			}
			*f.dst = v
		}
		if err := a.fill(p.Op, o, outPad, outSize); err != nil {
			return Problem{}, err
		}
	}
	return p, p.Validate()
}

// fill computes same-padding and the output size from an axis whose other numbers are set but not yet validated.
func (a *Axis) fill(op Op, o Params, outPad, outSize int) error {
	for _, v := range []int{a.In, a.Kernel, a.Stride, a.Dilation} {
		if v < 1 || v > MaxSize {
			return fmt.Errorf("%w: sizes, strides and dilations are at least 1, not %d", ErrInvalid, v)
		}
	}
	if o.SameUpper || o.Lower {
		total := max(0, ((a.In+a.Stride-1)/a.Stride-1)*a.Stride+a.Extent()-a.In)
		if op == Deconv {
			want := a.In * a.Stride
			if outSize > 0 {
				want = outSize
			}
			total = max(0, (a.In-1)*a.Stride+a.Extent()+outPad-want)
		}
		a.PadL, a.PadR = total/2, total-total/2
		if o.Lower {
			a.PadL, a.PadR = a.PadR, a.PadL
		}
	}
	switch {
	case outSize > 0 && (op == Deconv || op == Unpool):
		a.Out = outSize
	case op == Deconv || op == Unpool:
		a.Out = a.outDeconv() + outPad
	case o.Ceil:
		a.Out = a.OutCeil()
	default:
		a.Out = a.OutFloor()
	}
	return nil
}
