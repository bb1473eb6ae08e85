package problem

import (
	"cmp"
	"fmt"
	"math"
	"math/bits"
)

// Validate says whether the problem can be computed at all, with one error that names what is wrong.
func (p *Problem) Validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
	}
	if p.Op > Col2im || p.Kind > Lp || p.Dir > BackwardBias || p.PadMode > Circular || p.SrcLayout > NHWC || p.DstLayout > NHWC ||
		p.Indices > Column {
		return bad("unknown operation, kind, direction, padding mode, layout or index order")
	}
	if p.Rank < 1 || p.Rank > 3 {
		return bad("%d spatial dimensions; 1 to 3 are possible", p.Rank)
	}
	if p.N < 0 || p.N > MaxSize {
		return bad("batch mb%d; 0 to %d is possible", p.N, MaxSize)
	}
	for _, c := range []struct {
		name string
		v    int
	}{{"g", p.Groups}, {"ic", p.IC}, {"oc", p.OC}} {
		if c.v < 1 || c.v > MaxSize {
			return bad("%s%d; 1 to %d is possible", c.name, c.v, MaxSize)
		}
	}
	if p.IC%p.Groups != 0 || p.OC%p.Groups != 0 {
		return bad("ic%d and oc%d must be multiples of g%d", p.IC, p.OC, p.Groups)
	}
	if err := cmp.Or(p.validateTypes(), p.validateOptions()); err != nil {
		return err
	}
	for i, a := range p.Axes {
		if i < 3-p.Rank {
			if a != identity {
				return bad("axis %c is set but the rank is %d", "dhw"[i], p.Rank)
			}
			continue
		}
		if err := p.validateAxis(a, "dhw"[i]); err != nil {
			return err
		}
	}
	if err := p.validateFusion(); err != nil {
		return err
	}
	q := *p
	q.N = max(1, p.N) // an empty batch must not hide an image that is too large
	taps := []int{q.Axes[0].Kernel, q.Axes[1].Kernel, q.Axes[2].Kernel}
	positions := []int{q.Axes[0].Out, q.Axes[1].Out, q.Axes[2].Out}
	if p.Op == Im2col || p.Op == Col2im || p.Op == Deform { // the matrix, or twice the offsets
		if !fits(append(append([]int{q.N, 2, max(q.IC, q.OffsetGroups)}, taps...), positions...)) {
			return bad("%d taps at each of %v positions are more than 2^%d elements", q.Taps(), positions, maxElemsLog2)
		}
	}
	padded := q
	if p.PadMode != Zeros {
		padded = q.Padded()
	}
	for _, shape := range [][]int{taps, positions, padded.Shape(Src), q.Shape(Src), q.Shape(Wei), q.Shape(Dst), q.Shape(Residual)} {
		if !fits(shape) {
			return bad("tensor or window %v has more than 2^%d elements", shape, maxElemsLog2)
		}
	}
	return nil
}

// validateTypes checks the combination of element types.
func (p *Problem) validateTypes() error {
	t := p.Type
	bad := func(rule string) error {
		return fmt.Errorf("%w: types %v: %s", ErrInvalid, t, rule)
	}
	if max(t.Src, t.Wei, t.Dst) > S32 {
		return bad("unknown data type")
	}
	if t == All(F32) || t == All(F16) {
		return nil
	}
	switch p.Op {
	case Conv, Deconv:
		eight := func(d DataType) bool { return d == S8 || d == U8 }
		if p.Op != Conv || p.Dir != Forward || !eight(t.Src) || !eight(t.Wei) || t.Dst == F16 {
			return bad("f32 or f16 throughout; forward convolution also s8 or u8 src and wei, to s32, s8, u8 or f32")
		}
		if t.Dst != F32 && p.Post != [MaxPost]PostOp{} || p.Fused() || p.PadMode != Zeros {
			return bad("integer convolutions pad with zeros and have no fused pooling, and post-ops only to f32")
		}
	case Deform:
		return bad("f32 or f16 throughout")
	default:
		if t != All(S8) && t != All(U8) {
			return bad("one of f32, f16, s8 and u8 throughout")
		}
		if p.Op == Pool && (p.Kind != Max || p.Dir != Forward) || p.Op == Col2im || p.Dir != Forward {
			return bad("s8 and u8 only where values are moved, not summed: forward max pooling, unpool and im2col")
		}
	}
	return nil
}

