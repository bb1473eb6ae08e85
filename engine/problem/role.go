package problem

import "fmt"

// Role names a tensor by what it is to a problem.
type Role uint8

// The roles. The names are oneDNN's.
const (
	Src Role = iota
	Wei
	Bia
	Dst
	DiffSrc
	DiffWei
	DiffBia
	DiffDst
	Ind        // indices of max pooling and unpooling, of dst's (unpooling: src's) shape; backward ignores those outside their window
	Offset     // of a deformable convolution: [N, OffsetGroups·taps·2, out…], (h, w) by taps
	Mask       // of a deformable convolution: [N, OffsetGroups·taps, out…]
	Residual   // what the post-op Add adds: the convolution's result's shape
	PostParams // [rows, OC]: what the post-ops take per channel, in their order
	Quant      // of an integer convolution: [4, OC], rows: source zero point (one for all), weights' zero point, multiplier, destination zero point; see CheckQuant
)

// Roles is the number of roles, for arrays that are indexed by them.
const Roles = 14

func (r Role) String() string {
	return name(r, "src", "wei", "bia", "dst", "diff_src", "diff_wei", "diff_bia", "diff_dst", "ind", "offset", "mask", "residual", "post", "quant")
}

// Integer says whether the problem is an integer convolution, which sums in s32 and has a Quant.
func (p *Problem) Integer() bool {
	return p.Op != Pool && p.Weighted() && p.Type.Src != F32 && p.Type.Src != F16
}

// Weighted says whether the operation has weights.
func (p *Problem) Weighted() bool { return p.Op == Conv || p.Op == Deconv || p.Op == Deform }

// PostRows is the number of rows of PostParams.
func (p *Problem) PostRows() int {
	n := 0
	for _, o := range p.Post {
		n += o.Kind.Rows()
	}
	return n
}

// Posts are the post-ops in order, without the empty rest.
func (p *Problem) Posts() []PostOp {
	for i, o := range p.Post {
		if o.Kind == NoPost {
			return p.Post[:i]
		}
	}
	return p.Post[:]
}

// has says whether the post-ops have one of the kind.
func (p *Problem) has(k PostKind) bool {
	for _, o := range p.Posts() {
		if o.Kind == k {
			return true
		}
	}
	return false
}

// Fused says whether a pooling follows the convolution.
func (p *Problem) Fused() bool { return p.Then.Axes[2].Kernel != 0 }

// Constants are the tensors that a plan takes once and keeps packed.
func (p *Problem) Constants() []Role {
	var r []Role
	if !p.Weighted() || p.Dir != Forward && p.Dir != BackwardData {
		return nil
	}
	r = append(r, Wei)
	if p.Dir == BackwardData {
		return r
	}
	if p.Bias {
		r = append(r, Bia)
	}
	if p.PostRows() > 0 {
		r = append(r, PostParams)
	}
	if p.Integer() {
		r = append(r, Quant)
	}
	return r
}

// Inputs are the tensors that each run reads.
func (p *Problem) Inputs() []Role {
	switch p.Dir {
	case BackwardBias:
		return []Role{DiffDst}
	case BackwardWeights:
		return []Role{Src, DiffDst}
	case BackwardData:
		switch {
		case p.Op == Unpool || p.Op == Pool && p.Indices != NoIndices:
			return []Role{DiffDst, Ind}
		case p.Op == Pool && (p.Kind == Max || p.Kind == Lp):
			return []Role{Src, DiffDst}
		}
		return []Role{DiffDst}
	}
	r := []Role{Src}
	switch {
	case p.Op == Unpool:
		r = append(r, Ind)
	case p.Op == Deform:
		if r = append(r, Offset); p.Mask {
			r = append(r, Mask)
		}
	}
	if p.has(Add) {
		r = append(r, Residual)
	}
	return r
}

// Outputs are the tensors that each run writes.
func (p *Problem) Outputs() []Role {
	switch p.Dir {
	case BackwardData:
		return []Role{DiffSrc}
	case BackwardWeights:
		return []Role{DiffWei}
	case BackwardBias:
		return []Role{DiffBia}
	}
	if p.Op == Pool && p.Indices != NoIndices {
		return []Role{Dst, Ind}
	}
	return []Role{Dst}
}

// shape is n, c and spatial sizes in the order of a layout.
func (p *Problem) shape(l Layout, n, c int, axes []Axis, of func(Axis) int) []int {
	s := make([]int, 0, 2+len(axes))
	s = append(s, n)
	if l == NCHW {
		s = append(s, c)
	}
	for _, a := range axes {
		s = append(s, of(a))
	}
	if l == NHWC {
		s = append(s, c)
	}
	return s
}

// columns is the shape of the matrix of im2col and col2im.
func (p *Problem) columns(l Layout) []int {
	n := 1
	for _, a := range p.Axes {
		n *= a.Out
	}
	return p.shape(l, p.N, p.IC*int(p.Taps()), []Axis{{Out: n}}, func(a Axis) int { return a.Out })
}

