// Package problem describes operations: what to compute, on which shapes, with which strides, paddings and dilations.
// A Problem is plain, comparable data; everything about it that other packages need (shapes, element counts, work,
// validity, its one-line text form) is computed here and nowhere else.
//
// # Roles
//
// A tensor is what it is to the problem: its [Role]. Which roles a problem has follows from operation, direction and
// options. [Problem.Constants] are taken once, [Problem.Inputs] are read by each run and [Problem.Outputs] are written;
// [Problem.Shape], [Problem.TypeOf] and [Problem.LayoutOf] say what each looks like in memory.
//
//	operation       direction  constants                    inputs                       outputs
//	conv, deconv    FWD        wei, bia?, post?, quant?     src, residual?               dst
//	                BWD_D      wei                          diff_dst                     diff_src
//	                BWD_W                                   src, diff_dst                diff_wei
//	                BWD_B                                   diff_dst                     diff_bia
//	deform          FWD        wei, bia?, post?             src, offset, mask?, residual?  dst
//	pool            FWD                                     src                          dst, ind?
//	  max, lp       BWD_D                                   src, diff_dst                diff_src
//	  max, indices  BWD_D                                   diff_dst, ind                diff_src
//	  averages      BWD_D                                   diff_dst                     diff_src
//	unpool          FWD                                     src, ind                     dst
//	                BWD_D                                   diff_dst, ind                diff_src
//	im2col, col2im  FWD                                     src                          dst
//	                BWD_D                                   diff_dst                     diff_src
//
// What has a question mark is there if an option asks for it: Bias, a post-op with parameters or a residual, types of
// integers, Mask, Indices.
//
// # Text
//
// [Parse] and [Problem.String] go by the same one line: the operation, words, and sizes in the grammar of oneDNN's
// benchdnn, such as conv:BWD_D:f16:g2mb1ic4ih8oc4oh8kh3ph1. String writes all that is not at its default, so that a
// problem is parsed back as it was.
package problem

import (
	"errors"
	"math"
	"math/bits"
)

// ErrInvalid is what every error of this package wraps: the text or the numbers do not describe an operation.
var ErrInvalid = errors.New("invalid problem")

// The largest numbers of a problem. They are smaller where int has 32 bits: no sum or product of what is valid overflows.
const (
	MaxSize = min(1<<40, math.MaxInt>>3)         // of batch, channels, source and output sizes, and of paddings either way
	MaxDim  = math.MaxInt >> (bits.UintSize / 2) // of everything else: 2^31 − 1

	maxReach = 1 << (bits.UintSize - 4) // of a size times a stride

	MaxExponent = 64 // of Lp pooling
)

// Axis is one spatial dimension.
type Axis struct {
	In, Out    int
	Kernel     int
	Stride     int
	PadL, PadR int // before and after; negative crops
	Dilation   int // 1 = dense
}

// identity is an axis that a problem of lower rank does not have.
var identity = Axis{In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: 1}

// Extent is the span of the dilated kernel, (Kernel−1)·Dilation+1.
func (a Axis) Extent() int { return (a.Kernel-1)*a.Dilation + 1 }

// OutFloor is ⌊(In+PadL+PadR−Extent)/Stride⌋+1, or 0 if the kernel does not fit.
func (a Axis) OutFloor() int {
	room := a.In + a.PadL + a.PadR - a.Extent()
	if room < 0 {
		return 0
	}
	return room/a.Stride + 1
}

// OutCeil is the same rounded up, less a last window that would begin past source and left padding.
func (a Axis) OutCeil() int {
	room := a.In + a.PadL + a.PadR - a.Extent() + a.Stride - 1
	if room < 0 {
		return 0
	}
	o := room/a.Stride + 1
	if (o-1)*a.Stride >= a.In+a.PadL {
		o--
	}
	return o
}

// adaptiveAxis is the axis of adaptive pooling from in to out cells: window o is [⌊o·in/out⌋, ⌈(o+1)·in/out⌉).
func adaptiveAxis(in, out int) Axis {
	a := Axis{In: in, Out: out, Kernel: 1, Stride: 1, Dilation: 1}
	if in < 1 || out < 1 || in > MaxSize || out > MaxSize {
		return a // Validate refuses it
	}
	a.Kernel = (in + out - 1) / out
	if in%out != 0 && out%(in%out) != 0 { // windows may start inside one cell and end inside another
		a.Kernel++
	}
	return a
}

// AdaptiveWindow is the cells [start, end) of window o of adaptive pooling.
func (a Axis) AdaptiveWindow(o int) (start, end int) {
	// o·In can need more than 64 bits: q·o + ⌊r·o/Out⌋ does not.
	q, r := a.In/a.Out, a.In%a.Out
	split := func(o, up int) int {
		hi, lo := bits.Mul64(uint64(r), uint64(o))
		lo, carry := bits.Add64(lo, uint64(up), 0)
		v, _ := bits.Div64(hi+carry, lo, uint64(a.Out))
		return q*o + int(v)
	}
	return split(o, 0), split(o+1, a.Out-1)
}

// outDeconv is the smallest output of a transposed convolution, (In−1)·Stride−PadL−PadR+Extent.
func (a Axis) outDeconv() int { return (a.In-1)*a.Stride - a.PadL - a.PadR + a.Extent() }

// impliedPadR is the right padding that makes Out come out exactly.
func (a Axis) impliedPadR(op Op) int {
	if op == Deconv {
		return (a.In-1)*a.Stride - a.Out + a.Extent() - a.PadL
	}
	return (a.Out-1)*a.Stride - a.In + a.Extent() - a.PadL
}