// validateOptions checks that nothing is set that the operation does not have.
func (p *Problem) validateOptions() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
	}
	forward := p.Dir == Forward
	switch {
	case !p.Weighted() && (p.IC != p.OC || p.Groups != 1 || p.Bias):
		return bad("%s has no groups, output channels or bias", p.Op)
	case p.Dir > BackwardData && p.Op != Conv && p.Op != Deconv:
		return bad("%s has no weights, so no direction %s", p.Op, p.Dir)
	case p.Op == Deform && !forward:
		return bad("deformable convolution runs forward only")
	case p.Bias && !forward:
		return bad("a bias is added in the forward direction only; its gradient is direction BWD_B")
	case p.PadMode != Zeros && p.Op != Conv:
		return bad("padding mode %s is for convolutions", p.PadMode)
	case p.Op != Pool && (p.Kind != Max || p.Adaptive || p.Divisor != 0 || p.P != 0):
		return bad("pooling kind, adaptive windows, divisor and exponent are for pooling")
	case p.Divisor < 0 || p.Divisor > MaxDim || p.Divisor > 0 && !p.Kind.Average():
		return bad("divisor %d; 1 to %d is possible, for averages", p.Divisor, MaxDim)
	case p.Op == Pool && p.Kind == Lp && (p.P < 1 || p.P > MaxExponent):
		return bad("exponent %d of Lp pooling; 1 to %d is possible", p.P, MaxExponent)
	case p.P != 0 && p.Kind != Lp:
		return bad("an exponent is for Lp pooling")
	case p.Indices != NoIndices && !(p.Op == Unpool || p.Op == Pool && p.Kind == Max):
		return bad("indices are for max pooling and unpooling")
	case p.Op == Unpool && p.Indices == NoIndices:
		return bad("unpooling needs an index order: indices=plane, flat or column")
	case p.Op != Deform && (p.OffsetGroups != 0 || p.Mask):
		return bad("offset groups and mask are for deformable convolution")
	case p.Op == Deform && (p.Rank != 2 || p.OffsetGroups < 1 || p.IC%p.OffsetGroups != 0):
		return bad("deformable convolution is 2-D, and ic%d must be a multiple of its offset groups dg%d", p.IC, p.OffsetGroups)
	}
	return p.validatePost()
}

func (p *Problem) validatePost() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
	}
	adds, ended := 0, false
	for _, o := range p.Post {
		if o.Kind == NoPost {
			if ended = true; o != (PostOp{}) {
				return bad("scalars of a post-op without a kind")
			}
			continue
		}
		finite := func(v float32) bool { return v == v && (v == 0 || v/v == 1) }
		switch {
		case o.Kind > Add:
			return bad("unknown post-op %d", o.Kind)
		case ended:
			return bad("post-op %s follows an empty one", o)
		case !p.Weighted() || p.Dir != Forward:
			return bad("post-ops follow forward convolutions")
		case o.Kind.scalars() < 2 && o.Beta != 0 || o.Kind.scalars() < 1 && o.Alpha != 0:
			return bad("post-op %s takes fewer scalars", o.Kind)
		case !finite(o.Alpha) || o.Kind != Clip && !finite(o.Beta) || o.Kind == Clip && !(o.Alpha <= o.Beta):
			return bad("post-op %s: its scalars are finite, and clip's in order", o)
		}
		if o.Kind == Add {
			adds++
		}
	}
	if adds > 1 {
		return bad("at most one post-op add: there is one residual")
	}
	return nil
}

// validateFusion checks the pooling behind a convolution.
func (p *Problem) validateFusion() error {
	if !p.Fused() {
		if p.Then != (Fusion{}) {
			return fmt.Errorf("%w: a fused pooling without a kernel", ErrInvalid)
		}
		return nil
	}
	if p.Op != Conv || p.Dir != Forward || p.Then.Kind > AvgInclude {
		return fmt.Errorf("%w: max and average pooling fuse behind a forward convolution, nothing else does", ErrInvalid)
	}
	for i, a := range p.Then.Axes {
		if i >= 3-p.Rank && a.In != p.Axes[i].Out || i < 3-p.Rank && a != identity {
			return fmt.Errorf("%w: axis %c of the fused pooling reads %d, the convolution makes %d", ErrInvalid, "dhw"[i], a.In, p.Axes[i].Out)
		}
	}
	pool := p.ThenPool()
	if err := pool.Validate(); err != nil {
		return fmt.Errorf("fused pooling: %w", err)
	}
	return nil
}