// Shape is the sizes of a tensor as it lies in memory, outermost first: [N, C, spatial…], for an NHWC problem
// [N, spatial…, C]. It is nil for a role that the operation does not have in any direction. The weights are
// [OC, IC/Groups, kernel…], of Deconv [IC, OC/Groups, kernel…], in every layout.
func (p *Problem) Shape(r Role) []int {
	in := func(a Axis) int { return a.In }
	out := func(a Axis) int { return a.Out }
	taps := func(a Axis) int { return a.Kernel }
	axes := p.Spatial()
	switch r {
	case Src, DiffSrc:
		if p.Op == Col2im {
			return p.columns(p.SrcLayout)
		}
		return p.shape(p.SrcLayout, p.N, p.IC, axes, in)
	case Dst, DiffDst:
		switch {
		case p.Op == Im2col:
			return p.columns(p.DstLayout)
		case p.Op == Col2im:
			return p.shape(p.DstLayout, p.N, p.IC, axes, in)
		case p.Fused():
			axes = p.Then.Axes[3-p.Rank:]
		}
		return p.shape(p.DstLayout, p.N, p.OC, axes, out)
	case Wei, DiffWei:
		switch {
		case !p.Weighted():
			return nil
		case p.Op == Deconv:
			return p.shape(NCHW, p.IC, p.OC/p.Groups, axes, taps)
		}
		return p.shape(NCHW, p.OC, p.IC/p.Groups, axes, taps)
	case Bia, DiffBia:
		if p.Weighted() && (p.Bias || p.Dir == BackwardBias) {
			return []int{p.OC}
		}
	case Ind:
		switch {
		case p.Indices == NoIndices:
		case p.Op == Unpool:
			return p.shape(p.SrcLayout, p.N, p.IC, axes, in)
		default:
			return p.shape(p.DstLayout, p.N, p.OC, axes, out)
		}
	case Offset, Mask:
		if p.Op == Deform && (r == Offset || p.Mask) {
			c := p.OffsetGroups * int(p.Taps())
			if r == Offset {
				c *= 2
			}
			return p.shape(NCHW, p.N, c, axes, out)
		}
	case Residual:
		if p.has(Add) {
			return p.shape(p.DstLayout, p.N, p.OC, axes, out)
		}
	case PostParams:
		if n := p.PostRows(); n > 0 {
			return []int{n, p.OC}
		}
	case Quant:
		if p.Integer() {
			return []int{4, p.OC}
		}
	}
	return nil
}

// LayoutOf is the memory order of a tensor.
func (p *Problem) LayoutOf(r Role) Layout {
	switch r {
	case Src, DiffSrc:
		return p.SrcLayout
	case Dst, DiffDst, Residual:
		return p.DstLayout
	case Ind:
		if p.Op == Unpool {
			return p.SrcLayout
		}
		return p.DstLayout
	}
	return NCHW
}

// TypeOf is the type of a tensor's elements. Biases, offsets, masks and parameters are f32 whatever the storage of the
// others, but an integer convolution's bias is s32.
func (p *Problem) TypeOf(r Role) DataType {
	switch r {
	case Src, DiffSrc:
		return p.Type.Src
	case Wei, DiffWei:
		return p.Type.Wei
	case Dst, DiffDst, Residual:
		return p.Type.Dst
	case Ind:
		return S32
	case Bia:
		if p.Integer() {
			return S32
		}
	}
	return F32
}

// Core is the same problem on f32 tensors in NCHW. Integer convolutions get s32 tensors: what is left to convert is
// only how the elements are stored.
func (p *Problem) Core() Problem {
	q := *p
	q.SrcLayout, q.DstLayout = NCHW, NCHW
	if p.Integer() {
		q.Type.Src, q.Type.Wei = S32, S32
		return q
	}
	q.Type = Types{}
	return q
}

// Padded is the same problem on a source that has its padding already: sizes grow by the paddings, which become 0.
func (p *Problem) Padded() Problem {
	q := *p
	q.PadMode = Zeros
	for i := range q.Axes {
		a := &q.Axes[i]
		a.In += a.PadL + a.PadR
		a.PadL, a.PadR = 0, 0
	}
	return q
}

// CheckIndices refuses indices that point outside of what they index: kernels would ignore them. −1 is what max pooling
// writes for an empty window.
func (p *Problem) CheckIndices(ind []int32) error {
	if len(ind) == 0 {
		return nil
	}
	large := p.Shape(Dst) // unpooling: a source element goes anywhere in dst; pooling backward: in diff_src
	if p.Op == Pool {
		large = p.Shape(DiffSrc)
	}
	most := Elems(large)
	if p.Indices == Plane {
		most /= int64(p.N) * int64(p.IC)
	}
	for i, v := range ind {
		if v < -1 || int64(v) >= most {
			return fmt.Errorf("%w: index %d, element %d of ind, is outside of the %d elements that it points into", ErrInvalid, v, i, most)
		}
	}
	return nil
}