// Problem is one operation, fully described. The zero value is invalid; build problems with Parse, NewConv, NewPool and
// their like, or fill the fields and call Validate. Problems are comparable.
type Problem struct {
	Op     Op
	Kind   PoolKind // of Pool
	Dir    Dir
	Type   Types
	N      int
	Groups int     // 1 but for Conv, Deconv and Deform
	IC, OC int     // totals over all groups; equal where there are no weights
	Rank   int     // spatial dimensions, 1 to 3
	Axes   [3]Axis // depth, height, width; those that Rank does not have are identities

	PadMode   PadMode // of Conv
	Bias      bool
	Post      [MaxPost]PostOp // of forward Conv, Deconv and Deform, after the bias, in order; the first NoPost ends them
	Then      Fusion          // of forward Conv: a pooling behind the post-ops, in the same pass
	SrcLayout Layout          // of src and diff_src
	DstLayout Layout          // of dst, diff_dst and what has their shape

	Adaptive bool       // of Pool: windows [⌊o·In/Out⌋, ⌈(o+1)·In/Out⌉); Kernel is the largest one
	Divisor  int        // of average pooling: divides by this instead of what Kind says; 0 for Kind
	P        int        // of Lp: the exponent
	Indices  IndexOrder // of max pooling (written, or read backward) and Unpool (read)

	OffsetGroups int  // of Deform
	Mask         bool // of Deform: each tap is multiplied by an element of the mask

	Name string // for people; not part of what is computed
}

// Fusion is a pooling fused behind a convolution. The zero value is none.
type Fusion struct {
	Kind PoolKind // Max or an average
	Axes [3]Axis  // In is the convolution's Out
}

// Spatial returns the Rank axes that the problem has, outermost first.
func (p *Problem) Spatial() []Axis { return p.Axes[3-p.Rank:] }

// Elems is the number of elements of a shape; 0 for nil. Shapes of a valid problem do not overflow.
func Elems(shape []int) int64 {
	if shape == nil {
		return 0
	}
	n := int64(1)
	for _, d := range shape {
		n *= int64(d)
	}
	return n
}

// Taps is the number of cells of a window, the product of the kernel sizes.
func (p *Problem) Taps() int64 {
	n := int64(1)
	for _, a := range p.Axes {
		n *= int64(a.Kernel)
	}
	return n
}

// Terms is how many products (pooling: values) are summed at most into one element of the first output, without bias.
func (p *Problem) Terms() int64 {
	taps := p.Taps()
	switch {
	case p.Op == Unpool || p.Op == Im2col && p.Dir == Forward || p.Op == Col2im && p.Dir == BackwardData:
		return 1
	case !p.Weighted():
		return taps
	case p.Dir == BackwardWeights || p.Dir == BackwardBias:
		positions := int64(p.N)
		for _, a := range p.Axes {
			if p.Op == Deconv && p.Dir == BackwardWeights {
				positions *= int64(a.In)
			} else {
				positions *= int64(a.Out)
			}
		}
		return max(1, positions)
	case p.Dir == BackwardData:
		return int64(p.OC/p.Groups) * taps
	}
	return int64(p.IC/p.Groups) * taps
}

// FLOPs counts the direct algorithm's operations, whatever algorithm runs: two for each product, taps in the padding
// included; elsewhere one for each cell of each window. Post-ops are not counted.
func (p *Problem) FLOPs() float64 {
	out := 1.0
	for _, a := range p.Axes {
		out *= float64(a.Out)
	}
	if !p.Weighted() {
		return float64(p.N) * float64(p.IC) * out * float64(p.Taps())
	}
	if p.Dir == BackwardBias {
		return float64(p.N) * float64(p.OC) * out
	}
	outer, inner := float64(p.N)*float64(p.OC)*out, float64(p.IC/p.Groups)
	if p.Op == Deconv {
		outer, inner = float64(p.N)*float64(p.IC), float64(p.OC/p.Groups)
		for _, a := range p.Axes {
			outer *= float64(a.In)
		}
	}
	return 2 * outer * inner * float64(p.Taps())
}

// Inside is the part of FLOPs that is not on zeros of the padding, which an algorithm may leave out.
func (p *Problem) Inside() float64 {
	part := 1.0
	if p.PadMode != Zeros || p.Op != Conv && p.Op != Deconv {
		return part
	}
	for _, a := range p.Axes {
		in, out := a.In, a.Out
		if p.Op == Deconv {
			in, out = out, in
		}
		inside := 0
		for k := range a.Kernel {
			// Of the out positions o those where 0 ≤ o·stride + at < in.
			at := k*a.Dilation - a.PadL
			first := max(0, (-at+a.Stride-1)/a.Stride)
			last := min(out-1, (in-1-at)/a.Stride)
			if in-1-at >= 0 {
				inside += max(0, last-first+1)
			}
		}
		if out > 0 && a.Kernel > 0 {
			part *= float64(inside) / (float64(out) * float64(a.Kernel))
		}
	}
	return part
}

// BytesOf is the size of a tensor in memory.
func (p *Problem) BytesOf(r Role) int64 { return int64(p.TypeOf(r).Size()) * Elems(p.Shape(r)) }

// Bytes is the least traffic: each tensor read or written once.
func (p *Problem) Bytes() int64 {
	n := int64(0)
	for _, list := range [][]Role{p.Constants(), p.Inputs(), p.Outputs()} {
		for _, r := range list {
			n += p.BytesOf(r)
		}
	}
	return n
}