// ThenPool is the fused pooling as a problem of its own, on an f32 tensor of the convolution's size.
func (p *Problem) ThenPool() Problem {
	return Problem{Op: Pool, Kind: p.Then.Kind, N: p.N, Groups: 1, IC: p.OC, OC: p.OC, Rank: p.Rank, Axes: p.Then.Axes}
}

// validateAxis checks one spatial dimension.
func (p *Problem) validateAxis(a Axis, axis byte) error {
	if err := a.validate(p.Op, p.Adaptive, axis); err != nil {
		return err
	}
	most := MaxSize
	switch p.PadMode {
	case Reflect:
		most = a.In - 1
	case Circular:
		most = a.In
	}
	if max(a.PadL, a.PadR) > most {
		return fmt.Errorf("%w: axis %c: padding %d with mode %s; at most %d is possible", ErrInvalid, axis, max(a.PadL, a.PadR), p.PadMode, most)
	}
	if p.PadMode != Zeros && min(a.PadL, a.PadR) < 0 {
		return fmt.Errorf("%w: axis %c: a negative padding crops, which goes with padding mode zeros only", ErrInvalid, axis)
	}
	return nil
}

func (a Axis) validate(op Op, adaptive bool, axis byte) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: axis %c: %s", ErrInvalid, axis, fmt.Sprintf(format, args...))
	}
	within := func(what string, v, least, most int) error {
		if v < least || v > most {
			return bad("%s is %d; %d to %d is possible", what, v, least, most)
		}
		return nil
	}
	// In this order: what comes later cannot overflow once what comes before is in range.
	if err := cmp.Or(within("source size i", a.In, 1, MaxSize), within("kernel k", a.Kernel, 1, MaxDim),
		within("stride s", a.Stride, 1, MaxDim), within("dilation", a.Dilation, 1, MaxDim)); err != nil {
		return err
	}
	if err := cmp.Or(within("extent of the dilated kernel", a.Extent(), 1, MaxDim), within("output o", a.Out, math.MinInt, MaxSize)); err != nil {
		return err
	}
	if max(a.In, a.Out) > maxReach/a.Stride {
		return bad("sizes i and o times stride s are at most %d", maxReach)
	}
	if err := cmp.Or(within("left padding p", a.PadL, -MaxSize, MaxSize), within("right padding r", a.PadR, -MaxSize, MaxSize)); err != nil {
		return err
	}
	switch {
	case adaptive:
		if want := adaptiveAxis(a.In, a.Out); a != want || a.Out < 1 {
			return bad("adaptive windows of %d over %d are at most %d wide, without stride, padding or dilation", a.Out, a.In, want.Kernel)
		}
		return nil
	case op == Unpool:
		if a.Out < 1 {
			return bad("output o is %d", a.Out)
		}
		return nil
	case op == Deconv:
		if least := a.outDeconv(); a.Out < 1 || a.Out < least || a.Out-least >= max(a.Stride, a.Dilation) {
			return bad("output o is %d; this transposed convolution makes %d to %d", a.Out, least, least+max(a.Stride, a.Dilation)-1)
		}
		return nil
	}
	floor := a.OutFloor()
	if op == Pool && a.Out >= 1 && a.Out == a.OutCeil() {
		return nil
	}
	if floor < 1 {
		return bad("the kernel spans %d, more than the padded source's %d: use a smaller kernel or more padding",
			a.Extent(), a.In+a.PadL+a.PadR)
	}
	if a.Out != floor {
		return bad("output o is %d; source, kernel, stride and padding make %d", a.Out, floor)
	}
	return nil
}

// maxElemsLog2 limits tensors and windows such that no sum of a problem's sizes in bytes overflows.
const maxElemsLog2 = 58

// fits says whether the shape has at most 2^maxElemsLog2 elements.
func fits(shape []int) bool {
	n := uint64(1)
	for _, d := range shape {
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > 1<<maxElemsLog2 {
			return false
		}
		n = lo
	}
	return true
}
