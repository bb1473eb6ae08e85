package problem

import "fmt"

// Params are the options of NewConv, NewDeconv and NewPool. Slices have one entry per spatial dimension, or a single
// one for all; nil is the default.
type Params struct {
	Stride           []int // 1; for pooling the kernel
	PadL, PadR       []int // 0; a nil PadR is PadL
	Dilation         []int // 1 (dense)
	Groups           int   // 1
	Ceil             bool  // pooling: round the output size up
	OutputPad        []int // deconvolution: 0
	Bias             bool
	Act              Activation
	SameUpper, Lower bool // ONNX auto_pad: output ⌈in/stride⌉, the odd cell of padding at the end (SameUpper) or start (Lower)
}

// NewConv describes the forward f32 convolution of a source of shape [N, IC, spatial…] with weights [OC, IC/Groups, kernel…].
func NewConv(src, wei []int, o Params) (Problem, error) {
	if len(wei) != len(src) || len(src) < 3 || len(src) > 5 {
		return Problem{}, fmt.Errorf("%w: source %v and weights %v must both be [N, C, 1 to 3 spatial sizes]", ErrInvalid, src, wei)
	}
	p := Problem{Op: Conv, N: src[0], IC: src[1], OC: wei[0], Groups: o.groups(), Bias: o.Bias, Act: o.Act}
	if wei[1] < 1 || p.Groups < 1 || p.IC != wei[1]*p.Groups {
		return Problem{}, fmt.Errorf("%w: source has %d channels, weights want %d in %d groups", ErrInvalid, p.IC, wei[1], p.Groups)
	}
	return p.finish(src[2:], wei[2:], o)
}

// NewDeconv describes the forward f32 transposed convolution of a source [N, IC, spatial…] with weights [IC, OC/Groups, kernel…].
func NewDeconv(src, wei []int, o Params) (Problem, error) {
	if len(wei) != len(src) || len(src) < 3 || len(src) > 5 {
		return Problem{}, fmt.Errorf("%w: source %v and weights %v must both be [N, C, 1 to 3 spatial sizes]", ErrInvalid, src, wei)
	}
	p := Problem{Op: Deconv, N: src[0], IC: src[1], OC: wei[1] * o.groups(), Groups: o.groups(), Bias: o.Bias, Act: o.Act}
	if wei[0] != p.IC || p.Groups < 1 || wei[1] < 1 || wei[1] > MaxSize/p.Groups {
		return Problem{}, fmt.Errorf("%w: source has %d channels, weights want %d and make %d in each group", ErrInvalid, p.IC, wei[0], wei[1])
	}
	return p.finish(src[2:], wei[2:], o)
}

// NewPool describes the forward f32 pooling of a source of shape [N, C, spatial…]. A nil kernel pools each plane whole.
func NewPool(kind PoolKind, src, kernel []int, o Params) (Problem, error) {
	if len(src) < 3 || len(src) > 5 {
		return Problem{}, fmt.Errorf("%w: source %v must be [N, C, 1 to 3 spatial sizes]", ErrInvalid, src)
	}
	p := Problem{Op: Pool, Kind: kind, N: src[0], IC: src[1], OC: src[1], Groups: 1}
	if kernel == nil {
		kernel = src[2:]
	}
	if o.Stride == nil {
		o.Stride = kernel
	}
	return p.finish(src[2:], kernel, o)
}

func (o Params) groups() int {
	if o.Groups == 0 {
		return 1
	}
	return o.Groups
}

// finish fills the axes and validates.
func (p Problem) finish(in, kernel []int, o Params) (Problem, error) {
	p.Rank = len(in)
	for i := range 3 - p.Rank {
		p.Axes[i] = identity
	}
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
		outPad := 0
		for _, f := range []struct {
			what string
			dst  *int
			src  []int
			def  int
		}{
			{"kernel", &a.Kernel, kernel, 0}, {"stride", &a.Stride, o.Stride, 1}, {"padding", &a.PadL, o.PadL, 0},
			{"end padding", &a.PadR, o.PadR, 0}, {"dilation", &a.Dilation, o.Dilation, 1}, {"output padding", &outPad, o.OutputPad, 0},
		} {
			v, err := pick(f.what, f.src, i, f.def)
			if err != nil {
				return Problem{}, err
			}
			*f.dst = v
		}
		if err := a.fill(p.Op, o, outPad); err != nil {
			return Problem{}, err
		}
	}
	return p, p.Validate()
}

// fill computes same-padding and the output size from an axis whose other numbers are set but not yet validated.
func (a *Axis) fill(op Op, o Params, outPad int) error {
	for _, v := range []int{a.In, a.Kernel, a.Stride, a.Dilation} {
		if v < 1 || v > MaxSize {
			return fmt.Errorf("%w: sizes, strides and dilations are at least 1, not %d", ErrInvalid, v)
		}
	}
	if o.SameUpper || o.Lower {
		total := max(0, ((a.In+a.Stride-1)/a.Stride-1)*a.Stride+a.Extent()-a.In)
		if op == Deconv {
			total = max(0, a.Extent()+outPad-a.Stride) // such that the output is In·Stride
		}
		a.PadL, a.PadR = total/2, total-total/2
		if o.Lower {
			a.PadL, a.PadR = a.PadR, a.PadL
		}
	}
	switch {
	case op == Deconv:
		a.Out = a.outDeconv() + outPad
	case o.Ceil:
		a.Out = a.OutCeil()
	default:
		a.Out = a.OutFloor()
	}
	return nil
}
